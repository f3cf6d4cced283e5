//! The store of a provider, made resilient where a request alone cannot be: a download that breaks goes on from its last
//! byte, of the same object or of none, while enough comes between one break and the next; an upload in parts whose last
//! answer was lost is looked at before it is called failed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};

use super::fault::{Fault, Stop, chain};
use super::shield::Shield;

/// Bytes that have to come before breaks are counted anew: a download whose every answer is cut after a few bytes would
/// otherwise go on for as long as there are any, a request and a wait for each few.
const PROGRESS: u64 = 256 << 10;

/// See the module.
#[derive(Debug, Clone)]
pub struct Resuming {
    inner: Arc<dyn ObjectStore>,
    shield: Arc<Shield>,
}

impl Resuming {
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, shield: &Arc<Shield>) -> Self {
        Self {
            inner,
            shield: Arc::clone(shield),
        }
    }
}

impl fmt::Display for Resuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Resuming {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            store: Arc::clone(&self.inner),
            location: location.clone(),
            size: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let got = self.inner.get_opts(location, options).await?;
        let GetResultPayload::Stream(pieces) = got.payload;
        let download = Download {
            store: self.clone(),
            location: location.clone(),
            etag: got.meta.e_tag.clone(),
            left: got.range.clone(),
            tries: 0,
            gained: 0,
            pieces: Some(pieces),
        };
        let pieces = stream::unfold(download, |mut download| async move {
            let piece = download.next().await?;
            Some((piece, download))
        });
        Ok(GetResult {
            // Readers may ask once more after the end.
            payload: GetResultPayload::Stream(pieces.fuse().boxed()),
            ..got
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// An object on its way here.
struct Download {
    store: Resuming,
    location: Path,
    etag: Option<String>,
    /// Bytes that have not come yet.
    left: Range<u64>,
    /// Breaks since they were last counted anew, and the bytes that came since.
    tries: u32,
    gained: u64,
    /// `None` after the end, good or bad.
    pieces: Option<BoxStream<'static, Result<Bytes>>>,
}

impl Download {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let broken = match self.piece().await? {
                Ok(piece) => {
                    self.left.start += piece.len() as u64;
                    self.gain(piece.len() as u64);
                    return Some(Ok(piece));
                }
                Err(broken) => broken,
            };
            if let Err(error) = self.resume(broken).await {
                self.pieces = None;
                return Some(Err(error));
            }
        }
    }

    fn gain(&mut self, bytes: u64) {
        self.gained += bytes;
        if self.gained >= PROGRESS {
            (self.tries, self.gained) = (0, 0);
        }
    }

    /// The next piece, the end, or how it broke: an end before the end is a break.
    async fn piece(&mut self) -> Option<Result<Bytes>> {
        let stall = self.store.shield.policy.timeouts.stall;
        let piece = tokio::time::timeout(stall, self.pieces.as_mut()?.next()).await;
        let broken = match piece {
            Ok(Some(Err(error))) => error,
            Ok(None) if self.left.start < self.left.end => cut_short(self.left.end - self.left.start),
            Ok(piece) => return piece,
            Err(_) => {
                let (limit, key) = (stall, "stall_timeout");
                generic(Box::new(Stop::TimedOut { limit, key }))
            }
        };
        Some(Err(broken))
    }

    /// Asks for the rest, of the same object only.
    async fn resume(&mut self, broken: Error) -> Result<()> {
        self.tries += 1;
        let cause = chain(&broken);
        let fault = Fault::of_break(cause.clone());
        let (Some(etag), Some(wait)) = (&self.etag, self.store.shield.wait(self.tries, &fault)) else {
            return Err(broken);
        };
        tracing::warn!(
            provider = self.store.shield.provider,
            operation = "download",
            attempt = self.tries,
            wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            cause,
            from_byte = self.left.start,
            "going on"
        );
        tokio::time::sleep(wait).await;
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.left.clone())),
            if_match: Some(etag.clone()),
            ..GetOptions::default()
        };
        let got = self.store.inner.get_opts(&self.location, options).await?;
        if got.range != self.left {
            return Err(generic("another range came than was asked for".into()));
        }
        self.pieces = Some(got.into_stream());
        Ok(())
    }
}

fn cut_short(missing: u64) -> Error {
    generic(format!("the answer ended {missing} bytes early").into())
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic {
        store: "download",
        source,
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    store: Arc<dyn ObjectStore>,
    location: Path,
    /// Bytes of all parts.
    size: u64,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.size += data.content_length() as u64;
        self.inner.put_part(data)
    }

    /// A key is never used for other bytes, so an object of this size at it is what was sent.
    async fn complete(&mut self) -> Result<PutResult> {
        let error = match self.inner.complete().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match self.store.head(&self.location).await {
            Ok(there) if there.size == self.size => Ok(PutResult {
                e_tag: there.e_tag,
                version: there.version,
                extensions: object_store::Extensions::default(),
            }),
            _ => Err(error),
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
