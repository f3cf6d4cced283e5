//! Copies of objects that are too large for one request: begun as an upload whose parts are ranges of the source, so that
//! the bytes never leave the service. Nothing is seen at the target before all of it is there.
//!
//! # Source
//! Amazon S3 API Reference, "UploadPartCopy", "CreateMultipartUpload", "CompleteMultipartUpload".

use std::fmt::Write as _;

use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::client::Client;
use crate::providers::ProviderError;
use crate::providers::paged::PageSource as _;
use crate::providers::wire::{Answer, Context, path_of, query_of};
use crate::providers::xml::element;

/// Bytes of a part: few requests, each done well within its time.
pub(in crate::providers) const PART: u64 = 512 << 20;
/// No upload has more parts, and none but the last is smaller than [`SMALLEST`].
const MOST: u64 = 10_000;
const SMALLEST: u64 = 5 << 20;
/// Parts copied at once.
const AT_ONCE: usize = 4;
/// What an object says of itself, beside `x-amz-meta-*`, and a copy says, too.
const KEPT: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CACHE_CONTROL,
];

/// An object that is being copied.
struct Source {
    /// As `x-amz-copy-source` names it.
    name: HeaderValue,
    etag: HeaderValue,
    size: u64,
    kept: HeaderMap,
}

/// Where it is copied to, as an upload in parts.
struct Place<'a> {
    key: &'a [u8],
    url: &'a str,
    id: &'a str,
}

/// Copies in parts of so many bytes, of what stands at the source now; whether anything does.
///
/// # Errors
/// Where the service did not say that all of it was copied, or the source changed meanwhile. What was copied by then is
/// given up.
///
/// # Cancellation
/// Leaves an upload in parts that nobody ends; nothing is at the target.
pub(super) async fn in_parts(
    client: &Client,
    from: &[u8],
    to: &[u8],
    part: u64,
) -> Result<bool, ProviderError> {
    let context = client.context("copy");
    let url = |key: &[u8]| {
        let url = client.object_url(key);
        url.ok_or_else(|| context.invalid("no URL can name the key of a copy".into()))
    };
    let Some(source) = look(client, context, (from, &url(from)?)).await? else {
        return Ok(false);
    };
    let target = url(to)?;
    let id = begin(client, context, &target, &source).await?;
    let place = Place {
        key: to,
        url: &target,
        id: &id,
    };
    let copied = copy(client, context, &place, (&source, part)).await;
    if let Err(error) = copied {
        if let Err(left) = client.abort(to, &id).await {
            tracing::warn!("a copy that failed could not be given up: {left}");
        }
        return Err(error);
    }
    Ok(true)
}

async fn look(
    client: &Client,
    context: Context<'_>,
    (key, url): (&[u8], &str),
) -> Result<Option<Source>, ProviderError> {
    let answer = client.send(context, Method::HEAD, url).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        _ => return Err(client.failed(context, &answer)),
    }
    let unread = || context.invalid("the answer does not describe the object".into());
    let length = answer
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let kept = answer
        .headers
        .iter()
        .filter(|(name, _)| KEPT.contains(name) || name.as_str().starts_with("x-amz-meta-"));
    let name = format!("/{}/{}", client.bucket, path_of(key).ok_or_else(unread)?);
    Ok(Some(Source {
        name: HeaderValue::try_from(name).map_err(|_| unread())?,
        etag: answer.headers.get(header::ETAG).cloned().ok_or_else(unread)?,
        size: length.and_then(|length| length.parse().ok()).ok_or_else(unread)?,
        kept: kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
    }))
}

async fn begin(
    client: &Client,
    context: Context<'_>,
    target: &str,
    source: &Source,
) -> Result<String, ProviderError> {
    let url = format!("{target}?uploads=");
    let answer = client
        .change(context, Method::POST, &url, (source.kept.clone(), Vec::new()))
        .await?;
    said(client, context, &answer, "UploadId")
}

async fn copy(
    client: &Client,
    context: Context<'_>,
    place: &Place<'_>,
    (source, part): (&Source, u64),
) -> Result<(), ProviderError> {
    let part = part.max(SMALLEST).max(source.size.div_ceil(MOST));
    let copies = (0..source.size.div_ceil(part)).map(|at| {
        let (first, number) = (at * part, at + 1);
        let last = (first + part).min(source.size) - 1;
        async move {
            let number = number.to_string();
            let query = query_of(&[("partNumber", Some(&number)), ("uploadId", Some(place.id))]);
            let range = format!("bytes={first}-{last}");
            let mut headers = HeaderMap::new();
            headers.insert("x-amz-copy-source", source.name.clone());
            headers.insert("x-amz-copy-source-if-match", source.etag.clone());
            let range =
                HeaderValue::try_from(range).map_err(|_| context.invalid("a range is none".into()))?;
            headers.insert("x-amz-copy-source-range", range);
            let url = format!("{}?{query}", place.url);
            let answer = client
                .change(context, Method::PUT, &url, (headers, Vec::new()))
                .await?;
            if answer.status == StatusCode::PRECONDITION_FAILED {
                return Err(context.unavailable("the object was replaced while it was copied".into()));
            }
            Ok((number, said(client, context, &answer, "ETag")?))
        }
    });
    let parts: Vec<(String, String)> = stream::iter(copies).buffered(AT_ONCE).try_collect().await?;
    let mut body = String::from("<CompleteMultipartUpload>");
    for (number, etag) in parts {
        let etag = quick_xml::escape::escape(&etag).into_owned();
        let _ = write!(
            body,
            "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        );
    }
    body.push_str("</CompleteMultipartUpload>");
    match end(client, context, place, body).await {
        Err(_) if is_there(client, context, place, source).await => Ok(()),
        ended => ended,
    }
}

async fn end(
    client: &Client,
    context: Context<'_>,
    place: &Place<'_>,
    body: String,
) -> Result<(), ProviderError> {
    let url = format!("{}?{}", place.url, query_of(&[("uploadId", Some(place.id))]));
    let answer = client
        .change(context, Method::POST, &url, (HeaderMap::new(), body.into_bytes()))
        .await?;
    said(client, context, &answer, "ETag").map(drop)
}

/// The answer to the last request may have been lost. Nothing stood at the target, so what has this size is the copy.
async fn is_there(client: &Client, context: Context<'_>, place: &Place<'_>, source: &Source) -> bool {
    let found = look(client, context, (place.key, place.url)).await;
    matches!(found, Ok(Some(there)) if there.size == source.size)
}

/// What an answer tells. One that is 200 may be an error all the same, which came after its head was sent.
fn said(client: &Client, context: Context<'_>, answer: &Answer, name: &str) -> Result<String, ProviderError> {
    if answer.status != StatusCode::OK {
        return Err(client.failed(context, answer));
    }
    let told = element(&answer.body, name).filter(|text| !text.is_empty());
    let failed = element(&answer.body, "Code").map(|code| crate::providers::wire::tidy(&code));
    match (told, failed) {
        (Some(told), None) => Ok(told),
        (_, code) => Err(context.unavailable(format!(
            "the copy was not made: {}",
            code.unwrap_or_else(|| "the answer does not say so".to_owned())
        ))),
    }
}
