//! Credentials that are fetched anew once they seem to be no good any more: refused, or expired, or the connections kept
//! breaking. It takes effect before the next operation; the one that found out has been signed already.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use tokio::time::Instant;

/// Credentials are not fetched anew more often than this, however often a key is refused.
const SELDOM: Duration = Duration::from_secs(10);

/// Whether somebody doubts a provider's credentials.
#[derive(Debug, Default)]
pub struct Staleness(Mutex<Doubt>);

#[derive(Debug, Default)]
struct Doubt {
    is_doubted: bool,
    renewed: Option<Instant>,
}

impl Staleness {
    pub(super) fn doubt(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_doubted = true;
    }

    /// Whether they are to be fetched anew, by who asks.
    fn take(&self) -> bool {
        let mut doubt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_soon = doubt.renewed.is_some_and(|at| at.elapsed() < SELDOM);
        if !doubt.is_doubted || is_soon {
            return false;
        }
        *doubt = Doubt {
            is_doubted: false,
            renewed: Some(Instant::now()),
        };
        true
    }
}

type Source<C> = Arc<dyn CredentialProvider<Credential = C>>;
type Make<C> = Box<dyn Fn() -> Result<Source<C>, String> + Send + Sync>;

/// A source of credentials that can be made anew.
pub struct Fresh<C> {
    make: Make<C>,
    current: Mutex<Source<C>>,
    staleness: Arc<Staleness>,
}

/// Without the credentials.
impl<C> fmt::Debug for Fresh<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").finish_non_exhaustive()
    }
}

impl<C> Fresh<C> {
    /// `current` until somebody doubts it; then `make` reads again whatever the credentials come from.
    pub fn new(current: Source<C>, make: Make<C>, staleness: Arc<Staleness>) -> Self {
        Self {
            make,
            current: Mutex::new(current),
            staleness,
        }
    }

    fn source(&self) -> Source<C> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if self.staleness.take() {
            match (self.make)() {
                Ok(source) => *current = source,
                Err(reason) => tracing::warn!("credentials could not be read again: {reason}"),
            }
        }
        Arc::clone(&current)
    }
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for Fresh<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        self.source().get_credential().await
    }
}
