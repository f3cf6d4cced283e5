//! The records that are to go, batch by batch. Where they are more than one batch takes, neighbouring keys come together:
//! what is in one folder is listed faster than it is asked for one by one.

use std::collections::VecDeque;

use crate::engine::changes::{Changes, failed};
use crate::engine::journal::JournalError;
use crate::metadata::{FileRecord, MetadataStore};
use crate::spill::{Spool, SpoolIter};

/// Records that are read together.
const WINDOW: usize = 10_000;

/// Reads them as they are wanted.
pub(super) struct Batches<'a> {
    store: &'a dyn MetadataStore,
    ids: SpoolIter<'a>,
    size: usize,
    waiting: VecDeque<FileRecord>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(store: &'a dyn MetadataStore, ids: &'a Spool, size: usize) -> Self {
        Self {
            store,
            ids: ids.iter(),
            size,
            waiting: VecDeque::new(),
        }
    }

    /// The next records; those that are gone by now fail. `None` at the end.
    pub(super) async fn next(
        &mut self,
        changes: &mut Changes,
    ) -> Result<Option<Vec<FileRecord>>, JournalError> {
        while self.waiting.is_empty() {
            if !self.read(changes).await? {
                return Ok(None);
            }
        }
        let size = self.size.min(self.waiting.len());
        Ok(Some(self.waiting.drain(..size).collect()))
    }

    /// Says whether anything was left to be read.
    async fn read(&mut self, changes: &mut Changes) -> Result<bool, JournalError> {
        let window = WINDOW.max(self.size);
        let ids: Vec<Vec<u8>> = self.ids.by_ref().take(window).collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(false);
        }
        let ids: Vec<String> = ids
            .iter()
            .map(|id| String::from_utf8_lossy(id).into_owned())
            .collect();
        let mut records = Vec::with_capacity(ids.len());
        for (id, record) in ids.iter().zip(self.store.get_many(&ids).await?) {
            match record {
                Some(record) => records.push(record),
                None => changes.fail(failed(
                    id,
                    "STORAGE_FILE_NOT_FOUND",
                    "its record was deleted meanwhile; nothing was done",
                )),
            }
        }
        if records.len() > self.size {
            records.sort_by(|one, other| one.provider_path.cmp(&other.provider_path));
        }
        self.waiting.extend(records);
        Ok(true)
    }
}
