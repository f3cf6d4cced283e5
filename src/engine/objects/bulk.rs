//! Deleting many objects for good, in bulk where the provider can.

use futures::{StreamExt, stream};
use object_store::path::Path;

use super::{invalid, sidecar_key};
use crate::providers::{Key, Provider, ProviderError};

/// Keys in one bulk request; source: Amazon S3 API Reference, `DeleteObjects`.
const BULK: usize = 1000;

/// Deletes objects and their sidecars for good without a look at them, in bulk where the provider can: what is in
/// the trash, or what was just looked at. The answers are in the order of the keys, each the answer for that key.
pub async fn purge_all(provider: &Provider, keys: &[Key]) -> Vec<Result<(), ProviderError>> {
    let mut answers = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(BULK / 2) {
        answers.extend(purge_chunk(provider, chunk).await);
        for key in chunk {
            provider.tidy(key).await;
        }
    }
    answers
}

/// Sidecars go with their objects in one request; an object whose sidecar stayed is not done.
async fn purge_chunk(provider: &Provider, keys: &[Key]) -> Vec<Result<(), ProviderError>> {
    let mut answers: Vec<Result<(), ProviderError>> = Vec::with_capacity(keys.len());
    let mut asked = Vec::with_capacity(keys.len());
    let mut paths = Vec::with_capacity(keys.len() * 2);
    for (at, key) in keys.iter().enumerate() {
        let pair = provider
            .location(key)
            .and_then(|object| Ok([object, provider.location(&sidecar_key(key))?]));
        answers.push(pair.map(|pair| {
            asked.push(at);
            paths.extend(pair);
        }));
    }
    let gone = delete_paths(provider, paths).await;
    for (at, pair) in asked.into_iter().zip(gone.chunks(2)) {
        if let Some(error) = pair.iter().find_map(|answer| answer.as_ref().err()) {
            answers[at] = Err(error.clone());
        }
    }
    answers
}

/// One answer for each path. What was not there is gone, too.
async fn delete_paths(provider: &Provider, paths: Vec<Path>) -> Vec<Result<(), ProviderError>> {
    let asked = stream::iter(paths.clone()).map(Ok).boxed();
    let answers: Vec<_> = provider.store.delete_stream(asked).collect().await;
    if answers.len() != paths.len() {
        // A request that failed as a whole has one answer for all.
        let failed = answers.into_iter().find_map(Result::err);
        let error = failed.map_or_else(
            || invalid(provider, "delete", "not every key was answered for".to_owned()),
            |error| provider.store_error("delete", error),
        );
        return vec![Err(error); paths.len()];
    }
    let local = provider.type_name == "local";
    let of_one = |(path, answer): (Path, _)| match answer {
        Ok(gone) if gone == path => Ok(()),
        Ok(_) => Err(invalid(
            provider,
            "delete",
            "the answer was for another key".to_owned(),
        )),
        Err(object_store::Error::NotFound { .. }) if local => Ok(()),
        Err(error) => Err(provider.store_error("delete", error)),
    };
    paths.into_iter().zip(answers).map(of_one).collect()
}
