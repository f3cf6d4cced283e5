//! Deletion of files: in one transaction the record leaves its table and the step is written down, then the object
//! goes to the trash (or for good), then the step is settled. What a crash leaves, the next run finishes.
//!
//! A record whose provider refuses, or whose root is missing, is kept. Where the provider does not answer now, its record
//! goes and its step stays: the object is deleted by the next run that changes something. A record whose object is gone
//! already goes alone. A few batches are under way at once, so that the journal writes while the provider works.

mod judged;
mod look;

use std::sync::Arc;

use futures::stream::FuturesOrdered;
use futures::{StreamExt, stream};
use serde::Serialize;
use tokio::sync::Semaphore;

pub(super) use judged::judged;

use self::look::{LATER, Target, look, look_all};
use super::changes::{BATCH, Changes, Sites, failed, failed_by, is_uncertain};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle};
use super::objects::{
    MoveOutcome, PurgeOutcome, move_to_new_place, purge, purge_all, still_holds, trash_key,
};
use super::{Interrupt, Progress, copies, tell_queue};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, RecordChange, Settlement, StepState};
use crate::metadata::{FileRecord, MetadataStore};
use crate::providers::{Key, Provider, ProviderError};
use crate::spill::{Spool, SpoolIter};

/// Batches under way at once: while some wait for the provider, others are journalled.
const AHEAD: usize = 10;
/// Files of a batch that goes for good. Providers take the keys of a bulk request one after the other: many requests at once
/// are done before a few large ones.
const PURGED: usize = 250;
const PURGED_AHEAD: usize = 20;

/// What to delete.
#[derive(Debug)]
pub struct DeleteRequest<'a> {
    /// Ids of records, each once; of many, neighbours in a folder best come together.
    pub ids: &'a Spool,
    /// For good, past the trash.
    pub purge: bool,
    /// Objects worked on at once.
    pub concurrency: usize,
}

/// What the batches of one deletion share.
struct Lane<'a> {
    run: &'a RunHandle,
    sites: &'a Sites,
    purge: bool,
    /// Records go with their objects only, and while those are what the records say.
    whole: bool,
    permits: Semaphore,
}

/// How a batch ended.
#[derive(Default)]
struct Ended {
    successful: Vec<(Target, Way)>,
    failed: Vec<ItemError>,
    records: u64,
}

impl Ended {
    fn tell(self, changes: &mut Changes) {
        for (target, way) in &self.successful {
            let bytes = target.evidence.as_ref().map_or(0, |evidence| evidence.size);
            changes.succeed(&Item::of(target, way), bytes);
        }
        changes.fail_all(self.failed);
    }
}

/// How acting on one step ended.
enum Acted {
    Done,
    /// Everything is as it was before.
    Kept(ItemError),
    /// Nobody knows; the next run finds out.
    Open(ItemError),
}

/// Where files are: the providers and the rows.
type At<'a> = (&'a Sites, &'a dyn MetadataStore);

/// What [`delete`] would do to each record, with nothing written.
///
/// # Errors
/// Where the database cannot be read.
pub async fn plan(
    at: At<'_>,
    request: &DeleteRequest<'_>,
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let mut ids = request.ids.iter();
    loop {
        let batch = next(BATCH, &mut ids)?;
        if batch.is_empty() {
            return Ok(());
        }
        let (batch, gone) = records(at.1, &batch).await?;
        changes.fail_all(gone);
        let looks = stream::iter(batch).map(|record| look(at.0, record));
        let mut looks = looks.buffered(request.concurrency.max(1));
        while let Some(looked) = looks.next().await {
            let target = looked.and_then(|target| match target.pending {
                Some(why) => Err(why),
                None => Ok((target.record, target.evidence)),
            });
            match target {
                Ok((record, evidence)) => {
                    let mut item = serde_json::to_value(&record).unwrap_or_default();
                    item["objectMissing"] = evidence.is_none().into();
                    changes.succeed(&item, u64::try_from(record.size).unwrap_or(0));
                }
                Err(error) => changes.fail(error),
            }
        }
    }
}

/// The next ids; none at the end.
fn next(size: usize, ids: &mut SpoolIter<'_>) -> Result<Vec<String>, JournalError> {
    let ids = ids
        .take(size)
        .map(|id| Ok(String::from_utf8_lossy(&id?).into_owned()));
    ids.collect()
}

/// Their records; those that are gone by now fail.
async fn records(
    store: &dyn MetadataStore,
    ids: &[String],
) -> Result<(Vec<FileRecord>, Vec<ItemError>), JournalError> {
    let (mut records, mut gone) = (Vec::with_capacity(ids.len()), Vec::new());
    for (id, record) in ids.iter().zip(store.get_many(ids).await?) {
        match record {
            Some(record) => records.push(record),
            None => gone.push(failed(
                id,
                "STORAGE_FILE_NOT_FOUND",
                "its record was deleted meanwhile; nothing was done",
            )),
        }
    }
    Ok((records, gone))
}

/// Deletes batch by batch, until the end or until the operator stops it.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way.
pub async fn delete(
    run: &RunHandle,
    at: At<'_>,
    request: &DeleteRequest<'_>,
    (progress, interrupt, changes): (&dyn Progress, &Interrupt, &mut Changes),
) -> Result<(), JournalError> {
    progress.start("Deleting", Some(request.ids.len()));
    tell_queue("deletions", request.ids.len(), request.concurrency);
    let lane = Lane {
        run,
        sites: at.0,
        purge: request.purge,
        whole: false,
        permits: Semaphore::new(request.concurrency.max(1)),
    };
    let (size, ahead) = if request.purge {
        (PURGED, PURGED_AHEAD)
    } else {
        (BATCH, AHEAD)
    };
    let (mut ids, mut done, mut failure) = (request.ids.iter(), 0, None);
    let (mut under_way, mut more) = (FuturesOrdered::new(), true);
    loop {
        while more && under_way.len() < ahead {
            if failure.is_some() || changes.stops(interrupt) {
                more = false;
                break;
            }
            match next(size, &mut ids) {
                Ok(batch) if batch.is_empty() => more = false,
                Ok(batch) => under_way.push_back(delete_some(&lane, at.1, batch)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match under_way.next().await {
            None => break,
            Some(Ok(ended)) => {
                done += ended.records;
                ended.tell(changes);
                progress.advance(done, &run.id());
            }
            // What else is under way comes to its end.
            Some(Err(error)) => failure = failure.or(Some(error)),
        }
    }
    progress.finish();
    failure.map_or(Ok(()), Err)
}

async fn delete_some(
    lane: &Lane<'_>,
    store: &dyn MetadataStore,
    ids: Vec<String>,
) -> Result<Ended, JournalError> {
    let (batch, gone) = records(store, &ids).await?;
    let mut ended = delete_batch(lane, batch).await?;
    ended.failed.extend(gone);
    Ok(ended)
}

async fn delete_batch(lane: &Lane<'_>, batch: Vec<FileRecord>) -> Result<Ended, JournalError> {
    let mut ended = Ended {
        records: batch.len() as u64,
        ..Ended::default()
    };
    let (mut steps, mut targets) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for looked in look_all(lane, &batch).await {
        let step = looked.and_then(|target| Ok((step(lane.run.id(), &target, lane.purge)?, target)));
        match step {
            Ok((step, target)) => {
                targets.push((Way::of(&step), target));
                steps.push(step);
            }
            Err(error) => ended.failed.push(error),
        }
    }
    let files: Vec<&FileRecord> = targets.iter().map(|(_, target)| &target.record).collect();
    let doomed = copies::doomed(lane.run, lane.sites, &files, lane.purge).await?;
    steps.extend(doomed.iter().map(|copy| copy.step.clone()));
    let mut intended = lane.run.intend(steps).await?;
    reach("delete.after-intend");
    let of_copies = intended.split_off(targets.len());
    let doomed = of_copies.into_iter().zip(doomed).collect();
    let mut written = Vec::with_capacity(targets.len());
    for (answer, pair) in intended.into_iter().zip(targets) {
        match answer {
            Intended::Written(number) => written.push((number, pair.0, pair.1)),
            Intended::Conflict => ended.failed.push(failed(
                &pair.1.record.id,
                "STORAGE_ERROR",
                "its record was changed or deleted meanwhile; nothing was done",
            )),
        }
    }
    let acted = act_all(lane, &written).await;
    reach("delete.after-act");
    let gone: Vec<String> = written
        .iter()
        .zip(&acted)
        .filter(|(_, acted)| !matches!(acted, Acted::Kept(_)))
        .map(|((_, _, target), _)| target.record.id.clone())
        .collect();
    settle(lane.run, written, acted, &mut ended).await?;
    reach("delete.after-settle");
    copies::go_along(lane.run, doomed, &gone).await?;
    Ok(ended)
}

fn step(run_id: &str, target: &Target, for_good: bool) -> Result<NewStep, ItemError> {
    let refused = |error: ProviderError| failed_by(&target.record.id, &error);
    let text = |key: &Key| key.as_str().map(str::to_owned);
    let (action, to_key) = match (&target.evidence, for_good) {
        (None, _) => (Action::Record, None),
        (Some(_), true) => (Action::Purge, None),
        (Some(_), false) => {
            let trashed = trash_key(&target.provider, run_id, &target.key).map_err(refused)?;
            (Action::Trash, text(&trashed))
        }
    };
    Ok(NewStep {
        action,
        provider: target.provider.name.clone(),
        key: text(&target.key).filter(|_| action != Action::Record),
        to_key,
        to_provider: None,
        evidence: target.evidence.clone(),
        file_id: Some(target.record.id.clone()),
        before: Some(target.record.clone()),
        after: None,
        change: Some(RecordChange::Remove {
            expected: Box::new(target.record.clone()),
        }),
        undoes: None,
    })
}

/// What is needed of a step once it is written down.
struct Way {
    action: Action,
    to_key: Option<String>,
}

impl Way {
    fn of(step: &NewStep) -> Self {
        Self {
            action: step.action,
            to_key: step.to_key.clone(),
        }
    }
}

type Written = (u64, Way, Target);

/// Purges go in bulk by provider, everything else one by one.
async fn act_all(lane: &Lane<'_>, written: &[Written]) -> Vec<Acted> {
    if written
        .iter()
        .any(|(_, way, target)| way.action == Action::Purge && target.provider.type_name != "local")
    {
        return purge_in_bulk(written).await;
    }
    let acts = stream::iter(written).map(async |written| {
        let _permit = lane.permits.acquire().await;
        act(written).await
    });
    acts.buffered(written.len().max(1)).collect().await
}

async fn act((_, way, target): &Written) -> Acted {
    if let Some(why) = &target.pending {
        return Acted::Open(why.clone());
    }
    let evidence = target.evidence.as_ref();
    let to_key = way.to_key.as_deref().map(Key::from);
    let outcome = match (way.action, evidence, to_key) {
        (Action::Trash, Some(evidence), Some(to)) => {
            let seen = (evidence, target.bare);
            move_to_new_place(&target.provider, (&target.key, &to), seen).await
        }
        (Action::Purge, Some(evidence), _) => {
            let purged = purge(&target.provider, &target.key, evidence).await;
            purged.map(|outcome| match outcome {
                PurgeOutcome::Changed => MoveOutcome::Changed,
                PurgeOutcome::Purged | PurgeOutcome::AlreadyGone => MoveOutcome::Moved,
            })
        }
        _ => Ok(MoveOutcome::Moved),
    };
    reach("delete.after-move");
    let id = &target.record.id;
    match outcome {
        // What is missing now was deleted by somebody else after the look.
        Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere | MoveOutcome::Missing) => Acted::Done,
        Ok(MoveOutcome::Changed) => Acted::Kept(failed(
            id,
            "STORAGE_ERROR",
            "its object was replaced meanwhile; nothing was done",
        )),
        Ok(MoveOutcome::TargetTaken) => Acted::Kept(failed(
            id,
            "STORAGE_ERROR",
            "its place in the trash is taken; nothing was done",
        )),
        Err(error) => after_error(target, &error).await,
    }
}

/// After a clear refusal a look says whether everything is as before; in all other cases nobody knows yet.
async fn after_error(target: &Target, error: &ProviderError) -> Acted {
    let reason = failed_by(&target.record.id, error);
    if !is_uncertain(error)
        && let (Ok(Some(found)), Some(evidence)) = (target.provider.head(&target.key).await, &target.evidence)
        && still_holds(evidence, &found)
    {
        return Acted::Kept(reason);
    }
    Acted::Open(failed(
        &reason.file,
        &reason.error_code,
        &format!("{}; its record is deleted, {LATER}", reason.error),
    ))
}

/// Each object is answered for by itself.
async fn purge_in_bulk(written: &[Written]) -> Vec<Acted> {
    let begun = |(_, _, target): &Written| target.pending.clone().map_or(Acted::Done, Acted::Open);
    let mut acted: Vec<Acted> = written.iter().map(begun).collect();
    let mut providers: Vec<&Arc<Provider>> = Vec::new();
    for (_, _, target) in written {
        if !providers.iter().any(|known| known.name == target.provider.name) {
            providers.push(&target.provider);
        }
    }
    for provider in providers {
        let (places, keys): (Vec<usize>, Vec<Key>) = written
            .iter()
            .enumerate()
            .filter(|(_, (_, way, target))| {
                way.action == Action::Purge
                    && target.provider.name == provider.name
                    && target.pending.is_none()
            })
            .map(|(at, (_, _, target))| (at, target.key.clone()))
            .unzip();
        let answers = purge_all(provider, &keys).await;
        for (at, answer) in places.into_iter().zip(answers) {
            if let Err(error) = answer {
                acted[at] = after_error(&written[at].2, &error).await;
            }
        }
    }
    acted
}

async fn settle(
    run: &RunHandle,
    written: Vec<Written>,
    acted: Vec<Acted>,
    ended: &mut Ended,
) -> Result<(), JournalError> {
    let settlement = |((number, _, target), acted): (&Written, &Acted)| match acted {
        Acted::Done => Some(Settlement {
            number: *number,
            state: StepState::Settled,
            error: None,
            change: None,
        }),
        Acted::Kept(error) => Some(Settlement {
            number: *number,
            state: StepState::Failed,
            error: Some(error.error.clone()),
            change: Some(RecordChange::Insert {
                record: Box::new(target.record.clone()),
            }),
        }),
        Acted::Open(_) => None,
    };
    let settlements = written.iter().zip(&acted).filter_map(settlement).collect();
    let mut made = run.settle(settlements).await?.into_iter();
    for ((_, way, target), acted) in written.into_iter().zip(acted) {
        let settled = matches!(acted, Acted::Open(_)) || made.next().unwrap_or(false);
        match acted {
            Acted::Done if settled => ended.successful.push((target, way)),
            Acted::Done => ended.failed.push(failed(
                &target.record.id,
                "STORAGE_ERROR",
                "another run took this over and finished it",
            )),
            Acted::Kept(error) | Acted::Open(error) => ended.failed.push(error),
        }
    }
    Ok(())
}

/// The record, and where it is now. Whether an object that went for good in bulk was there is not known.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    #[serde(flatten)]
    record: &'a FileRecord,
    provider: &'a str,
    trash_key: Option<&'a str>,
    object_missing: Option<bool>,
}

impl<'a> Item<'a> {
    fn of(target: &'a Target, way: &'a Way) -> Self {
        Self {
            record: &target.record,
            provider: &target.provider.name,
            trash_key: way.to_key.as_deref(),
            object_missing: target.looked.then_some(way.action == Action::Record),
        }
    }
}
