//! Writing beside others what is no more than worth having: a report that is kept, what was counted. It makes nothing for
//! that, waits for nobody long, and leaves alone where this program has never written.

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::journal;
use super::session::{self, Session};
use super::situation::Situation;
use super::trouble::Trouble;
use crate::metadata::{MetadataError, Result};

/// Nobody waits for what is only worth having.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(100);

const RETRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(5);

/// A connection that writes what may be lost, and makes nothing for it; `None` where that cannot be had: where the
/// database may not be written to, is no WAL database, or its WAL would have to be made by somebody else than its owner.
pub(super) fn connect(path: &Path, busy_timeout: Duration) -> Result<Option<Connection>, Trouble> {
    if !is_ours_to_open(path) {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A power cut may take it.
    connection
        .execute_batch("PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = 0; PRAGMA mmap_size = 0;")?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let writable = mode == "wal" && !connection.is_readonly("main")?;
    Ok(writable.then_some(connection))
}

/// A WAL that is there already is shared by all who may write to it; one that is made belongs to who makes it, unless
/// that is root, for whom SQLite gives it to the owner of the database.
pub(super) fn is_ours_to_open(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match settled(path) {
        Ok(Situation::Shared(_)) => true,
        Ok(Situation::AtRest(_)) => {
            let user = rustix::process::geteuid();
            user.is_root() || std::fs::metadata(path).is_ok_and(|found| found.uid() == user.as_raw())
        }
        _ => false,
    }
}

/// How the database stands, once whoever closes it has taken away first the index of its WAL, and then the WAL.
fn settled(path: &Path) -> Result<Situation> {
    for _ in 0..RETRIES {
        match Situation::observe(path) {
            Ok(Situation::Unindexed { .. }) => thread::sleep(PAUSE),
            settled => return settled,
        }
    }
    Situation::observe(path)
}

/// Tries a few times, since whoever closes the database last changes how it is opened; but nobody is waited for twice.
pub(super) fn again<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 0..RETRIES {
        match attempt() {
            Err(MetadataError::Changed { .. } | MetadataError::Failed { .. }) => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    attempt()
}

/// Keeps the WAL of a database open that was at rest, for as long as this process asks. Reading a database at rest takes no
/// lock, so that any write ends a long look at it; and since a question adds what it has counted, questions would end each
/// other. With a WAL, readers and writers do not mind each other.
pub(super) struct Anchor(#[expect(dead_code, reason = "it is there to be closed last")] Mutex<Connection>);

/// What there is to hold on to.
enum Ground {
    Anchored(Anchor),
    /// Where this program has never written, or the database may not be written to.
    None,
    /// Somebody else has the database open, or has just closed it.
    Moving,
}

impl Anchor {
    /// Opens the database, and holds its WAL where it was at rest and that can be done. Blocks for as long as
    /// [`Session::open`] does, and a little longer where others come and go.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(super) fn with_session(path: &Path) -> Result<(Option<Self>, Session)> {
        for _ in 0..RETRIES {
            let (ground, opened) = (Ground::of(path), Session::open(path));
            match (ground, opened) {
                (Ground::Anchored(anchor), opened) => return Ok((Some(anchor), opened?)),
                (Ground::Moving, Ok(session)) if session.is_at_rest() => {}
                (Ground::Moving, Err(MetadataError::Changed { .. })) => {}
                (_, opened) => return Ok((None, opened?)),
            }
        }
        Ok((None, Session::open(path)?))
    }
}

impl Ground {
    fn of(path: &Path) -> Self {
        if !matches!(Situation::observe(path), Ok(Situation::AtRest(_))) {
            return Self::Moving;
        }
        if !is_ours_to_open(path) {
            return Self::None;
        }
        match has_written(path) {
            Ok(true) => Self::anchored(path).unwrap_or(Self::None),
            Ok(false) => Self::None,
            Err(_) => Self::Moving,
        }
    }

    fn anchored(path: &Path) -> Option<Self> {
        let connection = match connect(path, BUSY_TIMEOUT) {
            Ok(connection) => connection?,
            Err(trouble) => return trouble.is_busy().then_some(Self::Moving),
        };
        // It is a read that opens the WAL.
        let written = journal::has_written(&connection).unwrap_or(false);
        written.then(|| Self::Anchored(Anchor(Mutex::new(connection))))
    }
}

/// Whether this program has written to a database at rest. Looks without a lock: what is read while somebody writes may be
/// wrong, and is read again.
fn has_written(path: &Path) -> Result<bool, Trouble> {
    journal::has_written(&session::connect(path, "immutable=1")?)
}
