//! Giving records of an old root the path that their files have now: a deployment that moved keeps its old roots in its
//! records, where a provider's aliases match them. No bytes are touched, and a record is changed only where its object is
//! there by the new path.

use std::sync::Arc;

use futures::{StreamExt, stream};
use serde_json::Value;

use super::changes::{BATCH, Changes, Sites, failed, failed_by};
use super::cleanup::ItemError;
use super::gather::{GatherError, gather, some};
use super::journal::{JournalError, RunHandle};
use super::list::owner;
use super::sidecar::{self, Absent, SidecarError};
use super::update::record_step;
use super::{Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::journal::{Intended, JournalReader, Settlement, StepState};
use crate::metadata::{FileRecord, ScanScope, ScannedRecord};
use crate::providers::{EntryKind, Provider};
use crate::spill::Spool;

/// Which records.
#[derive(Debug, Clone, Default)]
pub struct RebaseRequest {
    /// Only those of this provider.
    pub provider: Option<String>,
    /// Only those of this folder.
    pub folder: Option<String>,
    /// Objects looked at at once.
    pub concurrency: usize,
}

/// Ids of the records whose path is not the one that their provider gives them today.
///
/// # Errors
/// Where the database or the temporary directory fails.
pub async fn select(
    store: &dyn JournalReader,
    sites: &Sites,
    request: &RebaseRequest,
) -> Result<Spool, GatherError> {
    let is_asked = |name: &str| request.provider.as_deref().is_none_or(|asked| asked == name);
    let roots = sites.roots.iter().filter(|site| is_asked(&site.provider));
    let scopes = roots.flat_map(|site| site.roots.iter().cloned().map(ScanScope::Under));
    let is_wanted = |record: &ScannedRecord| {
        let owner = owner(&record.provider_path, &sites.roots).filter(|owner| is_asked(owner));
        let in_folder = request
            .folder
            .as_ref()
            .is_none_or(|folder| *folder == record.folder);
        // Those of a provider that cannot be used are told of as such.
        let is_old = |name| match sites.named(name, &record.id) {
            Ok(provider) => path(&provider, &record.provider_path).is_some(),
            Err(_) => true,
        };
        in_folder && owner.is_some_and(is_old)
    };
    gather(store, scopes.collect(), &[], is_wanted).await
}

/// The path that the record is to have; `None` where it has it.
fn path(provider: &Provider, recorded: &str) -> Option<String> {
    let key = provider.mapping.key_of(recorded)?;
    let path = provider.mapping.path_of(&key)?;
    (path != recorded).then_some(path)
}

/// What [`rebase`] would do to each, with nothing written.
///
/// # Errors
/// Where the database or the temporary directory fails.
pub async fn plan(
    (sites, store): (&Sites, &dyn JournalReader),
    request: &RebaseRequest,
    ids: &Spool,
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    let mut ids = ids.iter();
    loop {
        let batch = some(&mut ids, BATCH)?;
        if batch.is_empty() {
            return Ok(changes);
        }
        for looked in look_all((sites, store), request, &batch).await? {
            match looked {
                Ok(Some(rebased)) => changes.succeed(&item(&rebased), size(&rebased.after)),
                Ok(None) => {}
                Err(error) => changes.fail(error),
            }
        }
    }
}

/// Changes the rows batch by batch, each batch in the transaction that writes its steps down, then their sidecars.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way.
pub async fn rebase(
    run: &RunHandle,
    (sites, store): (&Sites, &dyn JournalReader),
    (request, ids): (&RebaseRequest, &Spool),
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Rebasing", Some(ids.len()));
    let (mut ids, mut done) = (ids.iter(), 0);
    while !changes.stops(interrupt) {
        let batch = some(&mut ids, BATCH)?;
        if batch.is_empty() {
            break;
        }
        let mut rebased = Vec::with_capacity(batch.len());
        for looked in look_all((sites, store), request, &batch).await? {
            match looked {
                Ok(Some(one)) => rebased.push(one),
                Ok(None) => {}
                Err(error) => changes.fail(error),
            }
        }
        change(run, store, rebased, (request.concurrency, &mut changes)).await?;
        done += batch.len() as u64;
        progress.advance(done, &run.id());
    }
    progress.finish();
    Ok(changes)
}

/// A record and what it becomes.
struct Rebased {
    provider: Arc<Provider>,
    before: FileRecord,
    after: FileRecord,
}

type Looked = Result<Option<Rebased>, ItemError>;

async fn look_all(
    (sites, store): (&Sites, &dyn JournalReader),
    request: &RebaseRequest,
    ids: &[String],
) -> Result<Vec<Looked>, JournalError> {
    let records = store.get_many(ids).await?.into_iter().flatten();
    let looks = stream::iter(records).map(|record| look(sites, record));
    Ok(looks.buffered(request.concurrency.max(1)).collect().await)
}

async fn look(sites: &Sites, before: FileRecord) -> Looked {
    let (provider, key) = sites.of_record(&before)?;
    let Some(provider_path) = path(&provider, &before.provider_path) else {
        return Ok(None);
    };
    let found = provider
        .head(&key)
        .await
        .map_err(|error| failed_by(&before.id, &error))?;
    if found.is_none_or(|found| found.kind != EntryKind::Object) {
        let reason = format!("its object is not at {provider_path}; its record is kept as it is");
        return Err(failed(&before.id, "STORAGE_FILE_NOT_FOUND", &reason));
    }
    let after = FileRecord {
        provider_path,
        ..before.clone()
    };
    Ok(Some(Rebased {
        provider,
        before,
        after,
    }))
}

async fn change(
    run: &RunHandle,
    store: &dyn JournalReader,
    rebased: Vec<Rebased>,
    (concurrency, changes): (usize, &mut Changes),
) -> Result<(), JournalError> {
    let step = |one: &Rebased| record_step(&one.provider.name, one.before.clone(), one.after.clone());
    let intended = run.intend(rebased.iter().map(step).collect()).await?;
    reach("rebase.after-intend");
    let acts = rebased
        .iter()
        .zip(&intended)
        .map(async |(one, answer)| match answer {
            Intended::Written(_) => sidecar::agree(&one.provider, store, &one.after.id, Absent::Left).await,
            Intended::Conflict => Ok(()),
        });
    let told: Vec<Result<(), SidecarError>> = stream::iter(acts).buffered(concurrency.max(1)).collect().await;
    reach("rebase.after-sidecars");
    let mut settlements = Vec::with_capacity(rebased.len());
    for ((one, answer), told) in rebased.iter().zip(intended).zip(told) {
        let id = &one.before.id;
        match (answer, told) {
            (Intended::Conflict, _) => changes.fail(failed(
                id,
                "STORAGE_ERROR",
                "its record was changed or deleted meanwhile, or another run works on it; nothing was done",
            )),
            (Intended::Written(number), Ok(())) => {
                settlements.push(Settlement {
                    number,
                    state: StepState::Settled,
                    error: None,
                    change: None,
                });
                changes.succeed(&item(one), size(&one.after));
            }
            (_, Err(SidecarError::Metadata(error))) => return Err(error.into()),
            (_, Err(SidecarError::Provider(error))) => {
                let mut item = failed_by(id, &error);
                item.error = format!(
                    "its record was changed, but not its sidecar yet, which the next run brings to its end: {}",
                    item.error
                );
                changes.fail(item);
            }
        }
    }
    run.settle(settlements).await?;
    reach("rebase.after-settle");
    Ok(())
}

fn size(record: &FileRecord) -> u64 {
    u64::try_from(record.size).unwrap_or(0)
}

fn item(rebased: &Rebased) -> Value {
    let mut item = serde_json::to_value(&rebased.after).unwrap_or_default();
    item["provider"] = rebased.provider.name.as_str().into();
    item["previousPath"] = rebased.before.provider_path.as_str().into();
    item
}
