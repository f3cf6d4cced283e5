//! Every way a database can stand, and nothing about it different afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use futures::StreamExt;
use rusqlite::Connection;

use super::super::situation::Situation;
use super::{Town, all, count, insert, many};
use crate::metadata::contract::Seed;
use crate::metadata::{MetadataError, MetadataStore, ScanScope};

/// `-wal` and `-shm` as a killed program leaves them, some records in the WAL only.
fn left_behind() -> Town {
    let live = Town::with("WAL", &many(10));
    let writer = live.writer("WAL");
    insert(&writer, &[Seed::new(100, "permits", "only in the WAL")]);
    let town = Town::new();
    for suffix in ["", "-wal", "-shm"] {
        fs::copy(live.beside(suffix), town.beside(suffix)).unwrap();
    }
    town
}

async fn reads_without_a_trace(town: &Town, records: u64) {
    fs::set_permissions(town.dir.path(), Permissions::from_mode(0o555)).unwrap();
    let before = town.files();
    {
        let store = town.store();
        assert_eq!(all(&store).await.unwrap().len() as u64, records);
        assert_eq!(count(&store).await, records);
        assert!(town.files() == before, "while it is open");
    }
    assert!(town.files() == before, "after it was closed");
    fs::set_permissions(town.dir.path(), Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_database_at_rest_gets_no_files_beside_it() {
    let town = Town::with("WAL", &many(10));
    assert!(matches!(
        Situation::observe(&town.path()),
        Ok(Situation::AtRest(_))
    ));
    reads_without_a_trace(&town, 10).await;
}

#[tokio::test]
async fn an_empty_wal_is_as_good_as_none() {
    let town = Town::with("WAL", &many(10));
    fs::write(town.beside("-wal"), "").unwrap();
    assert!(matches!(
        Situation::observe(&town.path()),
        Ok(Situation::AtRest(_))
    ));
    reads_without_a_trace(&town, 10).await;
}

#[tokio::test]
async fn a_wal_and_its_index_left_behind_stay_as_they_are() {
    let town = left_behind();
    assert!(matches!(
        Situation::observe(&town.path()),
        Ok(Situation::Shared(_))
    ));
    reads_without_a_trace(&town, 11).await;
}

#[tokio::test]
async fn an_index_that_is_rubbish_is_neither_believed_nor_mended() {
    let town = left_behind();
    fs::write(town.beside("-shm"), vec![0xA5; 32768]).unwrap();
    reads_without_a_trace(&town, 11).await;
}

#[tokio::test]
async fn a_wal_without_its_index_is_read_from_a_copy() {
    let town = left_behind();
    fs::remove_file(town.beside("-shm")).unwrap();
    assert!(matches!(
        Situation::observe(&town.path()),
        Ok(Situation::Unindexed { .. })
    ));
    reads_without_a_trace(&town, 11).await;
}

/// What a kill leaves in the middle of the first write since everybody had closed the database.
#[tokio::test]
async fn a_wal_that_ends_with_its_header_is_read_at_once() {
    let town = left_behind();
    let wal = fs::read(town.beside("-wal")).unwrap();
    fs::write(town.beside("-wal"), &wal[..32]).unwrap();
    fs::write(town.beside("-shm"), vec![0; 32768]).unwrap();
    assert_eq!(count(&town.store()).await, 10);
    insert(&town.writer("WAL"), &[Seed::new(101, "permits", "new")]);
    reads_without_a_trace(&town, 11).await;
}

#[tokio::test]
async fn a_rollback_database_is_read_as_it_is() {
    let town = Town::with("DELETE", &many(10));
    assert!(matches!(
        Situation::observe(&town.path()),
        Ok(Situation::Rollback(_))
    ));
    reads_without_a_trace(&town, 10).await;
}

#[tokio::test]
async fn what_was_written_at_rest_is_seen_by_the_next_question() {
    let town = Town::with("WAL", &many(10));
    let store = town.store();
    assert_eq!(count(&store).await, 10);
    insert(&town.writer("WAL"), &[Seed::new(100, "permits", "new")]);
    assert_eq!(count(&store).await, 11, "written and closed again");
    let writer = town.writer("WAL");
    insert(&writer, &[Seed::new(101, "permits", "new")]);
    assert_eq!(count(&store).await, 12, "in the WAL of a program that goes on");
    insert(&writer, &[Seed::new(102, "permits", "new")]);
    assert_eq!(count(&store).await, 13);
}

#[tokio::test]
async fn another_file_put_in_its_place_is_seen_by_the_next_question() {
    for mode in ["WAL", "DELETE"] {
        let town = Town::with(mode, &many(10));
        let store = town.store();
        assert_eq!(count(&store).await, 10);
        let restored = Town::with(mode, &many(7));
        fs::rename(restored.path(), town.path()).unwrap();
        assert_eq!(count(&store).await, 7);
    }
}

#[tokio::test]
async fn a_scan_without_locks_ends_with_an_error_where_somebody_wrote() {
    let town = Town::with("WAL", &many(5000));
    let store = town.store();
    let mut scan = store.scan(ScanScope::Under(String::new()));
    scan.next().await.unwrap().unwrap();
    insert(&town.writer("WAL"), &[Seed::new(9999, "permits", "new")]);
    let rest: Vec<_> = scan.collect().await;
    assert!(matches!(rest.last(), Some(Err(MetadataError::Changed { .. }))));
    assert!(rest.len() < 5000);
    assert_eq!(all(&store).await.unwrap().len(), 5001, "the next one sees all");
}

#[tokio::test]
async fn a_scan_that_nobody_reads_any_more_lets_go_of_its_lock() {
    let town = Town::with("DELETE", &many(20_000));
    let store = town.store();
    let mut scan = store.scan(ScanScope::Under(String::new()));
    scan.next().await.unwrap().unwrap();
    let writer = Connection::open(town.path()).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    let write = || writer.execute("DELETE FROM storage_files WHERE size = 1", []);
    write().expect_err("the scan holds its snapshot");
    drop(scan);
    let patience = Instant::now() + Duration::from_secs(10);
    while write().is_err() {
        assert!(Instant::now() < patience, "the lock is still held");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_question_nobody_waits_for_is_stopped() {
    let town = Town::with("DELETE", &many(2));
    let store = town.store();
    let cancelled = super::super::cancel::Cancel::default();
    drop(cancelled.on_drop());
    let mut asked = false;
    let answer = cancelled.watch(&Connection::open_in_memory().unwrap(), || asked = true);
    assert!(answer.is_none() && !asked);
    assert_eq!(count(&store).await, 2);
}
