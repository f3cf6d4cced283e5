//! Ending what dead runs left. A step whose object was moved, or still can be, is finished; any other is given up and its
//! row put back. An upload without a record goes to the trash of the recovering run: never for good, so that a database
//! restored from a backup destroys nothing.
//!
//! Everything here may be interrupted anywhere and begun again: the dead run is ended first, which fences its process
//! should it wake; then a lease on the provider keeps a second recovery out.

mod relocate;
mod upload;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;

use super::remains::{Remains, rewrites};
use super::{Journal, JournalError, RunHandle, rows};
use crate::engine::marker::Claim;
use crate::engine::objects::{self, MoveOutcome, PurgeOutcome};
use crate::engine::ownership::{Permit, secure};
use crate::engine::sidecar::{self, Absent, SidecarError};
use crate::failpoint::reach;
use crate::metadata::journal::{
    Action, Evidence, NewStep, RecordChange, Run, RunStatus, Settlement, Step, StepState,
};
use crate::metadata::{FileRecord, MetadataError};
use crate::providers::{Key, Provider, ProviderError};

/// What a recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryReport {
    /// Runs whose processes had died.
    pub runs: u64,
    /// Steps that were finished.
    pub finished: u64,
    /// Steps that were given up, everything as before.
    pub given_up: u64,
    /// Uploads that left nothing, or had become records.
    pub withdrawn: u64,
    /// Uploads whose objects went to the trash.
    pub trashed: u64,
    /// What has to wait for another recovery, and why.
    pub left: Vec<String>,
}

impl RecoveryReport {
    /// Whether everything stands as it did: history is for what was changed, not for each time that nothing could be.
    const fn did_nothing(&self) -> bool {
        self.runs + self.finished + self.given_up + self.withdrawn + self.trashed == 0
    }

    /// What became of bytes and records; `None` where nothing did.
    fn told(&self) -> Option<String> {
        let parts = [
            (self.finished, "step", "finished"),
            (self.given_up, "step", "given up, everything as before"),
            (self.trashed, "upload", "without a record, to the trash"),
        ];
        let told = |(count, what, how): (u64, &str, &str)| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {what}{plural} {how}"))
        };
        let told: Vec<String> = parts.into_iter().filter_map(told).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// Ends what dead runs left on these providers; does and writes nothing where there is nothing.
///
/// # Errors
/// Where the database fails, or this process was away for so long that another one took over. A provider that does not
/// answer, or is held by a living run, is told of in the report and left to the next recovery.
///
/// # Cancellation
/// Safe: the next recovery goes on where this one was.
pub async fn recover(journal: &Journal, providers: &[Arc<Provider>]) -> Result<RecoveryReport, JournalError> {
    let mut seen = Remains::find(journal).await?;
    if seen.is_empty() {
        return Ok(RecoveryReport::default());
    }
    seen.confirm(&Remains::find(journal).await?);
    if seen.is_empty() {
        return Ok(RecoveryReport::default());
    }
    let dead: Vec<&str> = seen.dead.iter().map(|run| run.id.as_str()).collect();
    let run = journal.begin("storage:recover", json!({ "runs": dead })).await?;
    let mut recovery = Recovery {
        journal,
        claim: journal.claim().await?,
        run: &run,
        known: providers,
        held: HashMap::new(),
        report: RecoveryReport::default(),
    };
    recovery.end_runs(&seen.dead).await?;
    recovery.hold(&seen).await?;
    // What another recovery did before the leases were granted is done.
    let remains = Remains::find(journal).await?;
    // Steps first: that of a recovery which died may be about an upload whose intent is still there.
    for step in &remains.steps {
        recovery.step(step).await?;
    }
    for intent in &remains.intents {
        // On the heap, as few need it.
        Box::pin(recovery.upload(intent)).await?;
    }
    let report = std::mem::take(&mut recovery.report);
    let status = match report.left.as_slice() {
        [] => RunStatus::Done,
        _ => RunStatus::Partial,
    };
    if !(report.did_nothing() && run.discard().await?) {
        run.finish(status, json!(report)).await?;
    }
    for provider in recovery.held.values() {
        provider.sweep().await;
    }
    if let Some(told) = report.told() {
        tracing::warn!(
            "what earlier runs had left was ended first, by run {}: {told}",
            run.id()
        );
    }
    for left in &report.left {
        tracing::warn!("an interrupted run could not be recovered yet: {left}");
    }
    Ok(report)
}

/// Why a step stays as it is for now.
enum Stays {
    Provider(ProviderError),
    Journal(JournalError),
}

impl From<ProviderError> for Stays {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<JournalError> for Stays {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl From<MetadataError> for Stays {
    fn from(error: MetadataError) -> Self {
        Self::Journal(error.into())
    }
}

impl From<SidecarError> for Stays {
    fn from(error: SidecarError) -> Self {
        match error {
            SidecarError::Provider(error) => error.into(),
            SidecarError::Metadata(error) => error.into(),
        }
    }
}

/// How a step ends.
enum End {
    Finished,
    GivenUp(&'static str),
}

struct Recovery<'a> {
    journal: &'a Journal,
    run: &'a RunHandle,
    claim: Claim,
    known: &'a [Arc<Provider>],
    held: HashMap<String, Arc<Provider>>,
    report: RecoveryReport,
}

impl Recovery<'_> {
    /// A run that is ended can write no more steps and commit no more of its leases: should its process wake, it is
    /// fenced.
    async fn end_runs(&mut self, dead: &[Run]) -> Result<(), JournalError> {
        for run in dead {
            let summary = json!({ "recoveredBy": self.run.id() });
            let now = self.journal.clock.now();
            let ended = self
                .journal
                .store
                .finish_run(&run.id, RunStatus::Interrupted, &summary, now);
            match ended.await {
                Ok(()) => self.report.runs += 1,
                // Another recovery was faster, or it came to its end after all.
                Err(MetadataError::Fenced { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            reach("recover.after-end");
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|provider| provider.name == name)
    }

    async fn hold(&mut self, remains: &Remains) -> Result<(), JournalError> {
        let mut names = remains.providers();
        names.extend(remains.backups().into_iter().filter(|name| self.knows(name)));
        for name in names {
            let Some(provider) = self.known.iter().find(|provider| provider.name == name) else {
                let left = format!("provider {name} is not among those that this command works with");
                self.report.left.push(left);
                continue;
            };
            match self.run.lease(name).await {
                Ok(()) => {}
                Err(error @ JournalError::Held { .. }) => {
                    self.report.left.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error),
            }
            // A copied database has the unfinished work of the original, which is not its own to end.
            match secure(provider, &self.claim, Permit::default()).await {
                Ok(_) => {
                    self.held.insert(name.to_owned(), Arc::clone(provider));
                }
                Err(error) => self.report.left.push(error.to_string()),
            }
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), JournalError> {
        let end = match (step.action, self.held.get(&step.provider)) {
            (Action::Record, Some(provider)) if rewrites(step) => self.agree(step, provider).await,
            (Action::Record, _) if !rewrites(step) => self.judge(step).await,
            (Action::Move | Action::Migrate, Some(provider)) => {
                let Some(target) = self.held.get(step.to_provider.as_ref().unwrap_or(&step.provider)) else {
                    return Ok(());
                };
                self.run.check().await?;
                let settled = self.relocate(step, (provider, target)).await;
                return self.count(settled);
            }
            (_, Some(provider)) => {
                self.run.check().await?;
                self.finish(step, provider).await
            }
            (_, None) => return Ok(()),
        };
        let settled = match end {
            Ok(end) => self.settle(step, end).await,
            Err(stays) => Err(stays),
        };
        self.count(settled)
    }

    fn count(&mut self, settled: Result<bool, Stays>) -> Result<(), JournalError> {
        match settled {
            Ok(true) => self.report.finished += 1,
            Ok(false) => self.report.given_up += 1,
            Err(Stays::Provider(error)) => self.report.left.push(error.to_string()),
            Err(Stays::Journal(error)) => return Err(error),
        }
        Ok(())
    }

    /// A row that was to change has changed in the transaction that wrote the step down; its sidecar follows.
    async fn agree(&self, step: &Step, provider: &Provider) -> Result<End, Stays> {
        if let (Some(id), Some(before), Some(after)) = (&step.file_id, &step.before, &step.after) {
            let absent = Absent::after(before, after);
            sidecar::agree(provider, self.journal.store.as_ref(), id, absent).await?;
        }
        Ok(End::Finished)
    }

    /// A record that came or went has done so with the step, or has not: nothing is done to it any more.
    async fn judge(&self, step: &Step) -> Result<End, Stays> {
        let current = self.record(step.file_id.as_deref()).await?;
        Ok(if current == step.after {
            End::Finished
        } else {
            End::GivenUp("interrupted before its record was changed")
        })
    }

    /// Does to the object what the step meant to, where it is still what the step saw.
    async fn finish(&self, step: &Step, provider: &Provider) -> Result<End, Stays> {
        let (Some(key), Some(evidence)) = (&step.key, &step.evidence) else {
            return Ok(End::GivenUp("it does not say what it saw"));
        };
        let key = Key::from(key.as_str());
        let to = step.to_key.as_deref().map(Key::from);
        let end = match (step.action, to) {
            (Action::Purge, _) => self.purge(step, provider, (&key, evidence)).await?,
            (Action::Trash, Some(to)) => self.trash(step, provider, (&key, &to, evidence)).await?,
            (Action::Restore, Some(to)) => moved(objects::put_back(provider, &key, &to, evidence).await?),
            _ => End::GivenUp("it does not say where to"),
        };
        reach("recover.after-act");
        Ok(end)
    }

    async fn trash(
        &self,
        step: &Step,
        provider: &Provider,
        (key, to, evidence): (&Key, &Key, &Evidence),
    ) -> Result<End, Stays> {
        if self.is_recorded(step).await? {
            // Somebody put the record back: it is to have its bytes.
            objects::put_back(provider, to, key, evidence).await?;
            return Ok(End::GivenUp("its record is there"));
        }
        Ok(moved(objects::move_object(provider, key, to, evidence).await?))
    }

    async fn purge(
        &self,
        step: &Step,
        provider: &Provider,
        (key, evidence): (&Key, &Evidence),
    ) -> Result<End, Stays> {
        if self.is_recorded(step).await? {
            return Ok(End::GivenUp("its record is there"));
        }
        Ok(match objects::purge(provider, key, evidence).await? {
            PurgeOutcome::Purged | PurgeOutcome::AlreadyGone => End::Finished,
            PurgeOutcome::Changed => End::GivenUp(CHANGED),
        })
    }

    /// Whether the file that the step takes away has a record, and can get none by an upload any more.
    async fn is_recorded(&self, step: &Step) -> Result<bool, Stays> {
        if let (None, Some(id)) = (&step.before, &step.file_id) {
            self.journal
                .store
                .withdraw_intents(std::slice::from_ref(id))
                .await?;
            reach("recover.after-withdrawal");
        }
        Ok(self.record(step.file_id.as_deref()).await?.is_some())
    }

    async fn record(&self, id: Option<&str>) -> Result<Option<FileRecord>, MetadataError> {
        match id {
            Some(id) => self.journal.store.get(id).await,
            None => Ok(None),
        }
    }

    /// Whether the step was finished rather than given up.
    async fn settle(&self, step: &Step, end: End) -> Result<bool, Stays> {
        let current = self.record(step.file_id.as_deref()).await?;
        let why = match end {
            End::GivenUp(why) => why,
            End::Finished => {
                let why = match rows::forward((step.before.as_ref(), step.after.as_ref()), current.as_ref()) {
                    Ok(change) => {
                        if self.settles(step, None, change).await? {
                            return Ok(true);
                        }
                        "its record was changed meanwhile"
                    }
                    Err(why) => why,
                };
                self.take_back(step, current.as_ref()).await?;
                why
            }
        };
        let change = rows::back(step, current.as_ref());
        let with_change = change.is_some();
        if !self.settles(step, Some(why), change).await? && with_change {
            self.settles(step, Some(why), None).await?;
        }
        Ok(false)
    }

    /// An object that came into use without its row goes back to where it was, unless a row says that it is in use.
    async fn take_back(&self, step: &Step, current: Option<&FileRecord>) -> Result<(), Stays> {
        let in_use = current
            .zip(step.after.as_ref())
            .is_some_and(|(current, after)| current.provider_path == after.provider_path);
        let provider = self.held.get(&step.provider);
        if let (Some(provider), Some(key), Some(to), Some(evidence)) =
            (provider, &step.key, &step.to_key, &step.evidence)
            && step.action == Action::Restore
            && !in_use
        {
            let (key, to) = (Key::from(key.as_str()), Key::from(to.as_str()));
            objects::put_back(provider, &to, &key, evidence).await?;
        }
        Ok(())
    }

    async fn settles(
        &self,
        step: &Step,
        why: Option<&str>,
        change: Option<RecordChange>,
    ) -> Result<bool, MetadataError> {
        let state = why.map_or(StepState::Settled, |_| StepState::Failed);
        let made = self
            .tell(
                step,
                Settlement {
                    number: step.number,
                    state,
                    error: why.map(str::to_owned),
                    change,
                },
            )
            .await?;
        reach("recover.after-settle");
        Ok(made)
    }

    async fn tell(&self, step: &Step, settlement: Settlement) -> Result<bool, MetadataError> {
        let now = self.journal.clock.now();
        let settled = self
            .journal
            .store
            .settle_steps(&step.run_id, std::slice::from_ref(&settlement), now);
        Ok(settled.await?.first() == Some(&true))
    }
}

const CHANGED: &str = "the object is no longer what it was";

const fn moved(outcome: MoveOutcome) -> End {
    match outcome {
        MoveOutcome::Moved | MoveOutcome::AlreadyThere => End::Finished,
        MoveOutcome::Changed => End::GivenUp(CHANGED),
        MoveOutcome::Missing => End::GivenUp("the object is gone"),
        MoveOutcome::TargetTaken => End::GivenUp("something else stands where it was to go"),
    }
}

fn text(key: &Key) -> String {
    key.as_str().unwrap_or_default().to_owned()
}

/// The step as it was written down.
fn written(run_id: &str, number: u64, step: NewStep, now: DateTime<Utc>) -> Step {
    Step {
        run_id: run_id.to_owned(),
        number,
        action: step.action,
        state: StepState::Intended,
        provider: step.provider,
        key: step.key,
        to_key: step.to_key,
        to_provider: step.to_provider,
        evidence: step.evidence,
        file_id: step.file_id,
        before: step.before,
        after: step.after,
        undoes: step.undoes,
        error: None,
        changed_at: now,
    }
}
