//! Download: an object's bytes to a file, or to a stream, with constant memory.
//!
//! A file is written under a temporary name beside the target, compared with what the record and the checksum table
//! say, made durable, then renamed: nobody ever sees half a file, and one that is not what it should be is not left.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile};
use tokio::sync::mpsc;

use super::Interrupt;
use crate::metadata::FileRecord;
use crate::providers::{Provider, ProviderError};

/// Pieces read ahead of the disk.
const AHEAD: usize = 8;
/// No name on disk may be longer, in bytes; some room is left for a number.
const LONGEST: usize = 245;

/// A file to be fetched, and what it must be.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub record: FileRecord,
    pub provider: Arc<Provider>,
    /// Hex SHA-256 of its content, where it is known.
    pub sha256: Option<String>,
}

/// Why a file was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    #[error("the object is gone: {0}")]
    Missing(String),
    #[error("{0} exists already: --force replaces it")]
    Exists(String),
    #[error("what arrived is not the file: {0}")]
    Integrity(String),
    #[error("{target} cannot be written: {error}")]
    Write { target: String, error: io::Error },
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl DownloadError {
    /// The code of the item's error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "STORAGE_FILE_NOT_FOUND",
            Self::Exists(_) => "STORAGE_VALIDATION_ERROR",
            Self::Integrity(_) => "STORAGE_INTEGRITY_ERROR",
            Self::Write { .. } | Self::Interrupted => "STORAGE_ERROR",
            Self::Provider(error) => super::upload::provider_code(error),
        }
    }

    fn write(target: &Path, error: io::Error) -> Self {
        Self::Write {
            target: target.display().to_string(),
            error,
        }
    }
}

/// Fetches the file to `target`, whose directory must be there. Without `force` nothing is replaced.
///
/// # Errors
/// Everything that leaves the target as it was.
///
/// # Cancellation
/// May leave a file named `.civic-download-*` beside the target. An interrupt leaves nothing.
pub async fn to_file(
    wanted: &Wanted,
    target: &Path,
    force: bool,
    interrupt: &Interrupt,
) -> Result<(), DownloadError> {
    let exists = || DownloadError::Exists(target.display().to_string());
    if !force && fs::symlink_metadata(target).is_ok() {
        return Err(exists());
    }
    let written = |error| DownloadError::write(target, error);
    let directory = match target.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let temporary = Builder::new()
        .prefix(".civic-download-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(written)?;
    let temporary: NamedTempFile = fetch(wanted, temporary, interrupt)
        .await
        .map_err(|failed| failed.at(target))?;
    let (target_owned, directory) = (target.to_path_buf(), directory.to_path_buf());
    let placed = tokio::task::spawn_blocking(move || {
        temporary.as_file().sync_all()?;
        if force {
            temporary.persist(&target_owned)?;
        } else {
            temporary.persist_noclobber(&target_owned)?;
        }
        File::open(directory)?.sync_all()
    });
    match placed.await.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
        Err(error) if !force && error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        placed => placed.map_err(written),
    }
}

/// Fetches the file to a stream. What arrives is compared all the same, though it cannot be taken back.
///
/// # Errors
/// Everything but a reader that has seen enough.
///
/// # Cancellation
/// Ends the stream.
pub async fn to_stream(
    wanted: &Wanted,
    out: Box<dyn Write + Send>,
    interrupt: &Interrupt,
) -> Result<(), DownloadError> {
    match fetch(wanted, out, interrupt).await {
        Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(failed) => Err(failed.at(Path::new("standard output"))),
        Ok(_) => Ok(()),
    }
}

enum Failed {
    Write(io::Error),
    Other(DownloadError),
}

impl Failed {
    fn at(self, target: &Path) -> DownloadError {
        match self {
            Self::Write(error) => DownloadError::write(target, error),
            Self::Other(error) => error,
        }
    }
}

impl<E: Into<DownloadError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// Streams the object into `out`, which is written on a thread that may block, and compares.
async fn fetch<W: Write + Send + 'static>(
    wanted: &Wanted,
    out: W,
    interrupt: &Interrupt,
) -> Result<W, Failed> {
    let mut pieces = open(wanted).await?;
    let (sender, mut receiver) = mpsc::channel::<bytes::Bytes>(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let (mut out, mut hash, mut size) = (out, Sha256::new(), 0_u64);
        while let Some(piece) = receiver.blocking_recv() {
            out.write_all(&piece)?;
            hash.update(&piece);
            size += piece.len() as u64;
        }
        out.flush()?;
        Ok((out, size, super::upload::hex(hash)))
    });
    let mut failed = None;
    loop {
        let piece = tokio::select! {
            biased;
            () = interrupt.requested() => {
                failed = Some(DownloadError::Interrupted);
                break;
            }
            piece = pieces.next() => piece,
        };
        match piece {
            None => break,
            Some(Err(error)) => {
                failed = Some(wanted.provider.store_error("download", error).into());
                break;
            }
            // A writer that failed says so itself.
            Some(Ok(piece)) if sender.send(piece.clone()).await.is_err() => break,
            Some(Ok(_)) => {}
        }
    }
    drop(sender);
    let written = writer.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (out, size, sha256) = written.map_err(Failed::Write)?;
    compare(wanted, size, &sha256)?;
    Ok(out)
}

async fn open(
    wanted: &Wanted,
) -> Result<futures::stream::BoxStream<'static, object_store::Result<bytes::Bytes>>, DownloadError> {
    let provider = &wanted.provider;
    let path = &wanted.record.provider_path;
    let key = provider
        .mapping
        .key_of(path)
        .ok_or_else(|| DownloadError::Missing(path.clone()))?;
    let location = provider.location(&key)?;
    match provider.store.get(&location).await {
        Ok(got) => Ok(got.into_stream()),
        Err(object_store::Error::NotFound { .. }) => {
            // A bucket or root that is gone is another matter, and a HEAD tells.
            provider.head(&key).await?;
            Err(DownloadError::Missing(path.clone()))
        }
        Err(error) => Err(provider.store_error("download", error).into()),
    }
}

fn compare(wanted: &Wanted, size: u64, sha256: &str) -> Result<(), DownloadError> {
    let recorded = wanted.record.size;
    if i64::try_from(size) != Ok(recorded) {
        let why = format!("{size} bytes, where the record says {recorded}");
        return Err(DownloadError::Integrity(why));
    }
    match &wanted.sha256 {
        Some(known) if known != sha256 => Err(DownloadError::Integrity(format!(
            "its SHA-256 is {sha256}, where {known} was stored"
        ))),
        _ => Ok(()),
    }
}

/// The name as a file system takes it: no `/`, no control character, not `.` or `..`, not too long.
#[must_use]
pub fn safe_name(name: &str) -> String {
    let safe: String = name
        .chars()
        .map(|c| if c == '/' || c.is_control() { '_' } else { c })
        .collect();
    if matches!(safe.as_str(), "" | "." | "..") {
        return "_".repeat(safe.len().max(1));
    }
    if safe.len() <= LONGEST {
        return safe;
    }
    let (base, extension) = super::upload::divide(&safe);
    let extension = if extension.len() > LONGEST / 2 {
        ""
    } else {
        extension
    };
    let mut end = LONGEST - extension.len();
    while !base.is_char_boundary(end.min(base.len())) {
        end -= 1;
    }
    format!("{}{extension}", &base[..end.min(base.len())])
}

/// The same with a number before the extension: `plan (2).pdf`.
#[must_use]
pub fn numbered(name: &str, number: u32) -> String {
    let (base, extension) = super::upload::divide(name);
    format!("{base} ({number}){extension}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_stay_in_their_directory() {
        for (name, safe) in [
            ("plan.pdf", "plan.pdf"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("..", "__"),
            (".", "_"),
            ("", "_"),
            ("a\0b\nc\x1b[2J", "a_b_c_[2J"),
            ("été 会議.pdf", "été 会議.pdf"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        assert_eq!(numbered("plan.v1.pdf", 2), "plan.v1 (2).pdf");
        assert_eq!(numbered("README", 3), "README (3)");
    }

    proptest! {
        #[test]
        fn every_name_becomes_one_that_a_directory_takes(name in "\\PC{0,400}|.{0,400}") {
            let safe = safe_name(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= LONGEST);
            prop_assert!(!safe.contains('/') && !safe.chars().any(char::is_control));
            prop_assert!(safe != "." && safe != "..");
        }
    }
}
