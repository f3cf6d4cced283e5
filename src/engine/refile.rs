//! Moving files into another folder, each within the provider that its record names: bytes, sidecar and record
//! together, readable all the while (see [`relocate`](super::relocate)). The stored name, which the file's id makes
//! its own, stays.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use futures::{StreamExt, stream};
use serde_json::Value;

use super::changes::{BATCH, Changes, Sites, failed, failed_by};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle};
use super::objects::evidence_of;
use super::quota::{ended, no_room};
use super::relocate::{Carried, Relocation, carry_within};
use super::upload::{FolderRules, takes};
use super::{Interrupt, Progress};
use crate::metadata::journal::JournalReader;
use crate::metadata::quota::{Admission, Ledger, Limits};
use crate::metadata::{self, FileRecord, MetadataStore, Stamp};
use crate::providers::{EntryKind, Key};

/// What to move, each id once.
#[derive(Debug)]
pub struct RefileRequest {
    pub records: Vec<FileRecord>,
    /// Where to.
    pub folder: FolderRules,
    pub limits: Limits,
    /// Objects worked on at once.
    pub concurrency: usize,
    /// What the records will say of their change.
    pub now: DateTime<Utc>,
}

/// What is to be done to one file.
enum Planned {
    Nothing,
    Carry(Box<Relocation>),
}

/// What [`refile`] would do to each record, with nothing written.
///
/// # Errors
/// Where it cannot be read how full the folder is.
pub async fn plan(
    (sites, reader): (&Sites, &dyn JournalReader),
    request: &RefileRequest,
) -> metadata::Result<Changes> {
    let (mut changes, mut ledger) = (Changes::default(), ledger(reader, request).await?);
    let mut admit = |record: &FileRecord| {
        let size = u64::try_from(record.size).unwrap_or(0);
        match ledger.admit(&request.folder.name, size, false) {
            Admission::Refused(shortage) => Some(no_room(&record.id, &shortage)),
            Admission::Fits | Admission::Over(_) => None,
        }
    };
    for (record, planned) in look_all(sites, request, &request.records).await {
        match planned {
            Ok(Planned::Nothing) => changes.succeed(&item(record, record, false), 0),
            Ok(Planned::Carry(relocation)) => {
                if let Some(error) = admit(record) {
                    changes.fail(error);
                    continue;
                }
                let after = FileRecord {
                    updated_at: record.updated_at.clone(),
                    ..relocation.after
                };
                changes.succeed(&item(record, &after, true), relocation.evidence.size);
            }
            Err(error) => changes.fail(error),
        }
    }
    Ok(changes)
}

async fn ledger(reader: &dyn JournalReader, request: &RefileRequest) -> metadata::Result<Ledger> {
    let (limits, folder) = (&request.limits, &request.folder.name);
    if !limits.folders.contains_key(folder) {
        return Ok(Ledger::default());
    }
    reader
        .levels(limits, std::slice::from_ref(folder), &ended(reader).await?)
        .await
}

/// Moves batch by batch, until the end or until the operator stops it: then what is under way is finished.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way: every file can be read where its record says.
pub async fn refile(
    run: &RunHandle,
    (sites, store): (&Sites, &dyn MetadataStore),
    request: &RefileRequest,
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Moving", Some(request.records.len() as u64));
    for (at, batch) in request.records.chunks(BATCH).enumerate() {
        if interrupt.is_requested() {
            changes.interrupted = true;
            break;
        }
        let mut relocations = Vec::with_capacity(batch.len());
        for (record, planned) in look_all(sites, request, batch).await {
            match planned {
                Ok(Planned::Nothing) => changes.succeed(&item(record, record, false), 0),
                Ok(Planned::Carry(relocation)) => relocations.push(*relocation),
                Err(error) => changes.fail(error),
            }
        }
        let carried = carry_within(
            run,
            store,
            &relocations,
            (request.concurrency, interrupt),
            &request.limits,
        )
        .await?;
        for (carried, moved) in carried.into_iter().zip(&relocations) {
            match carried {
                Carried::Done => {
                    changes.succeed(&item(&moved.before, &moved.after, true), moved.evidence.size);
                }
                Carried::Kept(error) | Carried::Open(error) => changes.fail(error),
                Carried::Unbegun => changes.interrupted = true,
            }
        }
        progress.advance((at * BATCH + batch.len()) as u64, &run.id());
    }
    progress.finish();
    Ok(changes)
}

type Looked<'a> = (&'a FileRecord, Result<Planned, ItemError>);

async fn look_all<'a>(sites: &Sites, request: &RefileRequest, records: &'a [FileRecord]) -> Vec<Looked<'a>> {
    let looks = stream::iter(records).map(async |record| (record, look(sites, request, record).await));
    looks.buffered(request.concurrency.max(1)).collect().await
}

/// Where the file is, where it goes, and whether it may.
async fn look(sites: &Sites, request: &RefileRequest, record: &FileRecord) -> Result<Planned, ItemError> {
    let folder = &request.folder;
    if record.folder == folder.name {
        return Ok(Planned::Nothing);
    }
    let id = &record.id;
    let invalid = |reason: &str| failed(id, "STORAGE_VALIDATION_ERROR", reason);
    let (provider, from) = sites.of_record(record)?;
    let (to, after) = destination(record, folder, request.now)
        .and_then(|(to, mut after)| {
            after.provider_path = provider.mapping.path_of(&to)?;
            Some((to, after))
        })
        .ok_or_else(|| invalid("its stored name cannot be that of a file; it is kept where it is"))?;
    let heads = futures::try_join!(provider.head(&from), provider.head(&to));
    let (found, target) = heads.map_err(|error| failed_by(id, &error))?;
    let Some(found) = found.filter(|found| found.kind == EntryKind::Object) else {
        let reason = format!("its object is not at {from}; nothing was moved");
        return Err(failed(id, "STORAGE_FILE_NOT_FOUND", &reason));
    };
    takes(&record.original_name, found.size, folder)
        .map_err(|refusal| failed(id, refusal.code(), &refusal.to_string()))?;
    if target.is_some() {
        let reason = format!("something stands at {to} already; nothing is overwritten");
        return Err(failed(id, "STORAGE_ERROR", &reason));
    }
    Ok(Planned::Carry(Box::new(Relocation {
        target: Arc::clone(&provider),
        provider,
        from,
        to,
        migration: None,
        evidence: evidence_of(&found),
        before: record.clone(),
        after,
        undoes: None,
    })))
}

/// Key and row of the file in the other folder; `None` where its stored name is none.
pub(super) fn destination(
    record: &FileRecord,
    folder: &FolderRules,
    now: DateTime<Utc>,
) -> Option<(Key, FileRecord)> {
    let name = &record.stored_filename;
    let relative_path = format!("{}/{name}", folder.name);
    let key = Key::from(relative_path.as_str());
    let sound = !name.is_empty() && !name.contains('/') && key.is_addressable();
    sound.then(|| {
        let after = FileRecord {
            folder: folder.name.clone(),
            relative_path,
            // The database holds whole seconds; the sidecar must not say another time.
            updated_at: Stamp::At(now.trunc_subsecs(0)),
            ..record.clone()
        };
        (key, after)
    })
}

/// The record as it is now, and the folder that it came from.
fn item(before: &FileRecord, after: &FileRecord, moved: bool) -> Value {
    let mut item = serde_json::to_value(after).unwrap_or_default();
    item["moved"] = moved.into();
    item["previousFolder"] = before.folder.as_str().into();
    item
}
