//! What stands at a database's path, by looking only. It decides how the database can be opened without changing a
//! byte of it, and comparing it with an earlier look says whether somebody wrote meanwhile.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access};

use super::handles;
use crate::metadata::{MetadataError, Result};

/// Length of the header, and where it says which journal its readers must know.
/// (Source: "SQLite Database File Format", section 1.3.)
const HEADER: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const READ_VERSION: usize = 19;

/// Two writes within one tick of the file system's clock carry the same time.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// Which file it is and in which state: differs after every write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    id: FileId,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Print {
    fn of(found: &Metadata) -> Self {
        Self {
            id: FileId {
                device: found.dev(),
                inode: found.ino(),
            },
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    fn optional(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(found) => Ok(Some(Self::of(&found))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Bytes before the first frame of a `-wal`.
///
/// # Source
/// "Database File Format", section 4.1.
const WAL_HEADER: u64 = 32;

/// How the database stands, which is how it must be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Situation {
    /// A WAL database that nobody has open: everything is in the one file. Opening it the ordinary way would create
    /// `-wal` and `-shm`, owned by whoever runs this, and lock its owner out.
    AtRest(Print),
    /// `-wal` and `-shm` are there: perhaps in use, perhaps left behind.
    Shared(FileId),
    /// `-wal` without `-shm`: left behind, and readable only with an index that would have to be created. Or one that ends with
    /// its header ([`ends_with_its_header`]), and an index that may not be written.
    Unindexed { database: Print, wal: Print },
    /// A rollback-journal database: locks on the file itself are all it takes.
    Rollback(FileId),
}

impl Situation {
    /// Looks at the files. `path` is absolute and without symlinks.
    pub(super) fn observe(path: &Path) -> Result<Self> {
        let found = std::fs::metadata(path).map_err(|error| unreachable_file(path, &error))?;
        if !found.is_file() {
            let what = if found.is_dir() {
                "a directory"
            } else {
                "no regular file"
            };
            return Err(failed(path, format!("this is {what}, not a database")));
        }
        let database = Print::of(&found);
        let beside = |suffix| {
            let beside = sibling(path, suffix);
            Print::optional(&beside).map_err(|error| failed(&beside, error.to_string()))
        };
        match (beside("-wal")?, beside("-shm")?) {
            // Asked without opening it: closing it again would end the locks of other connections of this process.
            (Some(wal), Some(_))
                if wal.size == WAL_HEADER && access(sibling(path, "-shm"), Access::WRITE_OK).is_err() =>
            {
                Ok(Self::Unindexed { database, wal })
            }
            (Some(_), Some(_)) => Ok(Self::Shared(database.id)),
            (Some(wal), None) if wal.size > 0 => Ok(Self::Unindexed { database, wal }),
            _ if keeps_a_wal(path)? => Ok(Self::AtRest(database)),
            _ => Ok(Self::Rollback(database.id)),
        }
    }

    /// Whether a write could have happened unseen: reading takes no lock, and time stamps are the only witness.
    pub(super) const fn is_unlocked(&self) -> bool {
        matches!(self, Self::AtRest(_) | Self::Unindexed { .. })
    }

    /// Waits until the next write must carry another time stamp than the last one seen here.
    pub(super) fn let_the_clock_tick(&self) {
        let prints = match self {
            Self::AtRest(database) => [Some(database), None],
            Self::Unindexed { database, wal } => [Some(database), Some(wal)],
            Self::Shared(_) | Self::Rollback(_) => [None, None],
        };
        let fresh = prints.into_iter().flatten().any(|print| {
            let (seconds, nanos) = print.changed;
            let since_epoch = Duration::new(seconds.try_into().unwrap_or(0), nanos.try_into().unwrap_or(0));
            // A time in the future is a clock that cannot be reasoned about: no wait would help.
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH + since_epoch)
                .is_ok_and(|age| age < CLOCK_TICK)
        });
        if fresh {
            std::thread::sleep(CLOCK_TICK);
        }
    }
}

/// The file SQLite keeps beside the database under that suffix.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether the `-wal` has a header and no frame: for a moment while somebody begins to write, and for good where he was killed in
/// it. SQLite would compare that with an index in memory which knows of no header, again and again, for a minute.
pub(super) fn ends_with_its_header(path: &Path) -> bool {
    std::fs::metadata(sibling(path, "-wal")).is_ok_and(|wal| wal.len() == WAL_HEADER)
}

/// Whether the header says that the database is read through a WAL.
fn keeps_a_wal(path: &Path) -> Result<bool> {
    let header = handles::first_bytes(path, HEADER).map_err(|error| unreachable_file(path, &error))?;
    if header.is_empty() {
        return Err(failed(
            path,
            "the file is empty, no database has been made in it".to_owned(),
        ));
    }
    if header.len() < HEADER || !header.starts_with(MAGIC) {
        return Err(failed(path, "this is not a SQLite database".to_owned()));
    }
    match header[READ_VERSION] {
        1 => Ok(false),
        2 => Ok(true),
        other => Err(failed(
            path,
            format!("its file format {other} is newer than this program knows"),
        )),
    }
}

pub(super) fn unreachable_file(path: &Path, error: &io::Error) -> MetadataError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => MetadataError::Missing { database: name(path) },
        _ => failed(path, error.to_string()),
    }
}

pub(super) fn failed(path: &Path, reason: String) -> MetadataError {
    MetadataError::Failed {
        database: name(path),
        reason,
    }
}

/// The path as an operator would read it; bytes that are not UTF-8 as `\xNN`.
pub(super) fn name(path: &Path) -> String {
    use std::fmt::Write;
    let mut name = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        name.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(name, "\\x{byte:02X}");
        }
    }
    name
}
