//! Whether a step can be undone as things stand, and how.

use std::sync::Arc;

use serde_json::Value;

use super::super::changes::{Sites, failed, failed_by};
use super::super::cleanup::ItemError;
use super::super::journal::{JournalError, rows};
use super::super::objects::evidence_of;
use super::super::relocate::Relocation;
use super::{UndoRequest, name_of, shown, size_alone, size_of};
use crate::metadata::journal::{Action, NewStep, RecordChange, Step, StepState};
use crate::metadata::{FileRecord, MetadataStore};
use crate::providers::{EntryKind, Key, Listed, Provider};

/// A step that can be undone, and how.
#[derive(Debug)]
pub(super) struct Reversal {
    pub(super) step: NewStep,
    /// Made when the bytes are there.
    pub(super) at_end: Option<RecordChange>,
    pub(super) provider: Option<Arc<Provider>>,
    pub(super) shown: Value,
    pub(super) bytes: u64,
}

impl Reversal {
    /// The same as a move of its own; `None` where it is none.
    pub(super) fn relocation(&self) -> Option<Relocation> {
        let step = &self.step;
        if step.action != Action::Move {
            return None;
        }
        Some(Relocation {
            provider: Arc::clone(self.provider.as_ref()?),
            from: Key::from(step.key.as_deref()?),
            to: Key::from(step.to_key.as_deref()?),
            evidence: step.evidence.clone()?,
            before: step.before.clone()?,
            after: step.after.clone()?,
            undoes: step.undoes.clone(),
        })
    }
}

/// How the step is undone; `None` where nothing of it is left to undo.
pub(super) async fn judge(
    store: &dyn MetadataStore,
    sites: &Sites,
    request: &UndoRequest,
    step: &Step,
) -> Result<Result<Option<Reversal>, ItemError>, JournalError> {
    let name = name_of(step);
    let no = |reason: &str| Ok(Err(failed(&name, "STORAGE_ERROR", reason)));
    match step.state {
        StepState::Undone | StepState::Failed => return Ok(Ok(None)),
        StepState::Emptied => return no("its trash was emptied: it is gone for good"),
        StepState::Intended => return no("it is being worked on by another run"),
        StepState::Settled => {}
    }
    match step.action {
        Action::Purge => return no("it was deleted for good, past the trash"),
        Action::Restore => return no("what was put back is not taken away again; use the first command"),
        Action::Record if step.before.is_none() => {
            return no(
                "its record was reconstructed, and is not lost again by an undo; storage:delete takes the file away",
            );
        }
        Action::Trash | Action::Move | Action::Record => {}
    }
    let mut rows = (step.after.clone(), step.before.clone());
    if let Some(row) = &step.before {
        let comes_back = step.after.as_ref().is_none_or(|after| after.folder != row.folder);
        if comes_back && !request.folders.contains(&row.folder) {
            let reason = format!("storage.yml has no folder {} any more", row.folder);
            return Ok(Err(failed(&name, "STORAGE_VALIDATION_ERROR", &reason)));
        }
        let now = store.get(&row.id).await?;
        if step.after.is_none() && now.is_some() {
            return no("its id is in use again");
        }
        if let Some(after) = &step.after {
            let Some(now) = now else {
                return no("its record was deleted since");
            };
            let Some(back) = rows::undone(row, after, &now) else {
                return no("what the run changed in its record was changed again since");
            };
            rows = (Some(now), Some(back));
        }
    }
    let provider = match step.action {
        Action::Record if rows.0.is_none() => None,
        _ => match sites.named(&step.provider, &name) {
            Ok(provider) => Some(provider),
            Err(error) => return Ok(Err(error)),
        },
    };
    let mut reversal = reversal(step, rows, provider);
    let places = (&reversal.provider, &reversal.step.key, &reversal.step.to_key);
    if let (Some(provider), Some(from), Some(to)) = places {
        match look(provider, (&name, step.action), (from, to)).await {
            // What stands in use may be written to by others: only what is seen now is moved.
            Ok(seen) if step.action == Action::Move => {
                if seen.size != size_of(step) {
                    return no("its bytes are not those that were moved");
                }
                reversal.step.evidence = Some(evidence_of(&seen));
            }
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Some(reversal)))
}

/// The bytes that are to be put back, where their key is free.
async fn look(
    provider: &Provider,
    (name, action): (&str, Action),
    (from, to): (&str, &str),
) -> Result<Listed, ItemError> {
    let (at, target) = (Key::from(from), Key::from(to));
    let heads = futures::try_join!(provider.head(&at), provider.head(&target));
    let (there, target) = heads.map_err(|error| failed_by(name, &error))?;
    let Some(there) = there.filter(|there| there.kind == EntryKind::Object) else {
        let reason = match action {
            Action::Move => format!("its bytes are not at {from} any more"),
            _ => "its bytes are not in the trash any more".to_owned(),
        };
        return Err(failed(name, "STORAGE_FILE_NOT_FOUND", &reason));
    };
    if target.is_some() {
        return Err(failed(
            name,
            "STORAGE_ERROR",
            &format!("its key {to} is in use again"),
        ));
    }
    Ok(there)
}

fn reversal(
    step: &Step,
    (now, back): (Option<FileRecord>, Option<FileRecord>),
    provider: Option<Arc<Provider>>,
) -> Reversal {
    let change = match (&now, &back) {
        (Some(now), Some(back)) => Some(RecordChange::Replace {
            expected: Box::new(now.clone()),
            record: Box::new(back.clone()),
        }),
        (None, Some(back)) => Some(RecordChange::Insert {
            record: Box::new(back.clone()),
        }),
        (_, None) => None,
    };
    let action = match step.action {
        Action::Trash => Action::Restore,
        other => other,
    };
    let (at_once, at_end) = match action {
        Action::Record => (change, None),
        _ => (None, change),
    };
    Reversal {
        step: NewStep {
            action,
            provider: step.provider.clone(),
            key: step.to_key.clone().filter(|_| action != Action::Record),
            to_key: step.key.clone().filter(|_| action != Action::Record),
            evidence: step.evidence.as_ref().map(size_alone),
            file_id: step.file_id.clone(),
            before: now,
            after: back,
            change: at_once,
            undoes: Some((step.run_id.clone(), step.number)),
        },
        at_end,
        provider,
        shown: shown(step),
        bytes: size_of(step),
    }
}
