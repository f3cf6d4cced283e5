//! The metadata database: rows of `storage_files`, read while another program writes them.
//!
//! One trait, so that SQLite and PostgreSQL give the same answers. Nothing here knows providers; roots come in
//! as text. `storage_files` itself is never altered.

#[cfg(test)]
mod contract;
pub mod journal;
pub mod quota;
pub mod sqlite;
mod stamp;
mod types;

use std::collections::HashSet;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use stamp::Stamp;
pub use types::{
    FileRecord, KeptReport, ListQuery, Mark, NewReport, ProviderRoots, RecordPage, ScanScope, ScannedRecord,
    SortKey, TrashRow, UsageDimension, UsageRow,
};

/// What can go wrong with the database, each naming it (a path, or a URL without its password).
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("no database at {database}")]
    Missing { database: String },
    #[error("{database} has no table storage_files")]
    NoTable { database: String },
    #[error("{database} is locked by another program: {reason}")]
    Busy { database: String, reason: String },
    #[error("{database} changed while it was being read")]
    Changed { database: String },
    /// The run was ended by another process, or a lease that it held is another's or has run out.
    #[error("run {run} has lost its hold: it was away for too long, and another process may have taken over")]
    Fenced { run: String },
    #[error("{database}: {reason}")]
    Failed { database: String, reason: String },
}

pub type Result<T, E = MetadataError> = std::result::Result<T, E>;

/// A page of records, read in one statement, ordered.
pub type RecordScan = BoxStream<'static, Result<ScannedRecord>>;

/// Questions about the records. Every method sees what was committed before it was called; each is one read
/// transaction, none keeps another program from writing, and dropping a future or a stream ends it.
#[async_trait]
pub trait MetadataStore: std::fmt::Debug + Send + Sync {
    /// The record with exactly this id.
    async fn get(&self, id: &str) -> Result<Option<FileRecord>>;

    /// The records with exactly these ids, in their order; `None` for each that is not there.
    async fn get_many(&self, ids: &[String]) -> Result<Vec<Option<FileRecord>>>;

    /// Records of a folder whose original name, or failing any whose stored filename, is exactly `name`,
    /// ordered by id.
    async fn find_by_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>>;

    /// The same by original names alone, without a look at every row of the folder.
    async fn find_by_original_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>>;

    async fn list(&self, query: &ListQuery) -> Result<RecordPage>;

    /// Files and bytes by folder and provider; a path under two roots counts for the longer one.
    async fn usage(&self, providers: &[ProviderRoots]) -> Result<Vec<UsageRow>>;

    /// Files and bytes by one property of the records, of one folder or all, ordered by its name: (name, files,
    /// bytes). Records without it count under `unknown`.
    async fn usage_by(
        &self,
        dimension: UsageDimension,
        folder: Option<&str>,
    ) -> Result<Vec<(String, u64, u64)>>;

    /// Streams records in `provider_path` order from one snapshot. Memory does not grow with their number.
    fn scan(&self, scope: ScanScope) -> RecordScan;

    /// Which of these ids some record has, compared without regard to case and given back in lower case.
    async fn known_ids(&self, ids: &[String]) -> Result<HashSet<String>>;

    /// Which of these provider paths some record names, byte by byte. One pass over all records, so ask for many at
    /// once.
    async fn known_paths(&self, paths: &[String]) -> Result<HashSet<String>>;

    /// Names of all folders that records are in.
    async fn folders(&self) -> Result<HashSet<String>>;

    /// How many records are in the folder.
    async fn count_in_folder(&self, folder: &str) -> Result<u64>;

    /// About `limit` provider paths under `root`, drawn evenly from all, in ascending order.
    async fn sample_paths(&self, root: &str, limit: u64) -> Result<Vec<String>>;

    /// The database as an operator would name it, without any password.
    fn location(&self) -> String;
}
