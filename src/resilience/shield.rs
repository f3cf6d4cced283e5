//! What all requests to one provider share: how it is dealt with, its circuit, its connections, and how long it has been
//! failing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::circuit::Circuit;
use super::credentials::Staleness;
use super::fault::Fault;
use super::http::Kind;
use super::outage::Outage;
use super::{Policy, backoff};

#[derive(Debug)]
pub struct Shield {
    pub(super) provider: String,
    pub(super) policy: Policy,
    pub(super) circuit: Circuit,
    pub(super) staleness: Arc<Staleness>,
    pub(super) outage: Outage,
    connections: Semaphore,
}

impl Shield {
    #[must_use]
    pub fn new(provider: &str, policy: Policy, circuit: Circuit) -> Self {
        Self {
            provider: provider.to_owned(),
            connections: Semaphore::new(policy.connections.max(1)),
            policy,
            circuit,
            staleness: Arc::default(),
            outage: Outage::default(),
        }
    }

    #[must_use]
    pub const fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    #[must_use]
    pub fn staleness(&self) -> Arc<Staleness> {
        Arc::clone(&self.staleness)
    }

    /// A connection's place; whoever finds none waits, and says so.
    pub(super) async fn connection(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.connections.try_acquire() {
            return Some(permit);
        }
        tracing::debug!(
            provider = self.provider,
            "a request waits: {} connections are in use",
            self.policy.connections
        );
        self.connections.acquire().await.ok()
    }

    /// How long a request may take, and the key of `storage.yml` that says so. A retry of what has another provider to go
    /// to does not outlast the budget.
    pub(super) fn limit(&self, kind: Kind, is_retry: bool) -> (Duration, &'static str) {
        let timeouts = &self.policy.timeouts;
        let (limit, key) = match kind {
            Kind::Ask | Kind::Credential => (timeouts.list, "list_timeout"),
            Kind::Upload | Kind::Copy => (timeouts.upload, "upload_timeout"),
            Kind::Delete => (timeouts.delete, "delete_timeout"),
            Kind::Download if timeouts.stall < timeouts.download => (timeouts.stall, "stall_timeout"),
            Kind::Download => (timeouts.download, "download_timeout"),
        };
        match self.policy.retry.budget {
            Some(budget) if is_retry => {
                let left = budget.saturating_sub(self.outage.so_far());
                (limit.min(left.max(Duration::from_secs(1))), key)
            }
            _ => (limit, key),
        }
    }

    /// The wait before the next try after so many; `None` where it is given up.
    pub(super) fn wait(&self, tries: u32, fault: &Fault) -> Option<Duration> {
        let failing = self.outage.fault();
        let policy = &self.policy.retry;
        let wait = backoff::wait(policy, tries, fault.retry_after, backoff::chance())?;
        let fits = policy.budget.is_none_or(|budget| failing + wait < budget);
        fits.then_some(wait)
    }
}
