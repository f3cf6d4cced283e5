//! `storage:reconstruct`: the database is gone, and every record comes back as it was, from what lies beside the objects.

use std::fs;

use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::delete::{files, rows};

const AWKWARD: [&str; 12] = [
    "Procès-verbal été.pdf",
    "会議録 2026.docx",
    "🏛️ town hall.png",
    "\u{202e}fdp.exe.txt",
    "line\nbreak\ttab.txt",
    "quote\"s and 'more'.csv",
    "-rf",
    ".hidden",
    "noextension",
    "many.dots.tar.gz",
    "100% & <b>#1<b>?.html",
    "e\u{301} combined.txt",
];

/// Files of awkward names with and without descriptions, stored by this program.
fn stored(town: &Deployment, count: usize) {
    let source = town.env().tmp().join("source");
    for (at, about) in [
        None,
        Some("a description, é, \"quoted\"\nand more"),
        Some(&*"long ".repeat(700)),
    ]
    .iter()
    .enumerate()
    {
        let part = source.join(at.to_string());
        fs::create_dir_all(&part).unwrap();
        for n in 0..count / 3 {
            let name = AWKWARD[n % AWKWARD.len()];
            let directory = part.join((n / AWKWARD.len()).to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), format!("{at} {n}")).unwrap();
        }
        let mut args = vec![
            "storage:upload",
            "-r",
            part.to_str().unwrap(),
            "--folder",
            "permits",
            "--json",
        ];
        if let Some(about) = about {
            args.extend(["--description", about, "--uploaded-by", "Zoë"]);
        }
        let run = town.civic(&args);
        assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    }
}

/// The database goes away, and storage:init makes an empty one in its place.
pub fn lose(town: &Deployment) {
    town.db().execute("DELETE FROM storage_files", []).unwrap();
    for table in ["steps", "runs", "checksums", "copies", "installation"] {
        town.db()
            .execute(&format!("DELETE FROM civic_storage_{table}"), [])
            .unwrap();
    }
}

pub fn reconstruct(town: &Deployment, more: &[&str]) -> Run {
    town.civic(&[&["storage:reconstruct", "--json", "--min-age", "0"], more].concat())
}

#[track_caller]
fn assert_equal(now: &[Vec<Sql>], before: &[Vec<Sql>]) {
    assert_eq!(now.len(), before.len());
    for (now, before) in now.iter().zip(before) {
        assert_eq!(now, before);
    }
}

fn comes_back(town: &Deployment, count: usize) {
    stored(town, count);
    // The first that is destroyed makes the storage this database's own.
    let first = rows(town.db())[0][0].clone();
    let Sql::Text(first) = first else { panic!("an id") };
    assert_eq!(town.civic(&["storage:delete", "--yes", &first]).code, 0);
    let before = rows(town.db());
    assert_eq!(before.len(), count / 3 * 3 - 1);
    lose(town);
    // The storage is claimed by a database that is no more: whoever reconstructs says that it is his now.
    let refused = reconstruct(town, &[]);
    assert_eq!(
        (refused.code, rows(town.db()).len()),
        (8, 0),
        "{}",
        refused.stdout
    );
    let told = reconstruct(town, &["--dry-run"]);
    assert_eq!(
        (told.code, &told.json()["data"]["successfulCount"]),
        (0, &json!(before.len())),
        "{}",
        told.stderr
    );
    assert_eq!(rows(town.db()).len(), 0, "a dry run writes nothing");
    let run = reconstruct(town, &["--override", "ownership"]);
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    assert_equal(&rows(town.db()), &before);
    for item in run.json()["data"]["successful"].as_array().unwrap() {
        // Metadata is never written anew: what a record was changed to later, it does not tell.
        let unknown = match item["from"].as_str() {
            Some("metadata") => json!(["updatedAt"]),
            _ => json!([]),
        };
        assert_eq!(item["unknown"], unknown, "{item}");
    }
    let again = reconstruct(town, &[]);
    assert_eq!(
        (again.code, &again.json()["data"]["total"]),
        (0, &json!(0)),
        "{}",
        again.stdout
    );
    let look = town.cleanup(&["--min-age", "0"]);
    assert_eq!(
        ["orphanedObjects", "orphanedRecords", "mismatches"].map(|kind| look.count(kind)),
        [0; 3]
    );
}

#[test]
fn a_thousand_files_of_awkward_names_have_their_records_back() {
    comes_back(&Deployment::new(), 1002);
}

#[test]
fn a_database_that_is_gone_is_made_anew_and_filled() {
    let town = Deployment::new();
    stored(&town, 30);
    let before = rows(town.db());
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", town.env().database().display()));
    }
    let missing = reconstruct(&town, &[]);
    assert_eq!(missing.code, 2, "{}", missing.stdout);
    assert!(
        !town.env().database().exists(),
        "none is made unless that was asked"
    );
    let run = reconstruct(&town, &["--create"]);
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    assert_equal(&rows(&town.env().sql()), &before);
}

#[test]
fn what_civicpress_stored_comes_back_from_its_sidecars() {
    let env = TestEnv::fixture();
    let before = rows(&env.sql());
    let ids: Vec<Sql> = before.iter().map(|row| row[0].clone()).collect();
    // Those whose objects and sidecars agree with their rows; the rest is the fixture's drift.
    env.sql().execute("DELETE FROM storage_files", []).unwrap();
    let run = Run::of(&env, ["storage:reconstruct", "--json", "--min-age", "0"]);
    assert!(matches!(run.code, 0 | 3), "{} {}", run.stdout, run.stderr);
    let now = rows(&env.sql());
    // The deployment lies elsewhere than where it was made, and the records say where it is.
    let elsewhere = |row: &Vec<Sql>| [&row[..5], &row[6..]].concat();
    let before: Vec<_> = before.iter().map(elsewhere).collect();
    let equal = now.iter().filter(|row| before.contains(&elsewhere(row))).count();
    let from_sidecars = run.json()["data"]["successful"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["from"] == "sidecar")
        .count();
    assert!(
        equal >= 58 && from_sidecars >= equal,
        "{equal} of {} equal, {from_sidecars} from sidecars",
        ids.len()
    );
}

#[test]
fn without_anything_beside_it_the_key_and_the_object_tell_what_they_can() {
    let town = Deployment::new();
    town.file(&key("permits", 1), 7, days(3));
    town.file("permits/notes.txt", 3, days(3));
    let run = reconstruct(&town, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let item = run.json()["data"]["successful"][0].clone();
    assert_eq!(
        (&item["id"], &item["size"], &item["from"]),
        (&json!(uuid(1)), &json!(7), &json!("key"))
    );
    assert_eq!(
        (&item["originalName"], &item["folder"]),
        (&json!("file.txt"), &json!("permits"))
    );
    assert_eq!(
        item["unknown"],
        json!([
            "originalName",
            "description",
            "uploadedBy",
            "createdAt",
            "mimeType",
            "updatedAt"
        ])
    );
    assert!(
        run.stderr.contains("1 objects were not named by this system"),
        "{}",
        run.stderr
    );
    assert_eq!(rows(town.db()).len(), 1);
    let undo = town.civic(&[
        "storage:undo",
        "--yes",
        "--json",
        run.json()["data"]["runId"].as_str().unwrap(),
    ]);
    assert_eq!(
        (undo.code, rows(town.db()).len()),
        (1, 1),
        "no undo loses it again: {}",
        undo.stdout
    );
}

#[test]
fn what_lies_is_not_believed_and_what_is_there_is_not_touched() {
    let town = Deployment::new();
    let sidecar = |n: u32, text: &str| {
        town.file(&key("permits", n), 7, days(3));
        fs::write(town.storage().join(key("permits", n) + ".meta.json"), text).unwrap();
    };
    let of = |n: u32, size: u32, path: &str| {
        json!({ "id": uuid(n), "original_name": "told.txt", "size": size, "relative_path": path, "folder": "elsewhere",
                "provider_path": "/etc/passwd", "mime_type": "text/plain", "created_at": "2026-01-02T03:04:05.678Z" })
        .to_string()
    };
    sidecar(1, &of(9, 7, "permits/x"));
    sidecar(2, &of(2, 8, "permits/x"));
    sidecar(3, "{ not JSON");
    sidecar(4, &of(4, 7, "../../etc/passwd"));
    sidecar(5, "[]");
    fs::write(
        town.storage().join(key("permits", 6) + ".meta.json"),
        of(6, 7, "permits/x"),
    )
    .unwrap();
    // A record that is there, of the same place and of another.
    town.file(&key("permits", 7), 7, days(3));
    town.local_record(7, &key("permits", 7));
    town.file(&key("permits", 8), 7, days(3));
    town.local_record(8, &key("public", 8));
    let (there, bytes) = (rows(town.db()), files(&town.storage()));
    let run = reconstruct(&town, &[]);
    assert_eq!(run.code, 3, "{}", run.stdout);
    let json = run.json();
    let items = json["data"]["successful"].as_array().unwrap();
    let told: Vec<(&Value, &Value, bool)> = items
        .iter()
        .map(|i| (&i["id"], &i["from"], i["doubt"].is_string()))
        .collect();
    let expected = [1, 2, 3, 4, 5].map(|n| {
        (
            json!(uuid(n)),
            json!(if n == 4 { "sidecar" } else { "key" }),
            n != 4,
        )
    });
    assert!(
        told.iter()
            .zip(&expected)
            .all(|(a, b)| (a.0, a.1, a.2) == (&b.0, &b.1, b.2)),
        "{told:?}"
    );
    assert_eq!(items.len(), 5, "a sidecar without its object brings nothing back");
    let four = items.iter().find(|item| item["id"] == uuid(4)).unwrap();
    assert_eq!(
        (&four["relativePath"], &four["folder"], &four["originalName"]),
        (&json!(key("permits", 4)), &json!("permits"), &json!("told.txt"))
    );
    assert_eq!(
        four["providerPath"],
        town.storage().join(key("permits", 4)).display().to_string()
    );
    assert!(
        json["data"]["failed"][0]["error"]
            .as_str()
            .unwrap()
            .contains(&uuid(8)),
        "{json}"
    );
    let now = rows(town.db());
    assert!(there.iter().all(|row| now.contains(row)));
    assert_eq!(files(&town.storage()), bytes);
}

#[test]
fn what_is_on_its_way_gets_no_record_but_its_own() {
    let town = Deployment::new();
    town.file(&key("permits", 1), 7, std::time::Duration::from_secs(60));
    let young = town.civic(&["storage:reconstruct", "--json"]);
    assert_eq!((young.code, rows(town.db()).len()), (0, 0), "{}", young.stdout);
    assert!(
        young.stderr.contains("1 objects are too recent"),
        "{}",
        young.stderr
    );
    let source = town.env().tmp().join("new.txt");
    fs::write(&source, "new").unwrap();
    let args = [
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        source.to_str().unwrap(),
    ];
    let uploading = crate::cleanup_apply::Stopped::command(&town, "upload.after-put", &args);
    let run = reconstruct(&town, &[]);
    assert_eq!(
        (run.code, &run.json()["data"]["successfulCount"]),
        (0, &json!(1)),
        "{}",
        run.stdout
    );
    let uploaded = uploading.go_on();
    assert_eq!(
        (uploaded.code, rows(town.db()).len()),
        (0, 2),
        "{}",
        uploaded.stdout
    );
}

#[test]
fn killed_at_any_step_the_next_one_ends_it() {
    for point in ["reconstruct.after-intend", "reconstruct.after-settle"] {
        let town = Deployment::new();
        stored(&town, 300);
        let before = rows(town.db());
        lose(&town);
        let mut process = town.process();
        let args = ["storage:reconstruct", "--min-age", "0", "--override", "ownership"];
        let killed = process.args(args).env("CIVIC_FAILPOINT", point).status();
        assert!(!killed.unwrap().success(), "{point}");
        let left = rows(town.db()).len();
        assert!(left > 0 && left < before.len(), "{point}: {left}");
        let run = reconstruct(&town, &[]);
        assert_eq!(run.code, 0, "{point}: {} {}", run.stdout, run.stderr);
        assert_equal(&rows(town.db()), &before);
        let runs = town.civic(&["storage:runs", "--json"]).stdout;
        assert!(!runs.contains("\"running\""), "{runs}");
    }
}

mod needs_server {
    use super::comes_back;
    use crate::common::deployment::Deployment;
    use crate::common::{Remote, TestEnv};

    fn on(bucket: &impl Remote, count: usize) {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        comes_back(&town, count);
    }

    #[test]
    fn records_come_back_on_seaweedfs() {
        if let Some(bucket) = TestEnv::seaweed() {
            on(&bucket, 1002);
        }
    }

    #[test]
    fn records_come_back_on_azurite() {
        if let Some(bucket) = TestEnv::azurite() {
            on(&bucket, 120);
        }
    }

    #[test]
    fn records_come_back_on_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            on(&bucket, 120);
        }
    }
}

#[test]
fn a_file_that_its_record_names_by_an_old_root_is_no_lost_one() {
    let town = Deployment::new();
    let k = key("permits", 1);
    town.old_file(&k);
    town.record(1, "/srv/old", &k, (1, days(30)));
    let path = town.storage().display().to_string();
    town.providers(&format!(
        "  local: {{ type: local, path: {path}, aliases: [/srv/old] }}"
    ));
    let run = town.civic(&["storage:reconstruct", "--dry-run", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
}
