//! Which runs are asked for, and which warnings stand.

use chrono::{DateTime, Utc};

use super::RunStatus;

/// A warning that reached everyone it was meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedWarning {
    pub file_id: String,
    /// The policy that it is by.
    pub policy: String,
    /// What it said would be done: [`Self::DELETE`], or anything else.
    pub announces: String,
    pub sent_at: DateTime<Utc>,
    /// The day that it told: before then nothing is done by that policy.
    pub goes_at: DateTime<Utc>,
}

impl ServedWarning {
    /// The file goes to the trash.
    pub const DELETE: &str = "delete";
    /// Nothing is done to the file.
    pub const NOTHING: &str = "warn";
}

/// Which runs to read, the newest first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    /// `storage:delete` and the like.
    pub operation: Option<String>,
    /// Begun then or later.
    pub since: Option<DateTime<Utc>>,
    /// Only these; all where there are none.
    pub statuses: Vec<RunStatus>,
    pub limit: u64,
}

impl RunQuery {
    /// The newest of all.
    #[must_use]
    pub fn newest(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }
}
