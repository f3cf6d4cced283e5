//! Where a run did not look: a run that is limited to a folder or to some providers sees only part of the objects,
//! and the bytes of a record whose object is gone may lie in the rest (see [`settle`](super::settle)). So before
//! such a record is called orphaned, everything else is listed once more, for its UUIDs alone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use serde::Deserialize;

use super::finding::{Findings, Kind, Misplaced};
use super::report::Warning;
use super::scan::{Scan, uuids_of};
use super::{CleanupRequest, Desk, ScanError, split_points};
use crate::providers::{ListRequest, Provider, is_reserved};

/// What the rest of the deployment showed.
#[derive(Debug, Default)]
pub struct Elsewhere {
    /// Objects that may carry the UUID of a record that was asked for; whoever reads them compares.
    pub objects: Findings,
    /// Providers that could not be looked at.
    pub warnings: Vec<Warning>,
}

/// Which ids are looked for, in a fixed amount of memory: it may say yes to another id, but never no to its own.
#[derive(Debug)]
pub struct Wanted {
    bits: Vec<u64>,
}

impl Wanted {
    const WORDS: usize = 1 << 17;

    pub fn none() -> Self {
        Self {
            bits: vec![0; Self::WORDS],
        }
    }

    /// In any case.
    pub fn add(&mut self, id: &str) {
        let (word, bit) = Self::place(id);
        self.bits[word] |= bit;
    }

    fn may_hold(&self, id: &str) -> bool {
        let (word, bit) = Self::place(id);
        self.bits[word] & bit != 0
    }

    fn place(id: &str) -> (usize, u64) {
        let mut hasher = DefaultHasher::new();
        id.to_lowercase().hash(&mut hasher);
        let hash = hasher.finish();
        let word = usize::try_from(hash >> 6).unwrap_or_default() % Self::WORDS;
        (word, 1 << (hash % 64))
    }
}

#[derive(Deserialize)]
struct HasId {
    id: String,
}

/// Looks where the scans did not, if any of them found a record without its object.
///
/// # Errors
/// Where the temporary directory fails. A provider that cannot be looked at becomes a warning.
pub async fn look(desk: Desk<'_>, request: &CleanupRequest, scans: &[Scan]) -> Result<Elsewhere, ScanError> {
    let asked = |provider: &&Arc<Provider>| request.providers.iter().any(|p| p.name == provider.name);
    let unseen: Vec<Arc<Provider>> = request
        .enabled
        .iter()
        .filter(|provider| request.folder.is_some() || !asked(provider))
        .cloned()
        .collect();
    let mut wanted = Wanted::none();
    let mut any = false;
    for scan in scans
        .iter()
        .filter(|_| !unseen.is_empty() || !request.unreachable.is_empty())
    {
        for line in scan.pending.lines(Kind::OrphanedRecords) {
            let HasId { id } = serde_json::from_slice(&line?).map_err(io::Error::from)?;
            wanted.add(&id);
            any = true;
        }
    }
    if any {
        search(desk, &unseen, &request.unreachable, &wanted).await
    } else {
        Ok(Elsewhere::default())
    }
}

/// Lists all of these providers for objects that may carry a wanted id.
///
/// # Errors
/// As [`look`].
pub async fn search(
    desk: Desk<'_>,
    providers: &[Arc<Provider>],
    unreachable: &[(String, String)],
    wanted: &Wanted,
) -> Result<Elsewhere, ScanError> {
    let mut elsewhere = Elsewhere {
        warnings: unreachable.iter().map(|(name, why)| unseen(name, why)).collect(),
        ..Elsewhere::default()
    };
    for provider in providers {
        desk.progress
            .start(&format!("Looking for lost objects on {}", provider.name), None);
        match search_in(desk, provider, wanted, &mut elsewhere.objects).await {
            Err(error @ (ScanError::Provider(_) | ScanError::Metadata(_))) => {
                elsewhere
                    .warnings
                    .push(unseen(&provider.name, &error.to_string()));
            }
            outcome => outcome?,
        }
        desk.progress.finish();
    }
    Ok(elsewhere)
}

fn unseen(provider: &str, why: &str) -> Warning {
    Warning {
        rule: "limited-view",
        provider: provider.to_owned(),
        message: format!(
            "objects of records that look orphaned may lie there, and it was not looked at: {why}"
        ),
        overridable: true,
    }
}

async fn search_in(
    desk: Desk<'_>,
    provider: &Provider,
    wanted: &Wanted,
    found: &mut Findings,
) -> Result<(), ScanError> {
    let split_at = split_points(desk.metadata, provider).await?;
    let mut listing = provider.list(ListRequest {
        prefix: String::new(),
        split_at,
    });
    let mut seen = 0;
    while let Some(object) = listing.next().await.transpose()? {
        seen += 1;
        desk.progress.advance(seen, &object.key);
        if is_reserved(object.key.as_bytes()) {
            continue;
        }
        for id in uuids_of(&object).into_iter().filter(|id| wanted.may_hold(id)) {
            found.push(Kind::Misplaced, &Misplaced::new(&provider.name, &object, id))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_found_in_either_case_and_little_else_is() {
        let mut wanted = Wanted::none();
        let id = |n: u32| format!("{n:08X}-0000-4000-8000-00000000ABCD");
        (0..1000).for_each(|n| wanted.add(&id(n)));
        assert!((0..1000).all(|n| wanted.may_hold(&id(n).to_lowercase())));
        assert!((1000..2000).filter(|n| wanted.may_hold(&id(*n))).count() < 10);
    }
}
