//! The local provider as an [`ObjectStore`].
//!
//! What differs from other stores, and is meant to: attributes and tags are taken and not kept (the sidecar and
//! the database hold them); a missing object is NotFound on delete; a write goes on where its future is dropped
//! and leaves either the whole object or none. Keys that [`Path`] cannot say are missing from these listings;
//! [`LocalStore::list`] has them.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::ready;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    RenameTargetMode, Result,
};
use rustix::fs::Stat;

use super::super::{EntryKind, ListRequest, Listed};
use super::fault::{Fault, generic};
use super::place::{TEMPORARY, Target, Unplaced, add_name, move_file, remove_file};
use super::read::etag;
use super::root::RootDir;
use super::upload::Upload;
use super::walk::Walk;
use super::{LocalStore, unblocked};

/// Deletions under way at once.
const DELETES: usize = 10;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let target = match opts.mode {
            PutMode::Overwrite => Target::Any,
            PutMode::Create => Target::Absent,
            PutMode::Update(_) => {
                return Err(object_store::Error::NotImplemented {
                    operation: "put with PutMode::Update".into(),
                    implementer: self.to_string(),
                });
            }
        };
        let put = move |root, key: &[u8]| put(root, key, &payload, target);
        let stat = self.at_key("put", location, put).await?;
        Ok(PutResult {
            e_tag: Some(etag(&stat)),
            version: None,
            extensions: Extensions::default(),
        })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload::begin(self.clone(), location).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.get_object(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.get_object_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let delete = |root: RootDir, key: &[u8]| root.certain(remove_file(&root, key));
                store.at_key("delete", &location, delete).await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let request = ListRequest {
            prefix: folder(prefix),
            ..ListRequest::default()
        };
        LocalStore::list(self, request)
            .map_err(|e| generic(Box::new(e)))
            .try_filter_map(|entry| ready(Ok(visible(&entry))))
            .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        ObjectStore::list(self, prefix)
            .try_filter(move |meta| ready(meta.location > offset))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = folder(prefix);
        let (root, wanted) = (Arc::clone(&self.root), prefix.clone());
        unblocked(move || one_level(&RootDir::open(&root)?, wanted.as_bytes()))
            .await
            .map_err(|fault| self.store_error("list", prefix.as_bytes(), fault))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let target = match options.mode {
            CopyMode::Overwrite => Target::Any,
            CopyMode::Create => Target::Absent,
        };
        let to = to.as_ref().as_bytes().to_vec();
        let copy = move |root: RootDir, from: &[u8]| copy(root, from, &to, target);
        self.at_key("copy", from, copy).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let target = match options.target_mode {
            RenameTargetMode::Overwrite => Target::Any,
            RenameTargetMode::Create => Target::Absent,
        };
        let to = to.as_ref().as_bytes().to_vec();
        let rename = move |root: RootDir, from: &[u8]| root.certain(move_file(&root, from, &to, target));
        self.at_key("rename", from, rename).await
    }
}

impl LocalStore {
    /// Gives the object at `from` the key `to` as well, where nothing stands there.
    pub(in crate::providers) async fn add_name(&self, from: &Path, to: &Path) -> Result<()> {
        let to = to.as_ref().as_bytes().to_vec();
        let add = move |root: RootDir, from: &[u8]| root.certain(add_name(&root, from, &to));
        self.at_key("copy", from, add).await
    }

    /// Runs `work` with the open root and the location's key, where it may block.
    async fn at_key<T, F>(&self, operation: &'static str, location: &Path, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(RootDir, &[u8]) -> Result<T, Fault> + Send + 'static,
    {
        let (root, key) = (Arc::clone(&self.root), location.as_ref().as_bytes().to_vec());
        unblocked(move || work(RootDir::open(&root)?, &key))
            .await
            .map_err(|fault| self.store_error(operation, location.as_ref().as_bytes(), fault))
    }
}

fn put(root: RootDir, key: &[u8], payload: &PutPayload, target: Target) -> Result<Stat, Fault> {
    let mut unplaced = Unplaced::create(root)?;
    for bytes in payload {
        unplaced.file.write_all(bytes).map_err(|e| Fault::file(key, e))?;
    }
    unplaced.place(key, target)
}

/// Copies the bytes: a second name for the same file would change with the first.
fn copy(root: RootDir, from: &[u8], to: &[u8], target: Target) -> Result<(), Fault> {
    let (mut source, _): (File, _) = root.certain(root.open_file(from))?;
    let mut unplaced = Unplaced::create(root)?;
    io::copy(&mut source, &mut unplaced.file).map_err(|e| Fault::file(from, e))?;
    unplaced.place(to, target).map(|_| ())
}

/// The prefix as a folder's: empty, or ending at a `/`.
fn folder(prefix: Option<&Path>) -> String {
    match prefix.map(AsRef::<str>::as_ref) {
        None | Some("") => String::new(),
        Some(path) => format!("{path}/"),
    }
}

/// The entry as object_store would have it, where it can have it: a finished object whose key a [`Path`] can say.
fn visible(entry: &Listed) -> Option<ObjectMeta> {
    let bytes = entry.key.as_bytes();
    let unfinished = bytes
        .strip_prefix(TEMPORARY)
        .is_some_and(|rest| rest.starts_with(b"/"));
    if entry.kind != EntryKind::Object || unfinished {
        return None;
    }
    Some(ObjectMeta {
        location: Path::parse(entry.key.as_str()?).ok()?,
        last_modified: entry.last_modified,
        size: entry.size,
        e_tag: None,
        version: None,
    })
}

/// The objects of one folder, and the folders in it that have an object somewhere below.
fn one_level(root: &RootDir, prefix: &[u8]) -> Result<ListResult, Fault> {
    let mut found = ListResult {
        common_prefixes: Vec::new(),
        objects: Vec::new(),
        extensions: Extensions::default(),
    };
    let dir = match root.directory(prefix) {
        Err(Fault::NotFound) => return root.verify().map(|()| found),
        dir => dir?,
    };
    let mut walk = Walk::new(dir, prefix, Box::new(|| false))?;
    while let Some(entry) = walk.next()? {
        let Some(meta) = visible(&entry) else { continue };
        let key = entry.key.as_bytes();
        match key[prefix.len()..].iter().position(|b| *b == b'/') {
            None => found.objects.push(meta),
            Some(at) => {
                let folder = key[..prefix.len() + at].to_vec();
                let folder = String::from_utf8(folder).unwrap_or_default();
                found.common_prefixes.extend(Path::parse(folder));
                walk.surface()?;
            }
        }
    }
    root.verify().map(|()| found)
}
