//! Whether a provider can be worked with: a small object is put, read back, compared and deleted below the reserved prefix,
//! which takes no more rights than an upload does. How it went is noted for all processes, and believed for a while.
//!
//! A provider whose circuit is open is not asked at all; once its time has passed, this is the one request that may go out,
//! and what it comes to closes or opens the circuit.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::Clock;
use crate::metadata::journal::JournalStore;
use crate::providers::{Key, Provider, ProviderError};

/// What the keys of the objects begin with.
const PROBE: &str = ".civic/health-";
const TOPIC: &str = "health";
/// Checks that the success rate is of.
const REMEMBERED: usize = 100;
/// Others may note theirs between our look and our writing it down.
const SWAPS: u32 = 8;

/// How a check went, and those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checked {
    pub healthy: bool,
    /// Milliseconds that all of it took.
    pub latency: u64,
    pub last_check: DateTime<Utc>,
    pub error: Option<Unhealthy>,
    /// Of the last hundred, oldest first: `+` for a good one, `-` for a bad one.
    history: String,
}

/// Why a provider is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealthy {
    pub code: String,
    pub message: String,
}

impl Checked {
    /// The share of the last hundred checks that went well.
    #[must_use]
    pub fn success_rate(&self) -> f64 {
        let good = self.history.bytes().filter(|mark| *mark == b'+').count();
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred")]
        let rate = good as f64 / self.history.len().max(1) as f64;
        rate
    }

    fn after(
        before: Option<&Self>,
        found: &Result<(), ProviderError>,
        latency: Duration,
        now: DateTime<Utc>,
    ) -> Self {
        let mut history = before.map(|before| before.history.clone()).unwrap_or_default();
        history.push(if found.is_ok() { '+' } else { '-' });
        let surplus = history.len().saturating_sub(REMEMBERED);
        Self {
            healthy: found.is_ok(),
            latency: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            last_check: now,
            error: found.as_ref().err().map(|error| Unhealthy {
                code: error.code().to_owned(),
                message: error.to_string(),
            }),
            history: history.split_off(surplus),
        }
    }
}

/// A provider as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub provider: String,
    pub type_name: &'static str,
    pub checked: Checked,
    /// `closed`, `open` or `half-open`.
    pub circuit: &'static str,
    /// The check was made before, and is still believed.
    pub cached: bool,
}

/// What health checks work with.
#[derive(Debug, Clone)]
pub struct Doctor {
    /// Where checks are noted; `None` where nothing may be written.
    pub notes: Option<Arc<dyn JournalStore>>,
    pub clock: Arc<dyn Clock>,
    /// For how long a check is believed.
    pub interval: Duration,
}

impl Doctor {
    /// All of them side by side; `refresh` believes no earlier check.
    pub async fn examine_all(&self, providers: &[Provider], refresh: bool) -> Vec<Health> {
        join_all(providers.iter().map(|provider| self.examine(provider, refresh))).await
    }

    /// One provider. A check that cannot be noted is a check all the same.
    ///
    /// # Cancellation
    /// May leave a small object below `.civic/`, which a later check removes.
    pub async fn examine(&self, provider: &Provider, refresh: bool) -> Health {
        let before = self.noted(&provider.name).await.map(|(checked, _)| checked);
        let (checked, cached) = match before {
            Some(before) if !refresh && self.is_fresh(&before) => (before, true),
            _ => (self.check(provider).await, false),
        };
        Health {
            provider: provider.name.clone(),
            type_name: provider.type_name,
            checked,
            circuit: provider.circuit().await.phase.name(),
            cached,
        }
    }

    /// Whether the last check, if it is still believed, found the provider unhealthy.
    pub async fn is_doubtful(&self, provider: &str) -> bool {
        let noted = self.noted(provider).await;
        noted.is_some_and(|(checked, _)| !checked.healthy && self.is_fresh(&checked))
    }

    /// One of the future was made before the clock was set back.
    fn is_fresh(&self, checked: &Checked) -> bool {
        let age = self.clock.now() - checked.last_check;
        age.to_std().is_ok_and(|age| age < self.interval)
    }

    async fn check(&self, provider: &Provider) -> Checked {
        let started = Instant::now();
        let found = probe(provider).await;
        let latency = started.elapsed();
        for _ in 0..SWAPS {
            let before = self.noted(&provider.name).await;
            let (before, text) = before.map_or((None, None), |(before, text)| (Some(before), Some(text)));
            let checked = Checked::after(before.as_ref(), &found, latency, self.clock.now());
            if self.note(&provider.name, text.as_deref(), &checked).await {
                return checked;
            }
        }
        Checked::after(None, &found, latency, self.clock.now())
    }

    async fn noted(&self, provider: &str) -> Option<(Checked, String)> {
        let notes = self.notes.as_ref()?.notes(TOPIC).await.ok()?;
        let (_, text) = notes.into_iter().find(|(name, _)| name == provider)?;
        Some((serde_json::from_str(&text).ok()?, text))
    }

    /// `false` where somebody else noted something meanwhile.
    async fn note(&self, provider: &str, before: Option<&str>, checked: &Checked) -> bool {
        let (Some(notes), Ok(text)) = (&self.notes, serde_json::to_string(checked)) else {
            return true;
        };
        match notes.swap_note(TOPIC, provider, before, &text).await {
            Ok(is_noted) => is_noted,
            Err(error) => {
                tracing::debug!("a health check was not noted: {error}");
                true
            }
        }
    }
}

/// Puts, reads, compares, deletes.
///
/// # Errors
/// Where any of it fails, or other bytes come back.
async fn probe(provider: &Provider) -> Result<(), ProviderError> {
    let id = Uuid::new_v4();
    let at = provider.location(&Key::from(format!("{PROBE}{id}").as_str()))?;
    let failed = |error| provider.store_error("health check", error);
    let sent = id.as_bytes().to_vec();
    provider
        .store
        .put(&at, PutPayload::from(sent.clone()))
        .await
        .map_err(failed)?;
    let compared = read(provider, &at, &sent).await;
    let deleted = provider.store.delete(&at).await.map_err(failed);
    compared?;
    deleted?;
    provider.collect(PROBE).await;
    Ok(())
}

async fn read(provider: &Provider, at: &object_store::path::Path, sent: &[u8]) -> Result<(), ProviderError> {
    let failed = |error| provider.store_error("health check", error);
    let got = provider.store.get(at).await.map_err(failed)?;
    if got.bytes().await.map_err(failed)? == sent {
        return Ok(());
    }
    Err(ProviderError::Invalid {
        provider: provider.name.clone(),
        operation: "health check",
        reason: "other bytes came back than were put".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_the_last_hundred_checks() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let down = Err(ProviderError::RootMissing {
            provider: "p".into(),
            root: "r".into(),
        });
        let check = |before: Option<Checked>, found: &Result<(), ProviderError>| {
            Some(Checked::after(
                before.as_ref(),
                found,
                Duration::from_millis(7),
                now,
            ))
        };
        let mut checked = None;
        for _ in 0..50 {
            checked = check(checked, &down);
        }
        assert!(
            checked
                .as_ref()
                .is_some_and(|checked| !checked.healthy && checked.success_rate() < 0.001)
        );
        for _ in 0..75 {
            checked = check(checked, &Ok(()));
        }
        let checked = checked.unwrap();
        assert!(checked.healthy && checked.error.is_none());
        assert!((checked.success_rate() - 0.75).abs() < 0.001);
    }
}
