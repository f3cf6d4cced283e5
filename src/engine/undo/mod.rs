//! Putting back what a run took away, and emptying the trash: a run of its own, whose steps name those they undo.
//!
//! Bytes come first, then the row, by compare-and-swap: what was edited since stays edited, what is in use again is
//! not overwritten, and each such item is told. A step that is undone is not undone again.

mod copies;
mod empty;
mod judge;
mod pages;

use std::collections::HashSet;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::changes::{BATCH, Changes, Sites, failed, failed_by, is_uncertain};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle};
use super::objects::{MoveOutcome, move_object, put_back, trash_place};
use super::relocate::{Carried, carry};
use super::sidecar::{self, Absent, SidecarError};
use super::upload::Way;
use super::{Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::MetadataStore;
use crate::metadata::journal::{
    Action, Evidence, Intended, JournalReader, RecordChange, Settlement, Step, StepState,
};
use crate::providers::{Key, Provider, ProviderError};
use judge::{Reversal, judge};

pub use copies::copied_files;
pub use empty::empty;
pub use pages::{Pages, Steps};

/// What to put back.
#[derive(Debug)]
pub struct UndoRequest {
    pub steps: Steps,
    /// How many they are.
    pub total: u64,
    /// Folders of storage.yml.
    pub folders: HashSet<String>,
    /// Objects worked on at once.
    pub concurrency: usize,
    /// How bytes travel that are not in the trash any more, but at another provider.
    pub way: Way,
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
        "migratedTo": step.to_provider,
        "key": step.key,
        "runId": step.run_id,
        "deletedAt": step.changed_at,
    })
}

/// Where in the trash the bytes are that the step took there.
///
/// # Errors
/// Where it took none there.
pub fn trashed_at(provider: &Provider, step: &Step) -> Result<Key, ProviderError> {
    match (step.action, &step.key, &step.to_key) {
        (Action::Trash, _, Some(to)) => Ok(Key::from(to.as_str())),
        (Action::Migrate, Some(key), _) => Ok(trash_place(&step.run_id, &Key::from(key.as_str()))),
        _ => Err(ProviderError::Invalid {
            provider: provider.name.clone(),
            operation: "trash",
            reason: "it has no place in the trash".to_owned(),
        }),
    }
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
    store: &dyn JournalReader,
    sites: &Sites,
    request: &UndoRequest,
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    let mut pages = Pages::backward(store, &request.steps);
    loop {
        let page = pages.next(BATCH).await?;
        if page.is_empty() {
            return Ok(changes);
        }
        let copies = copied_files(store, &page).await?;
        for (step, copy_of) in page.iter().zip(copies) {
            match judge(store, sites, request, step).await? {
                Ok(None) => {}
                Ok(Some(reversal)) => reversal.of_copy(copy_of).succeeded(&mut changes),
                Err(error) => changes.fail(error),
            }
        }
    }
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
    store: &dyn JournalReader,
    (sites, request): (&Sites, &UndoRequest),
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Putting back", Some(request.total));
    let mut pages = Pages::backward(store, &request.steps);
    let mut done = 0;
    while !changes.stops(interrupt) {
        let batch = pages.next(BATCH).await?;
        if batch.is_empty() {
            break;
        }
        done += batch.len() as u64;
        let mut reversals = Vec::with_capacity(batch.len());
        let copies = copied_files(store, &batch).await?;
        for (step, copy_of) in batch.iter().zip(copies) {
            match judge(store, sites, request, step).await? {
                Ok(None) => {}
                Ok(Some(reversal)) => reversals.push(reversal.of_copy(copy_of)),
                Err(error) => changes.fail(error),
            }
        }
        let (moves, others): (Vec<Reversal>, Vec<Reversal>) = reversals
            .into_iter()
            .partition(|reversal| matches!(reversal.step.action, Action::Move | Action::Migrate));
        let at_once = (request.concurrency, interrupt);
        move_batch(run, store, (moves, at_once), &mut changes).await?;
        undo_batch(run, store, others, (request.concurrency, &mut changes)).await?;
        progress.advance(done, &run.id());
    }
    progress.finish();
    Ok(changes)
}

/// Time and ETag are not kept on every way into the trash.
fn size_alone(evidence: &Evidence) -> Evidence {
    Evidence {
        size: evidence.size,
        ..Evidence::default()
    }
}

/// What was moved goes back in the way it came: it can be read all the while.
async fn move_batch(
    run: &RunHandle,
    store: &dyn MetadataStore,
    (reversals, at_once): (Vec<Reversal>, (usize, &Interrupt)),
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let pairs = reversals
        .into_iter()
        .filter_map(|mut reversal| Some((reversal.relocation()?, reversal)));
    let (relocations, reversals): (Vec<_>, Vec<_>) = pairs.unzip();
    if relocations.is_empty() {
        return Ok(());
    }
    let carried = carry(run, store, &relocations, at_once).await?;
    for (carried, reversal) in carried.into_iter().zip(reversals) {
        match carried {
            Carried::Done => changes.succeed(&reversal.shown, reversal.bytes),
            Carried::Kept(error) | Carried::Open(error) => changes.fail(error),
            Carried::Unbegun => changes.interrupted = true,
        }
    }
    Ok(())
}

async fn undo_batch(
    run: &RunHandle,
    store: &dyn MetadataStore,
    reversals: Vec<Reversal>,
    (concurrency, changes): (usize, &mut Changes),
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
    let acts = stream::iter(&written).map(|(_, reversal)| act(store, reversal));
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

async fn act(store: &dyn MetadataStore, reversal: &Reversal) -> Acted {
    let step = &reversal.step;
    let (Some(provider), Some(from), Some(to), Some(evidence)) =
        (&reversal.provider, &step.key, &step.to_key, &step.evidence)
    else {
        return agree(store, reversal).await;
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

/// A row alone was put back; its sidecar follows, now or with the next run.
async fn agree(store: &dyn MetadataStore, reversal: &Reversal) -> Acted {
    let (Some(provider), Some(now), Some(back)) =
        (&reversal.provider, &reversal.step.before, &reversal.step.after)
    else {
        return Acted::Done;
    };
    match sidecar::agree(provider, store, &back.id, Absent::after(now, back)).await {
        Ok(()) => Acted::Done,
        Err(SidecarError::Provider(error)) => Acted::Open(failed_by(&back.id, &error)),
        Err(SidecarError::Metadata(error)) => {
            Acted::Open(failed(&back.id, "STORAGE_ERROR", &error.to_string()))
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
            Acted::Done if settled => reversal.succeeded(changes),
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
