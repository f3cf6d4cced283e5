//! A checksum of a whole directory tree, to show that nothing in it changed.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// By path: type and mode, mtime, length, and a hash of the content or of the link's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    modified: (i64, i64),
    length: u64,
    content: u64,
}

impl Tree {
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        visit(root, root, &mut entries);
        Self(entries)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Paths that are new, gone or different in `later`; empty where nothing changed.
    pub fn changes(&self, later: &Self) -> Vec<PathBuf> {
        let paths = self
            .0
            .keys()
            .chain(later.0.keys().filter(|path| !self.0.contains_key(*path)));
        paths
            .filter(|path| self.0.get(*path) != later.0.get(*path))
            .cloned()
            .collect()
    }

    /// Fails, naming them, where `later` differs.
    #[track_caller]
    pub fn assert_unchanged(&self, later: &Self) {
        let changes = self.changes(later);
        assert!(changes.is_empty(), "these changed: {changes:?}");
    }
}

fn visit(root: &Path, path: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let content = if kind.is_file() {
        hash(&fs::read(path).unwrap())
    } else if kind.is_symlink() {
        hash(fs::read_link(path).unwrap().as_os_str().as_bytes())
    } else {
        0
    };
    let entry = Entry {
        mode: meta.mode(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        length: if kind.is_dir() { 0 } else { meta.len() },
        content,
    };
    entries.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
    if kind.is_dir() {
        for child in fs::read_dir(path).unwrap() {
            visit(root, &child.unwrap().path(), entries);
        }
    }
}

/// 64 bits are plenty against accidents, and nobody here is an adversary.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
