//! The records that a list of names means, each once and in the order of the list, out of core: what is to be done to
//! them is shown and asked before anything is done.

use std::collections::BTreeSet;
use std::io;
use std::pin::pin;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::changes::Preview;
use super::named::{no_room, the_one};
use crate::engine::changes::{Changes, Sites};
use crate::engine::info;
use crate::error::Failure;
use crate::metadata::{FileRecord, MetadataStore};
use crate::spill::{Sorter, Spool};

/// Names that are looked up in one question.
const AT_ONCE: usize = 200;
/// Questions under way at once: while some are answered, others are gone through.
const AHEAD: usize = 3;
/// Records of which so many are acted on in the order of their keys: what is in one folder is then listed faster than asked
/// for one by one.
const MANY: u64 = 500;
/// Bytes that sorting may take.
const BUDGET: usize = 2 << 20;

/// What was chosen.
#[derive(Debug, Default)]
pub struct Selection {
    /// Ids of the records, as they were named; of many, in the order of their keys.
    pub ids: Spool,
    pub preview: Preview,
    /// Providers that their objects are in.
    pub providers: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Chosen {
    id: String,
    path: String,
    label: String,
    size: u64,
}

/// Gathers records, and tells each once.
#[derive(Debug)]
pub struct Gathering<'a> {
    sites: &'a Sites,
    by_id: Sorter,
    taken: u64,
    providers: BTreeSet<String>,
}

impl<'a> Gathering<'a> {
    pub fn new(sites: &'a Sites) -> Self {
        Self {
            sites,
            by_id: Sorter::new(BUDGET),
            taken: 0,
            providers: BTreeSet::new(),
        }
    }

    /// Adds what the names mean; what means nothing, or too much, fails.
    ///
    /// # Errors
    /// Where the database cannot be read, or there is no room.
    pub async fn add_all(
        &mut self,
        store: &dyn MetadataStore,
        names: &Spool,
        changes: &mut Changes,
    ) -> Result<(), Failure> {
        let batches = stream::iter(names.iter()).chunks(AT_ONCE).map(async |batch| {
            let batch: io::Result<Vec<Vec<u8>>> = batch.into_iter().collect();
            let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
            let batch: Vec<String> = batch.map_err(no_room)?.iter().map(text).collect();
            let found = info::find_all(store, &batch).await?;
            Ok::<_, Failure>((batch, found))
        });
        let mut batches = pin!(batches.buffered(AHEAD));
        while let Some(batch) = batches.next().await {
            let (names, found) = batch?;
            for (name, candidates) in names.iter().zip(found) {
                self.add(name, candidates, changes)?;
            }
        }
        Ok(())
    }

    /// Adds what one name means.
    ///
    /// # Errors
    /// Where there is no room.
    pub fn add(
        &mut self,
        name: &str,
        candidates: Vec<FileRecord>,
        changes: &mut Changes,
    ) -> Result<(), Failure> {
        match the_one(name, candidates) {
            Ok(record) => self.take(&record).map_err(no_room),
            Err(error) => {
                changes.fail(error);
                Ok(())
            }
        }
    }

    fn take(&mut self, record: &FileRecord) -> io::Result<()> {
        if let Ok((provider, _)) = self.sites.of_record(record) {
            self.providers.insert(provider.name.clone());
        }
        let chosen = Chosen {
            label: format!("{}/{}  {}", record.folder, record.original_name, record.id),
            size: u64::try_from(record.size).unwrap_or(0),
            id: record.id.clone(),
            path: record.provider_path.clone(),
        };
        // Its place in the list goes first: what is sorted back by it comes out as it was named.
        let mut line = self.taken.to_be_bytes().to_vec();
        serde_json::to_writer(&mut line, &chosen)?;
        self.taken += 1;
        self.by_id.push(record.id.as_bytes(), &line)
    }

    /// Each record once, where it was named first.
    ///
    /// # Errors
    /// Where there is no room.
    pub fn finish(self) -> Result<Selection, Failure> {
        self.finished().map_err(no_room)
    }

    fn finished(self) -> io::Result<Selection> {
        let mut by_place = Sorter::new(BUDGET);
        let mut last: Option<Vec<u8>> = None;
        for pair in self.by_id.finish()? {
            let (id, line) = pair?;
            if last.as_ref() == Some(&id) {
                continue;
            }
            last = Some(id);
            let (place, chosen) = line.split_at(size_of::<u64>());
            by_place.push(place, chosen)?;
        }
        let mut selection = Selection {
            providers: self.providers,
            ..Selection::default()
        };
        let mut by_key = Sorter::new(BUDGET);
        for pair in by_place.finish()? {
            let chosen: Chosen = serde_json::from_slice(&pair?.1)?;
            if self.taken > MANY {
                by_key.push(chosen.path.as_bytes(), chosen.id.as_bytes())?;
            } else {
                selection.ids.push(chosen.id.as_bytes())?;
            }
            selection.preview.add(|| chosen.label, chosen.size);
        }
        for pair in by_key.finish()? {
            selection.ids.push(&pair?.1)?;
        }
        Ok(selection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Stamp;

    fn record(id: &str, size: i64) -> FileRecord {
        FileRecord {
            id: id.to_owned(),
            original_name: format!("{id}.txt"),
            stored_filename: String::new(),
            folder: "permits".to_owned(),
            relative_path: String::new(),
            provider_path: id.to_owned(),
            size,
            mime_type: String::new(),
            description: None,
            uploaded_by: None,
            created_at: Stamp::Unreadable(None),
            updated_at: Stamp::Unreadable(None),
        }
    }

    #[test]
    fn each_is_chosen_once_in_the_order_of_the_names() {
        let sites = Sites::default();
        let (mut gathering, mut changes) = (Gathering::new(&sites), Changes::default());
        for id in ["c", "a", "c", "b", "a"] {
            gathering.add(id, vec![record(id, 2)], &mut changes).unwrap();
        }
        gathering.add("none", vec![], &mut changes).unwrap();
        let both = vec![record("a", 1), record("b", 1)];
        gathering.add("both", both, &mut changes).unwrap();
        let selection = gathering.finish().unwrap();
        let ids: Vec<Vec<u8>> = selection.ids.iter().map(Result::unwrap).collect();
        assert_eq!(ids, [b"c", b"a", b"b"]);
        assert_eq!(changes.failed().len(), 2);
        let shown = selection.preview.to_string();
        assert!(
            shown.starts_with("  permits/c.txt  c") && shown.ends_with("3 files, 6 B"),
            "{shown}"
        );
    }

    #[test]
    fn more_than_fits_in_memory_is_chosen_each_once_in_the_order_of_keys() {
        let sites = Sites::default();
        let (mut gathering, mut changes) = (Gathering::new(&sites), Changes::default());
        for n in (0..60_000).rev().chain(0..60_000) {
            let id = format!("{n:08}");
            gathering.add(&id, vec![record(&id, 1)], &mut changes).unwrap();
        }
        assert!(gathering.by_id.has_spilled());
        let selection = gathering.finish().unwrap();
        let ids: Vec<Vec<u8>> = selection.ids.iter().map(Result::unwrap).collect();
        let expected = (0..60_000).map(|n| format!("{n:08}").into_bytes());
        assert!(ids.into_iter().eq(expected));
    }
}
