//! Reconstruction: records that are lost are made again from what lies beside their objects, a sidecar or the object's own
//! metadata, and where there is neither, from what the key and the object tell.
//!
//! A record that is there is never touched, and no object is. The object's own facts (its key, its size) are believed
//! before anything that is written about it; what nobody can know is told, field by field.

mod source;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::source::{Learnt, learn};
use super::changes::{BATCH, Changes, failed, failed_by};
use super::cleanup::ItemError;
use super::cleanup::under_way::UnderWay;
use super::journal::{JournalError, RunHandle};
use super::{Clock, Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{
    Action, Intended, JournalReader, NewStep, RecordChange, Settlement, StepState,
};
use crate::providers::{
    EntryKind, Key, ListRequest, Listed, Provider, ProviderError, is_reserved, sidecar_object, stored_shape,
};
use crate::spill::Sorter;

/// Bytes that sorting a listing may take.
const BUDGET: usize = 4 << 20;

/// What ends a key in the sorted listing; no key of ours holds such bytes.
const OBJECT: u8 = 0;
const SIDECAR: u8 = 1;

/// What to reconstruct from.
#[derive(Debug, Clone)]
pub struct ReconstructRequest {
    pub providers: Vec<Arc<Provider>>,
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

/// An object of this system's shape, and whether a sidecar was listed beside it.
struct Found {
    provider: Arc<Provider>,
    object: Listed,
    has_sidecar: bool,
}

/// A line of the sorted listing.
#[derive(Serialize, Deserialize)]
enum Line {
    Object { size: u64, last_modified: DateTime<Utc> },
    Sidecar,
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
    let mut seen = Seen::default();
    for provider in &request.providers {
        let Around {
            progress,
            interrupt,
            clock,
        } = around;
        progress.start(&format!("Reading {}", provider.name), None);
        let now = provider.probe().await?.now;
        let sorted = list(provider, request, &mut seen).await?.finish()?;
        let mut done = 0;
        let mut batch: Vec<Found> = Vec::new();
        let mut lines = sorted.peekable();
        while let Some(pair) = lines.next() {
            let (key, line) = pair?;
            // A sidecar alone tells of an object that is gone: no record is made of it.
            if let Line::Object { size, last_modified } = read(&line)? {
                let key = &key[..key.len() - 1];
                let next = lines.peek().and_then(|next| next.as_ref().ok());
                let has_sidecar = next.is_some_and(|(next, _)| *next == [key, &[SIDECAR]].concat());
                let object = Listed {
                    key: Key::new(key),
                    kind: EntryKind::Object,
                    size,
                    last_modified,
                    etag: None,
                };
                // A time to come is no age.
                let age = (now - object.last_modified).to_std().unwrap_or_default();
                if age < request.min_age {
                    seen.recent += 1;
                } else {
                    batch.push(Found {
                        provider: Arc::clone(provider),
                        object,
                        has_sidecar,
                    });
                }
            }
            if batch.len() >= BATCH || lines.peek().is_none() {
                if changes.stops(interrupt) {
                    progress.finish();
                    return Ok(seen);
                }
                done += batch.len() as u64;
                let lost = unrecorded(
                    (store, clock.now(), changes),
                    std::mem::take(&mut batch),
                    &mut seen,
                )
                .await?;
                write(run, request.concurrency, lost, changes).await?;
                progress.advance(done, &provider.name);
            }
        }
        progress.finish();
    }
    Ok(seen)
}

fn read(line: &[u8]) -> io::Result<Line> {
    Ok(serde_json::from_slice(line)?)
}

/// The listing by key, each object before its sidecar.
async fn list(
    provider: &Provider,
    request: &ReconstructRequest,
    seen: &mut Seen,
) -> Result<Sorter, ReconstructError> {
    let prefix = request.folder.as_ref().map(|folder| format!("{folder}/"));
    let mut listing = provider.list(ListRequest {
        prefix: prefix.unwrap_or_default(),
        ..ListRequest::default()
    });
    let mut sorted = Sorter::new(BUDGET);
    while let Some(entry) = listing.try_next().await? {
        let key = entry.key.as_bytes();
        let line = match (sidecar_object(key), stored_shape(key)) {
            _ if is_reserved(key) => continue,
            (Some(object), _) if entry.kind == EntryKind::Object => (object, Line::Sidecar),
            (None, Some(_)) if entry.kind == EntryKind::Object => {
                let line = Line::Object {
                    size: entry.size,
                    last_modified: entry.last_modified,
                };
                (key, line)
            }
            _ => {
                seen.foreign += 1;
                continue;
            }
        };
        // A listing may show a sidecar first.
        let (object, line) = line;
        let side = if matches!(line, Line::Sidecar) {
            SIDECAR
        } else {
            OBJECT
        };
        let line = serde_json::to_vec(&line).map_err(io::Error::from)?;
        sorted.push(&[object, &[side]].concat(), &line)?;
    }
    Ok(sorted)
}

/// Those without a record of their id; one whose record names another place is told.
async fn unrecorded(
    (store, now, changes): (&dyn JournalReader, DateTime<Utc>, &mut Changes),
    batch: Vec<Found>,
    seen: &mut Seen,
) -> Result<Vec<Found>, ReconstructError> {
    let id = |found: &Found| stored_shape(found.object.key.as_bytes()).map(|shape| shape.id.to_owned());
    let ids: Vec<String> = batch.iter().filter_map(id).collect();
    // Work before records: an upload that ends in between shows as one or the other.
    let under_way = UnderWay::of_the_living(store, now)
        .await
        .map_err(JournalError::from)?;
    let records = store.get_many(&ids).await.map_err(JournalError::from)?;
    let copies: HashSet<(String, String, String)> = store
        .copies(&ids)
        .await
        .map_err(JournalError::from)?
        .into_iter()
        .map(|(id, copy)| (id, copy.provider, copy.key))
        .collect();
    let mut lost = Vec::new();
    for (found, record) in batch.into_iter().zip(records) {
        match record {
            None if under_way.contains(
                &found.provider.name,
                &id(&found).into_iter().collect::<Vec<_>>(),
                &found.object.key,
            ) =>
            {
                seen.recent += 1;
            }
            None => lost.push(found),
            Some(record) if names(&record, &found) || is_copy(&copies, &record, &found) => {
                seen.recorded += 1;
            }
            Some(record) => changes.fail(conflict(&found.object.key, &record)),
        }
    }
    Ok(lost)
}

/// Whether the record's path is this object's, by any of its provider's roots.
fn names(record: &FileRecord, found: &Found) -> bool {
    found.provider.mapping.key_of(&record.provider_path).as_ref() == Some(&found.object.key)
}

fn is_copy(copies: &HashSet<(String, String, String)>, record: &FileRecord, found: &Found) -> bool {
    let copy = (
        record.id.clone(),
        found.provider.name.clone(),
        found.object.key.to_string(),
    );
    copies.contains(&copy)
}

fn conflict(key: &Key, record: &FileRecord) -> ItemError {
    let reason = format!(
        "record {} names {}; it was left as it is, and this object without a record",
        record.id, record.provider_path
    );
    failed(&key.to_string(), "STORAGE_VALIDATION_ERROR", &reason)
}

async fn write(
    run: Option<&RunHandle>,
    concurrency: usize,
    lost: Vec<Found>,
    changes: &mut Changes,
) -> Result<(), ReconstructError> {
    let looks = stream::iter(lost).map(|found| async move {
        let learnt = learn(&found.provider, &found.object, found.has_sidecar).await;
        (found, learnt)
    });
    let mut looks = looks.buffered(concurrency.max(1));
    let (mut steps, mut learnts) = (Vec::new(), Vec::new());
    while let Some((found, learnt)) = looks.next().await {
        match learnt {
            Ok(learnt) => {
                steps.push(step(&found.provider, &learnt.record));
                learnts.push(learnt);
            }
            Err(error) => changes.fail(failed_by(&found.object.key.to_string(), &error)),
        }
    }
    let Some(run) = run else {
        for learnt in learnts {
            tell(changes, &learnt);
        }
        return Ok(());
    };
    if steps.is_empty() {
        return Ok(());
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
    Ok(())
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
