//! Copies inside an account, which the service makes by itself and may still be making when it answers: a copy is done
//! when the target says `success` for this copy's id, and not before. Until then nobody may count on its bytes.
//!
//! A copy that never ends is aborted. What a copy that failed leaves is a blob without bytes at its target: it is
//! removed, here or, where the program died, by [`settle`].
//!
//! Source: Azure Storage REST API, "Copy Blob" and "Abort Copy Blob".

use std::time::{Duration, Instant};

use http::{HeaderMap, Method, StatusCode, header};
use object_store::azure::AzureCredential;
use url::Url;

use super::client::{Ask, Client};
use super::failure::code;
use crate::providers::ProviderError;
use crate::providers::paged::PageSource;
use crate::providers::wire::{Context, tidy};

/// Between two looks at a copy: at first, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What became of a copy that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    Done,
    SourceMissing,
    /// It was to be made only where nothing stands, and something does.
    TargetTaken,
}

/// What a blob says of the copy that it came from.
#[derive(Debug)]
struct State {
    id: String,
    status: String,
    description: String,
    progress: String,
    etag: Option<String>,
    source: String,
}

impl State {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Self {
            id: text("x-ms-copy-id"),
            status: text("x-ms-copy-status"),
            description: text("x-ms-copy-status-description"),
            progress: text("x-ms-copy-progress"),
            etag: Some(text(header::ETAG.as_str())).filter(|etag| !etag.is_empty()),
            source: text("x-ms-copy-source"),
        }
    }
}

/// Copies a blob and waits until it is copied, whatever time that takes as long as it goes on.
///
/// # Errors
/// Where the copy failed, stood still for too long, or is not known to be done. The source is untouched.
///
/// # Cancellation
/// The service goes on with a copy that it began; [`settle`] finishes it.
pub(super) async fn copy(
    client: &Client,
    from: &[u8],
    to: &[u8],
    overwrite: bool,
) -> Result<Copied, ProviderError> {
    let context = client.context("copy");
    let source = source_url(client, context, from).await?;
    let mut ask = Ask::new(Method::PUT, client.blob_url(context, to)?).header("x-ms-copy-source", &source);
    if let Some(tier) = &client.access_tier {
        ask = ask.header("x-ms-access-tier", tier);
    }
    if !overwrite {
        ask = ask.header("if-none-match", "*");
    }
    let answer = client.send(context, ask).await?;
    match (answer.status, code(&answer).as_str()) {
        (StatusCode::ACCEPTED, _) => {}
        (StatusCode::NOT_FOUND, "BlobNotFound" | "CannotVerifyCopySource") => {
            return Ok(Copied::SourceMissing);
        }
        (StatusCode::CONFLICT, "BlobAlreadyExists") | (StatusCode::PRECONDITION_FAILED, _) => {
            return Ok(Copied::TargetTaken);
        }
        _ => return Err(client.failed(context, &answer)),
    }
    let begun = State::of(&answer.headers);
    if begun.id.is_empty() {
        return Err(context.invalid("a copy was begun without an id".into()));
    }
    if begun.status != "success" {
        wait(client, context, to, &begun.id).await?;
    }
    Ok(Copied::Done)
}

/// The source as the service is to read it, which with a shared access signature takes the signature along.
async fn source_url(client: &Client, context: Context<'_>, from: &[u8]) -> Result<String, ProviderError> {
    let url = client.blob_url(context, from)?;
    let credential = client.credential(context).await?;
    let AzureCredential::SASToken(pairs) = credential.as_ref() else {
        return Ok(url);
    };
    let mut url = Url::parse(&url).map_err(|_| context.invalid("the source's URL is malformed".into()))?;
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(url.into())
}

/// Looks at the target until its copy is done.
async fn wait(client: &Client, context: Context<'_>, to: &[u8], id: &str) -> Result<(), ProviderError> {
    let mut pause = FIRST_WAIT;
    let mut progress = String::new();
    let mut moved = Instant::now();
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_WAIT);
        let state = state_of(client, context, to).await?;
        let Some(state) = state.filter(|state| state.id == id) else {
            let reason = "something else took the copy's place while it was made".to_owned();
            return Err(context.unavailable(reason));
        };
        match state.status.as_str() {
            "success" => return Ok(()),
            "pending" if state.progress != progress => {
                progress = state.progress;
                moved = Instant::now();
            }
            "pending" if moved.elapsed() < client.copy_patience => {}
            "pending" => return give_up(client, context, to, id).await,
            _ => return Err(ended_badly(client, context, to, state).await),
        }
    }
}

async fn state_of(client: &Client, context: Context<'_>, key: &[u8]) -> Result<Option<State>, ProviderError> {
    let headers = client.properties(context, key).await?;
    Ok(headers.map(|headers| State::of(&headers)))
}

/// Ends a copy that stands still; one that was done just now is done.
async fn give_up(client: &Client, context: Context<'_>, to: &[u8], id: &str) -> Result<(), ProviderError> {
    let query = crate::providers::wire::query_of(&[("comp", Some("copy")), ("copyid", Some(id))]);
    let url = format!("{}?{query}", client.blob_url(context, to)?);
    let ask = Ask::new(Method::PUT, url).header("x-ms-copy-action", "abort");
    let answer = client.send(context, ask).await?;
    if answer.status != StatusCode::NO_CONTENT && code(&answer) != "NoPendingCopyOperation" {
        return Err(client.failed(context, &answer));
    }
    match state_of(client, context, to).await? {
        Some(state) if state.id == id && state.status == "success" => Ok(()),
        Some(state) if state.id == id => {
            remove_leftover(client, context, to, &state).await;
            let waited = client.copy_patience.as_millis();
            Err(context.unavailable(format!(
                "the copy stood still for {waited} ms and was given up; the source is as it was"
            )))
        }
        _ => Err(context.unavailable("the copy is gone; the source is as it was".into())),
    }
}

async fn ended_badly(client: &Client, context: Context<'_>, to: &[u8], state: State) -> ProviderError {
    remove_leftover(client, context, to, &state).await;
    context.unavailable(format!(
        "the service says of the copy: {} {}; the source is as it was",
        tidy(&state.status),
        tidy(&state.description)
    ))
}

/// Removes the empty blob that a copy left, as long as it is that one. Should this fail, [`settle`] does it later.
async fn remove_leftover(client: &Client, context: Context<'_>, to: &[u8], state: &State) {
    let (Ok(url), Some(etag)) = (client.blob_url(context, to), &state.etag) else {
        return;
    };
    let ask = Ask::new(Method::DELETE, url).header("if-match", etag);
    let removed = client.send(context, ask).await;
    if !matches!(&removed, Ok(answer) if answer.status == StatusCode::ACCEPTED) {
        tracing::warn!(
            provider = client.provider,
            "an unfinished copy is left at {}",
            String::from_utf8_lossy(to)
        );
    }
}

/// Brings a copy between these keys to its end that a program which died had asked for: waits for one under way, removes
/// what a failed one left. Says whether the target may be another than before.
///
/// # Errors
/// As [`copy`], but that a copy which failed is no error here.
pub(super) async fn settle(client: &Client, from: &[u8], to: &[u8]) -> Result<bool, ProviderError> {
    let context = client.context("copy");
    let ours = client.blob_url(context, from)?;
    let state = state_of(client, context, to).await?;
    let Some(state) = state.filter(|state| same_path(&state.source, &ours)) else {
        return Ok(false);
    };
    match state.status.as_str() {
        "pending" => wait(client, context, to, &state.id).await.map(|()| true),
        "failed" | "aborted" => {
            remove_leftover(client, context, to, &state).await;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Whether two URLs name the same blob, whatever their queries and however they are percent-encoded.
fn same_path(one: &str, other: &str) -> bool {
    let path = |text: &str| {
        let url = Url::parse(text).ok()?;
        Some(percent_encoding::percent_decode_str(url.path()).collect::<Vec<u8>>())
    };
    path(one).is_some_and(|one| Some(one) == path(other))
}

#[cfg(test)]
mod tests {
    use super::same_path;

    #[test]
    fn a_blob_is_the_same_with_or_without_a_signature() {
        let ours = "https://t.blob.core.windows.net/files/town/a%2Bb%20c";
        assert!(same_path(
            "https://t.blob.core.windows.net/files/town/a+b%20c?sig=x",
            ours
        ));
        for other in ["https://t.blob.core.windows.net/files/town/a", "", "no URL"] {
            assert!(!same_path(other, ours), "{other}");
        }
    }
}
