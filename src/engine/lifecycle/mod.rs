//! Lifecycle: what the policies of storage.yml say of each file, and doing it.
//!
//! [`view`] reads every record and judges it ([`decide`](policy::decide)); that changes nothing. [`prepare`] does the
//! same under leases, and [`Prepared::apply`] warns, archives and deletes, each file judged again right before. What
//! cannot be judged is left alone and told.

mod apply;
mod glob;
pub mod policy;
mod report;
mod rules;
mod view;

use chrono::{DateTime, Utc};

use super::cleanup::Caps;

pub use apply::{ApplyRequest, End, Herald, Notice, Prepared, prepare};
pub use policy::{ArchiveFolder, Filter, Policy, Rule, Target};
pub use report::{Counts, Item, Items, Kind, Leaving, LifecycleReport, Mode, Tally};
pub use rules::{RULES, caution};
pub use view::{View, view};

/// What to judge, and by what.
#[derive(Debug, Clone)]
pub struct LifecycleRequest {
    pub run_id: String,
    /// All that are enabled: what one protects, it protects from all others.
    pub policies: Vec<Policy>,
    /// Only what this policy does.
    pub only: Option<String>,
    /// Only files of this folder.
    pub folder: Option<String>,
    /// The moment to judge ages at.
    pub as_of: DateTime<Utc>,
    /// What the clock says.
    pub clock: DateTime<Utc>,
    /// How much may leave one provider at once.
    pub caps: Caps,
}
