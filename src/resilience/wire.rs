//! The connections to a provider: one pool, used again and again, and made anew where it keeps breaking.

use std::env;
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
    pool: Pool,
    /// For requests to others, such as those that give tokens, where the provider's own go without TLS.
    secure: Option<Pool>,
    broken: AtomicU32,
}

/// Connections that are made as they are needed.
struct Pool {
    make: Make,
    client: Mutex<Option<HttpClient>>,
}

impl Pool {
    fn new(make: Make) -> Self {
        Self {
            make,
            client: Mutex::new(None),
        }
    }

    fn client(&self) -> Result<HttpClient, String> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert((self.make)()?).clone()),
        }
    }

    /// Lets go of it; the one that is in use stays where no other can be made.
    fn renew(&self) {
        if let Ok(fresh) = (self.make)() {
            *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        }
    }
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
        let make =
            move |trust| -> Make { Box::new(move || client(&timeouts, (allow_http, trust), most_idle)) };
        if allow_http && !is_proxy_secure(|name| env::var(name).ok()) {
            let secure = Some(Pool::new(make(Trust::System)));
            return Self::with(timeouts, make(Trust::Nobody), secure);
        }
        Self::with(timeouts, make(Trust::System), None)
    }

    /// The same of clients that are made so.
    #[cfg(test)]
    pub(super) fn of(timeouts: Timeouts, make: Make) -> Result<Self, String> {
        Self::with(timeouts, make, None)
    }

    fn with(timeouts: Timeouts, make: Make, secure: Option<Pool>) -> Result<Self, String> {
        let pool = Pool::new(make);
        pool.client()?;
        Ok(Self {
            timeouts,
            pool,
            secure,
            broken: AtomicU32::new(0),
        })
    }

    /// Sends one request; the answer's body is still to come.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_secure = request.uri().scheme_str() != Some("http");
        let pool = self.secure.as_ref().filter(|_| is_secure).unwrap_or(&self.pool);
        let refused = |why: String| HttpError::new_boxed(HttpErrorKind::Connect, why.into());
        let client = pool.client().map_err(refused)?;
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
        self.pool.renew();
        true
    }
}

/// Whose certificates a client believes.
#[derive(Debug, Clone, Copy)]
enum Trust {
    /// Those of the system, which take 20 ms to read.
    System,
    /// Nobody's: nothing that needs one is asked.
    Nobody,
}

/// Whether what goes without TLS to the provider may go to a proxy with it.
fn is_proxy_secure(variable: impl Fn(&str) -> Option<String>) -> bool {
    let names = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    let is_secure = |proxy: String| proxy.to_ascii_lowercase().starts_with("https");
    names.into_iter().filter_map(variable).any(is_secure)
}

/// Bytes that the other side does not take for `stall` break the connection; a slow line does not. Nobody is followed to
/// another host: a signed request is for the one it was signed for.
fn client(
    timeouts: &Timeouts,
    (allow_http, trust): (bool, Trust),
    most_idle: usize,
) -> Result<HttpClient, String> {
    let builder = match trust {
        Trust::System => reqwest::Client::builder(),
        Trust::Nobody => reqwest::Client::builder().tls_certs_only([]),
    };
    let client = builder
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_is_spoken_to_with_tls_is_known() {
        let set = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        assert!(is_proxy_secure(set("HTTP_PROXY", "https://proxy:3128")));
        assert!(is_proxy_secure(set("all_proxy", "HTTPS://proxy")));
        assert!(!is_proxy_secure(set("http_proxy", "http://proxy:3128")));
        assert!(
            !is_proxy_secure(set("https_proxy", "https://proxy:3128")),
            "it is for others"
        );
    }
}
