//! Putting back what a run took away, and emptying the trash: a run of its own, whose steps name those they undo.
//!
//! Bytes come first, then the row, by compare-and-swap: what was edited since stays edited, what is in use again is
//! not overwritten, and each such item is told. A step that is undone is not undone again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::changes::{BATCH, Changes, Sites, failed, failed_by, is_uncertain};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle};
use super::objects::{MoveOutcome, move_object, purge_all, put_back};
use super::{Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::MetadataStore;
use crate::metadata::journal::{
    Action, Evidence, Intended, NewStep, RecordChange, Settlement, Step, StepState,
};
use crate::providers::{EntryKind, Key, Provider};

/// What to put back.
#[derive(Debug)]
pub struct UndoRequest {
    pub steps: Vec<Step>,
    /// Folders of storage.yml.
    pub folders: HashSet<String>,
    /// Objects worked on at once.
    pub concurrency: usize,
}

/// A step that can be undone, and how.
#[derive(Debug)]
struct Reversal {
    step: NewStep,
    /// Made when the bytes are there.
    at_end: Option<RecordChange>,
    provider: Option<Arc<Provider>>,
    shown: Value,
    bytes: u64,
}

enum Acted {
    Done,
    Kept(ItemError),
    Open(ItemError),
}

/// What an operator knows the step by.
#[must_use]
pub fn name_of(step: &Step) -> String {
    let key = || {
        step.key
            .clone()
            .unwrap_or_else(|| format!("{}#{}", step.run_id, step.number))
    };
    step.file_id.clone().unwrap_or_else(key)
}

/// A step as people and programs are shown it.
#[must_use]
pub fn shown(step: &Step) -> Value {
    let row = step.before.as_ref();
    json!({
        "id": step.file_id,
        "originalName": row.map(|row| row.original_name.as_str()),
        "folder": row.map(|row| row.folder.as_str()),
        "size": size_of(step),
        "provider": step.provider,
        "key": step.key,
        "runId": step.run_id,
        "deletedAt": step.changed_at,
    })
}

#[must_use]
pub fn size_of(step: &Step) -> u64 {
    let recorded = || step.before.as_ref().and_then(|row| u64::try_from(row.size).ok());
    let seen = step.evidence.as_ref().map(|evidence| evidence.size);
    seen.or_else(recorded).unwrap_or(0)
}

/// What [`undo`] would do, with nothing written.
///
/// # Errors
/// Where the database cannot be read.
pub async fn plan(
    store: &dyn MetadataStore,
    sites: &Sites,
    request: &UndoRequest,
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    for step in request.steps.iter().rev() {
        match judge(store, sites, request, step).await? {
            Ok(None) => {}
            Ok(Some(reversal)) => changes.succeed(reversal.shown, reversal.bytes),
            Err(error) => changes.fail(error),
        }
    }
    Ok(changes)
}

/// Puts back the steps' objects and rows, the last first.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way.
pub async fn undo(
    run: &RunHandle,
    store: &dyn MetadataStore,
    (sites, request): (&Sites, &UndoRequest),
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Putting back", Some(request.steps.len() as u64));
    let steps: Vec<&Step> = request.steps.iter().rev().collect();
    for (at, batch) in steps.chunks(BATCH).enumerate() {
        if interrupt.is_requested() {
            changes.interrupted = true;
            break;
        }
        let mut reversals = Vec::with_capacity(batch.len());
        for step in batch {
            match judge(store, sites, request, step).await? {
                Ok(None) => {}
                Ok(Some(reversal)) => reversals.push(reversal),
                Err(error) => changes.fail(error),
            }
        }
        undo_batch(run, reversals, request.concurrency, &mut changes).await?;
        progress.advance((at * BATCH + batch.len()) as u64, &run.id());
    }
    progress.finish();
    Ok(changes)
}

/// How the step is undone; `None` where nothing of it is left to undo.
async fn judge(
    store: &dyn MetadataStore,
    sites: &Sites,
    request: &UndoRequest,
    step: &Step,
) -> Result<Result<Option<Reversal>, ItemError>, JournalError> {
    let name = name_of(step);
    let no = |reason: &str| Ok(Err(failed(&name, "STORAGE_ERROR", reason)));
    match step.state {
        StepState::Undone | StepState::Failed => return Ok(Ok(None)),
        StepState::Emptied => return no("its trash was emptied: it is gone for good"),
        StepState::Intended => return no("it is being worked on by another run"),
        StepState::Settled => {}
    }
    match step.action {
        Action::Purge => return no("it was deleted for good, past the trash"),
        Action::Restore => return no("what was put back is not taken away again; use the first command"),
        Action::Trash | Action::Move | Action::Record => {}
    }
    if let Some(row) = &step.before {
        if !request.folders.contains(&row.folder) {
            let reason = format!("storage.yml has no folder {} any more", row.folder);
            return Ok(Err(failed(&name, "STORAGE_VALIDATION_ERROR", &reason)));
        }
        let now = store.get(&row.id).await?;
        if step.after.is_none() && now.is_some() {
            return no("its id is in use again");
        }
        if step.after.is_some() && now != step.after {
            return no("its record was edited or deleted since");
        }
    }
    let provider = match step.action {
        Action::Record => None,
        _ => match sites.named(&step.provider, &name) {
            Ok(provider) => Some(provider),
            Err(error) => return Ok(Err(error)),
        },
    };
    let reversal = reversal(step, provider);
    let places = (&reversal.provider, &reversal.step.key, &reversal.step.to_key);
    if let (Some(provider), Some(from), Some(to)) = places
        && let Err(error) = look(provider, &name, from, to).await
    {
        return Ok(Err(error));
    }
    Ok(Ok(Some(reversal)))
}

/// Whether the bytes are there to be put back and their key is free.
async fn look(provider: &Provider, name: &str, from: &str, to: &str) -> Result<(), ItemError> {
    let (from, to) = (Key::from(from), Key::from(to));
    let heads = futures::try_join!(provider.head(&from), provider.head(&to));
    let (there, target) = heads.map_err(|error| failed_by(name, &error))?;
    if there.is_none_or(|there| there.kind != EntryKind::Object) {
        return Err(failed(
            name,
            "STORAGE_FILE_NOT_FOUND",
            "its bytes are not in the trash any more",
        ));
    }
    if target.is_some() {
        return Err(failed(
            name,
            "STORAGE_ERROR",
            &format!("its key {to} is in use again"),
        ));
    }
    Ok(())
}

fn reversal(step: &Step, provider: Option<Arc<Provider>>) -> Reversal {
    let change = match (&step.before, &step.after) {
        (Some(before), Some(after)) => Some(RecordChange::Replace {
            expected: Box::new(after.clone()),
            record: Box::new(before.clone()),
        }),
        (Some(before), None) => Some(RecordChange::Insert {
            record: Box::new(before.clone()),
        }),
        (None, _) => None,
    };
    let action = match step.action {
        Action::Trash => Action::Restore,
        other => other,
    };
    let (at_once, at_end) = match action {
        Action::Record => (change, None),
        _ => (None, change),
    };
    Reversal {
        step: NewStep {
            action,
            provider: step.provider.clone(),
            key: step.to_key.clone().filter(|_| action != Action::Record),
            to_key: step.key.clone().filter(|_| action != Action::Record),
            evidence: step.evidence.as_ref().map(size_alone),
            file_id: step.file_id.clone(),
            before: step.after.clone(),
            after: step.before.clone(),
            change: at_once,
            undoes: Some((step.run_id.clone(), step.number)),
        },
        at_end,
        provider,
        shown: shown(step),
        bytes: size_of(step),
    }
}

/// Time and ETag are not kept on every way into the trash.
fn size_alone(evidence: &Evidence) -> Evidence {
    Evidence {
        size: evidence.size,
        ..Evidence::default()
    }
}

async fn undo_batch(
    run: &RunHandle,
    reversals: Vec<Reversal>,
    concurrency: usize,
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let steps = reversals.iter().map(|reversal| reversal.step.clone()).collect();
    let intended = run.intend(steps).await?;
    reach("undo.after-intend");
    let mut written = Vec::with_capacity(reversals.len());
    for (answer, reversal) in intended.into_iter().zip(reversals) {
        match answer {
            Intended::Written(number) => written.push((number, reversal)),
            Intended::Conflict => changes.fail(failed(
                &item_name(&reversal),
                "STORAGE_ERROR",
                "its record was edited since, or another run is putting it back",
            )),
        }
    }
    let acts = stream::iter(&written).map(|(_, reversal)| act(reversal));
    let acted: Vec<Acted> = acts.buffered(concurrency.max(1)).collect().await;
    reach("undo.after-act");
    settle(run, written, acted, changes).await?;
    reach("undo.after-settle");
    Ok(())
}

fn item_name(reversal: &Reversal) -> String {
    let step = &reversal.step;
    step.file_id
        .clone()
        .or_else(|| step.to_key.clone())
        .unwrap_or_default()
}

async fn act(reversal: &Reversal) -> Acted {
    let step = &reversal.step;
    let (Some(provider), Some(from), Some(to), Some(evidence)) =
        (&reversal.provider, &step.key, &step.to_key, &step.evidence)
    else {
        return Acted::Done;
    };
    let outcome = put_back(
        provider,
        &Key::from(from.as_str()),
        &Key::from(to.as_str()),
        evidence,
    )
    .await;
    reach("undo.after-move");
    let name = item_name(reversal);
    let kept = |reason: &str| Acted::Kept(failed(&name, "STORAGE_ERROR", reason));
    match outcome {
        Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere) => Acted::Done,
        Ok(MoveOutcome::Missing) => kept("its bytes are not in the trash any more"),
        Ok(MoveOutcome::Changed) => kept("its bytes in the trash are not those that were put there"),
        Ok(MoveOutcome::TargetTaken) => kept("its key is in use again"),
        Err(error) if is_uncertain(&error) => Acted::Open(failed_by(&name, &error)),
        Err(error) => {
            let still = provider.head(&Key::from(from.as_str())).await;
            let reason = failed_by(&name, &error);
            if matches!(still, Ok(Some(_))) {
                Acted::Kept(reason)
            } else {
                Acted::Open(reason)
            }
        }
    }
}

async fn settle(
    run: &RunHandle,
    written: Vec<(u64, Reversal)>,
    acted: Vec<Acted>,
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let settlement = |((number, reversal), acted): (&(u64, Reversal), &Acted)| match acted {
        Acted::Done => Some(settlement(
            *number,
            StepState::Settled,
            None,
            reversal.at_end.clone(),
        )),
        Acted::Kept(error) => Some(settlement(*number, StepState::Failed, Some(&error.error), None)),
        Acted::Open(_) => None,
    };
    let settlements = written.iter().zip(&acted).filter_map(settlement).collect();
    let mut made = run.settle(settlements).await?.into_iter();
    for ((number, reversal), acted) in written.into_iter().zip(acted) {
        let settled = matches!(acted, Acted::Open(_)) || made.next().unwrap_or(false);
        match acted {
            Acted::Done if settled => changes.succeed(reversal.shown, reversal.bytes),
            Acted::Done => take_back(run, number, &reversal, changes).await?,
            Acted::Kept(error) | Acted::Open(error) => changes.fail(error),
        }
    }
    Ok(())
}

fn settlement(
    number: u64,
    state: StepState,
    error: Option<&str>,
    change: Option<RecordChange>,
) -> Settlement {
    Settlement {
        number,
        state,
        error: error.map(str::to_owned),
        change,
    }
}

/// The row was taken or edited while the bytes came back: they go where they were.
async fn take_back(
    run: &RunHandle,
    number: u64,
    reversal: &Reversal,
    changes: &mut Changes,
) -> Result<(), JournalError> {
    const REASON: &str = "its record was edited while it was put back";
    let step = &reversal.step;
    let name = item_name(reversal);
    if let (Some(provider), Some(trashed), Some(key), Some(evidence)) =
        (&reversal.provider, &step.key, &step.to_key, &step.evidence)
    {
        let (from, to) = (Key::from(key.as_str()), Key::from(trashed.as_str()));
        if let Err(error) = move_object(provider, &from, &to, evidence).await {
            changes.fail(failed_by(&name, &error));
            return Ok(());
        }
    }
    run.settle(vec![settlement(number, StepState::Failed, Some(REASON), None)])
        .await?;
    changes.fail(failed(&name, "STORAGE_ERROR", REASON));
    Ok(())
}

/// Deletes what is in the trash for good. Only steps whose bytes lie there.
///
/// # Errors
/// As [`undo`].
///
/// # Cancellation
/// As [`undo`].
pub async fn empty(
    run: &RunHandle,
    sites: &Sites,
    steps: &[Step],
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Emptying the trash", Some(steps.len() as u64));
    for (at, batch) in steps.chunks(BATCH * 5).enumerate() {
        if interrupt.is_requested() {
            changes.interrupted = true;
            break;
        }
        empty_batch(run, sites, batch, &mut changes).await?;
        progress.advance((at * BATCH * 5 + batch.len()) as u64, &run.id());
    }
    progress.finish();
    Ok(changes)
}

async fn empty_batch(
    run: &RunHandle,
    sites: &Sites,
    batch: &[Step],
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let mut targets = Vec::with_capacity(batch.len());
    for step in batch {
        match sites.named(&step.provider, &name_of(step)) {
            Ok(provider) => targets.push((step, provider)),
            Err(error) => changes.fail(error),
        }
    }
    let intended = run
        .intend(targets.iter().map(|(step, _)| removal(step)).collect())
        .await?;
    reach("empty.after-intend");
    let mut by_provider: BTreeMap<String, Removals<'_>> = BTreeMap::new();
    for (answer, (step, provider)) in intended.into_iter().zip(targets) {
        match (answer, &step.to_key) {
            (Intended::Written(number), Some(key)) => {
                let entry = by_provider.entry(provider.name.clone());
                let (_, items) = entry.or_insert_with(|| (provider, Vec::new()));
                items.push((number, step, Key::from(key.as_str())));
            }
            _ => changes.fail(failed(
                &name_of(step),
                "STORAGE_ERROR",
                "another run is putting it back",
            )),
        }
    }
    for (provider, items) in by_provider.into_values() {
        let keys: Vec<Key> = items.iter().map(|(_, _, key)| key.clone()).collect();
        let answers = purge_all(&provider, &keys).await;
        reach("empty.after-act");
        let mut settlements = Vec::with_capacity(items.len());
        for ((number, step, _), answer) in items.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    settlements.push(settlement(*number, StepState::Settled, None, None));
                    changes.succeed(shown(step), size_of(step));
                }
                // It may still go: the next run asks again.
                Err(error) => {
                    changes.fail(failed_by(&name_of(step), &error));
                }
            }
        }
        run.settle(settlements).await?;
    }
    reach("empty.after-settle");
    Ok(())
}

/// Written steps of one provider, each with its place in the trash.
type Removals<'a> = (Arc<Provider>, Vec<(u64, &'a Step, Key)>);

fn removal(step: &Step) -> NewStep {
    NewStep {
        action: Action::Purge,
        provider: step.provider.clone(),
        key: step.to_key.clone(),
        to_key: None,
        evidence: step.evidence.as_ref().map(size_alone),
        file_id: step.file_id.clone(),
        before: None,
        after: None,
        change: None,
        undoes: Some((step.run_id.clone(), step.number)),
    }
}
