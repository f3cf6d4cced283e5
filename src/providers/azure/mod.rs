//! Azure Blob Storage, and Azurite, which speaks its protocol.
//!
//! Bytes travel by object_store. Listings, probes, HEADs, deletions and copies are requests of our own on the same
//! connections: a listing has to survive keys that `object_store::path::Path` refuses, an answer has to be told apart
//! by its status, and a copy has to be waited for. No error text holds a secret or a signature.

mod access;
mod batch;
mod client;
mod copy;
mod failure;
mod page;
mod store;
mod unfinished;

use std::sync::Arc;

use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode, header};
use object_store::ObjectStore;
use object_store::azure::{AzureCredentialProvider, MicrosoftAzureBuilder};

use super::build::Ground;
use super::digest::{self, Comparison};
use super::paged::{self, PageQuery, PageSource, Pages};
use super::uploads::UnfinishedUpload;
use super::wire::{self, chain, date, described};
use super::{Deletion, Key, ListRequest, Listed, Listing, Probe, ProviderError};
use crate::config::{AzureConfig, Global, ProviderKind};
use crate::resilience::{Fresh, Resilient, Shared};
use access::Access;
use client::{Ask, Client};
use store::AzureStore;

/// Its name in errors of object_store.
const STORE: &str = "azure";

/// One container, below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Azure {
    client: Arc<Client>,
    /// Empty, or ends at a `/`.
    prefix: Arc<str>,
}

/// The two sides of one container: the store for transfers, and [`Azure`] for questions.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) azure: Azure,
}

/// Builds the clients; sends nothing.
pub(super) fn connect(config: &AzureConfig, ground: &Ground<'_>) -> Result<Connected, ProviderError> {
    let Ground { provider, global, .. } = *ground;
    let unusable = |reason: String| ground.unusable(reason);
    let service_url = Access::of(config).map_err(unusable)?.service_url;
    let http = Resilient::client(&ground.shield, &service_url).map_err(unusable)?;
    let credentials = Fresh::new(
        credentials(config, global).map_err(unusable)?,
        again(config, ground),
        ground.shield.staleness(),
    );
    let inner = builder(config, &service_url, global)
        .with_credentials(Arc::new(credentials))
        .with_http_connector(Shared(digest::compared(http.clone(), Comparison::Ours)))
        .build()
        .map_err(|e| unusable(chain(&e)))?;
    let client = Arc::new(Client {
        provider: provider.to_owned(),
        account: config.account_name.clone(),
        container: config.container_name.clone(),
        container_url: format!("{service_url}/{}", config.container_name),
        http,
        credentials: Arc::clone(inner.credentials()),
        copy_patience: global.upload_timeout,
        parallel: global.max_connections_per_provider,
        access_tier: config.access_tier.clone(),
    });
    Ok(Connected {
        store: Arc::new(AzureStore {
            inner,
            client: Arc::clone(&client),
        }),
        azure: Azure {
            client,
            prefix: ground.prefix.into(),
        },
    })
}

fn builder(config: &AzureConfig, service_url: &str, global: &Global) -> MicrosoftAzureBuilder {
    MicrosoftAzureBuilder::new()
        .with_account(&config.account_name)
        .with_container_name(&config.container_name)
        .with_endpoint(service_url.to_owned())
        .with_client_options(wire::client_options(global, service_url.starts_with("http://")))
        .with_retry(wire::no_retries(global))
}

/// Where credentials come from: storage.yml, or the platform, which is asked on connections of its own.
fn credentials(config: &AzureConfig, global: &Global) -> Result<AzureCredentialProvider, String> {
    let access = Access::of(config)?;
    let builder = builder(config, &access.service_url, global);
    let store = access.give(builder).build().map_err(|e| chain(&e))?;
    Ok(Arc::clone(store.credentials()))
}

type Again = Box<dyn Fn() -> Result<AzureCredentialProvider, String> + Send + Sync>;

/// The same, read anew.
fn again(config: &AzureConfig, ground: &Ground<'_>) -> Again {
    let (config, global, reload) = (config.clone(), ground.global.clone(), ground.reload.clone());
    Box::new(move || match reload.as_ref().and_then(|reload| reload()) {
        Some(ProviderKind::Azure(now)) => credentials(&now, &global),
        _ => credentials(&config, &global),
    })
}

impl Azure {
    fn source(&self) -> Arc<dyn PageSource> {
        Arc::clone(&self.client) as _
    }

    /// Every blob below the prefix, with its key as it is, in the order of the service: that of bytes.
    ///
    /// Pages of 5,000 are read one ahead of the stream; dropping it ends the request under way.
    pub(super) fn list(&self, request: ListRequest) -> Listing {
        // The service knows no place to begin at but its own markers.
        let whole = ListRequest {
            split_at: Vec::new(),
            ..request
        };
        paged::list(self.source(), &self.prefix, whole)
    }

    /// What stands at the key, or `None` where the container is there and the blob is not. A directory of a
    /// hierarchical namespace is no blob.
    ///
    /// # Errors
    /// [`ProviderError::RootMissing`] where the container is what is missing; anything but a clear answer by its kind.
    pub(super) async fn head(&self, key: &Key) -> Result<Option<Listed>, ProviderError> {
        let context = self.client.context("head");
        let found = self.client.properties(context, &self.whole(key)).await?;
        let Some(headers) = found.filter(|headers| !is_directory(headers)) else {
            return Ok(None);
        };
        described(key, &headers)
            .map(Some)
            .map_err(|reason| context.invalid(reason))
    }

    /// Deletes what stands at the key while it has this ETag.
    pub(super) async fn delete_if(&self, key: &Key, etag: &str) -> Result<Deletion, ProviderError> {
        let context = self.client.context("delete");
        let whole = self.whole(key);
        let url = self.client.blob_url(context, &whole)?;
        let ask = Ask::new(Method::DELETE, url).header("if-match", etag);
        let answer = self.client.send(context, ask).await?;
        match answer.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::PRECONDITION_FAILED => Ok(Deletion::Changed),
            StatusCode::NOT_FOUND => match self.client.properties(context, &whole).await? {
                None => Ok(Deletion::Absent),
                Some(_) => Ok(Deletion::Changed),
            },
            _ => Err(self.client.failed(context, &answer)),
        }
    }

    /// Asks for one key below the prefix.
    pub(super) async fn probe(&self) -> Result<Probe, ProviderError> {
        let context = self.client.context("probe");
        let query = PageQuery {
            prefix: self.prefix.to_string(),
            max_keys: Some(1),
            ..PageQuery::default()
        };
        let (page, headers) = Pages::new(self.source(), "probe", query).fetch().await?;
        let now = date(&headers, header::DATE)
            .ok_or_else(|| context.invalid("the answer has no readable Date".into()))?;
        // An empty page may still be followed by another: that is not yet nothing.
        let bare = page.objects.is_empty() && page.next.is_none();
        Ok(Probe { now, bare })
    }

    /// Brings a copy to its end that a program which died had begun; see [`copy::settle`].
    pub(super) async fn settle_copy(&self, from: &Key, to: &Key) -> Result<bool, ProviderError> {
        copy::settle(&self.client, &self.whole(from), &self.whole(to)).await
    }

    /// See [`Provider::settle_upload`](super::Provider::settle_upload).
    pub(super) async fn settle_upload(&self, key: &Key) -> Result<bool, ProviderError> {
        unfinished::settle(&self.client, &self.whole(key)).await
    }

    /// See [`Provider::unfinished_uploads`](super::Provider::unfinished_uploads).
    pub(super) fn unfinished_uploads(&self) -> BoxStream<'static, Result<UnfinishedUpload, ProviderError>> {
        unfinished::list(Arc::clone(&self.client), Arc::clone(&self.prefix))
    }

    /// See [`Provider::abort_upload`](super::Provider::abort_upload).
    pub(super) async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<bool, ProviderError> {
        unfinished::end(&self.client, &self.whole(&upload.key), &upload.id).await
    }

    /// The key with the prefix before it.
    fn whole(&self, key: &Key) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }
}

/// A directory of a hierarchical namespace, or the empty blob that stands for one elsewhere.
fn is_directory(headers: &HeaderMap) -> bool {
    let says = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    says("x-ms-resource-type", "directory") || says("x-ms-meta-hdi_isfolder", "true")
}

/// An error of ours on its way through object_store, which gives it back as it is.
fn stored(error: ProviderError) -> object_store::Error {
    object_store::Error::Generic {
        store: STORE,
        source: Box::new(error),
    }
}
