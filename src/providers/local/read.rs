//! Reading objects: whole, in part, under conditions, always in pieces of bounded size.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetRange, GetResult, GetResultPayload, ObjectMeta, Result};
use rustix::fs::Stat;

use super::fault::{Fault, generic};
use super::root::RootDir;
use super::{LocalStore, modified, unblocked};

const OPERATION: &str = "get";
/// Bytes read at once.
const PIECE: u64 = 256 << 10;

impl LocalStore {
    pub(super) async fn get_object(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            let source = "local files have no versions".into();
            return Err(object_store::Error::NotSupported { source });
        }
        let (file, meta) = self.open_object(location).await?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => resolve(range, meta.size)?,
            None => 0..meta.size,
        };
        let wanted = if options.head { 0..0 } else { range.clone() };
        Ok(GetResult {
            payload: GetResultPayload::Stream(self.pieces(file, location, wanted)),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: object_store::Extensions::default(),
        })
    }

    pub(super) async fn get_object_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>> {
        let (file, meta) = self.open_object(location).await?;
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let range = resolve(&GetRange::Bounded(range.clone()), meta.size)?;
            parts.push(self.piece(&file, location, range).await?);
        }
        Ok(parts)
    }

    async fn open_object(&self, location: &Path) -> Result<(Arc<File>, ObjectMeta)> {
        let (root, key) = (Arc::clone(&self.root), location.as_ref().as_bytes().to_vec());
        let opened = unblocked(move || {
            let root = RootDir::open(&root)?;
            root.certain(root.open_file(&key))
        });
        let (file, stat) = opened
            .await
            .map_err(|fault| self.store_error(OPERATION, location.as_ref().as_bytes(), fault))?;
        Ok((Arc::new(file), object_meta(location, &stat)))
    }

    /// The range in pieces, each read when it is asked for.
    fn pieces(
        &self,
        file: Arc<File>,
        location: &Path,
        range: Range<u64>,
    ) -> BoxStream<'static, Result<Bytes>> {
        let (store, location) = (self.clone(), location.clone());
        let read = move |at: u64| {
            let (store, location, file) = (store.clone(), location.clone(), Arc::clone(&file));
            let piece = at..range.end.min(at.saturating_add(PIECE));
            async move {
                if piece.is_empty() {
                    return Ok(None);
                }
                let bytes = store.piece(&file, &location, piece.clone()).await?;
                Ok(Some((bytes, piece.end)))
            }
        };
        stream::try_unfold(range.start, read).boxed()
    }

    async fn piece(&self, file: &Arc<File>, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let (file, key) = (Arc::clone(file), location.as_ref().as_bytes().to_vec());
        let read = move || {
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, range.start)
                .map_err(|e| Fault::file(&key, shorter(e)))?;
            Ok(Bytes::from(buffer))
        };
        unblocked(read)
            .await
            .map_err(|fault| self.store_error(OPERATION, location.as_ref().as_bytes(), fault))
    }
}

fn shorter(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "became shorter while it was read"),
        _ => error,
    }
}

fn resolve(range: &GetRange, size: u64) -> Result<Range<u64>> {
    range.as_range(size).map_err(|e| generic(Box::new(e)))
}

pub(super) fn object_meta(location: &Path, stat: &Stat) -> ObjectMeta {
    ObjectMeta {
        location: location.clone(),
        last_modified: modified(stat),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        e_tag: Some(etag(stat)),
        version: None,
    }
}

/// Changes with the file, its time or its size; every put makes a new file.
pub(super) fn etag(stat: &Stat) -> String {
    let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec);
    format!(
        "\"{:x}-{seconds:x}.{nanoseconds:x}-{:x}\"",
        stat.st_ino, stat.st_size
    )
}
