//! Deletions: one by one, or up to 256 in one request, where every key has an answer of its own and each is read. A key
//! that was not answered for is not deleted, as far as anybody may say.
//!
//! Source: Azure Storage REST API, "Blob Batch".

use std::fmt::Write as _;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{Method, header};
use object_store::Result;
use object_store::path::Path;

use super::client::{Ask, Client};
use super::failure::code;
use super::stored;
use crate::providers::ProviderError;
use crate::providers::paged::PageSource;
use crate::providers::wire::{Answer, Context, tidy};

/// Deletions in one request.
const MOST: usize = 256;
/// Requests under way at once.
const BATCHES: usize = 4;

/// Deletes, with one answer for each key in their order. What was not there is gone, too.
pub(super) fn delete_stream(
    client: Arc<Client>,
    locations: BoxStream<'static, Result<Path>>,
) -> BoxStream<'static, Result<Path>> {
    locations
        .ready_chunks(MOST)
        .map(move |chunk| {
            let client = Arc::clone(&client);
            async move { stream::iter(delete_all(&client, chunk).await) }
        })
        .buffered(BATCHES)
        .flatten()
        .boxed()
}

async fn delete_all(client: &Client, chunk: Vec<Result<Path>>) -> Vec<Result<Path>> {
    let (mut answers, mut paths) = (Vec::with_capacity(chunk.len()), Vec::new());
    for location in chunk {
        match location {
            Ok(path) => paths.push(path),
            Err(error) => answers.push(Err(error)),
        }
    }
    let done = match paths.len() {
        0 => Vec::new(),
        1 => one_by_one(client, &paths).await,
        _ => match in_batch(client, &paths).await {
            Ok(done) => done,
            Err(Refused::Kind) => one_by_one(client, &paths).await,
            Err(Refused::Now(error)) => vec![Err(error); paths.len()],
        },
    };
    let done = paths.into_iter().zip(done);
    answers.extend(done.map(|(path, gone)| gone.map(|()| path).map_err(stored)));
    answers
}

type Deleted = std::result::Result<(), ProviderError>;

async fn one_by_one(client: &Client, paths: &[Path]) -> Vec<Deleted> {
    let one = |path: &Path| {
        let key = path.as_ref().to_owned();
        async move { delete(client, key.as_bytes()).await }
    };
    let deletions: Vec<_> = paths.iter().map(one).collect();
    stream::iter(deletions)
        .buffered(client.parallel.max(1))
        .collect()
        .await
}

async fn delete(client: &Client, key: &[u8]) -> Deleted {
    let context = client.context("delete");
    let ask = Ask::new(Method::DELETE, client.blob_url(context, key)?);
    let answer = client.send(context, ask).await?;
    let code = code(&answer);
    outcome(client, context, answer.status.as_u16(), &code)
}

fn outcome(client: &Client, context: Context<'_>, status: u16, code: &str) -> Deleted {
    match (status, code) {
        (202, _) | (404, "BlobNotFound") => Ok(()),
        _ => Err(client.meant(context, status, code)),
    }
}

/// Why a batch did nothing.
enum Refused {
    /// Batches are nothing that this service takes, or takes with these credentials. Azurite has a 500 for that.
    Kind,
    Now(ProviderError),
}

async fn in_batch(client: &Client, paths: &[Path]) -> std::result::Result<Vec<Deleted>, Refused> {
    let context = client.context("delete");
    let boundary = format!("batch_{}", uuid::Uuid::new_v4());
    let body = body_of(client, context, paths, &boundary)
        .await
        .map_err(Refused::Now)?;
    let ask = Ask::new(Method::POST, client.container_url(&[("comp", Some("batch"))]))
        .header("content-type", &format!("multipart/mixed; boundary={boundary}"))
        .body(body)
        .trial();
    let answer = client.send(context, ask).await.map_err(Refused::Now)?;
    match answer.status.as_u16() {
        202 => Ok(outcomes(client, context, &answer, paths.len())),
        400 | 403..=405 | 411 | 415 | 500 | 501 if code(&answer) != "ContainerNotFound" => Err(Refused::Kind),
        _ => Err(Refused::Now(client.failed(context, &answer))),
    }
}

async fn body_of(
    client: &Client,
    context: Context<'_>,
    paths: &[Path],
    boundary: &str,
) -> std::result::Result<Vec<u8>, ProviderError> {
    let mut body = String::new();
    for (at, path) in paths.iter().enumerate() {
        let ask = Ask::new(
            Method::DELETE,
            client.blob_url(context, path.as_ref().as_bytes())?,
        );
        let request = client.signed(context, ask).await?;
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let _ = write!(
            body,
            "--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: \
             {at}\r\n\r\nDELETE {target} HTTP/1.1\r\n"
        );
        for (name, value) in request.headers() {
            let value = value.to_str().unwrap_or_default();
            let _ = write!(body, "{}: {value}\r\n", title_case(name.as_str()));
        }
        body.push_str("\r\n\r\n");
    }
    let _ = write!(body, "--{boundary}--\r\n");
    Ok(body.into_bytes())
}

/// Inside of a batch the service minds how headers are written.
fn title_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

fn outcomes(client: &Client, context: Context<'_>, answer: &Answer, count: usize) -> Vec<Deleted> {
    let kind = answer.headers.get(header::CONTENT_TYPE);
    let boundary = kind
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once("boundary="))
        .map(|(_, boundary)| boundary.trim_matches('"'));
    let text = String::from_utf8_lossy(&answer.body);
    let mut answers: Vec<Option<Part>> = Vec::new();
    answers.resize_with(count, || None);
    for (at, part) in boundary.map_or_else(Vec::new, |boundary| parts(&text, boundary)) {
        if let Some(slot) = answers.get_mut(at) {
            *slot = Some(part);
        }
    }
    let of_one = |part: Option<Part>| match part {
        Some(part) => outcome(client, context, part.status, &part.code),
        None => Err(context.unavailable("the service did not answer for this key".into())),
    };
    answers.into_iter().map(of_one).collect()
}

/// What the service says of one key.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    status: u16,
    code: String,
}

/// The answers of a batch by the number of their key. One whose end did not come is left out.
fn parts(text: &str, boundary: &str) -> Vec<(usize, Part)> {
    let line = format!("--{boundary}");
    let mut pieces: Vec<&str> = text.split(line.as_str()).skip(1).collect();
    // What follows the last boundary is the end mark, or an answer that was cut off.
    pieces.pop();
    pieces.into_iter().filter_map(part).collect()
}

fn part(piece: &str) -> Option<(usize, Part)> {
    let (head, inner) = piece.split_once("HTTP/1.1 ")?;
    let at = field(head, "content-id")?.parse().ok()?;
    let status = inner.get(..3)?.parse().ok()?;
    let code = field(inner, "x-ms-error-code").map(tidy).unwrap_or_default();
    Some((at, Part { status, code }))
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let mut fields = fields.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    fields.next().map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Type: application/http\r\nContent-ID: 1\r\n\r\nHTTP/1.1 404 The specified blob does \
        not exist.\r\nx-ms-error-code: BlobNotFound\r\n\r\n<?xml version=\"1.0\"?><Error/>\r\n--b\r\nContent-Type: \
        application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\nx-ms-version: 2023-11-03\r\n\r\n--b--";

    fn read(text: &str) -> Vec<(usize, u16, String)> {
        let parts = parts(text, "b").into_iter();
        parts.map(|(at, part)| (at, part.status, part.code)).collect()
    }

    #[test]
    fn each_answer_is_its_own_keys_whatever_their_order() {
        assert_eq!(
            read(BODY),
            [(1, 404, "BlobNotFound".to_owned()), (0, 202, String::new())]
        );
    }

    #[test]
    fn an_answer_that_was_cut_off_is_none() {
        for cut in 0..BODY.len() - 3 {
            let seen = read(&BODY[..cut]);
            assert!(!seen.iter().any(|(at, ..)| *at == 0), "cut at {cut}: {seen:?}");
        }
    }

    #[test]
    fn headers_inside_a_batch_are_written_as_the_service_wants_them() {
        assert_eq!(title_case("x-ms-version"), "X-Ms-Version");
        assert_eq!(title_case("date"), "Date");
    }
}
