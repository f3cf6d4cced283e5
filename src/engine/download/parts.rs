//! A large object comes in parts that are asked for side by side: one connection alone is as slow as the way to the provider
//! is long. Each part is written where it belongs as it arrives, so that none waits for another, and what has arrived without
//! a gap is read back and hashed.
//!
//! All parts are of the object that the first is of: `If-Match` asks for it, and the answer is looked at, since not every
//! service holds to that.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, block_in_place, spawn_blocking};

use super::behind::Behind;
use super::{DownloadError, Failed, Pieces, Wanted, ask, compare, replaced};
use crate::engine::{Interrupt, upload};
use crate::failpoint::reach;

/// Bytes.
const PART: u64 = 16 << 20;
const SIDE_BY_SIDE: u64 = 5;
/// What is smaller comes faster as one.
const WORTH: u64 = 2 * PART;
/// Bytes that are read back at once.
const PIECE: usize = 256 << 10;

/// Fills the file with the object and compares it. `false` where it is to come as one: it is small, or near, or the service
/// sends no parts, or does not tell of which object they are.
///
/// # Cancellation
/// Ends the requests. What has arrived stays in the file.
pub(super) async fn fill(wanted: &Wanted, file: &File, interrupt: &Interrupt) -> Result<bool, Failed> {
    let size = u64::try_from(wanted.record.size).unwrap_or(0);
    if size < WORTH || wanted.range.is_some() || wanted.provider.type_name == "local" {
        return Ok(false);
    }
    let (etag, begun) = match ask(&part(wanted, 0..PART), None, None).await {
        Ok(Some(arriving)) => match arriving.etag {
            Some(etag) => (etag, arriving.pieces),
            None => return Ok(false),
        },
        Ok(None) | Err(DownloadError::NoRanges(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let whole = Arc::new(Whole {
        wanted: wanted.clone(),
        etag,
        size,
        file: file.try_clone().map_err(Failed::Write)?,
        next: AtomicU64::new(1),
    });
    let (told, arrived) = mpsc::unbounded_channel();
    let mut workers = JoinSet::new();
    workers.spawn(Arc::clone(&whole).work(Some(begun), told.clone()));
    for _ in 1..SIDE_BY_SIDE {
        workers.spawn(Arc::clone(&whole).work(None, told.clone()));
    }
    drop(told);
    let hashing = spawn_blocking(move || whole.hash(arrived));
    loop {
        let ended = tokio::select! {
            biased;
            () = interrupt.requested() => return Err(DownloadError::Interrupted.into()),
            ended = workers.join_next() => ended,
        };
        match ended {
            None => break,
            Some(ended) => ended.unwrap_or_else(|lost| Err(Failed::Write(io::Error::other(lost))))?,
        }
    }
    let hashed = hashing.await.unwrap_or_else(|lost| Err(io::Error::other(lost)));
    compare(wanted, size, &hashed.map_err(Failed::Write)?)?;
    Ok(true)
}

fn part(wanted: &Wanted, bytes: Range<u64>) -> Wanted {
    Wanted {
        range: Some(bytes),
        ..wanted.clone()
    }
}

/// An object on its way into a file.
struct Whole {
    wanted: Wanted,
    etag: String,
    /// Bytes.
    size: u64,
    file: File,
    /// The part that nobody has asked for yet.
    next: AtomicU64,
}

impl Whole {
    fn bytes_of(&self, number: u64) -> Option<Range<u64>> {
        let start = number.checked_mul(PART).filter(|start| *start < self.size)?;
        Some(start..self.size.min(start + PART))
    }

    /// Brings the first part, which has begun, and then any that nobody else does.
    async fn work(
        self: Arc<Self>,
        mut begun: Option<Pieces>,
        told: mpsc::UnboundedSender<u64>,
    ) -> Result<(), Failed> {
        loop {
            let number = match begun {
                Some(_) => 0,
                None => self.next.fetch_add(1, Ordering::Relaxed),
            };
            let Some(bytes) = self.bytes_of(number) else {
                return Ok(());
            };
            let pieces = match begun.take() {
                Some(pieces) => pieces,
                None => self.ask(bytes.clone()).await?,
            };
            self.write(bytes, pieces).await?;
            // Nobody hears it where another part has failed.
            let _ = told.send(number);
        }
    }

    async fn ask(&self, bytes: Range<u64>) -> Result<Pieces, DownloadError> {
        let asked = ask(&part(&self.wanted, bytes), None, Some(&self.etag)).await?;
        let arriving = asked.ok_or_else(replaced)?;
        if arriving.etag.as_ref() != Some(&self.etag) {
            return Err(replaced());
        }
        Ok(arriving.pieces)
    }

    async fn write(&self, bytes: Range<u64>, mut pieces: Pieces) -> Result<(), Failed> {
        let (mut at, asked) = (bytes.start, bytes.end - bytes.start);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.broken(error))?;
            if piece.len() as u64 > bytes.end - at {
                let why = format!("more bytes than the {asked} that were asked for");
                return Err(DownloadError::Integrity(why).into());
            }
            // A disk that cannot keep up holds back this part, and nothing else on this thread.
            block_in_place(|| self.file.write_all_at(&piece, at)).map_err(Failed::Write)?;
            at += piece.len() as u64;
            reach("download.after-piece");
        }
        if at == bytes.end {
            return Ok(());
        }
        let why = format!("{} bytes of the {asked} that were asked for", at - bytes.start);
        Err(DownloadError::Integrity(why).into())
    }

    fn broken(&self, error: object_store::Error) -> DownloadError {
        match error {
            object_store::Error::Precondition { .. } => replaced(),
            error => self.wanted.provider.store_error("download", error).into(),
        }
    }

    /// Hex SHA-256 of all parts, each read back once those before it have been.
    fn hash(&self, mut arrived: mpsc::UnboundedReceiver<u64>) -> io::Result<String> {
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
        let (mut waiting, mut next) = (BTreeSet::new(), 0);
        let mut behind = Behind::new(&self.file)?;
        while let Some(number) = arrived.blocking_recv() {
            waiting.insert(number);
            while waiting.remove(&next) {
                let bytes = self.bytes_of(next).unwrap_or_default();
                let mut at = bytes.start;
                while at < bytes.end {
                    let most = usize::try_from(bytes.end - at).map_or(PIECE, |left| left.min(PIECE));
                    let read = &mut piece[..most];
                    self.file.read_exact_at(read, at)?;
                    hash.update(&read);
                    behind.wrote(most)?;
                    at += most as u64;
                }
                next += 1;
            }
        }
        behind.finish()?;
        Ok(upload::hex(hash))
    }
}
