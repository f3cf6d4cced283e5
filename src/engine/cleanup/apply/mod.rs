//! `--apply`: does what the comparison found, item by item, each checked again right before it is touched.
//!
//! The order is recovery, lease, comparison, rules, question, batches. A refusal comes before anything is changed. In a
//! batch every item is judged anew: what changed since the comparison is skipped and counted, never forced. Each
//! change is written down before it is made, and settled after; what a crash leaves in between, the next run ends.

mod multipart;
mod objects;
mod outcome;
mod recheck;
mod records;
mod refuse;
mod session;
mod sizes;

pub use refuse::{RULES, Refusal, refusals};
pub use session::{ApplyError, ApplyRequest, End, Prepared, prepare};

/// Items between two looks at the lease and the operator's wish to stop.
const BATCH: usize = 200;
/// Requests to a provider under way at once.
const IN_FLIGHT: usize = 10;
