//! `storage:move`: bytes, sidecar and record together, readable by the record at every moment.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{assert_agrees, column, edit, row_count, town, unsettled};
use crate::cleanup_apply::Stopped;
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::delete::{files, killed, rows, run_id};

/// Every point of a move at which it may die; the second file of a batch as well as the first.
const POINTS: [&str; 11] = [
    "move.after-intend",
    "move.after-copy",
    "move.after-copy:2",
    "move.after-sidecar",
    "move.after-sidecar:2",
    "move.after-copies",
    "move.after-switch",
    "move.after-remove",
    "move.after-remove:2",
    "move.after-removals",
    "move.after-settle",
];

fn refile(town: &Deployment, folder: &str, ids: &[String]) -> Run {
    town.civic(&moving(folder, ids))
}

fn moving<'a>(folder: &'a str, ids: &'a [String]) -> Vec<&'a str> {
    let mut args = vec!["storage:move", "--json", "--folder", folder, "--concurrency", "1"];
    args.extend(ids.iter().map(String::as_str));
    args
}

fn undo(town: &Deployment, run: &Run) -> Run {
    town.civic(&["storage:undo", "--yes", "--json", &run_id(run)])
}

fn path_of(town: &Deployment, n: u32) -> PathBuf {
    column(town, n, "provider_path").as_str().unwrap().into()
}

/// Each file can be read where its row says, and holds what it held.
#[track_caller]
fn assert_readable(town: &Deployment, count: u32, context: &str) {
    assert_eq!(row_count(town), count as usize, "{context}");
    for n in 1..=count {
        let path = path_of(town, n);
        let bytes =
            fs::read(&path).unwrap_or_else(|error| panic!("{context}: {} is lost: {error}", path.display()));
        assert_eq!(bytes, format!("bytes of {n}").as_bytes(), "{context}");
    }
}

/// Each file is at one place with its sidecar, both as its row says, and there is nothing else.
#[track_caller]
fn assert_whole(town: &Deployment, count: u32, context: &str) {
    assert_readable(town, count, context);
    (1..=count).for_each(|n| assert_agrees(town, n));
    let found = files(&town.storage());
    assert_eq!(found.len(), 2 * count as usize, "{context}: {:?}", found.keys());
    assert_eq!(unsettled(town), 0, "{context}");
}

#[test]
fn a_file_moves_with_sidecar_and_record_and_undo_brings_every_byte_and_column_back() {
    let town = town(3);
    let (before, rows_before) = (files(&town.storage()), rows(town.db()));
    let run = refile(&town, "public", &[uuid(1), uuid(2)]);
    assert_eq!(run.code, 0, "{run:?}");
    let json = run.json();
    let data = &json["data"];
    assert_eq!(
        ["total", "successfulCount", "failedCount", "bytes"].map(|name| data[name].as_u64().unwrap()),
        [2, 2, 0, 20]
    );
    assert_eq!((&data["failed"], &data["dryRun"]), (&json!([]), &json!(false)));
    assert_eq!(data["errorSummary"]["totalErrors"], 0);
    let first = &data["successful"][0];
    assert_eq!(
        ["id", "folder", "previousFolder", "relativePath"].map(|name| first[name].as_str().unwrap()),
        [&uuid(1), "public", "permits", &key("public", 1)]
    );
    assert_eq!(first["moved"], true);
    assert_eq!(
        ["folder", "relative_path", "provider_path"].map(|name| column(&town, 1, name)),
        [
            "public".to_owned(),
            key("public", 1),
            town.storage().join(key("public", 1)).display().to_string()
        ]
    );
    assert_ne!(column(&town, 1, "updated_at"), column(&town, 1, "created_at"));
    assert_whole(&town, 3, "moved");
    assert!(!town.storage().join(key("permits", 1)).exists());

    let undone = undo(&town, &run);
    assert_eq!(
        (undone.code, &undone.json()["data"]["successfulCount"]),
        (0, &json!(2))
    );
    assert_eq!((files(&town.storage()), rows(town.db())), (before, rows_before));
    let again = undo(&town, &run);
    assert_eq!((again.code, &again.json()["data"]["total"]), (0, &json!(0)));
    assert_whole(&town, 3, "undone twice");
}

#[test]
fn a_file_that_is_in_the_folder_already_is_told_so_and_left() {
    let town = town(2);
    let before = files(&town.storage());
    let run = refile(&town, "permits", &[uuid(1), uuid(1)]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["total"], 1, "each id once");
    assert_eq!(run.json()["data"]["successful"][0]["moved"], false);
    assert_eq!(files(&town.storage()), before);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let town = town(2);
    let before = town.env().tree();
    let run = town.civic(&[
        "storage:move",
        &uuid(1),
        &uuid(9),
        "--folder",
        "public",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(run.code, 3, "{run:?}");
    let data = &run.json()["data"];
    assert_eq!((&data["dryRun"], &data["runId"]), (&json!(true), &Value::Null));
    assert_eq!(data["successful"][0]["folder"], "public");
    assert_eq!(run.items("failed", "file"), [uuid(9)]);
    before.assert_unchanged(&town.env().tree());
}

#[test]
fn what_the_folder_does_not_take_stays_where_it_is() {
    let town = town(6);
    town.env().edit_config(|yaml| {
        format!(
            "{yaml}  plans: {{ path: plans, access: public, allowed_types: [txt, exe], max_size: 10B }}\n"
        )
    });
    edit(&town, 1, "original_name = 'plan.pdf'");
    edit(&town, 2, "original_name = 'setup.EXE. '");
    fs::write(town.storage().join(key("permits", 3)), "more than ten bytes").unwrap();
    edit(&town, 4, "stored_filename = '../../etc/passwd'");
    fs::remove_file(town.storage().join(key("permits", 5))).unwrap();
    fs::create_dir_all(town.storage().join("plans")).unwrap();
    fs::write(town.storage().join(key("plans", 6)), "another's").unwrap();
    let before = (files(&town.storage()), rows(town.db()));
    let run = refile(&town, "plans", &[1, 2, 3, 4, 5, 6].map(uuid));
    assert_eq!(run.code, 1, "{run:?}");
    let failed = run.json()["data"]["failed"].clone();
    for (at, code, said) in [
        (
            0,
            "STORAGE_VALIDATION_ERROR",
            "type pdf is not allowed in folder plans",
        ),
        (1, "STORAGE_VALIDATION_ERROR", "executable"),
        (2, "STORAGE_VALIDATION_ERROR", "takes 10 at most"),
        (3, "STORAGE_VALIDATION_ERROR", "stored name"),
        (4, "STORAGE_FILE_NOT_FOUND", "nothing was moved"),
        (5, "STORAGE_ERROR", "nothing is overwritten"),
    ] {
        assert_eq!(failed[at]["errorCode"], code, "{failed}");
        assert!(failed[at]["error"].as_str().unwrap().contains(said), "{failed}");
    }
    assert_eq!((files(&town.storage()), rows(town.db())), before);
    assert_eq!(unsettled(&town), 0);
}

#[test]
fn wrong_usage_and_providers_that_do_not_answer_have_their_exit_codes() {
    let town = town(2);
    town.providers(&format!(
        "{}\n  local: {{ type: local, path: {} }}",
        Deployment::s3("http://127.0.0.1:1", "bucket", ""),
        town.storage().display()
    ));
    town.record(7, "s3://elsewhere", &key("permits", 7), (1, days(30)));
    town.record(8, "s3://bucket", &key("permits", 8), (1, days(30)));
    let unknown = refile(&town, "plublic", &[uuid(1)]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stdout.contains("public"), "{unknown:?}");
    assert_eq!(town.civic(&["storage:move", "--folder", "public"]).code, 2);
    assert_eq!(town.civic(&["storage:move", &uuid(1)]).code, 2);
    assert_eq!(refile(&town, "public", &[uuid(8)]).code, 5);
    let unmapped = refile(&town, "public", &[uuid(7)]);
    assert_eq!(unmapped.code, 1, "{unmapped:?}");
    // The local file moves while another provider is active, and one that fails does not stop it.
    let run = refile(&town, "public", &[uuid(8), uuid(1)]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.items("successful", "id"), [uuid(1)]);
    assert!(town.storage().join(key("public", 1)).exists());
}

#[test]
fn ids_come_from_a_list_and_a_name_of_two_files_is_an_error_that_lists_them() {
    let town = town(3);
    edit(&town, 3, "original_name = 'file 1.txt'");
    let mut process = town.process();
    process.args(["storage:move", "--json", "--folder", "public", "--from-list", "-"]);
    let mut child = process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    write!(
        child.stdin.take().unwrap(),
        "permits/file 2.txt\n\npermits/file 1.txt\n"
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains(&uuid(1)) && said.contains(&uuid(3)), "{said}");
    assert_eq!(
        [1, 2, 3].map(|n| column(&town, n, "folder")),
        ["permits", "public", "permits"]
    );
}

#[test]
fn on_a_local_disk_the_copy_is_a_second_name_of_the_same_file() {
    let town = town(1);
    let stopped = Stopped::command(&town, "move.after-copies", &moving("public", &[uuid(1)]));
    let of = |folder: &str| fs::metadata(town.storage().join(key(folder, 1))).unwrap();
    assert_eq!(of("permits").ino(), of("public").ino());
    assert_eq!(stopped.go_on().code, 0);
    assert_eq!(of("public").nlink(), 1);
    assert_whole(&town, 1, "moved");
}

#[test]
fn killed_anywhere_a_file_can_be_read_by_its_record_and_the_next_run_leaves_nothing_behind() {
    for point in POINTS {
        let town = town(4);
        let rows_before = rows(town.db());
        killed(&town, point, &moving("public", &[1, 2, 3].map(uuid)));
        assert_readable(&town, 4, point);
        // Neither of two copies is anybody's orphan in between.
        let look = town.cleanup(&["--min-age", "0"]);
        assert_eq!(
            ["orphanedObjects", "orphanedRecords"].map(|count| look.count(count)),
            [0; 2],
            "{point}: {}",
            look.stdout
        );
        let next = refile(&town, "permits", &[uuid(4)]);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        assert_whole(&town, 4, point);
        let run: String = town
            .db()
            .query_row(
                "SELECT id FROM civic_storage_runs WHERE operation = 'storage:move' ORDER BY started_at",
                [],
                |row| row.get(0),
            )
            .unwrap();
        let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
        assert_eq!(undone.code, 0, "{point}: {undone:?}");
        assert_whole(&town, 4, point);
        assert_eq!(rows(town.db()), rows_before, "{point}");
    }
}

#[test]
fn a_killed_undo_of_a_move_is_ended_in_the_same_way() {
    for point in POINTS {
        let town = town(4);
        let before = (files(&town.storage()), rows(town.db()));
        let run = run_id(&refile(&town, "public", &[1, 2, 3].map(uuid)));
        killed(&town, point, &["storage:undo", "--yes", &run]);
        assert_readable(&town, 4, point);
        let next = town.civic(&["storage:undo", "--yes", "--json", &run]);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        assert_eq!((files(&town.storage()), rows(town.db())), before, "{point}");
        assert_eq!(unsettled(&town), 0, "{point}");
    }
}

#[test]
fn a_recovery_that_is_killed_is_taken_up_by_the_next_command() {
    for died_at in [
        "move.after-intend",
        "move.after-copies",
        "move.after-switch",
        "move.after-remove",
    ] {
        for point in [
            "recover.after-copy",
            "recover.after-switch",
            "recover.after-act",
            "recover.after-settle",
        ] {
            let context = format!("{died_at}, then {point}");
            let town = town(2);
            killed(&town, died_at, &moving("public", &[uuid(1)]));
            let mut again = town.process();
            again
                .args(moving("permits", &[uuid(2)]))
                .env("CIVIC_FAILPOINT", point);
            // What a later death left behind needs fewer of the steps: then nothing is killed.
            again.output().unwrap();
            assert_readable(&town, 2, &context);
            assert_eq!(refile(&town, "permits", &[uuid(2)]).code, 0, "{context}");
            assert_eq!(column(&town, 1, "folder"), "public", "{context}");
            assert_whole(&town, 2, &context);
        }
    }
}

#[test]
fn cleanup_beside_a_move_takes_neither_copy() {
    for point in [
        "move.after-copy",
        "move.after-copies",
        "move.after-switch",
        "move.after-remove",
    ] {
        let town = town(2);
        let stopped = Stopped::command(&town, point, &moving("public", &[1, 2].map(uuid)));
        let cleaned = town.cleanup(&["--apply", "--yes", "--min-age", "0"]);
        assert_eq!(cleaned.code, 0, "{point}: {cleaned:?}");
        assert_eq!(
            cleaned.json()["data"]["cleaned"]["objects"],
            0,
            "{point}: {cleaned:?}"
        );
        assert_readable(&town, 2, point);
        let moved = stopped.go_on();
        assert_eq!(moved.code, 0, "{point}: {moved:?}");
        assert_whole(&town, 2, point);
    }
}

#[test]
fn what_is_edited_while_its_file_moves_stays_edited() {
    for point in ["move.after-intend", "move.after-copies", "move.after-switch"] {
        let town = town(2);
        let stopped = Stopped::command(&town, point, &moving("public", &[1, 2].map(uuid)));
        edit(
            &town,
            1,
            "description = 'edited', updated_at = '2030-01-01 00:00:00'",
        );
        let moved = stopped.go_on();
        assert_eq!(moved.code, 0, "{point}: {moved:?}");
        assert_eq!(
            ["folder", "description", "updated_at"].map(|name| column(&town, 1, name)),
            ["public", "edited", "2030-01-01T00:00:00.000Z"],
            "{point}"
        );
        assert_readable(&town, 2, point);
        if point != "move.after-switch" {
            assert_whole(&town, 2, point);
        }
    }
}

#[test]
fn a_file_whose_record_goes_elsewhere_meanwhile_stays_where_it_was() {
    for (change, sql) in [
        ("another place", "UPDATE storage_files SET folder = 'third'"),
        ("deleted", "DELETE FROM storage_files"),
    ] {
        let town = town(1);
        let before = files(&town.storage());
        let stopped = Stopped::command(&town, "move.after-copies", &moving("public", &[uuid(1)]));
        town.db().execute(sql, []).unwrap();
        let run = stopped.go_on();
        assert_eq!(run.code, 1, "{change}: {run:?}");
        assert_eq!(files(&town.storage()), before, "{change}");
        assert_eq!(unsettled(&town), 0, "{change}");
    }
}

#[test]
fn an_object_that_is_replaced_or_gone_right_before_is_left_alone() {
    for gone in [false, true] {
        let town = town(1);
        let stopped = Stopped::command(&town, "move.after-intend", &moving("public", &[uuid(1)]));
        let path = town.storage().join(key("permits", 1));
        if gone {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, "of somebody else").unwrap();
        }
        let run = stopped.go_on();
        assert_eq!(run.code, 1, "{run:?}");
        assert_eq!(column(&town, 1, "folder"), "permits");
        assert!(!town.storage().join(key("public", 1)).exists());
        assert_eq!(path.exists(), !gone);
    }
}

#[test]
fn something_that_comes_to_the_target_is_not_overwritten() {
    let town = town(1);
    let stopped = Stopped::command(&town, "move.after-intend", &moving("public", &[uuid(1)]));
    let target = town.storage().join(key("public", 1));
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    // Of the same length, and even of the same bytes: it is not ours.
    fs::write(&target, "bytes of 1").unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 1, "{run:?}");
    assert_readable(&town, 1, "kept");
    assert_eq!(column(&town, 1, "folder"), "permits");
    assert_eq!(fs::read(&target).unwrap(), b"bytes of 1");
}

#[test]
fn what_comes_to_the_old_place_after_the_switch_is_left_there_and_told() {
    let town = town(1);
    let stopped = Stopped::command(&town, "move.after-switch", &moving("public", &[uuid(1)]));
    let old = town.storage().join(key("permits", 1));
    fs::remove_file(&old).unwrap();
    fs::write(&old, "of somebody else").unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("both were left as they are"), "{run:?}");
    assert_readable(&town, 1, "moved");
    assert_eq!(fs::read(&old).unwrap(), b"of somebody else");
}

#[test]
fn a_copy_that_goes_away_after_the_switch_is_made_again_by_the_next_run() {
    let town = town(2);
    let stopped = Stopped::command(&town, "move.after-switch", &moving("public", &[uuid(1)]));
    fs::remove_file(town.storage().join(key("public", 1))).unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(town.storage().join(key("permits", 1)).exists(), "the last copy");
    assert_eq!(refile(&town, "permits", &[uuid(2)]).code, 0);
    assert_eq!(column(&town, 1, "folder"), "public");
    assert_whole(&town, 2, "recovered");
}

#[test]
fn what_is_written_to_the_old_name_while_both_are_there_is_not_lost() {
    let town = town(1);
    let stopped = Stopped::command(&town, "move.after-switch", &moving("public", &[uuid(1)]));
    let mut open = fs::OpenOptions::new()
        .append(true)
        .open(town.storage().join(key("permits", 1)))
        .unwrap();
    open.write_all(b" and more").unwrap();
    drop(open);
    let run = stopped.go_on();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(fs::read(path_of(&town, 1)).unwrap(), b"bytes of 1 and more");
    assert!(!town.storage().join(key("permits", 1)).exists());
    assert_eq!(unsettled(&town), 0);
}

#[test]
fn while_a_file_moves_no_other_run_touches_it() {
    let town = town(2);
    let stopped = Stopped::command(&town, "move.after-intend", &moving("public", &[uuid(1)]));
    let second = refile(&town, "public", &[uuid(1)]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(
        second.stdout.contains("another run is working on it"),
        "{second:?}"
    );
    let updated = town.civic(&["storage:update", &uuid(1), "--description", "x", "--json"]);
    assert_eq!(updated.code, 1, "{updated:?}");
    let deleted = town.civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
    assert_eq!(deleted.code, 1, "{deleted:?}");
    assert_eq!(stopped.go_on().code, 0);
    assert_whole(&town, 2, "moved by the first");
}

#[test]
fn two_processes_that_move_the_same_files_move_each_once() {
    let town = town(40);
    let ids: Vec<String> = (1..=40).map(uuid).collect();
    let start = |folder: &str| {
        let mut process = town.process();
        process
            .args(["storage:move", "--json", "--folder", folder])
            .args(&ids);
        process
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    for child in [start("public"), start("public")] {
        let output = child.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
    }
    assert!((1..=40).all(|n| column(&town, n, "folder") == "public"));
    assert_whole(&town, 40, "moved");
}

#[test]
fn an_interrupt_finishes_what_is_under_way_and_begins_nothing_more() {
    let town = town(3);
    let stopped = Stopped::command(&town, "move.after-copy", &moving("public", &[1, 2, 3].map(uuid)));
    kill_process(Pid::from_child(&stopped.0), Signal::INT).unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 130, "{run:?}");
    assert!(
        run.json()["data"]["successfulCount"].as_u64().unwrap() >= 1,
        "{run:?}"
    );
    assert!(run.json()["data"]["failedCount"] == 0, "{run:?}");
    assert_whole(&town, 3, "interrupted");
    assert_eq!(refile(&town, "public", &[1, 2, 3].map(uuid)).code, 0);
    assert!((1..=3).all(|n| column(&town, n, "folder") == "public"));
}

#[test]
fn undo_moves_back_what_was_edited_updated_and_repaired_since_and_keeps_all_of_that() {
    let town = town(1);
    let run = refile(&town, "public", &[uuid(1)]);
    edit(&town, 1, "size = 999, uploaded_by = 'mayor'");
    let repaired = town.cleanup(&["--apply", "--yes", "--repair", "sizes", "--min-age", "0"]);
    assert_eq!(repaired.json()["data"]["repaired"], 1, "{repaired:?}");
    let updated = town.civic(&["storage:update", &uuid(1), "--description", "since", "--json"]);
    assert_eq!(updated.code, 0, "{updated:?}");
    let undone = undo(&town, &run);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(
        ["folder", "uploaded_by", "description"].map(|name| column(&town, 1, name)),
        ["permits", "mayor", "since"]
    );
    assert_eq!(column(&town, 1, "size"), 10);
    assert_whole(&town, 1, "moved back");
}

#[test]
fn undo_overwrites_nothing_and_follows_no_file_that_was_moved_again() {
    let town = town(3);
    town.env().edit_config(|yaml| {
        format!("{yaml}  third: {{ path: third, access: private, allowed_types: ['*'] }}\n")
    });
    let run = refile(&town, "public", &[1, 2, 3].map(uuid));
    fs::write(town.storage().join(key("permits", 1)), "another's").unwrap();
    assert_eq!(refile(&town, "third", &[uuid(2)]).code, 0);
    let undone = undo(&town, &run);
    assert_eq!(undone.code, 3, "{undone:?}");
    assert_eq!(undone.items("failed", "file"), [uuid(1), uuid(2)]);
    assert_eq!(
        [1, 2, 3].map(|n| column(&town, n, "folder")),
        ["public", "third", "permits"]
    );
    assert_readable(&town, 3, "kept");
    assert_eq!(
        fs::read(town.storage().join(key("permits", 1))).unwrap(),
        b"another's"
    );
}

#[test]
fn files_that_become_public_are_told_of() {
    let town = town(2);
    town.env()
        .edit_config(|yaml| yaml.replace("permits, access: public", "permits, access: private"));
    let run = refile(&town, "public", &[1, 2].map(uuid));
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stderr
            .contains("folder public is public; files that were not: 2"),
        "{run:?}"
    );
    let back = refile(&town, "permits", &[1, 2].map(uuid));
    assert!(!back.stderr.contains("is public"), "{back:?}");
}

#[test]
fn a_file_without_a_sidecar_gets_none() {
    let town = town(1);
    fs::remove_file(town.storage().join(key("permits", 1) + ".meta.json")).unwrap();
    let run = refile(&town, "public", &[uuid(1)]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(
        files(&town.storage()).into_keys().collect::<Vec<_>>(),
        [key("public", 1)]
    );
}

/// Stored names that CivicPress never gives, but somebody may have; 250 bytes leave no room for a sidecar's.
fn odd_names() -> Vec<String> {
    let long = "n".repeat(213) + "_" + &uuid(1);
    let names = [
        "x#123.txt",
        "100%25 é~ (1).txt",
        "-rf",
        ".hidden",
        "a;b'c\"d",
        "e\u{301}\u{202e}🏛️",
    ];
    [long].into_iter().chain(names.map(str::to_owned)).collect()
}

#[test]
fn odd_stored_names_and_empty_files_move_there_and_back() {
    let town = Deployment::new();
    let names = odd_names();
    for (n, name) in (1..).zip(&names) {
        let at = format!("permits/{name}");
        town.file(&at, usize::from(n != 2), days(30));
        town.local_record(n, &at);
        if n > 1 {
            fs::write(town.storage().join(at + ".meta.json"), "{}").unwrap();
        }
    }
    let count = u32::try_from(names.len()).unwrap();
    let ids: Vec<String> = (1..=count).map(uuid).collect();
    let before = rows(town.db());
    for point in [None, Some("move.after-copies"), Some("move.after-switch")] {
        if let Some(point) = point {
            killed(&town, point, &moving("public", &ids));
        }
        let run = refile(&town, "public", &ids);
        assert_eq!(run.code, 0, "{point:?}: {run:?}");
        let found = files(&town.storage());
        assert_eq!(found.len(), 2 * names.len() - 1, "{point:?}: {:?}", found.keys());
        assert!(
            names
                .iter()
                .all(|name| found.contains_key(&format!("public/{name}"))),
            "{point:?}: {:?}",
            found.keys()
        );
        (2..=count).for_each(|n| assert_agrees(&town, n));
        assert_eq!(refile(&town, "permits", &ids).code, 0);
        assert_eq!(unsettled(&town), 0);
    }
    let same = |rows: Vec<Vec<rusqlite::types::Value>>| -> Vec<_> {
        rows.into_iter().map(|row| row[..11].to_vec()).collect()
    };
    assert_eq!(
        same(rows(town.db())),
        same(before),
        "all but the time of the change"
    );
}

#[test]
fn a_folder_that_cannot_be_written_to_keeps_everything_as_it_is() {
    let town = town(1);
    // Where the folder was to be stands a file.
    fs::write(town.storage().join("public"), "no directory").unwrap();
    let before = files(&town.storage());
    let run = refile(&town, "public", &[uuid(1)]);
    assert!(matches!(run.code, 1 | 5), "{run:?}");
    assert_eq!(files(&town.storage()), before);
    assert_eq!(column(&town, 1, "folder"), "permits");
    assert_eq!(unsettled(&town), 0);
}

mod needs_server {
    use super::*;
    use crate::common::{Remote, TestEnv};

    fn remote(bucket: &dyn Remote, count: u32) -> Deployment {
        let town = Deployment::new();
        town.providers(bucket.provider_yaml(bucket.kind(), "town").trim_end());
        for n in 1..=count {
            bucket.put(
                &format!("town/{}", key("permits", n)),
                format!("bytes of {n}").as_bytes(),
            );
            let root = format!("{}/town", bucket.root());
            town.record(n, &root, &key("permits", n), (10, days(30)));
        }
        town
    }

    /// Each object where its row says, and nowhere else.
    #[track_caller]
    fn assert_one_place(bucket: &dyn Remote, town: &Deployment, count: u32, context: &str) {
        for n in 1..=count {
            let now = column(town, n, "folder");
            for folder in ["permits", "public"] {
                let object = bucket.get(&format!("town/{}", key(folder, n)));
                let expected = (now == folder).then(|| format!("bytes of {n}").into_bytes());
                assert_eq!(object, expected, "{context}: {folder}, {n}");
            }
        }
    }

    #[track_caller]
    fn assert_remote_readable(bucket: &dyn Remote, town: &Deployment, count: u32, context: &str) {
        for n in 1..=count {
            let path = column(town, n, "provider_path");
            let key = path.as_str().unwrap().split_once("/town/").unwrap().1.to_owned();
            let bytes = bucket.get(&format!("town/{key}"));
            assert_eq!(
                bytes,
                Some(format!("bytes of {n}").into_bytes()),
                "{context}: {n}"
            );
        }
    }

    /// There and back, with a sidecar object of the first file.
    fn there_and_back(bucket: &dyn Remote) {
        let town = remote(bucket, 3);
        let sidecar = |folder: &str| format!("town/{}.meta.json", key(folder, 1));
        bucket.put(&sidecar("permits"), br#"{"kept":1}"#);
        let before = rows(town.db());
        let run = refile(&town, "public", &[1, 2].map(uuid));
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(
            column(&town, 1, "provider_path"),
            format!("{}/town/{}", bucket.root(), key("public", 1))
        );
        assert_one_place(bucket, &town, 3, "moved");
        assert_eq!(bucket.get(&sidecar("permits")), None);
        let told: Value = serde_json::from_slice(&bucket.get(&sidecar("public")).unwrap()).unwrap();
        assert_eq!((&told["folder"], &told["kept"]), (&json!("public"), &json!(1)));
        let clean = town.cleanup(&["--min-age", "0"]);
        let counts = [
            "orphanedObjects",
            "orphanedRecords",
            "misplaced",
            "sidecarsWithoutObject",
        ];
        assert_eq!(counts.map(|count| clean.count(count)), [0; 4], "{}", clean.stdout);
        let undone = undo(&town, &run);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(rows(town.db()), before);
        assert_one_place(bucket, &town, 3, "undone");
    }

    #[test]
    fn on_seaweedfs_there_and_back() {
        if let Some(bucket) = TestEnv::seaweed() {
            there_and_back(&bucket);
        }
    }

    #[test]
    fn on_rclone_there_and_back() {
        if let Some(bucket) = TestEnv::rclone() {
            there_and_back(&bucket);
        }
    }

    #[test]
    fn on_gcs_there_and_back() {
        if let Some(bucket) = TestEnv::gcs() {
            there_and_back(&bucket);
        }
    }

    #[test]
    fn on_azurite_there_and_back() {
        if let Some(bucket) = TestEnv::azurite() {
            there_and_back(&bucket);
        }
    }

    fn killed_anywhere(fresh: impl Fn() -> Option<Box<dyn Remote>>) {
        for point in POINTS.into_iter().filter(|point| !point.contains("sidecar:2")) {
            let Some(bucket) = fresh() else { return };
            let town = remote(bucket.as_ref(), 3);
            killed(&town, point, &moving("public", &[1, 2].map(uuid)));
            assert_remote_readable(bucket.as_ref(), &town, 3, point);
            assert_eq!(refile(&town, "permits", &[uuid(3)]).code, 0, "{point}");
            assert_one_place(bucket.as_ref(), &town, 3, point);
            assert_eq!(unsettled(&town), 0, "{point}");
        }
    }

    #[test]
    fn on_s3_killed_anywhere_a_file_can_be_read_and_the_next_run_leaves_nothing_behind() {
        killed_anywhere(|| Some(Box::new(TestEnv::seaweed()?)));
    }

    #[test]
    fn on_gcs_killed_anywhere_a_file_can_be_read_and_the_next_run_leaves_nothing_behind() {
        killed_anywhere(|| Some(Box::new(TestEnv::gcs()?)));
    }

    #[test]
    fn on_azurite_killed_anywhere_a_file_can_be_read_and_the_next_run_leaves_nothing_behind() {
        killed_anywhere(|| Some(Box::new(TestEnv::azurite()?)));
    }
}
