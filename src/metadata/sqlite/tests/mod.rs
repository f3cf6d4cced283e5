//! SQLite databases as other programs leave them: written here with rusqlite, read through the store.

mod errors;
mod opening;
mod order;
mod values;
mod writers;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::SqliteStore;
use crate::metadata::contract::{Seed, Seeded, contract_suite};
use crate::metadata::{MetadataError, MetadataStore, ScanScope, ScannedRecord};

contract_suite!(seeded);

/// The table as CivicPress 0.3.1 makes it.
const TABLE: &str = "CREATE TABLE storage_files (
    id TEXT PRIMARY KEY, original_name TEXT NOT NULL, stored_filename TEXT NOT NULL, folder TEXT NOT NULL,
    relative_path TEXT NOT NULL, provider_path TEXT NOT NULL, size INTEGER NOT NULL, mime_type TEXT NOT NULL,
    description TEXT, uploaded_by TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP)";

/// A directory with one database in it.
pub(super) struct Town {
    dir: TempDir,
}

impl Town {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A database in that journal mode with these rows, closed again.
    pub(super) fn with(mode: &str, seeds: &[Seed]) -> Self {
        let town = Self::new();
        insert(&town.writer(mode), seeds);
        town
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("civic.db")
    }

    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("civic.db{suffix}"))
    }

    /// A connection of another program's, with the table.
    pub(super) fn writer(&self, mode: &str) -> Connection {
        let connection = Connection::open(self.path()).unwrap();
        connection.pragma_update(None, "journal_mode", mode).unwrap();
        connection
            .execute_batch(&TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            .unwrap();
        connection
    }

    pub(super) fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }

    /// Names and contents of everything in the directory.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        files(self.dir.path())
    }
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

pub(super) fn insert(connection: &Connection, seeds: &[Seed]) {
    let transaction = connection.unchecked_transaction().unwrap();
    for seed in seeds {
        let relative = format!("{}/{}", seed.folder, seed.stored_filename);
        transaction
            .prepare_cached("INSERT INTO storage_files VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?11)")
            .unwrap()
            .execute(params![
                seed.id,
                seed.original_name,
                seed.stored_filename,
                seed.folder,
                relative,
                seed.provider_path,
                seed.size,
                seed.mime_type,
                seed.description,
                seed.uploaded_by,
                seed.created_at,
            ])
            .unwrap();
    }
    transaction.commit().unwrap();
}

fn many(count: u64) -> Vec<Seed> {
    (0..count)
        .map(|number| Seed::new(number, "permits", "x.pdf"))
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the suite hands its rows over")]
fn seeded(seeds: Vec<Seed>) -> Seeded {
    let town = Town::with("WAL", &seeds);
    Seeded {
        store: Arc::new(town.store()),
        _keep: Box::new(town),
    }
}

async fn all(store: &SqliteStore) -> Result<Vec<ScannedRecord>, MetadataError> {
    let items: Vec<_> = store.scan(ScanScope::Under(String::new())).collect().await;
    items.into_iter().collect()
}

async fn count(store: &SqliteStore) -> u64 {
    store.usage(&[]).await.unwrap().iter().map(|row| row.files).sum()
}
