//! A file that a download fills, before it has its place. It has no name at all where the file system knows such files, so that
//! nothing is left of it when the process dies; else a temporary one beside the target.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use tempfile::{Builder, TempPath};

/// Of a new file, before the umask.
const MODE: u32 = 0o666;

pub(super) struct Unplaced {
    file: File,
    /// Where it has one.
    name: Option<TempPath>,
    /// Beside one that has been there before and is to stay where it cannot be placed.
    note: Option<PathBuf>,
}

impl Unplaced {
    /// A new one, in the directory of its target.
    ///
    /// # Errors
    /// The directory's own, where it is not there: a temporary file's would name what nobody asked for.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let why =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", directory.display()));
        fs::metadata(directory).map_err(why)?;
        nameless(directory).map_or_else(|| temporary(directory), Ok)
    }

    /// One that has been there before, and what says of which object it is: both stay until it has its place.
    pub(super) const fn part(file: File, name: TempPath, note: PathBuf) -> Self {
        Self {
            file,
            name: Some(name),
            note: Some(note),
        }
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Makes it durable and puts it in its place, in one step; `force` takes the place of what is there.
    ///
    /// # Errors
    /// `AlreadyExists` where something is there and `force` is not set. Nothing is left of a new file then.
    pub(super) fn place(self, target: &Path, force: bool) -> io::Result<()> {
        self.file.sync_all()?;
        match self.name {
            None if force => {
                // Only a name can take another's place.
                let link = |name: &Path| link(&self.file, name);
                names().make_in(beside(target), link)?.persist(target)?;
            }
            None => link(&self.file, target)?,
            Some(name) => {
                let placed = if force {
                    name.persist(target)
                } else {
                    name.persist_noclobber(target)
                };
                match (placed, self.note) {
                    (Ok(()), Some(note)) => drop(fs::remove_file(note)),
                    (Err(refused), Some(_)) => {
                        let _ = refused.path.keep();
                        return Err(refused.error);
                    }
                    (placed, None) => placed?,
                }
            }
        }
        match File::open(beside(target)) {
            // The file is there, and who may not read the directory cannot do more for its name.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            directory => directory?.sync_all(),
        }
    }
}

/// The directory that a file is in.
pub(super) fn beside(file: &Path) -> &Path {
    match file.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    }
}

fn names() -> Builder<'static, 'static> {
    let mut names = Builder::new();
    names
        .prefix(".civic-download-")
        .permissions(Permissions::from_mode(MODE));
    names
}

fn temporary(directory: &Path) -> io::Result<Unplaced> {
    let (file, name) = names().tempfile_in(directory)?.into_parts();
    let (name, note) = (Some(name), None);
    Ok(Unplaced { file, name, note })
}

fn nameless(directory: &Path) -> Option<Unplaced> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(open(directory, flags, Mode::from_raw_mode(MODE)).ok()?);
    // Without this it could never be named.
    let can_be_named = fs::metadata(opened(&file)).is_ok();
    let (name, note) = (None, None);
    can_be_named.then_some(Unplaced { file, name, note })
}

/// The path of an open file, whether it has a name or not.
///
/// # Source
/// open(2), `O_TMPFILE`.
fn opened(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, name: &Path) -> io::Result<()> {
    Ok(linkat(CWD, opened(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    type Make = fn(&Path) -> io::Result<Unplaced>;

    /// What is in the directory once such a file was placed there, and how that ended; `before` was there before.
    fn placed(
        make: Make,
        before: Option<&str>,
        force: bool,
    ) -> (Vec<(String, String)>, Option<io::ErrorKind>) {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        if let Some(before) = before {
            fs::write(&target, before).unwrap();
        }
        let file = make(directory.path()).unwrap();
        file.file().write_all(b"new").unwrap();
        let ended = file.place(&target, force).err().map(|error| error.kind());
        let entries = fs::read_dir(directory.path()).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let content = fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), content)
        });
        (entries.collect(), ended)
    }

    #[test]
    fn it_is_placed_where_nothing_is_and_takes_another_s_place_only_by_force() {
        let only = |content: &str| vec![("target".to_owned(), content.to_owned())];
        for make in [Unplaced::new as Make, temporary] {
            assert_eq!(placed(make, None, false), (only("new"), None));
            assert_eq!(placed(make, None, true), (only("new"), None));
            assert_eq!(placed(make, Some("old"), true), (only("new"), None));
            let refused = Some(io::ErrorKind::AlreadyExists);
            assert_eq!(placed(make, Some("old"), false), (only("old"), refused));
        }
    }

    #[test]
    fn it_has_the_mode_of_any_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().mode();
        fs::write(directory.path().join("any"), "").unwrap();
        for (name, make) in [("a", Unplaced::new as Make), ("b", temporary)] {
            let file = make(directory.path()).unwrap();
            file.place(&directory.path().join(name), false).unwrap();
            assert_eq!(mode(name), mode("any"));
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let made = Unplaced::new(&directory.path().join("none"));
        assert_eq!(
            made.err().map(|error| error.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }
}
