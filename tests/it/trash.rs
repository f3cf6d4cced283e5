//! The trash: what is in it, what comes back, and what goes for good.

use std::fs;

use crate::common::deployment::{Deployment, key, uuid};

fn deployment() -> Deployment {
    let town = Deployment::new();
    for n in 1..=3 {
        town.old_file(&key("permits", n));
        town.local_record(n, &key("permits", n));
    }
    town
}

fn trashed(town: &Deployment) -> Vec<String> {
    town.civic(&["storage:trash", "list", "--json"])
        .items("items", "id")
}

#[test]
fn before_anything_was_deleted_the_trash_is_empty_and_looking_writes_nothing() {
    let town = deployment();
    let before = town.env().tree();
    assert_eq!(trashed(&town), Vec::<String>::new());
    before.assert_unchanged(&town.env().tree());
}

#[test]
fn what_was_deleted_is_listed_and_one_of_it_comes_back() {
    let town = deployment();
    town.civic(&["storage:delete", "--yes", &uuid(1), &uuid(2)]);
    assert_eq!(trashed(&town), [uuid(1), uuid(2)]);
    let run = town.civic(&["storage:trash", "restore", "--yes", "--json", &uuid(2)]);
    assert_eq!(
        (run.code, run.items("successful", "id")),
        (0, vec![uuid(2)]),
        "{run:?}"
    );
    assert!(town.storage().join(key("permits", 2)).exists());
    assert_eq!(trashed(&town), [uuid(1)]);
    let again = town.civic(&["storage:trash", "restore", "--yes", "--json", &uuid(2)]);
    assert_eq!(again.code, 1, "{again:?}");
}

#[test]
fn emptying_keeps_what_is_younger_than_the_retention() {
    let town = deployment();
    let deleted = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    let kept = town.civic(&["storage:trash", "empty", "--yes", "--json"]);
    assert_eq!(
        (kept.code, &kept.json()["data"]["total"]),
        (0, &0.into()),
        "{kept:?}"
    );
    let dry = town.civic(&[
        "storage:trash",
        "empty",
        "--older-than",
        "0",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(dry.items("successful", "id"), [uuid(1)]);
    assert_eq!(trashed(&town), [uuid(1)]);
    let emptied = town.civic(&["storage:trash", "empty", "--older-than", "0", "--yes", "--json"]);
    assert_eq!(
        (emptied.code, emptied.items("successful", "id")),
        (0, vec![uuid(1)]),
        "{emptied:?}"
    );
    assert_eq!(trashed(&town), Vec::<String>::new());
    assert_eq!(fs::read_dir(town.storage().join(".trash")).unwrap().count(), 0);

    let run = deleted.json()["data"]["runId"].as_str().unwrap().to_owned();
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("emptied"), "{undone:?}");
}

#[test]
fn killed_while_emptying_the_next_run_ends_it() {
    for failpoint in ["empty.after-intend", "empty.after-act", "empty.after-settle"] {
        let town = deployment();
        town.civic(&["storage:delete", "--yes", &uuid(1), &uuid(2)]);
        let mut process = town.process();
        process.args(["storage:trash", "empty", "--older-than", "0", "--yes"]);
        let killed = process.env("CIVIC_FAILPOINT", failpoint).output().unwrap();
        assert_eq!(killed.status.code(), None, "{failpoint}: {killed:?}");
        let next = town.civic(&["storage:trash", "empty", "--older-than", "0", "--yes", "--json"]);
        assert_eq!(next.code, 0, "{failpoint}: {next:?}");
        assert_eq!(trashed(&town), Vec::<String>::new(), "{failpoint}");
        assert_eq!(
            fs::read_dir(town.storage().join(".trash")).unwrap().count(),
            0,
            "{failpoint}"
        );
        assert!(town.storage().join(key("permits", 3)).exists());
    }
}

#[test]
fn words_that_do_not_belong_together_are_wrong_usage() {
    let town = deployment();
    for args in [
        vec!["storage:trash", "restore"],
        vec!["storage:trash", "empty", "x"],
        vec!["storage:trash", "list", "--older-than", "1d"],
    ] {
        assert_eq!(town.civic(&args).code, 2, "{args:?}");
    }
}
