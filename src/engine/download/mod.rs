//! Download: an object's bytes, or a range of them, to a file or to a stream, with constant memory.
//!
//! A file has no name, or a temporary one, until it was compared with what the record and the checksum table say, and made
//! durable: nobody ever sees half a file, and one that is not what it should be is not left (see [`unplaced`]).
//! What has arrived when a download breaks is thrown away, unless it is to be resumed (see [`part`]).

mod behind;
mod blocks;
mod disk;
mod elsewhere;
mod part;
mod parts;
mod range;
mod sums;
mod unplaced;

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, GetRange};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use self::behind::Behind;
use self::part::Part;
use self::unplaced::Unplaced;
use super::Interrupt;
use super::hash::hex;
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::PartSums;
use crate::providers::{Key, Provider, ProviderError};

pub use elsewhere::Elsewhere;
pub(super) use parts::FROM;
pub use parts::is_in_parts;
pub use range::ByteRange;

/// Pieces read ahead of the disk.
const AHEAD: usize = 8;
/// How object_store says that a server sent all where a range was asked for.
const NOT_PARTIAL: &str = "non-partial response";
/// No name on disk may be longer, in bytes; some room is left for a number.
const LONGEST: usize = 245;

/// A file to be fetched, and what it must be.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub record: FileRecord,
    pub provider: Arc<Provider>,
    /// Where it is there; `None` where the record tells.
    pub key: Option<Key>,
    /// Where to look if that provider cannot give it.
    pub copies: Vec<Elsewhere>,
    /// Hex SHA-256 of its content, where it is known.
    pub sha256: Option<String>,
    /// The same of its parts; [`is_in_parts`] tells of which files it is worth to know that.
    pub parts: Option<Arc<PartSums>>,
    /// Only these of its bytes: their number is compared, and nothing else can be.
    pub range: Option<Range<u64>>,
}

/// How a file is put in its place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Placing {
    /// Replace what is there.
    pub force: bool,
    /// Keep what has arrived where the download breaks, and go on from what an earlier one kept.
    pub resume: bool,
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
    #[error("{0} sends files whole, and no range of them")]
    NoRanges(String),
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
            Self::Write { .. } | Self::NoRanges(_) | Self::Interrupted => "STORAGE_ERROR",
            Self::Provider(error) => error.code(),
        }
    }

    fn write(target: &Path, error: io::Error) -> Self {
        Self::Write {
            target: target.display().to_string(),
            error,
        }
    }
}

/// Fetches the file to `target`, whose directory must be there, from its provider or from a copy. Unless forced nothing is
/// replaced.
///
/// # Errors
/// Everything that leaves the target as it was.
///
/// # Cancellation
/// Leaves nothing but what is to be resumed. Where the file system has no files without a name, a process that dies leaves one
/// named `.civic-download-*` beside the target.
pub async fn to_file(
    wanted: &Wanted,
    target: &Path,
    placing: Placing,
    interrupt: &Interrupt,
) -> Result<(), DownloadError> {
    elsewhere::first_good(wanted, async |wanted| {
        to_file_once(wanted, target, placing, interrupt).await
    })
    .await
}

async fn to_file_once(
    wanted: &Wanted,
    target: &Path,
    placing: Placing,
    interrupt: &Interrupt,
) -> Result<(), DownloadError> {
    let exists = || DownloadError::Exists(target.display().to_string());
    let written = |error| DownloadError::write(target, error);
    match fs::symlink_metadata(target) {
        Ok(_) if !placing.force => return Err(exists()),
        Ok(there) if !there.is_file() && !there.is_symlink() => {
            return Err(written(io::Error::other("something that is no file is there")));
        }
        _ => {}
    }
    let at = |failed: Failed| failed.at(target);
    let directory = unplaced::beside(target);
    let whole = if placing.resume {
        let part = Part::open(directory, wanted).map_err(written)?;
        part.fill(wanted, interrupt).await
    } else {
        let file = || Unplaced::new(directory).map_err(written);
        match fetch(wanted, file()?, interrupt).await {
            // The whole has the last word: it may be what is kept of the parts that is wrong.
            Err(Failed::Other(DownloadError::Integrity(why))) if wanted.parts.is_some() => {
                let as_one = Wanted {
                    parts: None,
                    ..wanted.clone()
                };
                let fetched = fetch(&as_one, file()?, interrupt).await;
                fetched.map_err(|failed| match failed {
                    Failed::Other(DownloadError::Integrity(_)) => DownloadError::Integrity(why).into(),
                    failed => failed,
                })
            }
            fetched => fetched,
        }
    };
    let (whole, target_owned, force) = (whole.map_err(at)?, target.to_path_buf(), placing.force);
    let placed = tokio::task::spawn_blocking(move || whole.place(&target_owned, force));
    match placed.await.unwrap_or_else(|lost| Err(io::Error::other(lost))) {
        Err(error) if !force && error.kind() == io::ErrorKind::AlreadyExists => Err(exists()),
        placed => placed.map_err(written),
    }
}

/// Fills the file with all of the object, and compares it.
async fn fetch(wanted: &Wanted, whole: Unplaced, interrupt: &Interrupt) -> Result<Unplaced, Failed> {
    if !parts::fill(wanted, whole.file(), interrupt).await? {
        let pieces = open(wanted, None, None).await?.pieces;
        let file = whole.file().try_clone().map_err(Failed::Write)?;
        let behind = Some(Behind::new(&file).map_err(Failed::Write)?);
        fill(wanted, (file, behind), Sofar::default(), (pieces, interrupt)).await?;
    }
    Ok(whole)
}

/// Fetches the file to a stream, from its provider or from a copy: which, is settled with the first byte. What arrives is
/// compared all the same, though it cannot be taken back.
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
    let opened = elsewhere::first_good(wanted, async |wanted| open(wanted, None, None).await);
    let pieces = opened.await?.pieces;
    match fill(wanted, (out, None), Sofar::default(), (pieces, interrupt)).await {
        Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(failed) => Err(failed.at(Path::new("standard output"))),
        Ok(()) => Ok(()),
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

/// What of the file is there already.
#[derive(Default)]
struct Sofar {
    hash: Sha256,
    /// Bytes.
    size: u64,
}

type Pieces = BoxStream<'static, object_store::Result<bytes::Bytes>>;

/// Streams pieces into `out`, which is written on a thread that may block, and compares all of it.
async fn fill<W: Write + Send + 'static>(
    wanted: &Wanted,
    (out, behind): (W, Option<Behind>),
    sofar: Sofar,
    (mut pieces, interrupt): (Pieces, &Interrupt),
) -> Result<(), Failed> {
    let (sender, mut receiver) = mpsc::channel::<bytes::Bytes>(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let (mut out, mut behind, Sofar { mut hash, mut size }) = (out, behind, sofar);
        while let Some(piece) = receiver.blocking_recv() {
            out.write_all(&piece)?;
            hash.update(&piece);
            size += piece.len() as u64;
            if let Some(behind) = &mut behind {
                behind.wrote(piece.len())?;
            }
            reach("download.after-piece");
        }
        out.flush()?;
        if let Some(behind) = &mut behind {
            behind.finish()?;
        }
        Ok((size, hex(hash.finalize())))
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
    let (size, sha256) = written.map_err(Failed::Write)?;
    Ok(compare(wanted, size, &sha256)?)
}

/// An object that is about to arrive.
struct Arriving {
    pieces: Pieces,
    etag: Option<String>,
}

/// Asks for the object, from a byte on, and only while it is the one with that ETag: `None` where it is another.
async fn ask(
    wanted: &Wanted,
    from: Option<u64>,
    etag: Option<&str>,
) -> Result<Option<Arriving>, DownloadError> {
    let provider = &wanted.provider;
    let path = &wanted.record.provider_path;
    let key = wanted.key.clone().or_else(|| provider.mapping.key_of(path));
    let key = key.ok_or_else(|| DownloadError::Missing(path.clone()))?;
    let location = provider.location(&key)?;
    let range = match (&wanted.range, from) {
        (Some(range), _) => Some(GetRange::Bounded(range.clone())),
        (None, from) => from.map(GetRange::Offset),
    };
    let options = GetOptions {
        if_match: etag.map(str::to_owned),
        range,
        ..GetOptions::default()
    };
    match provider.store.get_opts(&location, options).await {
        Ok(got) => {
            held_to_its_size(wanted, got.meta.size)?;
            Ok(Some(Arriving {
                etag: got.meta.e_tag.clone(),
                pieces: got.into_stream(),
            }))
        }
        Err(error) if error.to_string().contains(NOT_PARTIAL) => {
            Err(DownloadError::NoRanges(provider.name.clone()))
        }
        Err(object_store::Error::Precondition { .. }) if etag.is_some() => Ok(None),
        Err(object_store::Error::NotFound { .. }) => {
            // A bucket or root that is gone is another matter, and a HEAD tells.
            provider.head(&key).await?;
            Err(DownloadError::Missing(path.clone()))
        }
        Err(error) => Err(provider.store_error("download", error).into()),
    }
}

/// A range of an object of another size is a range of another file.
fn held_to_its_size(wanted: &Wanted, size: u64) -> Result<(), DownloadError> {
    let recorded = wanted.record.size;
    if wanted.range.is_none() || i64::try_from(size) == Ok(recorded) {
        return Ok(());
    }
    let why = format!("{size} bytes are there, where the record says {recorded}");
    Err(DownloadError::Integrity(why))
}

async fn open(wanted: &Wanted, from: Option<u64>, etag: Option<&str>) -> Result<Arriving, DownloadError> {
    ask(wanted, from, etag).await?.ok_or_else(replaced)
}

fn replaced() -> DownloadError {
    DownloadError::Integrity("the object was replaced meanwhile".to_owned())
}

fn compare(wanted: &Wanted, size: u64, sha256: &str) -> Result<(), DownloadError> {
    if let Some(range) = &wanted.range {
        let asked = range.end - range.start;
        let why = || DownloadError::Integrity(format!("{size} bytes of the {asked} that were asked for"));
        return if size == asked { Ok(()) } else { Err(why()) };
    }
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
