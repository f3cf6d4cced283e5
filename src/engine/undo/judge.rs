//! Whether a step can be undone as things stand, and how.

use std::sync::Arc;

use serde_json::Value;

use super::super::changes::{Changes, Sites, failed, failed_by};
use super::super::cleanup::ItemError;
use super::super::journal::{JournalError, rows};
use super::super::objects::evidence_of;
use super::super::relocate::{Backups, Migration, Relocation};
use super::{UndoRequest, name_of, shown, size_alone, size_of, trashed_at};
use crate::metadata::FileRecord;
use crate::metadata::journal::{Action, Copy, JournalReader, NewStep, RecordChange, Step, StepState};
use crate::providers::{EntryKind, Key, Listed, Provider};

/// A step that can be undone, and how.
#[derive(Debug)]
pub(super) struct Reversal {
    pub(super) step: NewStep,
    /// Made when the bytes are there.
    pub(super) at_end: Option<RecordChange>,
    pub(super) provider: Option<Arc<Provider>>,
    /// Where the bytes go, for what was moved or migrated.
    target: Option<Arc<Provider>>,
    migration: Option<Migration>,
    pub(super) shown: Value,
    pub(super) bytes: u64,
    /// The file that it is a copy of, where it is one.
    copy_of: Option<String>,
}

impl Reversal {
    pub(super) fn of_copy(self, copy_of: Option<String>) -> Self {
        Self { copy_of, ..self }
    }

    /// Counts it as what it is.
    pub(super) fn succeeded(&self, changes: &mut Changes) {
        match self.copy_of {
            Some(_) => changes.succeed_with_copy(self.bytes),
            None => changes.succeed(&self.shown, self.bytes),
        }
    }

    /// Where it goes from one provider to another.
    fn backups(&self, copies: &[Copy]) -> Backups {
        let places = (&self.provider, &self.target, &self.step.key, &self.step.to_key);
        let (Some(provider), Some(target), Some(from), Some(to)) = places else {
            return Backups::default();
        };
        let (from, to) = (&Key::from(from.as_str()), &Key::from(to.as_str()));
        Backups::of(copies, (provider, from), (target, to))
    }

    /// The same as a move of its own; `None` where it is none.
    pub(super) fn relocation(&mut self) -> Option<Relocation> {
        let step = &self.step;
        Some(Relocation {
            provider: Arc::clone(self.provider.as_ref()?),
            from: Key::from(step.key.as_deref()?),
            target: Arc::clone(self.target.as_ref()?),
            migration: self.migration.take(),
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
    store: &dyn JournalReader,
    sites: &Sites,
    request: &UndoRequest,
    step: &Step,
) -> Result<Result<Option<Reversal>, ItemError>, JournalError> {
    let name = name_of(step);
    let no = |reason: &str| Ok(Err(failed(&name, "STORAGE_ERROR", reason)));
    match step.state {
        StepState::Undone | StepState::Failed => return Ok(Ok(None)),
        StepState::Emptied
            if step.action == Action::Migrate && step.to_provider.as_ref() == Some(&step.provider) =>
        {
            return no("the trash that had the original was emptied; storage:move takes the file back");
        }
        StepState::Emptied if step.action == Action::Migrate => {
            return no("the trash that had the original was emptied; storage:migrate takes the file back");
        }
        StepState::Emptied => return no("its trash was emptied: it is gone for good"),
        StepState::Intended => return no(&unended(sites, step)),
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
        Action::Trash | Action::Move | Action::Migrate | Action::Record => {}
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
    let ends = match (step.action, &rows.0) {
        (Action::Record, None) => Ok(None),
        // Its file may have been migrated since.
        (Action::Record, Some(now)) => sites.of_record(now).map(|(provider, _)| Some((provider, None))),
        _ => ends(sites, step, &name).map(Some),
    };
    let ends = match ends {
        Ok(ends) => ends,
        Err(error) => return Ok(Err(error)),
    };
    let mut reversal = reversal(step, rows, ends);
    if let (Action::Migrate, Some(id)) = (step.action, &step.file_id) {
        let sha256 = store.checksum(id).await?;
        let way = request.way.clone();
        let copies = store.copies(std::slice::from_ref(id)).await?;
        let copies: Vec<Copy> = copies.into_iter().map(|(_, copy)| copy).collect();
        reversal.migration = Some(Migration {
            way,
            sha256,
            backups: reversal.backups(&copies),
        });
    }
    let target = reversal.target.as_ref().or(reversal.provider.as_ref());
    let places = (
        &reversal.provider,
        target,
        &reversal.step.key,
        &reversal.step.to_key,
    );
    if let (Some(provider), Some(target), Some(from), Some(to)) = places {
        match look((provider, from), (target, to), (&name, step)).await {
            // What stands in use may be written to by others: only what is seen now is moved.
            Ok(seen) if matches!(step.action, Action::Move | Action::Migrate) => {
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

/// Why a step is not at its end. Whether its object was touched only its provider can tell, so nothing is concluded
/// without that; recovery, which comes before every undo, ends it once the provider is there.
fn unended(sites: &Sites, step: &Step) -> String {
    let provider = step.to_provider.as_ref().unwrap_or(&step.provider);
    let missing = [&step.provider, provider]
        .into_iter()
        .find_map(|name| sites.named(name, name).err().map(|why| (name, why)));
    match missing {
        Some((name, why)) => format!(
            "it is not at its end, and whether its object was touched only {name} can tell: {}; once storage.yml has \
             {name} again and it answers, the same command ends it and puts it back",
            why.error
        ),
        None => "it is not at its end: another run works on it, or the next that changes something ends it once its \
                 provider answers"
            .to_owned(),
    }
}

/// Where the bytes are, and where they go.
type Ends = (Arc<Provider>, Option<Arc<Provider>>);

fn ends(sites: &Sites, step: &Step, name: &str) -> Result<Ends, ItemError> {
    let home = sites.named(&step.provider, name)?;
    Ok(match step.action {
        Action::Migrate => {
            let now = step.to_provider.as_ref().unwrap_or(&step.provider);
            (sites.named(now, name)?, Some(home))
        }
        Action::Move => (Arc::clone(&home), Some(home)),
        _ => (home, None),
    })
}

/// The bytes that are to be put back, where their key is free.
async fn look(
    (provider, from): (&Provider, &str),
    (home, to): (&Provider, &str),
    (name, step): (&str, &Step),
) -> Result<Listed, ItemError> {
    let (at, target) = (Key::from(from), Key::from(to));
    let heads = futures::try_join!(provider.head(&at), home.head(&target));
    let (mut there, target) = heads.map_err(|error| failed_by(name, &error))?;
    if there.is_none() && step.action == Action::Migrate {
        // What the other provider has lost is in the trash of this one.
        let trash = trashed_at(home, step).map_err(|error| failed_by(name, &error))?;
        there = home.head(&trash).await.map_err(|error| failed_by(name, &error))?;
    }
    let Some(there) = there.filter(|there| there.kind == EntryKind::Object) else {
        let reason = match step.action {
            Action::Move | Action::Migrate => format!("its bytes are not at {from} any more"),
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
    ends: Option<Ends>,
) -> Reversal {
    let (provider, target) = ends.map_or((None, None), |(provider, target)| (Some(provider), target));
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
    let recorded = || step.to_provider.as_ref().unwrap_or(&step.provider).clone();
    Reversal {
        step: NewStep {
            action,
            provider: provider
                .as_ref()
                .map_or_else(recorded, |provider| provider.name.clone()),
            key: step.to_key.clone().filter(|_| action != Action::Record),
            to_key: step.key.clone().filter(|_| action != Action::Record),
            to_provider: step.to_provider.is_some().then(|| step.provider.clone()),
            evidence: step.evidence.as_ref().map(size_alone),
            file_id: step.file_id.clone(),
            before: now,
            after: back,
            change: at_once,
            undoes: Some((step.run_id.clone(), step.number)),
        },
        at_end,
        provider,
        target,
        migration: None,
        shown: shown(step),
        bytes: size_of(step),
        copy_of: None,
    }
}
