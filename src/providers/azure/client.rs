//! Signed requests for a container: one request, one whole answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use object_store::azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};

use super::failure::{Place, code};
use super::page;
use crate::providers::ProviderError;
use crate::providers::paged::{Page, PageQuery, PageSource};
use crate::providers::wire::{Answer, Context, chain, exchange, path_of, query_of};
use crate::resilience::{Kind, Purpose};

pub(super) struct Client {
    pub(super) provider: String,
    pub(super) account: String,
    pub(super) container: String,
    /// Without a `/` at its end.
    pub(super) container_url: String,
    pub(super) http: HttpClient,
    pub(super) credentials: AzureCredentialProvider,
    /// How long a copy that the service makes by itself may stand still.
    pub(super) copy_patience: Duration,
    /// How many requests may be under way at once.
    pub(super) parallel: usize,
    /// As Azure spells it; for what is written.
    pub(super) access_tier: Option<String>,
}

/// Without the credentials: object_store's own print themselves.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.provider)
            .field("container_url", &self.container_url)
            .finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    kind: Kind,
    /// Whether the service takes such a request at all is not known.
    is_trial: bool,
}

impl Ask {
    pub(super) fn new(method: Method, url: String) -> Self {
        let mut headers = Vec::new();
        // The service answers 411 without it; nobody adds it to a body that is empty.
        if matches!(method, Method::PUT | Method::DELETE) {
            headers.push((header::CONTENT_LENGTH, HeaderValue::from(0)));
        }
        let kind = match method {
            Method::DELETE | Method::POST => Kind::Delete,
            Method::PUT => Kind::Copy,
            _ => Kind::Ask,
        };
        Self {
            method,
            url,
            headers,
            body: Bytes::new(),
            kind,
            is_trial: false,
        }
    }

    /// Adds a header. What no header may hold is left out, and then missed by the service: none of ours is such.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    pub(super) fn trial(mut self) -> Self {
        self.is_trial = true;
        self
    }

    /// A request that is there to take something away, whatever its method.
    pub(super) fn removal(mut self) -> Self {
        self.kind = Kind::Delete;
        self
    }

    pub(super) fn body(mut self, body: Vec<u8>) -> Self {
        self.headers.retain(|(name, _)| *name != header::CONTENT_LENGTH);
        self.headers
            .push((header::CONTENT_LENGTH, HeaderValue::from(body.len())));
        self.body = body.into();
        self
    }
}

impl Client {
    fn place(&self) -> Place<'_> {
        Place {
            account: &self.account,
            container: &self.container,
        }
    }

    /// What an answer that was not asked for means here.
    pub(super) fn failed(&self, context: Context<'_>, answer: &Answer) -> ProviderError {
        self.place().failed(context, answer)
    }

    /// The same of an answer inside another.
    pub(super) fn meant(&self, context: Context<'_>, status: u16, code: &str) -> ProviderError {
        self.place().meant(context, status, code, None)
    }

    /// The container's URL with a query.
    pub(super) fn container_url(&self, pairs: &[(&str, Option<&str>)]) -> String {
        format!("{}?restype=container&{}", self.container_url, query_of(pairs))
    }

    /// The blob's URL.
    ///
    /// # Errors
    /// Where URLs would read the key as another.
    pub(super) fn blob_url(&self, context: Context<'_>, key: &[u8]) -> Result<String, ProviderError> {
        let path = path_of(key).ok_or_else(|| {
            context.invalid(format!(
                "no URL can name the key {}",
                String::from_utf8_lossy(key)
            ))
        })?;
        Ok(format!("{}/{path}", self.container_url))
    }

    pub(super) async fn credential(
        &self,
        context: Context<'_>,
    ) -> Result<Arc<AzureCredential>, ProviderError> {
        self.credentials.get_credential().await.map_err(|e| {
            context.configuration(format!(
                "no credentials are set, and the platform gives none: {}",
                chain(&e)
            ))
        })
    }

    /// Signs, sends and reads the answer to its end, whatever its status.
    pub(super) async fn send(&self, context: Context<'_>, ask: Ask) -> Result<Answer, ProviderError> {
        let purpose = Purpose {
            is_trial: ask.is_trial,
            ..Purpose::new(ask.kind, context.operation)
        };
        // On the heap, since callers within callers hold it.
        let request = Box::pin(self.signed(context, ask)).await?;
        Box::pin(exchange(&self.http, context, purpose, request)).await
    }

    /// The request as it is sent.
    pub(super) async fn signed(&self, context: Context<'_>, ask: Ask) -> Result<HttpRequest, ProviderError> {
        let credential = self.credential(context).await?;
        let mut request = HttpRequest::new(HttpRequestBody::from(ask.body));
        *request.method_mut() = ask.method;
        *request.uri_mut() = ask
            .url
            .parse()
            .map_err(|_| context.invalid("the request's URL is too long or malformed".into()))?;
        request.headers_mut().extend(ask.headers);
        AzureAuthorizer::new(&credential, &self.account)
            .try_authorize(&mut request)
            .map_err(|e| context.invalid(format!("the request could not be signed: {}", chain(&e))))?;
        Ok(request)
    }

    /// A HEAD of a blob; `None` where the service says that there is none.
    ///
    /// # Errors
    /// Where it says anything else, and [`ProviderError::RootMissing`] where the container is what is missing.
    pub(super) async fn properties(
        &self,
        context: Context<'_>,
        key: &[u8],
    ) -> Result<Option<HeaderMap>, ProviderError> {
        let ask = Ask::new(Method::HEAD, self.blob_url(context, key)?);
        let answer = self.send(context, ask).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.headers)),
            StatusCode::NOT_FOUND if code(&answer) == "BlobNotFound" => Ok(None),
            StatusCode::NOT_FOUND if code(&answer) != "ContainerNotFound" => {
                // A 404 that does not say what is missing: the container is asked.
                let query = PageQuery {
                    max_keys: Some(1),
                    ..PageQuery::default()
                };
                self.page(context.operation, &query, None).await.map(|_| None)
            }
            _ => Err(self.failed(context, &answer)),
        }
    }
}

#[async_trait]
impl PageSource for Client {
    /// `start_after` is nothing that this service knows: listings are not split.
    async fn page(
        &self,
        operation: &'static str,
        query: &PageQuery,
        token: Option<&str>,
    ) -> Result<(Page, HeaderMap), ProviderError> {
        let context = self.context(operation);
        let max_keys = query.max_keys.map(|n| n.to_string());
        let url = self.container_url(&[
            ("comp", Some("list")),
            ("prefix", Some(query.prefix.as_str())),
            ("delimiter", query.delimited.then_some("/")),
            ("maxresults", max_keys.as_deref()),
            ("marker", token),
        ]);
        let answer = self.send(context, Ask::new(Method::GET, url)).await?;
        if answer.status != StatusCode::OK {
            return Err(self.failed(context, &answer));
        }
        let page = page::parse(&answer.body).map_err(|reason| context.invalid(reason))?;
        Ok((page, answer.headers))
    }

    fn context(&self, operation: &'static str) -> Context<'_> {
        Context {
            provider: &self.provider,
            operation,
        }
    }

    fn parallel(&self) -> usize {
        self.parallel
    }
}
