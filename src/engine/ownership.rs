//! Whose the providers are that a command is about to move or delete files in: the one place that asks, before anything
//! is changed, and that puts our marker where nobody's is.
//!
//! A copy of the database knows every file of the original. Were it not told apart here, the staging system that it was
//! made for would delete the files of the town.

use std::sync::Arc;

use serde::Serialize;

use super::changes::Sites;
use super::marker::{self, Claim, Ownership};
use crate::providers::{Provider, ProviderError};

/// The rule's name, as `--override` takes it.
pub const RULE: &str = "ownership";

/// A provider that another installation's marker stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    pub provider: String,
    /// Whose it is.
    pub message: String,
}

/// A provider that was claimed though it was another's, by the operator's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenOver {
    pub provider: String,
    /// What its marker had said.
    pub was: String,
}

/// What was seen at the markers of some providers.
#[derive(Debug)]
pub struct Custody {
    claim: Claim,
    seen: Vec<(Arc<Provider>, Ownership)>,
}

impl Custody {
    /// Reads the markers of these providers. One that does not answer cannot be used from then on: its items fail.
    pub async fn look(claim: Claim, sites: &mut Sites, names: impl IntoIterator<Item = &str>) -> Self {
        let mut seen = Vec::new();
        for name in names {
            let Some(Ok(provider)) = sites.providers.get(name) else {
                continue;
            };
            let provider = Arc::clone(provider);
            match marker::look(&provider, &claim).await {
                Ok(ownership) => seen.push((provider, ownership)),
                Err(error) => sites.give_up(name, &error),
            }
        }
        Self { claim, seen }
    }

    /// Those that are not ours.
    #[must_use]
    pub fn foreign(&self) -> Vec<Foreign> {
        let foreign = |(provider, seen): &(Arc<Provider>, Ownership)| match seen {
            Ownership::Foreign(message) => Some(Foreign {
                provider: provider.name.clone(),
                message: message.clone(),
            }),
            _ => None,
        };
        self.seen.iter().filter_map(foreign).collect()
    }

    /// Makes all of them ours, those of others included: called where there are none, or where the operator said so.
    /// One that does not take the marker cannot be used from then on. `bare` as in [`Permit`].
    pub async fn claim(self, sites: &mut Sites, bare: bool) -> Vec<TakenOver> {
        let mut taken = Vec::new();
        for (provider, seen) in self.seen {
            let told = match &seen {
                Ownership::Foreign(was) => Some(was.as_str()),
                _ => None,
            };
            match secure(&provider, &self.claim, Permit { told, bare }).await {
                Ok(was) => taken.extend(was),
                Err(error) => sites.give_up(&provider.name, &error),
            }
        }
        taken
    }
}

/// What may be claimed beside what is plainly free.
#[derive(Debug, Clone, Copy, Default)]
pub struct Permit<'a> {
    /// Another's, by the operator's word: what it said when the operator was told, in the words of
    /// [`Ownership::Foreign`].
    pub told: Option<&'a str>,
    /// A root with nothing in it, which elsewhere is taken for the place of a disk that is not mounted.
    pub bare: bool,
}

/// Makes one provider ours. Another's is taken over only where it is the one that the operator was told of.
///
/// # Errors
/// Where the provider does not answer, or somebody else came first.
///
/// # Cancellation
/// Safe: the marker is ours or is not.
pub async fn secure(
    provider: &Provider,
    ours: &Claim,
    permit: Permit<'_>,
) -> Result<Option<TakenOver>, ProviderError> {
    let lost = |message: String| ProviderError::Invalid {
        provider: provider.name.clone(),
        operation: "claim",
        reason: message,
    };
    let (now, was) = match marker::look(provider, ours).await? {
        Ownership::Ours => return Ok(None),
        Ownership::Unclaimed
            if provider.type_name == "local" && !permit.bare && provider.probe().await?.bare =>
        {
            return Ok(None);
        }
        Ownership::Unclaimed => (marker::claim(provider, ours).await?, None),
        Ownership::Foreign(was) if permit.told == Some(&was) => {
            (marker::take_over(provider, ours).await?, Some(was))
        }
        Ownership::Foreign(message) => return Err(lost(message)),
    };
    match now {
        Ownership::Ours => Ok(was.map(|was| TakenOver {
            provider: provider.name.clone(),
            was,
        })),
        Ownership::Foreign(message) => Err(lost(message)),
        Ownership::Unclaimed => Err(lost("its marker was written and is not there".to_owned())),
    }
}
