//! Raw looks at a database file that SQLite may have open in this very process.
//!
//! A POSIX lock is the process's, not the file handle's: closing any handle on a file drops every lock the process
//! holds there, SQLite's included, and a reader without its lock may see half of somebody's transaction. So a handle
//! that was opened here is never closed: one per database file, for the life of the process.
//! (Source: "How To Corrupt An SQLite Database File", section 2.2.)

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

type Kept = ((u64, u64), Arc<File>);

static HANDLES: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// The process's handle on the file that stands at `path` now.
pub(super) fn handle(path: &Path) -> io::Result<Arc<File>> {
    let mut kept = HANDLES.lock().unwrap_or_else(PoisonError::into_inner);
    let found = std::fs::metadata(path)?;
    let id = (found.dev(), found.ino());
    if let Some((_, file)) = kept.iter().find(|(known, _)| *known == id) {
        return Ok(Arc::clone(file));
    }
    let file = Arc::new(File::open(path)?);
    let opened = file.metadata()?;
    // Whatever was opened is kept, even where another file took the path between the two looks.
    kept.push(((opened.dev(), opened.ino()), Arc::clone(&file)));
    Ok(file)
}

/// The first bytes of the file, fewer where it is shorter.
pub(super) fn first_bytes(path: &Path, count: usize) -> io::Result<Vec<u8>> {
    let file = handle(path)?;
    let mut bytes = vec![0; count];
    let mut read = 0;
    while read < count {
        match file.read_at(&mut bytes[read..], read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}
