//! A checksum of a whole directory tree, to show that nothing in it changed.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

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

/// All that a question leaves as it is where commands write: every file but the database's, every row but those of counts.
#[derive(Debug)]
pub struct ButCounts {
    tree: Tree,
    rows: BTreeMap<String, Vec<Vec<Value>>>,
}

impl ButCounts {
    /// Whether a WAL is there, and when it was made, is the database's own business.
    pub fn of(root: &Path, database: &Path) -> Self {
        let mut tree = Tree::of(root);
        let own = database.strip_prefix(root).unwrap();
        let name = own.to_str().unwrap();
        tree.0
            .retain(|path, _| !path.to_str().is_some_and(|path| path.starts_with(name)));
        if let Some(above) = tree.0.get_mut(own.parent().unwrap()) {
            above.modified = (0, 0);
        }
        Self {
            tree,
            rows: rows_but_counts(&Connection::open(database).unwrap()),
        }
    }

    /// Fails, naming them, where a file or a row of `later` differs.
    #[track_caller]
    pub fn assert_unchanged(&self, later: &Self) {
        self.tree.assert_unchanged(&later.tree);
        for (table, rows) in &self.rows {
            assert_eq!(Some(rows), later.rows.get(table), "{table} changed");
        }
        assert_eq!(self.rows.len(), later.rows.len(), "a table was made");
    }
}

/// By table, with the schema itself.
fn rows_but_counts(database: &Connection) -> BTreeMap<String, Vec<Vec<Value>>> {
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'civic_storage_metrics'";
    let mut statement = database.prepare(names).unwrap();
    let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let names = names.map(Result::unwrap).chain(["sqlite_schema".to_owned()]);
    let rows = |name: &String| -> Vec<Vec<Value>> {
        let mut statement = database.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = statement.column_count();
        let cells = |row: &Row<'_>| (0..columns).map(|at| row.get(at)).collect();
        statement
            .query_map([], cells)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    names.map(|name| (name.clone(), rows(&name))).collect()
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
