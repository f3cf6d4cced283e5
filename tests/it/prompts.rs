//! Questions on a terminal: what any other answer than yes leaves as it was, and what nobody answers is not done.

use std::collections::BTreeMap;
use std::fs;

use rusqlite::types::Value as Sql;

use crate::common::deployment::{Deployment, days, key, uuid};
use crate::delete::{self, answered, run_id};

/// What the operator has: files with the trash, rows, storage.yml.
type Have = (BTreeMap<String, Vec<u8>>, Vec<Vec<Sql>>, String);

fn have(town: &Deployment) -> Have {
    let (files, rows) = delete::state(town);
    (files, rows, fs::read_to_string(town.env().config()).unwrap())
}

/// Two files in order, one deleted, an orphan, a folder without files; and the run that deleted.
fn town() -> (Deployment, String) {
    let town = delete::deployment(3);
    let add = town.civic(&["storage:folder:add", "drafts"]);
    assert_eq!(add.code, 0, "{add:?}");
    let run = run_id(&town.civic(&["storage:delete", "--yes", "--json", &uuid(3)]));
    town.file(&key("permits", 11), 10, days(30));
    let sizes = "UPDATE storage_files SET size = 10";
    town.db().execute(sizes, []).unwrap();
    let vault = town.env().root().join("vault");
    fs::create_dir(&vault).unwrap();
    town.env().edit_config(|yaml| {
        let entry = format!(
            "providers:\n  vault: {{ type: local, path: {} }}\n",
            vault.display()
        );
        yaml.replacen("providers:\n", &entry, 1)
    });
    (town, run)
}

/// Every command that asks, what it is about, and what it does to it.
fn commands(run: &str) -> Vec<Vec<String>> {
    [
        &["storage:delete", &uuid(1)][..],
        &["storage:cleanup", "--apply", "--min-age", "0"],
        &["storage:undo", run],
        &["storage:trash", "empty", "--older-than", "0"],
        &["storage:folder:remove", "drafts"],
        &["storage:migrate", "--from", "local", "--to", "vault"],
    ]
    .map(|words| words.iter().map(|word| (*word).to_owned()).collect())
    .to_vec()
}

fn each(judge: impl Fn(&Deployment, &[&str])) {
    let (_, run) = town();
    for at in 0..commands(&run).len() {
        let (town, run) = town();
        let command = commands(&run).swap_remove(at);
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        judge(&town, &words);
    }
}

#[test]
fn any_answer_but_yes_changes_nothing_and_yes_does_it() {
    each(|town, command| {
        let before = have(town);
        for (key, code) in [
            ("n", 1),
            ("\r", 1),
            ("\u{1b}", 1),
            ("\u{3}", 130),
            ("terminate", 130),
        ] {
            let (exit, shown) = answered(town, key, command);
            assert_eq!(exit, Some(code), "{command:?}, {key:?}: {shown}");
            assert_eq!(have(town), before, "{command:?}, {key:?}");
        }
        let (_, shown) = answered(town, "hangup", command);
        assert!(shown.contains("[y/N]"), "{command:?}: {shown}");
        assert_eq!(have(town), before, "{command:?}, hung up");
        let (exit, shown) = answered(town, "y", command);
        assert_eq!(exit, Some(0), "{command:?}: {shown}");
        assert_ne!(have(town), before, "{command:?}");
    });
}

#[test]
fn what_nobody_can_answer_is_refused_before_anything() {
    each(|town, command| {
        let before = have(town);
        let run = town.civic(&[command, &["--json"]].concat());
        assert_eq!(run.code, 8, "{command:?}: {}", run.stdout);
        let error = &run.json()["error"];
        assert_eq!(
            (&error["code"], &error["hint"]),
            (&"STORAGE_REFUSED".into(), &"answer with --yes".into())
        );
        assert_eq!(have(town), before, "{command:?}");
        let told = town.civic(&[command, &["--dry-run"]].concat());
        let told = if command[0] == "storage:cleanup" {
            town.civic(&["storage:cleanup"])
        } else {
            told
        };
        assert_eq!(told.code, 0, "{command:?}: {}", told.stderr);
        assert_eq!(have(town), before, "{command:?}");
    });
}
