//! Signed requests for a bucket: one request, one whole answer.

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};

use super::failure::Place;
use super::page;
use crate::providers::ProviderError;
use crate::providers::paged::{Page, PageQuery, PageSource};
use crate::providers::uploads::{self, UploadSource};
use crate::providers::wire::{Answer, Context, chain, exchange, path_of, query_of};
use crate::providers::xml::element;
use crate::resilience::{Kind, Purpose};

const UPLOADS: &str = "list uploads";

#[derive(Debug)]
pub(super) struct Client {
    pub(super) provider: String,
    pub(super) bucket: String,
    /// Without a `/` at its end.
    pub(super) bucket_url: String,
    pub(super) region: String,
    pub(super) http: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    /// How many requests may be under way at once.
    pub(super) parallel: usize,
}

impl Client {
    /// What an answer that was not asked for means here.
    pub(super) fn failed(&self, context: Context<'_>, answer: &Answer) -> ProviderError {
        let place = Place {
            bucket: &self.bucket,
            region: &self.region,
        };
        place.failed(context, answer)
    }

    fn page_url(&self, query: &PageQuery, token: Option<&str>) -> String {
        let max_keys = query.max_keys.map(|n| n.to_string());
        let pairs = [
            ("list-type", Some("2")),
            ("encoding-type", Some("url")),
            ("prefix", Some(query.prefix.as_str())),
            ("delimiter", query.delimited.then_some("/")),
            ("start-after", query.start_after.as_deref()),
            ("max-keys", max_keys.as_deref()),
            ("continuation-token", token),
        ];
        format!("{}?{}", self.bucket_url, query_of(&pairs))
    }

    /// The object's URL; `None` where URLs would read the key as another.
    pub(super) fn object_url(&self, key: &[u8]) -> Option<String> {
        Some(format!("{}/{}", self.bucket_url, path_of(key)?))
    }

    /// Signs, sends and reads the answer to its end, whatever its status.
    pub(super) async fn send(
        &self,
        context: Context<'_>,
        method: Method,
        url: &str,
    ) -> Result<Answer, ProviderError> {
        let kind = match method {
            Method::DELETE => Kind::Delete,
            _ => Kind::Ask,
        };
        let request = HttpRequest::new(HttpRequestBody::empty());
        // On the heap, since callers within callers hold it.
        Box::pin(self.sent((context, kind), method, url, request)).await
    }

    /// The same with headers and a body, for copies, which take longer.
    pub(super) async fn change(
        &self,
        context: Context<'_>,
        method: Method,
        url: &str,
        (headers, body): (HeaderMap, Vec<u8>),
    ) -> Result<Answer, ProviderError> {
        let length = body.len();
        let mut request = HttpRequest::new(HttpRequestBody::from(body));
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        Box::pin(self.sent((context, Kind::Copy), method, url, request)).await
    }

    async fn sent(
        &self,
        (context, kind): (Context<'_>, Kind),
        method: Method,
        url: &str,
        mut request: HttpRequest,
    ) -> Result<Answer, ProviderError> {
        *request.method_mut() = method;
        *request.uri_mut() = url
            .parse()
            .map_err(|_| context.invalid("the request's URL is too long or malformed".into()))?;
        self.sign(context, &mut request).await?;
        exchange(
            &self.http,
            context,
            Purpose::new(kind, context.operation),
            request,
        )
        .await
    }

    async fn sign(&self, context: Context<'_>, request: &mut HttpRequest) -> Result<(), ProviderError> {
        let credential = self.credentials.get_credential().await.map_err(|e| {
            context.configuration(format!(
                "no credentials are set, and the platform gives none: {}",
                chain(&e)
            ))
        })?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(request, None)
            .map_err(|e| context.invalid(format!("the request could not be signed: {}", chain(&e))))
    }

    /// Deletes the object while it has this ETag.
    pub(super) async fn delete_if(
        &self,
        context: Context<'_>,
        url: &str,
        etag: &str,
    ) -> Result<Answer, ProviderError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        let etag = HeaderValue::from_str(etag)
            .map_err(|_| context.invalid("an ETag is none that can be sent".into()))?;
        request.headers_mut().insert(header::IF_MATCH, etag);
        Box::pin(self.sent((context, Kind::Delete), Method::DELETE, url, request)).await
    }

    /// Ends an upload in parts; whether there was one.
    pub(super) async fn abort(&self, key: &[u8], id: &str) -> Result<bool, ProviderError> {
        let context = self.context("abort an upload");
        let url = self
            .object_url(key)
            .ok_or_else(|| context.invalid("no URL can name the key of an upload".into()))?;
        let url = format!("{url}?{}", query_of(&[("uploadId", Some(id))]));
        let answer = self.send(context, Method::DELETE, &url).await?;
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
        let answer = self
            .send(context, Method::GET, &self.page_url(query, token))
            .await?;
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

#[async_trait]
impl UploadSource for Client {
    async fn uploads(&self, query: &str) -> Result<uploads::Page, ProviderError> {
        let context = self.context(UPLOADS);
        let url = format!("{}?{query}", self.bucket_url);
        let answer = self.send(context, Method::GET, &url).await?;
        match answer.status {
            StatusCode::OK => uploads::parse(&answer.body).map_err(|reason| context.invalid(reason)),
            _ => Err(self.failed(context, &answer)),
        }
    }

    fn invalid(&self, reason: String) -> ProviderError {
        self.context(UPLOADS).invalid(reason)
    }
}
