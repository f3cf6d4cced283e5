//! Moving a file where no rename can: a folder below the root may be a file system, or a mount, of its own, and the
//! trash is not on it.
//!
//! The bytes are copied to a file beside the target, synced and compared with what they were copied from; that file
//! gets the target's name, durably; only then the source goes, if it is still the file that was read. Killed anywhere,
//! the source is whole, or the target is, or both are: whoever moves objects compares two that are there, and ends the
//! move. Owner, mode and times come along, as far as the other file system knows them; extended attributes do not.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, fchmod, fchown, fstat, fsync, futimens, statat,
    unlinkat,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::super::fault::Fault;
use super::super::root::{RootDir, identity, search_below};
use super::{NEARBY, Target, Unplaced, create_locked, remove_dead, rename, sync_directory, taken};
use crate::failpoint::reach;

/// Bytes compared at once.
const PIECE: usize = 256 << 10;
/// How often, and after how long each time, a name that another process holds is asked for again.
const TRIES: (u32, Duration) = (100, Duration::from_millis(10));

/// Where a file is and where it goes: the directories, the names in them, and the keys.
pub(super) struct Way<'a> {
    pub from: (BorrowedFd<'a>, &'a [u8], &'a [u8]),
    pub to: (BorrowedFd<'a>, &'a [u8], &'a [u8]),
}

/// Copies, gives the copy its name, and removes what was copied.
pub(super) fn move_file(root: &RootDir, way: &Way<'_>, target: Target) -> Result<(), Fault> {
    let (near, seen) = placed(root, way, target)?;
    remove_source(way, &seen, &near.file)
}

/// Copies, and gives the copy its name.
pub(super) fn copy_file(root: &RootDir, way: &Way<'_>, target: Target) -> Result<(), Fault> {
    placed(root, way, target).map(|_| ())
}

/// The copy under its name, and what it was made of.
fn placed(root: &RootDir, way: &Way<'_>, target: Target) -> Result<(Unplaced, Stat), Fault> {
    let (dir, new, to) = way.to;
    let (source, seen) = root.open_file(way.from.2)?;
    let near = beside(root.again()?, dir, new).map_err(|e| Fault::system(to, e))?;
    copy((&source, &seen), &near.file).map_err(|e| Fault::file(to, e))?;
    reach("across.after-copy");
    let (from, name) = (near.dir.as_fd(), near.name.as_bytes());
    rename(from, name, dir, new, target).map_err(|e| taken(to, e))?;
    near.placed.store(true, Ordering::Release);
    sync_directory(dir).map_err(|e| Fault::system(to, e))?;
    reach("across.after-place");
    Ok((near, seen))
}

/// A file beside the target, under a name that the target's says: what a dead process left of the same move is found
/// by it, and goes. It is never written to, since it may be the target itself by another name.
fn beside(root: RootDir, dir: BorrowedFd<'_>, target: &[u8]) -> Result<Unplaced, Errno> {
    use std::fmt::Write as _;
    let mut name = NEARBY.to_owned();
    for byte in &Sha256::digest(target)[..8] {
        let _ = write!(name, "{byte:02x}");
    }
    for _ in 0..TRIES.0 {
        match create_locked(dir, &name) {
            Err(Errno::EXIST) => remove_dead(dir, name.as_bytes())?,
            Ok(None) => sleep(TRIES.1),
            Err(errno) => return Err(errno),
            Ok(Some(file)) => return Ok(Unplaced::of(root, (search_below(dir, b".")?, name), file)),
        }
    }
    Err(Errno::BUSY)
}

/// The same bytes, durably there, with the same owner, mode and times.
fn copy((mut source, seen): (&File, &Stat), mut near: &File) -> io::Result<()> {
    io::copy(&mut source, &mut near)?;
    take_after(near.as_fd(), seen)?;
    fsync(near)?;
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    loop {
        let read = (source.read_at(&mut one, at)?, near.read_at(&mut other, at)?);
        if read.0 == 0 && read.1 == 0 {
            return Ok(());
        }
        let both = read.0.min(read.1);
        if both == 0 || one[..both] != other[..both] {
            return Err(io::Error::other("what was written is not what was read"));
        }
        at += both as u64;
    }
}

/// Who may not give files away, or a file system that knows no owners, keeps them: the bytes matter more.
fn take_after(fd: BorrowedFd<'_>, seen: &Stat) -> Result<(), Errno> {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let nanoseconds = |n| i64::try_from(n).unwrap_or(0);
    futimens(
        fd,
        &Timestamps {
            last_access: time(seen.st_atime, nanoseconds(seen.st_atime_nsec)),
            last_modification: time(seen.st_mtime, nanoseconds(seen.st_mtime_nsec)),
        },
    )?;
    let (owner, group) = (Uid::from_raw(seen.st_uid), Gid::from_raw(seen.st_gid));
    let given = [
        fchown(fd, Some(owner), Some(group)),
        fchmod(fd, Mode::from_raw_mode(seen.st_mode & 0o777)),
    ];
    let refused = |e: &Errno| matches!(*e, Errno::PERM | Errno::INVAL | Errno::NOTSUP);
    given
        .into_iter()
        .find_map(Result::err)
        .filter(|e| !refused(e))
        .map_or(Ok(()), Err)
}

/// The source goes where it is still the file that was copied; where another one is there, the copy goes. Where nothing
/// is there any more, somebody else deleted it, and the copy is all that is left of it.
fn remove_source(way: &Way<'_>, seen: &Stat, placed: &File) -> Result<(), Fault> {
    let ((source_dir, old, from), (dir, new, to)) = (way.from, way.to);
    let fault = |errno| Fault::system(from, errno);
    match statat(source_dir, old, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) if is_same(&now, seen) => {
            unlinkat(source_dir, old, AtFlags::empty()).map_err(fault)?;
            sync_directory(source_dir).map_err(fault)
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(fault(errno)),
        Ok(_) => {
            withdraw((dir, new), placed).map_err(|e| Fault::system(to, e))?;
            Err(Fault::Changed(from.to_vec()))
        }
    }
}

fn withdraw((dir, name): (BorrowedFd<'_>, &[u8]), placed: &File) -> Result<(), Errno> {
    let there = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if identity(&there) == identity(&fstat(placed)?) {
        unlinkat(dir, name, AtFlags::empty())?;
    }
    Ok(())
}

/// Whether nobody wrote to the file or put another in its place.
fn is_same(now: &Stat, seen: &Stat) -> bool {
    let of = |stat: &Stat| (identity(stat), stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    of(now) == of(seen)
}
