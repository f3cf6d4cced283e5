//! A large object comes in parts that are asked for side by side: one connection alone is as slow as the way to the provider
//! is long. What arrives goes from memory to where it belongs in the file, so that none waits for another, and is hashed in
//! its turn.
//!
//! All parts are of the object that the first is of: `If-Match` asks for it, and the answer is looked at, since not every
//! service holds to that.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::mpsc as queue;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::behind::Behind;
use super::blocks::{BLOCK, Blocks, Lent};
use super::sums::Sums;
use super::{DownloadError, Failed, Pieces, Wanted, ask, compare, disk, replaced};
use crate::engine::Interrupt;
use crate::failpoint::reach;

/// Bytes of the first part, and of all where a connection is slow: then many are to be under way.
const PART: u64 = 8 << 20;
/// Bytes of a part where a connection is fast: then each request costs more than it brings.
const LONG_PART: u64 = 64 << 20;
const SIDE_BY_SIDE: u64 = 5;
/// Bytes from which on a file comes in parts: what is smaller comes faster as one.
pub(in crate::engine) const FROM: u64 = 4 * PART;
/// A connection is fast that brings the first so many bytes, once they come, in that time: 256 MiB a second.
const FIRST: usize = 2 << 20;
const FAST: Duration = Duration::from_millis(8);
/// Blocks in memory, where connections are fast and where they are slow.
const FEW: usize = 12;
const MANY: usize = 24;
const WRITERS: usize = 4;

/// One file at a time comes in parts: many have connections enough of their own, and memory is for one.
static ONE: Semaphore = Semaphore::const_new(1);

/// Fills the file with the object and compares it. `false` where it is to come as one: it is small, or near, or another comes in
/// parts, or the service sends none, or does not tell of which object they are.
///
/// # Cancellation
/// Ends the requests. What has arrived stays in the file.
pub(super) async fn fill(wanted: &Wanted, file: &File, interrupt: &Interrupt) -> Result<bool, Failed> {
    let size = u64::try_from(wanted.record.size).unwrap_or(0);
    if !is_in_parts(wanted) {
        return Ok(false);
    }
    let Ok(_alone) = ONE.try_acquire() else {
        return Ok(false);
    };
    let arriving = match ask(&part(wanted, 0..PART), None, None).await {
        Err(DownloadError::NoRanges(_)) => None,
        asked => asked?,
    };
    let Some((pieces, etag)) = arriving.and_then(|arriving| Some((arriving.pieces, arriving.etag?))) else {
        return Ok(false);
    };
    disk::prepare(file, size).map_err(Failed::Write)?;
    let filling = async {
        let (begun, is_fast) = begin(pieces).await;
        let whole = Whole {
            wanted: wanted.clone(),
            etag,
            size,
            part: if is_fast { LONG_PART } else { PART },
            file: file.try_clone().map_err(Failed::Write)?,
            turns: Mutex::new((0, Some(begun))),
            blocks: Blocks::new(if is_fast { FEW } else { MANY }).map_err(Failed::Write)?,
        };
        Arc::new(whole).fill().await
    };
    tokio::select! {
        biased;
        () = interrupt.requested() => return Err(DownloadError::Interrupted.into()),
        filled = filling => filled?,
    }
    // The last block was written whole.
    file.set_len(size).map_err(Failed::Write)?;
    Ok(true)
}

/// Whether a file is large enough, and far enough away, to come in parts.
#[must_use]
pub fn is_in_parts(wanted: &Wanted) -> bool {
    let is_large = u64::try_from(wanted.record.size).is_ok_and(|size| size >= FROM);
    is_large && wanted.range.is_none() && wanted.provider.type_name != "local"
}

fn part(wanted: &Wanted, bytes: Range<u64>) -> Wanted {
    Wanted {
        range: Some(bytes),
        ..wanted.clone()
    }
}

/// The same pieces, the first of which have come, and whether they came fast, with the connection all to themselves.
async fn begin(mut pieces: Pieces) -> (Pieces, bool) {
    let (mut come, mut bytes, mut first) = (Vec::new(), 0, None);
    while bytes < FIRST
        && let Some(piece) = pieces.next().await
    {
        first.get_or_insert_with(Instant::now);
        bytes += piece.as_ref().map_or(FIRST, Bytes::len);
        come.push(piece);
    }
    let is_fast = first.is_some_and(|first| first.elapsed() < FAST);
    (stream::iter(come).chain(pieces).boxed(), is_fast)
}

/// An object on its way into a file.
struct Whole {
    wanted: Wanted,
    etag: String,
    /// Bytes.
    size: u64,
    /// Bytes of each part but the first and the last.
    part: u64,
    file: File,
    /// Where the part begins that comes next, and the first one's pieces, until somebody takes them.
    turns: Mutex<(u64, Option<Pieces>)>,
    blocks: Arc<Blocks>,
}

/// A block that has arrived, and where it belongs.
type Arrived = (u64, Arc<Lent>);

/// Who is to have a block: it is free again once both are done.
#[derive(Clone)]
struct Readers {
    hasher: mpsc::UnboundedSender<Arrived>,
    writers: queue::Sender<Arrived>,
}

impl Whole {
    /// Returns once all of the object is in the file, and was compared.
    async fn fill(self: Arc<Self>) -> Result<(), Failed> {
        let (hasher, to_hash) = mpsc::unbounded_channel();
        let (writers, to_write) = queue::channel();
        let (readers, to_write) = (Readers { hasher, writers }, Arc::new(Mutex::new(to_write)));
        let mut work = JoinSet::new();
        for _ in 0..SIDE_BY_SIDE {
            let (whole, readers) = (Arc::clone(&self), readers.clone());
            work.spawn(async move { whole.bring(&readers).await });
        }
        drop(readers);
        for _ in 0..WRITERS {
            let (whole, to_write) = (Arc::clone(&self), Arc::clone(&to_write));
            work.spawn_blocking(move || whole.write(&to_write).map_err(Failed::Write));
        }
        work.spawn_blocking(move || self.hash(to_hash));
        while let Some(ended) = work.join_next().await {
            ended.unwrap_or_else(|lost| Err(Failed::Write(io::Error::other(lost))))?;
        }
        Ok(())
    }

    /// The part that comes next, and its pieces where it has begun.
    fn turn(&self) -> Option<(Range<u64>, Option<Pieces>)> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, begun) = &mut *turns;
        let (start, begun) = (*next, begun.take());
        let part = if begun.is_some() { PART } else { self.part };
        *next = self.size.min(start + part);
        (start < self.size).then_some((start..*next, begun))
    }

    /// Brings parts, as long as there is one that nobody else does.
    async fn bring(&self, readers: &Readers) -> Result<(), Failed> {
        while let Some((bytes, begun)) = self.turn() {
            let pieces = match begun {
                Some(pieces) => pieces,
                None => self.ask(bytes.clone()).await?,
            };
            self.receive(bytes, pieces, readers).await?;
        }
        Ok(())
    }

    async fn ask(&self, bytes: Range<u64>) -> Result<Pieces, DownloadError> {
        let asked = ask(&part(&self.wanted, bytes), None, Some(&self.etag)).await?;
        let arriving = asked.ok_or_else(replaced)?;
        if arriving.etag.as_ref() != Some(&self.etag) {
            return Err(replaced());
        }
        Ok(arriving.pieces)
    }

    async fn receive(&self, part: Range<u64>, mut pieces: Pieces, readers: &Readers) -> Result<(), Failed> {
        let (mut at, mut rest, asked) = (part.start, Bytes::new(), part.end - part.start);
        while at < part.end {
            let Some(mut block) = self.blocks.take(part.start).await else {
                return Err(Failed::Write(io::Error::other("a part is fetched twice")));
            };
            let room = BLOCK.min(usize::try_from(part.end - at).unwrap_or(BLOCK));
            while block.bytes().len() < room {
                if rest.is_empty() {
                    let Some(piece) = pieces.next().await else {
                        let came = at - part.start + block.bytes().len() as u64;
                        let why = format!("{came} bytes of the {asked} that were asked for");
                        return Err(DownloadError::Integrity(why).into());
                    };
                    rest = piece.map_err(|error| self.broken(error))?;
                    reach("download.after-piece");
                }
                let fits = rest.len().min(room - block.bytes().len());
                block.add(&rest.split_to(fits));
            }
            let block = Arc::new(block);
            // Nobody is there to have it where another part has failed.
            let _ = readers.hasher.send((at, Arc::clone(&block)));
            let _ = readers.writers.send((at, block));
            at += room as u64;
        }
        while rest.is_empty() {
            let Some(piece) = pieces.next().await else {
                return Ok(());
            };
            rest = piece.map_err(|error| self.broken(error))?;
        }
        let why = format!("more bytes than the {asked} that were asked for");
        Err(DownloadError::Integrity(why).into())
    }

    fn broken(&self, error: object_store::Error) -> DownloadError {
        match error {
            object_store::Error::Precondition { .. } => replaced(),
            error => self.wanted.provider.store_error("download", error).into(),
        }
    }

    fn write(&self, arrived: &Mutex<queue::Receiver<Arrived>>) -> io::Result<()> {
        let next = || arrived.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok((at, block)) = next() {
            block.write(&self.file, at)?;
        }
        Ok(())
    }

    /// Compares what arrives, until all has.
    fn hash(&self, mut arrived: mpsc::UnboundedReceiver<Arrived>) -> Result<(), Failed> {
        let mut sums = Sums::new(self.wanted.parts.as_deref(), self.size);
        let mut behind = Behind::new(&self.file).map_err(Failed::Write)?;
        loop {
            while let Ok((at, block)) = arrived.try_recv() {
                sums.add(at, &block);
            }
            let mut hashed = sums.hash(true)?;
            if hashed == 0 {
                if let Some((at, block)) = arrived.blocking_recv() {
                    sums.add(at, &block);
                    continue;
                }
                hashed = sums.hash(false)?;
            }
            if hashed == 0 {
                break;
            }
            self.blocks.hashed(sums.upto());
            if !disk::is_direct(&self.file) {
                behind.wrote(hashed).map_err(Failed::Write)?;
            }
        }
        behind.finish().map_err(Failed::Write)?;
        match sums.finish().map_err(Failed::Write)? {
            Some(sha256) => Ok(compare(&self.wanted, self.size, &sha256)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three pieces of 1 MiB each, so many milliseconds apart.
    async fn begun(wait: u64) -> (Vec<usize>, bool) {
        let piece = move |number: u64| async move {
            // The first takes long: that is the way there, and not the connection.
            let wait = if number == 0 { 100 } else { wait };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            Ok(Bytes::from(vec![0; 1 << 20]))
        };
        let (pieces, is_fast) = begin(stream::iter(0..3).then(piece).boxed()).await;
        let sizes = pieces.map(|piece| piece.unwrap().len()).collect().await;
        (sizes, is_fast)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_fast_where_its_first_bytes_follow_each_other_at_once() {
        assert_eq!(begun(7).await, (vec![1 << 20; 3], true));
        assert_eq!(begun(8).await, (vec![1 << 20; 3], false));
    }

    #[tokio::test(start_paused = true)]
    async fn what_breaks_at_once_is_not_lost() {
        let broken = || object_store::Error::NotImplemented {
            operation: String::new(),
            implementer: String::new(),
        };
        let pieces = stream::iter([Ok(Bytes::from_static(b"a")), Err(broken())]).boxed();
        let (pieces, _) = begin(pieces).await;
        let came: Vec<_> = pieces.map(|piece| piece.is_ok()).collect().await;
        assert_eq!(came, [true, false]);
    }
}
