//! Plans: what a dry run wrote down is done, that and nothing else, and only while it is what was written, for whom it was
//! written, and still true.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeS3};
use crate::delete::state;

/// Two files in order (1, 2), two orphaned objects (11, 12), two orphaned records (21, 22).
fn drifted() -> Deployment {
    let town = Deployment::new();
    for n in [1, 2] {
        town.file(&key("permits", n), 1, days(30));
        town.local_record(n, &key("permits", n));
    }
    for n in [11, 12] {
        town.file(&key("permits", n), 10, days(30));
    }
    for n in [21, 22] {
        town.local_record(n, &key("permits", n));
    }
    town
}

fn file(town: &Deployment) -> PathBuf {
    town.env().tmp().join("plan")
}

fn plan(town: &Deployment, more: &[&str]) -> Run {
    let file = file(town);
    let args = ["--plan", file.to_str().unwrap(), "--min-age", "0"];
    let run = town.cleanup(&[&args, more].concat());
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    run
}

fn apply(town: &Deployment, more: &[&str]) -> Run {
    let file = file(town);
    let args = ["--apply", "--yes", "--plan", file.to_str().unwrap()];
    town.cleanup(&[&args, more].concat())
}

fn lines(town: &Deployment) -> Vec<Value> {
    let text = fs::read_to_string(file(town)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Writes the plan anew with an end that fits: what somebody would do who wants to deceive.
fn forge(town: &Deployment, change: impl FnOnce(&mut Vec<Value>)) {
    let mut lines = lines(town);
    lines.pop();
    change(&mut lines);
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let text = lines.join("\n") + "\n";
    let digest = Sha256::digest(text.as_bytes());
    let sha256 = digest
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let end = json!({ "type": "end", "items": lines.len() - 1, "sha256": sha256 });
    fs::write(file(town), format!("{text}{end}\n")).unwrap();
}

fn exists(town: &Deployment, n: u32) -> bool {
    town.storage().join(key("permits", n)).exists()
}

#[test]
fn a_plan_is_for_its_owner_alone_to_read() {
    let town = drifted();
    plan(&town, &[]);
    let mode = fs::metadata(file(&town)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_plan_has_each_item_with_its_evidence_and_changes_nothing() {
    let town = drifted();
    let before = state(&town);
    let run = plan(&town, &[]);
    let lines = lines(&town);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert_eq!(
        (&lines[0]["type"], &lines[0]["minAgeSeconds"]),
        (&json!("plan"), &json!(0))
    );
    assert_eq!(
        (&lines[1]["kind"], &lines[1]["item"]["size"]),
        (&json!("orphaned-objects"), &json!(10))
    );
    assert_eq!(
        (&lines[5]["type"], &lines[5]["items"]),
        (&json!("end"), &json!(4))
    );
    let told = &run.json()["data"]["plan"];
    assert_eq!(
        (&told["items"], &told["sha256"]),
        (&json!(4), &lines[5]["sha256"])
    );
    assert_eq!(state(&town), before);
    let path = file(&town).display().to_string();
    let again = town.cleanup(&["--plan", &path, "--min-age", "0"]);
    assert_eq!(again.code, 2, "it replaces nothing: {}", again.stdout);
}

#[test]
fn nothing_but_what_is_planned_and_still_true_is_done() {
    let town = drifted();
    plan(&town, &["--kind", "orphaned-objects"]);
    // 12 is another by now, and 13 was not there to be planned.
    town.file(&key("permits", 12), 11, days(30));
    town.file(&key("permits", 13), 10, days(30));
    let run = apply(&town, &[]);
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    let data = &run.json()["data"];
    assert_eq!(
        (&data["cleaned"]["objects"], &data["cleaned"]["records"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(data["skipped"]["objects"], 1);
    assert_eq!([11, 12, 13].map(|n| exists(&town, n)), [false, true, true]);
    let again = apply(&town, &[]);
    assert_eq!(
        (again.code, &again.json()["data"]["cleaned"]["objects"]),
        (0, &json!(0))
    );
    assert_eq!(again.json()["data"]["skipped"]["objects"], 2);
    let undone = town.civic(&["storage:undo", "--yes", data["runId"].as_str().unwrap()]);
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    assert!(exists(&town, 11));
}

#[test]
fn all_kinds_are_planned_and_applied() {
    let town = drifted();
    town.file(&key("permits", 2), 7, days(30));
    plan(&town, &["--repair", "sizes"]);
    let run = apply(&town, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let data = &run.json()["data"];
    assert_eq!(
        data["cleaned"],
        json!({ "objects": 2, "records": 2, "bytes": 20 })
    );
    assert_eq!(data["repaired"], 1);
    let left = town.cleanup(&["--min-age", "0"]);
    assert_eq!(
        ["orphanedObjects", "orphanedRecords", "mismatches"].map(|kind| left.count(kind)),
        [0; 3]
    );
}

#[track_caller]
fn assert_refused(town: &Deployment, code: i32, why: &str, more: &[&str]) {
    let before = state(town);
    let run = apply(town, more);
    assert_eq!(run.code, code, "{why}: {}", run.stdout);
    let json = run.json();
    let said = json["error"]["message"].as_str().unwrap();
    assert!(said.contains(why), "{why}: {said}");
    assert_eq!(state(town), before, "{why}");
}

#[test]
fn what_was_edited_or_cut_is_refused() {
    let town = drifted();
    assert_refused(&town, 2, "No such file", &[]);
    plan(&town, &[]);
    let whole = fs::read(file(&town)).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    for (edited, why) in [
        (text.replacen("permits", "public_", 1), "edited"),
        (
            text.replacen("\"minAgeSeconds\":0", "\"minAgeSeconds\":1", 1),
            "edited",
        ),
        (
            text.replacen(text.lines().nth(2).unwrap(), "", 1)
                .replace("\n\n", "\n"),
            "edited",
        ),
        (format!("{text}{{}}\n"), "behind its end"),
        (String::new(), "empty"),
        ("{}\n".to_owned(), "not the beginning of a plan"),
        ("not even JSON".to_owned(), "cut short"),
        (format!("{}\n", "x".repeat(2 << 20)), "cut short"),
    ] {
        fs::write(file(&town), edited).unwrap();
        assert_refused(&town, 8, why, &[]);
    }
    for cut in (0..whole.len() - 1).step_by(97) {
        fs::write(file(&town), &whole[..cut]).unwrap();
        assert_refused(&town, 8, if cut == 0 { "empty" } else { "cut short" }, &[]);
    }
}

#[test]
fn what_was_made_for_another_deployment_or_another_time_is_refused() {
    let (town, other) = (drifted(), drifted());
    plan(&town, &[]);
    fs::copy(file(&town), file(&other)).unwrap();
    assert_refused(&other, 8, "another deployment", &[]);
    // The same once both have ids of their own.
    for town in [&town, &other] {
        assert_eq!(town.civic(&["storage:delete", "--yes", &uuid(2)]).code, 0);
        let _ = fs::remove_file(file(town));
        plan(town, &[]);
    }
    fs::copy(file(&town), file(&other)).unwrap();
    assert_refused(&other, 8, "another deployment", &[]);
    assert_refused(&town, 8, "old", &["--plan-max-age", "0"]);
    forge(&town, |lines| lines[0]["madeAt"] = "2999-01-01T00:00:00Z".into());
    assert_refused(&town, 8, "to come", &[]);
    forge(&town, |lines| lines[0]["madeAt"] = "2020-01-01T00:00:00Z".into());
    assert_refused(&town, 8, "old", &[]);
    forge(&town, |lines| lines[0]["version"] = 2.into());
    assert_refused(&town, 8, "version 2", &[]);
    fs::remove_file(file(&town)).unwrap();
    plan(&town, &[]);
    for flag in [
        &["--kind", "sidecars"][..],
        &["--folder", "permits"],
        &["--min-age", "0"],
        &["--provider", "local"],
    ] {
        assert_refused(&town, 2, flag[0], flag);
    }
    forge(&town, |lines| {
        lines[0]["providers"][0]["roots"] = json!(["/srv/elsewhere/"]);
    });
    assert_refused(&town, 8, "not where it was", &[]);
}

#[test]
fn a_forged_plan_takes_nothing_that_a_run_without_it_would_leave() {
    let town = drifted();
    plan(&town, &[]);
    let own = lines(&town)[1].clone();
    let aim = |key: String| {
        let mut item = own.clone();
        let path = town.storage().join(&key);
        let meta = fs::metadata(&path);
        item["item"]["key"] = key.into();
        item["item"]["path"] = path.display().to_string().into();
        if let Ok(meta) = meta {
            item["item"]["size"] = meta.len().into();
            let at: chrono::DateTime<chrono::Utc> = meta.modified().unwrap().into();
            item["item"]["lastModified"] = serde_json::to_value(at).unwrap();
        }
        item
    };
    fs::create_dir_all(town.storage().join(".civic")).unwrap();
    fs::write(town.storage().join(".civic/kept"), "x").unwrap();
    let keys = [
        key("permits", 1),
        "../.system-data/storage.yml".into(),
        ".civic/kept".into(),
        "foreign.txt".into(),
    ];
    fs::write(town.storage().join("foreign.txt"), "x").unwrap();
    forge(&town, |lines| {
        lines.splice(1.., keys.map(aim));
    });
    let (before, config) = (state(&town), fs::read(town.env().config()).unwrap());
    let run = apply(&town, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let data = &run.json()["data"];
    assert_eq!(
        (&data["cleaned"]["objects"], &data["skipped"]["objects"]),
        (&json!(0), &json!(4)),
        "{data}"
    );
    assert_eq!(
        (state(&town), fs::read(town.env().config()).unwrap()),
        (before, config)
    );
    assert!(town.storage().join(".civic/kept").exists());
}

#[test]
fn rules_speak_and_a_kill_is_recovered_as_without_a_plan() {
    let town = drifted();
    plan(&town, &[]);
    assert_refused(&town, 8, "max-delete", &["--max-delete", "1"]);
    let file = file(&town);
    let args = [
        "storage:cleanup",
        "--apply",
        "--yes",
        "--plan",
        file.to_str().unwrap(),
    ];
    let mut process = town.process();
    let killed = process
        .args(args)
        .env("CIVIC_FAILPOINT", "cleanup.after-move")
        .status();
    assert!(!killed.unwrap().success());
    let run = apply(&town, &[]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!([11, 12].map(|n| exists(&town, n)), [false; 2]);
    let left = town.cleanup(&["--min-age", "0"]);
    assert_eq!(
        ["orphanedObjects", "orphanedRecords"].map(|kind| left.count(kind)),
        [0; 2]
    );
}

#[test]
fn half_a_view_makes_no_plan() {
    let fake = FakeS3::start(Behaviour {
        fail_page: Some((1, 503)),
        ..Behaviour::default()
    });
    let town = Deployment::new();
    town.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    let path = file(&town).display().to_string();
    let run = town.cleanup(&["--plan", &path, "--min-age", "0"]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    assert!(!file(&town).exists());
    assert_eq!(
        fs::read_dir(town.env().tmp()).unwrap().count(),
        0,
        "nothing half written either"
    );
}
