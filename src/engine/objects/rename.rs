//! A move on a disk: one rename, looked at.

use chrono::{DateTime, TimeDelta, Utc};
use object_store::ObjectStoreExt;

use super::MoveOutcome;
use crate::metadata::journal::Evidence;
use crate::providers::{Key, Listed, Provider, ProviderError};

/// Whether a file's time came along to where it was moved, which may be a file system that keeps it less exactly: to
/// 100 ns (NTFS), 10 ms (exFAT) or two seconds (FAT).
fn is_kept(seen: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let coarse = now.timestamp_subsec_nanos().is_multiple_of(10_000_000);
    let lost = seen - now;
    lost >= TimeDelta::zero() && (lost < TimeDelta::microseconds(1) || coarse && lost < TimeDelta::seconds(2))
}

/// One rename, which keeps size and time: should another file have come to the key since it was looked at, that
/// one goes back.
pub(super) async fn rename(
    provider: &Provider,
    from: &Key,
    to: &Key,
    source: &Listed,
    evidence: &Evidence,
) -> Result<MoveOutcome, ProviderError> {
    match rename_bytes(provider, from, to).await? {
        Ok(()) => {}
        Err(object_store::Error::AlreadyExists { .. }) => return Ok(MoveOutcome::TargetTaken),
        Err(object_store::Error::Precondition { .. }) => return Ok(MoveOutcome::Changed),
        Err(object_store::Error::NotFound { .. }) => {
            let there = provider
                .head(to)
                .await?
                .is_some_and(|found| found.size == evidence.size);
            return Ok(if there {
                MoveOutcome::AlreadyThere
            } else {
                MoveOutcome::Missing
            });
        }
        Err(error) => return Err(provider.store_error("move", error)),
    }
    match provider.head(to).await? {
        Some(moved) if moved.size == source.size && is_kept(source.last_modified, moved.last_modified) => {
            Ok(MoveOutcome::Moved)
        }
        _ => {
            let back = rename_bytes(provider, to, from).await?;
            back.map_err(|error| provider.store_error("move", error))?;
            Ok(MoveOutcome::Changed)
        }
    }
}

async fn rename_bytes(
    provider: &Provider,
    from: &Key,
    to: &Key,
) -> Result<object_store::Result<()>, ProviderError> {
    let (from, to) = (provider.location(from)?, provider.location(to)?);
    Ok(provider.store.rename_if_not_exists(&from, &to).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_another_disk_keeps_less_exactly_is_the_same_and_any_other_is_not() {
        let seen = DateTime::from_timestamp(1_700_000_001, 123_456_789).unwrap();
        let at = |seconds, nanos| DateTime::from_timestamp(seconds, nanos).unwrap();
        assert!(is_kept(seen, seen));
        assert!(is_kept(seen, at(1_700_000_001, 123_456_700)), "NTFS");
        assert!(is_kept(seen, at(1_700_000_001, 120_000_000)), "exFAT");
        assert!(is_kept(seen, at(1_700_000_001, 0)), "whole seconds");
        assert!(is_kept(seen, at(1_700_000_000, 0)), "FAT");
        assert!(!is_kept(seen, at(1_700_000_001, 123_000_001)));
        assert!(!is_kept(seen, at(1_700_000_002, 0)), "written later");
        assert!(!is_kept(seen, at(1_699_999_999, 0)));
    }
}
