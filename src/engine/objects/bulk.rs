//! Deleting many objects for good, in bulk where the provider can.

use futures::{StreamExt, stream};
use object_store::path::Path;

use super::{Survey, invalid, sidecar_key};
use crate::providers::{Key, Provider, ProviderError};

/// Keys in one bulk request; source: Amazon S3 API Reference, `DeleteObjects`.
const BULK: usize = 1000;

/// Deletes objects and their sidecars for good without a look at each, in bulk where the provider can: what is in
/// the trash, or what was just looked at. The answers are in the order of the keys, each the answer for that key.
pub async fn purge_all(provider: &Provider, keys: &[Key]) -> Vec<Result<(), ProviderError>> {
    let survey = Survey::of(provider, keys.iter()).await;
    let mut answers = Vec::with_capacity(keys.len());
    let mut rest = keys;
    while !rest.is_empty() {
        let (chunk, more) = rest.split_at(fitting(&survey, rest));
        answers.extend(purge_chunk(provider, &survey, chunk).await);
        for key in chunk {
            provider.tidy(key).await;
        }
        rest = more;
    }
    answers
}

/// How many of the keys one request takes, with their sidecars.
fn fitting(survey: &Survey, keys: &[Key]) -> usize {
    let mut room = BULK;
    let fits = keys.iter().take_while(|key| {
        let wanted = if survey.is_bare(key) { 1 } else { 2 };
        let fits = wanted <= room;
        room = room.saturating_sub(wanted);
        fits
    });
    fits.count()
}

/// Sidecars go with their objects in one request; an object whose sidecar stayed is not done.
async fn purge_chunk(provider: &Provider, survey: &Survey, keys: &[Key]) -> Vec<Result<(), ProviderError>> {
    let mut answers: Vec<Result<(), ProviderError>> = Vec::with_capacity(keys.len());
    let (mut paths, mut owners) = (Vec::new(), Vec::new());
    for (at, key) in keys.iter().enumerate() {
        let sidecar = (!survey.is_bare(key)).then(|| sidecar_key(key));
        let both = [Some(key), sidecar.as_ref()].into_iter().flatten();
        let located: Result<Vec<Path>, _> = both.map(|key| provider.location(key)).collect();
        answers.push(located.map(|located| {
            owners.extend(located.iter().map(|_| at));
            paths.extend(located);
        }));
    }
    let gone = delete_paths(provider, paths).await;
    for (at, answer) in owners.into_iter().zip(gone) {
        if let (true, Err(error)) = (answers[at].is_ok(), answer) {
            answers[at] = Err(error);
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
