//! Which files were named: arguments, directories below them, and lists. Written down before the first upload, out of
//! core, so that their number is known and memory does not grow with it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::check::Refusal;
use crate::spill::Spool;

/// The files to upload, each once as it was named, and what was named that is none.
#[derive(Debug, Default)]
pub struct Sources {
    pub(super) files: Spool,
    pub(super) refused: Vec<(PathBuf, Refusal)>,
    recursive: bool,
}

impl Sources {
    /// None yet. With `recursive` a directory stands for every file below it, hidden ones included.
    #[must_use]
    pub fn new(recursive: bool) -> Self {
        Self {
            recursive,
            ..Self::default()
        }
    }

    /// How many files were named, those that cannot be taken included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.files.len() + self.refused.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what a list names, a path a line; empty lines are none.
    ///
    /// # Errors
    /// Where the list cannot be read, or the temporary directory cannot be written.
    pub fn add_list(&mut self, list: &mut dyn BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while list.read_until(b'\n', &mut line)? > 0 {
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            if !line.is_empty() {
                self.add(&PathBuf::from(OsString::from_vec(line.clone())))?;
            }
            line.clear();
        }
        Ok(())
    }

    /// Adds a file, or what is below a directory. A symlink that was named is followed; one that was found is not.
    ///
    /// # Errors
    /// Where the temporary directory cannot be written.
    pub fn add(&mut self, path: &Path) -> io::Result<()> {
        if self.recursive && path.is_dir() {
            return self.walk(path);
        }
        self.files.push(path.as_os_str().as_bytes())
    }

    /// In order of the names, a directory before what comes after it.
    fn walk(&mut self, top: &Path) -> io::Result<()> {
        let mut pending = vec![top.to_path_buf()];
        while let Some(path) = pending.pop() {
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() || path == top => match children(&path) {
                    Ok(below) => pending.extend(below.into_iter().rev()),
                    Err(error) => self.refused.push((path, error.into())),
                },
                Ok(meta) if meta.is_symlink() => self.refused.push((path, Refusal::Symlink)),
                Ok(_) => self.files.push(path.as_os_str().as_bytes())?,
                Err(error) => self.refused.push((path, error.into())),
            }
        }
        Ok(())
    }
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

/// The path that a record of [`Sources::files`] holds.
pub(super) fn path_of(record: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(record))
}
