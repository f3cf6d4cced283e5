//! The writing side of the metadata store: runs, leases, upload intents and the steps of destructive work.
//!
//! One form serves crash recovery, resume, history, trash and undo: every item of destructive work is a [`Step`] of
//! a run, written down before anything is touched and settled after. A change to `storage_files` is made in the
//! same transaction that writes the step down, in the one that settles it, or in one that finds it still intended;
//! never by itself. The trash is the settled steps whose bytes can still be brought back: what was deleted, and what a migration left behind.

mod asked;

mod names;
mod sums;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::Snapshot;

use super::quota::{Admission, Ledger, Level, Limits, Shortage};
use super::{FileRecord, KeptReport, MetadataStore, NewReport, Result, TrashRow};

pub use asked::{RunQuery, ServedWarning};
pub use sums::PartSums;

/// The process that does a run. Two owners are the same process only if all three agree: a process id alone is
/// given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub host: String,
    pub pid: u32,
    /// What tells this process from a later one of the same id: boot and start time, as the system says them.
    pub process: String,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Under way, or its process died: the owner and the last beat tell.
    Running,
    Done,
    /// Some items failed.
    Partial,
    Failed,
    /// Stopped by the operator, or found dead and recovered.
    Interrupted,
}

/// A run to be written down.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: String,
    /// `storage:delete` and the like.
    pub operation: String,
    /// Who asked: a user name, where one is known.
    pub actor: Option<String>,
    pub owner: Owner,
    /// What was asked, as JSON, without secrets.
    pub request: Value,
    pub now: DateTime<Utc>,
}

/// A run as `storage:runs` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub id: String,
    pub operation: String,
    pub status: RunStatus,
    pub actor: Option<String>,
    pub owner: Owner,
    pub request: Value,
    pub summary: Option<Value>,
    pub started_at: DateTime<Utc>,
    /// Last sign of life.
    pub beat_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// A provider held for destructive work by one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub provider: String,
    pub run_id: String,
    /// Grows with every grant: a holder that slept through its lease has an old one.
    pub token: i64,
    pub expires_at: DateTime<Utc>,
}

/// The answer to a request for a lease.
#[derive(Debug, Clone, PartialEq)]
pub enum LeaseGrant {
    Granted(Lease),
    /// Held by a run that is not known to be dead.
    Held(Box<Run>),
}

/// An upload that has begun: what to undo should its process die.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadIntent {
    /// The file's id, which its record will have.
    pub file_id: String,
    pub run_id: String,
    pub provider: String,
    pub key: String,
    pub size: u64,
    pub owner: Owner,
    pub renewed_at: DateTime<Utc>,
    /// Providers that are to have a copy, at the same key.
    pub copies: Vec<String>,
}

impl UploadIntent {
    /// The folder that the file will be in.
    #[must_use]
    pub fn folder(&self) -> Option<&str> {
        self.key.rsplit_once('/').map(|(folder, _)| folder)
    }
}

/// A file whose bytes are there: its record, and what was seen of its content on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub record: FileRecord,
    /// Lower-case hex.
    pub sha256: String,
    pub parts: Option<PartSums>,
    /// Where else they are.
    pub copies: Vec<Copy>,
}

/// A file's bytes on a provider that keeps backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    pub provider: String,
    pub key: String,
}

/// What a step does to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The object (and its sidecar) goes from `key` to `to_key` in the trash.
    Trash,
    /// The object goes for good.
    Purge,
    /// The object goes from `key` to `to_key`, both in use: it is copied, the row is switched while the step stays
    /// intended, and then it goes from `key`. While it is intended, no other step of the file is written down.
    Move,
    /// As [`Action::Move`], from `key` of `provider` to `to_key` of `to_provider`; but at `key` it goes to the trash of the
    /// run, from which an undo takes it.
    Migrate,
    /// The object comes back from `key` in the trash to `to_key`.
    Restore,
    /// Only the record changes.
    Record,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Written down; the object may or may not have been touched.
    Intended,
    Settled,
    /// Given up, with everything as it was before.
    Failed,
    /// A later run put back what this one took.
    Undone,
    /// Its trash was emptied: it cannot be undone any more.
    Emptied,
}

/// What was known of an object when the step was decided; it is touched only while this still holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Bytes.
    pub size: u64,
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
}

/// A change to `storage_files`, made by compare-and-swap on the whole row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordChange {
    Remove {
        expected: Box<FileRecord>,
    },
    /// Refused where the id is taken.
    Insert {
        record: Box<FileRecord>,
    },
    Replace {
        expected: Box<FileRecord>,
        record: Box<FileRecord>,
    },
}

/// A step to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStep {
    pub action: Action,
    pub provider: String,
    /// Where the object is; `None` for [`Action::Record`].
    pub key: Option<String>,
    pub to_key: Option<String>,
    /// Where `to_key` is, where that is another provider or may be one: [`Action::Migrate`] alone.
    pub to_provider: Option<String>,
    pub evidence: Option<Evidence>,
    pub file_id: Option<String>,
    /// The row before; what undo puts back.
    pub before: Option<FileRecord>,
    /// The row after, where it changes rather than goes.
    pub after: Option<FileRecord>,
    /// Made in the transaction that writes the step down.
    pub change: Option<RecordChange>,
    /// The step of an earlier run that this one undoes: (run, number).
    pub undoes: Option<(String, u64)>,
}

/// A step as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub run_id: String,
    /// From 1, in the order they were written down.
    pub number: u64,
    pub action: Action,
    pub state: StepState,
    pub provider: String,
    pub key: Option<String>,
    pub to_key: Option<String>,
    /// Where `to_key` is, where that is another provider or may be one: [`Action::Migrate`] alone.
    pub to_provider: Option<String>,
    pub evidence: Option<Evidence>,
    pub file_id: Option<String>,
    pub before: Option<FileRecord>,
    pub after: Option<FileRecord>,
    pub undoes: Option<(String, u64)>,
    /// Why it failed.
    pub error: Option<String>,
    pub changed_at: DateTime<Utc>,
}

/// What became of a step that was to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intended {
    /// Its number; its record change is made.
    Written(u64),
    /// The row is not what was expected (or not there), or another step of the file is under way: nothing was written.
    Conflict,
}

impl NewStep {
    /// The folder that the step brings its file to from another one, and the file's recorded bytes.
    #[must_use]
    pub fn arrival(&self) -> Option<(&str, u64)> {
        let (before, after) = (self.before.as_ref()?, self.after.as_ref()?);
        let moves = matches!(self.action, Action::Move | Action::Migrate) && before.folder != after.folder;
        moves.then(|| (after.folder.as_str(), u64::try_from(before.size).unwrap_or(0)))
    }
}

/// The same where there has to be room for what the step brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stepped {
    pub intended: Intended,
    /// With [`Intended::Conflict`]: why the step was refused. Else it was written down though there is no room.
    pub shortage: Option<Shortage>,
}

/// What became of uploads that asked for room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admissions {
    /// One for each, in order.
    pub answers: Vec<Admission>,
    /// How full everything is that has a limit, with what was let in.
    pub levels: Vec<Level>,
}

impl Admissions {
    /// Where nothing has a limit.
    #[must_use]
    pub fn all(count: usize) -> Self {
        Self {
            answers: vec![Admission::Fits; count],
            levels: Vec::new(),
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub number: u64,
    /// [`StepState::Intended`] for a step that goes on: its change is made while nobody else has ended it.
    pub state: StepState,
    pub error: Option<String>,
    /// Made in the same transaction; a conflict leaves the step as it was.
    pub change: Option<RecordChange>,
}

/// Which steps to read, ordered by run and number; or the other way round.
#[derive(Debug, Clone, Default)]
pub struct StepQuery {
    pub run_id: Option<String>,
    pub file_id: Option<String>,
    pub provider: Option<String>,
    pub states: Vec<StepState>,
    pub actions: Vec<Action>,
    /// The last first.
    pub descending: bool,
    /// Steps after this (run, number) in the order asked for, for reading page by page.
    pub after: Option<(String, u64)>,
    /// 0: all.
    pub limit: u64,
}

/// Reads. A database in which nothing was ever written down has no runs, steps or intents; nothing is made there.
#[async_trait]
pub trait JournalReader: MetadataStore {
    async fn run(&self, run_id: &str) -> Result<Option<Run>>;

    /// Newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<Run>>;

    /// Runs that stand as [`RunStatus::Running`], dead or not: the caller judges their owners.
    async fn unfinished_runs(&self) -> Result<Vec<Run>>;

    async fn intents(&self) -> Result<Vec<UploadIntent>>;

    /// Hex SHA-256 of these files' contents by their ids, where they are known.
    async fn checksums(&self, file_ids: &[String]) -> Result<HashMap<String, String>>;

    /// The same of one file.
    async fn checksum(&self, file_id: &str) -> Result<Option<String>> {
        let mut known = self.checksums(&[file_id.to_owned()]).await?;
        Ok(known.remove(file_id))
    }

    /// SHA-256 of the parts of this file's content, where they are known.
    async fn part_sums(&self, file_id: &str) -> Result<Option<PartSums>>;

    /// Copies of these files, each with its file's id.
    async fn copies(&self, file_ids: &[String]) -> Result<Vec<(String, Copy)>>;

    /// What was noted under a topic, ordered by name; see [`JournalStore::note`].
    async fn notes(&self, topic: &str) -> Result<Vec<(String, String)>>;

    async fn steps(&self, query: &StepQuery) -> Result<Vec<Step>>;

    /// Warnings of these files that still stand. One that a run has acted on since is spent: what was brought back after
    /// that is warned of anew.
    async fn warnings(&self, file_ids: &[String]) -> Result<Vec<ServedWarning>>;

    /// The installation's id, where one was made; see [`JournalStore::installation`].
    async fn known_installation(&self) -> Result<Option<String>>;

    /// What the trash holds, by the folder that it was in.
    async fn trash_usage(&self) -> Result<Vec<TrashRow>>;

    /// The report that is kept of a question, while it is good as far as this program's own changes go.
    async fn kept_report(&self, request: &str) -> Result<KeptReport>;

    /// How full these folders are, and all of them together, also where there is no limit.
    async fn levels(&self, limits: &Limits, folders: &[String], ended: &[String]) -> Result<Ledger>;

    /// What all processes have counted since the last reset.
    async fn metrics(&self) -> Result<Snapshot>;

    /// Keeps a report, and changes nothing else. `false` where it is not kept: the database may not be written to, no
    /// command that writes was ever run on it, or somebody else is writing.
    async fn keep_report(&self, report: &NewReport) -> Result<bool>;

    /// How many steps of each of these runs stand how; runs without steps are left out.
    async fn tally(&self, run_ids: &[String]) -> Result<Vec<(String, StepState, u64)>>;
}

/// Writes. Opening one makes the `civic_storage_*` tables where they are missing. Every method is one transaction
/// (`BEGIN IMMEDIATE`, durable when it returns), short, and safe to repeat after an error; concurrent calls are
/// grouped into one commit. Dropping a future does not undo what was already sent to the writer.
#[async_trait]
pub trait JournalStore: JournalReader {
    async fn begin_run(&self, run: &NewRun) -> Result<()>;

    /// A sign of life: renews the run, its intents and its leases. `false` where one of its leases is lost.
    async fn beat(&self, run_id: &str, now: DateTime<Utc>) -> Result<bool>;

    /// Ends the run and gives its leases back.
    async fn finish_run(
        &self,
        run_id: &str,
        status: RunStatus,
        summary: &Value,
        now: DateTime<Utc>,
    ) -> Result<()>;

    /// Removes a run that changed nothing, and gives its leases back; one that wrote steps down or has ended stays.
    /// Whether it was removed.
    async fn discard_run(&self, run_id: &str) -> Result<bool>;

    /// Takes the provider for a run. A lease that has expired, or whose run is in `dead`, is taken over.
    async fn acquire_lease(
        &self,
        run_id: &str,
        provider: &str,
        dead: &[String],
        now: DateTime<Utc>,
    ) -> Result<LeaseGrant>;

    /// Whether the lease is still this run's; asked before each batch of deletions.
    async fn holds_lease(&self, lease: &Lease, now: DateTime<Utc>) -> Result<bool>;

    /// Writes those down for which there is room beside the records, each other, and everything that is under way; one
    /// answer each. Uploads in `ended` no longer count: their processes have certainly ended.
    async fn intend_uploads(
        &self,
        intents: &[UploadIntent],
        limits: &Limits,
        ended: &[String],
    ) -> Result<Admissions>;

    /// Inserts records and checksums and removes their intents. A file whose intent is gone (somebody recovered it)
    /// or whose id is taken is refused: the ids of those come back, the others are committed. With `together` one that is
    /// refused refuses all.
    async fn commit_uploads(&self, files: &[StoredFile], together: bool) -> Result<Vec<String>>;

    /// Removes intents whose uploads left nothing behind.
    async fn withdraw_intents(&self, file_ids: &[String]) -> Result<()>;

    /// One answer per step, in order. Fails as a whole where the run's lease on a step's provider is lost.
    async fn intend_steps(
        &self,
        run_id: &str,
        steps: Vec<NewStep>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Intended>>;

    /// The same, where a file that comes to another folder has to find room there.
    async fn intend_steps_within(
        &self,
        run_id: &str,
        steps: Vec<NewStep>,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stepped>>;

    /// One answer per settlement: whether it was made. A settlement that undoes another run's step marks that one
    /// [`StepState::Undone`] in the same transaction.
    async fn settle_steps(
        &self,
        run_id: &str,
        settlements: &[Settlement],
        now: DateTime<Utc>,
    ) -> Result<Vec<bool>>;

    /// Writes down where else files' bytes are, each with its file's id, unless there is no record of it.
    async fn remember_copies(&self, copies: &[(String, Copy)]) -> Result<()>;

    /// Notes values under their names, over what was noted there before: how far a long look has come.
    async fn note(&self, topic: &str, notes: &[(String, String)]) -> Result<()>;

    /// The same, where the value under `name` is the one that is expected, `None` being none; `false`, and nothing noted,
    /// where it is another.
    async fn note_where(
        &self,
        topic: &str,
        name: &str,
        expected: Option<&str>,
        notes: &[(String, String)],
    ) -> Result<bool>;

    /// The same, of one value in place of another.
    async fn swap_note(&self, topic: &str, name: &str, expected: Option<&str>, value: &str) -> Result<bool> {
        let note = (name.to_owned(), value.to_owned());
        self.note_where(topic, name, expected, &[note]).await
    }

    async fn forget_notes(&self, topic: &str) -> Result<()>;

    /// Writes down that warnings were sent, over what was sent before of the same file and policy.
    async fn serve_warnings(&self, warnings: &[ServedWarning]) -> Result<()>;

    /// Forgets the warnings of files that have no record any more: should one come back, it is warned of anew.
    async fn forget_warnings_of_none(&self) -> Result<()>;

    /// Forgets what was counted; how many series there were.
    async fn reset_metrics(&self) -> Result<u64>;

    /// The installation's id, made at the first call; what the ownership marker names.
    async fn installation(&self) -> Result<String>;
}
