//! The merged configuration as a list: each key, its value as storage.yml would spell it, and where it came from.
//! Secrets are masked here, so that nobody above has to remember to.

use std::fmt;
use std::path::PathBuf;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::check::access_name;
use super::model::{
    AzureConfig, Config, Folder, GcsConfig, Global, LifecycleAction, LifecycleMatch, LifecyclePolicy,
    ProviderConfig, ProviderKind, S3Config,
};
use super::path::{KeyPath, Step};
use super::units::{spell_age, spell_duration, spell_size};
use super::{Loaded, Origins};
use crate::age::Age;

/// What stands in for a secret, however long it is.
const MASK: &str = "********";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        file: PathBuf,
        line: usize,
    },
    /// The variable's name.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

/// One key of the merged configuration.
#[derive(Debug, Clone)]
pub struct Setting {
    pub key: KeyPath,
    pub value: Value,
    pub origin: Origin,
}

impl Origins {
    /// Where the value of this key came from.
    #[must_use]
    pub fn of(&self, key: &KeyPath) -> Origin {
        if let Some(name) = self.from_env.get(key) {
            return Origin::Env(name.clone());
        }
        let document = &self.source.document;
        let written = self.source.written(key);
        let line = candidates(&written).iter().find_map(|key| document.line_of(key));
        match line {
            Some(line) => Origin::File {
                file: self.source.file.clone(),
                line,
            },
            None => Origin::Default,
        }
    }
}

/// Where a value may be written: at its key, as the name of the file that holds it, or among the credentials.
fn candidates(written: &KeyPath) -> Vec<KeyPath> {
    let mut keys = vec![written.clone()];
    if let (Some(parent), Some(Step::Key(key))) = (written.parent(), written.steps().last()) {
        keys.push(parent.key(&format!("{key}_file")));
        keys.push(parent.key("credentials").key(key));
    }
    keys
}

/// Everything, in the order of `storage.yml.example`.
#[must_use]
pub fn settings(loaded: &Loaded) -> Vec<Setting> {
    let with_origin = |(key, value): (KeyPath, Value)| Setting {
        origin: loaded.origins.of(&key),
        key,
        value,
    };
    values(&loaded.config).into_iter().map(with_origin).collect()
}

/// Keys and values without their origins.
#[must_use]
pub fn values(config: &Config) -> Vec<(KeyPath, Value)> {
    let mut list = List::default();
    for provider in &config.providers {
        list.provider(provider);
    }
    let top = KeyPath::default();
    list.put(&top, "active_provider", json!(config.active_provider));
    list.put(&top, "failover_providers", json!(config.failover.providers));
    list.put(&top, "failover_enabled", json!(config.failover.enabled));
    list.global(&config.global);
    for folder in config.folders.values() {
        list.folder(folder);
    }
    list.rest(config);
    list.0
}

fn size(bytes: u64) -> Value {
    json!(spell_size(bytes))
}

fn time(duration: std::time::Duration) -> Value {
    json!(spell_duration(duration))
}

fn age(age: Age) -> Value {
    json!(spell_age(age))
}

#[derive(Default)]
struct List(Vec<(KeyPath, Value)>);

impl List {
    fn put(&mut self, at: &KeyPath, key: &str, value: Value) {
        self.0.push((at.key(key), value));
    }

    fn maybe(&mut self, at: &KeyPath, key: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.put(at, key, value);
        }
    }

    fn secret(&mut self, at: &KeyPath, key: &str, is_set: bool) {
        self.maybe(&at.key("credentials"), key, is_set.then(|| json!(MASK)));
    }

    fn provider(&mut self, provider: &ProviderConfig) {
        let at = KeyPath::of(&["providers", &provider.name]);
        self.put(&at, "type", json!(provider.kind.type_name()));
        self.put(&at, "enabled", json!(provider.enabled));
        match &provider.kind {
            ProviderKind::Local(local) => self.put(&at, "path", json!(local.path)),
            ProviderKind::S3(s3) => self.s3(&at, s3),
            ProviderKind::Azure(azure) => self.azure(&at, azure),
            ProviderKind::Gcs(gcs) => self.gcs(&at, gcs),
        }
        if !matches!(provider.kind, ProviderKind::Local(_)) {
            self.put(&at, "prefix", json!(provider.prefix));
        }
        self.put(&at, "aliases", json!(provider.aliases));
    }

    fn s3(&mut self, at: &KeyPath, s3: &S3Config) {
        self.put(at, "bucket", json!(s3.bucket));
        self.put(at, "region", json!(s3.region));
        self.put(at, "endpoint", json!(s3.endpoint.as_deref().unwrap_or_default()));
        let credentials = s3.credentials.as_ref();
        self.secret(at, "access_key_id", credentials.is_some());
        self.secret(at, "secret_access_key", credentials.is_some());
        self.secret(
            at,
            "session_token",
            credentials.is_some_and(|c| c.session_token.is_some()),
        );
        let options = at.key("options");
        self.put(&options, "force_path_style", json!(s3.force_path_style));
        self.put(
            &options,
            "use_accelerate_endpoint",
            json!(s3.use_accelerate_endpoint),
        );
    }

    fn azure(&mut self, at: &KeyPath, azure: &AzureConfig) {
        self.put(at, "account_name", json!(azure.account_name));
        self.put(at, "container_name", json!(azure.container_name));
        self.put(
            at,
            "endpoint",
            json!(azure.endpoint.as_deref().unwrap_or_default()),
        );
        self.secret(at, "connection_string", azure.connection_string.is_some());
        self.secret(at, "account_key", azure.account_key.is_some());
        self.secret(at, "sas_token", azure.sas_token.is_some());
        self.maybe(
            &at.key("options"),
            "access_tier",
            azure.access_tier.as_ref().map(|tier| json!(tier)),
        );
    }

    fn gcs(&mut self, at: &KeyPath, gcs: &GcsConfig) {
        self.put(at, "bucket", json!(gcs.bucket));
        self.put(
            at,
            "project_id",
            json!(gcs.project_id.as_deref().unwrap_or_default()),
        );
        self.put(at, "endpoint", json!(gcs.endpoint.as_deref().unwrap_or_default()));
        self.secret(at, "service_account_key", gcs.service_account_key.is_some());
        let options = at.key("options");
        self.maybe(
            &options,
            "location",
            gcs.location.as_ref().map(|location| json!(location)),
        );
        self.maybe(
            &options,
            "storage_class",
            gcs.storage_class.as_ref().map(|class| json!(class)),
        );
    }

    fn global(&mut self, global: &Global) {
        let at = KeyPath::of(&["global"]);
        for (key, value) in [
            ("max_file_size", size(global.max_file_size)),
            ("backup_providers", json!(global.backup_providers)),
            ("cross_provider_backup", json!(global.cross_provider_backup)),
            ("max_concurrent_uploads", json!(global.max_concurrent_uploads)),
            ("max_concurrent_downloads", json!(global.max_concurrent_downloads)),
            ("max_concurrent_deletes", json!(global.max_concurrent_deletes)),
            ("stream_threshold", size(global.stream_threshold)),
            ("chunk_size", size(global.chunk_size)),
            ("connection_timeout", time(global.connection_timeout)),
            (
                "max_connections_per_provider",
                json!(global.max_connections_per_provider),
            ),
            ("retry_attempts", json!(global.retry_attempts)),
            ("retry_initial_delay", time(global.retry_initial_delay)),
            ("retry_max_delay", time(global.retry_max_delay)),
            ("retry_backoff_multiplier", json!(global.retry_backoff_multiplier)),
            ("circuit_breaker_enabled", json!(global.circuit_breaker_enabled)),
            (
                "circuit_breaker_failure_threshold",
                json!(global.circuit_breaker_failure_threshold),
            ),
            ("circuit_breaker_timeout", time(global.circuit_breaker_timeout)),
            ("health_checks", json!(global.health_checks)),
            ("health_check_interval", time(global.health_check_interval)),
            ("upload_timeout", time(global.upload_timeout)),
            ("download_timeout", time(global.download_timeout)),
            ("delete_timeout", time(global.delete_timeout)),
            ("list_timeout", time(global.list_timeout)),
            ("stall_timeout", time(global.stall_timeout)),
            ("cache_enabled", json!(global.cache_enabled)),
            ("cache_ttl", time(global.cache_ttl)),
            ("cache_max_size", size(global.cache_max_size)),
            ("quota_enforcement", json!(global.quota_enforcement)),
            ("global_quota", size(global.global_quota)),
            ("quota_counts_trash", json!(global.quota_counts_trash)),
        ] {
            self.put(&at, key, value);
        }
    }

    fn folder(&mut self, folder: &Folder) {
        let at = KeyPath::of(&["folders", &folder.name]);
        self.put(&at, "path", json!(folder.path));
        self.put(&at, "access", json!(access_name(folder.access)));
        self.put(&at, "allowed_types", json!(folder.allowed_types));
        self.maybe(&at, "max_size", folder.max_size.map(size));
        self.maybe(
            &at,
            "description",
            folder.description.as_ref().map(|text| json!(text)),
        );
        self.maybe(&at, "quota", folder.quota.map(size));
    }

    fn rest(&mut self, config: &Config) {
        let at = KeyPath::of(&["cleanup"]);
        self.put(&at, "min_age", time(config.cleanup.min_age));
        self.put(
            &at,
            "max_delete_percent",
            json!(config.cleanup.max_delete_percent),
        );
        self.put(&at, "max_delete_count", json!(config.cleanup.max_delete_count));
        self.put(&at, "trash_retention", time(config.cleanup.trash_retention));
        let at = KeyPath::of(&["lifecycle"]);
        self.put(&at, "enabled", json!(config.lifecycle.enabled));
        self.put(&at, "check_interval", time(config.lifecycle.check_interval));
        for (index, policy) in config.lifecycle.policies.iter().enumerate() {
            self.policy(&at.key("policies").item(index), policy);
        }
        let notify = &config.lifecycle.notify;
        let at = at.key("notify");
        self.put(&at, "log", json!(notify.log));
        self.maybe(&at, "file", notify.file.as_ref().map(|file| json!(file)));
        self.maybe(
            &at,
            "webhook",
            notify
                .webhook
                .as_ref()
                .map(|url| json!(webhook(url.expose_secret()))),
        );
    }

    fn policy(&mut self, at: &KeyPath, policy: &LifecyclePolicy) {
        self.put(at, "name", json!(policy.name));
        self.put(at, "enabled", json!(policy.enabled));
        self.put(at, "folder", json!(policy.folders));
        self.put(at, "action", json!(action_name(policy.action)));
        self.maybe(at, "max_age", policy.max_age.map(age));
        self.maybe(at, "min_age", policy.min_age.map(age));
        self.maybe(at, "warn_before", policy.warn_before.map(age));
        for (key, filter) in [("match", &policy.matching), ("except", &policy.except)] {
            if let Some(filter) = filter {
                self.filter(&at.key(key), filter);
            }
        }
        let archive = at.key("archive");
        self.maybe(
            &archive,
            "provider",
            policy.archive_provider.as_ref().map(|name| json!(name)),
        );
        self.maybe(
            &archive,
            "folder",
            policy.archive_folder.as_ref().map(|name| json!(name)),
        );
    }

    fn filter(&mut self, at: &KeyPath, filter: &LifecycleMatch) {
        self.put(at, "types", json!(filter.types));
        self.maybe(at, "name", filter.name.as_ref().map(|name| json!(name)));
        self.put(at, "min_size", size(filter.min_size));
    }
}

const fn action_name(action: LifecycleAction) -> &'static str {
    match action {
        LifecycleAction::Delete => "delete",
        LifecycleAction::Archive => "archive",
        LifecycleAction::Warn => "warn",
        LifecycleAction::Retain => "retain",
    }
}

/// Where it goes; the rest of such a URL is often the secret.
fn webhook(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => format!("{}://{}/{MASK}", url.scheme(), url.host_str().unwrap_or_default()),
        Err(_) => MASK.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{LoadRequest, load, schema};

    const EXAMPLE: &str = include_str!("../../storage.yml.example");

    fn loaded(text: &str, env: &[(&str, &str)]) -> Loaded {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("storage.yml");
        std::fs::write(&file, text).unwrap();
        std::fs::write(dir.path().join("secret"), "hunter2\n").unwrap();
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let request = LoadRequest {
            config_file: Some(file),
            cwd: dir.path().into(),
            env,
            ..LoadRequest::default()
        };
        let mut loaded = load(&request).unwrap_or_else(|error| panic!("{error}"));
        loaded.system_data = PathBuf::new();
        loaded
    }

    /// The example with its commented keys in force, those aside that would stand twice.
    fn uncommented() -> String {
        let is_key = |line: &str| {
            line.trim_start()
                .strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(|c: char| !" #".contains(c)))
        };
        let lines = EXAMPLE.lines().filter(|line| *line != "  policies: []");
        lines.map(|line| if is_key(line) { line.replacen('#', "", 1) } else { line.to_owned() } + "\n").collect()
    }

    #[test]
    fn the_example_holds_every_key() {
        let schema = schema();
        let defs = schema["$defs"].as_object().unwrap().values();
        for part in defs.chain([&schema]) {
            for key in part["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key)
            {
                let key = key.strip_suffix("_file").unwrap_or(key);
                let spelled = [format!("{key}:"), format!("{key}_file:"), format!(" {key}")];
                assert!(spelled.iter().any(|text| EXAMPLE.contains(text)), "{key}");
            }
        }
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = loaded(EXAMPLE, &[]);
        assert_eq!(example.warnings, []);
        let defaults = loaded("{cleanup: {}}", &[]);
        let root = |key: &KeyPath| key.to_string() == "providers.local.path";
        let of = |loaded: &Loaded| -> BTreeMap<String, Value> {
            let values = values(&loaded.config).into_iter().filter(|(key, _)| !root(key));
            values.map(|(key, value)| (key.to_string(), value)).collect()
        };
        let (example, defaults) = (of(&example), of(&defaults));
        for (key, value) in &defaults {
            assert_eq!(example.get(key), Some(value), "{key}");
        }
        for key in example.keys().filter(|key| {
            !["providers.s3.", "providers.azure.", "providers.gcs."]
                .iter()
                .any(|p| key.starts_with(p))
        }) {
            assert!(defaults.contains_key(key), "{key} has no default");
        }
    }

    #[test]
    fn the_example_without_its_comments_has_no_warning_either() {
        let text = uncommented();
        assert!(
            text.contains("\n        secret_access_key_file: ") || text.contains("secret_access_key_file: ")
        );
        assert_eq!(loaded(&text, &[]).warnings, []);
    }

    #[test]
    fn every_value_says_where_it_came_from_and_no_secret_is_shown() {
        let text = "providers:\n  local: { type: local }\n  s3:\n    type: s3\n    bucket: b\n    credentials:\n      access_key_id: hunter1\n      secret_access_key_file: secret\nupload_timeout: 5m\nlifecycle:\n  notify: { webhook: 'https://hooks.example/hunter3' }\n";
        let loaded = loaded(
            text,
            &[("STORAGE_ACTIVE_PROVIDER", "local"), ("S3_REGION", "eu-1")],
        );
        let shown: BTreeMap<String, (String, String)> = settings(&loaded)
            .into_iter()
            .map(|s| {
                let origin = match s.origin {
                    Origin::File { line, .. } => format!("line {line}"),
                    other => other.to_string(),
                };
                (s.key.to_string(), (s.value.to_string(), origin))
            })
            .collect();
        for (key, value, origin) in [
            ("active_provider", "\"local\"", "$STORAGE_ACTIVE_PROVIDER"),
            ("global.upload_timeout", "\"5m\"", "line 9"),
            ("global.list_timeout", "\"30s\"", "default"),
            ("providers.s3.bucket", "\"b\"", "line 5"),
            ("providers.s3.region", "\"eu-1\"", "$S3_REGION"),
            ("providers.s3.enabled", "true", "default"),
            (
                "providers.s3.credentials.secret_access_key",
                "\"********\"",
                "line 8",
            ),
            (
                "lifecycle.notify.webhook",
                "\"https://hooks.example/********\"",
                "line 11",
            ),
        ] {
            assert_eq!(shown[key], (value.to_owned(), origin.to_owned()), "{key}");
        }
        assert!(!format!("{shown:?}").contains("hunter"));
    }
}
