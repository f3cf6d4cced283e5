//! Uploads in blocks that were begun and not ended. Their blocks take up room and are no blob until a list of them is
//! committed; the service drops them a week after the last.
//!
//! - They are discarded by committing a list of none where no blob is. The empty blob that this makes is deleted while it is
//!   still that one. Deleting the name outright would need no such blob, but would take one along that was committed just
//!   before; so what somebody committed is never touched.
//! - A block that was on its way meanwhile begins an upload anew, which the next look finds.
//! - The empty blob says of itself what it is, so that whoever comes after a program that died here can finish it.
//! - In a listing that shows them they are empty, without a time and an ETag on Azure, with both on Azurite: nothing there
//!   tells them surely from an empty file. What a HEAD finds is a blob; what it does not find and has blocks is none yet.
//!   Whether a blob has committed blocks would not tell: one that was put in one request has none.
//!
//! Source: Azure Storage REST API, "Put Block", "Put Block List", "Get Block List", "List Blobs" (uncommitted blobs in the
//! response) and "Specifying conditional headers".

use std::sync::Arc;

use futures::future;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use http::{HeaderMap, Method, StatusCode, header};

use super::client::{Ask, Client};
use super::failure::code;
use super::page::{self, DISCARDED, Empty};
use crate::failpoint::reach;
use crate::providers::paged::PageSource;
use crate::providers::uploads::UnfinishedUpload;
use crate::providers::wire::{Context, path_of, query_of};
use crate::providers::xml::walk;
use crate::providers::{Key, ProviderError, is_reserved, stored_shape};

const ABORT: &str = "abort an upload";
const UPLOADS: &str = "list uploads";
/// What [`page::DISCARDED`] is called in a header.
const MARK: &str = "x-ms-meta-civic_discarded";
const NO_BLOCKS: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList></BlockList>";
/// In place of a block's name, which is longer: the empty blob that is left to be deleted.
const LEFT: &str = DISCARDED;

/// Discards the blocks at a key where no blob is; whether that was so.
///
/// # Errors
/// Where the service does not say that they are gone.
///
/// # Cancellation
/// Safe to repeat; an empty blob may be left, which [`settle`] deletes.
pub(super) async fn discard(client: &Client, key: &[u8]) -> Result<bool, ProviderError> {
    let context = client.context(ABORT);
    let ask = Ask::new(Method::PUT, list_url(client, context, key, None)?)
        .header("if-none-match", "*")
        .header(MARK, "true")
        .body(NO_BLOCKS.to_vec())
        .removal();
    let answer = client.send(context, ask).await?;
    match (answer.status, code(&answer).as_str()) {
        (StatusCode::CREATED, _) => {}
        // A blob, or the empty one: the answer to the same request before may have been lost.
        (StatusCode::CONFLICT, "BlobAlreadyExists")
        | (StatusCode::PRECONDITION_FAILED, "ConditionNotMet") => {
            return settled(client, context, key).await;
        }
        _ => return Err(client.failed(context, &answer)),
    }
    reach("abort.after-discard");
    match etag(&answer.headers) {
        Some(etag) => remove(client, context, key, etag).await?,
        None => {
            settled(client, context, key).await?;
        }
    }
    Ok(true)
}

/// Deletes what a discard left that died in the middle; whether there was such a blob.
pub(super) async fn settle(client: &Client, key: &[u8]) -> Result<bool, ProviderError> {
    settled(client, client.context(ABORT), key).await
}

/// Ends the upload of which [`list`] gave this id; whether it was still there.
pub(super) async fn end(client: &Client, key: &[u8], id: &str) -> Result<bool, ProviderError> {
    if id == LEFT {
        return settle(client, key).await;
    }
    let blocks = blocks(client, client.context(ABORT), key).await?;
    Ok(blocks.iter().any(|block| block == id) && discard(client, key).await?)
}

/// All of them below the prefix, under keys of this system; each is named by one of its blocks.
pub(super) fn list(
    client: Arc<Client>,
    prefix: Arc<str>,
) -> BoxStream<'static, Result<UnfinishedUpload, ProviderError>> {
    let at_once = client.parallel.max(1);
    let source = Arc::clone(&client);
    let pages = stream::try_unfold(Some(None), move |from| {
        let (client, prefix) = (Arc::clone(&source), Arc::clone(&prefix));
        async move {
            let Some(from) = from else { return Ok(None) };
            let (found, next) = page(&client, &prefix, from.as_deref()).await?;
            if next.is_some() && next == from {
                let context = client.context(UPLOADS);
                return Err(context.invalid("a page of uploads leads to itself".into()));
            }
            Ok(Some((stream::iter(found).map(Ok), next.map(Some))))
        }
    });
    let looked = pages.try_flatten().map_ok(move |(key, empty)| {
        let client = Arc::clone(&client);
        async move { look(&client, key, empty).await }
    });
    looked
        .try_buffer_unordered(at_once)
        .try_filter_map(future::ok)
        .boxed()
}

type Found = (Vec<(Key, Empty)>, Option<String>);

/// What may be one of them, with its key below the prefix. Nothing that is reserved is: uploads go to keys of files.
async fn page(client: &Client, prefix: &str, token: Option<&str>) -> Result<Found, ProviderError> {
    let context = client.context(UPLOADS);
    let url = client.container_url(&[
        ("comp", Some("list")),
        ("include", Some("metadata,uncommittedblobs")),
        ("prefix", Some(prefix)),
        ("marker", token),
    ]);
    let answer = client.send(context, Ask::new(Method::GET, url)).await?;
    if answer.status != StatusCode::OK {
        return Err(client.failed(context, &answer));
    }
    let (found, next) = page::parse_empty(&answer.body).map_err(|reason| context.invalid(reason))?;
    let mut below = Vec::new();
    for empty in found {
        let Some(key) = empty.key.strip_prefix(prefix.as_bytes()) else {
            let reason = "an upload lies outside of what was asked for";
            return Err(context.invalid(reason.into()));
        };
        let is_ours = stored_shape(key).is_some() && !is_reserved(key);
        if is_ours && path_of(&empty.key).is_some() {
            below.push((Key::new(key.to_vec()), empty));
        }
    }
    Ok((below, next))
}

async fn look(client: &Client, key: Key, empty: Empty) -> Result<Option<UnfinishedUpload>, ProviderError> {
    let id = if empty.discarded {
        Some(LEFT.to_owned())
    } else {
        let blocks = blocks(client, client.context(UPLOADS), &empty.key).await?;
        blocks.into_iter().next()
    };
    Ok(id.map(|id| UnfinishedUpload {
        key,
        id,
        begun: empty.last_modified,
    }))
}

/// The names of the blocks at a key where no blob is.
async fn blocks(client: &Client, context: Context<'_>, key: &[u8]) -> Result<Vec<String>, ProviderError> {
    if client.properties(context, key).await?.is_some() {
        return Ok(Vec::new());
    }
    let url = list_url(client, context, key, Some("uncommitted"))?;
    let answer = client.send(context, Ask::new(Method::GET, url)).await?;
    match (answer.status, code(&answer).as_str()) {
        (StatusCode::OK, _) => names(&answer.body).map_err(|reason| context.invalid(reason)),
        (StatusCode::NOT_FOUND, "BlobNotFound") => Ok(Vec::new()),
        _ => Err(client.failed(context, &answer)),
    }
}

fn names(body: &[u8]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    walk(body, |element| {
        let path: Vec<&str> = element.path.iter().map(String::as_str).collect();
        match path[..] {
            ["BlockList", "UncommittedBlocks", "Block", "Name"] => names.push(element.text),
            [root, ..] if root != "BlockList" => return Err("the answer is no list of blocks".into()),
            _ => {}
        }
        Ok(())
    })?;
    Ok(names)
}

async fn settled(client: &Client, context: Context<'_>, key: &[u8]) -> Result<bool, ProviderError> {
    let there = client.properties(context, key).await?;
    match there.as_ref().filter(|there| is_left(there)).and_then(etag) {
        Some(etag) => remove(client, context, key, etag).await.map(|()| true),
        None => Ok(false),
    }
}

/// Deletes the empty blob while it is that one; what came in its place meanwhile stays.
async fn remove(client: &Client, context: Context<'_>, key: &[u8], etag: &str) -> Result<(), ProviderError> {
    let ask = Ask::new(Method::DELETE, client.blob_url(context, key)?).header("if-match", etag);
    let answer = client.send(context, ask).await?;
    match (answer.status, code(&answer).as_str()) {
        (StatusCode::ACCEPTED, _)
        | (StatusCode::NOT_FOUND, "BlobNotFound")
        | (StatusCode::PRECONDITION_FAILED, "ConditionNotMet") => Ok(()),
        _ => Err(client.failed(context, &answer)),
    }
}

fn is_left(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    says(MARK, "true") && says(header::CONTENT_LENGTH.as_str(), "0")
}

fn etag(headers: &HeaderMap) -> Option<&str> {
    let etag = headers.get(header::ETAG)?.to_str().ok()?;
    Some(etag).filter(|etag| !etag.is_empty())
}

/// The list of blocks at a key.
fn list_url(
    client: &Client,
    context: Context<'_>,
    key: &[u8],
    which: Option<&str>,
) -> Result<String, ProviderError> {
    let query = query_of(&[("comp", Some("blocklist")), ("blocklisttype", which)]);
    Ok(format!("{}?{query}", client.blob_url(context, key)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_that_are_not_committed_are_read_and_only_of_a_whole_list() {
        let block = |name: &str| format!("<Block><Name>{name}</Name><Size>7</Size></Block>");
        let body = format!(
            "<?xml version=\"1.0\"?><BlockList><CommittedBlocks>{}</CommittedBlocks><UncommittedBlocks>{}{}\
             </UncommittedBlocks></BlockList>",
            block("YQ=="),
            block("Yg=="),
            block("Yw==")
        );
        assert_eq!(names(body.as_bytes()).unwrap(), ["Yg==", "Yw=="]);
        for cut in 0..body.len() {
            assert!(names(&body.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
        assert!(names(b"<html><Name>a</Name></html>").is_err());
    }

    #[test]
    fn only_an_empty_blob_that_says_so_is_what_a_discard_left() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            });
            pairs.collect()
        };
        assert_eq!(MARK.strip_prefix("x-ms-meta-"), Some(DISCARDED));
        assert!(is_left(&headers(&[(MARK, "true"), ("content-length", "0")])));
        assert!(!is_left(&headers(&[(MARK, "true"), ("content-length", "7")])));
        assert!(!is_left(&headers(&[("content-length", "0")])));
        assert!(!is_left(&headers(&[(MARK, "true")])));
    }
}
