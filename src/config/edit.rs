//! Changing `storage.yml` on disk: checked as a whole before anything is written, then replaced in one step.
//!
//! Everything that is not changed stays byte for byte. A file that somebody else changed meanwhile is left alone.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::arrange::Arranged;
use super::env::Env;
use super::error::{ConfigError, Problem};
use super::path::{KeyPath, Step};
use super::report::Source;
use super::veil::veiled;
use super::yaml::{Change, Document, Value};
use super::{Config, LoadRequest, interpret, locate, read, schema};

/// A change to `storage.yml` that was found good and is not written yet.
pub struct Edit {
    /// The file itself, where the name is a symlink.
    pub file: PathBuf,
    before: String,
    after: String,
    /// What the file will mean.
    pub config: Config,
}

/// The diff, since the texts may hold secrets.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Edit({})", self.diff())
    }
}

/// Why a good change was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{} was changed by somebody else meanwhile; nothing was written", file.display())]
    Changed { file: PathBuf },
    #[error("{} cannot be written: {reason}", file.display())]
    Failed { file: PathBuf, reason: String },
}

impl Edit {
    /// `KEY=VALUE` updates as `--update` takes them, on paper.
    ///
    /// # Errors
    /// Where one is not of that form, cannot be made, or leads to a configuration with problems or an unknown key; and
    /// where one is a credential in clear text, since command lines are not private.
    pub fn updates(request: &LoadRequest, updates: &[String]) -> Result<Self, ConfigError> {
        let parsed: Result<Vec<Change>, String> = updates.iter().map(|update| parse_update(update)).collect();
        let changes = parsed.map_err(|reason| ConfigError::at_flag(format!("--update: {reason}")))?;
        Self::plan(request, changes)
    }

    /// Makes the changes on paper. Keys may be named as [`load`](super::load) reads them or as they are written.
    ///
    /// # Errors
    /// Where a change cannot be made, or leads to a configuration with problems, or to an unknown key.
    pub(super) fn plan(request: &LoadRequest, changes: Vec<Change>) -> Result<Self, ConfigError> {
        let located = locate(request)?;
        let file = located.config_file;
        let before = read(&file)?;
        let document = Document::parse(before.clone()).map_err(|error| Problem {
            file: Some(file.clone()),
            line: error.line,
            key: KeyPath::default(),
            message: error.message,
        })?;
        let arranged = Arranged::new(document.root().clone(), &schema());
        let source = Source {
            file: file.clone(),
            document,
            moved: arranged.moved,
        };
        let changes: Vec<Change> = changes
            .into_iter()
            .map(|change| placed(change, &source))
            .collect();
        let after = source
            .document
            .edited(&changes)
            .map_err(|reason| ConfigError::at_file(&file, reason))?;
        let env = Env::new(&request.env);
        let reading = interpret(&file, after.clone(), &located.system_data, env)?;
        let old = interpret(&file, before.clone(), &located.system_data, env)
            .map_or(Vec::new(), |old| old.warnings);
        let known = |problem: &Problem| {
            old.iter()
                .any(|w| w.0.key == problem.key && w.0.message == problem.message)
        };
        let new: Vec<Problem> = reading
            .warnings
            .into_iter()
            .map(|w| w.0)
            .filter(|p| !known(p))
            .collect();
        if !new.is_empty() {
            return Err(ConfigError {
                problems: new,
                hint: None,
            });
        }
        Ok(Self {
            file: std::fs::canonicalize(&file).unwrap_or(file),
            before,
            after,
            config: reading.config,
        })
    }

    /// Whether anything would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before == self.after
    }

    /// What would change, as a unified diff, secrets masked.
    #[must_use]
    pub fn diff(&self) -> String {
        let diff = similar::TextDiff::from_lines(&self.before, &self.after);
        let (before, after) = (veiled(diff.old_slices()), veiled(diff.new_slices()));
        let name = self.file.display();
        let mut text = String::new();
        for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
            if text.is_empty() {
                text = format!("--- {name}\n+++ {name}\n");
            }
            let _ = writeln!(text, "{}", hunk.header());
            for change in hunk.iter_changes() {
                let masked = match (change.old_index(), change.new_index()) {
                    (_, Some(line)) => after.get(line),
                    (Some(line), None) => before.get(line),
                    (None, None) => None,
                };
                let _ = writeln!(text, "{}{}", change.tag(), masked.map_or("", String::as_str));
            }
        }
        text
    }

    /// Replaces the file: a new one beside it, flushed to disk, with the same mode and owner, then renamed over it.
    ///
    /// # Errors
    /// Where the file is no longer what was read, or cannot be written with its owner kept; it is then as it was.
    pub fn write(&self) -> Result<(), WriteError> {
        let failed = |error: io::Error| WriteError::Failed {
            file: self.file.clone(),
            reason: error.to_string(),
        };
        let dir = self.file.parent().unwrap_or(Path::new("/"));
        let dir_handle = File::open(dir).map_err(failed)?;
        // Two runs of this program take turns, so that neither misses the other's change.
        rustix::fs::flock(&dir_handle, FlockOperation::LockExclusive)
            .map_err(|error| failed(error.into()))?;
        if std::fs::read_to_string(&self.file).map_err(failed)? != self.before {
            return Err(WriteError::Changed {
                file: self.file.clone(),
            });
        }
        self.replace(dir).map_err(failed)?;
        dir_handle.sync_all().map_err(failed)
    }

    fn replace(&self, dir: &Path) -> io::Result<()> {
        let old = std::fs::metadata(&self.file)?;
        let mut temp = tempfile::Builder::new()
            .prefix(".storage.yml.")
            .tempfile_in(dir)?;
        temp.write_all(self.after.as_bytes())?;
        let new = temp.as_file().metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::fchown(temp.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        temp.as_file().set_permissions(old.permissions())?;
        temp.as_file().sync_all()?;
        temp.persist(&self.file)?;
        Ok(())
    }
}

/// The change where its key is written, or where it is read from if it is not in the file yet.
fn placed(change: Change, source: &Source) -> Change {
    let place = |path: &KeyPath| source.written(&canonical(path));
    match change {
        Change::Set(path, value) => Change::Set(place(&path), value),
        Change::Remove(path) => Change::Remove(place(&path)),
    }
}

/// Where a key is read from, for one that may stand at the top level too.
fn canonical(path: &KeyPath) -> KeyPath {
    let schema = schema();
    let [Step::Key(key)] = path.steps() else {
        return match path.steps() {
            [Step::Key(global), Step::Key(key)]
                if global == "global" && schema::LOWERED.contains(&key.as_str()) =>
            {
                KeyPath::of(&[key])
            }
            _ => path.clone(),
        };
    };
    if let Some((_, place)) = schema::LIFTED.iter().find(|(lifted, _)| lifted == key) {
        return KeyPath::of(place);
    }
    let global = schema["$defs"]["Global"]["properties"].get(key).is_some();
    if global && !schema::LOWERED.contains(&key.as_str()) {
        return KeyPath::of(&["global", key]);
    }
    path.clone()
}

/// Reads `KEY=VALUE` as `--update` takes it: a dotted key (quoted where it holds a dot) and a YAML value.
///
/// # Errors
/// What is wrong with it, as a sentence; a credential in clear text is refused, since command lines are not private.
fn parse_update(text: &str) -> Result<Change, String> {
    let (key, value) = split_update(text).ok_or_else(|| "must be KEY=VALUE".to_owned())?;
    let path = KeyPath::parse(key)
        .ok_or_else(|| format!("`{key}` is not a dotted key like global.max_file_size"))?;
    let open = path.to_string().ends_with("_file") || path.to_string().ends_with(".project_id");
    let variable = value.starts_with("${") && value.ends_with('}');
    if path.passes("credentials") && !open && !variable && !value.is_empty() {
        return Err(format!(
            "`{path}` takes ${{ENV_VAR}} here, or use {path}_file: a command line is no place for a secret"
        ));
    }
    if value.is_empty() {
        return Ok(Change::Set(path, Value::from("")));
    }
    let value = super::yaml::parse_value(value)
        .map_err(|error| format!("the value of `{path}` is no YAML: {}", error.message))?;
    Ok(Change::Set(path, value))
}

/// At the first `=` that is not inside quotes.
fn split_update(text: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let at = text.find(|c| {
        quoted ^= c == '"';
        c == '=' && !quoted
    })?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOWN: &str = include_str!("../../tests/fixtures/config/valid/commented.yml");

    struct Town {
        _dir: tempfile::TempDir,
        request: LoadRequest,
        file: PathBuf,
    }

    fn town(text: &str) -> Town {
        let dir = tempfile::tempdir().unwrap();
        let cwd = dir.path().canonicalize().unwrap();
        std::fs::create_dir(cwd.join(".system-data")).unwrap();
        let file = cwd.join(".system-data/storage.yml");
        std::fs::write(&file, text).unwrap();
        let request = LoadRequest {
            cwd,
            env: BTreeMap::new(),
            ..LoadRequest::default()
        };
        Town {
            _dir: dir,
            request,
            file,
        }
    }

    fn plan(town: &Town, updates: &[&str]) -> Result<Edit, String> {
        let updates: Vec<String> = updates.iter().map(|update| (*update).to_owned()).collect();
        let here = format!("{}: ", town.file.display());
        Edit::updates(&town.request, &updates).map_err(|error| {
            error
                .to_string()
                .replace(&here, "")
                .replace(&town.file.display().to_string(), "storage.yml")
        })
    }

    #[test]
    fn an_update_is_written_with_mode_kept_and_nothing_left_beside() {
        let town = town(TOWN);
        std::fs::set_permissions(&town.file, std::fs::Permissions::from_mode(0o640)).unwrap();
        plan(&town, &["global.max_file_size=250MB"])
            .unwrap()
            .write()
            .unwrap();
        let text = std::fs::read_to_string(&town.file).unwrap();
        assert_eq!(text, TOWN.replace("100MB   # as agreed", "250MB   # as agreed"));
        assert_eq!(
            std::fs::metadata(&town.file).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        assert_eq!(std::fs::read_dir(town.file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_symlink_stays_one() {
        let town = town(TOWN);
        let real = town.request.cwd.join("real.yml");
        std::fs::rename(&town.file, &real).unwrap();
        std::os::unix::fs::symlink("../real.yml", &town.file).unwrap();
        plan(&town, &["list_timeout=45s"]).unwrap().write().unwrap();
        assert!(std::fs::symlink_metadata(&town.file).unwrap().is_symlink());
        assert!(
            std::fs::read_to_string(&real)
                .unwrap()
                .contains("  list_timeout: 45s\n")
        );
    }

    #[test]
    fn a_file_changed_meanwhile_is_left_alone() {
        let town = town(TOWN);
        let edit = plan(&town, &["global.max_file_size=250MB"]).unwrap();
        std::fs::write(&town.file, "active_provider: local\n").unwrap();
        assert!(matches!(edit.write(), Err(WriteError::Changed { .. })));
        assert_eq!(
            std::fs::read_to_string(&town.file).unwrap(),
            "active_provider: local\n"
        );
    }

    #[test]
    fn what_would_break_the_configuration_is_not_planned() {
        let town = town(TOWN);
        for (update, reason) in [
            (
                "global.max_file_size=huge",
                "storage.yml:16: global.max_file_size: `huge` is not a size; write it like 10MB, 1.5GB or 512KiB",
            ),
            (
                "active_provider=s4",
                "storage.yml:12: active_provider: is `s4`, which is no provider (did you mean s3?)",
            ),
            (
                "global.max_file_sise=1MB",
                "storage.yml:17: global.max_file_sise: is not a known key; the nearest is `max_file_size`",
            ),
            ("nonsense", "--update: must be KEY=VALUE"),
            (
                "a..b=1",
                "--update: `a..b` is not a dotted key like global.max_file_size",
            ),
        ] {
            assert_eq!(plan(&town, &[update]).unwrap_err(), reason);
        }
        assert_eq!(std::fs::read_to_string(&town.file).unwrap(), TOWN);
    }

    #[test]
    fn a_key_is_changed_where_it_is_written() {
        let town = town("upload_timeout: 5s # here\nglobal:\n  failover_enabled: true\n");
        let edit = plan(
            &town,
            &[
                "global.upload_timeout=6s",
                "failover_enabled=false",
                "download_timeout=7s",
            ],
        )
        .unwrap();
        assert_eq!(
            edit.after,
            "upload_timeout: 6s # here\nglobal:\n  failover_enabled: false\n  download_timeout: 7s\n"
        );
    }

    #[test]
    fn no_secret_is_taken_from_a_command_line_or_shown_in_a_diff() {
        let town = town(
            "providers:\n  local: { type: local }\n  s3: { type: s3, bucket: b, credentials: { access_key_id: hunter1, secret_access_key: hunter22 } }\n",
        );
        let error = plan(&town, &["providers.s3.credentials.secret_access_key=hunter3"]).unwrap_err();
        assert!(!error.contains("hunter"), "{error}");
        let diff = plan(&town, &["providers.s3.bucket=c"]).unwrap().diff();
        assert!(
            !diff.contains("hunter") && diff.contains("bucket: c") && diff.contains("********"),
            "{diff}"
        );
    }
}
