//! HTTP as every remote provider uses it: one request with its whole answer, and errors that name the provider and the
//! operation. Knows no protocol, and nothing here signs; what is retried, and for how long, is the matter of
//! [`resilience`](crate::resilience).

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpService, ReqwestConnector,
};
use object_store::{BackoffConfig, RetryConfig};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;

use super::{EntryKind, Key, Listed, ProviderError, failure};
use crate::config::Global;
use crate::resilience::Purpose;

pub(super) use crate::resilience::chain;

/// What a query's values keep as they are: RFC 3986's unreserved characters, which SigV4 leaves alone too.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same in a path, where `/` stays too.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Who asked for what, for the error's text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) provider: &'a str,
    pub(super) operation: &'static str,
}

impl Context<'_> {
    pub(super) fn invalid(self, reason: String) -> ProviderError {
        ProviderError::Invalid {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    pub(super) fn unavailable(self, reason: String) -> ProviderError {
        ProviderError::Unavailable {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    pub(super) fn denied(self, reason: String) -> ProviderError {
        ProviderError::Denied {
            provider: self.provider.to_owned(),
            operation: self.operation,
            reason,
        }
    }

    pub(super) fn configuration(self, reason: String) -> ProviderError {
        ProviderError::Configuration {
            provider: self.provider.to_owned(),
            reason,
        }
    }

    pub(super) fn root_missing(self, root: String) -> ProviderError {
        ProviderError::RootMissing {
            provider: self.provider.to_owned(),
            root,
        }
    }

    /// The request never got a whole answer.
    fn broken(self, error: &HttpError) -> ProviderError {
        failure::stopped(self.provider, self.operation, error)
            .unwrap_or_else(|| self.unavailable(chain(error)))
    }
}

/// For a store whose requests go through a client of our own, and for whoever fetches its credentials.
pub(super) fn client_options(global: &Global, allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(global.connection_timeout)
        .with_timeout(global.list_timeout)
}

/// Makes the client with the first request: who has his keys in storage.yml asks nobody for them, and reading the system's
/// certificates takes 20 ms.
#[derive(Debug)]
pub(super) struct Lazily;

impl HttpConnector for Lazily {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Unmade {
            options: options.clone(),
            client: OnceLock::new(),
        }))
    }
}

#[derive(Debug)]
struct Unmade {
    options: ClientOptions,
    client: OnceLock<HttpClient>,
}

#[async_trait]
impl HttpService for Unmade {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = if let Some(client) = self.client.get() {
            client
        } else {
            let made = ReqwestConnector::default().connect(&self.options);
            let made = made.map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?;
            self.client.get_or_init(|| made)
        };
        client.execute(request).await
    }
}

/// The stores themselves never retry: they would not honour `Retry-After`.
pub(super) fn no_retries(global: &Global) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: global.connection_timeout,
    }
}

/// Sends a request that is ready and reads the answer to its end, whatever its status.
pub(super) async fn exchange(
    http: &HttpClient,
    context: Context<'_>,
    purpose: Purpose,
    mut request: HttpRequest,
) -> Result<Answer, ProviderError> {
    request.extensions_mut().insert(purpose);
    let broken = |error| context.broken(&error);
    let response = http.execute(request).await.map_err(broken)?;
    let (parts, body) = response.into_parts();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.bytes().await.map_err(broken)?,
    })
}

/// The endpoint as it is sent to, without a `/` at its end. Its own text is left out of the error where it may hold a
/// password.
pub(super) fn checked_endpoint(endpoint: &str) -> Result<String, String> {
    let url = Url::parse(endpoint)
        .map_err(|e| format!("the endpoint is not a URL ({e}); it looks like https://storage.example.org"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the endpoint holds a user or password; credentials have keys of their own".into());
    }
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("the endpoint {endpoint} is neither http:// nor https://"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint must end before any `?` or `#`".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A header that holds a date as HTTP writes it.
pub(super) fn date(headers: &HeaderMap, name: header::HeaderName) -> Option<DateTime<Utc>> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

/// A query of the pairs that have a value.
pub(super) fn query_of(pairs: &[(&str, Option<&str>)]) -> String {
    let set = pairs.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let set = set.map(|(name, value)| format!("{name}={}", encoded(value)));
    set.collect::<Vec<_>>().join("&")
}

/// Text as a query's value, or as one segment of a path, its `/` encoded too.
pub(super) fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), QUERY).to_string()
}

/// A key as it stands in a URL; `None` where URLs would read it as another (`.` and `..` segments).
pub(super) fn path_of(key: &[u8]) -> Option<String> {
    let misread = key.split(|b| *b == b'/').any(|s| matches!(s, b"." | b".."));
    (!misread && !key.is_empty()).then(|| percent_encode(key, PATH).to_string())
}

/// What the headers of an answer say of the object that it is about.
pub(super) fn described(key: &Key, headers: &HeaderMap) -> Result<Listed, String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let size = text(header::CONTENT_LENGTH)
        .and_then(|v| v.parse().ok())
        .ok_or("the answer has no Content-Length")?;
    let last_modified =
        date(headers, header::LAST_MODIFIED).ok_or("the answer has no readable Last-Modified")?;
    Ok(Listed {
        key: key.clone(),
        kind: EntryKind::Object,
        size,
        last_modified,
        etag: text(header::ETAG).filter(|e| !e.is_empty()).map(str::to_owned),
    })
}

/// Codes, ids and regions are short words; anything longer or odder is not one, and may repeat what was sent.
pub(super) fn tidy(text: &str) -> String {
    let word = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    text.chars().filter(word).take(64).collect()
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    #[tokio::test]
    async fn a_client_that_cannot_be_made_is_an_error_of_the_request_and_of_nothing_before() {
        let options = ClientOptions::new().with_proxy_url("no URL");
        let client = Lazily.connect(&options).unwrap();
        for _ in 0..2 {
            let answer = client.execute(HttpRequest::new(HttpRequestBody::empty())).await;
            assert_eq!(answer.unwrap_err().kind(), HttpErrorKind::Connect);
        }
    }
}
