//! Changes to `folders`, as edits of the file.
//!
//! A file without `folders` has CivicPress's own four. The first change to one of them writes out all, since a file with
//! some would no longer have the others.

use super::check::access_name;
use super::edit::Edit;
use super::error::ConfigError;
use super::model::{Access, Folder};
use super::path::KeyPath;
use super::show::Origin;
use super::units::spell_size;
use super::yaml::{Change, Mapping, Value};
use super::{LoadRequest, Loaded};

/// What is said of a folder; `None` is not said.
#[derive(Debug, Clone, Default)]
pub struct FolderFields {
    pub path: Option<String>,
    pub access: Option<Access>,
    /// Extensions.
    pub allowed_types: Option<Vec<String>>,
    /// Bytes.
    pub max_size: Option<u64>,
    pub description: Option<String>,
    /// Bytes; 0 is no limit.
    pub quota: Option<u64>,
}

impl FolderFields {
    /// In the order that CivicPress writes them.
    fn entries(&self) -> Vec<(&'static str, Value)> {
        let types =
            |types: &Vec<String>| Value::Sequence(types.iter().map(|kind| kind.as_str().into()).collect());
        let entries = [
            ("path", self.path.as_deref().map(Value::from)),
            ("access", self.access.map(|access| access_name(access).into())),
            ("allowed_types", self.allowed_types.as_ref().map(types)),
            ("max_size", self.max_size.map(size)),
            ("description", self.description.as_deref().map(Value::from)),
            ("quota", self.quota.map(size)),
        ];
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    fn mapping(&self) -> Value {
        let entries = self
            .entries()
            .into_iter()
            .map(|(key, value)| (Value::from(key), value));
        Value::Mapping(entries.collect::<Mapping>())
    }
}

impl From<&Folder> for FolderFields {
    fn from(folder: &Folder) -> Self {
        Self {
            path: Some(folder.path.clone()),
            access: Some(folder.access),
            allowed_types: Some(folder.allowed_types.clone()),
            max_size: folder.max_size,
            description: folder.description.clone(),
            quota: folder.quota,
        }
    }
}

/// In no larger unit than GB: CivicPress 0.3.1 takes a `1TB` for one byte.
fn size(bytes: u64) -> Value {
    const GB: u64 = 1 << 30;
    match bytes {
        bytes if bytes >= GB && bytes.is_multiple_of(GB) => format!("{}GB", bytes / GB).into(),
        bytes => spell_size(bytes).into(),
    }
}

/// A new folder. What CivicPress requires and `fields` leaves out is written with its default.
///
/// # Errors
/// Where the folder would not be valid; whether it exists already is the caller's question.
pub fn add_folder(
    request: &LoadRequest,
    loaded: &Loaded,
    name: &str,
    fields: FolderFields,
) -> Result<Edit, ConfigError> {
    let standard = FolderFields {
        max_size: Some(loaded.config.global.max_file_size),
        ..FolderFields::from(&Folder::named(name))
    };
    let whole = FolderFields {
        path: fields.path.or(standard.path),
        access: fields.access.or(standard.access),
        allowed_types: fields.allowed_types.or(standard.allowed_types),
        max_size: fields.max_size.or(standard.max_size),
        ..fields
    };
    let mut changes = written_out(loaded, None);
    changes.push(Change::Set(path(name), whole.mapping()));
    Edit::plan(request, changes)
}

/// Changes what `fields` says of a folder, and nothing else.
///
/// # Errors
/// Where the folder would not be valid.
pub fn update_folder(
    request: &LoadRequest,
    loaded: &Loaded,
    name: &str,
    fields: &FolderFields,
) -> Result<Edit, ConfigError> {
    let mut changes = written_out(loaded, None);
    let entries = fields.entries().into_iter();
    changes.extend(entries.map(|(key, value)| Change::Set(path(name).key(key), value)));
    Edit::plan(request, changes)
}

/// Takes a folder out of the file.
///
/// # Errors
/// Where something else in the file needs it.
pub fn remove_folder(request: &LoadRequest, loaded: &Loaded, name: &str) -> Result<Edit, ConfigError> {
    let mut changes = written_out(loaded, Some(name));
    if loaded.origins.of(&path(name)) != Origin::Default {
        changes.push(Change::Remove(path(name)));
    }
    Edit::plan(request, changes)
}

fn path(name: &str) -> KeyPath {
    KeyPath::of(&["folders", name])
}

/// The folders that are there by default, for the file; all but `without`.
fn written_out(loaded: &Loaded, without: Option<&str>) -> Vec<Change> {
    let folders = loaded.config.folders.values();
    let unwritten = folders.filter(|folder| loaded.origins.of(&path(&folder.name)) == Origin::Default);
    unwritten
        .filter(|folder| Some(folder.name.as_str()) != without)
        .map(|folder| Change::Set(path(&folder.name), FolderFields::from(folder).mapping()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn town(text: &str) -> (tempfile::TempDir, LoadRequest) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("storage.yml"), text).unwrap();
        let request = LoadRequest {
            cwd: dir.path().canonicalize().unwrap(),
            ..LoadRequest::default()
        };
        (dir, request)
    }

    #[test]
    fn the_first_change_writes_out_the_folders_that_were_there_unwritten() {
        let (_dir, request) = town("active_provider: local\n");
        let loaded = load(&request).unwrap();
        let names = |edit: &Edit| edit.config.folders.keys().cloned().collect::<Vec<_>>();
        let edit = add_folder(&request, &loaded, "maps", FolderFields::default()).unwrap();
        assert_eq!(names(&edit), ["maps", "permits", "private", "public", "sessions"]);
        let edit = remove_folder(&request, &loaded, "permits").unwrap();
        assert_eq!(names(&edit), ["private", "public", "sessions"]);
        let fields = FolderFields {
            quota: Some(1 << 40),
            ..FolderFields::default()
        };
        let edit = update_folder(&request, &loaded, "permits", &fields).unwrap();
        assert_eq!(names(&edit), ["permits", "private", "public", "sessions"]);
        assert_eq!(edit.config.folders["permits"].quota, Some(1 << 40));
        assert!(edit.diff().contains("quota: 1024GB"), "CivicPress knows no TB");
    }

    #[test]
    fn a_new_folder_has_every_key_that_civicpress_requires() {
        let (_dir, request) = town("folders:\n  public: { path: public } # p\n");
        let loaded = load(&request).unwrap();
        let edit = add_folder(&request, &loaded, "maps", FolderFields::default()).unwrap();
        let added: Vec<_> = edit
            .diff()
            .lines()
            .skip(2)
            .filter(|line| line.starts_with('+'))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            added,
            [
                "+  maps:",
                "+    path: maps",
                "+    access: private",
                "+    allowed_types:",
                "+      - '*'",
                "+    max_size: 100MB"
            ]
        );
    }

    #[test]
    fn a_folder_that_a_policy_needs_cannot_go() {
        let (_dir, request) = town(
            "folders:\n  permits: {}\nlifecycle:\n  policies:\n    - { name: hold, folder: permits, action: retain }\n",
        );
        let error = remove_folder(&request, &load(&request).unwrap(), "permits").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("lifecycle.policies[0].folder: is `permits`, which is not under `folders`")
        );
    }
}
