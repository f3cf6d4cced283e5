//! A sorted walk of a directory tree. Memory grows with neither the size of a directory (its names are sorted out
//! of core) nor, but for a few bytes a level, the depth; few directories are open at once, whatever the depth.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, fstat, statat};
use rustix::io::Errno;

use super::super::{Key, Listed};
use super::entry;
use super::fault::Fault;
use super::root::{LOST_AND_FOUND, absent_or, identity, is_dot, not_a_directory, open_below, search_below};
use crate::spill::{SortedRuns, Sorter};

/// Directories held open: those above are closed and found again through `..`.
const OPEN_LEVELS: usize = 32;
/// Memory for the names of the first directory, in bytes; each deeper one has half of it, down to a floor.
const SORT_BUDGET: usize = 8 << 20;
const SORT_HALVINGS: usize = 7;
/// How many names are read between two looks at whether anybody still wants them.
const NAMES_BETWEEN_CHECKS: usize = 1024;

/// What a walk asks from time to time: whether to stop.
pub(super) type Stop = Box<dyn Fn() -> bool + Send>;

/// The walk: the directories from where it began to where it is.
pub(super) struct Walk {
    levels: Vec<Level>,
    /// Key of the directory it is in, ending at a `/`.
    path: Vec<u8>,
    /// Memory for sorting the names of the first directory.
    budget: usize,
    stop: Stop,
}

struct Level {
    dir: Handle,
    names: SortedRuns,
    /// Length of the path without this level.
    above: usize,
}

/// A directory on the way: open, or closed for being far above.
enum Handle {
    Open(OwnedFd),
    Closed((u64, u64)),
}

impl Walk {
    /// Walks everything below `dir`, whose key is `path` (empty, or ending at a `/`).
    pub(super) fn new(dir: OwnedFd, path: &[u8], stop: Stop) -> Result<Self, Fault> {
        Self::with_budget(dir, path, stop, SORT_BUDGET)
    }

    pub(super) fn with_budget(dir: OwnedFd, path: &[u8], stop: Stop, budget: usize) -> Result<Self, Fault> {
        let mut walk = Self {
            levels: Vec::new(),
            path: path.to_vec(),
            budget,
            stop,
        };
        walk.read(dir, path.len())?;
        Ok(walk)
    }

    /// The next entry in key order; `None` at the end, or once it was told to stop.
    pub(super) fn next(&mut self) -> Result<Option<Listed>, Fault> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                self.leave()?;
                continue;
            };
            let (name, _) = name.map_err(Fault::Spill)?;
            if name.ends_with(b"/") {
                self.enter(&name)?;
            } else if let Some(found) = self.look(&name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Leaves every directory below the first, without looking at what is left in them.
    pub(super) fn surface(&mut self) -> Result<(), Fault> {
        while self.levels.len() > 1 {
            self.leave()?;
        }
        Ok(())
    }

    fn here(&self) -> Result<BorrowedFd<'_>, Fault> {
        match self.levels.last().map(|level| &level.dir) {
            Some(Handle::Open(fd)) => Ok(fd.as_fd()),
            _ => Err(Fault::Moved(self.path.clone())),
        }
    }

    fn at(&self, name: &[u8]) -> Vec<u8> {
        [&self.path, name].concat()
    }

    /// The entry of that name. What has vanished, or has become a directory and so is younger than the listing, is
    /// none.
    fn look(&self, name: &[u8]) -> Result<Option<Listed>, Fault> {
        match statat(self.here()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(entry(Key::new(self.at(name)), &stat)),
            Err(errno) => match absent_or(&self.at(name), errno) {
                Fault::NotFound => Ok(None),
                fault => Err(fault),
            },
        }
    }

    /// Goes into a directory, `name` ending at a `/`.
    fn enter(&mut self, name: &[u8]) -> Result<(), Fault> {
        let bare = &name[..name.len() - 1];
        let here = self.here()?;
        let opened = open_below(here, bare);
        match opened {
            Ok(dir) => {
                let above = self.path.len();
                self.path.extend_from_slice(name);
                self.close_far_level()?;
                self.read(dir, above)
            }
            Err(Errno::ACCESS) if self.path.is_empty() && bare == LOST_AND_FOUND => Ok(()),
            Err(errno) => match not_a_directory(here, bare, &self.at(bare), errno) {
                Fault::NotFound => Ok(()),
                fault => Err(fault),
            },
        }
    }

    /// Reads and sorts the names of `dir`, directories with a `/` at the end, as they stand in keys. A directory that
    /// was removed since it was opened has none.
    fn read(&mut self, dir: OwnedFd, above: usize) -> Result<(), Fault> {
        let fault = |errno| Fault::system(&self.path, errno);
        let mut sorter = Sorter::new(self.budget >> self.levels.len().min(SORT_HALVINGS));
        let mut name = Vec::new();
        let names = match Dir::read_from(&dir) {
            Err(Errno::NOENT) => None,
            names => Some(names.map_err(fault)?),
        };
        for (count, found) in names.into_iter().flatten().enumerate() {
            if count % NAMES_BETWEEN_CHECKS == 0 && (self.stop)() {
                self.levels.clear();
                return Ok(());
            }
            let found = found.map_err(fault)?;
            name.clear();
            name.extend_from_slice(found.file_name().to_bytes());
            if is_dot(&name) {
                continue;
            }
            if is_directory(&dir, &found).map_err(fault)? {
                name.push(b'/');
            }
            sorter.push(&name, b"").map_err(Fault::Spill)?;
        }
        self.levels.push(Level {
            dir: Handle::Open(dir),
            names: sorter.finish().map_err(Fault::Spill)?,
            above,
        });
        Ok(())
    }

    /// Closes the directory that the next level pushes out of the window.
    fn close_far_level(&mut self) -> Result<(), Fault> {
        let Some(far) = self.levels.len().checked_sub(OPEN_LEVELS) else {
            return Ok(());
        };
        let level = &mut self.levels[far];
        if let Handle::Open(fd) = &level.dir {
            let stat = fstat(fd).map_err(|e| Fault::system(&self.path, e))?;
            level.dir = Handle::Closed(identity(&stat));
        }
        Ok(())
    }

    /// Goes back to the directory above, opening it again where it was closed. What `..` leads to must be what was
    /// left, or somebody has moved the directory and the rest of the walk would be somewhere else.
    fn leave(&mut self) -> Result<(), Fault> {
        let Some(Level { dir, above, .. }) = self.levels.pop() else {
            return Ok(());
        };
        let left = std::mem::take(&mut self.path);
        self.path.extend_from_slice(&left[..above]);
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        if let (Handle::Closed(expected), Handle::Open(child)) = (&level.dir, &dir) {
            let fault = |errno| Fault::system(&left, errno);
            let parent = search_below(child.as_fd(), b"..").map_err(fault)?;
            if identity(&fstat(&parent).map_err(fault)?) != *expected {
                return Err(Fault::Moved(left));
            }
            level.dir = Handle::Open(parent);
        }
        Ok(())
    }
}

/// Whether it is a directory; the few file systems that do not say so in the listing are asked, and what has
/// vanished meanwhile is none.
fn is_directory(dir: &OwnedFd, found: &DirEntry) -> Result<bool, Errno> {
    if found.file_type() != FileType::Unknown {
        return Ok(found.file_type() == FileType::Directory);
    }
    match statat(dir, found.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
