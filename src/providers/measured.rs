//! What is asked of a provider, counted: what it was, in which folder, how many bytes, how long, and whether it failed. An
//! answer that says no (nothing there, something there already) is no failure.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::ProviderError;
use crate::metrics::{Key, Metrics, Sample};

/// Counts for one provider.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) metrics: Arc<Metrics>,
    pub(super) provider: String,
    pub(super) prefix: String,
}

impl Meter {
    /// Begins something at a path of the store's.
    fn begin(&self, operation: &'static str, location: &Path) -> Timer {
        let key = location.as_ref();
        self.begin_at(operation, key.strip_prefix(self.prefix.as_str()).unwrap_or(key))
    }

    /// The same at a key below root or prefix.
    pub(super) fn begin_at(&self, operation: &'static str, key: &str) -> Timer {
        Timer {
            metrics: Arc::clone(&self.metrics),
            key: Key {
                operation: operation.to_owned(),
                provider: self.provider.clone(),
                folder: folder(key).to_owned(),
            },
            begun: Instant::now(),
        }
    }

    /// Counts a listing below a prefix when it ends, or nobody wants more of it.
    pub(super) fn watched<T: 'static, E: 'static>(
        &self,
        operation: &'static str,
        prefix: &str,
        listing: BoxStream<'static, std::result::Result<T, E>>,
    ) -> BoxStream<'static, std::result::Result<T, E>> {
        Watched {
            inner: listing,
            timer: Some(self.begin_at(operation, prefix)),
            seen: |_: &T| 0,
            bytes: 0,
            failed: false,
        }
        .boxed()
    }

    /// The same for a listing of the store's own.
    fn listing(
        &self,
        prefix: Option<&Path>,
        listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.watched("list", &self.below(prefix), listing)
    }

    /// The store's prefix as one of keys: it ends at a `/` where there is any.
    fn below(&self, prefix: Option<&Path>) -> String {
        let prefix = prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let below = prefix.strip_prefix(self.prefix.as_str());
        below.unwrap_or(&prefix).to_owned()
    }
}

/// The folder that a key is in: what was deleted stays of its folder, and what is this program's own is of none.
fn folder(key: &str) -> &str {
    let key = match key.strip_prefix(".trash/") {
        Some(trashed) => trashed.split_once('/').map_or("", |(_, key)| key),
        None => key,
    };
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    if folder.starts_with('.') { "" } else { folder }
}

/// Something that has begun; it is counted once it is told how it ended.
#[derive(Debug)]
pub(super) struct Timer {
    metrics: Arc<Metrics>,
    key: Key,
    begun: Instant,
}

impl Timer {
    fn end(self, failed: bool, bytes: u64) {
        let sample = Sample {
            failed,
            bytes,
            took: self.begun.elapsed(),
        };
        self.metrics.record(self.key, sample);
    }

    pub(super) fn ended<T>(self, result: Result<T>, bytes: u64) -> Result<T> {
        let failed = result.as_ref().err().is_some_and(is_failure);
        self.end(failed, if result.is_ok() { bytes } else { 0 });
        result
    }

    pub(super) fn told<T>(self, result: Result<T, ProviderError>) -> Result<T, ProviderError> {
        self.end(result.is_err(), 0);
        result
    }
}

const fn is_failure(error: &Error) -> bool {
    !matches!(
        error,
        Error::NotFound { .. }
            | Error::AlreadyExists { .. }
            | Error::Precondition { .. }
            | Error::NotModified { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
    )
}

/// A store whose answers are counted.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) meter: Meter,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Measured {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let timer = self.meter.begin("put", location);
        timer.ended(self.inner.put_opts(location, payload, opts).await, bytes)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let timer = self.meter.begin("put", location);
        match self.inner.put_multipart_opts(location, opts).await {
            Ok(inner) => Ok(Box::new(Parts {
                inner,
                meter: self.meter.clone(),
                location: location.clone(),
                timer: Some(timer),
                bytes: 0,
            })),
            error => timer.ended(error, 0),
        }
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            let timer = self.meter.begin("head", location);
            return timer.ended(self.inner.get_opts(location, options).await, 0);
        }
        let timer = self.meter.begin("get", location);
        let found = match self.inner.get_opts(location, options).await {
            Ok(found) => found,
            error => return timer.ended(error, 0),
        };
        let GetResultPayload::Stream(inner) = found.payload;
        let payload = GetResultPayload::Stream(
            Watched {
                inner,
                timer: Some(timer),
                seen: |bytes: &Bytes| bytes.len() as u64,
                bytes: 0,
                failed: false,
            }
            .boxed(),
        );
        Ok(GetResult { payload, ..found })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes = ranges.iter().map(|range| range.end - range.start).sum();
        let timer = self.meter.begin("get", location);
        timer.ended(self.inner.get_ranges(location, ranges).await, bytes)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (meter, begun) = (self.meter.clone(), Instant::now());
        let answers = self.inner.delete_stream(locations);
        let count = move |answer: Result<Path>| {
            let nowhere = Path::default();
            let mut timer = meter.begin("delete", answer.as_ref().unwrap_or(&nowhere));
            timer.begun = begun;
            timer.ended(answer, 0)
        };
        answers.map(count).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter.listing(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.meter
            .listing(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let timer = self.meter.begin_at("list", &self.meter.below(prefix));
        timer.ended(self.inner.list_with_delimiter(prefix).await, 0)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let timer = self.meter.begin("copy", from);
        timer.ended(self.inner.copy_opts(from, to, options).await, 0)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let timer = self.meter.begin("rename", from);
        timer.ended(self.inner.rename_opts(from, to, options).await, 0)
    }
}

/// An upload in parts, counted as one when it ends. One that is dropped is counted as failed.
#[derive(Debug)]
struct Parts {
    inner: Box<dyn MultipartUpload>,
    meter: Meter,
    location: Path,
    timer: Option<Timer>,
    bytes: u64,
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let result = self.inner.complete().await;
        match self.timer.take() {
            Some(timer) => timer.ended(result, self.bytes),
            None => result,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        let timer = self.meter.begin("abort", &self.location);
        timer.ended(self.inner.abort().await, 0)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.end(true, 0);
        }
    }
}

/// A stream that is counted when it ends, fails, or is dropped.
struct Watched<S, T> {
    inner: S,
    timer: Option<Timer>,
    seen: fn(&T) -> u64,
    bytes: u64,
    failed: bool,
}

impl<S: Stream<Item = std::result::Result<T, E>> + Unpin, T, E> Stream for Watched<S, T> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let polled = Pin::new(&mut self.inner).poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(item))) => self.bytes += (self.seen)(item),
            Poll::Ready(Some(Err(_))) => self.failed = true,
            _ => {}
        }
        polled
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

impl<S, T> Drop for Watched<S, T> {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            timer.end(self.failed, self.bytes);
        }
    }
}

#[cfg(test)]
#[path = "measured_tests.rs"]
mod tests;
