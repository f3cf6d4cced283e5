//! Signed requests for a bucket: one request, one whole answer, within one time limit.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::{HeaderMap, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody, HttpResponseBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::failure::{Context, chain};
use crate::providers::ProviderError;

/// What SigV4 leaves as it is in a query; source: AWS Signature Version 4, "Create a canonical request".
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same in a path, where `/` stays too.
const PATH: &AsciiSet = &QUERY.remove(b'/');
/// A page holds 1,000 keys of 1,024 bytes at most; what is far beyond that is no page.
const MAX_BODY: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) provider: String,
    pub(super) bucket: String,
    /// Without a `/` at its end.
    pub(super) bucket_url: String,
    pub(super) region: String,
    pub(super) http: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    /// For one request with its whole answer.
    pub(super) timeout: Duration,
    /// How many requests may be under way at once.
    pub(super) parallel: usize,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn context(&self, operation: &'static str) -> Context<'_> {
        Context {
            provider: &self.provider,
            bucket: &self.bucket,
            region: &self.region,
            operation,
        }
    }

    /// The bucket's URL with a query.
    pub(super) fn query_url(&self, pairs: &[(&str, &str)]) -> String {
        let query: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encode(value.as_bytes(), QUERY)))
            .collect();
        format!("{}?{}", self.bucket_url, query.join("&"))
    }

    /// The object's URL; `None` where URLs would read the key as another (`.` and `..` segments).
    pub(super) fn object_url(&self, key: &[u8]) -> Option<String> {
        let misread = key.split(|b| *b == b'/').any(|s| matches!(s, b"." | b".."));
        (!misread && !key.is_empty()).then(|| format!("{}/{}", self.bucket_url, percent_encode(key, PATH)))
    }

    /// Signs, sends and reads the answer to its end, whatever its status.
    pub(super) async fn send(
        &self,
        context: Context<'_>,
        method: Method,
        url: &str,
    ) -> Result<Answer, ProviderError> {
        tokio::time::timeout(self.timeout, self.send_untimed(context, method, url))
            .await
            .unwrap_or_else(|_| {
                Err(context.unavailable(format!("no whole answer within {} ms", self.timeout.as_millis())))
            })
    }

    async fn send_untimed(
        &self,
        context: Context<'_>,
        method: Method,
        url: &str,
    ) -> Result<Answer, ProviderError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = url
            .parse()
            .map_err(|_| context.invalid("the request's URL is too long or malformed".into()))?;
        self.sign(context, &mut request).await?;
        let response = self.http.execute(request).await.map_err(|e| context.broken(&e))?;
        let (parts, body) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: read(context, body).await?,
        })
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
}

async fn read(context: Context<'_>, body: HttpResponseBody) -> Result<Bytes, ProviderError> {
    let mut chunks = body.bytes_stream();
    let mut whole = BytesMut::new();
    while let Some(chunk) = chunks.try_next().await.map_err(|e| context.broken(&e))? {
        if whole.len() + chunk.len() > MAX_BODY {
            return Err(context.invalid(format!("the answer is longer than {MAX_BODY} bytes")));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
