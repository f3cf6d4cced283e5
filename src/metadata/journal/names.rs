//! The words that JSON, tables and the database have for what the journal knows.

use super::{Action, RunStatus, StepState};

impl StepState {
    /// The word that JSON has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Settled => "settled",
            Self::Failed => "failed",
            Self::Undone => "undone",
            Self::Emptied => "emptied",
        }
    }
}

impl RunStatus {
    /// The word that JSON has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Action {
    /// The word that JSON has for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trash => "trash",
            Self::Purge => "purge",
            Self::Move => "move",
            Self::Migrate => "migrate",
            Self::Restore => "restore",
            Self::Record => "record",
        }
    }
}
