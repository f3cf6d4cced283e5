//! The journal on SQLite: the contract, and what only a file that others write too can show.

mod groups;
mod quota;
mod usage;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use rusqlite::Connection;
use serde_json::json;

use super::super::queries::plan_by_original_name;
use super::super::tests::{Town, insert};
use super::migrate::NEWEST;
use super::{SqliteJournal, SqliteStore};
use crate::metadata::contract::Seed;
use crate::metadata::contract::journal::{Journaled, journal_suite};
use crate::metadata::journal::{
    Action, Intended, JournalReader, JournalStore, NewRun, NewStep, Owner, RecordChange, RunQuery,
    Settlement, StepQuery, StepState,
};
use crate::metadata::{FileRecord, MetadataError, MetadataStore};

journal_suite!(journaled);

#[expect(clippy::needless_pass_by_value, reason = "the suite hands its rows over")]
fn journaled(seeds: Vec<Seed>) -> Journaled {
    let (town, civicpress) = running(&seeds);
    Journaled {
        store: Arc::new(SqliteJournal::open(&town.path()).unwrap()),
        _keep: Box::new((civicpress, town)),
    }
}

/// A database that CivicPress has open.
fn running(seeds: &[Seed]) -> (Town, Connection) {
    let town = Town::new();
    let civicpress = town.writer("WAL");
    civicpress.busy_timeout(Duration::from_secs(10)).unwrap();
    insert(&civicpress, seeds);
    (town, civicpress)
}

fn a_run(id: &str) -> NewRun {
    NewRun {
        id: id.to_owned(),
        operation: "storage:test".to_owned(),
        actor: None,
        owner: Owner {
            host: "hall".to_owned(),
            pid: 1,
            process: String::new(),
        },
        request: json!({}),
        now: Utc::now(),
    }
}

fn removal(record: FileRecord) -> NewStep {
    NewStep {
        action: Action::Trash,
        provider: "local".to_owned(),
        key: Some(record.relative_path.clone()),
        to_key: None,
        to_provider: None,
        evidence: None,
        file_id: Some(record.id.clone()),
        before: Some(record.clone()),
        after: None,
        change: Some(RecordChange::Remove {
            expected: Box::new(record),
        }),
        undoes: None,
    }
}

#[tokio::test]
async fn a_reader_that_was_there_first_does_not_keep_the_writer_from_writing() {
    let (town, _civicpress) = running(&[Seed::new(1, "permits", "a.pdf")]);
    let store = town.store();
    assert_eq!(store.count_in_folder("permits").await.unwrap(), 1);
    let journal = SqliteJournal::beside(store.clone()).unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    assert_eq!(store.runs(&RunQuery::newest(9)).await.unwrap().len(), 1);
}

#[test]
fn all_it_makes_is_its_own_and_the_database_keeps_its_wal() {
    let (town, civicpress) = running(&[]);
    let schema = |condition: &str| -> Vec<String> {
        let sql = format!(
            "SELECT name || ': ' || coalesce(sql, '') FROM sqlite_schema WHERE {condition} ORDER BY name"
        );
        let mut statement = civicpress.prepare(&sql).unwrap();
        let found = statement.query_map([], |row| row.get(0)).unwrap();
        found.map(Result::unwrap).collect()
    };
    let before = schema("TRUE");
    let journal = SqliteJournal::open(&town.path()).unwrap();
    assert_eq!(schema("name NOT LIKE '%civic_storage_%'"), before);
    let of_storage_files = schema("tbl_name = 'storage_files' AND name LIKE 'civic_storage_%'");
    assert!(
        of_storage_files.iter().all(|made| made.contains("CREATE INDEX")),
        "{of_storage_files:?}"
    );
    let made = schema("tbl_name LIKE 'civic_storage_%' AND name NOT LIKE 'sqlite_autoindex_%'");
    assert!(made.len() > 7 && made.iter().all(|name| name.starts_with("civic_storage_")));
    drop(journal);
    assert!(town.beside("-wal").exists(), "CivicPress still has it open");
    let again = schema("TRUE");
    SqliteJournal::open(&town.path()).unwrap();
    assert_eq!(schema("TRUE"), again);
}

#[test]
fn a_database_without_a_wal_gets_one() {
    let town = Town::new();
    drop(town.writer("DELETE"));
    let journal = SqliteJournal::open(&town.path()).unwrap();
    let mode: String = Connection::open(town.path())
        .unwrap()
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    drop(journal);
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_its_records_still_read() {
    let (town, civicpress) = running(&[Seed::new(1, "permits", "a.pdf")]);
    drop(SqliteJournal::open(&town.path()).unwrap());
    civicpress
        .execute(
            "INSERT INTO civic_storage_migrations (version, program) VALUES (99, '9.9.9')",
            [],
        )
        .unwrap();
    let refused = SqliteJournal::open(&town.path()).unwrap_err().to_string();
    assert!(refused.contains("99") && refused.contains("9.9.9"), "{refused}");
    let store = town.store();
    assert!(
        store
            .runs(&RunQuery::newest(9))
            .await
            .unwrap_err()
            .to_string()
            .contains("9.9.9")
    );
    assert_eq!(store.count_in_folder("permits").await.unwrap(), 1);
}

#[tokio::test]
async fn where_nothing_was_ever_written_there_is_nothing_to_read() {
    let (town, _civicpress) = running(&[]);
    let store = town.store();
    assert_eq!(store.runs(&RunQuery::newest(9)).await.unwrap(), []);
    assert_eq!(store.run("r1").await.unwrap(), None);
    assert_eq!(store.unfinished_runs().await.unwrap(), []);
    assert_eq!(store.intents().await.unwrap(), []);
    assert_eq!(store.steps(&StepQuery::default()).await.unwrap(), []);
    assert_eq!(store.checksum("x").await.unwrap(), None);
}

#[tokio::test]
async fn a_database_that_stays_locked_is_busy_and_not_waited_for_forever() {
    let (town, civicpress) = running(&[]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    civicpress.execute_batch("BEGIN IMMEDIATE").unwrap();
    let busy = journal.begin_run(&a_run("r1")).await;
    assert!(matches!(busy, Err(MetadataError::Busy { .. })), "{busy:?}");
    civicpress.execute_batch("COMMIT").unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_said_plainly_and_leaves_nothing_half_done() {
    let (town, _civicpress) = running(&[Seed::new(1, "permits", "a.pdf")]);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    let pages = |count: u32| {
        journal.write(move |connection| {
            let sql = format!("PRAGMA max_page_count = {count}");
            Ok(connection.query_row(&sql, [], |row| row.get::<_, u32>(0))?)
        })
    };
    pages(1).await.unwrap();
    let record = journal.get(&Seed::new(1, "", "").id).await.unwrap().unwrap();
    let mut step = removal(record.clone());
    step.key = Some("x".repeat(100_000));
    let full = journal.intend_steps("r1", vec![step], Utc::now()).await;
    let said = full.unwrap_err().to_string();
    assert!(said.contains("no space left"), "{said}");
    assert_eq!(journal.get(&record.id).await.unwrap(), Some(record.clone()));
    assert_eq!(journal.steps(&StepQuery::default()).await.unwrap(), []);
    pages(1_000_000).await.unwrap();
    let steps = vec![removal(record)];
    let written = journal.intend_steps("r1", steps, Utc::now()).await;
    assert_eq!(written.unwrap(), [Intended::Written(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_civicpress_writes_meanwhile_is_all_there() {
    let seeds: Vec<Seed> = (0..60).map(|n| Seed::new(n, "permits", "a.pdf")).collect();
    let (town, civicpress) = running(&seeds);
    let journal = SqliteJournal::open(&town.path()).unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    let uploads = std::thread::spawn(move || {
        for number in 100..250 {
            insert(&civicpress, &[Seed::new(number, "public", "b.pdf")]);
        }
        civicpress
    });
    for seed in &seeds {
        let record = journal.get(&seed.id).await.unwrap().unwrap();
        let steps = vec![removal(record)];
        let answer = journal.intend_steps("r1", steps, Utc::now()).await;
        assert!(matches!(answer.unwrap()[..], [Intended::Written(_)]));
    }
    let _civicpress = uploads.join().unwrap();
    assert_eq!(journal.count_in_folder("permits").await.unwrap(), 0);
    assert_eq!(journal.count_in_folder("public").await.unwrap(), 150);
    assert_eq!(journal.steps(&StepQuery::default()).await.unwrap().len(), 60);
}

#[test]
fn new_files_beside_the_database_belong_to_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let town = Town::with("WAL", &[]);
    chown(town.path(), Some(12_345), Some(23_456)).unwrap();
    fs::set_permissions(town.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let journal = SqliteJournal::open(&town.path()).unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let file = fs::metadata(town.beside(suffix)).unwrap();
        assert_eq!(
            (file.uid(), file.gid(), file.mode() & 0o777),
            (12_345, 23_456, 0o640),
            "{suffix}"
        );
    }
    drop(journal);
}

#[tokio::test]
async fn columns_that_only_a_later_civicpress_knows_come_back_with_their_row() {
    let (town, civicpress) = running(&[Seed::new(1, "permits", "a.pdf")]);
    civicpress
        .execute_batch(
            "ALTER TABLE storage_files ADD COLUMN \"re\"\"tention's\" TEXT;
             ALTER TABLE storage_files ADD COLUMN pages INTEGER;
             UPDATE storage_files SET \"re\"\"tention's\" = 'für immer', pages = 7;",
        )
        .unwrap();
    let row = || -> (String, i64) {
        let sql = "SELECT \"re\"\"tention's\", pages FROM storage_files";
        civicpress
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let before = row();
    let journal = SqliteJournal::open(&town.path()).unwrap();
    journal.begin_run(&a_run("r1")).await.unwrap();
    let record = journal.get(&Seed::new(1, "", "").id).await.unwrap().unwrap();
    let steps = vec![removal(record.clone())];
    journal.intend_steps("r1", steps, Utc::now()).await.unwrap();
    assert_eq!(journal.get(&record.id).await.unwrap(), None);
    let back = Settlement {
        number: 1,
        state: StepState::Failed,
        error: None,
        change: Some(RecordChange::Insert {
            record: Box::new(record),
        }),
    };
    assert_eq!(
        journal.settle_steps("r1", &[back], Utc::now()).await.unwrap(),
        [true]
    );
    assert_eq!(row(), before);
}

/// Names the database to the process that [`child`] starts.
const DATABASE: &str = "CIVIC_TEST_JOURNAL";

/// Does in a process of its own what the tests below ask: opens the journal, and takes every record away. Nothing where
/// nobody asks.
#[tokio::test]
async fn as_another_process() {
    let Some(database) = std::env::var_os(DATABASE) else {
        return;
    };
    let journal = SqliteJournal::open(Path::new(&database)).unwrap_or_else(|error| panic!("{error}"));
    let run = a_run(&format!("r{}", std::process::id()));
    journal.begin_run(&run).await.unwrap();
    for number in 0..9 {
        if let Some(record) = journal.get(&Seed::new(number, "", "").id).await.unwrap() {
            let steps = vec![removal(record)];
            journal.intend_steps(&run.id, steps, Utc::now()).await.unwrap();
        }
    }
}

fn child(town: &Town) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let this = "metadata::sqlite::journal::tests::as_another_process";
    command
        .args(["--exact", this, "--nocapture"])
        .env(DATABASE, town.path());
    command
}

fn died(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[tokio::test]
async fn processes_that_migrate_at_the_same_time_make_the_tables_once() {
    let town = Town::with("WAL", &[]);
    let mut children: Vec<_> = (0..6).map(|_| child(&town).spawn().unwrap()).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let journal = SqliteJournal::open(&town.path()).unwrap();
    assert_eq!(journal.runs(&RunQuery::newest(99)).await.unwrap().len(), 6);
    let migrations: u32 = Connection::open(town.path())
        .unwrap()
        .query_row("SELECT count(*) FROM civic_storage_migrations", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(migrations, NEWEST);
}

/// Asked of a connection that has seen nothing before: explaining does not look whether the schema has changed.
fn plan(town: &Town) -> String {
    plan_by_original_name(&Connection::open(town.path()).unwrap()).join("; ")
}

#[tokio::test]
async fn a_file_is_found_by_its_name_without_a_look_at_the_others() {
    let seeds = |numbers: std::ops::Range<u64>| -> Vec<Seed> {
        numbers
            .map(|number| Seed::new(number, "permits", "a.pdf"))
            .collect()
    };
    let (town, civicpress) = running(&seeds(0..50));
    let plan = || plan(&town);
    assert!(plan().contains("SCAN"), "nothing was made yet: {}", plan());
    let journal = SqliteJournal::open(&town.path()).unwrap();
    assert!(
        plan().contains("SEARCH") && plan().contains("civic_storage_files_named") && !plan().contains("SCAN"),
        "{}",
        plan()
    );
    // What CivicPress writes is in it, too.
    insert(&civicpress, &seeds(50..60));
    let name = journal
        .get(&Seed::new(55, "permits", "a.pdf").id)
        .await
        .unwrap()
        .unwrap();
    let found = journal
        .find_by_original_name("permits", &name.original_name)
        .await
        .unwrap();
    assert!(found.iter().any(|record| record.id == name.id), "{found:?}");
    let none = journal
        .find_by_original_name("permits", &name.stored_filename)
        .await
        .unwrap();
    assert!(none.is_empty(), "{none:?}");
}

#[tokio::test]
async fn a_database_of_an_earlier_version_gets_what_it_lacks() {
    let (town, civicpress) = running(&[]);
    SqliteJournal::open(&town.path()).unwrap();
    civicpress
        .execute_batch(
            "DROP INDEX civic_storage_files_named; DROP TABLE civic_storage_notes; DROP TABLE civic_storage_warnings;
             DROP INDEX civic_storage_steps_held; ALTER TABLE civic_storage_steps DROP COLUMN held_bytes;
             ALTER TABLE civic_storage_steps DROP COLUMN held_folder;
             DROP TABLE civic_storage_generation; DROP TABLE civic_storage_reports;
             DROP TABLE civic_storage_copies; DROP TABLE civic_storage_metrics; DROP TABLE civic_storage_part_sums;
             ALTER TABLE civic_storage_steps DROP COLUMN to_provider;
             DELETE FROM civic_storage_migrations WHERE version > 1",
        )
        .unwrap();
    let runs = town.store().runs(&RunQuery::newest(9)).await.unwrap();
    assert_eq!(runs, [], "it is read as it is");
    let steps = town.store().steps(&StepQuery::default()).await.unwrap();
    assert_eq!(steps, []);
    SqliteJournal::open(&town.path()).unwrap();
    let plan = plan(&town);
    assert!(plan.contains("civic_storage_files_named"), "{plan}");
}

#[tokio::test]
async fn a_process_that_dies_in_a_transaction_leaves_nothing_of_it() {
    // The second visit writes the first step down: the first has begun the run.
    for (point, steps) in [("journal.before-commit:2", 0), ("journal.after-commit:2", 1)] {
        let town = Town::with("WAL", &[Seed::new(1, "permits", "a.pdf")]);
        let status = child(&town).env("CIVIC_FAILPOINT", point).status().unwrap();
        assert!(died(status), "{point}: {status}");
        let journal = SqliteJournal::open(&town.path()).unwrap();
        assert_eq!(journal.runs(&RunQuery::newest(9)).await.unwrap().len(), 1);
        assert_eq!(journal.steps(&StepQuery::default()).await.unwrap().len(), steps);
        let left = journal.count_in_folder("permits").await.unwrap();
        assert_eq!(left, 1 - steps as u64, "{point}");
    }
}

/// The error of a process that may read and not write.
fn refusal(town: &Town, directory: u32, file: u32) -> String {
    let dir = town.path().parent().unwrap().to_owned();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&town.path(), file);
    set(&dir, directory);
    let output = child(town).uid(65_534).gid(65_534).output().unwrap();
    set(&dir, 0o755);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_database_that_may_not_be_written_to_is_said_to_be_so() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (directory, file) in [(0o755, 0o644), (0o777, 0o644), (0o755, 0o666)] {
        for in_use in [false, true] {
            let (town, civicpress) = running(&[]);
            let _kept = in_use.then_some(civicpress);
            let said = refusal(&town, directory, file);
            let plain = said.contains("may not write to it") || said.contains("may not be written to");
            assert!(plain, "{directory:o} {file:o} {in_use}: {said}");
            let store: SqliteStore = town.store();
            drop(store);
        }
    }
}
