//! Warnings by HTTP: a POST each, with the JSON that the file has as a line. Any answer but 2xx is a warning that was not
//! sent; nobody is followed to another place, where the POST would arrive as a GET without its body. The URL is often a
//! secret: no error repeats it.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use reqwest::redirect;
use secrecy::ExposeSecret;
use std::sync::atomic::{AtomicU32, Ordering};

use super::WebhookSettings;
use crate::engine::lifecycle::Notice;

/// Requests under way at once.
const AT_ONCE: usize = 4;
/// After so many failures in a row nobody is asked any more: the rest is left to the next run.
const PATIENCE: u32 = 4;

/// Somebody who takes warnings.
#[derive(Debug)]
pub struct Webhook {
    http: HttpClient,
    /// Not shown by `Debug`.
    url: Url,
    timeout: Duration,
    failures: AtomicU32,
}

struct Url(Uri);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl Webhook {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// Why no request could be made, as a sentence without the URL.
    pub fn new(settings: &WebhookSettings<'_>) -> Result<Self, String> {
        let url: Uri = settings
            .url
            .expose_secret()
            .parse()
            .map_err(|_| "lifecycle.notify.webhook cannot be sent to".to_owned())?;
        let http = reqwest::Client::builder()
            .user_agent(concat!("civic/", env!("CARGO_PKG_VERSION")))
            .https_only(url.scheme_str() != Some("http"))
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|_| "no HTTP client could be made for lifecycle.notify.webhook".to_owned())?;
        Ok(Self {
            http: HttpClient::new(http),
            url: Url(url),
            timeout: settings.timeout,
            failures: AtomicU32::new(0),
        })
    }

    pub(super) async fn post(&self, notices: &[Notice]) -> Vec<Result<(), String>> {
        let mut posts = Vec::with_capacity(notices.len());
        for notice in notices {
            posts.push(self.patiently(notice));
        }
        stream::iter(posts).buffered(AT_ONCE).collect().await
    }

    async fn patiently(&self, notice: &Notice) -> Result<(), String> {
        if self.failures.load(Ordering::SeqCst) >= PATIENCE {
            return Err(
                "the webhook had failed several times in a row and was not asked any more".to_owned(),
            );
        }
        let answer = self.one(notice).await;
        match &answer {
            Ok(()) => self.failures.store(0, Ordering::SeqCst),
            Err(_) => drop(self.failures.fetch_add(1, Ordering::SeqCst)),
        }
        answer
    }

    async fn one(&self, notice: &Notice) -> Result<(), String> {
        let body = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.0.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let asked = tokio::time::timeout(self.timeout, self.http.execute(request)).await;
        let late = || {
            format!(
                "the webhook did not answer within {} ms",
                self.timeout.as_millis()
            )
        };
        let response = asked.map_err(|_| late())?.map_err(|error| {
            // Its causes may name the host, and so part of the URL.
            format!("the webhook could not be reached ({:?})", error.kind())
        })?;
        let status = response.status();
        // Read to its end, within reason, so that the connection can be used again.
        let rest = response
            .into_body()
            .bytes_stream()
            .take(16)
            .try_for_each(|_| async { Ok(()) });
        let _ = tokio::time::timeout(self.timeout, rest).await;
        judged(status)
    }
}

/// Where a redirection leads is part of the URL, and is not told either.
fn judged(status: StatusCode) -> Result<(), String> {
    let code = status.as_u16();
    if status.is_success() {
        return Ok(());
    }
    Err(if status.is_redirection() {
        format!(
            "the webhook answered {code}, which sends elsewhere and is not followed: \
             lifecycle.notify.webhook has to name the place itself"
        )
    } else {
        format!("the webhook answered {code}")
    })
}
