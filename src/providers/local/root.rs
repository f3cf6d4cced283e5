//! The open root, and the one way from it to anything below: segment by segment, following no symlink.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, stat, statat};
use rustix::io::Errno;

use super::fault::Fault;

/// Opens a directory to look names up in, which takes the right to search it and none to read it.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// What the file system's own repair puts under the root of a mount.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// A provider's root, held open.
#[derive(Debug)]
pub(super) struct RootDir {
    pub(super) fd: OwnedFd,
    path: PathBuf,
}

impl RootDir {
    pub(super) fn open(path: &Path) -> Result<Self, Fault> {
        let fd = openat(CWD, path, SEARCH | DIRECTORY, Mode::empty()).map_err(missing_root)?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
        })
    }

    /// The same root, held open once more.
    pub(super) fn again(&self) -> Result<Self, Fault> {
        let fd = search_below(self.fd.as_fd(), b".").map_err(|e| Fault::system(b"", e))?;
        Ok(Self {
            fd,
            path: self.path.clone(),
        })
    }

    /// Fails unless the path still leads to the directory that was opened: what was not found in a directory that
    /// has been removed, replaced or unmounted says nothing.
    pub(super) fn verify(&self) -> Result<(), Fault> {
        let there = stat(&self.path).map_err(missing_root)?;
        let held = fstat(&self.fd).map_err(|e| Fault::system(b"", e))?;
        if identity(&there) == identity(&held) {
            Ok(())
        } else {
            Err(Fault::RootReplaced)
        }
    }

    pub(super) fn is_bare(&self) -> Result<bool, Fault> {
        let denied = |e| Fault::system(b"", e);
        let fd = open_below(self.fd.as_fd(), b".").map_err(denied)?;
        for entry in Dir::new(fd).map_err(denied)? {
            let entry = entry.map_err(denied)?;
            if !is_dot(entry.file_name().to_bytes()) && entry.file_name().to_bytes() != LOST_AND_FOUND {
                return Ok(false);
            }
        }
        self.verify().map(|()| true)
    }

    /// What stands at the key, never a symlink.
    pub(super) fn stat(&self, key: &[u8]) -> Result<Stat, Fault> {
        let (dir, name) = self.parent_of(key)?;
        let found = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| absent_or(key, e))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => Err(Fault::Symlink(key.to_vec())),
            _ => Ok(found),
        }
    }

    /// The directory that holds the key's last segment, and that segment.
    pub(super) fn parent_of<'k>(&self, key: &'k [u8]) -> Result<(OwnedFd, &'k [u8]), Fault> {
        let (above, name) = split_key(key)?;
        Ok((self.search(above)?, name))
    }

    /// What stands at the key, which must be a regular file; a directory is no object.
    pub(super) fn stat_file(&self, key: &[u8]) -> Result<Stat, Fault> {
        let found = self.stat(key)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(found),
            FileType::Directory => Err(Fault::NotFound),
            _ => Err(Fault::NotAFile(key.to_vec())),
        }
    }

    /// The regular file at the key, open for reading, and what it is. Looked at first, since opening a device or a
    /// FIFO may do something; it cannot block should one take the file's place in between.
    pub(super) fn open_file(&self, key: &[u8]) -> Result<(File, Stat), Fault> {
        self.stat_file(key)?;
        let (dir, name) = self.parent_of(key)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&dir, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP => Fault::Symlink(key.to_vec()),
            errno => absent_or(key, errno),
        })?;
        let stat = fstat(&fd).map_err(|e| Fault::system(key, e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(fd), stat)),
            _ => Err(Fault::NotAFile(key.to_vec())),
        }
    }

    /// An answer of absence, once it is certain that the root is still there to give it.
    pub(super) fn certain<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match outcome {
            Err(Fault::NotFound) => self.verify().and(Err(Fault::NotFound)),
            outcome => outcome,
        }
    }

    /// The directory at a path whose segments are known to be names, opened to look up in.
    fn search(&self, path: &[u8]) -> Result<OwnedFd, Fault> {
        let mut dir = search_below(self.fd.as_fd(), b".").map_err(|e| Fault::system(b"", e))?;
        let mut end = 0;
        for segment in path.split(|b| *b == b'/').filter(|s| !s.is_empty()) {
            end += segment.len();
            dir = search_below(dir.as_fd(), segment)
                .map_err(|e| not_a_directory(dir.as_fd(), segment, &path[..end], e))?;
            end += 1;
        }
        Ok(dir)
    }

    /// The directory at `prefix` (empty, or ending at a `/`), opened to be read.
    pub(super) fn directory(&self, prefix: &[u8]) -> Result<OwnedFd, Fault> {
        if prefix.is_empty() {
            return open_below(self.fd.as_fd(), b".").map_err(|e| Fault::system(b"", e));
        }
        let path = prefix.strip_suffix(b"/").unwrap_or(prefix);
        let (dir, name) = self.parent_of(path)?;
        open_below(dir.as_fd(), name).map_err(|e| not_a_directory(dir.as_fd(), name, path, e))
    }
}

/// The path of the directory a key is in (empty for the root), and the last segment.
pub(super) fn split_key(key: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let odd = |segment: &[u8]| matches!(segment, b"" | b"." | b"..") || segment.contains(&0);
    if key.split(|b| *b == b'/').any(odd) {
        return Err(Fault::NotAKey(key.to_vec()));
    }
    let cut = key.iter().rposition(|b| *b == b'/');
    Ok(cut.map_or((&key[..0], key), |at| (&key[..at], &key[at + 1..])))
}

/// Opens a directory below another to read it.
pub(super) fn open_below(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | DIRECTORY;
    openat(dir, name, flags, Mode::empty())
}

/// Opens a directory below (or, by `..`, above) another to look names up in it.
pub(super) fn search_below(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    openat(dir, name, SEARCH | OFlags::NOFOLLOW | DIRECTORY, Mode::empty())
}

/// Why a segment could not be opened as a directory. The system says the same of a file, which holds no objects,
/// and of a symlink, which may lead to them: only a second look tells.
pub(super) fn not_a_directory(dir: BorrowedFd<'_>, name: &[u8], path: &[u8], errno: Errno) -> Fault {
    if !matches!(errno, Errno::NOTDIR | Errno::LOOP) {
        return absent_or(path, errno);
    }
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
            Fault::Symlink(path.to_vec())
        }
        Ok(_) => Fault::NotFound,
        Err(errno) => absent_or(path, errno),
    }
}

/// Nothing there, or a failure. A name the file system cannot hold is not there.
pub(super) fn absent_or(path: &[u8], errno: Errno) -> Fault {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Fault::NotFound,
        errno => Fault::system(path, errno),
    }
}

fn missing_root(errno: Errno) -> Fault {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Fault::RootMissing,
        errno => Fault::system(b"", errno),
    }
}

/// What tells one directory from another while either is open.
pub(super) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

pub(super) fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}
