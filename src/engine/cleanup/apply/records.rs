//! Orphaned records: out of the table, into the step that says so.

use futures::{StreamExt, stream};

use super::super::finding::OrphanedRecord;
use super::session::{ApplyError, Work};
use super::{IN_FLIGHT, recheck};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{Action, Intended, NewStep, RecordChange, Settlement, StepState};
use crate::providers::{Key, Provider, ProviderError};

/// A row that is still what was judged, and where its object was.
struct Candidate {
    provider: std::sync::Arc<Provider>,
    key: Key,
    row: FileRecord,
}

/// Judges a batch anew and takes out the rows whose object is still not there.
///
/// # Errors
/// Where the database fails or a lease is lost; what was written down by then is ended by recovery.
pub async fn batch(work: &mut Work<'_>, items: Vec<OrphanedRecord>) -> Result<(), ApplyError> {
    let candidates = still_orphaned(work, items).await?;
    if candidates.is_empty() {
        return Ok(());
    }
    let answers = work.run.intend(candidates.iter().map(step).collect()).await?;
    reach("cleanup.after-intend");
    let mut taken = Vec::new();
    for (answer, candidate) in answers.into_iter().zip(candidates) {
        match answer {
            Intended::Written(number) => taken.push((number, candidate)),
            Intended::Conflict => work.outcome.skipped.records += 1,
        }
    }
    settle(work, taken).await?;
    reach("cleanup.after-settle");
    Ok(())
}

async fn still_orphaned(
    work: &mut Work<'_>,
    items: Vec<OrphanedRecord>,
) -> Result<Vec<Candidate>, ApplyError> {
    let mut same = Vec::new();
    for item in items {
        let row = work.desk.metadata.get(&item.id).await?;
        let place = work.provider(&item.provider).and_then(|provider| {
            let key = provider.mapping.key_of(&item.path)?;
            Some((provider, key))
        });
        match (row, place) {
            (Some(row), Some((provider, key))) if recheck::is_same_record(&item, &row) => {
                same.push(Candidate { provider, key, row });
            }
            _ => work.outcome.skipped.records += 1,
        }
    }
    let mut gone = Vec::new();
    for (answer, candidate) in look(same).await {
        match answer {
            Ok(true) => gone.push(candidate),
            Ok(false) => work.outcome.skipped.records += 1,
            Err(error) => work.failed(&candidate.row.provider_path, &error)?,
        }
    }
    Ok(gone)
}

/// Whether the provider says of each that its object does not exist.
async fn look(candidates: Vec<Candidate>) -> Vec<(Result<bool, ProviderError>, Candidate)> {
    stream::iter(candidates)
        .map(|candidate| async move {
            let found = candidate.provider.head(&candidate.key).await;
            (found.map(|found| found.is_none()), candidate)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await
}

fn step(candidate: &Candidate) -> NewStep {
    NewStep {
        action: Action::Record,
        provider: candidate.provider.name.clone(),
        key: None,
        to_key: None,
        evidence: None,
        file_id: Some(candidate.row.id.clone()),
        before: Some(candidate.row.clone()),
        after: None,
        change: Some(RecordChange::Remove {
            expected: Box::new(candidate.row.clone()),
        }),
        undoes: None,
    }
}

/// Looks once more, now that the row is out: an object that came meanwhile gets its record back.
async fn settle(work: &mut Work<'_>, taken: Vec<(u64, Candidate)>) -> Result<(), ApplyError> {
    let (numbers, candidates): (Vec<u64>, Vec<Candidate>) = taken.into_iter().unzip();
    let answers = look(candidates).await;
    let mut settlements = Vec::new();
    let mut gone = Vec::new();
    for (number, (answer, candidate)) in numbers.into_iter().zip(answers) {
        let is_gone = matches!(answer, Ok(true));
        if let Err(error) = answer {
            work.failed(&candidate.row.provider_path, &error)?;
        } else if !is_gone {
            work.outcome.skipped.records += 1;
        }
        gone.push(is_gone);
        settlements.push(settlement(number, is_gone, candidate.row));
    }
    let made = work.run.settle(settlements).await?;
    work.outcome.cleaned.records += made
        .iter()
        .zip(gone)
        .filter(|(made, gone)| **made && *gone)
        .count() as u64;
    Ok(())
}

fn settlement(number: u64, gone: bool, row: FileRecord) -> Settlement {
    if gone {
        return Settlement {
            number,
            state: StepState::Settled,
            error: None,
            change: None,
        };
    }
    Settlement {
        number,
        state: StepState::Failed,
        error: Some("its object came back, or nobody could tell".to_owned()),
        change: Some(RecordChange::Insert {
            record: Box::new(row),
        }),
    }
}
