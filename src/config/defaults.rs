//! The value of every key that `storage.yml` leaves out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Access, Cleanup, Failover, Folder, Global, Lifecycle, LifecycleNotify};

const MB: u64 = 1 << 20;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The provider, and its root, of a file that names none.
pub const PROVIDER: &str = "local";
pub const LOCAL_PATH: &str = "storage";
pub const S3_REGION: &str = "us-east-1";

impl Default for Global {
    fn default() -> Self {
        Self {
            max_file_size: 100 * MB,
            backup_providers: Vec::new(),
            cross_provider_backup: false,
            max_concurrent_uploads: 5,
            max_concurrent_downloads: 10,
            max_concurrent_deletes: 10,
            stream_threshold: 10 * MB,
            chunk_size: 5 * MB,
            connection_timeout: Duration::from_secs(10),
            max_connections_per_provider: 10,
            retry_attempts: 3,
            retry_initial_delay: Duration::from_secs(1),
            retry_max_delay: Duration::from_secs(10),
            retry_backoff_multiplier: 2.0,
            circuit_breaker_enabled: true,
            circuit_breaker_failure_threshold: 5,
            circuit_breaker_timeout: MINUTE,
            health_checks: true,
            health_check_interval: 5 * MINUTE,
            upload_timeout: 5 * MINUTE,
            download_timeout: 10 * MINUTE,
            delete_timeout: Duration::from_secs(30),
            list_timeout: Duration::from_secs(30),
            stall_timeout: MINUTE,
            cache_enabled: true,
            cache_ttl: 5 * MINUTE,
            cache_max_size: 100 * MB,
            quota_enforcement: true,
            global_quota: 0,
            quota_counts_trash: false,
        }
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            enabled: true,
            providers: Vec::new(),
        }
    }
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            min_age: DAY,
            max_delete_percent: 10.0,
            max_delete_count: 1000,
            trash_retention: 30 * DAY,
        }
    }
}

/// The shortest `cleanup.min_age` a file may ask for: it is what protects CivicPress's uploads.
pub const SHORTEST_MIN_AGE: Duration = HOUR;

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            enabled: true,
            check_interval: DAY,
            policies: Vec::new(),
            notify: LifecycleNotify::default(),
        }
    }
}

impl Default for LifecycleNotify {
    fn default() -> Self {
        Self {
            log: true,
            file: None,
            webhook: None,
        }
    }
}

impl Folder {
    /// A folder of which only the name is known: nobody but its owners may read it, and it takes every type.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: name.to_owned(),
            access: Access::Private,
            allowed_types: vec!["*".to_owned()],
            max_size: None,
            description: None,
            quota: None,
        }
    }
}

/// The folders of a file that has no `folders`.
///
/// # Source
/// What CivicPress 0.3.1 falls back to.
#[must_use]
pub fn folders() -> BTreeMap<String, Folder> {
    let folder = |name: &str, access, max_size_mb: u64, types: &str, description: &str| Folder {
        access,
        allowed_types: types.split(' ').map(str::to_owned).collect(),
        max_size: Some(max_size_mb * MB),
        description: Some(description.to_owned()),
        ..Folder::named(name)
    };
    [
        folder(
            "public",
            Access::Public,
            10,
            "jpg jpeg png gif pdf txt md",
            "Files that everyone may read",
        ),
        folder(
            "sessions",
            Access::Public,
            100,
            "mp4 webm mp3 wav pdf md",
            "Recordings and papers of meetings",
        ),
        folder(
            "permits",
            Access::Authenticated,
            5,
            "pdf jpg jpeg png",
            "Permit applications",
        ),
        folder(
            "private",
            Access::Private,
            25,
            "pdf doc docx xls xlsx",
            "Files for authorized users only",
        ),
    ]
    .into_iter()
    .map(|folder| (folder.name.clone(), folder))
    .collect()
}
