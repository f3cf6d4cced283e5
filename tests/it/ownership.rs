//! Whose the storage is: a copy of the database, a moved one and another town's, and the marker that tells them apart
//! before anything is changed.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::common::deployment::{Deployment, Run, days, key, uuid};

const MARKER: &str = ".civic/installation.json";

/// Five files with records, the first one deleted by the owner of the storage.
fn owned() -> (Deployment, String) {
    let town = Deployment::new();
    for n in 1..=5 {
        town.old_file(&key("permits", n));
        town.local_record(n, &key("permits", n));
    }
    let deleted = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let run = deleted.json()["data"]["runId"].as_str().unwrap().to_owned();
    (town, run)
}

/// A copy of the database, as one is made for a staging system; the flag that names it.
fn copy(town: &Deployment) -> String {
    let copy = town.env().system_data().join("staging.db");
    let path = copy.display().to_string();
    town.db().execute("VACUUM INTO ?1", [&path]).unwrap();
    format!("sqlite:{path}")
}

fn marker(town: &Deployment) -> Value {
    let text = fs::read_to_string(town.storage().join(MARKER)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn refused(run: &Run) {
    assert_eq!(run.code, 8, "{run:?}");
    let json = run.json();
    assert_eq!(json["error"]["code"], "STORAGE_REFUSED", "{json}");
    let said = format!("{}{}", json["error"]["message"], json["error"]["hint"]);
    for word in [
        "ownership",
        "--override ownership",
        "civic.db",
        "copy",
        "CIVIC_HOST_NAME",
    ] {
        assert!(said.contains(word), "{word} is missing in {said}");
    }
}

#[test]
fn a_copied_database_destroys_nothing_of_the_original() {
    let (town, run) = owned();
    let staging = copy(&town);
    let storage = || crate::common::Tree::of(&town.storage());
    let before = storage();
    let id = uuid(2);
    let commands: [&[&str]; 8] = [
        &["storage:migrate", "--rebase"],
        &["storage:move", &id, "--folder", "public"],
        &["storage:update", &id, "--description", "of the copy"],
        &["storage:delete", &id],
        &["storage:delete", "--purge", &id],
        &["storage:trash", "empty", "--older-than", "0"],
        &["storage:trash", "restore", &uuid(1)],
        &["storage:undo", &run],
    ];
    for command in commands {
        let all = [command, &["--database", &staging, "--yes", "--json"]].concat();
        refused(&town.civic(&all));
        before.assert_unchanged(&storage());
    }
    let runs = town.civic(&["storage:runs", "--database", &staging, "--json"]);
    assert_eq!(
        runs.json()["data"]["runs"].as_array().unwrap().len(),
        1,
        "{runs:?}"
    );
    let undone = town.civic(&["storage:undo", &run, "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
}

#[test]
fn a_dry_run_on_a_copy_warns_and_writes_nothing() {
    let (town, run) = owned();
    let staging = copy(&town);
    let first = town.env().but_counts();
    let id = uuid(2);
    let commands: [&[&str]; 7] = [
        &["storage:migrate", "--rebase"],
        &["storage:move", &id, "--folder", "public"],
        &["storage:update", &id, "--description", "of the copy"],
        &["storage:delete", &id],
        &["storage:trash", "empty", "--older-than", "0"],
        &["storage:undo", &run],
        &["storage:cleanup"],
    ];
    for command in commands {
        let before = town.env().tree();
        let dry = town.civic(&[command, &["--dry-run", "--database", &staging]].concat());
        assert_eq!(dry.code, 0, "{dry:?}");
        assert!(dry.stderr.contains("ownership"), "{dry:?}");
        before.assert_unchanged(&town.env().tree());
        let own = town.civic(&[command, &["--dry-run"]].concat());
        assert!(own.code == 0 && !own.stderr.contains("ownership"), "{own:?}");
        first.assert_unchanged(&town.env().but_counts());
    }
}

#[test]
fn a_dry_run_knows_another_installation_in_the_same_place() {
    let (town, _) = owned();
    let other = "UPDATE civic_storage_installation SET id = 'another'";
    assert_eq!(town.db().execute(other, []).unwrap(), 1);
    let dry = town.cleanup(&[]);
    assert!(dry.stderr.contains("another installation"), "{dry:?}");
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'civic%'";
    let names: Vec<String> = town
        .db()
        .prepare(tables)
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for name in names {
        town.db().execute(&format!("DROP TABLE {name}"), []).unwrap();
    }
    let dry = town.cleanup(&[]);
    assert!(
        dry.stderr.contains("another installation"),
        "it has no id yet: {dry:?}"
    );
    let made = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'civic%'";
    let made: u32 = town.db().query_row(made, [], |row| row.get(0)).unwrap();
    assert_eq!(made, 0, "a dry run makes no id");
}

#[test]
fn a_deployment_that_moved_takes_its_storage_over_once_and_history_says_so() {
    let (town, _) = owned();
    let moved = copy(&town);
    let was = marker(&town);
    let id = uuid(2);
    let delete = ["storage:delete", &id, "--yes", "--json"];
    let taken = town.civic(&[&delete[..], &["--database", &moved, "--override", "ownership"]].concat());
    assert_eq!(taken.code, 0, "{taken:?}");
    let json = taken.json();
    assert_eq!(json["data"]["takenOver"][0]["provider"], "local", "{json}");
    let before = json["data"]["takenOver"][0]["was"].as_str().unwrap().to_owned();
    assert!(before.contains(was["database"].as_str().unwrap()), "{before}");
    assert!(taken.stderr.contains("claimed"), "{taken:?}");
    let now = marker(&town);
    assert!(now["database"].as_str().unwrap().ends_with("staging.db"), "{now}");
    assert_eq!(now["installation"], was["installation"]);
    let runs = town.civic(&["storage:runs", "--database", &moved, "--json"]);
    let run = &runs.json()["data"]["runs"][0];
    assert_eq!(run["request"]["overrides"][0], "ownership", "{run}");
    assert_eq!(run["summary"]["takenOver"][0]["provider"], "local", "{run}");
    // From now on it needs no flag, and the old place is the stranger.
    let again = town.civic(&[
        "storage:delete",
        &uuid(3),
        "--yes",
        "--json",
        "--database",
        &moved,
    ]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.json()["data"].get("takenOver").is_none());
    assert_eq!(
        town.civic(&["storage:delete", &uuid(4), "--yes", "--json"]).code,
        8
    );
}

#[test]
fn a_container_keeps_its_storage_by_the_name_that_it_is_given() {
    let (town, _) = owned();
    fs::remove_file(town.storage().join(MARKER)).unwrap();
    let delete = |n: u32, host: &str| {
        let mut command = town.process();
        command.args(["storage:delete", &uuid(n), "--yes", "--json"]);
        let output = command.env("CIVIC_HOST_NAME", host).output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    };
    assert_eq!(delete(2, "town-hall").code, 0);
    assert_eq!(marker(&town)["host"], "town-hall");
    assert_eq!(delete(3, "town-hall").code, 0);
    refused(&delete(4, "staging"));
    refused(&town.civic(&["storage:delete", &uuid(4), "--yes", "--json"]));
}

#[test]
fn what_a_dead_run_left_in_the_original_is_not_ended_by_a_copy() {
    let (town, _) = owned();
    let status = town
        .process()
        .args(["storage:delete", &uuid(2), "--yes"])
        .env("CIVIC_FAILPOINT", "delete.after-intend")
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9));
    let staging = copy(&town);
    let object = town.storage().join(key("permits", 2));
    let file = town.env().tmp().join("new.txt");
    fs::write(&file, "new").unwrap();
    let upload = ["storage:upload", "--folder", "permits", file.to_str().unwrap()];
    let uploaded = town.civic(&[&upload[..], &["--database", &staging]].concat());
    assert_eq!(uploaded.code, 0, "{uploaded:?}");
    assert!(uploaded.stderr.contains("could not be recovered"), "{uploaded:?}");
    assert!(object.exists(), "its copy took it away");
    assert_eq!(town.civic(&upload).code, 0);
    assert!(!object.exists(), "the original ends what it began");
}

#[test]
fn an_empty_root_is_not_claimed_since_its_disk_may_be_missing() {
    let town = Deployment::new();
    town.local_record(1, &key("permits", 1));
    let deleted = town.civic(&["storage:delete", &uuid(1), "--yes", "--json"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert_eq!(fs::read_dir(town.storage()).unwrap().count(), 0);
}

#[test]
fn a_marker_that_cannot_be_read_keeps_the_files() {
    let (town, _) = owned();
    fs::remove_file(town.storage().join(MARKER)).unwrap();
    fs::create_dir(town.storage().join(MARKER)).unwrap();
    fs::write(town.storage().join(MARKER).join("x"), "").unwrap();
    let deleted = town.civic(&["storage:delete", &uuid(2), "--yes", "--json"]);
    assert_ne!(deleted.code, 0, "{deleted:?}");
    assert!(town.storage().join(key("permits", 2)).exists());
}

#[test]
fn init_claims_the_storage_and_refuses_anothers() {
    let env = crate::common::TestEnv::empty();
    let made = Run::of(&env, ["storage:init", "--json"]);
    assert_eq!(made.code, 0, "{made:?}");
    let path = env.storage().join(MARKER);
    let marker: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let database = env.database().canonicalize().unwrap();
    assert!(
        marker["database"]
            .as_str()
            .unwrap()
            .contains(database.to_str().unwrap())
    );

    let other = crate::common::TestEnv::empty();
    let root = env.storage().display().to_string();
    let before = (env.tree(), other.tree());
    let init = ["storage:init", "--json", "--path", &root];
    let refused = Run::of(&other, init);
    assert_eq!(refused.code, 8, "{refused:?}");
    before.0.assert_unchanged(&env.tree());
    before.1.assert_unchanged(&other.tree());
    let taken = Run::of(&other, init.iter().chain(&["--override", "ownership"]));
    assert_eq!(taken.code, 0, "{taken:?}");
    let marker: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let database = other.database().canonicalize().unwrap();
    assert!(
        marker["database"]
            .as_str()
            .unwrap()
            .contains(database.to_str().unwrap())
    );
}

mod needs_server {
    use super::*;
    use crate::common::{Bucket, Remote, TestEnv};
    use crate::delete::rows;

    fn town(bucket: &dyn Remote) -> Deployment {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        let root = format!("{}/town", bucket.root());
        for n in 1..=3 {
            bucket.put(&format!("town/{}", key("permits", n)), b"x");
            town.record(n, &root, &key("permits", n), (1, days(30)));
        }
        town
    }

    fn a_copy_destroys_nothing(bucket: &dyn Remote) {
        let town = town(bucket);
        assert_eq!(
            town.civic(&["storage:delete", &uuid(1), "--yes", "--json"]).code,
            0
        );
        let staging = copy(&town);
        let delete = ["storage:delete", "--yes", "--json", "--database", &staging];
        refused(&town.civic(&[&delete[..], &[&uuid(2)]].concat()));
        refused(&town.civic(&[&delete[..], &["--purge", &uuid(2)]].concat()));
        let empty = ["storage:trash", "empty", "--older-than", "0", "--yes", "--json"];
        refused(&town.civic(&[&empty[..], &["--database", &staging]].concat()));
        assert_eq!(
            town.civic(&["storage:delete", "--yes", "--json", &uuid(2)]).code,
            0
        );
        let taken = town.civic(&[&delete[..], &["--override", "ownership", &uuid(3)]].concat());
        assert_eq!(taken.code, 0, "{taken:?}");
        assert_eq!(taken.json()["data"]["takenOver"][0]["provider"], bucket.kind());
        assert_eq!(town.civic(&["storage:undo", "x", "--yes"]).code, 2);
        assert_eq!(town.civic(&empty).code, 8, "the original is the stranger now");
    }

    #[test]
    fn a_copied_database_destroys_nothing_in_a_bucket_on_seaweedfs() {
        if let Some(bucket) = TestEnv::seaweed() {
            a_copy_destroys_nothing(&bucket);
        }
    }

    #[test]
    fn a_copied_database_destroys_nothing_in_a_bucket_on_rclone() {
        if let Some(bucket) = TestEnv::rclone() {
            a_copy_destroys_nothing(&bucket);
        }
    }

    #[test]
    fn a_copied_database_destroys_nothing_in_a_bucket_on_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            a_copy_destroys_nothing(&bucket);
        }
    }

    #[test]
    fn a_copied_database_destroys_nothing_in_a_bucket_on_azurite() {
        if let Some(bucket) = TestEnv::azurite() {
            a_copy_destroys_nothing(&bucket);
        }
    }

    /// A name that was mistyped would become a bucket without files, and every record be of one that is long gone.
    fn what_is_not_there_is_not_made(bucket: &Bucket) {
        let town = town(bucket);
        let mistyped = Bucket {
            name: format!("{}-x", bucket.name),
            ..bucket.clone()
        };
        town.providers(&mistyped.provider_yaml(mistyped.kind(), "town"));
        town.db()
            .execute(
                "UPDATE storage_files SET provider_path = replace(provider_path, ?1, ?2)",
                [bucket.root(), mistyped.root()],
            )
            .unwrap();
        for how in [&["--purge"][..], &[]] {
            let run = town.civic(&[&["storage:delete", &uuid(1), "--yes", "--json"], how].concat());
            assert_eq!(run.code, 5, "{run:?}");
        }
        assert_eq!(rows(town.db()).len(), 3);
        assert_eq!(mistyped.send("GET", "", b""), 404, "nobody made it");
    }

    #[test]
    fn a_bucket_that_is_not_there_is_not_made_by_a_deletion() {
        if let Some(bucket) = TestEnv::seaweed() {
            what_is_not_there_is_not_made(&bucket);
        }
    }
}
