//! `--repair sizes`: the record is set to what is there.

use chrono::SubsecRound;

use super::super::finding::Mismatch;
use super::session::{ApplyError, Work};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, RecordChange, Settlement, StepState};
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
    let answers = work.run.intend(steps).await?;
    reach("cleanup.after-intend");
    let settled = |answer: &Intended| match answer {
        Intended::Written(number) => Some(Settlement {
            number: *number,
            state: StepState::Settled,
            error: None,
            change: None,
        }),
        Intended::Conflict => None,
    };
    let settlements: Vec<Settlement> = answers.iter().filter_map(settled).collect();
    work.outcome.skipped.mismatches += (answers.len() - settlements.len()) as u64;
    let made = work.run.settle(settlements).await?;
    work.outcome.repaired += made.into_iter().filter(|made| *made).count() as u64;
    reach("cleanup.after-settle");
    Ok(())
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
    Ok(Some(step(&provider.name, row, after)))
}

fn step(provider: &str, row: FileRecord, after: FileRecord) -> NewStep {
    NewStep {
        action: Action::Record,
        provider: provider.to_owned(),
        key: None,
        to_key: None,
        evidence: None,
        file_id: Some(row.id.clone()),
        before: Some(row.clone()),
        after: Some(after.clone()),
        change: Some(RecordChange::Replace {
            expected: Box::new(row),
            record: Box::new(after),
        }),
        undoes: None,
    }
}
