//! Multipart uploads: parts go to their offsets in one temporary file, which gets its key at the end.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use super::fault::{Fault, generic};
use super::place::{Target, Unplaced};
use super::read::etag;
use super::root::RootDir;
use super::{LocalStore, unblocked};

const OPERATION: &str = "upload";

/// An upload under way. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(super) struct Upload {
    store: LocalStore,
    key: Vec<u8>,
    file: Option<Arc<Unplaced>>,
    /// Bytes handed in, and how many of them have been written.
    promised: u64,
    written: Arc<AtomicU64>,
}

impl Upload {
    pub(super) async fn begin(store: LocalStore, location: &Path) -> Result<Self> {
        let root = Arc::clone(&store.root);
        let key = location.as_ref().as_bytes().to_vec();
        let file = unblocked(move || Unplaced::create(RootDir::open(&root)?))
            .await
            .map_err(|fault| store.store_error(OPERATION, &key, fault))?;
        Ok(Self {
            store,
            key,
            file: Some(Arc::new(file)),
            promised: 0,
            written: Arc::default(),
        })
    }
}

fn over() -> object_store::Error {
    generic("the upload was completed or aborted before".into())
}

fn write(file: &Unplaced, data: &PutPayload, mut at: u64, key: &[u8]) -> Result<(), Fault> {
    for bytes in data {
        file.file
            .write_all_at(bytes, at)
            .map_err(|e| Fault::file(key, e))?;
        at += bytes.len() as u64;
    }
    Ok(())
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some(file) = self.file.clone() else {
            return futures::future::ready(Err(over())).boxed();
        };
        let at = self.promised;
        self.promised += data.content_length() as u64;
        let (store, key, written) = (self.store.clone(), self.key.clone(), Arc::clone(&self.written));
        let (length, part_key) = (data.content_length() as u64, key.clone());
        async move {
            unblocked(move || write(&file, &data, at, &part_key))
                .await
                .map_err(|fault| store.store_error(OPERATION, &key, fault))?;
            written.fetch_add(length, Ordering::AcqRel);
            Ok(())
        }
        .boxed()
    }

    /// Fails where a part was not waited for or failed: an object with a hole in it is worse than none.
    async fn complete(&mut self) -> Result<PutResult> {
        let file = self.file.take().ok_or_else(over)?;
        if self.written.load(Ordering::Acquire) != self.promised {
            return Err(generic("a part of the upload is missing".into()));
        }
        let key = self.key.clone();
        let stat = unblocked(move || file.place(&key, Target::Any))
            .await
            .map_err(|fault| self.store.store_error(OPERATION, &self.key, fault))?;
        Ok(PutResult {
            e_tag: Some(etag(&stat)),
            version: None,
            extensions: object_store::Extensions::default(),
        })
    }

    async fn abort(&mut self) -> Result<()> {
        let file = self.file.take().ok_or_else(over)?;
        unblocked(move || file.remove())
            .await
            .map_err(|fault| self.store.store_error(OPERATION, &self.key, fault))
    }
}
