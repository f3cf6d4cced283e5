//! Deletion of records that somebody has judged: of exactly those rows, with objects that are what the rows say.

use tokio::sync::Semaphore;

use super::look::Target;
use super::{Lane, delete_batch};
use crate::engine::changes::{Changes, Sites, failed};
use crate::engine::cleanup::ItemError;
use crate::engine::journal::{JournalError, RunHandle};
use crate::metadata::FileRecord;

/// Deletes a batch of records that the caller has read and judged, into the trash, each only while it is still exactly
/// that. One whose object is missing, or not of its size, is kept.
///
/// # Errors
/// As [`delete`](super::delete).
pub(in crate::engine) async fn judged(
    run: &RunHandle,
    sites: &Sites,
    (records, concurrency): (Vec<FileRecord>, usize),
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let lane = Lane {
        run,
        sites,
        purge: false,
        whole: true,
        permits: Semaphore::new(concurrency.max(1)),
    };
    delete_batch(&lane, records).await?.tell(changes);
    Ok(())
}

/// The same, where the object is what the record says.
pub(super) fn whole(target: Target) -> Result<Target, ItemError> {
    let (id, key) = (&target.record.id, &target.key);
    if let Some(why) = &target.pending {
        let reason = "its provider does not answer; its record is kept";
        return Err(failed(id, &why.error_code, reason));
    }
    match &target.evidence {
        None => {
            let reason =
                format!("its object is not at {key}; its record is kept (storage:cleanup tells more)");
            Err(failed(id, "STORAGE_FILE_NOT_FOUND", &reason))
        }
        Some(seen) if u64::try_from(target.record.size) != Ok(seen.size) => {
            let reason = format!(
                "its object has {} bytes, and its record says {}; nothing was done (storage:cleanup --repair sizes)",
                seen.size, target.record.size
            );
            Err(failed(id, "STORAGE_INTEGRITY_ERROR", &reason))
        }
        Some(_) => Ok(target),
    }
}
