//! S3 and everything that speaks its protocol.
//!
//! Transfers go through object_store. Listings, probes and HEADs are requests of our own on the same connections:
//! a listing has to survive keys that `object_store::path::Path` refuses, and an answer has to be told apart by
//! its status, which object_store hides. No error text holds a secret or a signature.

mod client;
mod copy;
mod endpoint;
mod failure;
mod page;
mod payload;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use http::{HeaderMap, Method, StatusCode, header};
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AwsCredentialProvider, Checksum};
use secrecy::ExposeSecret;

use super::build::Ground;
use super::paged::{self, PageQuery, PageSource, Pages, Stretch};
use super::uploads::{self, UnfinishedUpload, UploadSource};
use super::wire::{self, chain, date, described};
use super::{Deletion, Key, ListRequest, Listed, Listing, Probe, ProviderError};
use crate::config::{Global, ProviderKind, S3Config, S3Credentials};
use crate::resilience::{Fresh, Resilient, Shared};
use client::Client;

pub(super) use copy::PART;
pub use payload::with_sha256;

/// For how long an answer of the bucket vouches that a 404 of a HEAD means the object.
const BUCKET_SEEN_FOR: Duration = Duration::from_secs(30);

/// What the platform puts into the environment of a program it gives a role to. Read here and not with the
/// settings, since none of it is one: it only says where the credentials are to be fetched.
const PLATFORM_VARIABLES: [&str; 7] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// One bucket, below one prefix.
#[derive(Debug, Clone)]
pub(super) struct S3 {
    client: Arc<Client>,
    /// Empty, or ends at a `/`.
    prefix: Arc<str>,
    /// When the bucket last answered a listing.
    bucket_seen: Arc<Mutex<Option<Instant>>>,
}

/// The two sides of one bucket: the store for transfers, and [`S3`] for questions.
pub(super) struct Connected {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) s3: S3,
}

/// Builds the clients; sends nothing.
pub(super) fn connect(config: &S3Config, ground: &Ground<'_>) -> Result<Connected, ProviderError> {
    let Ground { provider, global, .. } = *ground;
    let unusable = |reason: String| ground.unusable(reason);
    let bucket_url = endpoint::bucket_url(config).map_err(unusable)?;
    let http = Resilient::client(&ground.shield, &bucket_url).map_err(unusable)?;
    let credentials = Fresh::new(
        credentials(config, global).map_err(unusable)?,
        again(config, ground),
        ground.shield.staleness(),
    );
    let store = builder(config, global)
        .map_err(unusable)?
        .with_credentials(Arc::new(credentials))
        .with_checksum_algorithm(Checksum::SHA256)
        .with_crypto_provider(Arc::new(payload::Crypto))
        .with_http_connector(Shared(http.clone()))
        .build()
        .map_err(|e| unusable(chain(&e)))?;
    let client = Client {
        provider: provider.to_owned(),
        bucket: config.bucket.clone(),
        bucket_url,
        region: endpoint::region(config).to_owned(),
        http,
        credentials: Arc::clone(store.credentials()),
        parallel: global.max_connections_per_provider,
    };
    Ok(Connected {
        store: Arc::new(store),
        s3: S3 {
            client: Arc::new(client),
            prefix: ground.prefix.into(),
            bucket_seen: Arc::default(),
        },
    })
}

fn builder(config: &S3Config, global: &Global) -> Result<AmazonS3Builder, String> {
    let bucket_url = endpoint::bucket_url(config)?;
    Ok(AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(endpoint::region(config))
        .with_endpoint(&bucket_url)
        .with_virtual_hosted_style_request(true)
        .with_client_options(wire::client_options(global, bucket_url.starts_with("http://")))
        .with_retry(wire::no_retries(global)))
}

/// Where credentials come from: storage.yml, or the platform, which is asked on connections of its own.
fn credentials(config: &S3Config, global: &Global) -> Result<AwsCredentialProvider, String> {
    let builder = builder(config, global)?;
    let builder = match &config.credentials {
        Some(credentials) => with_credentials(builder, credentials)?,
        None => with_platform_credentials(builder),
    };
    let store = builder.with_http_connector(wire::Lazily).build();
    let store = store.map_err(|e| chain(&e))?;
    Ok(Arc::clone(store.credentials()))
}

type Again = Box<dyn Fn() -> Result<AwsCredentialProvider, String> + Send + Sync>;

/// The same, read anew.
fn again(config: &S3Config, ground: &Ground<'_>) -> Again {
    let (config, global, reload) = (config.clone(), ground.global.clone(), ground.reload.clone());
    Box::new(move || match reload.as_ref().and_then(|reload| reload()) {
        Some(ProviderKind::S3(now)) => credentials(&now, &global),
        _ => credentials(&config, &global),
    })
}

fn with_credentials(
    builder: AmazonS3Builder,
    credentials: &S3Credentials,
) -> Result<AmazonS3Builder, String> {
    // object_store panics on a header value that is none.
    let sendable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if !sendable(&credentials.access_key_id) {
        return Err("the access key id is empty, or holds blanks or other characters that none has".into());
    }
    let mut builder = builder
        .with_access_key_id(&credentials.access_key_id)
        .with_secret_access_key(credentials.secret_access_key.expose_secret());
    if let Some(token) = &credentials.session_token {
        if !sendable(token.expose_secret()) {
            return Err(
                "the session token is empty, or holds blanks or other characters that none has".into(),
            );
        }
        builder = builder.with_token(token.expose_secret());
    }
    Ok(builder)
}

fn with_platform_credentials(builder: AmazonS3Builder) -> AmazonS3Builder {
    PLATFORM_VARIABLES.iter().fold(builder, |builder, name| {
        let key = name.to_ascii_lowercase().parse();
        match (key, std::env::var(name)) {
            (Ok(key), Ok(value)) if !value.is_empty() => builder.with_config(key, value),
            _ => builder,
        }
    })
}

impl S3 {
    fn source(&self) -> Arc<dyn PageSource> {
        Arc::clone(&self.client) as _
    }

    /// Every object below the prefix, with its key as it is. In the order of the provider: byte order on AWS,
    /// directory by directory on SeaweedFS.
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
        let full = [self.prefix.as_bytes(), key.as_bytes()].concat();
        let url = self
            .client
            .object_url(&full)
            .ok_or_else(|| context.invalid(format!("no URL can name the key {key}")))?;
        let answer = self.client.send(context, Method::HEAD, &url).await?;
        match answer.status {
            StatusCode::OK => described(key, &answer.headers)
                .map(Some)
                .map_err(|reason| context.invalid(reason)),
            StatusCode::NOT_FOUND => self.confirm_bucket().await.map(|()| None),
            _ => Err(self.client.failed(context, &answer)),
        }
    }

    /// Deletes what stands at the key while it has this ETag.
    pub(super) async fn delete_if(&self, key: &Key, etag: &str) -> Result<Deletion, ProviderError> {
        let context = self.client.context("delete");
        let full = [self.prefix.as_bytes(), key.as_bytes()].concat();
        let url = self
            .client
            .object_url(&full)
            .ok_or_else(|| context.invalid(format!("no URL can name the key {key}")))?;
        let answer = self.client.delete_if(context, &url, etag).await?;
        match answer.status {
            status if status.is_success() => Ok(Deletion::Deleted),
            StatusCode::PRECONDITION_FAILED => Ok(Deletion::Changed),
            StatusCode::NOT_FOUND => self.confirm_bucket().await.map(|()| Deletion::Absent),
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

    /// See [`Provider::duplicate_in_parts`](super::Provider::duplicate_in_parts).
    pub(super) async fn copy_in_parts(&self, from: &Key, to: &Key, part: u64) -> Result<bool, ProviderError> {
        let [from, to] = [from, to].map(|key| [self.prefix.as_bytes(), key.as_bytes()].concat());
        let copied = copy::in_parts(&self.client, &from, &to, part).await?;
        if !copied {
            self.confirm_bucket().await?;
        }
        Ok(copied)
    }

    /// A 404 of a HEAD has no body to say what is missing, so the bucket is asked.
    async fn confirm_bucket(&self) -> Result<(), ProviderError> {
        let seen = *self.bucket_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|at| at.elapsed() < BUCKET_SEEN_FOR) {
            return Ok(());
        }
        self.first_page("head").await?;
        *self.bucket_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Asks for one key below the prefix.
    pub(super) async fn probe(&self) -> Result<Probe, ProviderError> {
        let context = self.client.context("probe");
        let (bare, headers) = self.first_page("probe").await?;
        let now = date(&headers, header::DATE)
            .ok_or_else(|| context.invalid("the answer has no readable Date".into()))?;
        Ok(Probe { now, bare })
    }

    async fn first_page(&self, operation: &'static str) -> Result<(bool, HeaderMap), ProviderError> {
        let query = PageQuery {
            prefix: self.prefix.to_string(),
            max_keys: Some(1),
            ..PageQuery::default()
        };
        let mut pages = Pages::new(self.source(), operation, query);
        let (page, headers) = pages.fetch().await?;
        // An empty page may still be followed by another: that is not yet nothing.
        let bare = page.objects.is_empty() && page.next.is_none();
        Ok((bare, headers))
    }
}
