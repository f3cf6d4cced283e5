//! `--apply`: under the rules of cleanup, and undone like anything else.

use std::fs;

use serde_json::json;

use super::{Town, errors, four};
use crate::cleanup_apply::Stopped;
use crate::common::deployment::{key, uuid};
use crate::delete::{rows, run_id};

const DELETES: &str = "  policies:\n    - { name: old, folder: permits, action: delete, max_age: 365d }\n";

/// So many files that are due, and one that is not.
fn due(count: u32) -> Town {
    let town = Town::new(DELETES);
    for n in 1..=count {
        town.file(n, "permits", 400);
    }
    town.file(count + 1, "permits", 300);
    town
}

#[test]
fn what_is_due_goes_to_the_trash_and_an_undo_brings_it_back() {
    let town = due(3);
    let before = rows(town.town.db());
    let run = town.apply(&[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        (four(&run, "counts"), four(&run, "done")),
        ([3, 0, 0, 0], [3, 0, 0, 0])
    );
    assert_eq!(run.json()["data"]["mode"], "apply");
    assert_eq!(town.count(), 1);
    town.assert_readable(4, "not due");
    town.assert_whole("applied");
    let id = run_id(&run);
    let trashed = town
        .town
        .storage()
        .join(format!(".trash/{id}/{}", key("permits", 1)));
    assert_eq!(fs::read(trashed).unwrap(), super::content(1));
    let again = town.apply(&[]);
    assert_eq!((again.code, four(&again, "done")), (0, [0; 4]));
    let told = town
        .town
        .civic(&["storage:runs", "--operation", "lifecycle", "--json"])
        .json();
    let statuses: Vec<_> = told["data"]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["status"].clone())
        .collect();
    assert_eq!(
        statuses,
        ["done", "done"],
        "a night with nothing to do is a night that worked"
    );

    let undone = town.undo(&id);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(rows(town.town.db()), before);
    town.assert_readable(1, "undone");
    town.assert_whole("undone");
}

#[test]
fn a_hold_keeps_what_would_be_deleted() {
    let town = due(2);
    let held = DELETES.to_owned()
        + "    - { name: hold, folder: '*', action: retain, match: { name: 'file 1*' } }\n";
    town.configure(&held);
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")), (0, [1, 0, 0, 1]), "{run:?}");
    town.assert_readable(1, "held");
    assert_eq!(town.path(2), None);
}

#[test]
fn nobody_agreed_and_nothing_happens() {
    let town = due(2);
    let before = town.town.env().tree();
    let run = town.run(&["--apply"]);
    assert_eq!(run.code, 8, "{run:?}");
    before.assert_unchanged(&town.town.env().tree());
    let run = town.apply(&["--check"]);
    assert_eq!(run.code, 2, "{run:?}");
}

#[test]
fn more_than_the_cap_is_refused_before_anything_is_done() {
    let town = due(11);
    let check = town.run(&[]);
    assert_eq!(check.code, 0, "a check warns, and never refuses");
    assert_eq!(check.json()["data"]["warnings"][0]["rule"], "max-delete");
    assert!(
        check.stderr.contains("max-delete (local): 11 files"),
        "{}",
        check.stderr
    );
    let refused = town.apply(&[]);
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(
        refused.stderr.contains("--override max-delete"),
        "{}",
        refused.stderr
    );
    assert_eq!(four(&refused, "done"), [0; 4]);
    assert_eq!(town.count(), 12);
    assert_eq!(town.apply(&["--max-delete", "10"]).code, 8);
    assert_eq!(town.apply(&["--max-delete", "90%"]).code, 8, "11 of 12 are more");
    assert_eq!(town.count(), 12);
    let run = town.apply(&["--max-delete", "11"]);
    assert_eq!((run.code, four(&run, "done")[0]), (0, 11), "{run:?}");

    let town = due(11);
    let run = town.apply(&["--override", "max-delete"]);
    assert_eq!((run.code, four(&run, "done")[0]), (0, 11), "{run:?}");
    let runs = town.town.civic(&["storage:runs", "--json"]).json();
    assert_eq!(
        runs["data"]["runs"][0]["request"]["overrides"],
        json!(["max-delete"])
    );
}

#[test]
fn an_archive_is_capped_too() {
    let town = Town::new(
        "  policies:\n    - { name: a, folder: permits, action: archive, max_age: 365d, archive: { provider: vault } }\n",
    );
    for n in 1..=11 {
        town.file(n, "permits", 400);
    }
    assert_eq!(town.apply(&[]).code, 8);
    (1..=11).for_each(|n| town.assert_readable(n, "refused"));
    assert_eq!(town.apply(&["--max-delete", "100%"]).code, 0);
}

#[test]
fn storage_of_another_installation_is_refused() {
    let town = due(1);
    assert_eq!(town.apply(&[]).code, 0);
    town.file(9, "permits", 400);
    let marker = town.town.storage().join(".civic");
    let marker = fs::read_dir(marker)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file())
        .unwrap();
    let told = fs::read_to_string(&marker).unwrap();
    let mut other: serde_json::Value = serde_json::from_str(&told).unwrap();
    other["installation"] = "00000000-0000-4000-8000-00000000000f".into();
    fs::write(&marker, other.to_string()).unwrap();
    assert!(town.run(&[]).stderr.contains("ownership (local)"));
    let run = town.apply(&[]);
    assert_eq!(run.code, 8, "{run:?}");
    town.assert_readable(9, "foreign");
    let run = town.apply(&["--override", "ownership"]);
    assert_eq!((run.code, four(&run, "done")[0]), (0, 1), "{run:?}");
    assert_eq!(run.json()["data"]["takenOver"][0]["provider"], "local");
}

#[test]
fn a_missing_root_is_told_before_anything_is_done() {
    let town = due(2);
    let away = town.town.env().root().join("away");
    fs::rename(town.town.storage(), &away).unwrap();
    let check = town.run(&[]);
    assert_eq!((check.code, four(&check, "counts")[0]), (0, 2), "{check:?}");
    assert!(check.stderr.contains("does not exist"), "{}", check.stderr);
    let run = town.apply(&[]);
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(town.count(), 3);
    // A mount point without its disk: there, and empty.
    fs::create_dir(town.town.storage()).unwrap();
    let run = town.apply(&["--override", "max-delete"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert!(run.stderr.contains("is its disk mounted?"), "{}", run.stderr);
    assert_eq!(town.count(), 3);
}

#[test]
fn a_file_whose_object_is_not_what_its_record_says_is_kept() {
    let town = due(3);
    fs::remove_file(town.town.storage().join(key("permits", 1))).unwrap();
    fs::write(town.town.storage().join(key("permits", 2)), "longer than it was").unwrap();
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[0]), (3, 1), "{run:?}");
    let told = errors(&run);
    assert_eq!(
        (told[0].0.as_str(), told[1].0.as_str()),
        (uuid(1).as_str(), uuid(2).as_str())
    );
    assert!(
        told[0].1.contains("its record is kept") && told[1].1.contains("--repair sizes"),
        "{told:?}"
    );
    assert_eq!(town.count(), 3);
    // Where none goes through, the run failed.
    assert_eq!(town.apply(&[]).code, 1);
    let runs = town.town.civic(&["storage:runs", "--json"]).json();
    assert_eq!(runs["data"]["runs"][0]["status"], "failed");
    assert_eq!(runs["data"]["runs"][1]["status"], "partial");
}

#[test]
fn what_changes_between_the_judgement_and_its_turn_is_judged_again() {
    let town = due(4);
    let args = ["storage:lifecycle", "--json", "--apply", "--yes"];
    let run = Stopped::command(&town.town, "lifecycle.before-batch", &args);
    let edit = |n: u32, assignment: &str| {
        let sql = format!("UPDATE storage_files SET {assignment} WHERE id = ?1");
        assert_eq!(town.town.db().execute(&sql, [uuid(n)]).unwrap(), 1);
    };
    edit(1, "folder = 'plans'");
    edit(2, "created_at = '2999-01-01 00:00:00'");
    town.town
        .db()
        .execute("DELETE FROM storage_files WHERE id = ?1", [uuid(3)])
        .unwrap();
    edit(4, "description = 'edited'");
    let run = run.go_on();
    assert_eq!((run.code, four(&run, "done")[0]), (0, 1), "{run:?}");
    assert_eq!(run.json()["data"]["skipped"], 3);
    town.assert_readable(1, "moved meanwhile");
    town.assert_readable(2, "another date meanwhile");
    let back = town.undo(&run_id(&run));
    assert_eq!(back.code, 0, "{back:?}");
    let told: String = town
        .town
        .db()
        .query_row(
            "SELECT description FROM storage_files WHERE id = ?1",
            [uuid(4)],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(told, "edited", "what went was the row as it was then");
}

#[test]
fn a_record_that_cannot_be_read_ends_the_run_before_anything_is_done() {
    let town = due(2);
    town.town
        .db()
        .execute("UPDATE storage_files SET size = 'many' WHERE id = ?1", [uuid(3)])
        .unwrap();
    for run in [town.run(&[]), town.apply(&[])] {
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains(&uuid(3)), "{}", run.stderr);
    }
    assert_eq!(town.count(), 3, "what is not seen whole is not acted on");
    town.assert_readable(1, "not seen whole");
}

#[test]
fn a_holder_that_slept_past_its_lease_does_nothing_when_it_wakes() {
    let town = due(2);
    let args = ["storage:lifecycle", "--json", "--apply", "--yes"];
    let sleeper = Stopped::command(&town.town, "lifecycle.before-batch", &args);
    let changed = town
        .town
        .db()
        .execute("UPDATE civic_storage_leases SET expires_at = 1", []);
    assert_eq!(changed.unwrap(), 1);
    let other = town.town.cleanup(&["--apply", "--yes"]);
    assert_eq!(other.code, 0, "{}", other.stdout);
    let sleeper = sleeper.go_on();
    assert_eq!(
        (sleeper.code, four(&sleeper, "done")),
        (1, [0; 4]),
        "7 would say that nothing was begun: {sleeper:?}"
    );
    town.assert_readable(1, "slept");
    assert_eq!(town.apply(&[]).code, 0);
}

#[test]
fn lifecycle_that_is_switched_off_does_nothing_and_says_so() {
    let town = due(2);
    town.configure(&format!("  enabled: false\n{DELETES}"));
    let check = town.run(&[]);
    assert_eq!((check.code, four(&check, "counts")[0]), (0, 2));
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")), (0, [0; 4]), "{run:?}");
    assert!(run.stderr.contains("nothing was done"), "{}", run.stderr);
    assert_eq!(town.count(), 3);
}

#[test]
fn an_interrupt_ends_the_batch_and_the_next_run_goes_on() {
    let town = due(150);
    let args = [
        "storage:lifecycle",
        "--json",
        "--apply",
        "--yes",
        "--max-delete",
        "100%",
    ];
    let run = Stopped::command(&town.town, "lifecycle.before-batch", &args);
    let run = run.interrupt();
    assert_eq!(run.code, 130, "{run:?}");
    assert_eq!(four(&run, "done")[0], 100);
    town.assert_whole("interrupted");
    let next = town.apply(&["--max-delete", "100%"]);
    assert_eq!((next.code, four(&next, "done")[0]), (0, 50), "{next:?}");
}

#[test]
fn a_folder_or_a_policy_goes_alone() {
    let town = due(1);
    town.file(5, "plans", 400);
    town.configure(
        "  policies:\n    - { name: old, folder: permits, action: delete, max_age: 365d }\n    - { name: all, folder: '*', action: delete, max_age: 365d }\n",
    );
    assert_eq!(four(&town.apply(&["--folder", "plans"]), "done")[0], 1);
    assert_eq!(town.path(5), None);
    assert_eq!(
        four(&town.apply(&["--policy", "all"]), "done")[0],
        0,
        "the first that is due has the say"
    );
    assert_eq!(four(&town.apply(&["--policy", "old"]), "done")[0], 1);
}
