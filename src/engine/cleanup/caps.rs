//! How much one run may take away, and how much this one would: judged per provider, before anything is touched.

use std::io;

use serde::Deserialize;

use super::finding::{Findings, Kind};
use super::report::{ProviderScan, Warning};

/// Configured percentages leave at least this many alone: ten orphans among fifty files are no catastrophe.
const ALWAYS_ALLOWED: u64 = 10;

/// The name of the rule, for `--override`.
pub const RULE: &str = "max-delete";

/// The most items that a run may delete from one provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Caps {
    /// What storage.yml says. The percentage never allows fewer than 10 items; the count is meant as it stands.
    Configured { count: u64, percent: f64 },
    /// `--max-delete N`, meant as it stands.
    Count(u64),
    /// `--max-delete P%`, meant as it stands.
    Percent(f64),
}

impl Caps {
    /// Items that may go where the provider holds `held`.
    #[must_use]
    pub fn allowed(self, held: u64) -> u64 {
        match self {
            Self::Configured { count, percent } => part(held, percent).max(ALWAYS_ALLOWED).min(count),
            Self::Count(count) => count,
            Self::Percent(percent) => part(held, percent),
        }
    }
}

/// Rounded down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count, between 0 and the count"
)]
fn part(held: u64, percent: f64) -> u64 {
    (held as f64 * percent / 100.0) as u64
}

/// What a run would take from one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub provider: String,
    pub objects: u64,
    pub records: u64,
    /// Sidecars without object and record.
    pub sidecars: u64,
    /// Of the objects.
    pub bytes: u64,
    /// Uploads in parts to be ended: never files, so no deletions of any.
    pub uploads: u64,
    /// Recorded sizes to be set right, where that was asked for; they are no deletions.
    pub repairs: u64,
}

impl Wanted {
    /// Items that would be gone.
    #[must_use]
    pub const fn deletions(&self) -> u64 {
        self.objects + self.records + self.sidecars
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Of {
    provider: String,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    has_record: bool,
    #[serde(default)]
    too_recent: bool,
    #[serde(default)]
    in_flight: bool,
}

/// Counts findings by provider, in the order of the scans.
///
/// # Errors
/// Where the findings cannot be read back.
pub fn wanted(providers: &[ProviderScan], findings: &Findings) -> io::Result<Vec<Wanted>> {
    let named = |scan: &ProviderScan| Wanted {
        provider: scan.name.clone(),
        ..Wanted::default()
    };
    let mut all: Vec<Wanted> = providers.iter().map(named).collect();
    for kind in [
        Kind::OrphanedObjects,
        Kind::OrphanedRecords,
        Kind::Sidecars,
        Kind::Multipart,
        Kind::Mismatches,
    ] {
        for line in findings.lines(kind) {
            let item: Of = serde_json::from_slice(&line?)?;
            let Some(wanted) = all.iter_mut().find(|wanted| wanted.provider == item.provider) else {
                continue;
            };
            match kind {
                Kind::OrphanedObjects => {
                    wanted.objects += 1;
                    wanted.bytes = wanted.bytes.saturating_add(item.size.unsigned_abs());
                }
                Kind::OrphanedRecords => wanted.records += 1,
                Kind::Sidecars => wanted.sidecars += u64::from(!item.has_record && !item.too_recent),
                Kind::Multipart => wanted.uploads += u64::from(!item.in_flight && !item.too_recent),
                _ => wanted.repairs += 1,
            }
        }
    }
    Ok(all)
}

/// Providers from which more would go than may.
pub fn warnings(caps: Caps, providers: &[ProviderScan], wanted: &[Wanted]) -> Vec<Warning> {
    let over = |(scan, wanted): (&ProviderScan, &Wanted)| {
        let held = scan.objects_scanned.max(scan.records_scanned);
        let (asked, allowed) = (wanted.deletions(), caps.allowed(held));
        (asked > allowed).then(|| Warning {
            rule: RULE,
            provider: scan.name.clone(),
            message: format!(
                "{asked} items would be deleted of {held} that it holds, and at most {allowed} may go at once"
            ),
            overridable: true,
        })
    };
    providers.iter().zip(wanted).filter_map(over).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_items_pass_whatever_their_share() {
        let caps = Caps::Configured {
            count: 1000,
            percent: 10.0,
        };
        assert_eq!(caps.allowed(12), 10);
        assert_eq!(caps.allowed(100), 10);
        assert_eq!(caps.allowed(250), 25);
        assert_eq!(caps.allowed(1_000_000), 1000);
    }

    #[test]
    fn what_was_typed_and_a_configured_count_are_meant_as_they_stand() {
        assert_eq!(Caps::Count(0).allowed(1000), 0);
        assert_eq!(Caps::Percent(5.0).allowed(20), 1);
        let few = Caps::Configured {
            count: 3,
            percent: 10.0,
        };
        assert_eq!(few.allowed(1000), 3);
    }
}
