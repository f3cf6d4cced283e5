//! A download that may be resumed: what has arrived stays beside the target in `.civic-download-<id>.part`, and a note
//! beside it says of which object it is a part. The next download asks for the rest while the object is the same one
//! (`If-Match`), and the whole is compared before it gets its name.
//!
//! A power cut may leave bytes that never reached the disk. Where no checksum would notice, what was kept before the machine
//! was started anew is thrown away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use tempfile::TempPath;

use super::behind::Behind;
use super::unplaced::Unplaced;
use super::{Arriving, DownloadError, Failed, Sofar, Wanted, ask, compare, fill, open};
use crate::engine::Interrupt;
use crate::engine::hash::hex;

/// Changes whenever the machine is started.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Of which object the part is one, and since when the machine runs.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    etag: String,
    boot: Option<String>,
}

/// What has arrived of a file. Nobody else works on it for as long as this lives.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    note: PathBuf,
}

impl Part {
    /// Opens it, or begins one.
    ///
    /// # Errors
    /// Where it cannot be written, or another download is at work on it.
    pub(super) fn open(directory: &Path, wanted: &Wanted) -> io::Result<Self> {
        let id: String = wanted
            .record
            .id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let path = directory.join(format!(".civic-download-{id}.part"));
        // Nobody's link is followed: the name can be told beforehand.
        let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o666).custom_flags(nofollow).open(&path)?;
        let at_work = || io::Error::other("another download of the same file is at work here");
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| at_work())?;
        // Who waited for the lock may hold what has become somebody's file meanwhile.
        let (held, named) = (file.metadata()?, fs::symlink_metadata(&path));
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            return Err(at_work());
        }
        Ok(Self {
            note: path.with_extension("note"),
            file,
            path,
        })
    }

    /// Fetches what is missing and compares the whole. What is not the file is not kept; what broke off is.
    pub(super) async fn fill(mut self, wanted: &Wanted, interrupt: &Interrupt) -> Result<Unplaced, Failed> {
        let kept = self.kept(wanted).map_err(Failed::Write)?;
        let (sofar, arriving) = self.rest(wanted, kept).await?;
        let filled = match arriving {
            Some(arriving) => {
                self.note(&arriving).map_err(Failed::Write)?;
                let file = self.file.try_clone().map_err(Failed::Write)?;
                let behind = Some(Behind::new(&file).map_err(Failed::Write)?);
                fill(wanted, (file, behind), sofar, (arriving.pieces, interrupt)).await
            }
            None => compare(wanted, sofar.size, &hex(sofar.hash.finalize())).map_err(Failed::from),
        };
        match filled {
            Ok(()) => {
                let whole = TempPath::try_from_path(&self.path).map_err(Failed::Write)?;
                // The file is held until it has its name: whoever opened the part before would write into it.
                Ok(Unplaced::part(self.file, whole, self.note))
            }
            Err(failed) => {
                if matches!(failed, Failed::Other(DownloadError::Integrity(_))) {
                    self.forget();
                }
                Err(failed)
            }
        }
    }

    fn forget(&self) {
        for path in [&self.note, &self.path] {
            let _ = fs::remove_file(path);
        }
    }

    /// The ETag of the object that what is here is a part of; `None` where it is worth nothing.
    fn kept(&self, wanted: &Wanted) -> io::Result<Option<String>> {
        let size = self.file.metadata()?.len();
        let note = fs::read(&self.note).ok();
        let note: Option<Note> = note.and_then(|note| serde_json::from_slice(&note).ok());
        let fits = u64::try_from(wanted.record.size).is_ok_and(|whole| size <= whole);
        let sound = |note: &Note| wanted.sha256.is_some() || note.boot.is_some() && note.boot == boot();
        let note = note.filter(|note| size > 0 && fits && sound(note));
        Ok(note.map(|note| note.etag))
    }

    /// What is here, and the rest of the object; no rest where nothing is missing.
    async fn rest(
        &mut self,
        wanted: &Wanted,
        kept: Option<String>,
    ) -> Result<(Sofar, Option<Arriving>), Failed> {
        if let Some(etag) = kept {
            let sofar = self.read().await.map_err(Failed::Write)?;
            if i64::try_from(sofar.size) == Ok(wanted.record.size) {
                return Ok((sofar, None));
            }
            let rest = match ask(wanted, Some(sofar.size), Some(&etag)).await {
                Err(error @ DownloadError::NoRanges(_)) => Err(error),
                rest => Ok(rest?),
            };
            if let Ok(Some(arriving)) = rest {
                tracing::info!(
                    "{}: {} bytes are here already",
                    wanted.record.original_name,
                    sofar.size
                );
                return Ok((sofar, Some(arriving)));
            }
            let why = rest.map_or_else(|error| error.to_string(), |_| "the object has changed".to_owned());
            tracing::warn!(
                "{}: {why}; what had arrived is thrown away",
                wanted.record.original_name
            );
        }
        let arriving = open(wanted, None, None).await?;
        self.file.set_len(0).map_err(Failed::Write)?;
        self.file.rewind().map_err(Failed::Write)?;
        Ok((Sofar::default(), Some(arriving)))
    }

    async fn read(&mut self) -> io::Result<Sofar> {
        let mut file = self.file.try_clone()?;
        let reading = tokio::task::spawn_blocking(move || {
            let (mut sofar, mut piece) = (Sofar::default(), vec![0; 256 << 10]);
            file.rewind()?;
            loop {
                let count = file.read(&mut piece)?;
                if count == 0 {
                    file.seek(SeekFrom::Start(sofar.size))?;
                    return Ok(sofar);
                }
                sofar.hash.update(&piece[..count]);
                sofar.size += count as u64;
            }
        });
        reading.await.unwrap_or_else(|lost| Err(io::Error::other(lost)))
    }

    /// Written before the first byte: a part without its note is worth nothing.
    fn note(&self, arriving: &Arriving) -> io::Result<()> {
        let Some(etag) = arriving.etag.clone() else {
            return match fs::remove_file(&self.note) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        let note = serde_json::to_vec(&Note { etag, boot: boot() })?;
        let written = self.note.with_extension("note.new");
        let _ = fs::remove_file(&written);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).open(&written)?;
        io::Write::write_all(&mut file, &note)?;
        fs::rename(written, &self.note)
    }
}

fn boot() -> Option<String> {
    fs::read_to_string(BOOT).ok()
}
