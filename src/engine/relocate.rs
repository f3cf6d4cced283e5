//! Copy, switch, remove: how a file changes its place and stays readable all the while. Its bytes get the new key beside
//! the old one, with a sidecar that tells it; then the row is switched, by compare-and-swap; only then the old key goes.
//!
//! The step stays intended throughout, so whoever finds one tells by the row how far it came: recovery ends it from
//! anywhere. Two keys carry the file's id in between, and neither is an orphan while the row is there. Nothing at a
//! target is overwritten, and no bytes go before the same bytes are known to be where the row says.

mod route;

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::Interrupt;
use super::changes::{failed, failed_by, is_uncertain};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle, rows};
use super::quota::no_room;
use super::sidecar::{self, Absent};
use super::upload::Way;
use super::upload::put::PutError;
use crate::failpoint::reach;
use crate::metadata::journal::{
    Action, Copy, Evidence, Intended, JournalReader, NewStep, RecordChange, Settlement, StepState, Stepped,
};
use crate::metadata::quota::Limits;
use crate::metadata::{FileRecord, MetadataError, MetadataStore};
use crate::providers::{Key, Provider, ProviderError};

pub(super) use route::{Backups, Copied, Removed, Route, Trash, is_among};

/// How often a row is followed that is edited while its file moves.
const FOLLOWED: usize = 5;
const TAKEN_OVER: &str = "another run took this over and finished it";
const AT_NEXT: &str = "the next run that changes something brings this to its end";

/// One file on its way from a key to another.
#[derive(Debug)]
pub(super) struct Relocation {
    pub(super) provider: Arc<Provider>,
    pub(super) from: Key,
    /// Whose the new key is.
    pub(super) target: Arc<Provider>,
    pub(super) to: Key,
    /// `None` within a provider, where the original just goes.
    pub(super) migration: Option<Migration>,
    pub(super) evidence: Evidence,
    pub(super) before: FileRecord,
    pub(super) after: FileRecord,
    /// The step of an earlier run that this one undoes.
    pub(super) undoes: Option<(String, u64)>,
}

/// How bytes get to another place of which the original leaves by way of the trash.
#[derive(Debug)]
pub(super) struct Migration {
    pub(super) way: Way,
    /// Of the file's content, where it is known.
    pub(super) sha256: Option<String>,
    pub(super) backups: Backups,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Carried {
    /// The row says so, and the old key is gone.
    Done,
    /// Everything is as it was before.
    Kept(ItemError),
    /// The row is switched or not, and the file can be read; the next run ends the rest.
    Open(ItemError),
    /// The operator stopped it first.
    Unbegun,
}

/// How far an item has come.
enum Stage {
    Intended,
    Copied,
    Switched,
    End(Carried),
}

struct Item<'a> {
    relocation: &'a Relocation,
    route: Route<'a>,
    /// Of its step; `None` where none was written.
    number: Option<u64>,
    stage: Stage,
}

impl Relocation {
    /// Makes it one from provider to provider, of which is known what was written down of the file.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub(super) async fn by_migration(
        &mut self,
        store: &dyn JournalReader,
        way: &Way,
        copies: &[Copy],
    ) -> Result<(), MetadataError> {
        self.migration = Some(Migration {
            way: way.clone(),
            sha256: store.checksum(&self.before.id).await?,
            backups: Backups::of(copies, (&self.provider, &self.from), (&self.target, &self.to)),
        });
        Ok(())
    }

    fn step(&self) -> NewStep {
        let text = |key: &Key| key.as_str().map(str::to_owned);
        NewStep {
            action: match self.migration {
                Some(_) => Action::Migrate,
                None => Action::Move,
            },
            provider: self.provider.name.clone(),
            key: text(&self.from),
            to_key: text(&self.to),
            to_provider: self.migration.is_some().then(|| self.target.name.clone()),
            evidence: Some(self.evidence.clone()),
            file_id: Some(self.before.id.clone()),
            before: Some(self.before.clone()),
            after: Some(self.after.clone()),
            change: None,
            undoes: self.undoes.clone(),
        }
    }

    fn route(&self, run_id: &str) -> Route<'_> {
        Route {
            provider: &self.provider,
            from: &self.from,
            target: &self.target,
            to: &self.to,
            evidence: &self.evidence,
            trash: match self.migration {
                Some(_) => Trash::of_migration((run_id, &self.from), &self.to, self.undoes.as_ref()),
                None => Trash::default(),
            },
            backups: self.backups(),
        }
    }

    fn backups(&self) -> Backups {
        self.migration
            .as_ref()
            .map_or_else(Backups::default, |migration| migration.backups)
    }

    fn no(&self, reason: &str) -> ItemError {
        failed(&self.before.id, "STORAGE_ERROR", reason)
    }

    fn no_put(&self, error: &PutError, what_now: &str) -> ItemError {
        let mut item = failed(&self.before.id, error.code(), &format!("{error}; {what_now}"));
        item.details = error.details();
        item
    }

    fn no_by(&self, error: &ProviderError, what_now: &str) -> ItemError {
        let mut item = failed_by(&self.before.id, error);
        item.error = format!("{}; {what_now}", item.error);
        item
    }
}

/// Carries the files over, `concurrency` at once, and says of each what became of it, in order. Once interrupted, what
/// is under way is finished and nothing more is begun.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way: every file can be read where its row says.
pub(super) async fn carry(
    run: &RunHandle,
    store: &dyn MetadataStore,
    relocations: &[Relocation],
    at_once: (usize, &Interrupt),
) -> Result<Vec<Carried>, JournalError> {
    carry_within(run, store, relocations, at_once, &Limits::default()).await
}

/// The same, where a file that comes to another folder has to find room there.
///
/// # Errors
/// As [`carry`].
///
/// # Cancellation
/// As [`carry`].
pub(super) async fn carry_within(
    run: &RunHandle,
    store: &dyn MetadataStore,
    relocations: &[Relocation],
    (concurrency, interrupt): (usize, &Interrupt),
    limits: &Limits,
) -> Result<Vec<Carried>, JournalError> {
    let at_once = concurrency.max(1);
    let steps = relocations.iter().map(Relocation::step).collect();
    let intended = run.intend_within(steps, limits).await?;
    reach("move.after-intend");
    let items = relocations
        .iter()
        .zip(intended)
        .map(|(relocation, answer)| Item::new((relocation, relocation.route(run.id())), &answer));
    let copies = stream::iter(items).map(|item| item.copy(interrupt));
    let mut items: Vec<Item<'_>> = copies.buffered(at_once).collect().await;
    reach("move.after-copies");
    switch(run, store, &mut items).await?;
    reach("move.after-switch");
    let removals = stream::iter(items).map(Item::remove);
    let mut items: Vec<Item<'_>> = removals.buffered(at_once).collect().await;
    reach("move.after-removals");
    settle(run, &mut items).await?;
    reach("move.after-settle");
    Ok(items.into_iter().map(Item::end).collect())
}

impl<'a> Item<'a> {
    fn new((relocation, route): (&'a Relocation, Route<'a>), answer: &Stepped) -> Self {
        let (number, stage) = match &answer.intended {
            Intended::Written(number) => (Some(*number), Stage::Intended),
            Intended::Conflict => {
                let reason = "another run is working on it; nothing was done";
                let error = match &answer.shortage {
                    Some(shortage) => no_room(&relocation.before.id, shortage),
                    None => relocation.no(reason),
                };
                (None, Stage::End(Carried::Kept(error)))
            }
        };
        Self {
            relocation,
            route,
            number,
            stage,
        }
    }

    async fn copy(mut self, interrupt: &Interrupt) -> Self {
        if matches!(self.stage, Stage::Intended) {
            self.stage = if interrupt.is_requested() {
                Stage::End(Carried::Unbegun)
            } else {
                copied(self.relocation, &self.route).await
            };
        }
        self
    }

    async fn remove(mut self) -> Self {
        if matches!(self.stage, Stage::Switched) {
            self.stage = Stage::End(removed(self.relocation, &self.route).await);
        }
        self
    }

    fn end(self) -> Carried {
        match self.stage {
            Stage::End(carried) => carried,
            _ => Carried::Open(self.relocation.no(AT_NEXT)),
        }
    }
}

/// The bytes and the sidecar at the new key, or everything as before.
async fn copied(relocation: &Relocation, route: &Route<'_>) -> Stage {
    let kept = |reason: &str| Stage::End(Carried::Kept(relocation.no(reason)));
    let outcome = match copy(relocation, route).await {
        Ok(Copied::Now) => {
            reach("move.after-copy");
            route.tell(&relocation.after).await.map_err(PutError::Provider)
        }
        Ok(Copied::TargetTaken) if relocation.backups().is_at_target() => {
            return kept(
                "its copy there has other bytes; nothing was overwritten (storage:verify --checksum tells which is right)",
            );
        }
        // Nothing stood there when it was looked at, and no step but this one moves the file.
        Ok(Copied::Before | Copied::There | Copied::TargetTaken) => {
            return kept("something else came to where it was to go; nothing was overwritten");
        }
        Ok(Copied::Changed) => return kept("its object was replaced meanwhile; nothing was done"),
        Ok(Copied::Missing | Copied::NotYet) => {
            return kept("its object went away meanwhile; nothing was done");
        }
        Err(error) => Err(error),
    };
    let Err(error) = outcome else {
        reach("move.after-sidecar");
        return Stage::Copied;
    };
    // A local disk has answered for good; a request may still be carried out after its error.
    let uncertain = match &error {
        PutError::Provider(error) => relocation.target.type_name != "local" && is_uncertain(error),
        _ => false,
    };
    let back = !uncertain && route.take_back().await.is_ok();
    Stage::End(match error {
        PutError::Interrupted if back => Carried::Unbegun,
        error if back => Carried::Kept(relocation.no_put(&error, "nothing was moved")),
        error => Carried::Open(relocation.no_put(&error, AT_NEXT)),
    })
}

async fn copy(relocation: &Relocation, route: &Route<'_>) -> Result<Copied, PutError> {
    match (route.copy().await?, &relocation.migration) {
        (Copied::NotYet, Some(Migration { way, sha256, .. })) => {
            route.stream((way, sha256.as_deref()), &relocation.after).await
        }
        // What comes back out of the trash was compared when it went there.
        (Copied::Now, Some(Migration { sha256, .. })) if relocation.undoes.is_none() => {
            reach("migrate.after-duplicate");
            route.compare(sha256.as_deref()).await?;
            Ok(Copied::Now)
        }
        // The same bytes as those of the file, and now whether those are what was stored.
        (Copied::Before, Some(Migration { sha256, backups, .. })) if backups.is_at_target() => {
            if sha256.is_some() {
                route.compare(sha256.as_deref()).await?;
            }
            tracing::info!(
                "the copy of {} on {} becomes the file",
                relocation.before.id,
                relocation.target.name
            );
            Ok(Copied::Now)
        }
        (copied, _) => Ok(copied),
    }
}

/// The rows, all in one transaction; then those that were edited meanwhile, one by one.
async fn switch(
    run: &RunHandle,
    store: &dyn MetadataStore,
    items: &mut [Item<'_>],
) -> Result<(), JournalError> {
    let ready = |item: &Item<'_>| item.number.filter(|_| matches!(item.stage, Stage::Copied));
    let change = |item: &Item<'_>| {
        let replace = RecordChange::Replace {
            expected: Box::new(item.relocation.before.clone()),
            record: Box::new(item.relocation.after.clone()),
        };
        Some(goes_on(ready(item)?, Some(replace)))
    };
    let mut answers = run
        .settle(items.iter().filter_map(change).collect())
        .await?
        .into_iter();
    for item in items {
        let Some(number) = ready(item) else { continue };
        item.stage = match answers.next() {
            Some(true) => Stage::Switched,
            _ => follow(run, store, (number, item)).await?,
        };
    }
    Ok(())
}

/// The row is not what it was: what was edited in it stays edited, unless the edit is its place.
async fn follow(
    run: &RunHandle,
    store: &dyn MetadataStore,
    (number, item): (u64, &Item<'_>),
) -> Result<Stage, JournalError> {
    let relocation = item.relocation;
    let open = |reason: &str| Ok(Stage::End(Carried::Open(relocation.no(reason))));
    let mut why = "its record is being edited again and again";
    for _ in 0..FOLLOWED {
        let row = store.get(&relocation.before.id).await?;
        // Whether the step is still this run's, before anything is concluded from the row.
        if run.settle(vec![goes_on(number, None)]).await? != [true] {
            return open(TAKEN_OVER);
        }
        match rows::forward((Some(&relocation.before), Some(&relocation.after)), row.as_ref()) {
            Ok(None) => return Ok(Stage::Switched),
            Ok(Some(change)) => {
                if run.settle(vec![goes_on(number, Some(change))]).await? == [true] {
                    let id = &relocation.before.id;
                    let agreed = sidecar::agree(&relocation.target, store, id, Absent::Left).await;
                    return match agreed {
                        Ok(()) => Ok(Stage::Switched),
                        Err(error) => open(&format!("{error}; {AT_NEXT}")),
                    };
                }
            }
            Err(gone) => {
                why = gone;
                break;
            }
        }
    }
    Ok(Stage::End(match item.route.take_back().await {
        Ok(()) => Carried::Kept(relocation.no(&format!("{why}; nothing was moved"))),
        Err(error) => Carried::Open(relocation.no_by(&error, AT_NEXT)),
    }))
}

/// The old key goes, once the new one has been seen again.
async fn removed(relocation: &Relocation, route: &Route<'_>) -> Carried {
    let moved_but = format!(
        "it was moved, but is still at {} as well; {AT_NEXT}",
        relocation.from
    );
    let outcome = route.remove_source().await;
    reach("move.after-remove");
    match outcome {
        Ok(Removed::Gone) => Carried::Done,
        Ok(Removed::Different) => {
            route.tell_different();
            Carried::Done
        }
        Ok(Removed::NoTarget) => Carried::Open(relocation.no(&format!(
            "its object went away from {} while it was moved; {AT_NEXT}",
            relocation.to
        ))),
        Err(error) => Carried::Open(relocation.no_by(&error, &moved_but)),
    }
}

async fn settle(run: &RunHandle, items: &mut [Item<'_>]) -> Result<(), JournalError> {
    let settlement = |item: &Item<'_>| {
        let (state, error) = match &item.stage {
            Stage::End(Carried::Done) => (StepState::Settled, None),
            Stage::End(Carried::Kept(error)) => (StepState::Failed, Some(error.error.clone())),
            Stage::End(Carried::Unbegun) => {
                (StepState::Failed, Some("stopped before it was begun".to_owned()))
            }
            _ => return None,
        };
        Some(Settlement {
            number: item.number?,
            state,
            error,
            change: None,
        })
    };
    // `false`: another run took a step over, and ended it in the same way.
    run.settle(items.iter().filter_map(settlement).collect()).await?;
    Ok(())
}

/// A change within a step that goes on.
pub(super) const fn goes_on(number: u64, change: Option<RecordChange>) -> Settlement {
    Settlement {
        number,
        state: StepState::Intended,
        error: None,
        change,
    }
}
