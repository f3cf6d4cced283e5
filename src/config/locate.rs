//! Which system-data directory, which `storage.yml`, which database: from flags, variables and what is on disk.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::env::{self, Env};
use super::error::{ConfigError, Problem};
use super::{LoadRequest, yaml};

/// Name of the directory that CivicPress keeps its own data in.
pub const SYSTEM_DATA_DIR: &str = ".system-data";
const CONFIG_NAME: &str = "storage.yml";
const CIVICRC: &str = ".civicrc";
const DATABASE_NAME: &str = "civic.db";

/// The metadata database.
#[derive(Debug, Clone)]
pub enum DatabaseUrl {
    /// Absolute.
    Sqlite(PathBuf),
    /// The whole URL, since it may hold a password.
    Postgres(SecretString),
}

impl DatabaseUrl {
    /// Reads `sqlite:PATH` or `postgres://…`; a relative path is relative to `cwd`.
    ///
    /// # Errors
    /// A sentence that says what is wrong, without repeating the URL, which may hold a password.
    pub fn parse(text: &str, cwd: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err("names no file after sqlite:".to_owned());
            }
            return Ok(Self::Sqlite(absolute(Path::new(path), cwd)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            url::Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
            return Ok(Self::Postgres(SecretString::from(text)));
        }
        Err("is neither sqlite:PATH nor postgres://…".to_owned())
    }
}

/// Without a password, with everything else.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => match url::Url::parse(url.expose_secret()) {
                Ok(url) => {
                    let user = if url.username().is_empty() { "" } else { "@" };
                    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
                    let host = url.host_str().unwrap_or_default();
                    write!(f, "postgres://{}{user}{host}{port}{}", url.username(), url.path())
                }
                Err(_) => f.write_str("postgres://"),
            },
        }
    }
}

/// What was found, and what said so.
#[derive(Debug, Clone)]
pub struct Located {
    /// Absolute and lexically normal; need not exist where `storage.yml` was named by itself.
    pub system_data: PathBuf,
    /// Absolute; need not exist.
    pub config_file: PathBuf,
    pub database: DatabaseUrl,
    /// The flag, variable or file that named the database; `None` for the default.
    pub database_from: Option<String>,
    /// The database of the `.civicrc` beside the system-data directory, which CivicPress writes to.
    pub civicpress_database: Option<PathBuf>,
}

/// Resolves the three. Reads `.civicrc`, never `storage.yml`.
///
/// # Errors
/// Where what a flag or variable names is not there or makes no sense, or `.civicrc` cannot be read.
pub fn locate(request: &LoadRequest) -> Result<Located, ConfigError> {
    let env = Env::new(&request.env);
    let config_file = named_config(request, env)?;
    let system_data = match named_system_data(request, env)? {
        Some(named) => Some(named),
        None => search(&request.cwd),
    };
    let system_data = system_data
        .or_else(|| Some(config_file.as_ref()?.parent()?.to_owned()))
        .unwrap_or_else(|| absolute(Path::new("."), &request.cwd));
    let config_file = config_file.unwrap_or_else(|| found_config(&system_data, &request.cwd));
    with_database(request, system_data, config_file)
}

fn with_database(
    request: &LoadRequest,
    system_data: PathBuf,
    config_file: PathBuf,
) -> Result<Located, ConfigError> {
    let env = Env::new(&request.env);
    let rc = Civicrc::beside(&system_data);
    let (database, database_from) = database(request, env, &system_data, &rc)?;
    Ok(Located {
        civicpress_database: rc.ok().flatten().and_then(|rc| rc.database),
        system_data,
        config_file,
        database,
        database_from,
    })
}

/// Where `storage:init` writes: as [`locate`] finds it, but nothing has to be there yet.
///
/// # Errors
/// As [`locate`].
pub fn locate_new(request: &LoadRequest) -> Result<Located, ConfigError> {
    let env = Env::new(&request.env);
    let named = |flag: Option<&PathBuf>, variable| {
        let path = flag
            .map(PathBuf::as_path)
            .or_else(|| env.get(variable).map(Path::new))?;
        Some(absolute(path, &request.cwd))
    };
    let system_data = named(request.system_data.as_ref(), env::SYSTEM_DATA)
        .unwrap_or_else(|| absolute(Path::new(SYSTEM_DATA_DIR), &request.cwd));
    let config_file = named(request.config_file.as_ref(), env::CONFIG_FILE)
        .unwrap_or_else(|| system_data.join(CONFIG_NAME));
    with_database(request, system_data, config_file)
}

/// `path` from `base`, without `.`, `..`, `//` or a final `/`; nothing on disk is looked at.
#[must_use]
pub fn absolute(path: &Path, base: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

fn named_system_data(request: &LoadRequest, env: Env<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let (from, path) = match (&request.system_data, env.get(env::SYSTEM_DATA)) {
        (Some(path), _) => ("--system-data", path.as_path()),
        (None, Some(path)) => (env::SYSTEM_DATA, Path::new(path)),
        (None, None) => return Ok(None),
    };
    let path = absolute(path, &request.cwd);
    if !path.is_dir() {
        let message = format!("{from} names {}, which is not a directory", path.display());
        return Err(ConfigError::at_flag(message));
    }
    Ok(Some(path))
}

fn named_config(request: &LoadRequest, env: Env<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let (from, path) = match (&request.config_file, env.get(env::CONFIG_FILE)) {
        (Some(path), _) => ("--config", path.as_path()),
        (None, Some(path)) => (env::CONFIG_FILE, Path::new(path)),
        (None, None) => return Ok(None),
    };
    let path = absolute(path, &request.cwd);
    if !path.exists() {
        return Err(ConfigError::at_flag(format!(
            "{from} names {}, which does not exist",
            path.display()
        )));
    }
    Ok(Some(path))
}

fn search(cwd: &Path) -> Option<PathBuf> {
    cwd.ancestors()
        .map(|dir| dir.join(SYSTEM_DATA_DIR))
        .find(|dir| dir.is_dir())
        .map(|dir| absolute(&dir, Path::new("/")))
}

fn found_config(system_data: &Path, cwd: &Path) -> PathBuf {
    let usual = system_data.join(CONFIG_NAME);
    let here = absolute(Path::new(CONFIG_NAME), cwd);
    if !usual.exists() && here.exists() {
        here
    } else {
        usual
    }
}

type FoundDatabase = (DatabaseUrl, Option<String>);

fn database(
    request: &LoadRequest,
    env: Env<'_>,
    system_data: &Path,
    rc: &Result<Option<Civicrc>, ConfigError>,
) -> Result<FoundDatabase, ConfigError> {
    let named = match (&request.database, env.get(env::DATABASE_URL)) {
        (Some(url), _) => Some(("--database", url.as_str())),
        (None, Some(url)) => Some((env::DATABASE_URL, url)),
        (None, None) => None,
    };
    if let Some((from, url)) = named {
        let url = DatabaseUrl::parse(url, &request.cwd)
            .map_err(|reason| ConfigError::at_flag(format!("{from} {reason}")))?;
        return Ok((url, Some(from.to_owned())));
    }
    match rc.as_ref().map_err(Clone::clone)? {
        Some(Civicrc {
            file,
            database: Some(path),
        }) => Ok((
            DatabaseUrl::Sqlite(path.clone()),
            Some(file.display().to_string()),
        )),
        _ => Ok((DatabaseUrl::Sqlite(system_data.join(DATABASE_NAME)), None)),
    }
}

/// The little that is read of CivicPress's own configuration.
#[derive(Debug)]
struct Civicrc {
    file: PathBuf,
    database: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawRc {
    database: Option<RawDatabase>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawDatabase {
    #[serde(rename = "type")]
    kind: Option<String>,
    sqlite: Option<RawSqlite>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSqlite {
    file: Option<PathBuf>,
}

impl Civicrc {
    /// `None` where there is no such file.
    fn beside(system_data: &Path) -> Result<Option<Self>, ConfigError> {
        let Some(dir) = system_data.parent() else {
            return Ok(None);
        };
        let file = dir.join(CIVICRC);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ConfigError::at_file(file, format!("cannot be read: {error}"))),
        };
        let raw = Self::parse(&file, text)?;
        let database = raw.database.unwrap_or_default();
        if let Some(kind) = database.kind.filter(|kind| kind != "sqlite") {
            let message = format!("names a database of type `{kind}`, which is not known");
            return Err(ConfigError::at_file(file, message).with_hint("name it with --database"));
        }
        let database = database
            .sqlite
            .and_then(|sqlite| sqlite.file)
            .map(|path| absolute(&path, dir));
        Ok(Some(Self { file, database }))
    }

    fn parse(file: &Path, text: String) -> Result<RawRc, ConfigError> {
        let document = yaml::Document::parse(text).map_err(|error| {
            ConfigError::from(Problem {
                file: Some(file.to_owned()),
                line: error.line,
                key: super::KeyPath::default(),
                message: error.message,
            })
        })?;
        yaml::typed(document.root()).map_err(|(key, message)| {
            ConfigError::from(Problem {
                file: Some(file.to_owned()),
                line: document.line_of(&key),
                key,
                message,
            })
        })
    }
}
