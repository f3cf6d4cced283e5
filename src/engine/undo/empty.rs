//! Emptying the trash: each removal a step that names the one whose bytes it takes for good.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::changes::{BATCH, Changes, Sites, failed, failed_by};
use super::super::journal::{JournalError, RunHandle};
use super::super::objects::purge_all;
use super::super::{Interrupt, Progress};
use super::{Pages, name_of, settlement, shown, size_alone, size_of, trashed_at};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, Step, StepState};
use crate::providers::{Key, Provider};

/// Deletes what is in the trash for good. Only steps whose bytes lie there.
///
/// # Errors
/// As [`undo`](super::undo).
///
/// # Cancellation
/// As [`undo`](super::undo).
pub async fn empty(
    run: &RunHandle,
    sites: &Sites,
    (mut pages, total): (Pages<'_>, u64),
    (progress, interrupt): (&dyn Progress, &Interrupt),
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    progress.start("Emptying the trash", Some(total));
    let mut done = 0;
    while !changes.stops(interrupt) {
        let batch = pages.next(BATCH * 5).await?;
        if batch.is_empty() {
            break;
        }
        let copies = pages.copied_files(&batch).await?;
        empty_batch(run, sites, (&batch, &copies), &mut changes).await?;
        done += batch.len() as u64;
        progress.advance(done, &run.id());
    }
    progress.finish();
    Ok(changes)
}

async fn empty_batch(
    run: &RunHandle,
    sites: &Sites,
    (batch, copies): (&[Step], &[Option<String>]),
    changes: &mut Changes,
) -> Result<(), JournalError> {
    let mut targets = Vec::with_capacity(batch.len());
    for (step, copy_of) in batch.iter().zip(copies) {
        match sites.named(&step.provider, &name_of(step)) {
            Ok(provider) => match trashed_at(&provider, step) {
                Ok(key) => targets.push(((step, copy_of.is_some()), key, provider)),
                Err(error) => changes.fail(failed_by(&name_of(step), &error)),
            },
            Err(error) => changes.fail(error),
        }
    }
    let intended = run
        .intend(
            targets
                .iter()
                .map(|((step, _), key, _)| removal(step, key))
                .collect(),
        )
        .await?;
    reach("empty.after-intend");
    let mut by_provider: BTreeMap<String, Removals<'_>> = BTreeMap::new();
    for (answer, (step, key, provider)) in intended.into_iter().zip(targets) {
        match answer {
            Intended::Written(number) => {
                let entry = by_provider.entry(provider.name.clone());
                let (_, items) = entry.or_insert_with(|| (provider, Vec::new()));
                items.push((number, step, key));
            }
            Intended::Conflict => changes.fail(failed(
                &name_of(step.0),
                "STORAGE_ERROR",
                "another run is putting it back",
            )),
        }
    }
    for (provider, items) in by_provider.into_values() {
        let keys: Vec<Key> = items.iter().map(|(_, _, key)| key.clone()).collect();
        let answers = purge_all(&provider, &keys).await;
        reach("empty.after-act");
        let mut settlements = Vec::with_capacity(items.len());
        for ((number, (step, is_copy), _), answer) in items.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    settlements.push(settlement(*number, StepState::Settled, None, None));
                    if *is_copy {
                        changes.succeed_with_copy(size_of(step));
                    } else {
                        changes.succeed(&shown(step), size_of(step));
                    }
                }
                // It may still go: the next run asks again.
                Err(error) => {
                    changes.fail(failed_by(&name_of(step), &error));
                }
            }
        }
        run.settle(settlements).await?;
    }
    reach("empty.after-settle");
    Ok(())
}

/// Written steps of one provider, each with whether it is of a copy, and its place in the trash.
type Removals<'a> = (Arc<Provider>, Vec<(u64, (&'a Step, bool), Key)>);

fn removal(step: &Step, key: &Key) -> NewStep {
    NewStep {
        action: Action::Purge,
        provider: step.provider.clone(),
        key: key.as_str().map(str::to_owned),
        to_key: None,
        to_provider: None,
        evidence: step.evidence.as_ref().map(size_alone),
        // What a migration left behind goes though its file is there, at the other provider.
        file_id: step.file_id.clone().filter(|_| step.action == Action::Trash),
        before: None,
        after: None,
        change: None,
        undoes: Some((step.run_id.clone(), step.number)),
    }
}
