//! The connections to a provider: one pool, used again and again, and made anew where it keeps breaking.

use std::error::Error as _;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use object_store::client::{HttpClient, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use reqwest::redirect;

use super::Timeouts;
use super::fault::Stop;

/// Connections that break one after the other before the pool is made anew.
const BROKEN: u32 = 3;

type Make = Box<dyn Fn() -> Result<HttpClient, String> + Send + Sync>;

pub struct Wire {
    timeouts: Timeouts,
    make: Make,
    client: Mutex<HttpClient>,
    broken: AtomicU32,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// Makes the pool; connects nowhere yet.
    ///
    /// # Errors
    /// Why none can be made, as the end of a sentence.
    pub fn new(timeouts: Timeouts, allow_http: bool, most_idle: usize) -> Result<Self, String> {
        Self::of(
            timeouts,
            Box::new(move || client(&timeouts, allow_http, most_idle)),
        )
    }

    /// The same of clients that are made so.
    pub(super) fn of(timeouts: Timeouts, make: Make) -> Result<Self, String> {
        Ok(Self {
            timeouts,
            client: Mutex::new(make()?),
            make,
            broken: AtomicU32::new(0),
        })
    }

    /// Sends one request; the answer's body is still to come.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        client.execute(request).await.map_err(|error| self.typed(error))
    }

    /// Which limit it was that the library ran into.
    pub(super) fn typed(&self, error: HttpError) -> HttpError {
        if error.kind() != HttpErrorKind::Timeout || Stop::within(&error).is_some() {
            return error;
        }
        let source = error
            .source()
            .and_then(|source| source.downcast_ref::<reqwest::Error>());
        let (limit, key) = if source.is_some_and(reqwest::Error::is_connect) {
            (self.timeouts.connect, "connection_timeout")
        } else {
            (self.timeouts.stall, "stall_timeout")
        };
        Stop::TimedOut { limit, key }.into_http()
    }

    /// An answer came.
    pub(super) fn works(&self) {
        self.broken.store(0, Ordering::Relaxed);
    }

    /// A connection broke; whether so many did that the pool was made anew.
    pub(super) fn broke(&self) -> bool {
        if self.broken.fetch_add(1, Ordering::Relaxed) + 1 < BROKEN {
            return false;
        }
        self.works();
        if let Ok(fresh) = (self.make)() {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        }
        true
    }
}

/// Bytes that the other side does not take for `stall` break the connection; a slow line does not. Nobody is followed to
/// another host: a signed request is for the one it was signed for.
fn client(timeouts: &Timeouts, allow_http: bool, most_idle: usize) -> Result<HttpClient, String> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("civic/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .tcp_user_timeout(timeouts.stall)
        .pool_max_idle_per_host(most_idle)
        .redirect(redirect::Policy::none())
        .https_only(!allow_http)
        .http1_only()
        .build()
        .map_err(|error| super::fault::chain(&error))?;
    Ok(HttpClient::new(client))
}
