//! Each thing that is no database to read has an error of its own, and none is made or mended.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use rusqlite::Connection;

use super::super::SqliteStore;
use super::{TABLE, Town, count, files, many};
use crate::metadata::MetadataError;

fn reason(town: &Town) -> String {
    match SqliteStore::open(&town.path()) {
        Err(MetadataError::Failed { database, reason }) => {
            assert!(database.ends_with("civic.db"), "{database}");
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_database_is_missing_and_stays_so() {
    let town = Town::new();
    for path in [town.path(), town.dir.path().join("no/such/dir/civic.db")] {
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, MetadataError::Missing { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
    std::os::unix::fs::symlink("nowhere", town.path()).unwrap();
    assert!(matches!(
        SqliteStore::open(&town.path()),
        Err(MetadataError::Missing { .. })
    ));
    assert!(!town.dir.path().join("nowhere").exists());
}

#[test]
fn what_is_no_file_is_said() {
    let town = Town::new();
    fs::create_dir(town.path()).unwrap();
    assert_eq!(reason(&town), "this is a directory, not a database");
    fs::remove_dir(town.path()).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, town.path(), rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(reason(&town), "this is no regular file, not a database");
}

#[test]
fn what_is_no_database_is_said() {
    let town = Town::new();
    for (content, expected) in [
        (&b""[..], "the file is empty, no database has been made in it"),
        (b"SQLite", "this is not a SQLite database"),
        (&[b'x'; 5000], "this is not a SQLite database"),
    ] {
        fs::write(town.path(), content).unwrap();
        assert_eq!(reason(&town), expected);
        assert_eq!(town.files(), [(town.path(), content.to_vec())]);
    }
}

#[test]
fn a_truncated_database_is_damaged_not_smaller() {
    for mode in ["WAL", "DELETE"] {
        let town = Town::with(mode, &many(500));
        let file = fs::OpenOptions::new().write(true).open(town.path()).unwrap();
        file.set_len(8192).unwrap();
        let reason = reason(&town);
        assert!(reason.starts_with("the database is damaged"), "{reason}");
    }
}

#[test]
fn a_format_from_the_future_is_said() {
    let town = Town::with("WAL", &[]);
    let mut bytes = fs::read(town.path()).unwrap();
    bytes[18..20].copy_from_slice(&[3, 3]);
    fs::write(town.path(), bytes).unwrap();
    assert_eq!(
        reason(&town),
        "its file format 3 is newer than this program knows"
    );
}

#[test]
fn a_database_without_the_table_says_so() {
    for sql in [
        "CREATE TABLE other (id)",
        "CREATE TABLE other (id); CREATE VIEW storage_files AS SELECT * FROM other",
        "CREATE VIRTUAL TABLE storage_files USING fts5(id, folder)",
    ] {
        let town = Town::new();
        Connection::open(town.path()).unwrap().execute_batch(sql).unwrap();
        let error = SqliteStore::open(&town.path()).unwrap_err();
        assert!(matches!(error, MetadataError::NoTable { .. }), "{sql}: {error}");
    }
}

#[test]
fn a_table_without_a_column_and_text_that_is_not_utf8_are_said() {
    let town = Town::new();
    let without = TABLE.replace("mime_type TEXT NOT NULL,", "");
    Connection::open(town.path())
        .unwrap()
        .execute_batch(&without)
        .unwrap();
    assert_eq!(reason(&town), "its table storage_files has no column mime_type");

    let town = Town::new();
    let utf16 = format!("PRAGMA encoding = 'UTF-16le'; {TABLE}");
    Connection::open(town.path())
        .unwrap()
        .execute_batch(&utf16)
        .unwrap();
    assert_eq!(reason(&town), "its text is UTF-16le, and only UTF-8 can be read");
}

#[test]
fn an_exclusive_lock_is_waited_for_and_then_named() {
    let town = Town::with("DELETE", &many(3));
    let writer = town.writer("DELETE");
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = SqliteStore::open(&town.path()).unwrap_err();
    assert!(matches!(error, MetadataError::Busy { .. }), "{error}");
    writer.execute_batch("ROLLBACK").unwrap();
    SqliteStore::open(&town.path()).unwrap();
}

#[test]
fn a_write_that_was_cut_off_is_not_read_as_if_it_were_whole() {
    let town = Town::with("DELETE", &many(2000));
    let writer = town.writer("DELETE");
    writer
        .execute_batch("PRAGMA cache_size = 10; BEGIN IMMEDIATE; UPDATE storage_files SET size = size + 1, folder = 'moved'")
        .unwrap();
    // What a power cut would leave: half of the pages written, and the journal to take them back.
    let cut = Town::new();
    for suffix in ["", "-journal"] {
        fs::copy(town.beside(suffix), cut.beside(suffix)).unwrap();
    }
    let before = cut.files();
    let reason = reason(&cut);
    assert!(
        reason.contains("-journal") && reason.contains("start CivicPress once"),
        "{reason}"
    );
    assert!(cut.files() == before);
}

#[tokio::test]
async fn any_name_a_file_can_have_is_opened() {
    let town = Town::with("WAL", &many(3));
    let bytes = [
        &b"a b?mode=rwc#%41&\xff\xe9\\'\";"[..],
        "é会🏛".as_bytes(),
        b"..db",
    ]
    .concat();
    let odd = town.dir.path().join(OsString::from_vec(bytes));
    fs::rename(town.path(), &odd).unwrap();
    let store = SqliteStore::open(&odd).unwrap();
    assert_eq!(count(&store).await, 3);
    assert_eq!(files(town.dir.path()).len(), 1);

    std::os::unix::fs::symlink(&odd, town.path()).unwrap();
    assert_eq!(count(&town.store()).await, 3);
}
