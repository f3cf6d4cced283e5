//! What stands between this program and a provider that is slow, flaky or down: every request is tried again where that
//! can help, bounded in time, counted by a circuit breaker, and held to a number of connections.
//!
//! Two wrappers, both put around a provider by `providers::build` and by nobody else. [`Resilient`] is around the HTTP
//! client, where status, `Retry-After` and the way a connection broke can be seen: it retries, times out, asks the
//! [`Circuit`] and counts connections. [`Resuming`] is around the `ObjectStore`: it goes on with a download from the last
//! byte, and finds out what became of an upload in parts whose last answer was lost.
//!
//! Nothing here knows a protocol, a database or a command. A local disk goes through none of it: what fails there fails
//! at once and says why.

mod backoff;
mod circuit;
mod credentials;
mod fault;
mod http;
mod outage;
mod resume;
mod shield;
mod state;
mod wire;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::Global;

pub use circuit::{Admission, Circuit, CircuitStore, Outlook};
pub use credentials::{Fresh, Staleness};
pub use fault::{Stop, chain};
pub use http::{Kind, Purpose, Resilient, Shared};
pub use resume::Resuming;
pub use shield::Shield;
pub use state::{CircuitPolicy, CircuitState, Phase};

/// How long a connection may take, and how long all retries together, where new files have another provider to go to.
const CONNECT_BEFORE_FAILOVER: Duration = Duration::from_secs(2);
const RETRIES_BEFORE_FAILOVER: Duration = Duration::from_secs(3);

/// How a provider is dealt with; times as in `storage.yml`.
#[derive(Debug, Clone)]
pub struct Policy {
    pub retry: RetryPolicy,
    pub timeouts: Timeouts,
    /// `None` where the breaker is switched off.
    pub circuit: Option<CircuitPolicy>,
    /// Requests under way at once.
    pub connections: usize,
}

/// When and how often a request is sent again.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// After the first try.
    pub retries: u32,
    pub first_wait: Duration,
    pub longest_wait: Duration,
    pub multiplier: f64,
    /// How long after the first fault of an outage a retry may still begin, shared by all requests.
    pub budget: Option<Duration>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    pub connect: Duration,
    /// One page, or one question.
    pub list: Duration,
    /// One put, one part, or one copy.
    pub upload: Duration,
    /// Until an object begins to arrive.
    pub download: Duration,
    pub delete: Duration,
    /// Any silence of a transfer.
    pub stall: Duration,
}

impl Policy {
    /// What `storage.yml` says. `has_target`: new files have another provider to go to when this one fails, so that they
    /// are not to wait for it.
    #[must_use]
    pub fn new(global: &Global, has_target: bool) -> Self {
        let connect = global.connection_timeout;
        Self {
            retry: RetryPolicy {
                retries: global.retry_attempts,
                first_wait: global.retry_initial_delay,
                longest_wait: global.retry_max_delay,
                multiplier: global.retry_backoff_multiplier,
                budget: has_target.then_some(RETRIES_BEFORE_FAILOVER),
            },
            timeouts: Timeouts {
                connect: if has_target {
                    connect.min(CONNECT_BEFORE_FAILOVER)
                } else {
                    connect
                },
                list: global.list_timeout,
                upload: global.upload_timeout,
                download: global.download_timeout,
                delete: global.delete_timeout,
                stall: global.stall_timeout,
            },
            circuit: global.circuit_breaker_enabled.then_some(CircuitPolicy {
                threshold: global.circuit_breaker_failure_threshold,
                timeout: global.circuit_breaker_timeout,
            }),
            connections: global.max_connections_per_provider,
        }
    }
}
