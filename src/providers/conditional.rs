//! Deleting an object only while it is the one that was seen, by a condition in the request itself: between a look and an
//! unconditional deletion somebody may have written to the key.
//!
//! Not every service that speaks a protocol holds to its conditions, and one that does not deletes all the same. So each is
//! tried once, on an object made for it below the reserved prefix, before anybody relies on it. A trial that the provider
//! did not answer has shown nothing: nobody deletes by it, and the next to ask tries again.
//!
//! # Source
//! Amazon S3 API Reference, "DeleteObject" (`If-Match`); Azure Blob Storage REST API, "Specifying conditional headers";
//! Cloud Storage JSON API reference, "Objects: delete" (`ifGenerationMatch`).

use std::sync::Arc;

use object_store::{ObjectStoreExt, PutPayload};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{Key, Listed, Lister, Provider, ProviderError};
use crate::failpoint::reach;

/// What the keys begin with of the objects that trials are made on.
const TRIAL: &str = ".civic/probe-";

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// Nothing was there.
    Absent,
    /// Something else stands there than was seen: left alone.
    Changed,
}

/// Whether the service holds to conditions, once somebody has tried and was answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<OnceCell<bool>>);

impl Provider {
    /// Deletes what was seen at the key a moment ago, on condition that it still is that object where the provider has
    /// such conditions and holds to them.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    ///
    /// # Cancellation
    /// The object is gone or it is there.
    pub async fn delete_seen(&self, key: &Key, seen: &Listed) -> Result<Deletion, ProviderError> {
        let condition = match &seen.etag {
            Some(etag) if self.deletes_on_condition().await? => Some(etag),
            _ => None,
        };
        reach("delete.before-request");
        if let Some(etag) = condition {
            return match self.delete_if(key, etag).await? {
                Deletion::Changed => self.changed_or_absent(key).await,
                settled => Ok(settled),
            };
        }
        match self.store.delete(&self.location(key)?).await {
            Ok(()) => Ok(Deletion::Deleted),
            Err(object_store::Error::NotFound { .. }) => Ok(Deletion::Absent),
            Err(error) => Err(self.store_error("delete", error)),
        }
    }

    /// A condition fails of nothing as it does of something else, and a request that was sent again since its answer was
    /// lost finds nothing any more: it deleted the object itself the first time.
    async fn changed_or_absent(&self, key: &Key) -> Result<Deletion, ProviderError> {
        Ok(match self.head(key).await? {
            None => Deletion::Absent,
            Some(_) => Deletion::Changed,
        })
    }

    async fn delete_if(&self, key: &Key, etag: &str) -> Result<Deletion, ProviderError> {
        let asked = async {
            match &self.lister {
                // Entries of a local disk have no ETag.
                Lister::Local(_) => Ok(Deletion::Changed),
                Lister::S3(s3) => s3.delete_if(key, etag).await,
                Lister::Azure(azure) => azure.delete_if(key, etag).await,
                Lister::Gcs(gcs) => gcs.delete_if(key, etag).await,
            }
        };
        self.counted(("delete", key), asked).await
    }

    /// Whether [`Provider::delete_seen`] of what has an ETag is on condition here; the first call tries it.
    ///
    /// # Errors
    /// Where the provider did not answer the trial: then it is not known, and the next call tries again.
    pub async fn deletes_on_condition(&self) -> Result<bool, ProviderError> {
        let other = match &self.lister {
            Lister::Local(_) => return Ok(false),
            Lister::S3(_) => "\"00000000000000000000000000000000\"",
            Lister::Azure(_) => "\"0x1\"",
            Lister::Gcs(_) => "1",
        };
        let tried = self.held.0.get_or_try_init(|| async {
            let held = self.try_conditions(other).await;
            tracing::debug!(provider = self.name, "conditional deletions: {held:?}");
            held
        });
        // On the heap, since callers within callers hold it.
        Box::pin(tried).await.copied()
    }

    /// Whether a deletion is refused whose condition does not hold, and made where it does.
    async fn try_conditions(&self, other: &str) -> Result<bool, ProviderError> {
        let key = Key::from(format!("{TRIAL}{}", Uuid::new_v4()).as_str());
        let at = self.location(&key)?;
        let put = self.store.put(&at, PutPayload::from_static(b"civic")).await;
        put.map_err(|error| self.store_error("probe", error))?;
        reach("conditional.after-put");
        self.collect(TRIAL).await;
        let held = self.try_conditions_on(&key, other).await;
        if !matches!(held, Ok(true)) {
            // Best effort: it is a few bytes below the reserved prefix.
            let _ = self.store.delete(&at).await;
        }
        held
    }

    async fn try_conditions_on(&self, key: &Key, other: &str) -> Result<bool, ProviderError> {
        if self.knows_condition(key, other).await? != Some(Deletion::Changed) {
            return Ok(false);
        }
        let Some(etag) = self.head(key).await?.and_then(|there| there.etag) else {
            return Ok(false);
        };
        // Where the answer was lost and the deletion was asked for again, it found nothing, or nothing of that condition.
        let is_known = self.knows_condition(key, &etag).await?.is_some();
        Ok(is_known && self.head(key).await?.is_none())
    }

    /// `None` where the service answers that it can make nothing of such a request.
    async fn knows_condition(&self, key: &Key, etag: &str) -> Result<Option<Deletion>, ProviderError> {
        match self.delete_if(key, etag).await {
            Err(ProviderError::Invalid { .. }) => Ok(None),
            answer => answer.map(Some),
        }
    }
}
