//! Counting from the indexes that a command which writes has made, and reports that are kept.

use chrono::{TimeDelta, Utc};
use rusqlite::Connection;

use super::super::super::tests::{Town, insert};
use super::super::super::usage::plans;
use super::super::SqliteJournal;
use super::{a_run, running};
use crate::metadata::contract::{Seed, Seeded, contract_suite, id};
use crate::metadata::journal::{JournalReader, JournalStore};
use crate::metadata::{MetadataStore, NewReport, ProviderRoots, UsageDimension, UsageRow};

// Everything is answered in the same way where the indexes are there.
contract_suite!(indexed);

#[expect(clippy::needless_pass_by_value, reason = "the suite hands its rows over")]
fn indexed(seeds: Vec<Seed>) -> Seeded {
    let (town, civicpress) = running(&seeds);
    Seeded {
        store: std::sync::Arc::new(SqliteJournal::open(&town.path()).unwrap()),
        _keep: Box::new((civicpress, town)),
    }
}

fn providers() -> Vec<ProviderRoots> {
    let of = |provider: &str, roots: &[&str]| ProviderRoots {
        provider: provider.to_owned(),
        roots: roots.iter().map(|root| (*root).to_owned()).collect(),
    };
    vec![
        of("outer", &["/srv/", "s3://town/"]),
        of("inner", &["/srv/permits/", "/srv/é/"]),
        of("deep", &["/srv/permits/deep/"]),
    ]
}

type Counted = (Vec<UsageRow>, Vec<Vec<(String, u64, u64)>>);

async fn counted(store: &dyn MetadataStore) -> Counted {
    let mut by = Vec::new();
    for dimension in [
        UsageDimension::Type,
        UsageDimension::Month,
        UsageDimension::Uploader,
    ] {
        for folder in [None, Some("permits"), Some("nothing")] {
            by.push(store.usage_by(dimension, folder).await.unwrap());
        }
    }
    (store.usage(&providers()).await.unwrap(), by)
}

/// Rows whose paths, names, times and sizes are as odd as SQLite lets them be.
fn odd() -> Vec<Seed> {
    let paths = [
        "/srv/permits/deep/x",
        "/srv/permits/x",
        "/srv/permitsx",
        "/srv/é/x_é",
        "s3://town/",
        "s3://townhall/x",
        "",
        "x",
    ];
    let names = ["x", "deep/x", "x_é", "", "/x", "permits/x", "y"];
    let times = [
        None,
        Some("2026-01-31 23:59:60"),
        Some("2026-01-31T23:30:00-02:00"),
        Some("2026-13-01 00:00:00"),
        Some("2026-02-30 10:00:00"),
        Some("2026-02-28 10:00:00"),
        Some("2026-02-28 10:59:59"),
        Some("1767225600000"),
    ];
    let mut seeds = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        for (and, name) in names.iter().enumerate() {
            let number = (at * names.len() + and) as u64;
            seeds.push(Seed {
                provider_path: (*path).to_owned(),
                stored_filename: (*name).to_owned(),
                size: i64::try_from(number * 1000).unwrap() - 5,
                created_at: times[(at + and) % times.len()],
                uploaded_by: [None, Some("clerk"), Some("Clerk")][and % 3],
                mime_type: ["text/plain", "TEXT/PLAIN", ""][at % 3],
                ..Seed::new(number, ["permits", "Permits", ""][(at + and) % 3], name)
            });
        }
    }
    seeds
}

#[tokio::test]
async fn the_indexes_change_no_answer() {
    for change in [
        "SELECT 1",
        "UPDATE storage_files SET size = 9223372036854775807",
        "UPDATE storage_files SET size = 7 WHERE size < 0",
        "UPDATE storage_files SET folder = CAST(x'ff' AS TEXT), mime_type = x'00ff', uploaded_by = 5",
        "UPDATE storage_files SET stored_filename = x'78', provider_path = x'2f7372762f7065726d6974732f78'",
        "UPDATE storage_files SET provider_path = '/srv/permits/deep/' || char(0) || '/x'",
        "UPDATE storage_files SET folder = 'permits', provider_path = '/srv/permits/' || stored_filename",
    ] {
        let (town, civicpress) = running(&odd());
        civicpress.execute_batch(change).unwrap();
        let before = counted(&town.store()).await;
        let journal = SqliteJournal::open(&town.path()).unwrap();
        assert_eq!(counted(&journal).await, before, "{change}");
        // And what is written beside the indexes is in them.
        civicpress
            .execute_batch("UPDATE storage_files SET size = size / 2 + 1")
            .unwrap();
        let rows = journal.usage(&[]).await.unwrap();
        let files: u64 = rows.iter().map(|row| row.files).sum();
        assert_eq!(files, odd().len() as u64, "{change}");
    }
}

#[tokio::test]
async fn a_size_that_is_none_is_named_whatever_is_counted() {
    let (town, civicpress) = running(&[Seed::new(1, "permits", "a"), Seed::new(2, "permits", "b")]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    let update = "UPDATE storage_files SET size = 1.5 WHERE id = ?1";
    civicpress.execute(update, [id(2)]).unwrap();
    let mut errors = vec![journal.usage(&[]).await.unwrap_err().to_string()];
    for dimension in [
        UsageDimension::Type,
        UsageDimension::Month,
        UsageDimension::Uploader,
    ] {
        errors.push(journal.usage_by(dimension, None).await.unwrap_err().to_string());
    }
    for error in errors {
        assert!(
            error.contains(&id(2)) && error.contains("its size is a fraction"),
            "{error}"
        );
    }
}

#[test]
fn sums_are_read_from_the_indexes() {
    let (town, _civicpress) = running(&[]);
    let plan = || plans(&Connection::open(town.path()).unwrap());
    assert!(
        plan().iter().all(|plan| !plan.contains("INDEX civic")),
        "{:?}",
        plan()
    );
    SqliteJournal::open(&town.path()).unwrap();
    for plan in plan() {
        // SQLite calls no index covering that has an expression, and reads no row for it all the same.
        let indexed = plan.contains("INDEX civic_storage_files_places")
            || plan.contains("COVERING INDEX civic_storage_files_kinds");
        assert!(indexed && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

fn report(mark: crate::metadata::Mark) -> NewReport {
    NewReport {
        request: "how much".to_owned(),
        mark,
        made_at: Utc::now(),
        good_since: Utc::now() - TimeDelta::minutes(5),
        text: "that much".to_owned(),
    }
}

async fn is_kept(store: &dyn JournalReader) -> bool {
    store.kept_report("how much").await.unwrap().report.is_some()
}

async fn keep(store: &dyn JournalReader) {
    let mark = store.kept_report("how much").await.unwrap().mark.unwrap();
    assert!(store.keep_report(&report(mark)).await.unwrap());
    assert!(is_kept(store).await);
}

#[tokio::test]
async fn a_report_is_kept_until_anything_of_ours_is_written_or_a_row_is_added() {
    let (town, civicpress) = running(&[Seed::new(1, "permits", "a")]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    let store = town.store();
    assert!(!is_kept(&store).await);
    keep(&store).await;
    assert!(
        store.kept_report("how many").await.unwrap().report.is_none(),
        "another question"
    );
    journal.begin_run(&a_run("r1")).await.unwrap();
    assert!(!is_kept(&store).await, "a run was begun");
    keep(&store).await;
    insert(&civicpress, &[Seed::new(2, "permits", "b")]);
    assert!(!is_kept(&store).await, "CivicPress has a new file");
    keep(&store).await;
    let replace = "INSERT OR REPLACE INTO storage_files SELECT * FROM storage_files WHERE id = ?1";
    civicpress.execute(replace, [id(1)]).unwrap();
    assert!(!is_kept(&store).await, "CivicPress has restored one");
}

#[tokio::test]
async fn a_report_that_was_overtaken_while_it_was_made_is_never_given_again() {
    let (town, _civicpress) = running(&[]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    let store = town.store();
    let mark = store.kept_report("how much").await.unwrap().mark.unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    store.keep_report(&report(mark)).await.unwrap();
    assert!(!is_kept(&store).await);
}

#[tokio::test]
async fn nothing_is_kept_where_no_command_has_written_and_nobody_is_waited_for() {
    let (town, civicpress) = running(&[]);
    let store = town.store();
    assert_eq!(store.kept_report("how much").await.unwrap().mark, None);
    SqliteJournal::open(&town.path()).unwrap();
    let mark = store.kept_report("how much").await.unwrap().mark.unwrap();
    civicpress.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = std::time::Instant::now();
    assert!(!matches!(store.keep_report(&report(mark)).await, Ok(true)));
    assert!(begun.elapsed() < std::time::Duration::from_secs(3));
    civicpress.execute_batch("ROLLBACK").unwrap();
    keep(&store).await;
}

#[tokio::test]
async fn a_database_at_rest_stays_one_file() {
    let town = Town::with("WAL", &[]);
    drop(SqliteJournal::open(&town.path()).unwrap());
    let store = town.store();
    keep(&store).await;
    drop(store);
    assert!(!town.beside("-wal").exists() && !town.beside("-shm").exists());
}
