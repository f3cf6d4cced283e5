//! Cleanup on a real deployment: every drift found, to the item, and not a byte changed.

use serde_json::Value;

use crate::common::TestEnv;

const ORPHANED_RECORDS: [&str; 3] = [
    "25dabfe1-cc11-464b-9138-392a169ecc26",
    "803be0c4-3fee-47f7-bc4f-77d7199f65b3",
    "f5a208d4-d40d-42cc-9a3b-638102ac33b2",
];
const ORPHANED_OBJECT: &str = "permits/permit-9999_0badc0de-0000-4000-8000-000000009999.pdf";
const FOREIGN: [&str; 3] = [
    ".DS_Store",
    "public/2019/archive/old minutes.pdf",
    "public/stray note.txt",
];
const MISMATCHED: &str = "ece174b6-e3ea-4c3a-9857-1e34d9280a77";

fn cleanup(env: &TestEnv, args: &[&str]) -> Value {
    let base = ["storage:cleanup", "--dry-run", "--json", "--min-age", "0"];
    let output = env.civic(base.iter().chain(args)).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(data: &Value, list: &str, field: &str) -> Vec<String> {
    let items = data[list]
        .as_array()
        .unwrap_or_else(|| panic!("no {list} in {data}"));
    let mut texts: Vec<String> = items
        .iter()
        .map(|i| i[field].as_str().unwrap().to_owned())
        .collect();
    texts.sort();
    texts
}

/// What shared with every form of this deployment, wherever its files are.
fn assert_truth(data: &Value) {
    assert_eq!(texts(data, "orphanedRecords", "id"), ORPHANED_RECORDS);
    assert_eq!(texts(data, "orphanedObjects", "key"), [ORPHANED_OBJECT]);
    assert_eq!(texts(data, "mismatches", "id"), [MISMATCHED]);
    assert_eq!(data["mismatches"][0]["recordedSize"], 204_800);
    assert_eq!(data["mismatches"][0]["actualSize"], 100_000);
    assert_eq!(data["bytesReclaimable"], 2048);
    assert_eq!(
        data["cleaned"],
        serde_json::json!({ "objects": 0, "records": 0, "bytes": 0 })
    );
    let counts = serde_json::json!({
        "orphanedObjects": 1, "orphanedRecords": 3, "mismatches": 1, "foreign": 3, "misplaced": 0,
        "tooRecent": 0, "inFlight": 0, "sidecarsWithoutObject": 2, "unmappedRecords": 0,
    });
    assert_eq!(data["counts"], counts);
    assert_eq!(data["mode"], "dry-run");
}

#[test]
fn every_drift_of_the_fixture_is_found_and_nothing_is_changed() {
    let env = TestEnv::fixture();
    let before = env.tree();
    let json = cleanup(&env, &[]);
    assert_truth(&json["data"]);
    let local = &json["data"]["providers"][0];
    assert_eq!(
        (&local["name"], &local["complete"]),
        (&"local".into(), &true.into())
    );
    assert_eq!(
        (&local["objectsScanned"], &local["recordsScanned"]),
        (&67.into(), &66.into())
    );
    let listed = cleanup(&env, &["--kind", "foreign,sidecars"]);
    assert_eq!(texts(&listed["data"], "foreign", "key"), FOREIGN);
    assert_eq!(listed["data"]["sidecars"].as_array().map(Vec::len), Some(2));
    assert_eq!(before, env.tree(), "a dry run changed something");
}

/// What every form of this deployment looks like once its orphans are gone, and that nothing else went.
fn assert_cleaned(env: &TestEnv) {
    let records = || -> i64 {
        let count = "SELECT count(*) FROM storage_files";
        env.sql().query_row(count, [], |row| row.get(0)).unwrap()
    };
    let before = records();
    let apply = ["storage:cleanup", "--apply", "--yes", "--json", "--min-age", "0"];
    let output = env.civic(apply).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{json}");
    let cleaned = serde_json::json!({ "objects": 1, "records": 3, "bytes": 2048, "sidecars": 1 });
    assert_eq!(json["data"]["cleaned"], cleaned);
    assert_eq!(records(), before - 3);
    let counts = serde_json::json!({
        "orphanedObjects": 0, "orphanedRecords": 0, "mismatches": 1, "foreign": 3, "misplaced": 0,
        "tooRecent": 0, "inFlight": 0, "sidecarsWithoutObject": 1, "unmappedRecords": 0,
    });
    assert_eq!(cleanup(env, &[])["data"]["counts"], counts);
}

#[test]
fn applied_to_the_fixture_a_second_look_finds_no_orphan() {
    assert_cleaned(&TestEnv::fixture());
}

#[test]
fn the_default_age_leaves_the_fresh_fixture_alone() {
    let env = TestEnv::fixture();
    touch_all(&env);
    let output = env.civic(["storage:cleanup", "--json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["data"]["counts"]["orphanedObjects"], 0);
    assert_eq!(json["data"]["counts"]["tooRecent"], 1 + young_records(&env));
}

/// Makes every file as young as an unpacked backup's would be.
fn touch_all(env: &TestEnv) {
    let key = env.storage().join(ORPHANED_OBJECT);
    let file = std::fs::File::options().write(true).open(key).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
}

/// The fixture's records age with the calendar: how many of its orphans are younger than a day now.
fn young_records(env: &TestEnv) -> u64 {
    let made = "2026-11-23T18:39:00Z"
        .parse::<chrono::DateTime<chrono::Utc>>()
        .unwrap();
    let _ = env;
    if chrono::Utc::now() - made < chrono::TimeDelta::hours(24) {
        3
    } else {
        0
    }
}

#[test]
fn a_folder_limits_both_sides() {
    let env = TestEnv::fixture();
    let data = &cleanup(&env, &["--folder", "permits"])["data"];
    assert_eq!(texts(data, "orphanedRecords", "id"), [ORPHANED_RECORDS[2]]);
    assert_eq!(texts(data, "orphanedObjects", "key"), [ORPHANED_OBJECT]);
    assert_eq!(data["counts"]["mismatches"], 0);
}

#[test]
fn findings_exit_with_4_where_asked() {
    let env = TestEnv::fixture();
    let run = |args: &[&str]| env.civic(args).output().unwrap().status.code();
    assert_eq!(
        run(&["storage:cleanup", "--min-age", "0", "--fail-on-findings"]),
        Some(4)
    );
    let clean = [
        "storage:cleanup",
        "--min-age",
        "0",
        "--fail-on-findings",
        "--folder",
        "icons",
    ];
    assert_eq!(run(&clean), Some(0));
}

mod needs_server {
    use super::*;
    use crate::common::{OLD_ROOT, Remote};

    /// The fixture moved to a bucket under `town/`, but for two records that stay local.
    fn twin(bucket: &impl Remote) -> TestEnv {
        let env = TestEnv::fixture();
        let stay: Vec<String> = {
            let db = rusqlite::Connection::open(env.database()).unwrap();
            let moved = format!("{}/town/", bucket.root());
            db.execute(
                "UPDATE storage_files SET provider_path = ?1 || relative_path WHERE folder <> 'icons' \
                 OR original_name NOT IN ('map pin.svg', 'park.webp')",
                [&moved],
            )
            .unwrap();
            let mut left = db
                .prepare("SELECT relative_path FROM storage_files WHERE provider_path LIKE ?1")
                .unwrap();
            let rows = left
                .query_map([format!("{OLD_ROOT}/%")], |row| row.get(0))
                .unwrap();
            rows.map(Result::unwrap).collect()
        };
        assert_eq!(stay.len(), 2);
        for (path, bytes) in files(&env) {
            if !stay.iter().any(|kept| path.starts_with(kept.as_str())) {
                bucket.put(&format!("town/{path}"), &bytes);
                std::fs::remove_file(env.storage().join(&path)).unwrap();
            }
        }
        bucket.put(&format!("townhall/{ORPHANED_OBJECT}"), b"another town's");
        let kind = bucket.kind();
        env.edit_config(|yaml| {
            let disabled = format!("{kind}:\n    type: {kind}\n    enabled: false");
            let without = yaml.replacen(&format!("  {disabled}"), &format!("  old_{disabled}"), 1);
            without.replacen(
                "providers:\n",
                &format!("providers:\n{}", bucket.provider_yaml(kind, "town")),
                1,
            )
        });
        env
    }

    fn files(env: &TestEnv) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut open = vec![env.storage()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    let path = entry.path();
                    let key = path
                        .strip_prefix(env.storage())
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned();
                    found.push((key, std::fs::read(&path).unwrap()));
                }
            }
        }
        found
    }

    fn the_twin_tells_the_same_truth(bucket: &impl Remote) {
        let env = twin(bucket);
        let before = env.tree();
        let json = cleanup(&env, &[]);
        assert_truth(&json["data"]);
        let scanned: Vec<_> = json["data"]["providers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| {
                (
                    p["name"].as_str().unwrap().to_owned(),
                    p["recordsScanned"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(scanned, [(bucket.kind().to_owned(), 64), ("local".to_owned(), 2)]);
        assert_eq!(before, env.tree());
        let only = cleanup(&env, &["--provider", "local"]);
        assert_eq!(only["data"]["counts"]["orphanedRecords"], 0);
    }

    #[test]
    fn on_seaweedfs_the_moved_deployment_tells_the_same_truth() {
        if let Some(bucket) = TestEnv::seaweed() {
            the_twin_tells_the_same_truth(&bucket);
        }
    }

    #[test]
    fn on_seaweedfs_the_moved_deployment_is_cleaned_as_well() {
        if let Some(bucket) = TestEnv::seaweed() {
            assert_cleaned(&twin(&bucket));
        }
    }

    #[test]
    fn on_rclone_the_moved_deployment_is_cleaned_as_well() {
        if let Some(bucket) = TestEnv::rclone() {
            assert_cleaned(&twin(&bucket));
        }
    }

    #[test]
    fn on_azurite_the_moved_deployment_is_cleaned_as_well() {
        if let Some(bucket) = TestEnv::azurite() {
            assert_cleaned(&twin(&bucket));
        }
    }

    #[test]
    fn on_azurite_the_moved_deployment_tells_the_same_truth() {
        if let Some(bucket) = TestEnv::azurite() {
            the_twin_tells_the_same_truth(&bucket);
        }
    }

    #[test]
    fn on_rclone_the_moved_deployment_tells_the_same_truth() {
        if let Some(bucket) = TestEnv::rclone() {
            the_twin_tells_the_same_truth(&bucket);
        }
    }

    #[test]
    fn on_gcs_the_moved_deployment_tells_the_same_truth() {
        if let Some(bucket) = TestEnv::gcs() {
            the_twin_tells_the_same_truth(&bucket);
        }
    }

    #[test]
    fn on_gcs_the_moved_deployment_is_cleaned_as_well() {
        if let Some(bucket) = TestEnv::gcs() {
            assert_cleaned(&twin(&bucket));
        }
    }

    type Row = Vec<rusqlite::types::Value>;

    fn rows(env: &TestEnv) -> Vec<Row> {
        let db = env.sql();
        let mut all = db.prepare("SELECT * FROM storage_files ORDER BY id").unwrap();
        let columns = all.column_count();
        let rows = all
            .query_map([], |row| {
                (0..columns)
                    .map(|column| row.get(column))
                    .collect::<Result<Row, _>>()
            })
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn cleanups(env: &TestEnv) -> Vec<String> {
        let db = env.sql();
        let mut all = db
            .prepare("SELECT id FROM civic_storage_runs WHERE operation = 'storage:cleanup'")
            .unwrap();
        let ids = all.query_map([], |row| row.get(0)).unwrap();
        ids.map(Result::unwrap).collect()
    }

    /// Applies a cleanup, lets `between` act, and takes the cleanup back; how the undo ended.
    fn applied_and_undone(env: &TestEnv, known: &[String], between: impl FnOnce()) -> Option<i32> {
        let apply = ["storage:cleanup", "--apply", "--yes", "--json", "--min-age", "0"];
        assert_eq!(env.civic(apply).output().unwrap().status.code(), Some(0));
        let run = cleanups(env)
            .into_iter()
            .find(|run| !known.contains(run))
            .unwrap();
        between();
        let undo = ["storage:undo", &run, "--yes", "--json"];
        env.civic(undo).output().unwrap().status.code()
    }

    fn undo_brings_back_the_twin(bucket: &impl Remote) {
        let env = twin(bucket);
        let names: Vec<String> = files(&TestEnv::fixture())
            .into_iter()
            .map(|(key, _)| format!("town/{key}"))
            .collect();
        let state = || {
            let bytes: Vec<_> = names.iter().map(|key| bucket.get(key)).collect();
            (rows(&env), bytes)
        };
        let before = state();
        let code = applied_and_undone(&env, &[], || assert_ne!(before, state(), "nothing went"));
        assert_eq!(code, Some(0));
        assert_eq!(before, state(), "rows and bytes are back");

        let orphan = format!("town/{ORPHANED_OBJECT}");
        let [edited, ..] = ORPHANED_RECORDS;
        env.sql()
            .execute(
                "CREATE TABLE kept AS SELECT * FROM storage_files WHERE id = ?1",
                [edited],
            )
            .unwrap();
        let known = cleanups(&env);
        let code = applied_and_undone(&env, &known, || {
            let edit = "UPDATE kept SET original_name = 'edited in between'; \
                        INSERT INTO storage_files SELECT * FROM kept";
            env.sql().execute_batch(edit).unwrap();
            bucket.put(&orphan, b"edited in between");
        });
        assert_ne!(code, Some(0), "what stays as it is must be told");
        assert_eq!(bucket.get(&orphan).unwrap(), b"edited in between");
        let name: String = env
            .sql()
            .query_row(
                "SELECT original_name FROM storage_files WHERE id = ?1",
                [edited],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(name, "edited in between");
        assert_eq!(rows(&env).len(), before.0.len(), "the others are back");
    }

    #[test]
    fn on_seaweedfs_undo_brings_back_rows_and_bytes_but_no_edit() {
        if let Some(bucket) = TestEnv::seaweed() {
            undo_brings_back_the_twin(&bucket);
        }
    }

    #[test]
    fn on_rclone_undo_brings_back_rows_and_bytes_but_no_edit() {
        if let Some(bucket) = TestEnv::rclone() {
            undo_brings_back_the_twin(&bucket);
        }
    }

    #[test]
    fn on_gcs_undo_brings_back_rows_and_bytes_but_no_edit() {
        if let Some(bucket) = TestEnv::gcs() {
            undo_brings_back_the_twin(&bucket);
        }
    }

    #[test]
    fn on_azurite_undo_brings_back_rows_and_bytes_but_no_edit() {
        if let Some(bucket) = TestEnv::azurite() {
            undo_brings_back_the_twin(&bucket);
        }
    }
}
