//! Copies of files on backup providers: made with an upload, read while a file's own provider does not answer, and gone
//! with the file. No record names them, and no cleanup takes them, since their keys carry the id of a record.

use std::sync::Arc;

use super::changes::Sites;
use super::journal::{JournalError, RunHandle};
use super::objects::{self, MoveOutcome, PurgeOutcome, evidence_of, trash_key};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{Action, Evidence, Intended, NewStep, Settlement, StepState};
use crate::providers::{Key, Provider, ProviderError};

/// A copy that is to go with its file.
pub(super) struct Doomed {
    pub(super) file_id: String,
    pub(super) step: NewStep,
    provider: Arc<Provider>,
    key: Key,
    /// Its provider does not answer now.
    silent: bool,
}

/// The copies of files that are to be deleted, each with the step that takes it away, to be written down with those of the
/// files: an undo brings both back, and the next run ends what a crash or a silent provider left of either.
///
/// # Errors
/// Where the database cannot be read.
pub(super) async fn doomed(
    run: &RunHandle,
    sites: &Sites,
    files: &[&FileRecord],
    for_good: bool,
) -> Result<Vec<Doomed>, JournalError> {
    let ids: Vec<String> = files.iter().map(|file| file.id.clone()).collect();
    let mut doomed = Vec::new();
    for (id, copy) in run.copies(&ids).await? {
        let Some(provider) = sites.known(&copy.provider) else {
            tracing::warn!(
                "the copy of {id} stays: {} is no provider that can be used",
                copy.provider
            );
            continue;
        };
        let file = files.iter().find(|file| file.id == id);
        let size = file.map_or(0, |file| file.size);
        let key = Key::from(copy.key.as_str());
        // A migration may have made the copy the file, which has a step of its own.
        if file
            .and_then(|file| provider.mapping.key_of(&file.provider_path))
            .as_ref()
            == Some(&key)
        {
            continue;
        }
        match doom(run.id(), (id.clone(), size), (provider, key), for_good).await {
            Ok(found) => doomed.extend(found),
            Err(error) => tracing::warn!("the copy of {id} on {} stays: {error}", copy.provider),
        }
    }
    Ok(doomed)
}

/// `None` where nothing is there.
async fn doom(
    run_id: &str,
    (file_id, size): (String, i64),
    (provider, key): (Arc<Provider>, Key),
    for_good: bool,
) -> Result<Option<Doomed>, ProviderError> {
    let (evidence, silent) = match provider.head(&key).await {
        Ok(Some(found)) => (evidence_of(&found), false),
        Ok(None) => return Ok(None),
        Err(error) if error.is_outage() => {
            tracing::warn!("the copy of {file_id} goes with the next run that changes something: {error}");
            let size = u64::try_from(size).unwrap_or(0);
            (
                Evidence {
                    size,
                    ..Evidence::default()
                },
                true,
            )
        }
        Err(error) => return Err(error),
    };
    let text = |key: &Key| key.as_str().map(str::to_owned);
    let to_key = if for_good {
        None
    } else {
        text(&trash_key(&provider, run_id, &key)?)
    };
    let step = NewStep {
        action: if for_good { Action::Purge } else { Action::Trash },
        provider: provider.name.clone(),
        key: text(&key),
        to_key,
        to_provider: None,
        evidence: Some(evidence),
        file_id: None,
        before: None,
        after: None,
        change: None,
        undoes: None,
    };
    Ok(Some(Doomed {
        file_id,
        step,
        provider,
        key,
        silent,
    }))
}

/// Takes away the copies of files that are gone, and leaves those of files that stay.
///
/// # Errors
/// Where the journal cannot be written.
///
/// # Cancellation
/// Safe: the next run goes on.
pub(super) async fn go_along(
    run: &RunHandle,
    written: Vec<(Intended, Doomed)>,
    gone: &[String],
) -> Result<(), JournalError> {
    let mut settlements = Vec::new();
    for (answer, one) in written {
        let Intended::Written(number) = answer else {
            continue;
        };
        if !gone.contains(&one.file_id) {
            settlements.push(ended(number, Err("its file stays")));
        } else if !one.silent {
            settlements.extend(act(&one, number).await);
        }
    }
    reach("copies.after-act");
    if !settlements.is_empty() {
        run.settle(settlements).await?;
    }
    Ok(())
}

fn ended(number: u64, end: Result<(), &str>) -> Settlement {
    Settlement {
        number,
        state: if end.is_ok() {
            StepState::Settled
        } else {
            StepState::Failed
        },
        error: end.err().map(str::to_owned),
        change: None,
    }
}

/// How its step ended; `None` where nobody knows yet.
async fn act(one: &Doomed, number: u64) -> Option<Settlement> {
    let evidence = one.step.evidence.as_ref()?;
    let to = one.step.to_key.as_deref().map(Key::from);
    let gone = if let Some(to) = to {
        let moved = objects::move_object(&one.provider, &one.key, &to, evidence).await;
        moved.map(|outcome| !matches!(outcome, MoveOutcome::Changed | MoveOutcome::TargetTaken))
    } else {
        let purged = objects::purge(&one.provider, &one.key, evidence).await;
        purged.map(|outcome| outcome != PurgeOutcome::Changed)
    };
    match gone {
        Ok(true) => Some(ended(number, Ok(()))),
        Ok(false) => Some(ended(number, Err("the copy was replaced meanwhile"))),
        Err(error) => {
            tracing::warn!(
                "the copy {} on {} is left to the next run: {error}",
                one.key,
                one.provider.name
            );
            None
        }
    }
}
