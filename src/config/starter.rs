//! The first `storage.yml` of an installation: a short one, with the comments that a beginner needs. Holds no secret.

use std::path::{Path, PathBuf};

use super::env::{self, Env, scoped};
use super::error::ConfigError;
use super::locate::{self, DatabaseUrl};
use super::path::KeyPath;
use super::yaml::{Change, Document, Value};
use super::{Config, LoadRequest, interpret};

/// Where a new installation keeps its files.
#[derive(Debug, Clone)]
pub enum NewProvider {
    /// `None` is `storage` beside the system-data directory.
    Local { path: Option<PathBuf> },
    S3 {
        bucket: String,
        /// `None` is the default.
        region: Option<String>,
        /// `None` is AWS itself.
        endpoint: Option<String>,
        prefix: Option<String>,
    },
    Azure {
        account_name: String,
        container_name: String,
        /// `None` is Azure itself.
        endpoint: Option<String>,
        prefix: Option<String>,
    },
    Gcs {
        bucket: String,
        /// `None` is Google itself.
        endpoint: Option<String>,
        prefix: Option<String>,
    },
}

/// Everything that `storage:init` makes, on paper.
#[derive(Debug)]
pub struct Starter {
    pub system_data: PathBuf,
    pub config_file: PathBuf,
    /// Content of `config_file`.
    pub text: String,
    /// What it says, with what the environment adds.
    pub config: Config,
    pub database: DatabaseUrl,
    /// Root of a local provider.
    pub root: Option<PathBuf>,
    /// Variables that must hold the credentials.
    pub variables: Vec<String>,
}

/// Works out what to write where. Reads no `storage.yml` and writes nothing.
///
/// # Errors
/// Where flags or `.civicrc` make no sense, or the provider would not be valid.
pub fn starter(request: &LoadRequest, provider: &NewProvider) -> Result<Starter, ConfigError> {
    let located = locate::locate_new(request)?;
    let (template, root) = match provider {
        NewProvider::Local { path } => {
            let root = match path {
                Some(path) => locate::absolute(path, &request.cwd),
                None => default_root(&located.system_data),
            };
            (include_str!("starter/local.yml"), Some(root))
        }
        NewProvider::S3 { .. } => (include_str!("starter/s3.yml"), None),
        NewProvider::Azure { .. } => (include_str!("starter/azure.yml"), None),
        NewProvider::Gcs { .. } => (include_str!("starter/gcs.yml"), None),
    };
    let refused = |reason: String| ConfigError::at_file(&located.config_file, reason);
    let document = Document::parse(template.to_owned()).map_err(|error| refused(error.message))?;
    let text = document
        .edited(&changes(provider, root.as_deref()))
        .map_err(refused)?;
    let reading = interpret(
        &located.config_file,
        text.clone(),
        &located.system_data,
        Env::new(&request.env),
    )?;
    Ok(Starter {
        system_data: located.system_data,
        config_file: located.config_file,
        text,
        config: reading.config,
        database: located.database,
        root,
        variables: variables(provider),
    })
}

/// Where CivicPress puts it.
fn default_root(system_data: &Path) -> PathBuf {
    let beside = system_data
        .file_name()
        .is_some_and(|name| name == locate::SYSTEM_DATA_DIR);
    match system_data.parent() {
        Some(town) if beside => town.join("storage"),
        _ => system_data.join("storage"),
    }
}

fn changes(provider: &NewProvider, root: Option<&Path>) -> Vec<Change> {
    match provider {
        NewProvider::Local { .. } => {
            let root = root.unwrap_or(Path::new("storage")).display().to_string();
            vec![set(&["local", "path"], root.into())]
        }
        NewProvider::S3 {
            bucket,
            region,
            endpoint,
            prefix,
        } => {
            let mut changes = words(
                "s3",
                [
                    ("bucket", Some(bucket)),
                    ("region", region.as_ref()),
                    ("endpoint", endpoint.as_ref()),
                    ("prefix", prefix.as_ref()),
                ],
            );
            if endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_empty()) {
                changes.push(set(&["s3", "options", "force_path_style"], true.into()));
            }
            changes
        }
        NewProvider::Azure {
            account_name,
            container_name,
            endpoint,
            prefix,
        } => words(
            "azure",
            [
                ("account_name", Some(account_name)),
                ("container_name", Some(container_name)),
                ("endpoint", endpoint.as_ref()),
                ("prefix", prefix.as_ref()),
            ],
        ),
        NewProvider::Gcs {
            bucket,
            endpoint,
            prefix,
        } => words(
            "gcs",
            [
                ("bucket", Some(bucket)),
                ("endpoint", endpoint.as_ref()),
                ("prefix", prefix.as_ref()),
            ],
        ),
    }
}

/// A key below `providers`.
fn set(keys: &[&str], value: Value) -> Change {
    Change::Set(KeyPath::of(&[&["providers"], keys].concat()), value)
}

/// Those keys of a provider that have a word.
fn words<const N: usize>(provider: &str, words: [(&str, Option<&String>); N]) -> Vec<Change> {
    let words = words.into_iter().filter_map(|(key, word)| Some((key, word?)));
    words
        .map(|(key, word)| set(&[provider, key], word.as_str().into()))
        .collect()
}

fn variables(provider: &NewProvider) -> Vec<String> {
    match provider {
        NewProvider::Local { .. } => Vec::new(),
        NewProvider::S3 { .. } => env::S3_KEYS[0][..2]
            .iter()
            .map(|name| scoped("s3", name.trim_start_matches("S3_")))
            .collect(),
        NewProvider::Azure { .. } => vec![scoped("azure", "ACCOUNT_KEY")],
        NewProvider::Gcs { .. } => vec![scoped("gcs", "SERVICE_ACCOUNT_KEY")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> LoadRequest {
        LoadRequest {
            cwd: "/town".into(),
            ..LoadRequest::default()
        }
    }

    #[test]
    fn the_local_default_is_where_civicpress_has_it() {
        let starter = starter(&request(), &NewProvider::Local { path: None }).unwrap();
        assert_eq!(starter.config_file, Path::new("/town/.system-data/storage.yml"));
        assert_eq!(starter.root.as_deref(), Some(Path::new("/town/storage")));
        assert!(starter.text.contains("path: /town/storage\n"));
        assert_eq!(starter.database.to_string(), "sqlite:/town/.system-data/civic.db");
    }

    #[test]
    fn odd_words_are_quoted_and_wrong_ones_refused() {
        let local = |path: &str| {
            starter(
                &request(),
                &NewProvider::Local {
                    path: Some(path.into()),
                },
            )
        };
        assert!(local("a: b #c").unwrap().text.contains("/town/a: b #c"));
        let s3 = |bucket: &str, endpoint: Option<&str>, prefix: Option<&str>| {
            let provider = NewProvider::S3 {
                bucket: bucket.to_owned(),
                region: None,
                endpoint: endpoint.map(str::to_owned),
                prefix: prefix.map(str::to_owned),
            };
            starter(&request(), &provider)
        };
        let good = s3("town", Some("https://s3.example:9000"), Some("a/b")).unwrap();
        assert!(good.text.contains("force_path_style: true"), "{}", good.text);
        assert_eq!(
            good.variables,
            [
                "CIVIC_STORAGE_S3_ACCESS_KEY_ID",
                "CIVIC_STORAGE_S3_SECRET_ACCESS_KEY"
            ]
        );
        assert!(
            s3("", None, None)
                .unwrap_err()
                .to_string()
                .contains("providers.s3.bucket: is empty")
        );
        assert!(
            s3("town", Some("s3.example"), None)
                .unwrap_err()
                .to_string()
                .contains("providers.s3.endpoint")
        );
        assert!(
            s3("town", None, Some("a//b"))
                .unwrap_err()
                .to_string()
                .contains("providers.s3.prefix")
        );
    }
}
