//! `--apply`: does what the policies say. The order is recovery, judgement, leases, rules, question, then warnings,
//! archiving, deletion, batch by batch.
//!
//! A refusal comes before anything is changed or sent. In a batch every file is judged anew, by its row as it is then: what changed is
//! skipped and counted. Archiving is a migration, deletion a deletion, each step of theirs in the journal.

mod files;
mod warn;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

pub use warn::{Herald, Notice};

use super::LifecycleRequest;
use super::policy::{Policy, Verdict, decide};
use super::report::{Item, Kind, Mode};
use super::rules::caution;
use super::view::{View, by_file, subject, view};
use crate::engine::changes::{Changes, Sites};
use crate::engine::cleanup::{ApplyError, Refusal, Warning, refusals};
use crate::engine::journal::{Journal, JournalError, RunHandle, recover};
use crate::engine::list::owner;
use crate::engine::marker::Claim;
use crate::engine::ownership::{self, Permit};
use crate::engine::upload::Way;
use crate::engine::{Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{RunStatus, ServedWarning};
use crate::metadata::quota::Limits;
use crate::providers::ProviderError;

/// Files between two looks at the leases and the operator's wish to stop.
const BATCH: usize = 100;

/// What to apply, and how.
#[derive(Debug)]
pub struct ApplyRequest {
    pub lifecycle: LifecycleRequest,
    /// Rules that the operator overrides.
    pub overrides: Vec<String>,
    pub claim: Claim,
    /// Files archived at once.
    pub archived_at_once: usize,
    /// Files deleted at once.
    pub deleted_at_once: usize,
    pub way: Way,
    /// What folders may hold: also those that are archived to.
    pub limits: Limits,
}

/// A judgement under leases: nothing is changed yet.
#[derive(Debug)]
pub struct Prepared {
    pub view: View,
    /// Providers that could not be looked at, and why.
    pub failures: Vec<(String, ProviderError)>,
    request: ApplyRequest,
    run: RunHandle,
}

/// How far a run came.
#[derive(Debug)]
pub enum End {
    /// Every file had its turn.
    Whole,
    /// The operator stopped it between two batches.
    Interrupted,
    /// What follows had no turn.
    Failed(ApplyError),
}

/// Recovers what dead runs left, judges all files, and takes the providers that something is to be done with.
///
/// # Errors
/// Where another run holds a provider, and where the database fails. A provider that could not be looked at is told by
/// [`Prepared::failures`].
///
/// # Cancellation
/// Nothing is changed before [`Prepared::apply`]; a run that is dropped is recovered by the next.
pub async fn prepare(
    journal: &Journal,
    sites: &Sites,
    (mut request, asked): (ApplyRequest, Value),
    progress: &dyn Progress,
) -> Result<Prepared, ApplyError> {
    recover(journal, &sites.usable()).await?;
    let run = journal.begin("storage:lifecycle", asked).await?;
    run.id().clone_into(&mut request.lifecycle.run_id);
    match look((journal, &run), sites, &request, progress).await {
        Ok((view, failures)) => Ok(Prepared {
            view,
            failures,
            request,
            run,
        }),
        // Nothing was begun: the run that holds the provider is the one that history tells of.
        Err(error @ ApplyError::Journal(JournalError::Held { .. })) => {
            run.discard().await?;
            Err(error)
        }
        Err(error) => {
            let why = json!({ "error": error.to_string() });
            run.finish(RunStatus::Failed, why).await?;
            Err(error)
        }
    }
}

async fn look(
    (journal, run): (&Journal, &RunHandle),
    sites: &Sites,
    request: &ApplyRequest,
    progress: &dyn Progress,
) -> Result<(View, Vec<(String, ProviderError)>), ApplyError> {
    let lifecycle = &request.lifecycle;
    let mut view = view(&*journal.store, &sites.roots, lifecycle, progress).await?;
    view.report.mode = Mode::Apply;
    for leaving in view.leaving.iter().filter(|leaving| leaving.is_touched()) {
        run.lease(&leaving.provider).await?;
    }
    reach("lifecycle.after-lease");
    let against = (lifecycle.caps, lifecycle.clock);
    let failures = caution(&mut view, (sites, &request.claim), against).await;
    Ok((view, failures))
}

impl Prepared {
    /// The rules that forbid going on.
    #[must_use]
    pub fn refusals(&self) -> Option<Refusal> {
        refusals(&self.view.report.warnings, &self.request.overrides)
    }

    /// Ends the run with nothing changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn leave(self, status: RunStatus, why: &str) -> Result<View, ApplyError> {
        self.run.finish(status, json!({ "error": why })).await?;
        Ok(self.view)
    }

    /// Does what was found, until the end or until the operator stops it.
    ///
    /// # Errors
    /// Where the run cannot be ended in the database, or what was done cannot be told. What else fails is in [`End`],
    /// beside what was done; what was written down by then is ended by the next run.
    ///
    /// # Cancellation
    /// Safe in the same way. A warning that was sent and not written down is sent again.
    pub async fn apply(
        self,
        (journal, sites): (&Journal, &Sites),
        herald: &dyn Herald,
        (progress, interrupt): (&dyn Progress, &Interrupt),
    ) -> Result<(View, End), ApplyError> {
        let Self {
            mut view,
            request,
            run,
            ..
        } = self;
        let mut work = Work {
            journal,
            sites,
            run: &run,
            request: &request,
            interrupt,
            skipped: 0,
            warned: 0,
            unsent: Changes::default(),
            archived: Changes::default(),
            deleted: Changes::default(),
        };
        progress.start("Applying", Some(view.report.counts.acts()));
        let end = work.all(&mut view, herald, progress).await;
        let end = end.unwrap_or_else(End::Failed);
        progress.finish();
        work.report(&mut view)?;
        let report = &view.report;
        let status = match (&end, report.error_summary.total_errors) {
            // A run with steps that nobody has settled is left as it is: the next one finds it dead and recovers it.
            (End::Failed(_), _) => return Ok((view, end)),
            (End::Interrupted, _) => RunStatus::Interrupted,
            (End::Whole, 0) => RunStatus::Done,
            (End::Whole, _) if report.failed > 0 && report.done.acts() == 0 => RunStatus::Failed,
            (End::Whole, _) => RunStatus::Partial,
        };
        let summary = json!({
            "deleted": report.done.delete,
            "archived": report.done.archive,
            "warned": report.done.warn,
            "retained": report.done.retain,
            "waiting": report.waiting,
            "skipped": report.skipped,
            "errors": report.error_summary.total_errors,
            "takenOver": report.taken_over,
        });
        run.finish(status, summary).await?;
        Ok((view, end))
    }
}

/// Makes the providers ours that files leave or come to. One that is another's was overridden, and is taken over.
async fn claim(view: &mut View, sites: &Sites, request: &ApplyRequest) -> Result<(), ApplyError> {
    for leaving in &view.leaving {
        let Some(Ok(provider)) = sites.providers.get(&leaving.provider) else {
            continue;
        };
        let speaks =
            |warning: &&Warning| warning.rule == ownership::RULE && warning.provider == leaving.provider;
        let told = view.report.warnings.iter().find(speaks);
        if told.is_some() || leaving.deletions + leaving.archivals + leaving.arrivals > 0 {
            let permit = Permit {
                told: told.map(|warning| warning.message.as_str()),
                bare: false,
            };
            let taken = ownership::secure(provider, &request.claim, permit).await?;
            view.report.taken_over.extend(taken);
        }
    }
    Ok(())
}

/// What the batches share.
struct Work<'a> {
    journal: &'a Journal,
    sites: &'a Sites,
    run: &'a RunHandle,
    request: &'a ApplyRequest,
    interrupt: &'a Interrupt,
    /// Files that had changed, or were gone.
    skipped: u64,
    warned: u64,
    /// Warnings that did not reach everyone.
    unsent: Changes,
    archived: Changes,
    deleted: Changes,
}

/// A file whose turn it is, and the policy that has the say, judged now.
struct Turn {
    record: FileRecord,
    verdict: Verdict,
}

impl Work<'_> {
    /// What protects comes first.
    async fn all(
        &mut self,
        view: &mut View,
        herald: &dyn Herald,
        progress: &dyn Progress,
    ) -> Result<End, ApplyError> {
        claim(view, self.sites, self.request).await?;
        self.journal.store.forget_warnings_of_none().await?;
        let mut done = 0;
        for kind in [Kind::Warn, Kind::Archive, Kind::Delete] {
            let mut lines = view.items.lines(kind);
            loop {
                let lines: Vec<Vec<u8>> = lines.by_ref().take(BATCH).collect::<Result<_, _>>()?;
                if lines.is_empty() {
                    break;
                }
                if self.interrupt.is_requested() {
                    return Ok(End::Interrupted);
                }
                reach("lifecycle.before-batch");
                self.run.check().await?;
                let items: Vec<Item> = lines
                    .iter()
                    .map(|line| serde_json::from_slice(line))
                    .collect::<Result<_, _>>()
                    .map_err(std::io::Error::from)?;
                match kind {
                    Kind::Warn => self.warn(herald, &items).await?,
                    Kind::Archive => self.archive(&items).await?,
                    _ => self.delete(&items).await?,
                }
                done += items.len() as u64;
                progress.advance(done, &self.run.id());
                if self.stopped()? {
                    return Ok(End::Interrupted);
                }
            }
        }
        Ok(End::Whole)
    }

    /// Whether a batch was cut short by the operator.
    fn stopped(&mut self) -> Result<bool, ApplyError> {
        for changes in [&self.unsent, &self.archived, &self.deleted] {
            if let Some(lost) = changes.lost() {
                return Err(std::io::Error::new(lost.kind(), lost.to_string()).into());
            }
        }
        Ok(self.archived.interrupted || self.deleted.interrupted)
    }

    /// The files of these items as they are now, each with the verdict of that moment; `None` for those that are gone.
    async fn judge(&self, items: &[Item], now: DateTime<Utc>) -> Result<Vec<Option<Turn>>, ApplyError> {
        let lifecycle = &self.request.lifecycle;
        let ids: Vec<String> = items.iter().map(|item| item.id.clone()).collect();
        let records = self
            .journal
            .store
            .get_many(&ids)
            .await
            .map_err(JournalError::from)?;
        let served: HashMap<String, Vec<ServedWarning>> = by_file(&*self.journal.store, &ids).await?;
        let turn = |record: FileRecord| {
            let provider = owner(&record.provider_path, &self.sites.roots);
            let warnings = served.get(&record.id).map_or(&[][..], Vec::as_slice);
            let about = subject(&record, provider);
            let decision = decide(&lifecycle.policies, &about, warnings, now);
            let elsewhere = lifecycle
                .folder
                .as_ref()
                .is_some_and(|folder| *folder != record.folder);
            Turn {
                verdict: if elsewhere {
                    Verdict::Nothing
                } else {
                    decision.verdict
                },
                record,
            }
        };
        Ok(records.into_iter().map(|record| record.map(turn)).collect())
    }

    fn policy(&self, at: usize) -> &Policy {
        &self.request.lifecycle.policies[at]
    }

    fn report(self, view: &mut View) -> Result<(), ApplyError> {
        let report = &mut view.report;
        report.skipped = self.skipped;
        report.done.warn = self.warned;
        report.done.archive = self.archived.successful().len();
        report.done.delete = self.deleted.successful().len();
        report.done.retain = report.counts.retain;
        for changes in [&self.unsent, &self.archived, &self.deleted] {
            report.failed += changes.failed().len();
            report.error_summary.merge(changes.errors.clone());
            for line in changes.failed() {
                view.items.fail_line(&line?)?;
            }
        }
        Ok(())
    }
}
