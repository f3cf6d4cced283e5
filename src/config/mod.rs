//! `storage.yml`, the environment and their defaults, merged into one plain [`Config`].
//!
//! In: [`load`] locates the file, parses it, puts every key in its place, fills in variables and defaults, and
//! checks the whole. It reads files and opens no connection. Every problem of a file is told at once, with its line.

mod arrange;
mod build;
mod check;
mod connection;
mod credentials;
mod defaults;
mod edit;
mod env;
mod error;
mod folders;
mod lifecycle;
mod locate;
mod model;
mod path;
mod providers;
mod raw;
mod report;
mod schema;
mod show;
mod starter;
#[cfg(test)]
mod tests;
mod units;
mod veil;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use build::folder_name;
pub use check::{access_name, root_text};
pub use connection::{AzureKey, ConnectionString};
pub use edit::{Edit, WriteError};
pub use env::HOST;
pub use error::{ConfigError, Problem, Warning};
pub use folders::{FolderFields, add_folder, remove_folder, update_folder};
pub use locate::{DatabaseUrl, Located, absolute, locate};
pub use model::*;
pub use path::{KeyPath, Step};
pub use report::nearest;
pub use schema::schema;
pub use show::{Origin, Setting, settings};
pub use starter::{NewProvider, Starter, starter};
pub use units::{parse_age, parse_duration, parse_size, spell_age, spell_duration, spell_size};

use arrange::Arranged;
use build::Context;
use env::Env;
use report::{Report, Source};

/// What was asked for by flags, and the surroundings it was asked in.
#[derive(Clone, Default)]
pub struct LoadRequest {
    /// `--system-data`
    pub system_data: Option<PathBuf>,
    /// `--config`
    pub config_file: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// Absolute.
    pub cwd: PathBuf,
    /// The whole environment; this room alone knows which variables matter.
    pub env: BTreeMap<String, String>,
}

/// Variables by name only.
impl fmt::Debug for LoadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadRequest")
            .field("system_data", &self.system_data)
            .field("config_file", &self.config_file)
            .field("cwd", &self.cwd)
            .field("env", &Env::new(&self.env))
            .finish_non_exhaustive()
    }
}

/// A configuration and where it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// Absolute; what relative paths of the file are relative to.
    pub system_data: PathBuf,
    pub database: DatabaseUrl,
    /// The flag, variable or file that named the database; `None` for the default.
    pub database_from: Option<String>,
    /// The database that CivicPress itself writes to, by its `.civicrc`.
    pub civicpress_database: Option<PathBuf>,
    /// For stderr, in the order of the file.
    pub warnings: Vec<Warning>,
    pub origins: Origins,
}

/// Where each value came from; asked for lines only when somebody wants to see them.
#[derive(Debug, Clone)]
pub struct Origins {
    source: Source,
    from_env: BTreeMap<KeyPath, String>,
}

/// What a file means.
struct Reading {
    config: Config,
    warnings: Vec<Warning>,
    origins: Origins,
}

/// Finds and reads the configuration.
///
/// # Errors
/// Everything that is wrong with it; where there is no file at all, with the hint to make one.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigError> {
    let located = locate(request)?;
    let text = read(&located.config_file)?;
    let reading = interpret(
        &located.config_file,
        text,
        &located.system_data,
        Env::new(&request.env),
    )?;
    Ok(Loaded {
        config: reading.config,
        system_data: located.system_data,
        database: located.database,
        database_from: located.database_from,
        civicpress_database: located.civicpress_database,
        warnings: reading.warnings,
        origins: reading.origins,
    })
}

fn read(file: &Path) -> Result<String, ConfigError> {
    use std::io::{ErrorKind, Read};

    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ConfigError::at_file(file, "does not exist")
            .with_hint("make one with `civic storage:init`, or name one with --config"),
        ErrorKind::InvalidData => ConfigError::at_file(file, "is not UTF-8 text"),
        _ => ConfigError::at_file(file, format!("cannot be read: {error}")),
    };
    let mut text = String::new();
    // One byte over the limit is enough to see that it is over.
    let limit = yaml::MAX_BYTES as u64 + 1;
    let opened = std::fs::File::open(file).map_err(fail)?;
    opened.take(limit).read_to_string(&mut text).map_err(fail)?;
    Ok(text)
}

/// Reads the text of a `storage.yml` as if it stood in `file`.
fn interpret(file: &Path, text: String, system_data: &Path, env: Env<'_>) -> Result<Reading, ConfigError> {
    let document = yaml::Document::parse(text).map_err(|error| {
        ConfigError::from(Problem {
            file: Some(file.to_owned()),
            line: error.line,
            key: KeyPath::default(),
            message: error.message,
        })
    })?;
    let schema = schema();
    let Arranged {
        mut root,
        moved,
        overruled,
        refused_backend,
    } = Arranged::new(document.root().clone(), &schema);
    let source = Source {
        file: file.to_owned(),
        document,
        moved,
    };
    let mut report = Report::new(&source);
    for key in source.document.duplicates() {
        report.duplicate(key);
    }
    for (loser, winner) in overruled {
        report.overruled(loser, &winner);
    }
    if refused_backend {
        let at = KeyPath::of(&["backend", "type"]);
        report.error(&at, "is not local; declare other types under `providers`");
    }
    arrange::unknown_keys(&root, &schema, &mut report);
    let raw = typed(&mut root, &mut report);
    let order = provider_order(&root);
    let mut context = Context {
        env,
        system_data,
        report: &mut report,
        from_env: BTreeMap::new(),
    };
    let mut config = build::build(raw, &order, &mut context);
    let from_env = context.from_env;
    config.source = Some(file.to_owned());
    check::check(&config, &order, &mut report);
    let (problems, warnings) = report.finish();
    if problems.is_empty() {
        return Ok(Reading {
            config,
            warnings,
            origins: Origins { source, from_env },
        });
    }
    Err(ConfigError { problems, hint: None })
}

/// Reads the structs, leaving out what does not fit, so that one run tells every misfit.
fn typed(root: &mut yaml::Mapping, report: &mut Report<'_>) -> raw::Root {
    loop {
        match yaml::typed(root) {
            Ok(raw) => return raw,
            Err((path, message)) => {
                report.error(&path, message);
                if yaml::remove(root, &path).is_none() {
                    return raw::Root::default();
                }
            }
        }
    }
}

fn provider_order(root: &yaml::Mapping) -> Vec<String> {
    let providers = root.get("providers").and_then(yaml::Value::as_mapping);
    let names = providers.into_iter().flatten();
    names
        .filter_map(|(name, _)| name.as_str().map(str::to_owned))
        .collect()
}
