//! What a comparison finds, item by item, and where it is kept until the run has earned the right to say it.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::metadata::{ScannedRecord, Stamp};
use crate::providers::Listed;
use crate::spill::Spool;

/// Kinds of finding, as `--kind` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    OrphanedObjects,
    OrphanedRecords,
    Mismatches,
    Misplaced,
    Foreign,
    Unmapped,
    Sidecars,
    Multipart,
    Errors,
}

impl Kind {
    /// What a run reports item by item when nobody asks for more: the rest is counted.
    pub const DEFAULT: [Self; 3] = [Self::OrphanedObjects, Self::OrphanedRecords, Self::Mismatches];
}

/// An object of this system's shape that no record names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedObject {
    pub provider: String,
    pub key: String,
    pub path: String,
    pub size: u64,
    pub last_modified: DateTime<Utc>,
    /// With size and time, what tells whether it is still the object that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
}

/// A record whose object the provider said is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrphanedRecord {
    pub id: String,
    pub original_name: String,
    pub folder: String,
    pub provider: String,
    pub path: String,
    pub size: i64,
    pub created_at: Option<String>,
    /// Tells whether it is still the row that was judged.
    pub updated_at: Option<String>,
}

/// Object and record are both there, of different sizes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    pub id: String,
    pub path: String,
    pub recorded_size: i64,
    pub actual_size: u64,
    pub provider: String,
    pub original_name: String,
}

/// An object that some record's UUID claims, though no record names its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Misplaced {
    pub provider: String,
    pub key: String,
    pub id: String,
    pub size: u64,
    /// The record's own object is gone: this may be the only copy, so the record is no orphan either.
    pub record_object_missing: bool,
}

impl Misplaced {
    pub(super) fn new(provider: &str, object: &Listed, id: String) -> Self {
        Self {
            provider: provider.to_owned(),
            key: object.key.to_string(),
            id,
            size: object.size,
            record_object_missing: false,
        }
    }
}

/// A sidecar whose object is gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoneSidecar {
    pub provider: String,
    pub key: String,
    /// Bytes, of the sidecar.
    pub size: u64,
    pub last_modified: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub etag: Option<String>,
    /// Some record has its UUID: it stays for as long as the record does.
    pub has_record: bool,
    /// Younger than the least age: a sidecar is written after its object, and may be deleted after it.
    pub too_recent: bool,
}

impl LoneSidecar {
    /// Whether nothing speaks against its going.
    #[must_use]
    pub const fn may_go(&self) -> bool {
        !self.has_record && !self.too_recent
    }
}

/// An upload in parts under a key of ours that was begun and not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaleUpload {
    pub provider: String,
    pub key: String,
    /// The provider's own name of it.
    pub upload_id: String,
    /// `None` where the provider does not say.
    pub initiated: Option<DateTime<Utc>>,
    /// Somebody alive works on it.
    pub in_flight: bool,
    /// Younger than the least age, or of an age that nobody knows.
    pub too_recent: bool,
}

impl StaleUpload {
    /// Whether nothing speaks against its end.
    #[must_use]
    pub const fn may_go(&self) -> bool {
        !self.in_flight && !self.too_recent
    }
}

/// Something under the root that this system did not name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stray {
    pub provider: String,
    pub key: String,
    pub size: u64,
}

/// A record that no configured provider's root matches.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unmapped {
    pub id: String,
    pub original_name: String,
    pub folder: String,
    pub path: String,
}

impl From<&ScannedRecord> for Unmapped {
    fn from(record: &ScannedRecord) -> Self {
        Self {
            id: record.id.clone(),
            original_name: record.original_name.clone(),
            folder: record.folder.clone(),
            path: record.provider_path.clone(),
        }
    }
}

/// An item that could not be judged, and why. It is never a finding.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemError {
    pub file: String,
    pub error: String,
    pub error_code: String,
    /// What a program may want to know of it besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

impl ItemError {
    /// Whether it says that the same may work later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let details = self.details.as_ref();
        details.is_some_and(|details| details["retryable"] == true)
    }
}

/// Findings kept out of core, a list per kind, each in the order it was found. Holds a bounded amount in memory
/// whatever their number.
#[derive(Debug, Default)]
pub struct Findings {
    lists: BTreeMap<Kind, Spool>,
}

impl Findings {
    /// Adds one finding to its list.
    ///
    /// # Errors
    /// Where the temporary directory cannot take it.
    pub fn push(&mut self, kind: Kind, finding: &impl Serialize) -> io::Result<()> {
        let line = serde_json::to_vec(finding)?;
        self.push_line(kind, &line)
    }

    pub(super) fn push_line(&mut self, kind: Kind, line: &[u8]) -> io::Result<()> {
        self.lists.entry(kind).or_default().push(line)
    }

    /// Moves everything of `other` behind what is here.
    ///
    /// # Errors
    /// Where either cannot be read or written.
    pub fn append(&mut self, other: &Self) -> io::Result<()> {
        for kind in other.lists.keys() {
            for line in other.lines(*kind) {
                self.push_line(*kind, &line?)?;
            }
        }
        Ok(())
    }

    /// Whether there is none of a kind.
    #[must_use]
    pub fn is_empty(&self, kind: Kind) -> bool {
        !self.lists.contains_key(&kind)
    }

    /// The findings of a kind as JSON objects, from the first on; an error where one cannot be read back.
    pub fn lines(&self, kind: Kind) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        self.lists.get(&kind).into_iter().flat_map(Spool::iter)
    }
}

/// A stamp as a finding shows it.
pub fn stamp_text(stamp: &Stamp) -> Option<String> {
    stamp.iso()
}
