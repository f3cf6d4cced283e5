//! The configuration as the rest of the program sees it: plain values, every default filled in, nothing left
//! to parse. Sizes are bytes, times are [`Duration`]s, secrets are [`SecretString`]s, which no `Debug` prints.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::age::Age;

/// Everything `storage.yml` and the environment said, merged and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from; `None` where no `storage.yml` exists and the defaults stand.
    pub source: Option<PathBuf>,
    /// In the order of the file; disabled ones included, since their records are still theirs.
    pub providers: Vec<ProviderConfig>,
    /// Name of the provider that CivicPress reads and new files go to.
    pub active_provider: String,
    pub failover: Failover,
    pub global: Global,
    /// By folder name.
    pub folders: BTreeMap<String, Folder>,
    pub cleanup: Cleanup,
    pub lifecycle: Lifecycle,
}

impl Config {
    /// The provider of that name, enabled or not.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&ProviderConfig> {
        self.providers.iter().find(|p| p.name == name)
    }

    /// Where new files go, in order: the active provider, then the enabled ones of `failover_providers`.
    pub fn write_targets(&self) -> impl Iterator<Item = &str> {
        let usable = |name: &&String| self.provider(name).is_some_and(|provider| provider.enabled);
        let others = self.failover.providers.iter().filter(|_| self.failover.enabled);
        let others = others
            .filter(usable)
            .filter(|name| **name != self.active_provider);
        std::iter::once(self.active_provider.as_str()).chain(others.map(String::as_str))
    }

    /// Where new files go that the provider of this name could not take; nothing for one that is no target itself.
    pub fn failover_after<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.write_targets()
            .skip_while(move |target| *target != name)
            .skip(1)
    }
}

#[derive(Debug, Clone)]
pub struct ProviderConfig {
    pub name: String,
    pub enabled: bool,
    pub kind: ProviderKind,
    /// Empty, or ends at a `/`; always empty for local.
    pub prefix: String,
    /// Former roots in the form of a `provider_path`, as written in the file.
    pub aliases: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum ProviderKind {
    Local(LocalConfig),
    S3(S3Config),
    Azure(AzureConfig),
    Gcs(GcsConfig),
}

impl ProviderKind {
    /// The `type` that storage.yml spells it with.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::S3(_) => "s3",
            Self::Azure(_) => "azure",
            Self::Gcs(_) => "gcs",
        }
    }
}

#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Absolute and lexically normal (no `.`, `..`, `//`, no trailing `/`).
    pub path: PathBuf,
}

#[derive(Debug, Clone)]
pub struct S3Config {
    pub bucket: String,
    pub region: String,
    /// `None` is AWS itself.
    pub endpoint: Option<String>,
    /// `None` leaves it to the platform (instance profile, web identity).
    pub credentials: Option<S3Credentials>,
    pub force_path_style: bool,
    pub use_accelerate_endpoint: bool,
}

#[derive(Debug, Clone)]
pub struct S3Credentials {
    pub access_key_id: String,
    pub secret_access_key: SecretString,
    pub session_token: Option<SecretString>,
}

#[derive(Debug, Clone)]
pub struct AzureConfig {
    pub account_name: String,
    pub container_name: String,
    pub connection_string: Option<SecretString>,
    pub account_key: Option<SecretString>,
    pub sas_token: Option<SecretString>,
    pub endpoint: Option<String>,
    pub access_tier: Option<String>,
}

#[derive(Debug, Clone)]
pub struct GcsConfig {
    pub bucket: String,
    pub project_id: Option<String>,
    /// The key itself (JSON), or a path to it.
    pub service_account_key: Option<SecretString>,
    pub endpoint: Option<String>,
    pub location: Option<String>,
    pub storage_class: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Failover {
    pub enabled: bool,
    /// In the order they are tried.
    pub providers: Vec<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a key of storage.yml")]
#[derive(Debug, Clone)]
pub struct Global {
    pub max_file_size: u64,
    pub backup_providers: Vec<String>,
    pub cross_provider_backup: bool,
    pub max_concurrent_uploads: usize,
    pub max_concurrent_downloads: usize,
    pub max_concurrent_deletes: usize,
    pub stream_threshold: u64,
    pub chunk_size: u64,
    pub connection_timeout: Duration,
    pub max_connections_per_provider: usize,
    pub retry_attempts: u32,
    pub retry_initial_delay: Duration,
    pub retry_max_delay: Duration,
    pub retry_backoff_multiplier: f64,
    pub circuit_breaker_enabled: bool,
    pub circuit_breaker_failure_threshold: u32,
    pub circuit_breaker_timeout: Duration,
    pub health_checks: bool,
    pub health_check_interval: Duration,
    pub upload_timeout: Duration,
    pub download_timeout: Duration,
    pub delete_timeout: Duration,
    pub list_timeout: Duration,
    pub stall_timeout: Duration,
    pub cache_enabled: bool,
    pub cache_ttl: Duration,
    pub cache_max_size: u64,
    pub quota_enforcement: bool,
    /// 0 is no limit.
    pub global_quota: u64,
    /// Whether quotas count what is in the trash.
    pub quota_counts_trash: bool,
}

#[derive(Debug, Clone)]
pub struct Folder {
    pub name: String,
    pub path: String,
    pub access: Access,
    /// Lower case, without the dot; `*` is any.
    pub allowed_types: Vec<String>,
    /// `None` leaves it to `global.max_file_size`.
    pub max_size: Option<u64>,
    pub description: Option<String>,
    /// `None` and 0 are no limit.
    pub quota: Option<u64>,
}

/// Ordered from weakest to strongest protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Public,
    Authenticated,
    Private,
}

#[derive(Debug, Clone)]
pub struct Cleanup {
    /// At least an hour; only the flag may go below.
    pub min_age: Duration,
    pub max_delete_percent: f64,
    pub max_delete_count: u64,
    pub trash_retention: Duration,
}

#[derive(Debug, Clone)]
pub struct Lifecycle {
    pub enabled: bool,
    pub check_interval: Duration,
    pub policies: Vec<LifecyclePolicy>,
    pub notify: LifecycleNotify,
}

#[derive(Debug, Clone)]
pub struct LifecyclePolicy {
    pub name: String,
    pub enabled: bool,
    /// `*` is every folder.
    pub folders: Vec<String>,
    pub matching: Option<LifecycleMatch>,
    pub except: Option<LifecycleMatch>,
    pub max_age: Option<Age>,
    pub min_age: Option<Age>,
    pub action: LifecycleAction,
    pub archive_provider: Option<String>,
    pub archive_folder: Option<String>,
    pub warn_before: Option<Age>,
}

#[derive(Debug, Clone)]
pub struct LifecycleMatch {
    pub types: Vec<String>,
    /// A glob: `*` is any text, `?` any character.
    pub name: Option<String>,
    pub min_size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifecycleAction {
    Delete,
    Archive,
    Warn,
    Retain,
}

#[derive(Debug, Clone)]
pub struct LifecycleNotify {
    /// On stderr, with what else the program tells.
    pub log: bool,
    pub file: Option<PathBuf>,
    /// Secret, since such URLs often hold a token.
    pub webhook: Option<SecretString>,
}
