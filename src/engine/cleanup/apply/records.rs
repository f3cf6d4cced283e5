//! Orphaned records: out of the table, into the step that says so, and the sidecar that stands beside the missing object
//! into the trash with it: from a sidecar that stays, a reconstruction brings the dead record back.

use futures::{StreamExt, stream};

use super::super::finding::OrphanedRecord;
use super::objects::trash_key_of;
use super::session::{ApplyError, Work};
use super::{IN_FLIGHT, recheck};
use crate::engine::objects::{MoveOutcome, evidence_of, move_object, sidecar_key};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{Action, Intended, NewStep, RecordChange, Settlement, StepState};
use crate::providers::{EntryKind, Key, Listed, Provider, ProviderError};

/// A row that is still what was judged, and where its object was.
struct Candidate {
    provider: std::sync::Arc<Provider>,
    key: Key,
    row: FileRecord,
    /// Its key, what was seen of it, and where it goes.
    sidecar: Option<(Key, Listed, Key)>,
}

/// What became of one.
enum Acted {
    Gone,
    /// Its object came back, or its sidecar changed: the row comes back, too.
    Left,
    Failed(ProviderError),
    /// Nobody can tell where the sidecar is: recovery will ask again.
    Unclear(ProviderError),
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
    let acted: Vec<Acted> = stream::iter(&taken)
        .map(|(_, candidate)| act(candidate))
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    reach("cleanup.after-move");
    settle(work, taken, acted).await?;
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
                same.push((provider, key, row));
            }
            _ => work.outcome.skipped.records += 1,
        }
    }
    let run_id = work.run.id().to_owned();
    let looks: Vec<_> = stream::iter(same)
        .map(|(provider, key, row)| {
            let run_id = &run_id;
            async move {
                let path = row.provider_path.clone();
                (look(provider, key, row, run_id).await, path)
            }
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let mut gone = Vec::new();
    for (looked, path) in looks {
        match looked {
            Ok(Some(candidate)) => gone.push(candidate),
            Ok(None) => work.outcome.skipped.records += 1,
            Err(error) => work.failed(&path, &error)?,
        }
    }
    Ok(gone)
}

/// The row with its sidecar, where the provider says that its object does not exist.
async fn look(
    provider: std::sync::Arc<Provider>,
    key: Key,
    row: FileRecord,
    run_id: &str,
) -> Result<Option<Candidate>, ProviderError> {
    let beside = sidecar_key(&key);
    let (object, sidecar) = futures::try_join!(provider.head(&key), provider.head(&beside))?;
    if object.is_some() {
        return Ok(None);
    }
    let sidecar = match sidecar.filter(|found| found.kind == EntryKind::Object) {
        Some(found) => {
            let to = trash_key_of(&provider, run_id, &beside)?;
            Some((beside, found, to))
        }
        None => None,
    };
    Ok(Some(Candidate {
        provider,
        key,
        row,
        sidecar,
    }))
}

fn step(candidate: &Candidate) -> NewStep {
    let text = |key: &Key| key.as_str().map(str::to_owned);
    let sidecar = candidate.sidecar.as_ref();
    NewStep {
        action: if sidecar.is_some() {
            Action::Trash
        } else {
            Action::Record
        },
        provider: candidate.provider.name.clone(),
        key: sidecar.and_then(|(key, ..)| text(key)),
        to_key: sidecar.and_then(|(.., to)| text(to)),
        to_provider: None,
        evidence: sidecar.map(|(_, found, _)| evidence_of(found)),
        file_id: Some(candidate.row.id.clone()),
        before: Some(candidate.row.clone()),
        after: None,
        change: Some(RecordChange::Remove {
            expected: Box::new(candidate.row.clone()),
        }),
        undoes: None,
    }
}

/// Looks once more, now that the row is out: an object that came meanwhile gets its record back, sidecar and all.
async fn act(candidate: &Candidate) -> Acted {
    let provider = &candidate.provider;
    match provider.head(&candidate.key).await {
        Ok(None) => {}
        Ok(Some(_)) => return Acted::Left,
        Err(error) => return Acted::Failed(error),
    }
    let Some((from, found, to)) = &candidate.sidecar else {
        return Acted::Gone;
    };
    match move_object(provider, from, to, &evidence_of(found)).await {
        // What is missing was deleted by somebody else: it is gone all the same.
        Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere | MoveOutcome::Missing) => Acted::Gone,
        Ok(MoveOutcome::Changed | MoveOutcome::TargetTaken) => Acted::Left,
        Err(error) => match provider.head(from).await {
            Ok(Some(now)) if now == *found => Acted::Failed(error),
            _ => Acted::Unclear(error),
        },
    }
}

async fn settle(
    work: &mut Work<'_>,
    taken: Vec<(u64, Candidate)>,
    acted: Vec<Acted>,
) -> Result<(), ApplyError> {
    let mut settlements = Vec::new();
    let mut sidecars = Vec::new();
    for ((number, candidate), acted) in taken.into_iter().zip(acted) {
        let path = candidate.row.provider_path.clone();
        let gone = match acted {
            Acted::Gone => true,
            Acted::Left => {
                work.outcome.skipped.records += 1;
                false
            }
            Acted::Failed(error) => {
                work.failed(&path, &error)?;
                false
            }
            Acted::Unclear(error) => {
                work.outcome.open = true;
                work.failed(&path, &error)?;
                continue;
            }
        };
        sidecars.push(gone.then_some(u64::from(candidate.sidecar.is_some())));
        settlements.push(settlement(number, gone, candidate.row));
    }
    let made = work.run.settle(settlements).await?;
    for sidecars in made
        .iter()
        .zip(sidecars)
        .filter_map(|(made, gone)| gone.filter(|_| *made))
    {
        work.outcome.cleaned.records += 1;
        work.outcome.cleaned.sidecars += sidecars;
    }
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
