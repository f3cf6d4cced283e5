//! A bucket as an [`ObjectStore`]: object_store's own for bytes, and in its place where the XML API would not do.
//!
//! - A copy is a rewrite of the JSON API, called until it is done, so that no size and no storage class is too much
//!   for it; what an object says of itself goes along.
//! - A deletion of what is not there is done, as on S3; of a bucket that is not there it is an error.
//! - ETags are generations, as everywhere in this room.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http::{Method, StatusCode};
use object_store::gcp::GoogleCloudStorage;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::Client;
use crate::providers::ProviderError;
use crate::providers::paged::PageSource as _;
use crate::providers::wire::{Answer, encoded};

const STORE: &str = "GCS";
/// What an object says of itself and a copy of it should, too.
const KEPT: &str = "generation,contentType,contentEncoding,contentDisposition,contentLanguage,cacheControl,\
                    customTime,storageClass,metadata";

#[derive(Clone)]
pub(super) struct GcsStore {
    inner: GoogleCloudStorage,
    client: Arc<Client>,
    /// Of new objects; `None` is the bucket's own.
    storage_class: Option<AttributeValue>,
}

impl GcsStore {
    pub(super) fn new(inner: GoogleCloudStorage, client: Arc<Client>, storage_class: Option<&str>) -> Self {
        let storage_class = storage_class.filter(|class| !class.is_empty());
        Self {
            inner,
            client,
            storage_class: storage_class.map(|class| AttributeValue::from(class.to_owned())),
        }
    }

    fn classed(&self, mut attributes: Attributes) -> Attributes {
        if let Some(class) = &self.storage_class
            && attributes.get(&Attribute::StorageClass).is_none()
        {
            attributes.insert(Attribute::StorageClass, class.clone());
        }
        attributes
    }

    async fn delete_one(&self, location: &Path) -> Result<()> {
        let context = self.client.context("delete");
        let url = self.client.object_url(location.as_ref());
        let asked = self.client.send(context, Method::DELETE, &url, None);
        let answer = asked.await.map_err(ours)?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => self.client.confirm_bucket("delete").await.map_err(ours),
            _ => Err(ours(self.client.failed(context, &answer))),
        }
    }

    /// What the source is now, by its generation, and what it says of itself.
    async fn source(&self, from: &Path) -> Result<(String, Map<String, Value>)> {
        let context = self.client.context("copy");
        let url = format!("{}?fields={KEPT}", self.client.object_url(from.as_ref()));
        let answer = self
            .client
            .send(context, Method::GET, &url, None)
            .await
            .map_err(ours)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(self.gone(from).await),
            _ => return Err(ours(self.client.failed(context, &answer))),
        }
        let unread = || ours(context.invalid("the answer cannot be read".into()));
        let mut said: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| unread())?;
        match said.remove("generation") {
            Some(Value::String(generation)) => Ok((generation, said)),
            _ => Err(unread()),
        }
    }

    async fn gone(&self, from: &Path) -> Error {
        match self.client.confirm_bucket("copy").await {
            Ok(()) => Error::NotFound {
                path: from.to_string(),
                source: "no such object".into(),
            },
            Err(error) => ours(error),
        }
    }

    /// Calls until Google says that all is done. Every call names the source's generation: what is copied is what was
    /// there at the beginning, or nothing is.
    async fn rewrite(&self, from: &Path, to: &Path, mode: CopyMode) -> Result<()> {
        let context = self.client.context("copy");
        let (generation, said) = self.source(from).await?;
        let body = Value::Object(said).to_string().into_bytes();
        let fresh = if mode == CopyMode::Create {
            "&ifGenerationMatch=0"
        } else {
            ""
        };
        let url = format!(
            "{}/rewriteTo/b/{}/o/{}?fields=done,rewriteToken&ifSourceGenerationMatch={generation}{fresh}",
            self.client.object_url(from.as_ref()),
            self.client.bucket,
            encoded(to.as_ref()),
        );
        let mut token = String::new();
        loop {
            let url = format!("{url}{token}");
            let sent = self.client.send(context, Method::POST, &url, Some(body.clone()));
            let answer = sent.await.map_err(ours)?;
            if answer.status != StatusCode::OK {
                return Err(self.not_copied(from, to, mode, &answer).await);
            }
            let step: Step = serde_json::from_slice(&answer.body)
                .map_err(|_| ours(context.invalid("the answer cannot be read".into())))?;
            match step.rewrite_token {
                _ if step.done => return Ok(()),
                Some(next) => token = format!("&rewriteToken={}", encoded(&next)),
                None => {
                    let reason = "the copy is not done, and nothing says how it goes on";
                    return Err(ours(context.invalid(reason.into())));
                }
            }
        }
    }

    async fn not_copied(&self, from: &Path, to: &Path, mode: CopyMode, answer: &Answer) -> Error {
        match answer.status {
            StatusCode::NOT_FOUND => self.gone(from).await,
            StatusCode::PRECONDITION_FAILED if mode == CopyMode::Create => Error::AlreadyExists {
                path: to.to_string(),
                source: "the key is taken, or the source changed".into(),
            },
            StatusCode::PRECONDITION_FAILED => Error::Precondition {
                path: from.to_string(),
                source: "it changed while it was copied".into(),
            },
            _ => ours(self.client.failed(self.client.context("copy"), answer)),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    done: bool,
    rewrite_token: Option<String>,
}

/// Carries our own error through the store's.
fn ours(error: ProviderError) -> Error {
    Error::Generic {
        store: STORE,
        source: Box::new(error),
    }
}

fn by_generation(result: PutResult) -> PutResult {
    PutResult {
        e_tag: result.version.clone(),
        ..result
    }
}

/// What the caller's `If-Match` and `If-None-Match` say of this answer: they name generations, which are no ETags to the
/// XML API, so they are held against the very answer that the bytes come with.
fn check(meta: &ObjectMeta, wanted: Option<&str>, unwanted: Option<&str>) -> Result<()> {
    let is = |tag: &str| {
        tag == "*"
            || tag
                .split(',')
                .any(|one| Some(one.trim()) == meta.e_tag.as_deref())
    };
    let (path, source) = (meta.location.to_string(), "its generation".into());
    if wanted.is_some_and(|tag| !is(tag)) {
        return Err(Error::Precondition { path, source });
    }
    if unwanted.is_some_and(is) {
        return Err(Error::NotModified { path, source });
    }
    Ok(())
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for GcsStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let opts = PutOptions {
            attributes: self.classed(opts.attributes),
            ..opts
        };
        let put = self.inner.put_opts(location, payload, opts).await?;
        Ok(by_generation(put))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let opts = PutMultipartOptions {
            attributes: self.classed(opts.attributes),
            ..opts
        };
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(Upload(upload)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (wanted, unwanted) = (options.if_match.clone(), options.if_none_match.clone());
        let options = GetOptions {
            if_match: None,
            if_none_match: None,
            ..options
        };
        let mut found = self.inner.get_opts(location, options).await?;
        found.meta.e_tag.clone_from(&found.meta.version);
        check(&found.meta, wanted.as_deref(), unwanted.as_deref())?;
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (store, at_once) = (self.clone(), self.client.parallel.max(1));
        locations
            .map(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.delete_one(&location).await?;
                    Ok(location)
                }
            })
            .buffered(at_once)
            .boxed()
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
        self.rewrite(from, to, options.mode).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let mode = match options.target_mode {
            object_store::RenameTargetMode::Overwrite => CopyMode::Overwrite,
            object_store::RenameTargetMode::Create => CopyMode::Create,
        };
        self.rewrite(from, to, mode).await?;
        self.delete_one(from).await
    }
}

impl std::fmt::Display for GcsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gs://{}", self.client.bucket)
    }
}

/// Without object_store's own, which would show the token.
impl std::fmt::Debug for GcsStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GcsStore")
            .field("client", &self.client)
            .field("storage_class", &self.storage_class)
            .finish_non_exhaustive()
    }
}

/// An upload whose result names the generation.
#[derive(Debug)]
struct Upload(Box<dyn MultipartUpload>);

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.0.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        Ok(by_generation(self.0.complete().await?))
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await
    }
}
