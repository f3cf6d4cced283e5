//! The reading side of a journal that also writes: it tells what any reader of the database is told.

use std::collections::HashMap;

use async_trait::async_trait;

use super::SqliteJournal;
use crate::metadata::journal::{
    Copy, JournalReader, PartSums, Run, RunQuery, ServedWarning, Step, StepQuery, StepState, UploadIntent,
};
use crate::metadata::quota::{Ledger, Limits};
use crate::metadata::{KeptReport, NewReport, Result, TrashRow};
use crate::metrics::Snapshot;

#[async_trait]
impl JournalReader for SqliteJournal {
    async fn run(&self, run_id: &str) -> Result<Option<Run>> {
        self.store.run(run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<Run>> {
        self.store.runs(query).await
    }

    async fn unfinished_runs(&self) -> Result<Vec<Run>> {
        self.store.unfinished_runs().await
    }

    async fn intents(&self) -> Result<Vec<UploadIntent>> {
        self.store.intents().await
    }

    async fn checksums(&self, file_ids: &[String]) -> Result<HashMap<String, String>> {
        self.store.checksums(file_ids).await
    }

    async fn part_sums(&self, file_id: &str) -> Result<Option<PartSums>> {
        self.store.part_sums(file_id).await
    }

    async fn copies(&self, file_ids: &[String]) -> Result<Vec<(String, Copy)>> {
        self.store.copies(file_ids).await
    }

    async fn notes(&self, topic: &str) -> Result<Vec<(String, String)>> {
        self.store.notes(topic).await
    }

    async fn steps(&self, query: &StepQuery) -> Result<Vec<Step>> {
        self.store.steps(query).await
    }

    async fn warnings(&self, file_ids: &[String]) -> Result<Vec<ServedWarning>> {
        self.store.warnings(file_ids).await
    }

    async fn known_installation(&self) -> Result<Option<String>> {
        self.store.known_installation().await
    }

    async fn tally(&self, run_ids: &[String]) -> Result<Vec<(String, StepState, u64)>> {
        self.store.tally(run_ids).await
    }

    async fn trash_usage(&self) -> Result<Vec<TrashRow>> {
        self.store.trash_usage().await
    }

    async fn kept_report(&self, request: &str) -> Result<KeptReport> {
        self.store.kept_report(request).await
    }

    async fn levels(&self, limits: &Limits, folders: &[String], ended: &[String]) -> Result<Ledger> {
        self.store.levels(limits, folders, ended).await
    }

    async fn metrics(&self) -> Result<Snapshot> {
        self.store.metrics().await
    }

    async fn keep_report(&self, report: &NewReport) -> Result<bool> {
        self.store.keep_report(report).await
    }
}
