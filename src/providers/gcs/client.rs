//! Requests to the JSON API, and to the XML API where uploads in parts are: one request with a token,
//! one whole answer.
//!
//! Source: Cloud Storage JSON API reference, "Objects: list", "get", "delete", and "Encoding URL path parts".

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use object_store::gcp::GcpCredentialProvider;

use super::{failure, page};
use crate::providers::ProviderError;
use crate::providers::paged::{Page, PageQuery, PageSource};
use crate::providers::uploads::{self, UploadSource};
use crate::providers::wire::{Answer, Context, encoded, exchange, path_of, query_of};
use crate::providers::xml::element;
use crate::resilience::{Kind, Purpose};

const UPLOADS: &str = "list uploads";

/// For how long an answer of the bucket vouches that a 404 means the object.
const BUCKET_SEEN_FOR: Duration = Duration::from_secs(30);

pub(super) struct Client {
    pub(super) provider: String,
    pub(super) bucket: String,
    /// `https://…/storage/v1/b/<bucket>/o`
    pub(super) objects_url: String,
    /// `https://…/<bucket>`, where the XML API has uploads in parts.
    pub(super) bucket_url: String,
    pub(super) http: HttpClient,
    pub(super) credentials: GcpCredentialProvider,
    /// No key was found: the credentials are the machine's, if it has any.
    pub(super) keyless: bool,
    /// How many requests may be under way at once.
    pub(super) parallel: usize,
    /// When the bucket last answered a listing.
    pub(super) bucket_seen: Mutex<Option<Instant>>,
}

/// Without the credentials, which would show their token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.provider)
            .field("objects_url", &self.objects_url)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// What an answer that was not asked for means here.
    pub(super) fn failed(&self, context: Context<'_>, answer: &Answer) -> ProviderError {
        failure::failed(context, &self.bucket, answer)
    }

    /// The object's URL, for any name that an object can have.
    pub(super) fn object_url(&self, name: &str) -> String {
        format!("{}/{}", self.objects_url, encoded(name))
    }

    /// Sends with a token and reads the answer to its end, whatever its status.
    pub(super) async fn send(
        &self,
        context: Context<'_>,
        method: Method,
        url: &str,
        json: Option<Vec<u8>>,
    ) -> Result<Answer, ProviderError> {
        let kind = match method {
            Method::DELETE => Kind::Delete,
            // One call of a copy, of which a large object takes several.
            Method::POST => Kind::Copy,
            _ => Kind::Ask,
        };
        let has_body = method == Method::POST;
        let mut request = HttpRequest::new(json.map_or_else(HttpRequestBody::empty, HttpRequestBody::from));
        *request.method_mut() = method;
        *request.uri_mut() = url
            .parse()
            .map_err(|_| context.invalid("the request's URL is too long or malformed".into()))?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.bearer(context).await?);
        if has_body {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // On the heap, since callers within callers hold it.
        let purpose = Purpose::new(kind, context.operation);
        Box::pin(exchange(&self.http, context, purpose, request)).await
    }

    async fn bearer(&self, context: Context<'_>) -> Result<HeaderValue, ProviderError> {
        let no_token = |e| failure::no_token(context, self.keyless, &e);
        let credential = self.credentials.get_credential().await.map_err(no_token)?;
        let mut value = HeaderValue::try_from(format!("Bearer {}", credential.bearer))
            .map_err(|_| context.configuration("the access token is none that can be sent".into()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A 404 does not say in a code what is missing, so the bucket is asked.
    ///
    /// # Errors
    /// [`ProviderError::RootMissing`] where it is the bucket.
    pub(super) async fn confirm_bucket(&self, operation: &'static str) -> Result<(), ProviderError> {
        let seen = *self.bucket_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|at| at.elapsed() < BUCKET_SEEN_FOR) {
            return Ok(());
        }
        let query = PageQuery {
            max_keys: Some(1),
            ..PageQuery::default()
        };
        self.page(operation, &query, None).await?;
        *self.bucket_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// `startOffset` includes the key it names, so the page is told to leave that one out.
    fn page_url(&self, query: &PageQuery, token: Option<&str>) -> String {
        let max_results = query.max_keys.map(|n| n.to_string());
        let pairs = [
            ("fields", Some(page::FIELDS)),
            ("prefix", Some(query.prefix.as_str()).filter(|p| !p.is_empty())),
            ("delimiter", query.delimited.then_some("/")),
            ("startOffset", query.start_after.as_deref()),
            ("maxResults", max_results.as_deref()),
            ("pageToken", token),
        ];
        format!("{}?{}", self.objects_url, query_of(&pairs))
    }

    /// Ends an upload in parts; whether there was one.
    pub(super) async fn abort(&self, key: &[u8], id: &str) -> Result<bool, ProviderError> {
        let context = self.context("abort an upload");
        let path =
            path_of(key).ok_or_else(|| context.invalid("no URL can name the key of an upload".into()))?;
        let url = format!(
            "{}/{path}?{}",
            self.bucket_url,
            query_of(&[("uploadId", Some(id))])
        );
        let answer = self.send(context, Method::DELETE, &url, None).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND if element(&answer.body, "Code").as_deref() == Some("NoSuchUpload") => {
                Ok(false)
            }
            _ => Err(self.failed(context, &answer)),
        }
    }
}

#[async_trait]
impl PageSource for Client {
    async fn page(
        &self,
        operation: &'static str,
        query: &PageQuery,
        token: Option<&str>,
    ) -> Result<(Page, HeaderMap), ProviderError> {
        let context = self.context(operation);
        let url = self.page_url(query, token);
        let answer = self.send(context, Method::GET, &url, None).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(context.root_missing(format!("gs://{}", self.bucket))),
            _ => return Err(self.failed(context, &answer)),
        }
        let mut page = page::parse(&answer.body).map_err(|reason| context.invalid(reason))?;
        if let Some(start) = &query.start_after {
            page.objects.retain(|object| object.key != start.as_bytes());
        }
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

#[async_trait]
impl UploadSource for Client {
    async fn uploads(&self, query: &str) -> Result<uploads::Page, ProviderError> {
        let context = self.context(UPLOADS);
        let url = format!("{}?{query}", self.bucket_url);
        let answer = self.send(context, Method::GET, &url, None).await?;
        match answer.status {
            StatusCode::OK => uploads::parse(&answer.body).map_err(|reason| context.invalid(reason)),
            _ => Err(self.failed(context, &answer)),
        }
    }

    fn invalid(&self, reason: String) -> ProviderError {
        self.context(UPLOADS).invalid(reason)
    }
}
