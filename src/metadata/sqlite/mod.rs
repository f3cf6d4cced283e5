//! `storage_files` in SQLite, read beside CivicPress, which may be writing, and changed by not a byte: not the database,
//! not its `-wal` or `-shm`, not the directory (see `session` for how).
//!
//! Nothing here writes, but for [`create`], which makes a database where there is none. Where this program has written before
//! and may do so again, a database at rest has a WAL for as long as it is asked (see `beside` for why), and is one file again
//! afterwards. Questions run on blocking threads with a connection from a small pool; a scan has one to itself.

mod beside;
mod cancel;
mod create;
mod filter;
mod functions;
mod handles;
mod journal;
mod queries;
mod rows;
mod scan;
mod schema;
mod session;
mod situation;
#[cfg(test)]
mod tests;
mod trouble;
mod usage;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Semaphore;

pub use self::journal::{Patience, SqliteJournal};

use self::beside::Anchor;
use self::cancel::Cancel;
pub use self::create::create;
use self::session::Session;
use self::trouble::Trouble;
use super::{
    FileRecord, ListQuery, MetadataError, MetadataStore, ProviderRoots, RecordPage, RecordScan, Result,
    ScanScope, UsageDimension, UsageRow,
};

/// Questions answered at the same time; more of them wait.
const READERS: usize = 2;

/// The records in a SQLite database, read-only. Cheap to clone.
#[derive(Clone)]
pub struct SqliteStore {
    pool: Arc<Pool>,
}

impl SqliteStore {
    /// Opens an existing database; symlinks in `path` are resolved now, once. Blocks for as long as the disk takes, at
    /// most five seconds longer where another program holds an exclusive lock.
    ///
    /// # Errors
    /// [`MetadataError::Missing`] where there is no file (none is made), [`MetadataError::NoTable`] where the database
    /// has no table `storage_files` (a view of that name is none), [`MetadataError::Busy`] after those five seconds,
    /// [`MetadataError::Failed`] where it is no database, is damaged, or may not be read.
    pub fn open(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .map_err(|error| situation::unreachable_file(path, &error))?;
        let (anchor, first) = Anchor::with_session(&path)?;
        Ok(Self {
            pool: Arc::new(Pool {
                path,
                idle: Mutex::new(vec![first]),
                _anchor: anchor,
                turns: Arc::new(Semaphore::new(READERS)),
            }),
        })
    }

    /// Closes the connections that wait for a question; the next one opens its own.
    fn rest(&self) {
        self.pool.idle().clear();
    }

    fn path(&self) -> &Path {
        &self.pool.path
    }

    /// Runs `question` in a read transaction on a blocking thread. Dropping the future interrupts it.
    async fn ask<T, Q>(&self, question: Q) -> Result<T>
    where
        T: Send + 'static,
        Q: Fn(&Session) -> Result<T, Trouble> + Send + 'static,
    {
        let pool = Arc::clone(&self.pool);
        let turn = Arc::clone(&pool.turns).acquire_owned().await;
        let cancel = Cancel::default();
        let _cancelled_with_the_future = cancel.on_drop();
        let stopped = || self.pool.stopped();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            pool.answer(&cancel, question)
        })
        .await
        .map_err(|_| stopped())?
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.pool.path)
            .finish()
    }
}

/// Connections that wait for the next question.
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Session>>,
    /// Closed after the others: fields are dropped in this order.
    _anchor: Option<Anchor>,
    turns: Arc<Semaphore>,
}

impl Pool {
    /// Asks, and once more where the database changed under a reading without locks.
    fn answer<T>(&self, cancel: &Cancel, question: impl Fn(&Session) -> Result<T, Trouble>) -> Result<T> {
        for _ in 0..2 {
            let session = self.session()?;
            let Some(answer) = cancel.watch(session.connection(), || session.read(&question)) else {
                return Err(self.stopped());
            };
            if !session.was_disturbed(&self.path) {
                self.idle().push(session);
                return answer.map_err(|trouble| trouble.about(&situation::name(&self.path)));
            }
        }
        Err(MetadataError::Changed {
            database: situation::name(&self.path),
        })
    }

    /// A connection that sees what is there now. Idle ones that do not are closed.
    fn session(&self) -> Result<Session> {
        loop {
            let idle = self.idle().pop();
            match idle {
                Some(session) if session.is_current(&self.path) => return Ok(session),
                Some(_) => {}
                None => return Session::open(&self.path),
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> MetadataError {
        situation::failed(&self.path, "reading it was stopped".to_owned())
    }
}

#[async_trait]
impl MetadataStore for SqliteStore {
    async fn get(&self, id: &str) -> Result<Option<FileRecord>> {
        let id = id.to_owned();
        self.ask(move |session| queries::get(session.connection(), &id))
            .await
    }

    async fn get_many(&self, ids: &[String]) -> Result<Vec<Option<FileRecord>>> {
        let ids = ids.to_vec();
        self.ask(move |session| {
            let get = |id: &String| queries::get(session.connection(), id);
            ids.iter().map(get).collect()
        })
        .await
    }

    async fn find_by_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.ask(move |session| queries::find_by_name(session.connection(), &folder, &name))
            .await
    }

    async fn find_by_original_name(&self, folder: &str, name: &str) -> Result<Vec<FileRecord>> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.ask(move |session| queries::find_by_original_name(session.connection(), &folder, &name))
            .await
    }

    async fn list(&self, query: &ListQuery) -> Result<RecordPage> {
        let query = query.clone();
        self.ask(move |session| queries::list(session.connection(), &query))
            .await
    }

    async fn usage(&self, providers: &[ProviderRoots]) -> Result<Vec<UsageRow>> {
        let providers = providers.to_vec();
        self.ask(move |session| usage::usage(session.connection(), &providers))
            .await
    }

    async fn usage_by(
        &self,
        dimension: UsageDimension,
        folder: Option<&str>,
    ) -> Result<Vec<(String, u64, u64)>> {
        let folder = folder.map(str::to_owned);
        self.ask(move |session| usage::usage_by(session.connection(), dimension, folder.as_deref()))
            .await
    }

    fn scan(&self, scope: ScanScope) -> RecordScan {
        scan::scan(self.pool.path.clone(), scope)
    }

    async fn known_ids(&self, ids: &[String]) -> Result<HashSet<String>> {
        let ids = ids.to_vec();
        self.ask(move |session| queries::known_ids(session, &ids)).await
    }

    async fn known_paths(&self, paths: &[String]) -> Result<HashSet<String>> {
        let paths = paths.to_vec();
        self.ask(move |session| queries::known_paths(session.connection(), &paths))
            .await
    }

    async fn folders(&self) -> Result<HashSet<String>> {
        self.ask(|session| queries::folders(session.connection())).await
    }

    async fn count_in_folder(&self, folder: &str) -> Result<u64> {
        let folder = folder.to_owned();
        self.ask(move |session| queries::count_in_folder(session.connection(), &folder))
            .await
    }

    async fn sample_paths(&self, root: &str, limit: u64) -> Result<Vec<String>> {
        let root = root.to_owned();
        self.ask(move |session| queries::sample_paths(session.connection(), &root, limit))
            .await
    }

    fn location(&self) -> String {
        situation::name(&self.pool.path)
    }
}
