//! A run of `--apply` from its lease to its last batch.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::super::finding::Kind;
use super::super::plan::Plan;
use super::super::report::{Mode, Skipped, Warning};
use super::super::{Cleanup, CleanupRequest, Desk, ScanError, Wanted, run as compare};
use super::outcome::Outcome;
use super::{BATCH, Refusal, multipart, objects, records, refusals, sizes};
use crate::engine::Interrupt;
use crate::engine::journal::{Journal, JournalError, RunHandle, recover};
use crate::engine::ownership::{self, Permit};
use crate::failpoint::reach;
use crate::metadata::MetadataError;
use crate::metadata::journal::RunStatus;
use crate::providers::{Provider, ProviderError};

/// What to apply, and how.
#[derive(Debug)]
pub struct ApplyRequest {
    /// What to compare; its kinds are those that are acted on.
    pub cleanup: CleanupRequest,
    pub repair_sizes: bool,
    /// Skip the trash.
    pub purge: bool,
    /// Rules that the operator overrides.
    pub overrides: Vec<String>,
    /// Only what is in here, too.
    pub plan: Option<Plan>,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] std::io::Error),
}

/// A comparison under lease: nothing is changed yet.
#[derive(Debug)]
pub struct Prepared {
    pub cleanup: Cleanup,
    request: ApplyRequest,
    run: RunHandle,
    /// Items of the plan that are found no more.
    changed: Skipped,
}

/// Recovers what dead runs left, takes the providers, compares, and looks whose the providers are.
///
/// # Errors
/// Where another run holds a provider, and where the database fails. A provider that could not be compared is told
/// by [`Cleanup::failures`].
///
/// # Cancellation
/// Nothing is changed before [`Prepared::apply`]; a run that is dropped is recovered by the next.
pub async fn prepare(
    desk: Desk<'_>,
    journal: &Journal,
    mut request: ApplyRequest,
    asked: serde_json::Value,
) -> Result<Prepared, ApplyError> {
    recover(journal, &request.cleanup.providers).await?;
    let run = journal.begin("storage:cleanup", asked).await?;
    request.cleanup.run_id = run.id().to_owned();
    match look(desk, &run, &request).await {
        Ok((cleanup, changed)) => Ok(Prepared {
            cleanup,
            request,
            run,
            changed,
        }),
        // Nothing was begun: the run that holds the provider is the one that history tells of.
        Err(error @ ApplyError::Journal(JournalError::Held { .. })) => {
            run.discard().await?;
            Err(error)
        }
        Err(error) => {
            let why = serde_json::json!({ "error": error.to_string() });
            run.finish(RunStatus::Failed, why).await?;
            Err(error)
        }
    }
}

async fn look(
    desk: Desk<'_>,
    run: &RunHandle,
    request: &ApplyRequest,
) -> Result<(Cleanup, Skipped), ApplyError> {
    for provider in &request.cleanup.providers {
        run.lease(&provider.name).await?;
    }
    reach("cleanup.after-lease");
    let mut cleanup = compare(desk, &request.cleanup).await?;
    cleanup.report.mode = Mode::Apply;
    let mut changed = Skipped::default();
    if let Some(plan) = request.plan.as_ref().filter(|_| cleanup.failures.is_empty()) {
        (cleanup.findings, changed) = plan.narrow(&cleanup.findings)?;
        cleanup.judge_caps(request.cleanup.caps)?;
    }
    Ok((cleanup, changed))
}

/// How far a run came.
#[derive(Debug)]
pub enum End {
    /// Every finding had its turn.
    Whole,
    /// The operator stopped it between two batches.
    Interrupted,
    /// What follows had no turn.
    Failed(ApplyError),
}

impl Prepared {
    /// The rules that forbid going on.
    #[must_use]
    pub fn refusals(&self) -> Option<Refusal> {
        refusals(&self.cleanup.report.warnings, &self.request.overrides)
    }

    /// Items that would be changed.
    #[must_use]
    pub fn changes(&self) -> u64 {
        let repairs = |repairs: u64| if self.request.repair_sizes { repairs } else { 0 };
        self.cleanup
            .wanted
            .iter()
            .map(|w| w.deletions() + w.uploads + repairs(w.repairs))
            .sum()
    }

    /// Ends the run with nothing changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn leave(self, status: RunStatus, why: &str) -> Result<Cleanup, ApplyError> {
        self.run.finish(status, serde_json::json!({ "why": why })).await?;
        Ok(self.cleanup)
    }

    /// Does what was found, batch by batch, until the end or until the operator stops it.
    ///
    /// # Errors
    /// Where the run cannot be ended in the database. What else fails is in [`End`], beside what was done.
    ///
    /// # Cancellation
    /// What is written down and not settled is ended by the next run.
    pub async fn apply(self, desk: Desk<'_>, interrupt: &Interrupt) -> Result<(Cleanup, End), ApplyError> {
        let Self {
            mut cleanup,
            request,
            run,
            changed,
        } = self;
        let mut work = Work {
            desk,
            request: &request,
            run: &run,
            outcome: Outcome {
                skipped: changed,
                ..Outcome::default()
            },
        };
        desk.progress.start(
            "Cleaning",
            Some(cleanup.wanted.iter().map(Wanted::deletions).sum()),
        );
        let end = work.all(&cleanup, interrupt).await.unwrap_or_else(End::Failed);
        desk.progress.finish();
        let outcome = work.outcome;
        let status = status(&end, &outcome);
        let summary = serde_json::json!({
            "cleaned": outcome.cleaned,
            "skipped": outcome.skipped,
            "repaired": outcome.repaired,
            "takenOver": outcome.taken_over,
            "errors": outcome.error_summary.total_errors,
        });
        cleanup.report.cleaned = outcome.cleaned;
        cleanup.report.taken_over = outcome.taken_over;
        cleanup.report.skipped = Some(outcome.skipped);
        cleanup.report.repaired = Some(outcome.repaired);
        cleanup.report.error_summary.merge(outcome.error_summary);
        cleanup.findings.append(&outcome.errors)?;
        // A run with steps that nobody has settled is left as it is: the next one finds it dead and recovers it.
        if !matches!(end, End::Failed(_)) && !outcome.open {
            run.finish(status, summary).await?;
        }
        Ok((cleanup, end))
    }
}

fn status(end: &End, outcome: &Outcome) -> RunStatus {
    match end {
        End::Interrupted => RunStatus::Interrupted,
        End::Failed(_) => RunStatus::Failed,
        End::Whole if outcome.error_summary.total_errors > 0 => RunStatus::Partial,
        End::Whole => RunStatus::Done,
    }
}

/// In this order: a sidecar goes with its orphaned record, where both are.
const KINDS: [Kind; 5] = [
    Kind::OrphanedObjects,
    Kind::OrphanedRecords,
    Kind::Sidecars,
    Kind::Multipart,
    Kind::Mismatches,
];

/// What the batches share.
pub struct Work<'a> {
    pub desk: Desk<'a>,
    pub request: &'a ApplyRequest,
    pub run: &'a RunHandle,
    pub outcome: Outcome,
}

impl Work<'_> {
    pub fn provider(&self, name: &str) -> Option<Arc<Provider>> {
        let mut all = self.request.cleanup.providers.iter();
        all.find(|provider| provider.name == name).cloned()
    }

    /// An item that a provider's error left as it is.
    pub fn failed(&mut self, item: &str, error: &ProviderError) -> Result<(), ApplyError> {
        Ok(self.outcome.fail(item, error, error.code())?)
    }

    /// An object, or a sidecar by itself, is away.
    pub fn cleaned(&mut self, sidecar: bool, size: u64) {
        let cleaned = &mut self.outcome.cleaned;
        if sidecar {
            cleaned.sidecars += 1;
        } else {
            cleaned.objects += 1;
            cleaned.bytes = cleaned.bytes.saturating_add(size);
        }
    }

    /// One that changed since it was judged is where it was.
    pub const fn left(&mut self, sidecar: bool) {
        let skipped = &mut self.outcome.skipped;
        if sidecar {
            skipped.sidecars += 1;
        } else {
            skipped.objects += 1;
        }
    }

    async fn all(&mut self, cleanup: &Cleanup, interrupt: &Interrupt) -> Result<End, ApplyError> {
        self.claim(cleanup).await?;
        let mut done = 0;
        for kind in KINDS {
            if kind == Kind::Mismatches && !self.request.repair_sizes {
                continue;
            }
            let mut lines = cleanup.findings.lines(kind);
            loop {
                let batch: Vec<Vec<u8>> = lines.by_ref().take(BATCH).collect::<Result<_, _>>()?;
                if batch.is_empty() {
                    break;
                }
                if interrupt.is_requested() {
                    return Ok(End::Interrupted);
                }
                reach("cleanup.before-batch");
                self.run.check().await?;
                self.batch(kind, &batch).await?;
                done += batch.len() as u64;
                self.desk.progress.advance(done, &cleanup.report.run_id);
            }
        }
        Ok(End::Whole)
    }

    async fn batch(&mut self, kind: Kind, lines: &[Vec<u8>]) -> Result<(), ApplyError> {
        match kind {
            Kind::OrphanedObjects => objects::batch(self, read(lines)?).await,
            Kind::OrphanedRecords => records::batch(self, read(lines)?).await,
            Kind::Sidecars => objects::sidecars(self, read(lines)?).await,
            Kind::Multipart => multipart::batch(self, read(lines)?).await,
            _ => sizes::batch(self, read(lines)?).await,
        }
    }

    /// Makes the providers ours. One that is another's was overridden, and is taken over.
    async fn claim(&mut self, cleanup: &Cleanup) -> Result<(), ApplyError> {
        let claim = &self.request.cleanup.claim;
        for wanted in &cleanup.wanted {
            let speaks =
                |warning: &&Warning| warning.rule == ownership::RULE && warning.provider == wanted.provider;
            let told = cleanup.report.warnings.iter().find(speaks);
            if let Some(provider) = self.provider(&wanted.provider)
                && (told.is_some() || wanted.deletions() + wanted.uploads > 0)
            {
                let permit = Permit {
                    told: told.map(|warning| warning.message.as_str()),
                    bare: false,
                };
                let taken = ownership::secure(&provider, claim, permit).await?;
                self.outcome.taken_over.extend(taken);
            }
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(lines: &[Vec<u8>]) -> Result<Vec<T>, std::io::Error> {
    let items = lines.iter().map(|line| serde_json::from_slice(line));
    Ok(items.collect::<Result<_, _>>()?)
}
