//! Google Cloud Storage.
//!
//! Transfers go through object_store, which speaks the XML API. Listings, HEADs, deletions and copies are requests of
//! our own to the JSON API, on the same connections: the XML of a listing cannot hold every name that an object may
//! have, a 404 has to be told from a missing bucket, and a copy of a large object takes several calls.
//!
//! What stands for an ETag here is the object's generation: it is new whenever the bytes are, both APIs and every
//! precondition know it, while their ETags differ. No error text holds a key or a token.

mod account;
mod client;
mod failure;
mod page;
mod store;

use std::sync::{Arc, Mutex};

use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode, header};
use object_store::ObjectStore;
use object_store::client::HttpClient;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};

use super::build::Ground;
use super::digest::{self, Comparison};
use super::paged::{self, PageQuery, PageSource, Pages, Stretch};
use super::uploads::{self, UnfinishedUpload, UploadSource};
use super::wire::{self, chain, date};
use super::{Deletion, Key, ListRequest, Listed, Listing, Probe, ProviderError};
use crate::config::{GcsConfig, Global, ProviderKind};
use crate::resilience::{Fresh, Resilient, Shared};
use client::Client;

const GOOGLE: &str = "https://storage.googleapis.com";

/// One bucket, below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Gcs {
    client: Arc<Client>,
    /// Empty, or ends at a `/`.
    prefix: Arc<str>,
}

/// The two sides of one bucket: the store for transfers, and [`Gcs`] for questions.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) gcs: Gcs,
}

/// Builds the clients; reads the account's key, and sends nothing.
pub(super) fn connect(config: &GcsConfig, ground: &Ground<'_>) -> Result<Connected, ProviderError> {
    let Ground { provider, global, .. } = *ground;
    let unusable = |reason: String| ground.unusable(reason);
    let base = base_url(config).map_err(unusable)?;
    let http = Resilient::client(&ground.shield, &base).map_err(unusable)?;
    let (first, keyless) = credentials(config, &http, global).map_err(unusable)?;
    let credentials = Fresh::new(first, again(config, &http, ground), ground.shield.staleness());
    let store = builder(config, &base, global)
        .with_credentials(Arc::new(credentials))
        .with_http_connector(Shared(digest::compared(http.clone(), Comparison::Theirs)))
        .build()
        .map_err(|e| unusable(chain(&e)))?;
    let client = Arc::new(Client {
        provider: provider.to_owned(),
        bucket: config.bucket.clone(),
        objects_url: format!("{base}/storage/v1/b/{}/o", config.bucket),
        bucket_url: format!("{base}/{}", config.bucket),
        http,
        credentials: Arc::clone(store.credentials()),
        keyless,
        parallel: global.max_connections_per_provider,
        bucket_seen: Mutex::default(),
    });
    let store = store::GcsStore::new(store, Arc::clone(&client), config.storage_class.as_deref());
    Ok(Connected {
        store: Arc::new(store),
        gcs: Gcs {
            client,
            prefix: ground.prefix.into(),
        },
    })
}

fn builder(config: &GcsConfig, base: &str, global: &Global) -> GoogleCloudStorageBuilder {
    GoogleCloudStorageBuilder::new()
        .with_bucket_name(&config.bucket)
        .with_base_url(base)
        .with_client_options(wire::client_options(global, base.starts_with("http://")))
        .with_retry(wire::no_retries(global))
}

/// Where tokens come from, and whether no key was found, so that the machine is asked. A key's tokens are fetched with
/// our own client.
fn credentials(
    config: &GcsConfig,
    http: &HttpClient,
    global: &Global,
) -> Result<(GcpCredentialProvider, bool), String> {
    let builder = builder(config, &base_url(config)?, global);
    let (builder, keyless) = account::open(builder, config, http)?;
    let store = builder.build().map_err(|e| chain(&e))?;
    Ok((Arc::clone(store.credentials()), keyless))
}

type Again = Box<dyn Fn() -> Result<GcpCredentialProvider, String> + Send + Sync>;

/// The same, read anew.
fn again(config: &GcsConfig, http: &HttpClient, ground: &Ground<'_>) -> Again {
    let (config, global, reload) = (config.clone(), ground.global.clone(), ground.reload.clone());
    let http = http.clone();
    Box::new(move || {
        let now = match reload.as_ref().and_then(|reload| reload()) {
            Some(ProviderKind::Gcs(now)) => now,
            _ => config.clone(),
        };
        credentials(&now, &http, &global).map(|(source, _)| source)
    })
}

/// Where both APIs are, without a `/` at its end.
fn base_url(config: &GcsConfig) -> Result<String, String> {
    let bucket = &config.bucket;
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() {
        return Err("no bucket is set (key `bucket`)".into());
    }
    if !bucket.chars().all(named) || bucket.chars().all(|c| c == '.') {
        return Err(format!("`{bucket}` is not a bucket's name"));
    }
    match config.endpoint.as_deref().filter(|e| !e.is_empty()) {
        Some(endpoint) => wire::checked_endpoint(endpoint),
        None => Ok(GOOGLE.to_owned()),
    }
}

impl Gcs {
    fn source(&self) -> Arc<dyn PageSource> {
        Arc::clone(&self.client) as _
    }

    /// Every object below the prefix, with its key as it is; Google gives them in byte order.
    ///
    /// Pages are read ahead of the stream, at most a few; dropping it ends the request under way.
    pub(super) fn list(&self, request: ListRequest) -> Listing {
        paged::list(self.source(), &self.prefix, request)
    }

    pub(super) async fn list_between(
        &self,
        stretch: Stretch<'_>,
        pages: usize,
    ) -> Result<Option<Vec<Listed>>, ProviderError> {
        paged::between(self.source(), &self.prefix, stretch, pages).await
    }

    /// What stands at the key, or `None` where the bucket is there and the object is not.
    ///
    /// # Errors
    /// [`ProviderError::RootMissing`] where the bucket is what is missing; anything but a clear answer by its kind.
    pub(super) async fn head(&self, key: &Key) -> Result<Option<Listed>, ProviderError> {
        let context = self.client.context("head");
        let name = key
            .as_str()
            .ok_or_else(|| context.invalid(format!("no object can be named {key}")))?;
        let name = format!("{}{name}", self.prefix);
        let url = format!("{}?fields={}", self.client.object_url(&name), page::ITEM_FIELDS);
        let asked = self.client.send(context, Method::GET, &url, None);
        let answer = Box::pin(asked).await?;
        match answer.status {
            StatusCode::OK => {
                let object = page::object(&answer.body).map_err(|reason| context.invalid(reason))?;
                if object.key != name.as_bytes() {
                    return Err(context.invalid("the answer is about another object".into()));
                }
                Ok(Some(object.listed(key.clone())))
            }
            StatusCode::NOT_FOUND => {
                Box::pin(self.client.confirm_bucket("head")).await?;
                Ok(None)
            }
            _ => Err(self.client.failed(context, &answer)),
        }
    }

    /// Deletes what stands at the key while it is of this generation.
    pub(super) async fn delete_if(&self, key: &Key, generation: &str) -> Result<Deletion, ProviderError> {
        let context = self.client.context("delete");
        let name = key
            .as_str()
            .ok_or_else(|| context.invalid(format!("no object can be named {key}")))?;
        let url = self.client.object_url(&format!("{}{name}", self.prefix));
        let url = format!(
            "{url}?{}",
            wire::query_of(&[("ifGenerationMatch", Some(generation))])
        );
        let answer = self.client.send(context, Method::DELETE, &url, None).await?;
        match answer.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::PRECONDITION_FAILED => Ok(Deletion::Changed),
            StatusCode::NOT_FOUND => {
                self.client.confirm_bucket("delete").await?;
                Ok(Deletion::Absent)
            }
            _ => Err(self.client.failed(context, &answer)),
        }
    }

    /// See [`Provider::unfinished_uploads`](super::Provider::unfinished_uploads).
    pub(super) fn unfinished_uploads(&self) -> BoxStream<'static, Result<UnfinishedUpload, ProviderError>> {
        let source: Arc<dyn UploadSource> = Arc::clone(&self.client) as _;
        uploads::list(source, Arc::clone(&self.prefix))
    }

    /// See [`Provider::abort_upload`](super::Provider::abort_upload).
    pub(super) async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<bool, ProviderError> {
        let full = [self.prefix.as_bytes(), upload.key.as_bytes()].concat();
        self.client.abort(&full, &upload.id).await
    }

    /// Asks for one key below the prefix.
    pub(super) async fn probe(&self) -> Result<Probe, ProviderError> {
        let (bare, headers) = self.first_page().await?;
        let now = date(&headers, header::DATE).ok_or_else(|| {
            let context = self.client.context("probe");
            context.invalid("the answer has no readable Date".into())
        })?;
        Ok(Probe { now, bare })
    }

    async fn first_page(&self) -> Result<(bool, HeaderMap), ProviderError> {
        let query = PageQuery {
            prefix: self.prefix.to_string(),
            max_keys: Some(1),
            ..PageQuery::default()
        };
        let (page, headers) = Pages::new(self.source(), "probe", query).fetch().await?;
        // An empty page may still be followed by another: that is not yet nothing.
        Ok((page.objects.is_empty() && page.next.is_none(), headers))
    }
}
