//! One provider's circuit breaker: asked before every request, told how each ended. What it knows is shared with every
//! other process through a [`CircuitStore`], so that the next run from cron does not find out anew.
//!
//! The store costs nothing while all is well: it is read at most once a second and written only after a failure, or after
//! the success that ends a row of them. Where it cannot be read or written the circuit works for this process alone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::fault::Stop;
use super::state::{CircuitPolicy, CircuitState, Leave, Phase};

/// For how long what the store said is believed.
const FRESH: Duration = Duration::from_secs(1);
/// Others may change the state between our look and our writing it down.
const SWAPS: u32 = 8;

/// Where circuits are kept for all processes, as text that only this room reads.
#[async_trait]
pub trait CircuitStore: fmt::Debug + Send + Sync {
    /// What was written down last; `None` where nothing was.
    ///
    /// # Errors
    /// Why it cannot be told.
    async fn load(&self, provider: &str) -> Result<Option<String>, String>;

    /// Writes it down in place of what is expected to be there; `false` where something else is.
    ///
    /// # Errors
    /// Why it cannot be written.
    async fn swap(&self, provider: &str, expected: Option<&str>, state: &str) -> Result<bool, String>;
}

/// Leave to send one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "how the request ended has to be told"]
pub struct Admission {
    is_probe: bool,
}

impl Admission {
    /// Whether the circuit hangs on this request alone: it is not tried again.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        self.is_probe
    }
}

/// What would become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It would go out.
    Closed,
    /// It would not.
    Open,
    /// It would, as the probe.
    Due,
}

/// See the module.
pub struct Circuit {
    provider: String,
    policy: Option<CircuitPolicy>,
    store: Option<Arc<dyn CircuitStore>>,
    now: fn() -> DateTime<Utc>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    state: CircuitState,
    /// As the store has it.
    text: Option<String>,
    read: Option<Instant>,
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit")
            .field("provider", &self.provider)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Circuit {
    /// Without a policy it is closed for good.
    #[must_use]
    pub fn new(
        provider: &str,
        policy: Option<CircuitPolicy>,
        store: Option<Arc<dyn CircuitStore>>,
        now: fn() -> DateTime<Utc>,
    ) -> Self {
        Self {
            provider: provider.to_owned(),
            policy,
            store,
            now,
            known: Mutex::default(),
        }
    }

    /// Whether a request may go out now. Where it is the probe of a half-open circuit, that is written down first.
    ///
    /// # Errors
    /// [`Stop::CircuitOpen`], and for how long yet.
    ///
    /// # Cancellation
    /// A probe that nobody answers for is another's after a minute.
    pub async fn admit(&self) -> Result<Admission, Stop> {
        let Some(policy) = &self.policy else {
            return Ok(Admission { is_probe: false });
        };
        let mut known = self.known.lock().await;
        self.refresh(&mut known).await;
        for _ in 0..SWAPS {
            match known.state.leave(policy, (self.now)()) {
                Leave::Go => return Ok(Admission { is_probe: false }),
                Leave::Wait(retry_in) => return Err(Stop::CircuitOpen { retry_in }),
                Leave::Probe(half) => {
                    if self.write(&mut known, half).await {
                        tracing::info!(
                            provider = self.provider,
                            "circuit half-open: one request goes out"
                        );
                        return Ok(Admission { is_probe: true });
                    }
                }
            }
        }
        let retry_in = Duration::from_secs(1);
        Err(Stop::CircuitOpen { retry_in })
    }

    /// The provider answered, be it with a refusal.
    pub async fn succeeded(&self, admission: Admission) {
        let next = |state: &CircuitState| state.succeeded(admission.is_probe);
        if self.change(next).await {
            tracing::info!(provider = self.provider, "circuit closed: the provider answers");
        }
    }

    /// A request failed for good, by the provider's fault.
    pub async fn failed(&self, admission: Admission, cause: &str) {
        let Some(policy) = &self.policy else { return };
        let now = (self.now)();
        let next = |state: &CircuitState| state.failed(admission.is_probe, (policy, now), cause);
        self.change(next).await;
        let known = self.known.lock().await;
        if known.state.phase == Phase::Open && known.state.since == Some(now) {
            tracing::warn!(
                provider = self.provider,
                failures = known.state.failures,
                "circuit open: no request goes out for {} s ({cause})",
                policy.timeout.as_secs()
            );
        }
    }

    /// The probe came to nothing that says anything about the provider: another may be sent at once.
    pub async fn undecided(&self, admission: Admission) {
        if admission.is_probe {
            self.change(|state| {
                (state.phase == Phase::HalfOpen).then(|| CircuitState {
                    since: None,
                    ..state.clone()
                })
            })
            .await;
        }
    }

    /// Whether a request would go out, without sending one.
    pub async fn outlook(&self) -> Outlook {
        let Some(policy) = &self.policy else {
            return Outlook::Closed;
        };
        let mut known = self.known.lock().await;
        self.refresh(&mut known).await;
        match known.state.leave(policy, (self.now)()) {
            Leave::Go => Outlook::Closed,
            Leave::Wait(_) => Outlook::Open,
            Leave::Probe(_) => Outlook::Due,
        }
    }

    /// How it stands, for whoever shows it.
    pub async fn state(&self) -> CircuitState {
        let mut known = self.known.lock().await;
        known.read = None;
        self.refresh(&mut known).await;
        known.state.clone()
    }

    /// Makes a step, over what others did meanwhile; whether there was one to make.
    async fn change(&self, step: impl Fn(&CircuitState) -> Option<CircuitState>) -> bool {
        if self.policy.is_none() {
            return false;
        }
        let mut known = self.known.lock().await;
        for _ in 0..SWAPS {
            let Some(next) = step(&known.state) else {
                return false;
            };
            if self.write(&mut known, next).await {
                return true;
            }
        }
        false
    }

    /// `false` where the store has something else, which is known then.
    async fn write(&self, known: &mut Known, state: CircuitState) -> bool {
        let text = serde_json::to_string(&state).unwrap_or_default();
        if let Some(store) = &self.store {
            match store.swap(&self.provider, known.text.as_deref(), &text).await {
                Ok(true) => known.text = Some(text),
                Ok(false) => {
                    known.read = None;
                    self.refresh(known).await;
                    return false;
                }
                Err(reason) => {
                    tracing::debug!(provider = self.provider, "circuit not written down: {reason}");
                }
            }
        }
        known.state = state;
        true
    }

    async fn refresh(&self, known: &mut Known) {
        let Some(store) = &self.store else { return };
        if known.read.is_some_and(|read| read.elapsed() < FRESH) {
            return;
        }
        known.read = Some(Instant::now());
        match store.load(&self.provider).await {
            Ok(text) if text != known.text => {
                let read = text.as_deref().and_then(|text| serde_json::from_str(text).ok());
                known.state = read.unwrap_or_default();
                known.text = text;
            }
            Ok(_) => {}
            Err(reason) => {
                tracing::debug!(provider = self.provider, "circuit not read: {reason}");
            }
        }
    }
}
