//! `storage.yml` as it stands in the file: one plain struct per mapping, every key optional, nothing merged.
//!
//! These structs are the list of known keys: the JSON Schema, the check for unknown keys and the test of
//! `storage.yml.example` all read it from here. Plain structs with a `type` field rather than tagged enums, since
//! those lose the place of an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::units;
use crate::age::Age;

/// The whole file. Every key of `global` is also read here, at the top level.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "storage.yml")]
pub struct Root {
    /// CivicPress's older form of a single provider; ignored where `providers` is there.
    pub backend: Option<Backend>,
    /// Where bytes are kept, by name.
    pub providers: Option<BTreeMap<String, Provider>>,
    /// The provider that CivicPress reads and new files go to.
    pub active_provider: Option<String>,
    /// Providers that take new files when the active one is down, in order.
    pub failover_providers: Option<Vec<String>>,
    pub failover_enabled: Option<bool>,
    pub global: Option<Global>,
    /// Named areas that files are uploaded to.
    pub folders: Option<BTreeMap<String, Folder>>,
    pub cleanup: Option<Cleanup>,
    pub lifecycle: Option<Lifecycle>,
    /// CivicPress's own; accepted and left alone.
    pub metadata: Option<serde_json::Value>,
    /// CivicPress's own; accepted and left alone.
    #[serde(rename = "_metadata")]
    pub metadata_underscore: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Backend {
    /// `local`; other types are declared under `providers`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub path: Option<String>,
    pub endpoint: Option<String>,
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub credentials: Option<serde_json::Value>,
}

/// A provider; which keys it takes depends on its `type`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Provider {
    /// `local`, `s3`, `azure` or `gcs`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["local", "s3", "azure", "gcs", null]))]
    pub kind: Option<String>,
    pub enabled: Option<bool>,
    /// local: the root; relative means relative to the system-data directory.
    pub path: Option<String>,
    /// Former roots as records name them, such as `/srv/old/storage` or `s3://old-bucket/prefix`.
    pub aliases: Option<Vec<String>>,
    /// s3, azure, gcs: what every key begins with; ends at a `/`.
    pub prefix: Option<String>,
    /// s3, azure, gcs: another service than the platform's own.
    pub endpoint: Option<String>,
    /// s3, gcs.
    pub bucket: Option<String>,
    /// s3.
    pub region: Option<String>,
    /// azure.
    pub account_name: Option<String>,
    /// azure.
    pub container_name: Option<String>,
    /// gcs.
    pub project_id: Option<String>,
    pub credentials: Option<Credentials>,
    pub options: Option<Options>,
}

/// Each as text, as `${ENV_VAR}`, or as `<key>_file:` with the path of a file that holds it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Credentials {
    /// s3.
    pub access_key_id: Option<Secret>,
    pub access_key_id_file: Option<String>,
    /// s3.
    pub secret_access_key: Option<Secret>,
    pub secret_access_key_file: Option<String>,
    /// s3, for temporary credentials.
    pub session_token: Option<Secret>,
    pub session_token_file: Option<String>,
    /// azure.
    pub connection_string: Option<Secret>,
    pub connection_string_file: Option<String>,
    /// azure.
    pub account_key: Option<Secret>,
    pub account_key_file: Option<String>,
    /// azure.
    pub sas_token: Option<Secret>,
    pub sas_token_file: Option<String>,
    /// gcs.
    pub project_id: Option<String>,
    /// gcs: the key itself (JSON), or the path of the file that holds it.
    pub service_account_key: Option<Secret>,
    pub service_account_key_file: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Options {
    /// s3: `https://host/bucket` rather than `https://bucket.host`.
    pub force_path_style: Option<bool>,
    /// s3.
    pub use_accelerate_endpoint: Option<bool>,
    /// azure.
    pub access_tier: Option<String>,
    /// gcs.
    pub location: Option<String>,
    /// gcs.
    pub storage_class: Option<String>,
    /// gcs: CivicPress's own; accepted and left alone.
    pub create_bucket: Option<bool>,
}

#[expect(clippy::struct_field_names, reason = "the names are storage.yml's")]
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Global {
    pub max_file_size: Option<Size>,
    /// Providers that get a copy of every file.
    pub backup_providers: Option<Vec<String>>,
    pub cross_provider_backup: Option<bool>,
    pub max_concurrent_uploads: Option<usize>,
    pub max_concurrent_downloads: Option<usize>,
    pub max_concurrent_deletes: Option<usize>,
    /// Above this a file is sent in parts.
    pub stream_threshold: Option<Size>,
    pub chunk_size: Option<Size>,
    pub connection_timeout: Option<Span>,
    pub max_connections_per_provider: Option<usize>,
    pub retry_attempts: Option<u32>,
    pub retry_initial_delay: Option<Span>,
    pub retry_max_delay: Option<Span>,
    pub retry_backoff_multiplier: Option<f64>,
    pub circuit_breaker_enabled: Option<bool>,
    pub circuit_breaker_failure_threshold: Option<u32>,
    pub circuit_breaker_timeout: Option<Span>,
    pub health_checks: Option<bool>,
    pub health_check_interval: Option<Span>,
    /// CivicPress's own; accepted and left alone.
    pub health_check_timeout: Option<Span>,
    pub upload_timeout: Option<Span>,
    pub download_timeout: Option<Span>,
    pub delete_timeout: Option<Span>,
    pub list_timeout: Option<Span>,
    /// Silence longer than this ends any transfer.
    pub stall_timeout: Option<Span>,
    pub cache_enabled: Option<bool>,
    pub cache_ttl: Option<Span>,
    pub cache_max_size: Option<Size>,
    pub quota_enforcement: Option<bool>,
    /// 0 is no limit.
    pub global_quota: Option<Size>,
    /// Whether quotas count what was deleted and can still come back.
    pub quota_counts_trash: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Folder {
    pub path: Option<String>,
    /// `public`, `authenticated` or `private`.
    #[schemars(extend("enum" = ["public", "authenticated", "private", null]))]
    pub access: Option<String>,
    /// Extensions without the dot; `*` is any.
    pub allowed_types: Option<Vec<String>>,
    pub max_size: Option<Size>,
    pub description: Option<String>,
    /// 0 is no limit.
    pub quota: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Cleanup {
    /// At least an hour; `--min-age` may go below.
    pub min_age: Option<Span>,
    pub max_delete_percent: Option<f64>,
    pub max_delete_count: Option<u64>,
    pub trash_retention: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lifecycle {
    pub enabled: Option<bool>,
    pub check_interval: Option<Span>,
    pub policies: Option<Vec<Policy>>,
    pub notify: Option<Notify>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Policy {
    pub name: Option<String>,
    pub enabled: Option<bool>,
    /// A folder, several, or `*`.
    pub folder: Option<OneOrMany>,
    #[serde(rename = "match")]
    pub matching: Option<Match>,
    pub except: Option<Match>,
    pub max_age: Option<Years>,
    pub min_age: Option<Years>,
    /// `delete`, `archive`, `warn` or `retain`.
    #[schemars(extend("enum" = ["delete", "archive", "warn", "retain", null]))]
    pub action: Option<String>,
    pub archive: Option<Archive>,
    pub warn_before: Option<Years>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Match {
    pub types: Option<Vec<String>>,
    /// A glob on the original name: `*` is any text, `?` any character.
    pub name: Option<String>,
    pub min_size: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Archive {
    pub provider: Option<String>,
    pub folder: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Notify {
    pub log: Option<bool>,
    /// Relative means relative to the system-data directory.
    pub file: Option<String>,
    pub webhook: Option<String>,
}

/// One name or a list of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

/// A length of time.
#[derive(Debug, Clone, Copy)]
pub struct Span(pub Duration);

/// How old: a length of time, or months of the calendar.
#[derive(Debug, Clone, Copy)]
pub struct Years(pub Age);

/// Text that no error and no `Debug` repeats.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// A number, or text with a unit; `expected` says which.
struct Scalar {
    expected: &'static str,
}

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(format!("{number:?}"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar {
            expected: "a size like 10MB",
        })?;
        units::parse_size(&text).map(Self).map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar {
            expected: "a duration like 30s or a number of milliseconds",
        })?;
        units::parse_duration(&text).map(Self).map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Years {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar {
            expected: "an age like 365d or 12mo",
        })?;
        units::parse_age(&text).map(Self).map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)
            .map(Self)
            .map_err(|_| Error::custom("expected text; put the value in quotes"))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes, or a number with B, KB, MB, GB, TB or KiB, MiB, GiB, TiB (all powers of 1024).",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^ *[0-9]+(\\.[0-9]+)? *([kKmMgGtT]?[bB]?|[kKmMgGtT][iI][bB]) *$" }
            ]
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Milliseconds, or a number with ms, s, m, h, d or w.",
            "oneOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^ *[0-9]+(\\.[0-9]+)? *([mM][sS]|[sSmMhHdDwW])? *$" }
            ]
        })
    }
}

impl JsonSchema for Years {
    fn schema_name() -> Cow<'static, str> {
        "Age".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number with d (days), mo or months; or with ms, s, m, h or w.",
            "oneOf": [
                { "const": 0 },
                { "type": "string", "pattern": "^ *[0-9]+(\\.[0-9]+)? *([mM][sS]|[sSmMhHdDwW]|[mM][oO]([nN][tT][hH][sS]?)?) *$" }
            ]
        })
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "The value, or ${ENV_VAR}." })
    }
}
