//! `--repair sizes`: the record, and its sidecar with it, is set to what is there.

use chrono::SubsecRound;

use super::super::finding::Mismatch;
use super::session::{ApplyError, Work};
use crate::engine::sidecar::{self, Absent, SidecarError};
use crate::engine::update::record_step;
use crate::failpoint::reach;
use crate::metadata::journal::{Intended, NewStep, Settlement, StepState};
use crate::metadata::{FileRecord, Stamp};

/// Judges a batch anew and sets the sizes that are still wrong in the same way.
///
/// # Errors
/// Where the database fails or a lease is lost; what was written down by then is ended by recovery.
pub async fn batch(work: &mut Work<'_>, items: Vec<Mismatch>) -> Result<(), ApplyError> {
    let mut steps = Vec::new();
    for item in items {
        match judge(work, &item).await? {
            Some(step) => steps.push(step),
            None => work.outcome.skipped.mismatches += 1,
        }
    }
    if steps.is_empty() {
        return Ok(());
    }
    let sites: Vec<(String, Option<String>)> = steps
        .iter()
        .map(|step| (step.provider.clone(), step.file_id.clone()))
        .collect();
    let answers = work.run.intend(steps).await?;
    reach("cleanup.after-intend");
    let mut settlements = Vec::with_capacity(answers.len());
    for (answer, (provider, id)) in answers.into_iter().zip(sites) {
        match answer {
            Intended::Written(number) => {
                if agrees(work, &provider, id.as_deref()).await? {
                    settlements.push(Settlement {
                        number,
                        state: StepState::Settled,
                        error: None,
                        change: None,
                    });
                }
            }
            Intended::Conflict => work.outcome.skipped.mismatches += 1,
        }
    }
    reach("cleanup.after-sidecars");
    let made = work.run.settle(settlements).await?;
    work.outcome.repaired += made.into_iter().filter(|made| *made).count() as u64;
    reach("cleanup.after-settle");
    Ok(())
}

/// Whether the sidecar tells the new size, too; else the next run sees to it.
async fn agrees(work: &mut Work<'_>, provider: &str, id: Option<&str>) -> Result<bool, ApplyError> {
    let (Some(provider), Some(id)) = (work.provider(provider), id) else {
        return Ok(true);
    };
    match sidecar::agree(&provider, work.desk.metadata, id, Absent::Left).await {
        Ok(()) => Ok(true),
        Err(SidecarError::Metadata(error)) => Err(error.into()),
        Err(SidecarError::Provider(error)) => {
            work.failed(id, &error)?;
            work.outcome.open = true;
            Ok(false)
        }
    }
}

/// The step, where the object still has the size that was found and the row is still the one that says otherwise.
async fn judge(work: &mut Work<'_>, item: &Mismatch) -> Result<Option<NewStep>, ApplyError> {
    let place = work.provider(&item.provider).and_then(|provider| {
        let key = provider.mapping.key_of(&item.path)?;
        Some((provider, key))
    });
    let Some((provider, key)) = place else {
        return Ok(None);
    };
    let object = match provider.head(&key).await {
        Ok(object) => object,
        Err(error) => {
            work.failed(&item.path, &error)?;
            return Ok(None);
        }
    };
    let Some(row) = work.desk.metadata.get(&item.id).await? else {
        return Ok(None);
    };
    let same = object.is_some_and(|object| object.size == item.actual_size)
        && row.size == item.recorded_size
        && row.provider_path == item.path;
    let Some(size) = i64::try_from(item.actual_size).ok().filter(|_| same) else {
        return Ok(None);
    };
    let after = FileRecord {
        size,
        updated_at: Stamp::At(work.desk.clock.now().trunc_subsecs(0)),
        ..row.clone()
    };
    Ok(Some(record_step(&provider.name, row, after)))
}
