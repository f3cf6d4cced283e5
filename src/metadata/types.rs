//! Rows and questions of the metadata store.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Stamp;

/// A row of `storage_files`. As JSON its times are ISO 8601, and what is read back from there writes them in the one
/// form this program writes. Two are equal where the database would hold the same, column by column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRecord {
    pub id: String,
    pub original_name: String,
    pub stored_filename: String,
    pub folder: String,
    pub relative_path: String,
    pub provider_path: String,
    /// Bytes, as recorded.
    pub size: i64,
    pub mime_type: String,
    pub description: Option<String>,
    pub uploaded_by: Option<String>,
    pub created_at: Stamp,
    pub updated_at: Stamp,
}

/// What a comparison needs of a record: small, since a scan makes one for every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedRecord {
    pub id: String,
    pub original_name: String,
    pub folder: String,
    pub provider_path: String,
    pub size: i64,
    pub created_at: Stamp,
    pub updated_at: Stamp,
}

/// Which records a scan yields, always ordered by `provider_path`, byte by byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanScope {
    /// `provider_path` begins with this.
    Under(String),
    /// `provider_path` begins with none of these.
    Outside(Vec<String>),
}

/// The named provider's roots, for questions that count per provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRoots {
    pub provider: String,
    pub roots: Vec<String>,
}

/// Files and bytes of one folder on one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    pub folder: String,
    /// `None` where no configured provider's root matches.
    pub provider: Option<String>,
    pub files: u64,
    /// Bytes, as recorded; a negative recorded size counts as 0.
    pub bytes: u64,
}

/// What else usage can be counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageDimension {
    /// The MIME type.
    Type,
    /// `YYYY-MM` of the creation, in UTC.
    Month,
    Uploader,
}

/// Files and bytes in the trash that were of one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashRow {
    /// `None` where no folder can be told.
    pub folder: Option<String>,
    pub files: u64,
    pub bytes: u64,
}

/// How the database stood when a report was begun. Differs once this program has changed anything, or anybody has added
/// a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub generation: i64,
    pub newest: Option<i64>,
}

/// What is kept of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptReport {
    /// When it was made, and what it said.
    pub report: Option<(DateTime<Utc>, String)>,
    /// For a report that is begun now; `None` where none can be kept.
    pub mark: Option<Mark>,
}

/// A report to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// What was asked; the same text finds it again.
    pub request: String,
    pub mark: Mark,
    pub made_at: DateTime<Utc>,
    /// Reports that were made before are of no use any more.
    pub good_since: DateTime<Utc>,
    pub text: String,
}

/// One page of `storage:list`.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    pub folder: Option<String>,
    /// Case-insensitive substring of the original name, the description or the id.
    pub search: Option<String>,
    /// A MIME type (`image/png`), its first half (`image`), or an extension (`pdf`).
    pub mime_or_extension: Option<String>,
    /// Only records under these roots.
    pub roots: Option<Vec<String>>,
    pub sort: SortKey,
    pub descending: bool,
    pub offset: u64,
    pub limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    #[default]
    Created,
    Updated,
    Name,
    Size,
    Folder,
    Type,
}

/// A page and what it is a page of.
#[derive(Debug, Clone)]
pub struct RecordPage {
    pub records: Vec<FileRecord>,
    /// Records that match, on all pages.
    pub total: u64,
}
