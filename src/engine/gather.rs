//! The ids of the records that a long work is about: read at once and kept out of core, since the work would hold a
//! snapshot of the database for all of its time.

use std::io;

use futures::TryStreamExt;

use crate::metadata::{MetadataError, MetadataStore, ScanScope, ScannedRecord};
use crate::spill::{Sorter, Spool};

/// Bytes that sorting them may take.
const BUDGET: usize = 4 << 20;

/// Why they could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] io::Error),
}

/// Those of `first`, then those of the records that are wanted, in order and each once.
///
/// # Errors
/// Where the database or the temporary directory fails.
pub(super) async fn gather<S: MetadataStore + ?Sized>(
    store: &S,
    scopes: Vec<ScanScope>,
    first: &[String],
    mut is_wanted: impl FnMut(&ScannedRecord) -> bool,
) -> Result<Spool, GatherError> {
    let mut sorted = Sorter::new(BUDGET);
    for scope in scopes {
        let mut records = store.scan(scope);
        while let Some(record) = records.try_next().await? {
            if is_wanted(&record) {
                sorted.push(record.id.as_bytes(), &[])?;
            }
        }
    }
    let mut ids = Spool::new();
    for id in first {
        ids.push(id.as_bytes())?;
    }
    let mut last = Vec::new();
    for pair in sorted.finish()? {
        let (id, _) = pair?;
        // Roots may lie in one another.
        if id != last {
            ids.push(&id)?;
            last = id;
        }
    }
    Ok(ids)
}

/// The next ids, at most so many.
///
/// # Errors
/// Where the temporary directory fails.
pub(super) fn some(
    ids: &mut impl Iterator<Item = io::Result<Vec<u8>>>,
    most: usize,
) -> io::Result<Vec<String>> {
    let text = |id: io::Result<Vec<u8>>| Ok(String::from_utf8_lossy(&id?).into_owned());
    ids.take(most).map(text).collect()
}
