//! A verification that was interrupted, or killed, goes on; and together they say what one would have said.

use std::fs;

use serde_json::{Value, json};

use super::{found, lose, many, pairs, verify};
use crate::cleanup_apply::Stopped;
use crate::common::deployment::{Deployment, Run, days, key, uuid};

/// Stopped between two batches.
fn stopped(town: &Deployment, more: &[&str]) -> Stopped {
    let args = [&["storage:verify", "--json"], more].concat();
    Stopped::command(town, "verify.after-batch", &args)
}

fn killed(town: &Deployment, more: &[&str]) {
    let mut process = town.process();
    let process = process.arg("storage:verify").args(more);
    let status = process.env("CIVIC_FAILPOINT", "verify.after-batch").status();
    assert!(!status.unwrap().success());
}

#[test]
fn one_that_was_killed_goes_on_where_it_was_and_tells_all_that_it_found() {
    let town = many(600);
    lose(&town, 3);
    lose(&town, 599);
    killed(&town, &[]);
    // Looked at already, and not again.
    lose(&town, 7);
    let run = verify(&town, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let data = &run.json()["data"];
    assert_eq!(
        (&data["checked"], &data["resumed"], &data["complete"]),
        (&json!(600), &json!(true), &json!(true))
    );
    assert_eq!(
        found(&run),
        pairs(&[("file 3.txt", "missing"), ("file 599.txt", "missing")])
    );
    let again = verify(&town, &["--resume"]);
    assert_eq!(again.code, 2, "{}", again.stdout);
    assert_eq!(verify(&town, &[]).json()["data"]["counts"]["missing"], 3);
}

#[test]
fn ctrl_c_ends_it_and_says_how_it_goes_on() {
    let town = many(600);
    let run = stopped(&town, &[]).interrupt();
    assert_eq!(run.code, 130, "{}", run.stdout);
    let json = run.json();
    assert!(
        json["error"]["hint"].as_str().unwrap().contains("--resume"),
        "{json}"
    );
    assert_eq!(json["data"]["complete"], false);
    assert!(json["data"]["checked"].as_u64().unwrap() < 600, "{json}");
    assert_eq!(verify(&town, &["--resume"]).json()["data"]["checked"], 600);
}

/// Records 1 to 5 are of a provider that storage.yml has no more; 6 to `count` are in order.
fn with_five_elsewhere(count: u32) -> Deployment {
    let town = many(count);
    let old = town.env().tmp().join("old");
    let update = "UPDATE storage_files SET provider_path = ?1 || '/' || relative_path WHERE id <= ?2";
    let values = rusqlite::params![old.to_str().unwrap(), uuid(5)];
    assert_eq!(town.db().execute(update, values).unwrap(), 5);
    town
}

#[test]
fn what_could_not_be_looked_at_before_an_interruption_is_looked_at_again() {
    let town = with_five_elsewhere(1500);
    let whole = verify(&town, &[]);
    let said = |run: &Run| {
        let data = &run.json()["data"];
        let errors = data["errorSummary"]["totalErrors"].as_u64().unwrap();
        (run.code, data["checked"].as_u64().unwrap(), errors)
    };
    assert_eq!(said(&whole), (3, 1500, 5), "{}", whole.stdout);
    let first = stopped(&town, &[]).interrupt();
    assert_eq!(
        first.json()["data"]["errorSummary"]["totalErrors"],
        5,
        "{}",
        first.stdout
    );
    // And what the one that goes on could not look at either.
    let second = stopped(&town, &["--resume"]).interrupt();
    assert_eq!(second.code, 130, "{}", second.stdout);
    let last = verify(&town, &["--resume", "--fail-on-findings"]);
    assert_eq!(said(&last), said(&whole), "{}", last.stdout);
    let files = |run: &Run| run.items("errors", "file");
    assert_eq!(files(&last), files(&whole));
}

#[test]
fn what_can_be_looked_at_by_then_is_no_error_any_more() {
    let town = with_five_elsewhere(600);
    killed(&town, &[]);
    let (storage, old) = (town.storage(), town.env().tmp().join("old"));
    town.providers(&format!(
        "  local: {{ type: local, path: {} }}\n  old: {{ type: local, path: {} }}",
        storage.display(),
        old.display()
    ));
    for n in 2..=5 {
        let to = old.join(key("permits", n));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(storage.join(key("permits", n)), to).unwrap();
    }
    let run = verify(&town, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(run.json()["data"]["checked"], 600);
    assert_eq!(found(&run), pairs(&[("file 1.txt", "missing")]));
}

#[test]
fn a_sample_beside_it_leaves_its_notes_alone() {
    let town = many(900);
    lose(&town, 3);
    let run = stopped(&town, &[]);
    for other in [&["--sample", "1%"][..], &["--checksum"], &["--folder", "permits"]] {
        assert_eq!(verify(&town, other).code, 0, "{other:?}");
    }
    assert_eq!(run.interrupt().code, 130);
    let run = verify(&town, &["--resume", "--fail-on-findings"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert_eq!(found(&run), pairs(&[("file 3.txt", "missing")]));
    assert_eq!(run.json()["data"]["checked"], 900);
}

#[test]
fn a_second_one_that_is_asked_the_same_keeps_no_notes_and_says_so() {
    let town = many(900);
    lose(&town, 3);
    let first = stopped(&town, &[]);
    let second = stopped(&town, &[]).interrupt();
    assert!(second.stderr.contains("keeps no notes"), "{}", second.stderr);
    let json = second.json();
    let hint = json["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("begins anew"), "{hint}");
    // Nobody goes on with what somebody is still at.
    let resumed = verify(&town, &["--resume"]);
    assert_eq!(
        (resumed.code, &resumed.json()["error"]["code"]),
        (7, &json!("STORAGE_LOCKED")),
        "{}",
        resumed.stdout
    );
    let whole = verify(&town, &["--fail-on-findings"]);
    assert_eq!(whole.code, 4, "{}", whole.stdout);
    assert_eq!(first.interrupt().code, 130);
    let run = verify(&town, &["--resume", "--fail-on-findings"]);
    assert_eq!(run.code, 4, "{}", run.stdout);
    assert_eq!(run.json()["data"]["checked"], 900);
}

/// As it is of one on another machine, whose end nobody can see.
#[test]
fn one_that_was_silent_for_too_long_loses_its_notes_and_knows() {
    let town = many(900);
    lose(&town, 3);
    let first = stopped(&town, &[]);
    let mut later = town.process();
    let later = later
        .args(["storage:verify", "--resume"])
        .env("CIVIC_CLOCK_AHEAD", "660")
        .env("CIVIC_FAILPOINT", "verify.after-batch");
    assert!(!later.status().unwrap().success());
    let first = first.go_on();
    assert_eq!((first.code, found(&first).len()), (0, 1), "{}", first.stdout);
    assert!(first.stderr.contains("taken the notes over"), "{}", first.stderr);
    let run = verify(&town, &["--resume", "--fail-on-findings"]);
    assert_eq!((run.code, found(&run).len()), (4, 1), "{}", run.stdout);
    assert_eq!(run.json()["data"]["checked"], 900);
}

#[test]
fn no_file_counts_twice_however_often_it_was_interrupted() {
    let town = many(1100);
    for n in 1..=4 {
        lose(&town, n);
    }
    killed(&town, &[]);
    // Mended, deleted, and still missing.
    town.file(&key("permits", 1), 1, days(30));
    town.file(&key("permits", 2), 1, days(30));
    let deleted = town
        .db()
        .execute("DELETE FROM storage_files WHERE id = ?1", [uuid(3)]);
    assert_eq!(deleted.unwrap(), 1);
    killed(&town, &["--resume"]);
    killed(&town, &["--resume"]);
    let run = verify(&town, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(found(&run), pairs(&[("file 4.txt", "missing")]));
    assert_eq!(run.json()["data"]["checked"], 1099);
}

#[test]
fn one_that_read_nothing_is_not_gone_on_with_as_if_it_had() {
    let town = many(600);
    killed(&town, &[]);
    let run = verify(&town, &["--resume", "--checksum"]);
    assert_eq!(run.code, 2, "{}", run.stdout);
    // One that reads says how it goes on, and goes on reading.
    let run = stopped(&town, &["--checksum"]).interrupt();
    let json = run.json();
    let hint = json["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("storage:verify --checksum --resume"), "{hint}");
    let run = verify(&town, &["--resume", "--checksum"]);
    let data = &run.json()["data"];
    assert_eq!(
        (&data["checksum"], &data["checked"], &data["withoutChecksum"]),
        (&json!(true), &json!(600), &json!(600))
    );
    // The one that asked is still there to be gone on with.
    let data = &verify(&town, &["--resume"]).json()["data"];
    assert_eq!(
        (&data["checksum"], &data["checked"]),
        (&json!(false), &json!(600))
    );
    // Alone, --resume means all files, read or not, and never less.
    killed(&town, &["--checksum"]);
    killed(&town, &["--folder", "permits"]);
    let data = &verify(&town, &["--resume"]).json()["data"];
    assert_eq!(
        (&data["checksum"], &data["withoutChecksum"]),
        (&json!(true), &json!(600))
    );
    assert_eq!(verify(&town, &["--resume"]).code, 2);
    assert_eq!(verify(&town, &["--resume", "--folder", "permits"]).code, 0);
}

#[test]
fn a_sample_goes_on_with_the_files_that_it_drew() {
    let town = many(1200);
    for n in 1..=1200 {
        lose(&town, n);
    }
    let first = stopped(&town, &["--sample", "70%"]).interrupt();
    let run = verify(&town, &["--sample", "70%", "--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let ids = run.items("findings", "id");
    let drawn = &ids[..first.items("findings", "id").len()];
    assert_eq!(
        first.items("findings", "id"),
        drawn,
        "found before, and found again"
    );
    assert!((700..1000).contains(&ids.len()), "{} of 1200", ids.len());
    assert_eq!(run.json()["data"]["checked"].as_u64().unwrap(), ids.len() as u64);
}

#[test]
fn its_progress_ends_at_all_also_where_it_was_resumed() {
    let town = many(600);
    lose(&town, 3);
    killed(&town, &[]);
    for more in [&["--resume"][..], &[]] {
        let args = [&["storage:verify", "--progress", "json", "--json"], more].concat();
        let run = town.civic(&args);
        let last: Value = serde_json::from_str(run.stderr.lines().last().unwrap()).unwrap();
        let (completed, total) = (&last["completed"], &last["total"]);
        assert_eq!((completed, total), (&json!(600), &json!(600)), "{}", run.stderr);
    }
}
