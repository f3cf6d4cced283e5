//! From the file's own structs to the plain [`Config`], defaults filled in, each value checked by itself.
//! What one value says about another is [`check`](super::check)'s work.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::defaults;
use super::env::{self, Env};
use super::lifecycle;
use super::model::{Access, Cleanup, Config, Failover, Folder, Global};
use super::path::KeyPath;
use super::providers;
use super::raw;
use super::report::{Report, did_you_mean};

/// What building needs to know beside the file.
#[derive(Debug)]
pub struct Context<'c, 's> {
    pub env: Env<'c>,
    /// What relative paths are relative to.
    pub system_data: &'c Path,
    pub report: &'c mut Report<'s>,
    /// Values that came from a variable, by key.
    pub from_env: BTreeMap<KeyPath, String>,
}

/// Overwrites a default with what the file says.
macro_rules! fill {
    ($into:ident from $from:ident: $($key:ident)+) => {
        $( fill!($into.$key, $from.$key); )+
    };
    ($into:expr, $from:expr) => {
        if let Some(value) = $from {
            $into = Plain::plain(value);
        }
    };
}
/// Builds the whole. Problems go to the report; what is returned beside them is not to be used.
pub fn build(raw: raw::Root, order: &[String], context: &mut Context<'_, '_>) -> Config {
    let providers = providers::build(raw.providers, order, context);
    let mut failover = Failover::default();
    fill!(failover.enabled, raw.failover_enabled);
    fill!(failover.providers, raw.failover_providers);
    Config {
        source: None,
        active_provider: active_provider(raw.active_provider, context),
        providers,
        failover,
        global: global(raw.global.unwrap_or_default(), context),
        folders: folders(raw.folders, context),
        cleanup: cleanup(&raw.cleanup.unwrap_or_default(), context),
        lifecycle: lifecycle::build(raw.lifecycle.unwrap_or_default(), context),
    }
}

/// A raw value as the model holds it.
trait Plain<T> {
    fn plain(self) -> T;
}

impl<T> Plain<T> for T {
    fn plain(self) -> T {
        self
    }
}

impl Plain<u64> for raw::Size {
    fn plain(self) -> u64 {
        self.0
    }
}

impl Plain<Duration> for raw::Span {
    fn plain(self) -> Duration {
        self.0
    }
}

fn active_provider(file: Option<String>, context: &mut Context<'_, '_>) -> String {
    if let Some(name) = context.env.get(env::ACTIVE_PROVIDER) {
        let key = KeyPath::of(&["active_provider"]);
        context.from_env.insert(key, env::ACTIVE_PROVIDER.to_owned());
        return name.to_owned();
    }
    file.unwrap_or_else(|| defaults::PROVIDER.to_owned())
}

fn global(raw: raw::Global, context: &mut Context<'_, '_>) -> Global {
    let mut global = Global::default();
    fill!(global from raw: max_file_size backup_providers cross_provider_backup max_concurrent_uploads
        max_concurrent_downloads max_concurrent_deletes stream_threshold chunk_size connection_timeout
        max_connections_per_provider retry_attempts retry_initial_delay retry_max_delay retry_backoff_multiplier
        circuit_breaker_enabled circuit_breaker_failure_threshold circuit_breaker_timeout health_checks
        health_check_interval upload_timeout download_timeout delete_timeout list_timeout stall_timeout
        cache_enabled cache_ttl cache_max_size quota_enforcement global_quota
        quota_counts_trash);
    check_global(&global, context.report);
    global
}

/// Zero would stop all work, or let it wait for ever.
fn check_global(global: &Global, report: &mut Report<'_>) {
    let zeros = [
        ("max_concurrent_uploads", global.max_concurrent_uploads == 0),
        ("max_concurrent_downloads", global.max_concurrent_downloads == 0),
        ("max_concurrent_deletes", global.max_concurrent_deletes == 0),
        (
            "max_connections_per_provider",
            global.max_connections_per_provider == 0,
        ),
        (
            "circuit_breaker_failure_threshold",
            global.circuit_breaker_failure_threshold == 0,
        ),
        ("chunk_size", global.chunk_size == 0),
        ("max_file_size", global.max_file_size == 0),
        ("connection_timeout", global.connection_timeout.is_zero()),
        ("upload_timeout", global.upload_timeout.is_zero()),
        ("download_timeout", global.download_timeout.is_zero()),
        ("delete_timeout", global.delete_timeout.is_zero()),
        ("list_timeout", global.list_timeout.is_zero()),
        ("stall_timeout", global.stall_timeout.is_zero()),
    ];
    for (key, _) in zeros.iter().filter(|(_, zero)| *zero) {
        report.error(&KeyPath::of(&["global", key]), "must be more than 0");
    }
    if !(1.0..=1000.0).contains(&global.retry_backoff_multiplier) {
        let key = KeyPath::of(&["global", "retry_backoff_multiplier"]);
        report.error(&key, "must be between 1 and 1000");
    }
}

fn cleanup(raw: &raw::Cleanup, context: &mut Context<'_, '_>) -> Cleanup {
    let mut cleanup = Cleanup::default();
    fill!(cleanup from raw: min_age max_delete_percent max_delete_count trash_retention);
    let key = |key| KeyPath::of(&["cleanup", key]);
    if cleanup.min_age < defaults::SHORTEST_MIN_AGE {
        let message = "must be at least 1h, since it protects uploads in flight; a single run may go below with --min-age";
        context.report.error(&key("min_age"), message);
    }
    if !(0.0..=100.0).contains(&cleanup.max_delete_percent) {
        context
            .report
            .error(&key("max_delete_percent"), "must be between 0 and 100");
    }
    cleanup
}

fn folders(
    raw: Option<BTreeMap<String, raw::Folder>>,
    context: &mut Context<'_, '_>,
) -> BTreeMap<String, Folder> {
    let Some(raw) = raw else {
        return defaults::folders();
    };
    let build = |(name, raw): (String, raw::Folder)| (name.clone(), folder(&name, raw, context.report));
    raw.into_iter().map(build).collect()
}

fn folder(name: &str, raw: raw::Folder, report: &mut Report<'_>) -> Folder {
    let at = KeyPath::of(&["folders", name]);
    if let Err(reason) = folder_name(name) {
        report.error(&at, reason);
    }
    if let Some(Err(reason)) = raw.path.as_deref().map(folder_name) {
        report.error(&at.key("path"), reason);
    }
    let access = match raw.access.as_deref() {
        Some("public") => Access::Public,
        Some("authenticated") => Access::Authenticated,
        Some("private") | None => Access::Private,
        Some(other) => {
            let near = did_you_mean(other, ["public", "authenticated", "private"]);
            let message = format!("is `{other}`; it can be public, authenticated or private{near}");
            report.error(&at.key("access"), message);
            Access::Private
        }
    };
    let types = raw.allowed_types.unwrap_or_else(|| vec!["*".to_owned()]);
    Folder {
        name: name.to_owned(),
        path: raw.path.unwrap_or_else(|| name.to_owned()),
        access,
        allowed_types: extensions(types, &at.key("allowed_types"), report),
        max_size: raw.max_size.map(|size| size.0),
        description: raw.description,
        quota: raw.quota.map(|size| size.0),
    }
}

/// Whether a folder may have this name: it is the first part of keys and paths.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn folder_name(name: &str) -> Result<(), String> {
    let segments = || name.split('/');
    let wrong = if name.is_empty() {
        "is empty"
    } else if name.chars().any(char::is_control) {
        "holds a control character"
    } else if name.contains('\\') {
        "holds a backslash"
    } else if name.trim() != name {
        "begins or ends with a space"
    } else if name.starts_with('/') || name.ends_with('/') || name.contains("//") {
        "begins or ends with a `/`, or holds two in a row"
    } else if segments().any(|s| matches!(s, "." | "..")) {
        "holds `.` or `..`"
    } else if segments()
        .next()
        .is_some_and(|s| matches!(s, ".civic" | ".trash"))
    {
        "is a name that this program keeps for itself"
    } else if name.len() > 200 {
        "is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(format!("{wrong}, which no folder can have"))
}

/// Lower case, without the dot.
pub fn extensions(types: Vec<String>, at: &KeyPath, report: &mut Report<'_>) -> Vec<String> {
    let types: Vec<String> = types
        .into_iter()
        .map(|kind| kind.trim_start_matches('.').to_lowercase())
        .collect();
    if let Some(index) = types
        .iter()
        .position(|kind| kind.is_empty() || kind.contains('/'))
    {
        report.error(&at.item(index), "is not an extension like pdf");
    }
    types
}
