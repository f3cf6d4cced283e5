//! Calls that wait become one commit, up to a bound, and none takes anything of another with it.

use std::fs;
use std::time::Duration;

use chrono::Utc;
use rusqlite::Connection;
use serde_json::json;

use super::super::super::tests::Town;
use super::super::SqliteJournal;
use super::{a_run, removal, running};
use crate::metadata::contract::Seed;
use crate::metadata::journal::{Intended, JournalReader, JournalStore, NewRun, NewStep, RunQuery, RunStatus};
use crate::metadata::{MetadataError, MetadataStore};

/// Transactions in the WAL: frames that end one carry the size of the database.
/// (Source: "SQLite Database File Format", section 4.1.)
fn commits(town: &Town) -> usize {
    let wal = fs::read(town.beside("-wal")).unwrap();
    let page = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    let frames = wal[32..].chunks_exact(24 + page);
    frames
        .filter(|frame| frame[4..8] != [0; 4] && frame[8..16] == wal[16..24])
        .count()
}

async fn after_a_wait(civicpress: &Connection) {
    tokio::time::sleep(Duration::from_millis(200)).await;
    civicpress.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_the_same_lock_become_one_commit() {
    let (town, civicpress) = running(&[]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    let before = commits(&town);
    civicpress.execute_batch("BEGIN IMMEDIATE").unwrap();
    let runs: Vec<NewRun> = (0..50).map(|number| a_run(&format!("r{number}"))).collect();
    let begun = futures::future::join_all(runs.iter().map(|run| journal.begin_run(run)));
    let (begun, ()) = tokio::join!(begun, after_a_wait(&civicpress));
    assert!(begun.iter().all(Result::is_ok), "{begun:?}");
    assert_eq!(journal.runs(&RunQuery::newest(99)).await.unwrap().len(), 50);
    let commits = commits(&town) - before;
    assert!((1..=2).contains(&commits), "{commits} commits for 50 calls");
}

#[tokio::test]
async fn a_call_that_fails_takes_nothing_of_its_group_with_it() {
    let (town, civicpress) = running(&[]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    civicpress.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (first, second) = (a_run("first"), a_run("second"));
    let none = json!({});
    let (one, failed, two, ()) = tokio::join!(
        journal.begin_run(&first),
        journal.finish_run("nobody's", RunStatus::Done, &none, Utc::now()),
        journal.begin_run(&second),
        after_a_wait(&civicpress),
    );
    assert!(one.is_ok() && two.is_ok());
    assert!(matches!(failed, Err(MetadataError::Fenced { .. })));
    assert_eq!(journal.runs(&RunQuery::newest(9)).await.unwrap().len(), 2);
}

/// Whoever else writes to the database, and a provider that waits for its batch, need not wait for all the others, too.
#[tokio::test]
async fn many_rows_are_several_commits() {
    let (town, civicpress) = running(&[Seed::new(1, "permits", "a.pdf")]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    let record = journal.get(&Seed::new(1, "", "").id).await.unwrap().unwrap();
    let step = NewStep {
        file_id: None,
        before: None,
        change: None,
        ..removal(record)
    };
    let before = commits(&town);
    civicpress.execute_batch("BEGIN IMMEDIATE").unwrap();
    let calls = (0..6).map(|_| journal.intend_steps("r1", vec![step.clone(); 1_100], Utc::now()));
    let (intended, ()) = tokio::join!(futures::future::join_all(calls), after_a_wait(&civicpress));
    let numbers = intended.into_iter().flat_map(Result::unwrap);
    assert!(numbers.eq((1..=6_600).map(Intended::Written)));
    assert_eq!(commits(&town) - before, 3, "two calls in each");
}
