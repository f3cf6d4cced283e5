//! A run under way: seen alive by a heartbeat, fenced off once it has lost its hold, ended by its owner or by recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::{Journal, JournalError, is_dead};
use crate::metadata::MetadataError;
use crate::metadata::journal::{Copy, Intended, LeaseGrant, NewRun, NewStep, RunStatus, Settlement, Stepped};
use crate::metadata::quota::Limits;

const BEAT: Duration = Duration::from_secs(10);

/// What a run works with. Dropping it without [`RunHandle::finish`] ends the heartbeat and nothing else: the run stands
/// as running and is recovered once it is seen to be dead.
#[derive(Debug)]
pub struct RunHandle {
    id: String,
    journal: Journal,
    lost: Arc<AtomicBool>,
    heart: JoinHandle<()>,
}

impl Drop for RunHandle {
    fn drop(&mut self) {
        self.heart.abort();
    }
}

impl Journal {
    /// Writes a run down and keeps it alive, on the runtime that this is called on. `request` is what was asked, without
    /// secrets.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn begin(&self, operation: &str, request: Value) -> Result<RunHandle, JournalError> {
        let now = self.clock.now();
        let random = Uuid::new_v4().simple().to_string();
        let run = NewRun {
            // Sorts by time, and names a directory in the trash.
            id: format!("{}-{}", now.format("%Y%m%dT%H%M%S"), &random[..8]),
            operation: operation.to_owned(),
            actor: self.actor.clone(),
            owner: self.owner.clone(),
            request,
            now,
        };
        self.store.begin_run(&run).await?;
        let lost = Arc::new(AtomicBool::new(false));
        let heart = tokio::spawn(beat(self.clone(), run.id.clone(), Arc::clone(&lost)));
        Ok(RunHandle {
            id: run.id,
            journal: self.clone(),
            lost,
            heart,
        })
    }
}

/// A beat that fails is no loss by itself: the next may get through before the lease has run out, and the database says
/// so if it does not.
async fn beat(journal: Journal, run_id: String, lost: Arc<AtomicBool>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match journal.store.beat(&run_id, journal.clock.now()).await {
            Ok(true) => {}
            Ok(false) => {
                lost.store(true, Ordering::SeqCst);
                return;
            }
            Err(error) => tracing::warn!("run {run_id} could not be renewed: {error}"),
        }
    }
}

impl RunHandle {
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where else the bytes of these files are.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn copies(&self, file_ids: &[String]) -> Result<Vec<(String, Copy)>, JournalError> {
        Ok(self.journal.store.copies(file_ids).await?)
    }

    /// Writes down where else the bytes of files are that have a record.
    ///
    /// # Errors
    /// Where the run is lost, or the database fails.
    pub async fn remember_copies(&self, copies: &[(String, Copy)]) -> Result<(), JournalError> {
        self.check().await?;
        Ok(self.journal.store.remember_copies(copies).await?)
    }

    /// Takes the provider for this run alone, until its end.
    ///
    /// # Errors
    /// [`JournalError::Held`] where a run that is not known to be dead has it.
    pub async fn lease(&self, provider: &str) -> Result<(), JournalError> {
        self.not_lost()?;
        let now = self.journal.clock.now();
        let unfinished = self.journal.store.unfinished_runs().await?;
        let dead: Vec<String> = unfinished
            .into_iter()
            .filter(|run| is_dead(run, now))
            .map(|run| run.id)
            .collect();
        let grant = self
            .journal
            .store
            .acquire_lease(&self.id, provider, &dead, now)
            .await?;
        match grant {
            LeaseGrant::Granted(_) => Ok(()),
            LeaseGrant::Held(run) => Err(JournalError::Held {
                provider: provider.to_owned(),
                run,
            }),
        }
    }

    /// Makes sure that the run and all its leases are still its own, and renews them; asked before each batch.
    ///
    /// # Errors
    /// [`MetadataError::Fenced`] where they are not.
    pub async fn check(&self) -> Result<(), JournalError> {
        self.not_lost()?;
        let kept = self
            .journal
            .store
            .beat(&self.id, self.journal.clock.now())
            .await?;
        self.lost.fetch_or(!kept, Ordering::SeqCst);
        self.not_lost()
    }

    /// Writes steps down, with the changes of rows that belong to them; one answer each.
    ///
    /// # Errors
    /// [`MetadataError::Fenced`] where the run or its lease on one of the providers is lost; nothing is written then.
    pub async fn intend(&self, steps: Vec<NewStep>) -> Result<Vec<Intended>, JournalError> {
        self.not_lost()?;
        let now = self.journal.clock.now();
        Ok(self.journal.store.intend_steps(&self.id, steps, now).await?)
    }

    /// The same, where a file that comes to another folder has to find room there.
    ///
    /// # Errors
    /// As [`Self::intend`].
    pub async fn intend_within(
        &self,
        steps: Vec<NewStep>,
        limits: &Limits,
    ) -> Result<Vec<Stepped>, JournalError> {
        self.not_lost()?;
        let now = self.journal.clock.now();
        let store = &self.journal.store;
        Ok(store.intend_steps_within(&self.id, steps, limits, now).await?)
    }

    /// Settles steps; `false` where a change conflicted or somebody else settled the step.
    ///
    /// # Errors
    /// Where the database fails. A run that has lost its hold settles nothing: whoever took over does.
    pub async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<bool>, JournalError> {
        self.not_lost()?;
        let now = self.journal.clock.now();
        Ok(self
            .journal
            .store
            .settle_steps(&self.id, &settlements, now)
            .await?)
    }

    /// Ends the run and gives back what it holds.
    ///
    /// # Errors
    /// [`MetadataError::Fenced`] where another process ended it before.
    pub async fn finish(&self, status: RunStatus, summary: Value) -> Result<(), JournalError> {
        self.heart.abort();
        let now = self.journal.clock.now();
        Ok(self
            .journal
            .store
            .finish_run(&self.id, status, &summary, now)
            .await?)
    }

    /// Takes the run out of history again where it wrote no step down; whether it did. One that did is to be finished.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn discard(&self) -> Result<bool, JournalError> {
        Ok(self.journal.store.discard_run(&self.id).await?)
    }

    fn not_lost(&self) -> Result<(), JournalError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(MetadataError::Fenced { run: self.id.clone() }.into());
        }
        Ok(())
    }
}
