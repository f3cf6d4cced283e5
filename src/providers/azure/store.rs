//! A container as an [`ObjectStore`]: transfers are object_store's, with what it leaves out put right.
//!
//! - Metadata may have only names that C# could have: `civic-id` goes as `civic_id` and comes back as it went.
//! - What is written gets the configured access tier.
//! - A copy is done when it is done, see [`copy`](super::copy).
//! - A deletion is one where the service says so for that key; what was not there is gone, too.
//! - Blocks of an upload that is given up go at once, see [`unfinished`](super::unfinished): by themselves they would in a
//!   week.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::azure::MicrosoftAzure;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
    UploadPart,
};

use super::batch;
use super::client::Client;
use super::copy::{self, Copied};
use super::{STORE, stored, unfinished};

/// What metadata of ours begins with, as others have it and as Azure does.
const OURS: [&str; 2] = ["civic-", "civic_"];

pub(super) struct AzureStore {
    pub(super) inner: MicrosoftAzure,
    pub(super) client: Arc<Client>,
}

/// Without object_store's own, which prints its credentials.
impl fmt::Debug for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStore")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for AzureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl AzureStore {
    /// Attributes as Azure takes them.
    fn sent(&self, attributes: &Attributes) -> Attributes {
        let mut sent = renamed(attributes, OURS, ['-', '_']);
        if let Some(tier) = &self.client.access_tier {
            sent.insert(Attribute::StorageClass, tier.clone().into());
        }
        sent
    }
}

/// The same attributes, our metadata with names of the other form.
fn renamed(attributes: &Attributes, [from, to]: [&str; 2], [old, new]: [char; 2]) -> Attributes {
    let rename = |(name, value): (&Attribute, &object_store::AttributeValue)| {
        let name = match name {
            Attribute::Metadata(name) => match name.strip_prefix(from) {
                Some(rest) => {
                    let rest = rest.replace(old, &new.to_string());
                    Attribute::Metadata(format!("{to}{rest}").into())
                }
                None => Attribute::Metadata(name.clone()),
            },
            other => other.clone(),
        };
        (name, value.clone())
    };
    attributes.iter().map(rename).collect()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for AzureStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let attributes = self.sent(&opts.attributes);
        let opts = PutOptions { attributes, ..opts };
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let attributes = self.sent(&opts.attributes);
        let opts = PutMultipartOptions { attributes, ..opts };
        Ok(Box::new(Upload {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            client: Arc::clone(&self.client),
            location: location.clone(),
            has_parts: false,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.inner.get_opts(location, options).await?;
        let attributes = renamed(&found.attributes, [OURS[1], OURS[0]], ['_', '-']);
        Ok(GetResult { attributes, ..found })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        batch::delete_stream(Arc::clone(&self.client), locations)
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
        let overwrite = options.mode == CopyMode::Overwrite;
        let [source, target] = [from, to].map(|path| path.as_ref().as_bytes());
        let path = |path: &Path| path.to_string();
        match copy::copy(&self.client, source, target, overwrite)
            .await
            .map_err(stored)?
        {
            Copied::Done => Ok(()),
            Copied::SourceMissing => Err(Error::NotFound {
                path: path(from),
                source: "it is not there to be copied".into(),
            }),
            Copied::TargetTaken => Err(Error::AlreadyExists {
                path: path(to),
                source: format!("{STORE} has something there").into(),
            }),
        }
    }

    /// Nobody's: a move is a copy that is looked at before its source goes, and that is the engine's.
    async fn rename_opts(&self, _from: &Path, _to: &Path, _options: RenameOptions) -> Result<()> {
        Err(Error::NotImplemented {
            operation: "rename".into(),
            implementer: self.to_string(),
        })
    }
}

/// An upload in blocks.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    client: Arc<Client>,
    location: Path,
    has_parts: bool,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.has_parts = true;
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await?;
        if self.has_parts {
            let discarded = unfinished::discard(&self.client, self.location.as_ref().as_bytes());
            discarded.await.map_err(stored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_metadata_go_as_azure_takes_them_and_come_back() {
        let ours: Attributes = [
            (Attribute::ContentType, "text/plain"),
            (Attribute::Metadata("civic-original-name".into()), "a"),
            (Attribute::Metadata("others_own".into()), "b"),
        ]
        .into_iter()
        .collect();
        let sent = renamed(&ours, OURS, ['-', '_']);
        assert!(
            sent.get(&Attribute::Metadata("civic_original_name".into()))
                .is_some()
        );
        assert!(sent.get(&Attribute::Metadata("others_own".into())).is_some());
        assert_eq!(renamed(&sent, [OURS[1], OURS[0]], ['_', '-']), ours);
    }
}
