//! A connection that changes nothing: no file, no row, no directory entry, whoever runs it.
//!
//! | what is there | how it is opened | why |
//! |---|---|---|
//! | WAL database, no `-wal` | `immutable=1`, checked for change afterwards | anything else creates `-wal` and `-shm` |
//! | `-wal` and `-shm` | `mode=ro&readonly_shm=1` | reads beside a live writer, and with an index in memory where there is none |
//! | the same, but its index needs repair while others have it open | `mode=ro` | only the shared index can be agreed on |
//! | the same, and no more of `-wal` than its header | `mode=ro` | its index has to be made anew, in its place |
//! | `-wal` alone, or such an index that may not be written | a private copy of both | an index would have to be created beside it |
//! | rollback journal | `mode=ro` | takes locks on the file, writes nothing |
//!
//! One gap is left: where the last other user closes the database in the microseconds between the look at its files and
//! the opening, SQLite creates an empty `-wal`.

use std::cell::Cell;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::functions;
use super::situation::{Situation, ends_with_its_header, failed, name, sibling};
use super::trouble::Trouble;
use super::{handles, schema};
use crate::metadata::{MetadataError, Result};

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const COPY_BUFFER: usize = 1 << 18;
const URI_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.');

/// A connection, and what stood at the path when it was opened.
pub(super) struct Session {
    connection: Connection,
    situation: Situation,
    /// The `data_version` at which every id was found to be in plain lower case.
    plain_ids: Cell<Option<i64>>,
    /// Removed when the connection is closed: fields are dropped in this order.
    _copy: Option<TempDir>,
}

impl Session {
    /// Opens the database and makes sure that `storage_files` is what it should be. `path` is absolute and without
    /// symlinks. Waits at most five seconds for another program's lock.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let situation = Situation::observe(path)?;
        let opened = Self::open_in(path, situation.clone());
        match opened {
            // What failed may have failed because the files were changing; look and try once more.
            Err(_) if Situation::observe(path)? != situation => {
                Self::open_in(path, Situation::observe(path)?)
            }
            opened => opened,
        }
    }

    fn open_in(path: &Path, situation: Situation) -> Result<Self> {
        situation.let_the_clock_tick();
        let mut copy = None;
        let connected = match situation {
            Situation::AtRest(_) => connect(path, "immutable=1"),
            Situation::Rollback(_) => connect(path, "mode=ro"),
            Situation::Shared(_) if ends_with_its_header(path) => connect(path, "mode=ro"),
            Situation::Shared(_) => match connect(path, "mode=ro&readonly_shm=1") {
                Err(trouble) if trouble.is_read_only() => connect(path, "mode=ro"),
                connected => connected,
            },
            Situation::Unindexed { .. } => {
                let dir = copied(path).map_err(|error| {
                    failed(
                        path,
                        format!(
                            "copying it with its write-ahead log to a temporary directory failed: {error}"
                        ),
                    )
                })?;
                let connected = connect(&dir.path().join(COPY_NAME), "mode=ro");
                copy = Some(dir);
                connected
            }
        };
        let session = Self {
            connection: connected.map_err(|trouble| trouble.about(&name(path)))?,
            situation,
            plain_ids: Cell::new(None),
            _copy: copy,
        };
        if session.situation.is_unlocked() && !session.is_current(path) {
            return Err(MetadataError::Changed { database: name(path) });
        }
        Ok(session)
    }

    /// Whether a question asked now would be answered from what is there now.
    pub(super) fn is_current(&self, path: &Path) -> bool {
        Situation::observe(path).is_ok_and(|now| now == self.situation)
    }

    /// Whether it was opened as the one file that it was then, so that any write disturbs it.
    pub(super) const fn is_at_rest(&self) -> bool {
        matches!(self.situation, Situation::AtRest(_))
    }

    /// Whether what was read since the opening may be a mixture of before and after somebody's write.
    pub(super) fn was_disturbed(&self, path: &Path) -> bool {
        self.is_at_rest() && !self.is_current(path)
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs `read` in one transaction, so that all its statements see one state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let _snapshot = self.connection.unchecked_transaction()?;
        read(self)
    }

    /// Whether some id may be written in another way than in lower case, as it would be looked up. Remembered until
    /// another program commits, since finding out takes a look at every id.
    pub(super) fn has_unusual_ids(
        &self,
        find_out: impl FnOnce() -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        let version = self
            .connection
            .query_row("PRAGMA data_version", [], |row| row.get(0))?;
        if self.plain_ids.get() == Some(version) {
            return Ok(false);
        }
        let unusual = find_out()?;
        self.plain_ids.set((!unusual).then_some(version));
        Ok(unusual)
    }
}

/// Read-only, with these parameters of SQLite's URIs.
pub(super) fn connect(path: &Path, parameters: &str) -> Result<Connection, Trouble> {
    let encoded = percent_encode(path.as_os_str().as_bytes(), URI_PATH);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file://{encoded}?{parameters}"), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // 2 MiB of cache also bound what a sort keeps in memory; the rest of it goes to a temporary file.
    connection.execute_batch(
        "PRAGMA query_only = 1; PRAGMA trusted_schema = 0; PRAGMA cell_size_check = 1; PRAGMA mmap_size = 0;
         PRAGMA temp_store = FILE; PRAGMA cache_size = -2048;",
    )?;
    functions::register(&connection)?;
    schema::check(&connection)?;
    Ok(connection)
}

const COPY_NAME: &str = "copy.db";

/// Database and WAL in a directory that only this user can enter.
fn copied(path: &Path) -> io::Result<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix("civic-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let target = dir.path().join(COPY_NAME);
    copy_bytes(
        DatabaseBytes {
            file: handles::handle(path)?.as_ref(),
            at: 0,
        },
        &target,
    )?;
    copy_bytes(File::open(sibling(path, "-wal"))?, &sibling(&target, "-wal"))?;
    Ok(dir)
}

fn copy_bytes(mut from: impl Read, target: &Path) -> io::Result<()> {
    let mut to = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)?;
    let mut buffer = vec![0; COPY_BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}

/// Reads a shared handle from its beginning without moving it.
struct DatabaseBytes<'a> {
    file: &'a File,
    at: u64,
}

impl Read for DatabaseBytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
