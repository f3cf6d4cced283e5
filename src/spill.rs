//! Sorting and keeping more than fits in memory: what grows with the number of objects goes to unlinked files in
//! the temporary directory (`TMPDIR`, else `/tmp`), which vanish with the process however it ends.
//!
//! Knows bytes only; what a record means is its owner's business. Never syncs: nothing here outlives the run.
//! Where the temporary directory is itself held in memory (tmpfs), so is what is spilled: point `TMPDIR` to a disk.

mod records;
mod sorter;
mod spool;

use std::io;
use std::path::{Path, PathBuf};

pub use sorter::{SortedRuns, Sorter};
pub use spool::{Spool, SpoolIter};

/// Where spilled bytes go, and the name that errors give them.
#[derive(Debug, Clone)]
struct TempDir(PathBuf);

impl TempDir {
    fn from_env() -> Self {
        Self(std::env::temp_dir())
    }

    /// A file without a name, gone once it is closed.
    fn file(&self) -> io::Result<std::fs::File> {
        tempfile::tempfile_in(&self.0).map_err(|e| self.fault(&e))
    }

    /// The error, naming the directory that a full disk or a wrong `TMPDIR` would be mended in.
    fn fault(&self, error: &io::Error) -> io::Error {
        io::Error::new(
            error.kind(),
            format!(
                "temporary directory {}: {error}; set TMPDIR to a directory with room",
                self.path().display()
            ),
        )
    }

    fn path(&self) -> &Path {
        &self.0
    }
}
