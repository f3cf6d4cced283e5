//! The summary of a run: what every renderer shows, whatever it does with the items.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::ItemError;
use crate::engine::ownership::TakenOver;

/// Whether a run only looked, or did something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    DryRun,
    Apply,
}

/// What was seen of one provider.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderScan {
    pub name: String,
    /// Without sidecars and what this program keeps for itself.
    pub objects_scanned: u64,
    pub records_scanned: u64,
    /// The listing reached its end and every question was answered. Nothing is claimed of a provider otherwise.
    pub complete: bool,
}

impl ProviderScan {
    /// Nothing seen, nothing claimed.
    #[must_use]
    pub fn incomplete(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            objects_scanned: 0,
            records_scanned: 0,
            complete: false,
        }
    }
}

/// How many of each; an item is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub orphaned_objects: u64,
    pub orphaned_records: u64,
    pub mismatches: u64,
    pub foreign: u64,
    pub misplaced: u64,
    pub too_recent: u64,
    pub in_flight: u64,
    pub sidecars_without_object: u64,
    pub unmapped_records: u64,
    /// Uploads in parts that were never ended; looked for where that was asked.
    #[serde(skip_serializing_if = "is_zero")]
    pub multipart_uploads: u64,
}

impl Counts {
    /// Adds another provider's.
    pub fn add(&mut self, other: &Self) {
        self.orphaned_objects += other.orphaned_objects;
        self.orphaned_records += other.orphaned_records;
        self.mismatches += other.mismatches;
        self.foreign += other.foreign;
        self.misplaced += other.misplaced;
        self.too_recent += other.too_recent;
        self.in_flight += other.in_flight;
        self.sidecars_without_object += other.sidecars_without_object;
        self.unmapped_records += other.unmapped_records;
        self.multipart_uploads += other.multipart_uploads;
    }
}

/// What a run did; a dry run did nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Cleaned {
    pub objects: u64,
    pub records: u64,
    pub bytes: u64,
    /// Those of orphaned records, and those that had outlived object and record.
    #[serde(skip_serializing_if = "is_zero")]
    pub sidecars: u64,
    /// Uploads in parts that were never ended.
    #[serde(rename = "multipartUploads", skip_serializing_if = "is_zero")]
    pub uploads: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Findings that were no longer true when their turn came, and were left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    pub objects: u64,
    pub records: u64,
    pub mismatches: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub sidecars: u64,
    #[serde(rename = "multipartUploads", skip_serializing_if = "is_zero")]
    pub uploads: u64,
}

impl Skipped {
    #[must_use]
    pub const fn total(self) -> u64 {
        self.objects + self.records + self.mismatches + self.sidecars + self.uploads
    }
}

/// A safety rule that a real run would refuse by, or that the operator should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// The name that SPEC gives the rule, and that `--override` takes where there is one.
    pub rule: &'static str,
    pub provider: String,
    /// What was seen.
    pub message: String,
    pub overridable: bool,
}

/// Errors by code and by text. The texts are bounded: the rarest are counted, not named.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorSummary {
    pub by_type: BTreeMap<String, u64>,
    pub by_error: Vec<ErrorCount>,
    pub total_errors: u64,
    /// Of items that did not say that the same may work later.
    #[serde(skip)]
    lasting: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct ErrorCount {
    pub error: String,
    pub count: u64,
}

const NAMED_ERRORS: usize = 50;

impl ErrorSummary {
    /// Counts one error.
    pub fn add(&mut self, error: &ItemError) {
        *self.by_type.entry(error.error_code.clone()).or_default() += 1;
        self.total_errors += 1;
        self.lasting += u64::from(!error.may_pass());
        self.count(&error.error, 1);
    }

    /// Whether there were errors, and every item that had one may work later.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        self.total_errors > 0 && self.lasting == 0
    }

    /// Adds another provider's.
    pub fn merge(&mut self, other: Self) {
        self.total_errors += other.total_errors;
        self.lasting += other.lasting;
        for (code, count) in other.by_type {
            *self.by_type.entry(code).or_default() += count;
        }
        for theirs in other.by_error {
            self.count(&theirs.error, theirs.count);
        }
    }

    fn count(&mut self, error: &str, count: u64) {
        if let Some(known) = self.by_error.iter_mut().find(|known| known.error == error) {
            known.count += count;
        } else if self.by_error.len() < NAMED_ERRORS {
            self.by_error.push(ErrorCount {
                error: error.to_owned(),
                count,
            });
        }
    }
}

/// Everything but the items, which stand in [`Findings`](super::Findings) beside it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanupReport {
    pub run_id: String,
    pub mode: Mode,
    pub providers: Vec<ProviderScan>,
    pub counts: Counts,
    /// Bytes of the orphaned objects.
    pub bytes_reclaimable: u64,
    pub cleaned: Cleaned,
    /// Recorded sizes that were set right; `None` in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repaired: Option<u64>,
    /// `None` in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skipped>,
    /// Providers that were another installation's before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<TakenOver>,
    pub error_summary: ErrorSummary,
    pub warnings: Vec<Warning>,
}
