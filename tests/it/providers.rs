//! Providers: one contract for all of them on real servers, and S3's answers that no healthy server gives.

mod azure;
mod azure_access;
mod azure_unfinished;
mod bucket;
mod contract;
mod faults;
mod gcs;
mod objects;
mod records;
mod split;

use std::time::Duration;

use civic_storage::config::{
    AzureConfig, GcsConfig, Global, ProviderConfig, ProviderKind, S3Config, S3Credentials,
};
use civic_storage::providers::{ListRequest, Listed, Provider, ProviderError};
use futures::StreamExt;

use crate::common::{ACCOUNT, ACCOUNT_KEY, Bucket, Service};

/// Runs a test's future.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Settings as they are without a `storage.yml`, but for a shorter wait.
fn global() -> Global {
    Global {
        max_file_size: 100 << 20,
        backup_providers: Vec::new(),
        cross_provider_backup: false,
        max_concurrent_uploads: 5,
        max_concurrent_downloads: 10,
        max_concurrent_deletes: 10,
        stream_threshold: 10 << 20,
        chunk_size: 5 << 20,
        connection_timeout: Duration::from_secs(2),
        max_connections_per_provider: 10,
        retry_attempts: 0,
        retry_initial_delay: Duration::from_secs(1),
        retry_max_delay: Duration::from_secs(10),
        retry_backoff_multiplier: 2.0,
        circuit_breaker_enabled: true,
        circuit_breaker_failure_threshold: 5,
        circuit_breaker_timeout: Duration::from_secs(60),
        health_checks: true,
        health_check_interval: Duration::from_secs(300),
        upload_timeout: Duration::from_secs(300),
        download_timeout: Duration::from_secs(600),
        delete_timeout: Duration::from_secs(30),
        list_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(10),
        cache_enabled: true,
        cache_ttl: Duration::from_secs(300),
        cache_max_size: 100 << 20,
        quota_enforcement: true,
        global_quota: 0,
        quota_counts_trash: false,
    }
}

/// An S3 provider `town` with the servers' own credentials.
fn s3(endpoint: &str, bucket: &str, prefix: &str) -> ProviderConfig {
    ProviderConfig {
        name: "town".into(),
        enabled: true,
        prefix: prefix.into(),
        aliases: Vec::new(),
        kind: ProviderKind::S3(S3Config {
            bucket: bucket.into(),
            region: "us-east-1".into(),
            endpoint: Some(endpoint.into()),
            credentials: Some(S3Credentials {
                access_key_id: "civic-test".into(),
                secret_access_key: "civic-test-secret".to_owned().into(),
                session_token: None,
            }),
            force_path_style: false,
            use_accelerate_endpoint: false,
        }),
    }
}

/// A GCS provider `town` with this service account's key.
fn gcs(endpoint: &str, bucket: &str, key: &str) -> ProviderConfig {
    ProviderConfig {
        name: "town".into(),
        enabled: true,
        prefix: "town/".into(),
        aliases: Vec::new(),
        kind: ProviderKind::Gcs(GcsConfig {
            bucket: bucket.into(),
            project_id: None,
            service_account_key: Some(key.to_owned().into()),
            endpoint: Some(endpoint.into()),
            location: None,
            storage_class: None,
        }),
    }
}

/// An Azure provider `town` with the emulator's account.
fn azure(endpoint: &str, container: &str, prefix: &str) -> ProviderConfig {
    ProviderConfig {
        kind: ProviderKind::Azure(AzureConfig {
            account_name: ACCOUNT.into(),
            container_name: container.into(),
            connection_string: None,
            account_key: Some(ACCOUNT_KEY.to_owned().into()),
            sas_token: None,
            endpoint: Some(endpoint.into()),
            access_tier: None,
        }),
        ..s3(endpoint, container, prefix)
    }
}

/// The provider `town` in a bucket, below `town/`.
fn in_bucket(bucket: &Bucket) -> ProviderConfig {
    let of = match bucket.service {
        Service::S3 => s3,
        Service::Azure => azure,
    };
    of(&bucket.endpoint, &bucket.name, "town/")
}

/// What came, and the error it ended with.
async fn listed(provider: &Provider, request: ListRequest) -> (Vec<Listed>, Option<ProviderError>) {
    let mut listing = provider.list(request);
    let mut entries = Vec::new();
    while let Some(entry) = listing.next().await {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => return (entries, Some(error)),
        }
    }
    (entries, None)
}

/// The keys of a listing that reached its end, in the order they came.
async fn keys(provider: &Provider, request: ListRequest) -> Vec<String> {
    let (entries, error) = listed(provider, request).await;
    assert!(error.is_none(), "{error:?}");
    entries.iter().map(|entry| entry.key.to_string()).collect()
}
