//! Deleting files and taking it back: rows and bytes as before, whoever crashes, and nothing done that nobody agreed to.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use rusqlite::types::Value as Sql;

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, key, uuid};

/// Every file below the storage root but what the program keeps for itself, with its bytes.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if name.starts_with(".civic") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                found.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Every row, column by column.
pub fn rows(db: &rusqlite::Connection) -> Vec<Vec<Sql>> {
    let mut statement = db.prepare("SELECT * FROM storage_files ORDER BY id").unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

pub fn run_id(run: &Run) -> String {
    let json = run.json();
    let id = json["data"]["runId"]
        .as_str()
        .unwrap_or_else(|| panic!("no run in {json}"));
    id.to_owned()
}

/// Files 1 to `count` with their records, each of other bytes.
pub fn deployment(count: u32) -> Deployment {
    let town = Deployment::new();
    for n in 1..=count {
        town.old_file(&key("permits", n));
        fs::write(town.storage().join(key("permits", n)), format!("bytes of {n}")).unwrap();
        fs::write(town.storage().join(key("permits", n) + ".meta.json"), "{}").unwrap();
        town.local_record(n, &key("permits", n));
    }
    town
}

pub fn state(town: &Deployment) -> (BTreeMap<String, Vec<u8>>, Vec<Vec<Sql>>) {
    (files(&town.storage()), rows(town.db()))
}

/// No record without its bytes, no bytes without a record, nothing in the trash that could be taken for a sidecar.
fn assert_consistent(town: &Deployment) {
    let found = files(&town.storage());
    let objects: Vec<&String> = found
        .keys()
        .filter(|name| !name.starts_with(".trash/") && !name.contains(".meta."))
        .collect();
    let mut statement = town
        .db()
        .prepare("SELECT relative_path FROM storage_files ORDER BY 1")
        .unwrap();
    let recorded: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(objects, recorded.iter().collect::<Vec<_>>());
    assert!(
        !found
            .keys()
            .any(|name| name.starts_with(".trash/") && name.contains(".meta.json")),
        "{found:?}"
    );
}

#[test]
fn a_deleted_file_leaves_with_its_sidecar_and_undo_brings_back_every_byte_and_column() {
    let env = TestEnv::fixture();
    let (before, rows_before) = (files(&env.storage()), rows(&env.sql()));
    let ids: Vec<String> = env
        .sql()
        .prepare("SELECT id FROM storage_files ORDER BY id LIMIT 40")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let deleted = Run::of(
        &env,
        ["storage:delete", "--yes", "--json"]
            .into_iter()
            .chain(ids.iter().map(String::as_str)),
    );
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert_eq!(deleted.json()["data"]["successfulCount"], 40);
    assert_eq!(rows(&env.sql()).len(), rows_before.len() - 40);
    let left = files(&env.storage());
    assert!(
        left.keys().any(|name| name.ends_with(".meta.trash")),
        "{:?}",
        left.keys()
    );
    assert!(
        !left
            .keys()
            .any(|name| name.starts_with(".trash/") && name.contains(".meta.json"))
    );
    let undone = Run::of(&env, ["storage:undo", "--yes", "--json", &run_id(&deleted)]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(undone.json()["data"]["successfulCount"], 40);
    assert_eq!(files(&env.storage()), before);
    assert_eq!(rows(&env.sql()), rows_before);
    let again = Run::of(&env, ["storage:undo", "--yes", "--json", &run_id(&deleted)]);
    assert_eq!(
        (again.code, &again.json()["data"]["total"]),
        (0, &0.into()),
        "{again:?}"
    );
    assert_eq!(files(&env.storage()), before);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let town = deployment(2);
    let before = state(&town);
    let tree = town.env().tree();
    let run = town.civic(&["storage:delete", "--dry-run", "--json", &uuid(1), &uuid(9)]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.items("successful", "id"), [uuid(1)]);
    assert_eq!(run.json()["data"]["dryRun"], true);
    assert_eq!(state(&town), before);
    tree.assert_unchanged(&town.env().tree());
}

#[test]
fn without_a_terminal_nothing_is_deleted_unless_told_yes() {
    let town = deployment(1);
    let before = state(&town);
    for args in [
        vec!["storage:delete", "x"],
        vec!["storage:undo", "x"],
        vec!["storage:trash", "empty"],
        vec!["storage:trash", "restore", "x"],
    ] {
        let run = town.civic(&args);
        assert_eq!(run.code, 8, "{run:?}");
        assert!(run.stderr.contains("--yes"), "{run:?}");
    }
    assert_eq!(state(&town), before);
}

#[test]
fn one_that_cannot_be_deleted_does_not_stop_the_others() {
    let town = deployment(3);
    town.record(
        7,
        "s3://elsewhere",
        &key("permits", 7),
        (1, crate::common::deployment::days(30)),
    );
    let run = town.civic(&[
        "storage:delete",
        "--yes",
        "--json",
        &uuid(1),
        &uuid(9),
        &uuid(7),
        &uuid(2),
    ]);
    assert_eq!(run.code, 3, "{run:?}");
    let data = &run.json()["data"];
    assert_eq!((&data["total"], &data["failedCount"]), (&4.into(), &2.into()));
    assert_eq!(run.items("failed", "file"), [uuid(7), uuid(9)]);
    assert_eq!(data["errorSummary"]["byType"]["STORAGE_FILE_NOT_FOUND"], 1);
    assert_eq!(rows(town.db()).len(), 2, "the unmapped record is kept");
}

#[test]
fn a_name_of_two_files_is_an_error_that_lists_their_ids() {
    let town = deployment(2);
    town.db()
        .execute("UPDATE storage_files SET original_name = 'plan.pdf'", [])
        .unwrap();
    let args = [
        "storage:delete",
        "--yes",
        "--json",
        "--folder",
        "permits",
        "--file",
        "plan.pdf",
    ];
    let run = town.civic(&args);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout.contains(&uuid(1)) && run.stdout.contains(&uuid(2)),
        "{run:?}"
    );
    assert_eq!(rows(town.db()).len(), 2);
    town.db()
        .execute(
            "UPDATE storage_files SET original_name = 'other' WHERE id = ?1",
            [uuid(2)],
        )
        .unwrap();
    let run = town.civic(&args);
    assert_eq!((run.code, run.items("successful", "id")), (0, vec![uuid(1)]));
}

#[test]
fn ids_come_from_a_list_on_stdin() {
    let town = deployment(3);
    let mut process = town.process();
    process.args(["storage:delete", "--yes", "--json", "--from-list", "-"]);
    let mut child = process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    write!(child.stdin.take().unwrap(), "{}\n\n  {}\n", uuid(1), uuid(3)).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let left: Vec<String> = rows(town.db())
        .iter()
        .map(|row| format!("{:?}", row[0]))
        .collect();
    assert_eq!(left, [format!("{:?}", Sql::Text(uuid(2)))]);
    assert_consistent(&town);
}

#[test]
fn a_local_file_really_goes_while_s3_is_active() {
    let town = deployment(2);
    let s3 = Deployment::s3("http://127.0.0.1:1", "bucket", "town");
    town.providers(&format!(
        "{s3}\n  local: {{ type: local, path: {} }}",
        town.storage().display()
    ));
    let run = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!town.storage().join(key("permits", 1)).exists());
    assert_consistent(&town);
}

#[test]
fn a_provider_that_refuses_or_has_no_root_keeps_its_records() {
    let town = deployment(1);
    let away = town.env().tmp().join("away");
    let before = rows(town.db());
    fs::rename(town.storage(), &away).unwrap();
    let run = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(rows(town.db()), before);
}

#[test]
fn what_a_silent_provider_has_is_a_pending_deletion() {
    let town = Deployment::new();
    town.providers(&Deployment::s3("http://127.0.0.1:1", "bucket", "town"));
    town.record(
        1,
        "s3://bucket/town",
        &key("permits", 1),
        (1, crate::common::deployment::days(30)),
    );
    let look = town.civic(&["storage:delete", "--dry-run", "--json", &uuid(1)]);
    assert_eq!((look.code, rows(town.db()).len()), (5, 1), "{look:?}");
    let run = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    assert_eq!(run.code, 5, "{run:?}");
    let failed = &run.json()["data"]["failed"][0];
    assert_eq!(failed["errorCode"], "STORAGE_PROVIDER_UNAVAILABLE");
    assert!(
        failed["error"]
            .as_str()
            .unwrap()
            .contains("the next run that changes something"),
        "{failed}"
    );
    assert_eq!(rows(town.db()).len(), 0);
    let steps = town.civic(&[
        "storage:runs",
        run.json()["data"]["runId"].as_str().unwrap(),
        "--json",
    ]);
    assert_eq!(
        steps.json()["data"]["steps"][0]["state"],
        "intended",
        "{}",
        steps.stdout
    );
    // An undo says what it waits for, and what to do where that will never come by itself.
    let id = run_id(&run);
    let undo = || town.civic(&["storage:undo", "--yes", "--json", &id]);
    let told = undo();
    assert!(told.stdout.contains("once its provider answers"), "{told:?}");
    let local = format!("  local: {{ type: local, path: {} }}", town.storage().display());
    town.providers(&local);
    let told = undo();
    assert_eq!((told.code, rows(town.db()).len()), (1, 0), "{told:?}");
    let error = told.json()["data"]["failed"][0]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("storage.yml has no provider s3"), "{error}");
    assert!(error.contains("once storage.yml has s3 again"), "{error}");
}

#[test]
fn purged_is_gone_for_good_and_undo_says_so() {
    let town = deployment(2);
    let run = town.civic(&["storage:delete", "--yes", "--purge", "--json", &uuid(1)]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(files(&town.storage()).keys().all(|name| !name.contains(&uuid(1))));
    assert_consistent(&town);
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run_id(&run)]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("deleted for good"), "{undone:?}");
}

#[test]
fn what_is_in_use_again_or_has_no_folder_is_told_and_not_overwritten() {
    let town = deployment(4);
    let ids = [1, 2, 3, 4].map(uuid);
    let args: Vec<&str> = ["storage:delete", "--yes", "--json"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let run = run_id(&town.civic(&args));
    fs::write(town.storage().join(key("permits", 1)), "of another").unwrap();
    town.local_record(2, &key("public", 2));
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(undone.code, 3, "{undone:?}");
    assert_eq!(undone.items("failed", "file"), [uuid(1), uuid(2)]);
    assert_eq!(
        fs::read(town.storage().join(key("permits", 1))).unwrap(),
        b"of another"
    );
    assert_eq!(rows(town.db()).len(), 3);

    let run = run_id(&town.civic(&["storage:delete", "--yes", "--json", &uuid(3)]));
    town.env()
        .edit_config(|yaml| yaml.replace("  permits:", "  renamed:"));
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("no folder permits"), "{undone:?}");
}

#[test]
fn two_processes_that_delete_the_same_files_delete_each_once() {
    let town = deployment(60);
    let before = state(&town);
    let ids: Vec<String> = (1..=60).map(uuid).collect();
    let start = || {
        let mut process = town.process();
        process.args(["storage:delete", "--yes", "--json"]).args(&ids);
        process
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (one, other) = (start(), start());
    let mut went = 0;
    let mut runs = Vec::new();
    for child in [one, other] {
        let output = child.wait_with_output().unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        went += json["data"]["successfulCount"]
            .as_u64()
            .unwrap_or_else(|| panic!("{json}"));
        runs.extend(json["data"]["runId"].as_str().map(str::to_owned));
    }
    assert_eq!(went, 60);
    assert_eq!(rows(town.db()).len(), 0);
    assert_consistent(&town);
    for run in runs {
        town.civic(&["storage:undo", "--yes", "--json", &run]);
    }
    assert_eq!(state(&town), before);
}

/// Runs on a terminal, where somebody answers the question with a key.
pub fn answered(town: &Deployment, key: &str, args: &[&str]) -> (Option<i32>, String) {
    let civic = town.process();
    let mut python = std::process::Command::new("python3");
    python
        .env_clear()
        .envs(civic.get_envs().filter_map(|(name, value)| Some((name, value?))));
    python
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/answer.py"))
        .arg(key);
    let output = python
        .arg(civic.get_program())
        .args(args)
        .current_dir(town.env().root())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn on_a_terminal_it_shows_what_goes_and_asks() {
    let town = deployment(1);
    let before = state(&town);
    let (code, shown) = answered(&town, "n", &["storage:delete", &uuid(1)]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("file 1.txt") && shown.contains("Delete these?"),
        "{shown}"
    );
    assert_eq!(state(&town), before);
    let (code, shown) = answered(&town, "y", &["storage:delete", "--purge", &uuid(1)]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("for good"), "{shown}");
    assert!(rows(town.db()).is_empty());
}

#[test]
fn what_was_edited_since_it_was_put_back_stays_edited() {
    let town = deployment(1);
    let run = run_id(&town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]));
    town.civic(&["storage:undo", "--yes", &run]);
    town.db()
        .execute("UPDATE storage_files SET description = 'new'", [])
        .unwrap();
    let edited = state(&town);
    let again = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(state(&town), edited);
}

/// Runs until the failpoint kills it.
pub fn killed(town: &Deployment, failpoint: &str, args: &[&str]) {
    let mut process = town.process();
    let output = process
        .args(args)
        .env("CIVIC_FAILPOINT", failpoint)
        .output()
        .unwrap();
    assert_eq!(
        output.status.signal(),
        Some(9),
        "{failpoint} was not reached: {output:?}"
    );
}

#[test]
fn killed_anywhere_a_deletion_is_ended_by_the_next_run_and_undone_whole() {
    for failpoint in [
        "delete.after-intend",
        "delete.after-move:2",
        "delete.after-act",
        "delete.after-settle",
    ] {
        for purge in [false, true] {
            let town = deployment(6);
            let before = state(&town);
            let ids = [1, 2, 3, 4, 5].map(uuid);
            let mut args = vec!["storage:delete", "--yes", "--json", "--concurrency", "2"];
            args.extend(purge.then_some("--purge"));
            args.extend(ids.iter().map(String::as_str));
            killed(&town, failpoint, &args);
            let next = town.civic(&["storage:delete", "--yes", "--json", &uuid(6)]);
            assert_eq!(next.code, 0, "{failpoint}: {next:?}");
            assert_consistent(&town);
            if !purge {
                let trashed = town.civic(&["storage:trash", "--json"]);
                let lost = 6 - rows(town.db()).len();
                assert_eq!(
                    trashed.items("items", "id").len(),
                    lost,
                    "{failpoint}: {trashed:?}"
                );
                let all = trashed.items("items", "id");
                let restore: Vec<&str> = ["storage:trash", "restore", "--yes", "--json"]
                    .into_iter()
                    .chain(all.iter().map(String::as_str))
                    .collect();
                let restored = town.civic(&restore);
                assert_eq!(restored.code, 0, "{failpoint}: {restored:?}");
                assert_eq!(state(&town), before, "{failpoint}");
            }
        }
    }
}

#[test]
fn the_same_deletion_again_ends_what_a_kill_left_though_its_records_are_gone() {
    let town = deployment(3);
    let ids = [1, 2, 3].map(uuid);
    let args = ["storage:delete", "--yes", "--json", "--purge"];
    let args: Vec<&str> = args.into_iter().chain(ids.iter().map(String::as_str)).collect();
    killed(&town, "delete.after-intend", &args);
    assert_eq!(rows(town.db()).len(), 0);
    let again = town.civic(&args);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stdout.contains("there is no such file"), "{again:?}");
    let left = town.cleanup(&["--min-age", "0"]).json();
    assert_eq!(left["data"]["counts"]["orphanedObjects"], 0, "{left}");
    assert_consistent(&town);
}

#[test]
fn killed_anywhere_an_undo_is_ended_by_the_next_run() {
    for failpoint in [
        "undo.after-intend",
        "undo.after-move:2",
        "undo.after-act",
        "undo.after-settle",
    ] {
        let town = deployment(5);
        let before = state(&town);
        let ids = [1, 2, 3, 4, 5].map(uuid);
        let args: Vec<&str> = ["storage:delete", "--yes", "--json"]
            .into_iter()
            .chain(ids.iter().map(String::as_str))
            .collect();
        let run = run_id(&town.civic(&args));
        killed(&town, failpoint, &["storage:undo", "--yes", &run]);
        let next = town.civic(&["storage:undo", "--yes", "--json", &run]);
        assert_eq!(next.code, 0, "{failpoint}: {next:?}");
        assert_eq!(state(&town), before, "{failpoint}");
    }
}

mod needs_server {
    use super::*;
    use crate::common::Remote;

    /// The keys of a bucket with 20 files, deleted and brought back, and then deleted for good.
    #[test]
    fn a_pending_deletion_is_ended_by_the_next_run_once_the_provider_answers() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        for purge in [false, true] {
            let town = Deployment::new();
            let town_key = format!("town{purge}/{}", key("permits", 1));
            bucket.put(&town_key, b"x");
            let up = bucket.provider_yaml("s3", &format!("town{purge}"));
            let down = up.replace(&bucket.endpoint, &crate::failover::nobody());
            town.providers(&down);
            let root = format!("{}/town{purge}", Remote::root(&bucket));
            town.record(
                1,
                &root,
                &key("permits", 1),
                (1, crate::common::deployment::days(30)),
            );
            let mut args = vec!["storage:delete", "--yes", "--json"];
            let id = uuid(1);
            args.extend(purge.then_some("--purge"));
            args.push(&id);
            let run = town.civic(&args);
            assert_eq!((run.code, rows(town.db()).len()), (5, 0), "{run:?}");
            let other = town.env().tmp().join("other.txt");
            fs::write(&other, "y").unwrap();
            let waits = town.civic(&["storage:upload", "--folder", "permits", other.to_str().unwrap()]);
            assert_eq!(waits.code, 5, "{waits:?}");
            assert!(bucket.get(&town_key).is_some());
            town.providers(&up);
            town.env()
                .edit_config(|yaml| format!("{yaml}\ncircuit_breaker_timeout: 1ms\n"));
            let next = town.civic(&["storage:upload", "--folder", "permits", other.to_str().unwrap()]);
            assert_eq!(next.code, 0, "{next:?}");
            assert!(bucket.get(&town_key).is_none(), "purge: {purge}");
            let undo = town.civic(&[
                "storage:undo",
                run.json()["data"]["runId"].as_str().unwrap(),
                "--yes",
            ]);
            assert_eq!(bucket.get(&town_key).is_some(), !purge, "{undo:?}");
        }
    }

    fn to_the_trash_and_back(bucket: &impl Remote) {
        let town = Deployment::new();
        town.providers(bucket.provider_yaml(bucket.kind(), "town").trim_end());
        town.tries_again();
        let root = format!("{}/town", bucket.root());
        for n in 1..=20 {
            bucket.put(
                &format!("town/{}", key("permits", n)),
                format!("{n:06}").as_bytes(),
            );
            town.record(
                n,
                &root,
                &key("permits", n),
                (6, crate::common::deployment::days(30)),
            );
        }
        bucket.put(&format!("town/{}.meta.json", key("permits", 1)), b"{}");
        bucket.put(&format!("townhall/{}", key("permits", 1)), b"another town's");
        let before = rows(town.db());
        let ids: Vec<String> = (1..=20).map(uuid).collect();
        let all = |args: &[&'static str]| {
            let mut all = args.to_vec();
            all.extend(ids.iter().map(String::as_str));
            town.civic(&all)
        };
        let clean = || {
            let json = town.cleanup(&["--min-age", "0"]).json();
            let counts = &json["data"]["counts"];
            assert_eq!(counts["orphanedObjects"], 0, "{json}");
            assert_eq!(counts["orphanedRecords"], 0, "{json}");
            json["data"]["providers"][0]["objectsScanned"].as_u64().unwrap()
        };
        let deleted = all(&["storage:delete", "--yes", "--json"]);
        assert_eq!(deleted.code, 0, "{deleted:?}");
        assert_eq!((rows(town.db()).len(), clean()), (0, 0));
        let undone = town.civic(&["storage:undo", "--yes", "--json", &run_id(&deleted)]);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!((rows(town.db()), clean()), (before, 20));
        let purged = all(&["storage:delete", "--yes", "--json", "--purge"]);
        assert_eq!(purged.code, 0, "{purged:?}");
        assert_eq!(purged.json()["data"]["successfulCount"], 20);
        assert_eq!((rows(town.db()).len(), clean()), (0, 0));
        assert!(
            town.civic(&["storage:trash", "--json"])
                .items("items", "id")
                .is_empty()
        );
    }

    #[test]
    fn on_seaweedfs_to_the_trash_and_back() {
        if let Some(bucket) = TestEnv::seaweed() {
            to_the_trash_and_back(&bucket);
        }
    }

    #[test]
    fn on_azurite_to_the_trash_and_back() {
        if let Some(bucket) = TestEnv::azurite() {
            to_the_trash_and_back(&bucket);
        }
    }

    #[test]
    fn on_rclone_to_the_trash_and_back() {
        if let Some(bucket) = TestEnv::rclone() {
            to_the_trash_and_back(&bucket);
        }
    }

    #[test]
    fn on_gcs_to_the_trash_and_back() {
        if let Some(bucket) = TestEnv::gcs() {
            to_the_trash_and_back(&bucket);
        }
    }
}
