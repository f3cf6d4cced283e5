//! What the product does. Each operation is a request struct, a report struct and a function; none knows clap,
//! HTTP or a terminal. Rules about time take `now` as an argument.

pub mod changes;
pub mod cleanup;
pub mod copies;
pub mod delete;
pub mod download;
pub mod gather;
mod hash;
pub mod health;
pub mod info;
mod interrupt;
pub mod journal;
pub mod lifecycle;
pub mod list;
pub mod marker;
pub mod migrate;
pub mod objects;
pub mod ownership;
pub mod quota;
pub mod rebase;
pub mod reconstruct;
pub mod refile;
mod relocate;
pub mod runs;
pub mod sidecar;
pub mod undo;
pub mod update;
pub mod upload;
pub mod usage;
pub mod verify;

use chrono::{DateTime, Utc};

pub use interrupt::Interrupt;

/// Where time comes from.
pub trait Clock: std::fmt::Debug + Send + Sync {
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + crate::failpoint::ahead()
    }
}

/// Tells that not all of them are under way at once, which nobody sees otherwise.
pub fn tell_queue(what: &str, total: u64, at_once: usize) {
    let running = total.min(at_once as u64);
    if running < total {
        let waiting = total - running;
        tracing::info!(
            what,
            running,
            waiting,
            "{total} {what}: {running} run, {waiting} wait"
        );
    }
}

/// How far an operation has come. Cheap to call for every item; the other side decides what to show.
pub trait Progress: std::fmt::Debug + Send + Sync {
    /// A new stretch of work begins. `total` is `None` where nobody knows.
    fn start(&self, what: &str, total: Option<u64>);
    /// `completed` items of the stretch are done; `current` names the last.
    fn advance(&self, completed: u64, current: &dyn std::fmt::Display);
    /// The stretch is over.
    fn finish(&self);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _completed: u64, _current: &dyn std::fmt::Display) {}
    fn finish(&self) {}
}
