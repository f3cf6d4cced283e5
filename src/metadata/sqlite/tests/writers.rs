//! Other processes with the same database open: SQLite's locks and its shared index only mean something between
//! processes. The other process is this test binary, started again for one of the `process_` functions below.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::StreamExt;
use rusqlite::{Connection, ErrorCode};

use super::{Town, all, count, many};
use crate::metadata::contract::id;
use crate::metadata::journal::JournalReader;
use crate::metadata::sqlite::{Patience, SqliteJournal, SqliteStore};
use crate::metadata::{MetadataStore, ScanScope};
use crate::metrics::{Key, Sample, Series, Snapshot};

const DATABASE: &str = "CIVIC_TEST_DATABASE";

fn start(function: &str, town: &Town) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "--quiet"])
        .arg(format!("metadata::sqlite::tests::writers::{function}"))
        .env(DATABASE, town.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The database, where this process is one that a test started.
fn given() -> Option<PathBuf> {
    std::env::var_os(DATABASE).map(PathBuf::from)
}

/// Closing the other process's stdin tells it to stop.
fn stop(mut child: Child) {
    drop(child.stdin.take());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
}

fn until_it_says(child: &mut Child, word: &str) {
    let stdout = child.stdout.as_mut().unwrap();
    let mut lines = BufReader::with_capacity(1, stdout).lines();
    assert!(
        lines.any(|line| line.unwrap().contains(word)),
        "the other process never said {word}"
    );
}

fn say(word: &str) {
    writeln!(std::io::stdout(), "{word}").unwrap();
}

fn told_to_stop() -> std::sync::mpsc::Receiver<()> {
    let (say, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = say.send(());
    });
    told
}

/// Replaces records as fast as it can, ten in each transaction, so that their number and sizes stay what they are;
/// checkpoints, truncates the WAL, vacuums, and leaves and comes back.
#[test]
fn process_that_writes() {
    let Some(database) = given() else { return };
    let told = told_to_stop();
    let mut round = 0_u64;
    while told.try_recv().is_err() {
        let connection = open(&database);
        for _ in 0..60 {
            replace_ten(&connection, round);
            round += 1;
            match round % 50 {
                0 => connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                    .unwrap(),
                25 => connection.execute_batch("VACUUM").unwrap(),
                _ => {}
            }
            if round == 10 {
                say("writing");
            }
        }
    }
}

fn open(database: &Path) -> Connection {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_millis(50)).unwrap();
    connection.pragma_update(None, "wal_autocheckpoint", 20).unwrap();
    connection
}

fn replace_ten(connection: &Connection, round: u64) {
    let transaction = connection.unchecked_transaction().unwrap();
    for number in 0..10 {
        let old = (round * 10 + number) * 37 % 4000;
        transaction
            .execute("DELETE FROM storage_files WHERE id = ?1", [id(old)])
            .unwrap();
        let path = format!("/srv/{:05}/{round}", old * 13 % 4000);
        transaction
            .execute(
                "INSERT INTO storage_files VALUES (?1, 'n', 's', 'f', 'r', ?2, 10, 'm', NULL, NULL, NULL, NULL)",
                [id(old), path],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}

#[tokio::test]
async fn scans_beside_a_busy_writer_see_one_moment_each() {
    let town = Town::with("WAL", &many(4000));
    let mut writer = start("process_that_writes", &town);
    until_it_says(&mut writer, "writing");
    let store = town.store();
    let mut seen = Vec::new();
    for pause in [0, 1, 0, 20, 0, 5] {
        let mut scan = store.scan(ScanScope::Under(String::new()));
        let (mut records, mut last, mut newest) = (0, String::new(), None);
        while let Some(record) = scan.next().await {
            let record = record.unwrap();
            assert!(last <= record.provider_path);
            last = record.provider_path;
            newest = newest.max(
                last.rsplit('/')
                    .next()
                    .and_then(|round| round.parse::<u64>().ok()),
            );
            assert_eq!(record.size, 10);
            records += 1;
            if records % 500 == 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        assert_eq!(records, 4000);
        assert_eq!(count(&store).await, 4000);
        seen.push(newest);
    }
    stop(writer);
    assert!(
        seen.is_sorted() && seen.first() < seen.last(),
        "the other process wrote all the while: {seen:?}"
    );
    drop(store);
    let check: String = Connection::open(town.path())
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
}

/// Opens the database in WAL mode, writes one record, and stays.
#[test]
fn process_that_stays() {
    let Some(database) = given() else { return };
    let told = told_to_stop();
    let connection = open(&database);
    replace_ten(&connection, 0);
    say("staying");
    told.recv().unwrap();
}

#[tokio::test]
async fn a_writer_that_was_killed_leaves_nothing_that_reading_changes() {
    let town = Town::with("WAL", &many(4000));
    let mut writer = start("process_that_stays", &town);
    until_it_says(&mut writer, "staying");
    let store = town.store();
    assert_eq!(all(&store).await.unwrap().len(), 4000, "while it lives");
    writer.kill().unwrap();
    writer.wait().unwrap();
    let before = town.files();
    assert_eq!(before.len(), 3);
    assert_eq!(all(&store).await.unwrap().len(), 4000, "after it was killed");
    let after = town.store();
    assert!(
        all(&after)
            .await
            .unwrap()
            .iter()
            .any(|record| record.provider_path.ends_with("/0")),
        "its WAL is read"
    );
    drop((store, after));
    assert!(town.files() == before);
}

/// What a writer that crashed leaves to the others: an index that all who have the database open must agree on anew.
#[tokio::test]
async fn an_index_that_others_use_is_rebuilt_with_them() {
    let town = Town::with("WAL", &many(4000));
    let mut other = start("process_that_stays", &town);
    until_it_says(&mut other, "staying");
    let mut index = std::fs::read(town.beside("-shm")).unwrap();
    index[..136].fill(0);
    std::fs::write(town.beside("-shm"), index).unwrap();
    assert_eq!(all(&town.store()).await.unwrap().len(), 4000);
    stop(other);
}

/// Fails unless the database is locked against writing.
#[test]
fn process_that_finds_it_locked() {
    let Some(database) = given() else { return };
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    let error = connection
        .execute("DELETE FROM storage_files", [])
        .expect_err("no lock was held");
    assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
}

/// Closing any handle on a file drops every POSIX lock the process has on it: without the kept handles, the second
/// store would take the first one's lock away.
#[tokio::test]
async fn a_second_look_does_not_unlock_the_first() {
    let town = Town::with("DELETE", &many(20_000));
    let store = town.store();
    let mut scan = store.scan(ScanScope::Under(String::new()));
    scan.next().await.unwrap().unwrap();
    drop(town.store());
    assert_eq!(count(&store).await, 20_000);
    stop(start("process_that_finds_it_locked", &town));
    assert_eq!(
        scan.filter(|record| std::future::ready(record.is_ok()))
            .count()
            .await,
        19_999
    );
}

fn counted() -> Snapshot {
    let key = Key {
        operation: "storage:list".to_owned(),
        provider: String::new(),
        folder: String::new(),
    };
    let mut series = Series::default();
    series.add(Sample {
        failed: false,
        bytes: 0,
        took: Duration::from_millis(1),
    });
    Snapshot::from([(key, series)])
}

/// Asks, and keeps what it has counted.
#[test]
fn process_that_asks() {
    let Some(database) = given() else { return };
    let store = SqliteStore::open(&database).unwrap();
    assert!(store.add_metrics(&counted(), Patience::Asked).unwrap());
}

#[tokio::test]
async fn where_commands_write_questions_do_not_end_each_other() {
    let town = Town::with("WAL", &many(5000));
    drop(SqliteJournal::open(&town.path()).unwrap());
    let store = town.store();
    let mut scan = store.scan(ScanScope::Under(String::new()));
    scan.next().await.unwrap().unwrap();
    for _ in 0..3 {
        stop(start("process_that_asks", &town));
    }
    let rest: Vec<_> = scan.collect().await;
    assert_eq!(rest.len(), 4999);
    assert!(rest.iter().all(Result::is_ok), "{:?}", rest.last());
    assert!(store.add_metrics(&counted(), Patience::Asked).unwrap());
    assert_eq!(store.metrics().await.unwrap().values().next().unwrap().count, 4);
    drop(store);
    assert!(!town.beside("-wal").exists() && !town.beside("-shm").exists());
}

#[tokio::test]
async fn where_no_command_has_written_nothing_is_made_and_nothing_counted() {
    let town = Town::with("WAL", &many(10));
    let before = town.files();
    let store = town.store();
    assert_eq!(count(&store).await, 10);
    assert!(!store.add_metrics(&counted(), Patience::Done).unwrap());
    drop(store);
    assert!(town.files() == before);
}
