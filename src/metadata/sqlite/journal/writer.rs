//! The one thread that writes, and how many writes become one commit: whatever was asked for while the last commit was on
//! its way to the disk goes into the next. Each call has a savepoint of its own, so that one that fails takes nothing of
//! the others with it; nobody is told of success before the commit is durable.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::super::situation::{self, failed};
use super::super::trouble::Trouble;
use super::super::{functions, schema};
use super::trouble::explain;
use super::{migrate, quota, reports};
use crate::metadata::{MetadataError, Result};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Calls in one commit, and rows changed after which no further one joins: bound how long others wait for the write lock, and how
/// long a provider that waits for the first call waits for the last, too.
const GROUP: usize = 256;
const ROWS: u64 = 2_000;

/// A call on its way to the writer.
trait Call: Send {
    /// Runs inside the transaction. `false`: it failed, and what it wrote is to be taken back.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Tells the caller, once it is known what became of the commit.
    fn conclude(self: Box<Self>, committed: Result<(), &MetadataError>);
}

struct Pending<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, MetadataError>>,
    reply: oneshot::Sender<Result<T>>,
    database: String,
}

impl<T: Send, W: FnOnce(&Connection) -> Result<T, Trouble> + Send> Call for Pending<T, W> {
    fn run(&mut self, connection: &Connection) -> bool {
        let outcome = self.work.take().map(|work| work(connection));
        self.outcome = outcome.map(|outcome| outcome.map_err(|trouble| explain(trouble, &self.database)));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn conclude(self: Box<Self>, committed: Result<(), &MetadataError>) {
        let answer = match (self.outcome, committed) {
            (Some(Err(error)), _) => Err(error),
            (Some(outcome), Ok(())) => outcome,
            (_, Err(error)) => Err(again(error)),
            (None, Ok(())) => return,
        };
        // Whoever no longer waits does not want to know.
        let _ = self.reply.send(answer);
    }
}

/// The writing side. Dropping it lets the thread finish what was sent and closes the connection.
pub(super) struct Writer {
    calls: Option<Sender<Box<dyn Call>>>,
    thread: Option<JoinHandle<()>>,
    database: String,
}

impl Writer {
    /// Opens the database for writing, never creates it, and brings the program's tables up to date.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let database = situation::name(path);
        let connection = connect(path).map_err(|trouble| explain(trouble, &database))?;
        let (calls, received) = channel();
        let name = database.clone();
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || serve(&connection, &received, &name))
            .map_err(|error| failed(path, format!("no thread to write with: {error}")))?;
        Ok(Self {
            calls: Some(calls),
            thread: Some(thread),
            database,
        })
    }

    /// Runs `work` in a transaction and answers when it is durable.
    pub(super) async fn write<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Pending {
            work: Some(work),
            outcome: None,
            reply,
            database: self.database.clone(),
        });
        let sent = self.calls.as_ref().is_some_and(|calls| calls.send(call).is_ok());
        let stopped = || MetadataError::Failed {
            database: self.database.clone(),
            reason: "the thread that writes to it has ended".to_owned(),
        };
        if !sent {
            return Err(stopped());
        }
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported.
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, calls: &Receiver<Box<dyn Call>>, database: &str) {
    while let Ok(first) = calls.recv() {
        let mut group = vec![first];
        let committed = commit(connection, &mut group, calls).map_err(|trouble| explain(trouble, database));
        if committed.is_err() && !connection.is_autocommit() {
            // Fails only where SQLite has rolled back already.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for call in group {
            call.conclude(committed.as_ref().copied());
        }
    }
}

/// One transaction for the group, which is filled up with what waits once the write lock is held.
fn commit(
    connection: &Connection,
    group: &mut Vec<Box<dyn Call>>,
    calls: &Receiver<Box<dyn Call>>,
) -> Result<(), Trouble> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let before = connection.total_changes();
    let mut done = 0;
    while let Some(call) = group.get_mut(done) {
        connection.execute_batch("SAVEPOINT call")?;
        let kept = call.run(connection);
        if connection.is_autocommit() {
            return Err(Trouble::Told(
                "the write failed and was taken back as a whole".to_owned(),
            ));
        }
        connection.execute_batch(if kept {
            "RELEASE call"
        } else {
            "ROLLBACK TO call; RELEASE call"
        })?;
        done += 1;
        if done < GROUP && connection.total_changes() - before < ROWS {
            group.extend(calls.try_recv());
        }
    }
    if connection.total_changes() != before {
        reports::drop_all(connection)?;
    }
    crate::failpoint::reach("journal.before-commit");
    connection.execute_batch("COMMIT")?;
    crate::failpoint::reach("journal.after-commit");
    Ok(())
}

fn connect(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA mmap_size = 0;
         PRAGMA foreign_keys = 0; PRAGMA cache_size = -4096;",
    )?;
    functions::register(&connection)?;
    schema::check(&connection)?;
    if connection.is_readonly("main")? {
        return Err(Trouble::Told(READ_ONLY.to_owned()));
    }
    keep_a_wal(&connection)?;
    migrate::migrate(&mut connection)?;
    quota::prepare(&connection)?;
    Ok(connection)
}

pub(super) const READ_ONLY: &str =
    "it may not be written to: this user may not, or its directory or file system is read-only";

/// Readers are not to wait for writers. A file system that can do no WAL keeps the journal it has, which is as durable.
fn keep_a_wal(connection: &Connection) -> Result<(), Trouble> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if mode != "wal" {
        connection.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))?;
    }
    Ok(())
}

/// The same error for each call of the group.
fn again(error: &MetadataError) -> MetadataError {
    match error {
        MetadataError::Busy { database, reason } => MetadataError::Busy {
            database: database.clone(),
            reason: reason.clone(),
        },
        MetadataError::Failed { database, reason } => MetadataError::Failed {
            database: database.clone(),
            reason: reason.clone(),
        },
        MetadataError::Fenced { run } => MetadataError::Fenced { run: run.clone() },
        other => MetadataError::Failed {
            database: String::new(),
            reason: other.to_string(),
        },
    }
}
