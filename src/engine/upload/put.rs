//! The bytes of one file on their way to the provider: hashed as they are read, in one request or in parts, and taken
//! back where they did not all arrive. They come from a file of this machine, or from another provider.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Attributes, MultipartUpload, ObjectStoreExt, PutMultipartOptions, PutOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::source::Source;
use crate::engine::Interrupt;
use crate::engine::changes::details_of;
use crate::engine::download::FROM;
use crate::engine::hash::hex;
use crate::failpoint::reach;
use crate::metadata::journal::PartSums;
use crate::providers::{Provider, ProviderError, with_sha256};

const OPERATION: &str = "upload";
/// Parts of one file under way at once, to where each has a way to go, and to a disk: there more would only lie in memory
/// while the disk is behind.
const PARTS_IN_FLIGHT: usize = 8;
const PARTS_TO_A_DISK: usize = 2;
/// KiB of files' bytes that one upload holds at once, whatever the number and the size of its files. A larger part, as
/// files of over 480 GiB have, goes alone.
const HELD: u32 = 48 << 10;
/// S3 takes no smaller part but the last, and no more parts than this.
///
/// # Source
/// Amazon S3 User Guide, "Amazon S3 multipart upload limits".
const SMALLEST_PART: u64 = 5 << 20;
const MOST_PARTS: u64 = 10_000;
/// How long the parts under way may take to end before their upload is given up: one that the provider has whole, and has not
/// answered for, would come after that, and stay.
///
/// # Source
/// Amazon S3 API Reference, "AbortMultipartUpload"; Azure keeps blocks that come later, too.
const ENDING: Duration = Duration::from_secs(3);

/// Why the bytes did not get there.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum PutError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The provider that the bytes come from.
    #[error(transparent)]
    Source(ProviderError),
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    #[error("its bytes are not those that were stored: their SHA-256 is {found}, not {kept}")]
    Damaged { found: String, kept: String },
    #[error("it changed while it was read")]
    Changed,
    #[error("interrupted, and rolled back")]
    Interrupted,
}

impl PutError {
    pub(in crate::engine) const fn code(&self) -> &'static str {
        match self {
            Self::Provider(error) | Self::Source(error) => error.code(),
            Self::Changed | Self::Damaged { .. } => "STORAGE_INTEGRITY_ERROR",
            Self::Read(_) | Self::Interrupted => "STORAGE_ERROR",
        }
    }

    /// What programs may want to know of it besides, where a provider failed.
    pub(in crate::engine) fn details(&self) -> Option<Value> {
        match self {
            Self::Provider(error) | Self::Source(error) => Some(details_of(error)),
            _ => None,
        }
    }
}

/// How bytes travel.
#[derive(Debug, Clone)]
pub struct Way {
    stream_threshold: u64,
    part: u64,
    interrupt: Interrupt,
    memory: Memory,
    spare: Spare,
}

impl Way {
    /// Above `stream_threshold` bytes a file goes in parts of `part` bytes. All that goes this way holds no more than 48 MiB of bytes at once.
    #[must_use]
    pub fn new(stream_threshold: u64, part: u64, interrupt: &Interrupt) -> Self {
        Self {
            stream_threshold,
            part,
            interrupt: interrupt.clone(),
            memory: Memory(Arc::new(Semaphore::new(HELD as usize))),
            spare: Spare::default(),
        }
    }

    /// Ends once the operator wishes to stop.
    pub(super) async fn interrupted(&self) {
        self.interrupt.requested().await;
    }
}

/// Who may hold bytes, shared by all files of an upload: they are read when there is room for them.
#[derive(Debug, Clone)]
struct Memory(Arc<Semaphore>);

impl Memory {
    /// Room for so many bytes, until it is dropped: held by what is on its way, never by who waits, so that all go on.
    async fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(HELD).clamp(1, HELD);
        Arc::clone(&self.0).acquire_many_owned(kib).await.ok()
    }
}

/// Where the bytes go.
pub(in crate::engine) struct Target<'a> {
    pub(in crate::engine) provider: &'a Arc<Provider>,
    pub(in crate::engine) location: &'a Path,
    pub(in crate::engine) attributes: Attributes,
    /// Hex SHA-256 of what is to arrive, where it is known before: else nothing becomes an object.
    pub(in crate::engine) expected: Option<&'a str>,
}

impl Target<'_> {
    /// Its hex SHA-256.
    fn is_expected(&self, found: [u8; 32]) -> Result<String, PutError> {
        let found = hex(found);
        match self.expected {
            Some(kept) if kept != found => Err(PutError::Damaged {
                found,
                kept: kept.to_owned(),
            }),
            _ => Ok(found),
        }
    }
}

/// What was seen of a file on its way.
pub(in crate::engine) struct Sent {
    /// Hex SHA-256 of it.
    pub(in crate::engine) sha256: String,
    /// Where it went in parts, to where it comes back in parts.
    pub(in crate::engine) parts: Option<PartSums>,
}

/// Sends the file. Where this fails an object may or may not be there: the caller removes
/// it.
pub(in crate::engine) async fn send(
    target: Target<'_>,
    way: &Way,
    source: Source,
    size: u64,
) -> Result<Sent, PutError> {
    if size <= way.stream_threshold {
        whole(target, way, source, size).await
    } else {
        in_parts(target, way, source, size).await
    }
}

async fn whole(target: Target<'_>, way: &Way, mut source: Source, size: u64) -> Result<Sent, PutError> {
    let _room = way.memory.room(size).await;
    let (bytes, _) = source.next(size.saturating_add(1), Vec::new(), false).await?;
    if bytes.len() as u64 != size {
        return Err(PutError::Changed);
    }
    let digest = source.sha256();
    let sha256 = target.is_expected(digest)?;
    let options = PutOptions {
        attributes: target.attributes,
        ..PutOptions::default()
    };
    let payload = bytes.clone().into();
    let put = target.provider.store.put_opts(target.location, payload, options);
    answered(target.provider, with_sha256(bytes, digest, put)).await?;
    Ok(Sent { sha256, parts: None })
}

/// Puts a few bytes in one request.
pub(super) async fn small(provider: &Provider, location: &Path, bytes: Vec<u8>) -> Result<(), PutError> {
    answered(provider, provider.store.put(location, bytes.into())).await?;
    Ok(())
}

async fn in_parts(target: Target<'_>, way: &Way, source: Source, size: u64) -> Result<Sent, PutError> {
    let options = PutMultipartOptions {
        attributes: target.attributes.clone(),
        ..PutMultipartOptions::default()
    };
    let begin = target.provider.store.put_multipart_opts(target.location, options);
    let mut upload = answered(target.provider, begin).await?;
    // Tasks of their own: parts go on while the next is read, and end with the set.
    let mut under_way = JoinSet::new();
    let sent = parts(&target, (upload.as_mut(), &mut under_way), way, source, size).await;
    if sent.is_ok() {
        return sent;
    }
    let ended = async { while under_way.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING, ended).await.is_err() {
        under_way.shutdown().await;
    }
    if let Err(error) = upload.abort().await {
        tracing::warn!(
            "{}: an upload in parts could not be aborted: {error}",
            target.provider.name
        );
    }
    sent
}

type Parts = JoinSet<Result<(), ProviderError>>;

async fn parts(
    target: &Target<'_>,
    (upload, under_way): (&mut dyn MultipartUpload, &mut Parts),
    way: &Way,
    mut source: Source,
    size: u64,
) -> Result<Sent, PutError> {
    let part = part_of(size, way.part);
    // A disk gives a file as one, and is told nothing of it.
    let is_disk = target.provider.type_name == "local";
    let in_flight = if is_disk { PARTS_TO_A_DISK } else { PARTS_IN_FLIGHT };
    let (mut sent, mut sums) = (0, Vec::new());
    loop {
        if way.interrupt.is_requested() {
            return Err(PutError::Interrupted);
        }
        let room = way.memory.room(part).await;
        let (bytes, sum) = source.next(part, way.spare.take(), !is_disk).await?;
        if bytes.is_empty() {
            break;
        }
        sums.extend(sum);
        sent += bytes.len() as u64;
        if under_way.len() == in_flight {
            arrived(under_way.join_next().await)?;
        }
        let (provider, spare) = (Arc::clone(target.provider), way.spare.clone());
        let put = upload.put_part(bytes.clone().into());
        under_way.spawn(async move {
            let sent = match sum {
                Some(sum) => answered(&provider, with_sha256(bytes.clone(), sum, put)).await,
                None => answered(&provider, put).await,
            };
            spare.keep(bytes);
            drop(room);
            sent
        });
        reach("upload.after-part");
    }
    while !under_way.is_empty() {
        arrived(under_way.join_next().await)?;
    }
    reach("upload.after-parts");
    if sent != size {
        return Err(PutError::Changed);
    }
    let sha256 = target.is_expected(source.sha256())?;
    answered(target.provider, upload.complete()).await?;
    let parts = (!is_disk && size >= FROM).then_some(PartSums {
        size: part,
        sha256: sums,
    });
    Ok(Sent { sha256, parts })
}

/// Bytes of each part but the last, of a file of `size`: those that are `wanted`, unless no provider would take such or so
/// many.
fn part_of(size: u64, wanted: u64) -> u64 {
    wanted.max(SMALLEST_PART).max(size.div_ceil(MOST_PARTS))
}

fn arrived(part: Option<Result<Result<(), ProviderError>, JoinError>>) -> Result<(), PutError> {
    match part {
        Some(Ok(sent)) => Ok(sent?),
        Some(Err(lost)) => Err(PutError::Read(io::Error::other(lost))),
        None => Ok(()),
    }
}

async fn answered<T>(
    provider: &Provider,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, ProviderError> {
    work.await.map_err(|error| provider.store_error(OPERATION, error))
}

/// Buffers of parts that have arrived, for those that follow, of whatever file: the allocator would keep more of them than are
/// needed. They count for nothing in [`Memory`], so none is made while one is here.
#[derive(Debug, Default, Clone)]
struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    /// One that somebody else still holds is left to him.
    fn keep(&self, part: Bytes) {
        if !part.is_unique() {
            return;
        }
        let mut buffer = Vec::from(part);
        buffer.clear();
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < PARTS_IN_FLIGHT {
            spare.push(buffer);
        }
    }
}

/// Hex SHA-256 of the whole file, which is left at its end.
pub(super) fn hash_of(file: &File) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut &*file, &mut hash)?;
    Ok(hex(hash.finalize()))
}

/// Removes what an upload that failed may have left; whether nothing is there now.
pub(super) async fn take_back(provider: &Provider, locations: &[&Path]) -> bool {
    let mut gone = true;
    for location in locations {
        match provider.store.delete(location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(
                    "{location} is left to the next run: {}",
                    provider.store_error("delete", error)
                );
                gone = false;
            }
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TIB: u64 = 1 << 40;

    #[test]
    fn parts_are_as_long_as_it_is_wanted() {
        for size in [5 * MIB + 1, 100 * MIB, 40 << 30] {
            for wanted in [5 * MIB, 6 * MIB + 7, 64 * MIB] {
                assert_eq!(part_of(size, wanted), wanted, "of {size}");
            }
        }
    }

    #[test]
    fn no_part_is_shorter_than_s3_takes() {
        for wanted in [0, 1, MIB, 5 * MIB - 1] {
            assert_eq!(part_of(20 * MIB, wanted), 5 * MIB, "{wanted}");
        }
    }

    #[test]
    fn parts_grow_so_that_the_largest_object_has_no_more_of_them_than_s3_takes() {
        for wanted in [MIB, 5 * MIB, 64 * MIB] {
            for size in [10_000 * wanted.max(5 * MIB) + 1, TIB + 1, 5 * TIB] {
                let part = part_of(size, wanted);
                assert!(size.div_ceil(part) <= 10_000, "{size} in parts of {part}");
                assert!(part >= wanted, "{size} in parts of {part}");
            }
        }
        // They grow no more than they have to.
        assert_eq!(part_of(50_000 * MIB, 5 * MIB), 5 * MIB);
        assert_eq!(part_of(5 * TIB, 5 * MIB), (5 * TIB).div_ceil(10_000));
    }
}
