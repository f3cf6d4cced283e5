//! Orphaned objects, and sidecars that outlived theirs: into the trash, or away for good.

use futures::{StreamExt, stream};

use super::super::finding::{LoneSidecar, OrphanedObject};
use super::IN_FLIGHT;
use super::recheck::{self, Candidate};
use super::session::{ApplyError, Work};
use crate::engine::objects::{
    MoveOutcome, PurgeOutcome, evidence_of, move_object, purge, put_back, sidecar_key, trash_key,
};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, Settlement, StepState};
use crate::providers::{Key, Provider, ProviderError, sidecar_object};

/// A candidate whose step is written down.
struct Planned {
    number: u64,
    candidate: Candidate,
    /// Where it goes; `None` where it goes for good.
    to: Option<Key>,
}

/// What became of one.
enum Acted {
    Gone,
    /// It is where it was, since it or its record changed: no error.
    Left,
    /// It is where it was.
    Failed(String, &'static str),
    /// Nobody can tell: recovery will ask again.
    Unclear(ProviderError),
}

/// Judges a batch anew and takes away what is still an orphan.
///
/// # Errors
/// Where the database fails or a lease is lost; what was written down by then is ended by recovery.
pub async fn batch(work: &mut Work<'_>, items: Vec<OrphanedObject>) -> Result<(), ApplyError> {
    let candidates = recheck::objects(work, items).await?;
    take_away(work, candidates).await
}

/// The same for sidecars whose object and record are gone: a reconstruction would bring dead records back from them.
///
/// # Errors
/// As [`batch`].
pub async fn sidecars(work: &mut Work<'_>, items: Vec<LoneSidecar>) -> Result<(), ApplyError> {
    let lone = items.into_iter().filter(LoneSidecar::may_go).collect();
    let candidates = recheck::sidecars(work, lone).await?;
    take_away(work, candidates).await
}

async fn take_away(work: &mut Work<'_>, candidates: Vec<Candidate>) -> Result<(), ApplyError> {
    let planned = intend(work, candidates).await?;
    if planned.is_empty() {
        return Ok(());
    }
    reach("cleanup.after-intend");
    work.run.check().await?;
    let acted: Vec<(Planned, Acted)> = stream::iter(planned)
        .map(|planned| async move {
            let acted = act(&planned).await;
            (planned, acted)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    reach("cleanup.after-move");
    let acted = give_back(work, acted).await?;
    settle(work, acted).await?;
    reach("cleanup.after-settle");
    Ok(())
}

async fn intend(work: &mut Work<'_>, candidates: Vec<Candidate>) -> Result<Vec<Planned>, ApplyError> {
    let mut steps = Vec::new();
    let mut going = Vec::new();
    for candidate in candidates {
        let to = match target(work, &candidate) {
            Ok(to) => to,
            Err(error) => {
                work.failed(&candidate.key.to_string(), &error)?;
                continue;
            }
        };
        steps.push(step(&candidate, to.as_ref()));
        going.push((candidate, to));
    }
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let answers = work.run.intend(steps).await?;
    let written = answers.into_iter().zip(going);
    Ok(written
        .filter_map(|(answer, (candidate, to))| match answer {
            Intended::Written(number) => Some(Planned {
                number,
                candidate,
                to,
            }),
            Intended::Conflict => None,
        })
        .collect())
}

/// Its place in the trash; `None` where it goes for good.
fn target(work: &Work<'_>, candidate: &Candidate) -> Result<Option<Key>, ProviderError> {
    if work.request.purge {
        return Ok(None);
    }
    trash_key_of(&candidate.provider, work.run.id(), &candidate.key).map(Some)
}

/// A sidecar's place in the trash is beside the place of its object, which CivicPress's reconstruction does not read.
pub fn trash_key_of(provider: &Provider, run_id: &str, key: &Key) -> Result<Key, ProviderError> {
    match sidecar_object(key.as_bytes()) {
        Some(object) => Ok(sidecar_key(&trash_key(provider, run_id, &Key::new(object))?)),
        None => trash_key(provider, run_id, key),
    }
}

fn step(candidate: &Candidate, to: Option<&Key>) -> NewStep {
    NewStep {
        action: if to.is_some() {
            Action::Trash
        } else {
            Action::Purge
        },
        provider: candidate.provider.name.clone(),
        key: Some(candidate.key.to_string()),
        to_key: to.map(Key::to_string),
        to_provider: None,
        evidence: Some(evidence_of(&candidate.object)),
        // Whoever ends this step asks first whether the file has a record by now.
        file_id: candidate.id(),
        before: None,
        after: None,
        change: None,
        undoes: None,
    }
}

async fn act(planned: &Planned) -> Acted {
    let Candidate {
        provider,
        key,
        object,
    } = &planned.candidate;
    let evidence = evidence_of(object);
    let Some(to) = &planned.to else {
        return match purge(provider, key, &evidence).await {
            Ok(PurgeOutcome::Purged | PurgeOutcome::AlreadyGone) => Acted::Gone,
            Ok(PurgeOutcome::Changed) => Acted::Left,
            Err(error) => unfinished(planned, error).await,
        };
    };
    match move_object(provider, key, to, &evidence).await {
        Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere) => Acted::Gone,
        Ok(MoveOutcome::Changed | MoveOutcome::Missing) => Acted::Left,
        Ok(MoveOutcome::TargetTaken) => Acted::Failed(format!("{to} in the trash is taken"), "STORAGE_ERROR"),
        Err(error) => unfinished(planned, error).await,
    }
}

/// After an error: whether the object is plainly where it was.
async fn unfinished(planned: &Planned, error: ProviderError) -> Acted {
    let Candidate {
        provider,
        key,
        object,
    } = &planned.candidate;
    match provider.head(key).await {
        Ok(Some(found)) if found == *object => Acted::Failed(error.to_string(), error.code()),
        _ => Acted::Unclear(error),
    }
}

/// A record may have come between the last look and the move; its bytes go back to it.
async fn give_back(
    work: &Work<'_>,
    mut acted: Vec<(Planned, Acted)>,
) -> Result<Vec<(Planned, Acted)>, ApplyError> {
    let gone: Vec<&Candidate> = acted
        .iter()
        .filter(|(planned, acted)| planned.to.is_some() && matches!(acted, Acted::Gone))
        .map(|(planned, _)| &planned.candidate)
        .collect();
    let claimed = recheck::claimed(work, &gone).await?;
    for (planned, acted) in &mut acted {
        let Candidate {
            provider,
            key,
            object,
        } = &planned.candidate;
        let Some(to) = planned
            .to
            .as_ref()
            .filter(|_| claimed.contains(key) && matches!(acted, Acted::Gone))
        else {
            continue;
        };
        *acted = match put_back(provider, to, key, &evidence_of(object)).await {
            Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere) => Acted::Left,
            Ok(_) => Acted::Gone,
            Err(error) => Acted::Unclear(error),
        };
    }
    Ok(acted)
}

async fn settle(work: &mut Work<'_>, acted: Vec<(Planned, Acted)>) -> Result<(), ApplyError> {
    let settlement = |(planned, acted): &(Planned, Acted)| {
        let (state, error) = match acted {
            Acted::Gone => (StepState::Settled, None),
            Acted::Left => (
                StepState::Failed,
                Some("it changed since it was judged".to_owned()),
            ),
            Acted::Failed(why, _) => (StepState::Failed, Some(why.clone())),
            Acted::Unclear(_) => return None,
        };
        Some(Settlement {
            number: planned.number,
            state,
            error,
            change: None,
        })
    };
    let settlements: Vec<Settlement> = acted.iter().filter_map(settlement).collect();
    let made = work.run.settle(settlements).await?;
    let mut made = made.into_iter();
    for (planned, acted) in &acted {
        let Candidate {
            provider,
            key,
            object,
        } = &planned.candidate;
        let path = provider.mapping.path_of(key).unwrap_or_else(|| key.to_string());
        match acted {
            Acted::Unclear(error) => {
                work.outcome.open = true;
                work.failed(&path, error)?;
            }
            Acted::Gone if made.next() == Some(true) => {
                work.cleaned(planned.candidate.is_sidecar(), object.size);
            }
            Acted::Gone => {}
            Acted::Left => {
                made.next();
                work.left(planned.candidate.is_sidecar());
            }
            Acted::Failed(why, code) => {
                made.next();
                work.outcome.fail(&path, why, code)?;
            }
        }
    }
    Ok(())
}
