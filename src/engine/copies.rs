//! Copies of files on backup providers: made with an upload, read while a file's own provider does not answer, and gone
//! with the file. No record names them, and no cleanup takes them, since their keys carry the id of a record.

use std::sync::Arc;

use super::changes::Sites;
use super::journal::{JournalError, RunHandle};
use super::objects::{self, MoveOutcome, PurgeOutcome, evidence_of, trash_key};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, Settlement, StepState};
use crate::providers::{Key, Provider, ProviderError};

/// A copy that is to go.
struct Doomed {
    provider: Arc<Provider>,
    key: Key,
    step: NewStep,
}

/// Takes away the copies of files that were just deleted, as steps of the same run: an undo brings them back. What cannot
/// be taken away now is told of, and ended by the next run where its step was written down.
///
/// # Errors
/// Where the journal cannot be written.
///
/// # Cancellation
/// Safe: the next run goes on.
pub(super) async fn go_along(
    run: &RunHandle,
    sites: &Sites,
    file_ids: &[String],
    for_good: bool,
) -> Result<(), JournalError> {
    let mut doomed = Vec::new();
    for (id, copy) in run.copies(file_ids).await? {
        let provider = match sites.named(&copy.provider, &id) {
            Ok(provider) => provider,
            Err(why) => {
                tracing::warn!("the copy of {id} on {} stays: {}", copy.provider, why.error);
                continue;
            }
        };
        match doom(run.id(), &provider, Key::from(copy.key.as_str()), for_good).await {
            Ok(Some(found)) => doomed.push(found),
            Ok(None) => {}
            Err(error) => tracing::warn!("the copy of {id} on {} stays: {error}", provider.name),
        }
    }
    if doomed.is_empty() {
        return Ok(());
    }
    let intended = run
        .intend(doomed.iter().map(|one| one.step.clone()).collect())
        .await?;
    reach("copies.after-intend");
    let mut settlements = Vec::new();
    for (answer, one) in intended.into_iter().zip(&doomed) {
        let Intended::Written(number) = answer else {
            continue;
        };
        settlements.extend(act(one, number).await);
    }
    reach("copies.after-act");
    run.settle(settlements).await?;
    Ok(())
}

/// `None` where nothing is there.
async fn doom(
    run_id: &str,
    provider: &Arc<Provider>,
    key: Key,
    for_good: bool,
) -> Result<Option<Doomed>, ProviderError> {
    let Some(found) = provider.head(&key).await? else {
        return Ok(None);
    };
    let text = |key: &Key| key.as_str().map(str::to_owned);
    let to_key = if for_good {
        None
    } else {
        text(&trash_key(provider, run_id, &key)?)
    };
    let step = NewStep {
        action: if for_good { Action::Purge } else { Action::Trash },
        provider: provider.name.clone(),
        key: text(&key),
        to_key,
        to_provider: None,
        evidence: Some(evidence_of(&found)),
        file_id: None,
        before: None,
        after: None,
        change: None,
        undoes: None,
    };
    Ok(Some(Doomed {
        provider: Arc::clone(provider),
        key,
        step,
    }))
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
        Ok(gone) => Some(Settlement {
            number,
            state: if gone {
                StepState::Settled
            } else {
                StepState::Failed
            },
            error: (!gone).then(|| "the copy was replaced meanwhile".to_owned()),
            change: None,
        }),
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
