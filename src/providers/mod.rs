//! Providers: where the bytes are. One [`Provider`] per entry of `storage.yml`, each an
//! [`ObjectStore`](object_store::ObjectStore) with the two things beside it that the trait cannot say: a listing
//! whose keys are exactly the provider's, and the mapping between keys and `provider_path`.
//!
//! Nothing here knows the database or what a finding is.

mod azure;
mod build;
mod conditional;
mod digest;
mod failure;
mod gcs;
mod key;
mod leftovers;
mod listing;
mod local;
mod mapping;
mod measured;
mod paged;
mod s3;
mod uploads;
mod wire;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::metrics::Metrics;
use crate::resilience::{CircuitState, Shield};

pub use crate::resilience::Outlook;

pub use build::{Reload, Terms, build, build_on, mapping_of};
pub use conditional::Deletion;
pub use key::{Key, SIDECAR_SUFFIX, StoredShape, is_reserved, sidecar_object, stored_shape, uuids_in};
pub use listing::{EntryKind, ListRequest, Listed, Listing};
pub use mapping::Mapping;
pub use s3::with_sha256;
pub use uploads::UnfinishedUpload;

use paged::Stretch;

/// What can go wrong between here and a provider. Rules: each names the provider and the operation; none holds a
/// secret; NotFound of an object is an answer (`Ok(None)`), never an error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProviderError {
    /// The local root or the bucket is not there.
    #[error("{provider}: {root} does not exist")]
    RootMissing { provider: String, root: String },
    /// Network, timeout, 408, 429, 5xx: may work later.
    #[error("{provider}: {operation} failed: {reason}")]
    Unavailable {
        provider: String,
        operation: &'static str,
        reason: String,
    },
    /// No whole answer in time; `key` is what sets the limit in storage.yml.
    #[error("{provider}: {operation} timed out: no whole answer within {} ms ({key})", limit.as_millis())]
    TimedOut {
        provider: String,
        operation: &'static str,
        limit: Duration,
        key: &'static str,
    },
    /// Nothing was sent, since the provider failed again and again of late.
    #[error("{provider}: {operation} was not tried: the circuit is open after repeated failures, for {} s yet", retry_in.as_secs())]
    CircuitOpen {
        provider: String,
        operation: &'static str,
        retry_in: Duration,
    },
    /// 401, 403, EACCES.
    #[error("{provider}: {operation} was denied: {reason}")]
    Denied {
        provider: String,
        operation: &'static str,
        reason: String,
    },
    /// An answer that makes no sense, or a request the provider will never take.
    #[error("{provider}: {operation}: {reason}")]
    Invalid {
        provider: String,
        operation: &'static str,
        reason: String,
    },
    /// The provider's configuration cannot be used.
    #[error("provider {provider}: {reason}")]
    Configuration { provider: String, reason: String },
}

impl ProviderError {
    /// Whether the provider did not answer: another may be able to do what it could not, or it may itself, later. A
    /// missing root is none: nobody knows what is there.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. } | Self::TimedOut { .. } | Self::CircuitOpen { .. }
        )
    }

    /// Whose error it is, and of what was asked, where anything was.
    #[must_use]
    pub fn about(&self) -> (&str, Option<&'static str>) {
        match self {
            Self::RootMissing { provider, .. } | Self::Configuration { provider, .. } => (provider, None),
            Self::Unavailable {
                provider, operation, ..
            }
            | Self::TimedOut {
                provider, operation, ..
            }
            | Self::CircuitOpen {
                provider, operation, ..
            }
            | Self::Denied {
                provider, operation, ..
            }
            | Self::Invalid {
                provider, operation, ..
            } => (provider, Some(operation)),
        }
    }

    /// The code that scripts read.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::RootMissing { .. } | Self::Unavailable { .. } | Self::Denied { .. } => {
                "STORAGE_PROVIDER_UNAVAILABLE"
            }
            Self::TimedOut { .. } => "STORAGE_TIMEOUT",
            Self::CircuitOpen { .. } => "STORAGE_CIRCUIT_OPEN",
            Self::Invalid { .. } => "STORAGE_ERROR",
            Self::Configuration { .. } => "STORAGE_CONFIGURATION_ERROR",
        }
    }
}

/// What a first look at a provider showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The provider's clock.
    pub now: DateTime<Utc>,
    /// Nothing at all stands under the root: not one entry of any kind. A mount point without its mount looks so.
    pub bare: bool,
}

/// One configured provider, ready to be asked.
#[derive(Debug, Clone)]
pub struct Provider {
    pub name: String,
    /// `local`, `s3`, `azure`, `gcs`.
    pub type_name: &'static str,
    pub mapping: Mapping,
    /// Keys below the root or prefix go through [`Provider::location`].
    pub store: Arc<dyn ObjectStore>,
    /// Empty, or ends at a `/`.
    prefix: String,
    lister: Lister,
    held: conditional::Held,
    shield: Arc<Shield>,
    meter: Option<measured::Meter>,
}

/// Who answers what [`ObjectStore`] cannot be asked.
#[derive(Debug, Clone)]
enum Lister {
    Local(local::LocalStore),
    S3(s3::S3),
    Azure(azure::Azure),
    Gcs(gcs::Gcs),
}

impl Provider {
    /// Everything under the root or prefix, each entry with its key exactly as the provider has it. The order is
    /// the provider's own and no promise: the reader checks it.
    ///
    /// An end without an error is the end of everything; see [`Listing`].
    pub fn list(&self, request: ListRequest) -> Listing {
        let prefix = request.prefix.clone();
        let listing = match &self.lister {
            Lister::Local(local) => local.list(request),
            Lister::S3(s3) => s3.list(request),
            Lister::Azure(azure) => azure.list(request),
            Lister::Gcs(gcs) => gcs.list(request),
        };
        match &self.meter {
            Some(meter) => meter.watched("list", &prefix, listing),
            None => listing,
        }
    }

    /// The same provider, and what is asked of it is counted there.
    #[must_use]
    pub fn measured(mut self, metrics: &Arc<Metrics>) -> Self {
        let meter = measured::Meter {
            metrics: Arc::clone(metrics),
            provider: self.name.clone(),
            prefix: self.prefix.clone(),
        };
        self.store = Arc::new(measured::Measured {
            inner: self.store,
            meter: meter.clone(),
        });
        self.meter = Some(meter);
        self
    }

    /// Counts what is asked beside [`Self::store`].
    async fn counted<T>(
        &self,
        (operation, key): (&'static str, &Key),
        asked: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        let key = key.as_str().unwrap_or_default();
        let timer = self.meter.as_ref().map(|meter| meter.begin_at(operation, key));
        let answer = asked.await;
        match timer {
            Some(timer) => timer.told(answer),
            None => answer,
        }
    }

    /// What stands at the key; `None` only where the provider says clearly that nothing does.
    ///
    /// # Errors
    /// Anything else: a missing root or bucket, a refusal, an outage, a key that cannot be asked for.
    pub async fn head(&self, key: &Key) -> Result<Option<Listed>, ProviderError> {
        let asked = async {
            match &self.lister {
                Lister::Local(local) => local.head(key).await,
                Lister::S3(s3) => s3.head(key).await,
                Lister::Azure(azure) => azure.head(key).await,
                Lister::Gcs(gcs) => gcs.head(key).await,
            }
        };
        self.counted(("head", key), asked).await
    }

    /// What a listing shows of the keys from `first` to `last` below the prefix (empty, or ends at a `/`), where so many pages
    /// of it are enough. `None` where they are not, and where the provider cannot begin in the middle. What it does not show
    /// may be there all the same.
    ///
    /// # Errors
    /// Where a page cannot be had.
    pub async fn list_between(
        &self,
        prefix: &str,
        (first, last): (&Key, &Key),
        (expected, pages): (usize, usize),
    ) -> Result<Option<Vec<Listed>>, ProviderError> {
        let Some(first) = first.as_str().filter(|first| first.starts_with(prefix)) else {
            return Ok(None);
        };
        let stretch = Stretch {
            prefix,
            first,
            last,
            expected,
        };
        let asked = match &self.lister {
            Lister::S3(s3) => s3.list_between(stretch, pages).boxed(),
            Lister::Gcs(gcs) => gcs.list_between(stretch, pages).boxed(),
            Lister::Local(_) | Lister::Azure(_) => return Ok(None),
        };
        self.counted(("list", &Key::from(prefix)), asked).await
    }

    /// Uploads in parts that were begun and not ended, in no order; on Azure, where each is looked at, only those under
    /// keys of this system. None where the provider keeps their bytes as files of its own, which [`Self::sweep`] removes.
    ///
    /// An end without an error is the end of everything.
    pub fn unfinished_uploads(&self) -> BoxStream<'static, Result<UnfinishedUpload, ProviderError>> {
        let uploads = match &self.lister {
            Lister::S3(s3) => s3.unfinished_uploads(),
            Lister::Gcs(gcs) => gcs.unfinished_uploads(),
            Lister::Azure(azure) => azure.unfinished_uploads(),
            Lister::Local(_) => return stream::empty().boxed(),
        };
        match &self.meter {
            Some(meter) => meter.watched("uploads", "", uploads),
            None => uploads,
        }
    }

    /// Ends an upload in parts, whose bytes go for good; says whether there still was one.
    ///
    /// # Errors
    /// Where the provider did not say that it is gone.
    ///
    /// # Cancellation
    /// Safe to repeat.
    pub async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<bool, ProviderError> {
        let what = ("abort", &upload.key);
        match &self.lister {
            Lister::S3(s3) => self.counted(what, s3.abort_upload(upload)).await,
            Lister::Gcs(gcs) => self.counted(what, gcs.abort_upload(upload)).await,
            Lister::Azure(azure) => self.counted(what, azure.abort_upload(upload)).await,
            Lister::Local(_) => Ok(false),
        }
    }

    /// Removes the empty object at the key that an upload in parts left which died while it was given up, where a provider
    /// needs one for that; any other object stays. Says whether the key may hold another than before.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    ///
    /// # Cancellation
    /// Safe to repeat.
    pub async fn settle_upload(&self, key: &Key) -> Result<bool, ProviderError> {
        match &self.lister {
            Lister::Azure(azure) => self.counted(("settle", key), azure.settle_upload(key)).await,
            Lister::Local(_) | Lister::S3(_) | Lister::Gcs(_) => Ok(false),
        }
    }

    /// Whether the provider answers, what its clock says, and whether anything is there at all. Reads only.
    pub async fn probe(&self) -> Result<Probe, ProviderError> {
        let asked = async {
            match &self.lister {
                Lister::Local(local) => local.probe().await,
                Lister::S3(s3) => s3.probe().await,
                Lister::Azure(azure) => azure.probe().await,
                Lister::Gcs(gcs) => gcs.probe().await,
            }
        };
        self.counted(("probe", &Key::from("")), asked).await
    }

    /// The most bytes that a copy in one request takes; `None` where any object is copied in one. Larger ones go in parts.
    ///
    /// # Source
    /// Amazon S3 API Reference, "CopyObject".
    #[must_use]
    pub const fn copies_at_most(&self) -> Option<u64> {
        match self.lister {
            Lister::S3(_) => Some(5 << 30),
            Lister::Local(_) | Lister::Azure(_) | Lister::Gcs(_) => None,
        }
    }

    /// The same copy for objects of any size, in parts of `part` bytes (`None`: as is best); whether anything stood at
    /// `from`.
    ///
    /// # Errors
    /// Where the provider does not say that all of it was copied; nothing is at `to` then.
    ///
    /// # Cancellation
    /// Nothing is at `to`; an upload in parts is left, which cleanup finds.
    pub async fn duplicate_in_parts(
        &self,
        from: &Key,
        to: &Key,
        part: Option<u64>,
    ) -> Result<bool, ProviderError> {
        match &self.lister {
            Lister::S3(s3) => {
                let part = part.unwrap_or(s3::PART);
                self.counted(("copy", from), s3.copy_in_parts(from, to, part))
                    .await
            }
            Lister::Local(_) | Lister::Azure(_) | Lister::Gcs(_) => Err(ProviderError::Invalid {
                provider: self.name.clone(),
                operation: "copy",
                reason: "it copies objects whole, whatever their size".to_owned(),
            }),
        }
    }

    /// Brings a copy between these keys to its end that a program which died had begun, where the provider makes copies
    /// by itself: one under way is waited for, what a failed one left is removed. Says whether the target may be
    /// another than before.
    ///
    /// # Errors
    /// Where it is not known how the copy ended.
    ///
    /// # Cancellation
    /// Safe: the same call goes on.
    pub async fn settle_copy(&self, from: &Key, to: &Key) -> Result<bool, ProviderError> {
        match &self.lister {
            Lister::Azure(azure) => self.counted(("settle", from), azure.settle_copy(from, to)).await,
            Lister::Local(_) | Lister::S3(_) | Lister::Gcs(_) => Ok(false),
        }
    }

    /// Where [`Self::store`] has this key, byte for byte.
    ///
    /// # Errors
    /// [`ProviderError::Invalid`] where object_store cannot name it: not UTF-8, an empty, `.` or `..` segment, a
    /// control character, or a `/` at the end, which it would drop and so name another object.
    pub fn location(&self, key: &Key) -> Result<Path, ProviderError> {
        let unaddressable = || ProviderError::Invalid {
            provider: self.name.clone(),
            operation: "locate",
            reason: format!("the key {key} cannot be addressed"),
        };
        let full = format!("{}{}", self.prefix, key.as_str().ok_or_else(unaddressable)?);
        Path::parse(&full)
            .ok()
            .filter(|path| path.as_ref() == full)
            .ok_or_else(unaddressable)
    }

    /// Brings what stands at `from` to `to` as well, so that one of the two can go: a second name of the same file on
    /// a local disk, where nothing at `to` is ever replaced, a copy made by the provider elsewhere, and waited for where
    /// the provider answers before it has made it.
    ///
    /// # Errors
    /// As [`Self::store`]'s: NotFound where nothing stands at `from`.
    ///
    /// # Cancellation
    /// The whole object is at `to`, now or later, or nothing of it is; where the provider may still be copying,
    /// [`Self::settle_copy`] waits for it.
    pub async fn duplicate(&self, from: &Path, to: &Path) -> object_store::Result<()> {
        if let Lister::Local(local) = &self.lister {
            let timer = self
                .meter
                .as_ref()
                .map(|meter| meter.begin_at("copy", from.as_ref()));
            let answer = local.add_name(from, to).await;
            return match timer {
                Some(timer) => timer.ended(answer, 0),
                None => answer,
            };
        }
        self.store.copy(from, to).await
    }

    /// Removes what writes of dead processes left half done, on providers where that takes up room under names of its
    /// own. What fails here harms nothing.
    pub async fn sweep(&self) {
        if let Lister::Local(local) = &self.lister {
            let swept = self.counted(("sweep", &Key::from("")), local.sweep()).await;
            if let Err(error) = swept {
                tracing::debug!("unfinished files may be left: {error}");
            }
        }
    }

    /// Removes the directories above a key in the trash that are empty now, on providers that have directories;
    /// the trash itself stays. What fails here harms nothing.
    pub async fn tidy(&self, key: &Key) {
        if let Lister::Local(local) = &self.lister {
            let tidied = self.counted(("tidy", key), local.tidy(key)).await;
            if let Err(error) = tidied {
                tracing::debug!("empty directories are left in the trash: {error}");
            }
        }
    }

    /// Whether a request would go out now, by what was known of its circuit a second ago.
    pub async fn outlook(&self) -> Outlook {
        self.shield.circuit().outlook().await
    }

    /// How its circuit stands. That of a local disk is always closed: nothing there is spared by waiting.
    pub async fn circuit(&self) -> CircuitState {
        self.shield.circuit().state().await
    }

    /// What an error of [`Self::store`] means.
    #[must_use]
    pub fn store_error(&self, operation: &'static str, error: object_store::Error) -> ProviderError {
        failure::of_store(&self.name, operation, error)
    }
}
