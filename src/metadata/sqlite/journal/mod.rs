//! The journal in SQLite: the program's own tables `civic_storage_*` in CivicPress's database, and the only place that
//! changes rows of `storage_files`. It never creates a database, never alters a table of CivicPress's, and never changes
//! the journal mode of a database that has a WAL.
//!
//! One connection on one thread writes (see `writer`); reading goes the way of every other reader.

mod change;
mod copies;
mod history;
mod measures;
mod migrate;
mod notes;
mod quota;
mod reports;
mod runs;
mod steps;
#[cfg(test)]
mod tests;
mod trouble;
mod uploads;
mod values;
mod warnings;
mod writer;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use uuid::Uuid;

pub use self::measures::Patience;

use self::values::Answer;
use self::writer::Writer;
use super::SqliteStore;
use crate::metadata::journal::{
    Admissions, Copy, Intended, JournalReader, JournalStore, Lease, LeaseGrant, NewRun, NewStep, PartSums,
    Run, RunQuery, RunStatus, ServedWarning, Settlement, Step, StepQuery, StepState, Stepped, StoredFile,
    UploadIntent,
};
use crate::metadata::quota::{Ledger, Limits, Scope};
use crate::metadata::{
    FileRecord, KeptReport, ListQuery, MetadataStore, NewReport, ProviderRoots, RecordPage, RecordScan,
    Result, ScanScope, TrashRow, UsageDimension, UsageRow,
};
use crate::metrics::Snapshot;

/// Reads and writes. Cheap to clone; the last clone that is dropped waits for what was sent to be written.
#[derive(Clone)]
pub struct SqliteJournal {
    store: SqliteStore,
    writer: Arc<Writer>,
}

impl SqliteJournal {
    /// Opens an existing database and makes the program's tables in it where they are missing. Blocks for as long as
    /// the disk takes, and up to five seconds longer at each lock that another program holds.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; and [`crate::metadata::MetadataError::Failed`], which says so, where the database may
    /// not be written to, its disk is full, or a newer version of this program has migrated it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::beside(SqliteStore::open(path)?)
    }

    /// The same for a database that is open for reading already. No scan of `store` may be under way.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn beside(store: SqliteStore) -> Result<Self> {
        // Connections of one process share their index of the WAL, and those of a reader may not write to it.
        store.rest();
        let writer = Arc::new(Writer::start(store.path())?);
        Ok(Self { store, writer })
    }

    async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Answer<T> + Send + 'static,
    {
        self.writer.write(work).await
    }
}

impl fmt::Debug for SqliteJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteJournal")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// What was written down, or nothing where no command ever wrote.
async fn look<T, L>(store: &SqliteStore, look: L) -> Result<T>
where
    T: Default + Send + 'static,
    L: Fn(&Connection) -> Answer<T> + Send + 'static,
{
    store
        .ask(move |session| {
            let connection = session.connection();
            if migrate::are_there(connection)? {
                look(connection)
            } else {
                Ok(T::default())
            }
        })
        .await
}

/// Whether a command that writes has made the tables, all of them and no newer ones.
pub(super) fn has_written(connection: &Connection) -> Answer<bool> {
    migrate::are_newest(connection)
}

/// Whether a command of the version that brought the table has written.
fn has_table(connection: &Connection, name: &str) -> Answer<bool> {
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    let found = connection.prepare_cached(sql)?.query_row([name], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

#[async_trait]
impl JournalReader for SqliteStore {
    async fn run(&self, run_id: &str) -> Result<Option<Run>> {
        let run_id = run_id.to_owned();
        look(self, move |connection| runs::get(connection, &run_id)).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<Run>> {
        let query = query.clone();
        look(self, move |connection| runs::find(connection, &query)).await
    }

    async fn unfinished_runs(&self) -> Result<Vec<Run>> {
        look(self, runs::unfinished).await
    }

    async fn intents(&self) -> Result<Vec<UploadIntent>> {
        look(self, uploads::all).await
    }

    async fn checksums(&self, file_ids: &[String]) -> Result<HashMap<String, String>> {
        let file_ids = file_ids.to_vec();
        look(self, move |connection| uploads::checksums(connection, &file_ids)).await
    }

    async fn part_sums(&self, file_id: &str) -> Result<Option<PartSums>> {
        let file_id = file_id.to_owned();
        look(self, move |connection| uploads::part_sums(connection, &file_id)).await
    }

    async fn copies(&self, file_ids: &[String]) -> Result<Vec<(String, Copy)>> {
        let file_ids = file_ids.to_vec();
        look(self, move |connection| copies::of(connection, &file_ids)).await
    }

    async fn notes(&self, topic: &str) -> Result<Vec<(String, String)>> {
        let topic = topic.to_owned();
        look(self, move |connection| notes::all(connection, &topic)).await
    }

    async fn steps(&self, query: &StepQuery) -> Result<Vec<Step>> {
        let query = query.clone();
        look(self, move |connection| steps::find(connection, &query)).await
    }

    async fn warnings(&self, file_ids: &[String]) -> Result<Vec<ServedWarning>> {
        let file_ids = file_ids.to_vec();
        look(self, move |connection| warnings::of(connection, &file_ids)).await
    }

    async fn known_installation(&self) -> Result<Option<String>> {
        look(self, runs::installation).await
    }

    async fn tally(&self, run_ids: &[String]) -> Result<Vec<(String, StepState, u64)>> {
        let run_ids = run_ids.to_vec();
        look(self, move |connection| steps::tally(connection, &run_ids)).await
    }

    async fn trash_usage(&self) -> Result<Vec<TrashRow>> {
        look(self, steps::held).await
    }

    async fn kept_report(&self, request: &str) -> Result<KeptReport> {
        let request = request.to_owned();
        look(self, move |connection| reports::kept(connection, &request)).await
    }

    async fn levels(&self, limits: &Limits, folders: &[String], ended: &[String]) -> Result<Ledger> {
        let (limits, ended) = (limits.clone(), ended.to_vec());
        let folders = folders.iter().cloned().map(Scope::Folder);
        let scopes: BTreeSet<Scope> = folders.chain([Scope::All]).collect();
        self.ask(move |session| {
            let without = ended.iter().map(String::as_str).collect();
            quota::ledger(
                session.connection(),
                (&scopes, &limits),
                &without,
                quota::Side::Reading,
            )
        })
        .await
    }

    async fn metrics(&self) -> Result<Snapshot> {
        look(self, measures::all).await
    }

    async fn keep_report(&self, report: &NewReport) -> Result<bool> {
        let (store, report) = (self.clone(), report.clone());
        let location = self.location();
        let kept = tokio::task::spawn_blocking(move || {
            // See [`SqliteJournal::beside`].
            store.rest();
            reports::keep(store.path(), &report).map_err(|trouble| trouble.about(&location))
        });
        kept.await.unwrap_or(Ok(false))
    }
}

#[async_trait]
impl JournalStore for SqliteJournal {
    async fn begin_run(&self, run: &NewRun) -> Result<()> {
        let run = run.clone();
        self.write(move |connection| runs::begin(connection, &run)).await
    }

    async fn beat(&self, run_id: &str, now: DateTime<Utc>) -> Result<bool> {
        let run_id = run_id.to_owned();
        self.write(move |connection| runs::beat(connection, &run_id, now))
            .await
    }

    async fn finish_run(
        &self,
        run_id: &str,
        status: RunStatus,
        summary: &Value,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let (run_id, summary) = (run_id.to_owned(), summary.to_string());
        self.write(move |connection| runs::finish(connection, &run_id, (status, &summary), now))
            .await
    }

    async fn discard_run(&self, run_id: &str) -> Result<bool> {
        let run_id = run_id.to_owned();
        self.write(move |connection| runs::discard(connection, &run_id))
            .await
    }

    async fn acquire_lease(
        &self,
        run_id: &str,
        provider: &str,
        dead: &[String],
        now: DateTime<Utc>,
    ) -> Result<LeaseGrant> {
        let (run_id, provider, dead) = (run_id.to_owned(), provider.to_owned(), dead.to_vec());
        self.write(move |connection| runs::acquire(connection, (&run_id, &provider), &dead, now))
            .await
    }

    async fn holds_lease(&self, lease: &Lease, now: DateTime<Utc>) -> Result<bool> {
        let lease = lease.clone();
        self.write(move |connection| runs::holds(connection, &lease, now))
            .await
    }

    async fn intend_uploads(
        &self,
        intents: &[UploadIntent],
        limits: &Limits,
        ended: &[String],
    ) -> Result<Admissions> {
        let (intents, limits, ended) = (intents.to_vec(), limits.clone(), ended.to_vec());
        self.write(move |connection| uploads::intend(connection, &intents, (&limits, &ended)))
            .await
    }

    async fn commit_uploads(&self, files: &[StoredFile], together: bool) -> Result<Vec<String>> {
        let files = files.to_vec();
        self.write(move |connection| {
            if together {
                uploads::commit_together(connection, &files)
            } else {
                uploads::commit(connection, &files)
            }
        })
        .await
    }

    async fn remember_copies(&self, copies: &[(String, Copy)]) -> Result<()> {
        let copies = copies.to_vec();
        self.write(move |connection| copies::remember_found(connection, &copies))
            .await
    }

    async fn note(&self, topic: &str, notes: &[(String, String)]) -> Result<()> {
        let (topic, notes) = (topic.to_owned(), notes.to_vec());
        self.write(move |connection| notes::put(connection, &topic, &notes))
            .await
    }

    async fn note_where(
        &self,
        topic: &str,
        name: &str,
        expected: Option<&str>,
        notes: &[(String, String)],
    ) -> Result<bool> {
        let condition = notes::Condition {
            topic: topic.to_owned(),
            name: name.to_owned(),
            expected: expected.map(str::to_owned),
        };
        let notes = notes.to_vec();
        self.write(move |connection| notes::put_where(connection, &condition, &notes))
            .await
    }

    async fn forget_notes(&self, topic: &str) -> Result<()> {
        let topic = topic.to_owned();
        self.write(move |connection| notes::forget(connection, &topic))
            .await
    }

    async fn serve_warnings(&self, warnings: &[ServedWarning]) -> Result<()> {
        let warnings = warnings.to_vec();
        self.write(move |connection| warnings::put(connection, &warnings))
            .await
    }

    async fn forget_warnings_of_none(&self) -> Result<()> {
        self.write(warnings::forget_of_none).await
    }

    async fn reset_metrics(&self) -> Result<u64> {
        self.write(measures::reset).await
    }

    async fn withdraw_intents(&self, file_ids: &[String]) -> Result<()> {
        let file_ids = file_ids.to_vec();
        self.write(move |connection| {
            for file_id in &file_ids {
                uploads::withdraw(connection, file_id)?;
            }
            Ok(())
        })
        .await
    }

    async fn intend_steps(
        &self,
        run_id: &str,
        steps: Vec<NewStep>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Intended>> {
        let run_id = run_id.to_owned();
        self.write(move |connection| steps::intend(connection, &run_id, &steps, now))
            .await
    }

    async fn intend_steps_within(
        &self,
        run_id: &str,
        steps: Vec<NewStep>,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Result<Vec<Stepped>> {
        let (run_id, limits) = (run_id.to_owned(), limits.clone());
        self.write(move |connection| steps::intend_within(connection, &run_id, (steps, &limits), now))
            .await
    }

    async fn settle_steps(
        &self,
        run_id: &str,
        settlements: &[Settlement],
        now: DateTime<Utc>,
    ) -> Result<Vec<bool>> {
        let (run_id, settlements) = (run_id.to_owned(), settlements.to_vec());
        self.write(move |connection| steps::settle(connection, &run_id, &settlements, now))
            .await
    }

    async fn installation(&self) -> Result<String> {
        self.write(|connection| {
            if let Some(id) = runs::installation(connection)? {
                return Ok(id);
            }
            let id = Uuid::new_v4().to_string();
            connection.execute(
                "INSERT INTO main.civic_storage_installation (only_one, id) VALUES (1, ?1)",
                [&id],
            )?;
            Ok(id)
        })
        .await
    }
}

#[async_trait]
impl MetadataStore for SqliteJournal {
    async fn get(&self, id: &str) -> Result<Option<FileRecord>> {
        self.store.get(id).await
    }

    async fn get_many(&self, ids: &[String]) -> Result<Vec<Option<FileRecord>>> {
        self.store.get_many(ids).await
    }

    async fn find_by_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>> {
        self.store.find_by_name(folder, name).await
    }

    async fn find_by_original_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>> {
        self.store.find_by_original_name(folder, name).await
    }

    async fn list(&self, query: &ListQuery) -> Result<RecordPage> {
        self.store.list(query).await
    }

    async fn usage(&self, providers: &[ProviderRoots]) -> Result<Vec<UsageRow>> {
        self.store.usage(providers).await
    }

    async fn usage_by(
        &self,
        dimension: UsageDimension,
        folder: Option<&str>,
    ) -> Result<Vec<(String, u64, u64)>> {
        self.store.usage_by(dimension, folder).await
    }

    fn scan(&self, scope: ScanScope) -> RecordScan {
        self.store.scan(scope)
    }

    async fn known_ids(&self, ids: &[String]) -> Result<HashSet<String>> {
        self.store.known_ids(ids).await
    }

    async fn known_paths(&self, paths: &[String]) -> Result<HashSet<String>> {
        self.store.known_paths(paths).await
    }

    async fn folders(&self) -> Result<HashSet<String>> {
        self.store.folders().await
    }

    async fn count_in_folder(&self, folder: &str) -> Result<u64> {
        self.store.count_in_folder(folder).await
    }

    async fn sample_paths(&self, root: &str, limit: u64) -> Result<Vec<String>> {
        self.store.sample_paths(root, limit).await
    }

    fn location(&self) -> String {
        self.store.location()
    }
}
