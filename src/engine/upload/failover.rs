//! Where new files go: the active provider, and while that is down the next of the failover providers that is not.
//!
//! What is down is the circuits' to say, and a health check's: once a circuit has been open for its time, a check and no
//! file is what tries the provider again, and where it passes, writes return. The record of each file names the provider
//! that has its bytes, so nothing has to be set right afterwards; `storage:migrate` brings the files home.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::time::Instant;

use super::put::PutError;
use crate::engine::health::Doctor;
use crate::providers::{Outlook, Provider, ProviderError};

/// How long a provider that failed a check is left alone.
const SICK_FOR: Duration = Duration::from_secs(30);

/// Writes began to go to another provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Switch {
    pub at: DateTime<Utc>,
    pub from: String,
    pub to: String,
    pub reason: String,
}

/// The providers that new files may go to.
#[derive(Debug)]
pub struct Targets {
    /// In the order that they are tried; never empty.
    providers: Vec<Arc<Provider>>,
    doctor: Doctor,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the last file went.
    current: usize,
    /// Until when each that failed a check is left alone.
    sick: Vec<Option<Instant>>,
    switches: Vec<Switch>,
}

impl Targets {
    /// The active provider and those that stand in for it, in order.
    #[must_use]
    pub fn new(active: Arc<Provider>, others: Vec<Arc<Provider>>, doctor: Doctor) -> Self {
        let providers: Vec<_> = std::iter::once(active).chain(others).collect();
        let state = State {
            sick: vec![None; providers.len()],
            ..State::default()
        };
        Self {
            providers,
            doctor,
            state: Mutex::new(state),
        }
    }

    /// The active provider.
    #[must_use]
    pub fn active(&self) -> &Arc<Provider> {
        &self.providers[0]
    }

    pub(super) fn provider(&self, at: usize) -> &Arc<Provider> {
        &self.providers[at]
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.doctor.clock.now()
    }

    /// Every time that writes began to go elsewhere.
    #[must_use]
    pub fn switches(&self) -> Vec<Switch> {
        self.lock().switches.clone()
    }

    /// Believes what other processes found out lately: a provider that they called unhealthy is checked before a file is
    /// sent there.
    pub(super) async fn begin(&self) {
        if self.providers.len() < 2 {
            return;
        }
        for (at, provider) in self.providers.iter().enumerate() {
            if self.doctor.is_doubtful(&provider.name).await {
                self.lock().sick[at] = Some(Instant::now());
            }
        }
    }

    /// Where the next files go. Where nothing is up, the active provider, whose error then says why.
    pub(super) async fn choose(&self) -> usize {
        let chosen = self.first_up(0).await;
        let (at, reasons) = chosen.unwrap_or_else(|reasons| (0, reasons));
        self.went_to(at, &reasons.join("; "));
        at
    }

    /// Where a file goes that this provider could not take; `None` where that was no fault of the provider's, or no
    /// other is up.
    pub(super) async fn after(&self, failed: usize, error: &PutError) -> Option<usize> {
        let PutError::Provider(error) = error else {
            return None;
        };
        // Not where it refused; but a disk that is not mounted takes nothing.
        if !error.is_outage() && !matches!(error, ProviderError::RootMissing { .. }) {
            return None;
        }
        let (at, mut reasons) = self.first_up(failed + 1).await.ok()?;
        reasons.insert(0, error.to_string());
        self.went_to(at, &reasons.join("; "));
        Some(at)
    }

    /// The first from `begin` on that is not known to be down, and why those before it are.
    async fn first_up(&self, begin: usize) -> Result<(usize, Vec<String>), Vec<String>> {
        let mut reasons = Vec::new();
        for at in begin..self.providers.len() {
            match self.is_up(at).await {
                Ok(()) => return Ok((at, reasons)),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons)
    }

    async fn is_up(&self, at: usize) -> Result<(), String> {
        let provider = &self.providers[at];
        if self.providers.len() == 1 {
            return Ok(());
        }
        let sick = self.lock().sick[at];
        let down = |why: &str| Err(format!("{}: {why}", provider.name));
        match (provider.outlook().await, sick) {
            (Outlook::Open, _) => return down("its circuit is open"),
            (_, Some(until)) if until > Instant::now() => return down("it failed its last health check"),
            (Outlook::Closed, None) => return Ok(()),
            (Outlook::Due, _) | (Outlook::Closed, Some(_)) => {}
        }
        // Others need not check it at the same time.
        self.lock().sick[at] = Some(Instant::now() + SICK_FOR);
        let found = self.doctor.examine(provider, true).await.checked;
        if let Some(error) = found.error {
            return Err(error.message);
        }
        self.lock().sick[at] = None;
        Ok(())
    }

    fn went_to(&self, at: usize, reason: &str) {
        let mut state = self.lock();
        if state.current == at {
            return;
        }
        let (from, to) = (&self.providers[state.current].name, &self.providers[at].name);
        let back = at < state.current;
        let reason = if back { "it is healthy again" } else { reason };
        let switch = Switch {
            at: self.now(),
            from: from.clone(),
            to: to.clone(),
            reason: reason.to_owned(),
        };
        if back {
            tracing::warn!("new files go to {to} again, and not to {from} any more: {reason}");
        } else {
            let active = &self.providers[0].name;
            tracing::warn!(
                "new files go to {to} ({reason}); CivicPress reads from {active} only, and finds them once \
                 `storage:migrate --from {to} --to {active}` has brought them home"
            );
        }
        state.current = at;
        state.switches.push(switch);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
