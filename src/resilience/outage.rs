//! How long a provider has been failing, across all of its requests: what the shared budget of retries is counted from.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Faults further apart than this are two outages.
const APART: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<Option<Span>>);

#[derive(Debug, Clone, Copy)]
struct Span {
    first: Instant,
    last: Instant,
}

impl Outage {
    /// A request failed now; for how long they have been failing.
    pub(super) fn fault(&self) -> Duration {
        let now = Instant::now();
        let mut span = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match *span {
            Some(span) if now - span.last <= APART => span.first,
            _ => now,
        };
        *span = Some(Span { first, last: now });
        now - first
    }

    /// For how long requests have been failing, where they are.
    pub(super) fn so_far(&self) -> Duration {
        let span = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        span.map_or(Duration::ZERO, |span| span.first.elapsed())
    }

    /// A request succeeded.
    pub(super) fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
