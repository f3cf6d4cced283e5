//! Reconstruction: records that are lost are made again from what lies beside their objects, a sidecar or the object's own
//! metadata, and where there is neither, from what the key and the object tell.
//!
//! Of a file that several providers have one has the file, and those that keep backups have copies, which are written down
//! again too. A record that is there is never touched, and no object is. The object's own facts (its key, its size) are believed
//! before anything that is written about it; what nobody can know is told, field by field.

mod listing;
mod source;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use self::listing::{Found, Group};
use self::source::{Learnt, learn};
use super::changes::{BATCH, Changes, failed, failed_by};
use super::cleanup::ItemError;
use super::cleanup::under_way::UnderWay;
use super::journal::{JournalError, RunHandle};
use super::{Clock, Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{
    Action, Copy, Intended, JournalReader, NewStep, RecordChange, Settlement, StepState,
};
use crate::providers::{Provider, ProviderError, stored_shape};

/// What to reconstruct from.
#[derive(Debug, Clone)]
pub struct ReconstructRequest {
    /// The first of them that has an object of an id has the file; what others have of it are copies, or in its way.
    pub providers: Vec<Arc<Provider>>,
    /// Names of those that are to have copies.
    pub backups: Vec<String>,
    /// Whether the operator named the providers: else no file is taken for one of a backup's, whose own provider may be away.
    pub is_chosen: bool,
    /// Only objects of this folder.
    pub folder: Option<String>,
    /// Objects younger than this are left alone: CivicPress writes a file first and its record after it.
    pub min_age: Duration,
    /// Objects asked about side by side.
    pub concurrency: usize,
}

/// What was seen beside what was reconstructed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Objects that a record names.
    pub recorded: u64,
    /// Objects that this system did not name.
    pub foreign: u64,
    /// Objects that are too young, or that somebody is uploading: their record may be on its way.
    pub recent: u64,
    /// Files that providers of backups have alone.
    pub on_backups: u64,
}

/// What a reconstruction works with.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    pub clock: &'a dyn Clock,
    pub progress: &'a dyn Progress,
    pub interrupt: &'a Interrupt,
}

/// Why a reconstruction ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReconstructError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] io::Error),
}

/// Reconstructs the records of all objects that have none; with `run` they are written, else they are only told.
///
/// # Errors
/// Where a listing does not reach its end, or the journal cannot be written. What was written by then stays.
///
/// # Cancellation
/// Safe: a record is written whole or not at all, and the next run goes on.
pub async fn reconstruct(
    run: Option<&RunHandle>,
    store: &dyn JournalReader,
    request: &ReconstructRequest,
    (around, changes): (Around<'_>, &mut Changes),
) -> Result<Seen, ReconstructError> {
    let Around {
        progress,
        interrupt,
        clock,
    } = around;
    let mut seen = Seen::default();
    let mut groups = listing::list(request, progress, &mut seen).await?;
    progress.start("Looking for records", None);
    let mut done = 0;
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(group) = groups.next()?
        {
            batch.push(group);
        }
        let Some(current) = batch.last().map(|group| group.id.clone()) else {
            break;
        };
        if changes.stops(interrupt) {
            break;
        }
        done += batch.len() as u64;
        let (lost, copies) = unrecorded((store, clock.now(), changes), (request, batch), &mut seen).await?;
        let is_backup = |lost: &&Lost| request.backups.contains(&lost.found.provider.name);
        let on_backups: Vec<String> = lost.iter().filter(is_backup).map(Lost::id).collect();
        let recorded = write(run, request.concurrency, lost, changes).await?;
        seen.on_backups += on_backups.iter().filter(|id| recorded.contains(*id)).count() as u64;
        remember(run, (copies, &recorded), changes).await?;
        progress.advance(done, &current);
    }
    progress.finish();
    Ok(seen)
}

/// A copy of a file that nobody knows of.
struct FoundCopy {
    file_id: String,
    copy: Copy,
    bytes: u64,
    /// Of a file whose record is lost, and may not come back.
    of_lost: bool,
}

/// The object that is to have a record again.
struct Lost {
    found: Found,
    /// One of another size with the same id: then only what is written beside this one can tell which is the file.
    rival: Option<String>,
}

impl Lost {
    fn id(&self) -> String {
        stored_shape(self.found.object.key.as_bytes()).map_or_else(String::new, |shape| shape.id.to_owned())
    }
}

/// The object of each id that has no record, and copies that are not written down. What is neither, and has another's id, is
/// told.
async fn unrecorded(
    (store, now, changes): (&dyn JournalReader, DateTime<Utc>, &mut Changes),
    (request, batch): (&ReconstructRequest, Vec<Group>),
    seen: &mut Seen,
) -> Result<(Vec<Lost>, Vec<FoundCopy>), ReconstructError> {
    let ids: Vec<String> = batch.iter().map(|group| group.id.clone()).collect();
    // Work before records: an upload that ends in between shows as one or the other.
    let under_way = UnderWay::of_the_living(store, now)
        .await
        .map_err(JournalError::from)?;
    let records = store.get_many(&ids).await.map_err(JournalError::from)?;
    let known = store.copies(&ids).await.map_err(JournalError::from)?;
    let known: HashSet<(String, String, String)> = known
        .into_iter()
        .map(|(id, copy)| (id, copy.provider, copy.key))
        .collect();
    let (mut lost, mut copies) = (Vec::new(), Vec::new());
    for (Group { id, objects }, record) in batch.into_iter().zip(records) {
        let ids = std::slice::from_ref(&id);
        let is_at_work = |found: &Found| under_way.contains(&found.provider.name, ids, &found.object.key);
        if record.is_none() && objects.iter().any(|found| found.is_recent || is_at_work(found)) {
            seen.recent += objects.len() as u64;
            continue;
        }
        let mut objects = objects.into_iter();
        let file = match record {
            Some(record) => File::Recorded(Box::new(record)),
            None => match objects.next() {
                Some(first) if !request.is_chosen && request.backups.contains(&first.provider.name) => {
                    changes.fail(only_a_copy(&first));
                    continue;
                }
                Some(first) => File::Lost(first),
                None => continue,
            },
        };
        let (mut rival, of_lost) = (None, matches!(file, File::Lost(_)));
        for found in objects {
            let copy = found.copy();
            // Also a copy that is known may have been cut, or tell that the file was.
            if !file.is_as_long_as(&found) {
                rival = Some(format!("{} on {}", bytes(&found), found.provider.name));
            }
            let is_known = known.contains(&(id.clone(), copy.provider.clone(), copy.key.clone()));
            if is_known || file.is_at(&found) {
                seen.recorded += 1;
            } else if request.backups.contains(&copy.provider) && file.is_copied_by(&found) {
                copies.push(FoundCopy {
                    file_id: id.clone(),
                    copy,
                    bytes: found.object.size,
                    of_lost,
                });
            } else if found.is_recent {
                seen.recent += 1;
            } else {
                changes.fail(conflict(&found, (&id, file.place())));
            }
        }
        if let File::Lost(found) = file {
            lost.push(Lost { found, rival });
        }
    }
    Ok((lost, copies))
}

/// Where the file of an id is: by its record, or what gets one.
enum File {
    Recorded(Box<FileRecord>),
    Lost(Found),
}

impl File {
    /// Whether the record's path is this object's, by any of its provider's roots.
    fn is_at(&self, found: &Found) -> bool {
        match self {
            Self::Recorded(record) => {
                found.provider.mapping.key_of(&record.provider_path).as_ref() == Some(&found.object.key)
            }
            Self::Lost(_) => false,
        }
    }

    /// Whether that is what an upload would have made as a copy of it.
    fn is_copied_by(&self, found: &Found) -> bool {
        let key = found.object.key.as_bytes();
        match self {
            Self::Recorded(record) => key == record.relative_path.as_bytes() && self.is_as_long_as(found),
            Self::Lost(first) => {
                first.provider.name != found.provider.name
                    && key == first.object.key.as_bytes()
                    && self.is_as_long_as(found)
            }
        }
    }

    fn is_as_long_as(&self, found: &Found) -> bool {
        match self {
            Self::Recorded(record) => i64::try_from(found.object.size) == Ok(record.size),
            Self::Lost(first) => found.object.size == first.object.size,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Recorded(record) => record.provider_path.clone(),
            Self::Lost(found) => {
                let path = found.provider.mapping.path_of(&found.object.key);
                path.unwrap_or_else(|| found.object.key.to_string())
            }
        }
    }
}

impl Found {
    fn copy(&self) -> Copy {
        Copy {
            provider: self.provider.name.clone(),
            key: self.object.key.to_string(),
        }
    }
}

fn bytes(found: &Found) -> String {
    format!("{} of {} bytes", found.object.key, found.object.size)
}

fn only_a_copy(found: &Found) -> ItemError {
    let provider = &found.provider.name;
    let reason = format!(
        "only its copy on {provider} is left; unless its own provider is to come back, --provider {provider} gives it a record there"
    );
    failed(&found.object.key.to_string(), "STORAGE_VALIDATION_ERROR", &reason)
}

fn contested(found: &Found, rival: &str) -> ItemError {
    let (this, provider) = (bytes(found), &found.provider.name);
    let reason = format!(
        "which is the file, {this} on {provider} or {rival}, is written nowhere: none has a record; take away the one that is not, and run this again"
    );
    failed(&found.object.key.to_string(), "STORAGE_INTEGRITY_ERROR", &reason)
}

fn conflict(found: &Found, (id, place): (&str, String)) -> ItemError {
    let provider = &found.provider.name;
    let reason = format!("{place} has its id, {id}; this object on {provider} was left without a record");
    failed(&found.object.key.to_string(), "STORAGE_VALIDATION_ERROR", &reason)
}

/// Writes copies down of files that have a record, or had one before.
async fn remember(
    run: Option<&RunHandle>,
    (mut copies, recorded): (Vec<FoundCopy>, &HashSet<String>),
    changes: &mut Changes,
) -> Result<(), ReconstructError> {
    copies.retain(|found| !found.of_lost || recorded.contains(&found.file_id));
    if copies.is_empty() {
        return Ok(());
    }
    for found in &copies {
        changes.succeed_with_copy(found.bytes);
    }
    if let Some(run) = run {
        let copies: Vec<(String, Copy)> = copies
            .into_iter()
            .map(|found| (found.file_id, found.copy))
            .collect();
        run.remember_copies(&copies).await?;
        reach("reconstruct.after-copies");
    }
    Ok(())
}

/// The ids of those that have a record now, or would have.
async fn write(
    run: Option<&RunHandle>,
    concurrency: usize,
    lost: Vec<Lost>,
    changes: &mut Changes,
) -> Result<HashSet<String>, ReconstructError> {
    let looks = stream::iter(lost).map(|Lost { found, rival }| async move {
        let learnt = learn(&found.provider, &found.object, found.has_sidecar).await;
        (found, rival, learnt)
    });
    let mut looks = looks.buffered(concurrency.max(1));
    let (mut steps, mut learnts, mut recorded) = (Vec::new(), Vec::new(), HashSet::new());
    while let Some((found, rival, learnt)) = looks.next().await {
        match (learnt, rival) {
            (Ok(learnt), Some(rival)) if !learnt.is_whole => changes.fail(contested(&found, &rival)),
            (Ok(learnt), _) => {
                steps.push(step(&found.provider, &learnt.record));
                learnts.push(learnt);
            }
            (Err(error), _) => changes.fail(failed_by(&found.object.key.to_string(), &error)),
        }
    }
    let Some(run) = run else {
        for learnt in learnts {
            tell(changes, &learnt);
            recorded.insert(learnt.record.id);
        }
        return Ok(recorded);
    };
    if steps.is_empty() {
        return Ok(recorded);
    }
    let answers = run.intend(steps).await?;
    reach("reconstruct.after-intend");
    let mut settlements = Vec::new();
    for (answer, learnt) in answers.into_iter().zip(&learnts) {
        match answer {
            Intended::Written(number) => {
                settlements.push(Settlement {
                    number,
                    state: StepState::Settled,
                    error: None,
                    change: None,
                });
                tell(changes, learnt);
                recorded.insert(learnt.record.id.clone());
            }
            Intended::Conflict => changes.fail(failed(
                &learnt.record.relative_path,
                "STORAGE_VALIDATION_ERROR",
                "a record with its id came meanwhile; it was left as it is",
            )),
        }
    }
    run.settle(settlements).await?;
    reach("reconstruct.after-settle");
    Ok(recorded)
}

/// The record comes in the transaction that writes the step down.
fn step(provider: &Provider, record: &FileRecord) -> NewStep {
    NewStep {
        action: Action::Record,
        provider: provider.name.clone(),
        key: None,
        to_key: None,
        to_provider: None,
        evidence: None,
        file_id: Some(record.id.clone()),
        before: None,
        after: Some(record.clone()),
        change: Some(RecordChange::Insert {
            record: Box::new(record.clone()),
        }),
        undoes: None,
    }
}

fn tell(changes: &mut Changes, learnt: &Learnt) {
    let mut item = serde_json::to_value(&learnt.record).unwrap_or_default();
    item["from"] = learnt.from.into();
    item["unknown"] = learnt.unknown.iter().copied().map(Value::from).collect();
    if let Some(doubt) = &learnt.doubt {
        item["doubt"] = doubt.as_str().into();
        tracing::warn!("{}: {doubt}", learnt.record.relative_path);
    }
    changes.succeed(&item, u64::try_from(learnt.record.size).unwrap_or(0));
}
