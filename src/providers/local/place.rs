//! Putting files in place: written under a temporary name, synced, then renamed, so that nobody ever sees half a
//! file and a crash leaves either the old or the new one. Files and directories made here get the owner and the
//! mode of the directory above: a cron job of root must leave nothing that CivicPress cannot read.

mod across;

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat, fchmod, fchown, flock, fstat,
    fsync, linkat, mkdirat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use super::fault::Fault;
use super::root::{RootDir, is_dot, not_a_directory, open_below, search_below, split_key};
use across::Way;

/// Where unfinished files lie: reserved, so that no listing takes one for an object.
pub(super) const TEMPORARY: &[u8] = b".civic/tmp";

/// What the names of unfinished files in a folder itself begin with; reserved as well.
const NEARBY: &str = ".civic-tmp-";

/// What may stand at a key that something is put at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A regular file, which is replaced, or nothing.
    Any,
    /// Nothing.
    Absent,
}

/// A file without a key yet; removed when it is dropped before it got one.
#[derive(Debug)]
pub(super) struct Unplaced {
    root: RootDir,
    dir: OwnedFd,
    name: String,
    pub(super) file: File,
    placed: AtomicBool,
}

impl Unplaced {
    pub(super) fn create(root: RootDir) -> Result<Self, Fault> {
        let dir = make_directories(&root, TEMPORARY)?;
        Self::create_in(root, dir, "").map_err(|e| Fault::system(TEMPORARY, e))
    }

    /// Under a name that nobody else has.
    fn create_in(root: RootDir, dir: OwnedFd, prefix: &str) -> Result<Self, Errno> {
        loop {
            let name = format!("{prefix}{}", temporary_name());
            match create_locked(dir.as_fd(), &name) {
                Err(Errno::EXIST) | Ok(None) => {}
                Err(errno) => return Err(errno),
                Ok(Some(file)) => return Ok(Self::of(root, (dir, name), file)),
            }
        }
    }

    fn of(root: RootDir, (dir, name): (OwnedFd, String), file: File) -> Self {
        Self {
            root,
            dir,
            name,
            file,
            placed: AtomicBool::new(false),
        }
    }

    /// Gives the file its key, durably: once this has returned, a power cut does not undo it.
    pub(super) fn place(&self, key: &[u8], target: Target) -> Result<Stat, Fault> {
        let fault = |errno| Fault::system(key, errno);
        let (above, name) = split_key(key)?;
        let dir = make_directories(&self.root, above)?;
        let parent = fstat(&dir).map_err(fault)?;
        inherit(self.file.as_fd(), &parent, 0o666).map_err(fault)?;
        fsync(&self.file).map_err(fault)?;
        check_target(dir.as_fd(), key, name, target)?;
        match rename(self.dir.as_fd(), self.name.as_bytes(), dir.as_fd(), name, target) {
            Err(Errno::XDEV) => return self.place_across(dir, key, target),
            renamed => renamed.map_err(|e| taken(key, e))?,
        }
        self.placed.store(true, Ordering::Release);
        sync_directory(dir.as_fd()).map_err(fault)?;
        fstat(&self.file).map_err(fault)
    }

    /// The same where a folder is a file system of its own: the bytes are copied to a temporary file in it first.
    fn place_across(&self, dir: OwnedFd, key: &[u8], target: Target) -> Result<Stat, Fault> {
        let fault = |errno| Fault::system(key, errno);
        sweep_in(dir.as_fd(), NEARBY).map_err(fault)?;
        let root = self.root.again()?;
        let near = Self::create_in(root, dir, NEARBY).map_err(fault)?;
        let (mut from, mut to) = (&self.file, &near.file);
        from.rewind().map_err(|e| Fault::file(key, e))?;
        io::copy(&mut from, &mut to).map_err(|e| Fault::file(key, e))?;
        let (_, name) = split_key(key)?;
        let parent = fstat(&near.dir).map_err(fault)?;
        inherit(near.file.as_fd(), &parent, 0o666).map_err(fault)?;
        fsync(&near.file).map_err(fault)?;
        rename(
            near.dir.as_fd(),
            near.name.as_bytes(),
            near.dir.as_fd(),
            name,
            target,
        )
        .map_err(|e| taken(key, e))?;
        near.placed.store(true, Ordering::Release);
        sync_directory(near.dir.as_fd()).map_err(fault)?;
        self.remove()?;
        fstat(&near.file).map_err(fault)
    }

    /// Removes it, unless it was placed or removed before.
    pub(super) fn remove(&self) -> Result<(), Fault> {
        if self.placed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        unlinkat(&self.dir, self.name.as_str(), AtFlags::empty()).map_err(|e| Fault::system(TEMPORARY, e))
    }
}

/// A new file, locked as long as it is held, so that a sweep knows it from what a dead process left; `None` where a
/// sweep came between: it then holds the lock, or has removed the name.
fn create_locked(dir: BorrowedFd<'_>, name: &str) -> Result<Option<File>, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?;
    let locked = flock(&fd, FlockOperation::NonBlockingLockExclusive);
    if locked == Err(Errno::AGAIN) || fstat(&fd)?.st_nlink == 0 {
        return Ok(None);
    }
    Ok(Some(File::from(fd)))
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        if let Err(fault) = self.remove() {
            tracing::warn!(?fault, name = self.name, "a temporary file is left behind");
        }
    }
}

/// Removes unfinished files that dead processes left.
pub(super) fn sweep(root: &RootDir) -> Result<(), Fault> {
    let mut prefix = TEMPORARY.to_vec();
    prefix.push(b'/');
    match root.directory(&prefix) {
        Err(Fault::NotFound) => Ok(()),
        dir => sweep_in(dir?.as_fd(), "").map_err(|e| Fault::system(TEMPORARY, e)),
    }
}

/// Those of a directory whose names begin so. What somebody holds the lock of is being written; where locks cannot be
/// had, nobody is sure, and all stay.
fn sweep_in(dir: BorrowedFd<'_>, prefix: &str) -> Result<(), Errno> {
    for entry in Dir::new(open_below(dir, b".")?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if is_dot(name) || !name.starts_with(prefix.as_bytes()) {
            continue;
        }
        remove_dead(dir, name)?;
    }
    Ok(())
}

/// Removes an unfinished file that nobody holds the lock of. By its name alone: what it was the first name of keeps
/// its others.
fn remove_dead(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(fd) = openat(dir, name, flags, Mode::empty()) else {
        return Ok(());
    };
    let is_file = FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::RegularFile;
    if is_file && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let now = chrono::Utc::now().timestamp_micros();
    format!("{now:x}-{:x}-{count:x}", std::process::id())
}

/// Moves the object at `from` to `to`, durably.
pub(super) fn move_file(root: &RootDir, from: &[u8], to: &[u8], target: Target) -> Result<(), Fault> {
    root.stat_file(from)?;
    let (source, old) = root.parent_of(from)?;
    let (above, new) = split_key(to)?;
    let dir = make_directories(root, above)?;
    check_target(dir.as_fd(), to, new, target)?;
    match rename(source.as_fd(), old, dir.as_fd(), new, target) {
        Err(Errno::XDEV) => {
            let way = Way {
                from: (source.as_fd(), old, from),
                to: (dir.as_fd(), new, to),
            };
            return across::move_file(root, &way, target);
        }
        renamed => renamed.map_err(|e| taken(to, e))?,
    }
    let fault = |errno| Fault::system(to, errno);
    sync_directory(dir.as_fd()).map_err(fault)?;
    sync_directory(source.as_fd()).map_err(fault)
}

/// Gives the object at `from` the key `to` as well, where nothing stands, durably: a second name of the same file, or
/// where the file system gives it none, a copy with its times and rights.
pub(super) fn add_name(root: &RootDir, from: &[u8], to: &[u8]) -> Result<(), Fault> {
    root.stat_file(from)?;
    let (source, old) = root.parent_of(from)?;
    let (above, new) = split_key(to)?;
    let dir = make_directories(root, above)?;
    check_target(dir.as_fd(), to, new, Target::Absent)?;
    match linkat(&source, old, &dir, new, AtFlags::empty()) {
        // Another file system; too many names; none for a file that is somebody else's; none at all.
        Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {
            let way = Way {
                from: (source.as_fd(), old, from),
                to: (dir.as_fd(), new, to),
            };
            return across::copy_file(root, &way, Target::Absent);
        }
        Err(Errno::NOENT) => return Err(Fault::NotFound),
        linked => linked.map_err(|e| taken(to, e))?,
    }
    sync_directory(dir.as_fd()).map_err(|e| Fault::system(to, e))
}

/// Removes the object at the key. Not synced: should a power cut bring it back, it is found again as what it is.
pub(super) fn remove_file(root: &RootDir, key: &[u8]) -> Result<(), Fault> {
    root.stat_file(key)?;
    let (dir, name) = root.parent_of(key)?;
    unlinkat(&dir, name, AtFlags::empty()).map_err(|errno| match errno {
        Errno::NOENT => Fault::NotFound,
        errno => Fault::system(key, errno),
    })
}

/// Removes the empty directories above a key in the trash, the trash itself aside: others may be about to use it.
pub(super) fn remove_empty_above(root: &RootDir, key: &[u8]) {
    let mut path = key;
    while let Ok((above, _)) = split_key(path) {
        if !above.starts_with(b".trash/") {
            return;
        }
        let Ok((dir, name)) = root.parent_of(above) else {
            return;
        };
        match unlinkat(&dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => path = above,
            Err(_) => return,
        }
    }
}

/// Only a regular file is ever replaced: not a symlink or anything else that an operator put there.
fn check_target(dir: BorrowedFd<'_>, key: &[u8], name: &[u8], target: Target) -> Result<(), Fault> {
    let found = match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => FileType::from_raw_mode(found.st_mode),
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Fault::system(key, errno)),
    };
    match (found, target) {
        (FileType::Symlink, _) => Err(Fault::Symlink(key.to_vec())),
        (FileType::RegularFile, Target::Any) => Ok(()),
        (_, Target::Absent) => Err(Fault::Exists(key.to_vec())),
        (_, Target::Any) => Err(Fault::NotAFile(key.to_vec())),
    }
}

fn taken(key: &[u8], errno: Errno) -> Fault {
    match errno {
        Errno::EXIST => Fault::Exists(key.to_vec()),
        errno => Fault::system(key, errno),
    }
}

/// Renames; where nothing may be replaced, that is the kernel's to see to, or it would be a race. File systems
/// that cannot promise it get a link and an unlink instead, which can.
fn rename(
    from: BorrowedFd<'_>,
    old: &[u8],
    to: BorrowedFd<'_>,
    new: &[u8],
    target: Target,
) -> Result<(), Errno> {
    if target == Target::Any {
        return renameat(from, old, to, new);
    }
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            linkat(from, old, to, new, AtFlags::empty())?;
            unlinkat(from, old, AtFlags::empty())
        }
        outcome => outcome,
    }
}

/// The directory at a path, made with everything above it where it is not there.
fn make_directories(root: &RootDir, path: &[u8]) -> Result<OwnedFd, Fault> {
    let mut dir = search_below(root.fd.as_fd(), b".").map_err(|e| Fault::system(b"", e))?;
    let mut end = 0;
    for segment in path.split(|b| *b == b'/').filter(|s| !s.is_empty()) {
        end += segment.len();
        let here = &path[..end];
        let opened = match search_below(dir.as_fd(), segment) {
            Err(Errno::NOENT) => make_directory(dir.as_fd(), segment),
            opened => opened,
        };
        dir = opened.map_err(|e| match not_a_directory(dir.as_fd(), segment, here, e) {
            Fault::NotFound => Fault::system(here, e),
            fault => fault,
        })?;
        end += 1;
    }
    Ok(dir)
}

fn make_directory(above: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match mkdirat(above, name, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        made => {
            made?;
            let dir = open_below(above, name)?;
            inherit(dir.as_fd(), &fstat(above)?, 0o7777)?;
            fsync(&dir)?;
            sync_directory(above)?;
        }
    }
    search_below(above, name)
}

/// Gives `fd` the owner and the mode of the directory above, of which `mask` is kept. Who may not give files away
/// keeps them: that is not worth an upload.
fn inherit(fd: BorrowedFd<'_>, above: &Stat, mask: u32) -> Result<(), Errno> {
    let own = fstat(fd)?;
    if (own.st_uid, own.st_gid) != (above.st_uid, above.st_gid) {
        let (owner, group) = (Uid::from_raw(above.st_uid), Gid::from_raw(above.st_gid));
        match fchown(fd, Some(owner), Some(group)) {
            Err(Errno::PERM) => {}
            given => given?,
        }
    }
    fchmod(fd, Mode::from_raw_mode(above.st_mode & mask))
}

/// Makes what was done in a directory durable, where it may be opened for that.
fn sync_directory(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    match open_below(dir, b".") {
        Ok(readable) => fsync(&readable),
        Err(Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}
