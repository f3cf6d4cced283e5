//! Moving files from one provider to another: each is carried over, compared, and its record switched, before the original
//! goes to the trash; it can be read all the while (see [`relocate`](super::relocate)). Folder and name stay.

use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::Value;

use super::changes::{BATCH, Changes, Sites, failed, failed_by};
use super::cleanup::ItemError;
use super::gather::{GatherError, gather, some};
use super::journal::{JournalError, RunHandle};
use super::objects::{evidence_of, trash_key};
use super::relocate::{Carried, Relocation, carry_within, is_among};
use super::upload::Way;
use super::{Interrupt, Progress};
use crate::metadata::journal::{Copy, Evidence, JournalReader};
use crate::metadata::quota::Limits;
use crate::metadata::{FileRecord, MetadataError, ScanScope, ScannedRecord};
use crate::providers::{EntryKind, Key, Listed, Provider};
use crate::spill::Spool;

/// Bytes of files whose records are switched together: what a kill leaves to be compared again is no more.
const AT_ONCE: u64 = 256 << 20;

/// What to move, and where.
#[derive(Debug)]
pub struct MigrateRequest {
    pub from: Arc<Provider>,
    pub to: Arc<Provider>,
    /// Only files of this folder.
    pub folder: Option<String>,
    /// Objects worked on at once.
    pub concurrency: usize,
    pub way: Way,
}

/// The records that a migration is about.
#[derive(Debug)]
pub struct Selected {
    ids: Spool,
    pub bytes: u64,
}

impl Selected {
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.ids.len()
    }
}

/// Every record whose bytes are in the provider.
///
/// # Errors
/// Where the database or the temporary directory fails.
pub async fn select(
    store: &dyn JournalReader,
    sites: &Sites,
    (from, folder): (&str, Option<&str>),
) -> Result<Selected, GatherError> {
    let roots = sites.roots.iter().filter(|site| site.provider == from);
    let scopes = roots.flat_map(|site| site.roots.iter().cloned().map(ScanScope::Under));
    let mut bytes = 0_u64;
    let is_wanted = |record: &ScannedRecord| {
        let wanted = folder.is_none_or(|folder| folder == record.folder)
            && super::list::owner(&record.provider_path, &sites.roots) == Some(from);
        if wanted {
            bytes = bytes.saturating_add(u64::try_from(record.size).unwrap_or(0));
        }
        wanted
    };
    let ids = gather(store, scopes.collect(), &[], is_wanted).await?;
    Ok(Selected { ids, bytes })
}

/// What [`migrate`] would do to each, with nothing written.
///
/// # Errors
/// Where the database or the temporary directory fails.
pub async fn plan(
    (sites, store): (&Sites, &dyn JournalReader),
    request: &MigrateRequest,
    selected: &Selected,
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    let mut ids = selected.ids.iter();
    loop {
        let batch = some(&mut ids, BATCH)?;
        if batch.is_empty() {
            return Ok(changes);
        }
        for looked in look_all((sites, store), request, &batch).await? {
            match looked {
                Ok(Some(relocation)) => changes.succeed(&item(&relocation), relocation.evidence.size),
                Ok(None) => {}
                Err(error) => changes.fail(error),
            }
        }
    }
}

/// Moves batch by batch, until the end or until the operator stops it: then what is under way is finished or rolled back.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is ended by the next run.
///
/// # Cancellation
/// Safe in the same way: every file can be read where its record says.
pub async fn migrate(
    run: &RunHandle,
    (sites, store): (&Sites, &dyn JournalReader),
    (request, selected): (&MigrateRequest, &Selected),
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Migrating", Some(selected.count()));
    let (mut ids, mut done) = (selected.ids.iter(), 0);
    while !changes.stops(interrupt) {
        let batch = some(&mut ids, BATCH)?;
        if batch.is_empty() {
            break;
        }
        run.check().await?;
        let mut waiting = Vec::with_capacity(batch.len());
        for looked in look_all((sites, store), request, &batch).await? {
            match looked {
                Ok(Some(relocation)) => waiting.push(*relocation),
                Ok(None) => {}
                Err(error) => changes.fail(error),
            }
        }
        let at_once = (request.concurrency, interrupt);
        carry_all((run, store), (waiting, &Limits::default()), at_once, &mut changes).await?;
        done += batch.len() as u64;
        progress.advance(done, &run.id());
    }
    progress.finish();
    Ok(changes)
}

/// Carries the files over, some at a time, until the operator stops it; those that come to another folder only while it
/// has room.
///
/// # Errors
/// As [`migrate`].
pub(super) async fn carry_all(
    (run, store): (&RunHandle, &dyn JournalReader),
    (mut waiting, limits): (Vec<Relocation>, &Limits),
    (concurrency, interrupt): (usize, &Interrupt),
    changes: &mut Changes,
) -> Result<(), JournalError> {
    while !waiting.is_empty() && !changes.stops(interrupt) {
        let rest = waiting.split_off(together(&waiting));
        let group = std::mem::replace(&mut waiting, rest);
        let carried = carry_within(run, store, &group, (concurrency, interrupt), limits).await?;
        for (carried, moved) in carried.into_iter().zip(&group) {
            match carried {
                Carried::Done => changes.succeed(&item(moved), moved.evidence.size),
                Carried::Kept(error) | Carried::Open(error) => changes.fail(error),
                Carried::Unbegun => changes.interrupted = true,
            }
        }
    }
    Ok(())
}

/// How many of them are switched in one transaction.
fn together(waiting: &[Relocation]) -> usize {
    let mut bytes = 0_u64;
    let fits = waiting.iter().take_while(|relocation| {
        let fits = bytes < AT_ONCE;
        bytes = bytes.saturating_add(relocation.evidence.size);
        fits
    });
    fits.count()
}

type Looked = Result<Option<Box<Relocation>>, ItemError>;

async fn look_all(
    (sites, store): (&Sites, &dyn JournalReader),
    request: &MigrateRequest,
    ids: &[String],
) -> Result<Vec<Looked>, JournalError> {
    let records = store.get_many(ids).await?.into_iter().flatten();
    let looks = stream::iter(records).map(|record| async move {
        let copies = copies_of(store, &record.id).await?;
        match look(sites, request, (record, &copies)).await {
            Ok(Some(mut relocation)) => {
                relocation.by_migration(store, &request.way, &copies).await?;
                Ok(Ok(Some(relocation)))
            }
            looked => Ok(looked),
        }
    });
    let looked: Vec<Result<Looked, JournalError>> =
        looks.buffered(request.concurrency.max(1)).collect().await;
    looked.into_iter().collect()
}

/// Where the file is, where it goes, and whether it may; `None` for one that has moved meanwhile.
async fn look(sites: &Sites, request: &MigrateRequest, (record, copies): (FileRecord, &[Copy])) -> Looked {
    let id = &record.id;
    let (provider, from) = sites.of_record(&record)?;
    let wanted = request
        .folder
        .as_ref()
        .is_none_or(|folder| *folder == record.folder);
    if provider.name != request.from.name || !wanted {
        return Ok(None);
    }
    trash_key(&provider, "", &from).map_err(|error| failed_by(id, &error))?;
    let target = Arc::clone(&request.to);
    let path = target.mapping.path_of(&from).filter(|_| from.is_addressable());
    let Some(provider_path) = path else {
        let reason = format!(
            "{} can have no file at {from}; it is kept where it is",
            target.name
        );
        return Err(failed(id, "STORAGE_VALIDATION_ERROR", &reason));
    };
    let evidence = way_is_free((&provider, &from), (&target, &from), (&record, copies)).await?;
    let after = FileRecord {
        provider_path,
        ..record.clone()
    };
    Ok(Some(Box::new(Relocation {
        provider,
        to: Key::new(from.as_bytes().to_vec()),
        from,
        target,
        migration: None,
        evidence,
        before: record,
        after,
        undoes: None,
    })))
}

/// What is written down of the file's copies.
///
/// # Errors
/// Where the database cannot be read.
pub(super) async fn copies_of(store: &dyn JournalReader, id: &str) -> Result<Vec<Copy>, MetadataError> {
    let copies = store.copies(&[id.to_owned()]).await?;
    Ok(copies.into_iter().map(|(_, copy)| copy).collect())
}

/// What stands at the file's key, where that is what its record says, and nothing stands where it is to go but a copy of
/// the file that a backup provider keeps, which is compared with it before it becomes the file.
///
/// # Errors
/// Why the file cannot go there.
pub(super) async fn way_is_free(
    (provider, from): (&Provider, &Key),
    (target, to): (&Provider, &Key),
    (record, copies): (&FileRecord, &[Copy]),
) -> Result<Evidence, ItemError> {
    let id = &record.id;
    let heads = futures::try_join!(provider.head(from), target.head(to));
    let (found, taken) = heads.map_err(|error| failed_by(id, &error))?;
    let Some(found) = found.filter(|found| found.kind == EntryKind::Object) else {
        let reason = format!("its object is not at {from}; nothing was moved");
        return Err(failed(id, "STORAGE_FILE_NOT_FOUND", &reason));
    };
    if u64::try_from(record.size) != Ok(found.size) {
        let reason = format!(
            "its object has {} bytes, and its record says {}; nothing was moved (storage:cleanup --repair sizes)",
            found.size, record.size
        );
        return Err(failed(id, "STORAGE_INTEGRITY_ERROR", &reason));
    }
    let is_copy = |there: &Listed| {
        there.kind == EntryKind::Object && there.size == found.size && is_among(copies, target, to)
    };
    if taken.is_some_and(|there| !is_copy(&there)) {
        let reason = format!(
            "something stands at {to} of {} already; nothing is overwritten",
            target.name
        );
        return Err(failed(id, "STORAGE_ERROR", &reason));
    }
    Ok(evidence_of(&found))
}

/// The record as it is now, and the provider that it came from.
fn item(moved: &Relocation) -> Value {
    let mut item = serde_json::to_value(&moved.after).unwrap_or_default();
    item["provider"] = moved.target.name.as_str().into();
    item["previousProvider"] = moved.provider.name.as_str().into();
    item
}
