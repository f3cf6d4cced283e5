//! What a run found and did: the summary, and the items out of core.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::policy::Policy;
use crate::engine::cleanup::{ErrorSummary, ItemError, Warning};
use crate::engine::ownership::TakenOver;
use crate::spill::Spool;

/// What is done with a file, in the order that a report has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Delete,
    Archive,
    Warn,
    Retain,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Delete, Self::Archive, Self::Warn, Self::Retain];

    /// The word that JSON has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Archive => "archive",
            Self::Warn => "warn",
            Self::Retain => "retain",
        }
    }
}

/// One file and what its policy says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub id: String,
    pub original_name: String,
    pub folder: String,
    /// `None` where no configured provider has it.
    pub provider: Option<String>,
    pub policy: String,
    pub action: Kind,
    pub reason: String,
    /// Whole days; `None` where its age is not known.
    pub age_days: Option<i64>,
    /// Bytes, as recorded.
    pub size: i64,
}

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub delete: u64,
    pub archive: u64,
    pub warn: u64,
    pub retain: u64,
}

impl Counts {
    /// The number of this kind.
    pub const fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Delete => &mut self.delete,
            Kind::Archive => &mut self.archive,
            Kind::Warn => &mut self.warn,
            Kind::Retain => &mut self.retain,
        }
    }

    /// Things that were changed anywhere: files and warnings.
    #[must_use]
    pub const fn acts(&self) -> u64 {
        self.delete + self.archive + self.warn
    }
}

/// A policy, and the files whose day has come by it, though a stronger one may prevail.
#[derive(Debug, Clone, Serialize)]
pub struct Tally {
    pub name: String,
    pub action: &'static str,
    pub matched: u64,
    pub bytes: u64,
}

impl Tally {
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            name: policy.name.clone(),
            action: policy.action(),
            matched: 0,
            bytes: 0,
        }
    }
}

/// What goes from one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaving {
    pub provider: String,
    /// Records that name it.
    pub held: u64,
    pub deletions: u64,
    pub archivals: u64,
    /// Of both.
    pub bytes: u64,
    pub warnings: u64,
    /// Files that are archived to here.
    pub arrivals: u64,
}

impl Leaving {
    /// Whether the run has anything to do with the provider.
    #[must_use]
    pub const fn is_touched(&self) -> bool {
        self.deletions + self.archivals + self.warnings + self.arrivals > 0
    }
}

/// Whether a run only looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Check,
    Apply,
}

/// Everything but the items.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleReport {
    pub run_id: String,
    pub mode: Mode,
    /// The moment that ages were judged at.
    pub as_of: DateTime<Utc>,
    pub policies: Vec<Tally>,
    pub counts: Counts,
    /// What was done; held files count as retained.
    pub done: Counts,
    /// Files that were warned of and still wait for their day.
    pub waiting: u64,
    /// Files that had changed, or were gone, when their turn came.
    pub skipped: u64,
    /// What was tried and did not go through; other errors are of files that nothing was tried with.
    pub failed: u64,
    pub error_summary: ErrorSummary,
    /// What a real run would refuse by.
    pub warnings: Vec<Warning>,
    /// What is not refused and yet to be known.
    pub notices: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<TakenOver>,
}

/// The items, each list in the order that they were found in.
#[derive(Debug, Default)]
pub struct Items {
    lists: BTreeMap<Kind, Spool>,
    errors: Spool,
}

impl Items {
    pub(super) fn push(&mut self, item: &Item) -> io::Result<()> {
        let line = serde_json::to_vec(item)?;
        self.lists.entry(item.action).or_default().push(&line)
    }

    pub(super) fn fail(&mut self, error: &ItemError) -> io::Result<()> {
        self.errors.push(&serde_json::to_vec(error)?)
    }

    pub(super) fn fail_line(&mut self, line: &[u8]) -> io::Result<()> {
        self.errors.push(line)
    }

    /// How many are of this kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.lists.get(&kind).map_or(0, Spool::len)
    }

    /// Those of a kind, each an [`Item`] as JSON.
    pub fn lines(&self, kind: Kind) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        self.lists.get(&kind).into_iter().flat_map(Spool::iter)
    }

    /// Each an [`ItemError`] as JSON.
    #[must_use]
    pub const fn errors(&self) -> &Spool {
        &self.errors
    }
}
