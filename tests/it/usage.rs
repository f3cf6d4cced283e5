//! `storage:usage` on a deployment in which commands write: what has a line of its own, and reports that are kept.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use serde_json::{Value, json};

use crate::common::deployment::{Deployment, Run, days, key, uuid};

/// Puts a file of so many bytes into a folder.
fn upload(deployment: &Deployment, folder: &str, name: &str, size: usize) -> String {
    let path = deployment.env().root().join(name);
    fs::write(&path, vec![b'x'; size]).unwrap();
    let path = path.display().to_string();
    let run = deployment.civic(&["storage:upload", &path, "--folder", folder, "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn usage(deployment: &Deployment, args: &[&str]) -> Value {
    let run = deployment.civic(&[&["storage:usage", "--json"], args].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    run.json()["data"].clone()
}

fn tally(files: u64, size: u64) -> Value {
    json!({"files": files, "size": size, "sizeFormatted": format!("{size} B")})
}

/// Takes so many seconds from the time that kept reports were made.
fn age(deployment: &Deployment, seconds: i64) {
    let sql = "UPDATE civic_storage_reports SET made_at = made_at - ?1 * 1000000";
    assert!(deployment.db().execute(sql, [seconds]).unwrap() > 0);
}

#[test]
fn a_report_is_given_again_for_five_minutes_and_says_how_old_it_is() {
    let deployment = Deployment::new();
    upload(&deployment, "permits", "a.txt", 10);
    let first = usage(&deployment, &[]);
    assert_eq!(
        (&first["cached"], &first["ageSeconds"]),
        (&json!(false), &json!(0))
    );
    age(&deployment, 299);
    let again = usage(&deployment, &[]);
    assert_eq!(again["cached"], true);
    let old = again["ageSeconds"].as_u64().unwrap();
    assert!((299..=301).contains(&old) || old == 298, "{old}");
    assert_eq!(again["byFolder"], first["byFolder"]);
    let table = deployment.civic(&["storage:usage"]).stdout;
    assert!(
        table.contains("; --refresh counts anew\n") && table.contains("Counted 2"),
        "{table}"
    );
    // Another question has an answer of its own.
    for other in [vec!["--by", "type"], vec!["--folder", "permits"]] {
        assert_eq!(usage(&deployment, &other)["cached"], false, "{other:?}");
        assert_eq!(usage(&deployment, &other)["cached"], true, "{other:?}");
    }
    assert_eq!(usage(&deployment, &["--refresh"])["cached"], false);
    age(&deployment, 300);
    assert_eq!(usage(&deployment, &[])["cached"], false, "too old");
    age(&deployment, -60);
    assert_eq!(usage(&deployment, &[])["cached"], false, "a clock was set back");
}

#[test]
fn whatever_this_program_writes_drops_the_report() {
    let deployment = Deployment::new();
    let id = upload(&deployment, "permits", "a.txt", 10);
    let fresh = |what: &str| {
        assert_eq!(usage(&deployment, &[])["cached"], false, "{what}");
        assert_eq!(usage(&deployment, &[])["cached"], true, "{what}");
    };
    fresh("at first");
    upload(&deployment, "permits", "b.txt", 5);
    fresh("an upload");
    assert_eq!(
        deployment
            .civic(&["storage:move", &id, "--folder", "public"])
            .code,
        0
    );
    fresh("a move");
    assert_eq!(deployment.civic(&["storage:delete", &id, "--yes"]).code, 0);
    fresh("a deletion");
    assert_eq!(
        deployment
            .civic(&["storage:trash", "empty", "--older-than", "0", "--yes"])
            .code,
        0
    );
    fresh("an emptied trash");
    // CivicPress tells nobody, but a new row can be seen.
    deployment.local_record(7, &key("permits", 7));
    fresh("a file of CivicPress's");
}

#[test]
fn trash_and_uploads_under_way_have_lines_of_their_own() {
    let deployment = Deployment::new();
    let id = upload(&deployment, "permits", "a.txt", 10);
    upload(&deployment, "public", "b.txt", 5);
    let data = usage(&deployment, &[]);
    assert_eq!((&data["trash"], &data["inFlight"]), (&tally(0, 0), &tally(0, 0)));
    assert_eq!(deployment.civic(&["storage:delete", &id, "--yes"]).code, 0);
    intent(&deployment, 1, ("permits", 700), 0);
    intent(&deployment, 2, ("public", 70), 0);
    intent(&deployment, 3, ("public", 7), 3600);
    let data = usage(&deployment, &["--refresh"]);
    assert_eq!(data["total"], tally(1, 5));
    assert_eq!(
        (&data["trash"], &data["inFlight"]),
        (&tally(1, 10), &tally(2, 770))
    );
    let permits = usage(&deployment, &["--folder", "permits"]);
    assert_eq!(
        (&permits["trash"], &permits["inFlight"]),
        (&tally(1, 10), &tally(1, 700))
    );
    let public = usage(&deployment, &["--folder", "public"]);
    assert_eq!(
        (&public["trash"], &public["inFlight"]),
        (&tally(0, 0), &tally(1, 70))
    );
    let table = deployment.civic(&["storage:usage"]).stdout;
    assert!(table.contains("Trash, beside that: 10 B in 1 files\n"), "{table}");
    assert!(
        table.contains("On its way, beside that: 770 B in 2 files\n"),
        "{table}"
    );
    let csv = deployment.civic(&["storage:usage", "--output", "csv"]).stdout;
    assert!(
        csv.contains("\ntrash,,1,10,10 B\n") && csv.contains("\ninFlight,,2,770,770 B\n"),
        "{csv}"
    );
    let run = deployment.civic(&["storage:trash", "restore", &id, "--yes"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(usage(&deployment, &[])["trash"], tally(0, 0));
}

/// An upload of some other host's, last seen so many seconds ago.
fn intent(deployment: &Deployment, n: u32, (folder, size): (&str, u64), seen: i64) {
    let sql = "INSERT INTO civic_storage_intents
        VALUES (?1, 'elsewhere', 'local', ?2, ?3, 'elsewhere', 1, '', (unixepoch() - ?4) * 1000000)";
    let values = (uuid(n), key(folder, n), i64::try_from(size).unwrap(), seen);
    deployment.db().execute(sql, values).unwrap();
}

#[test]
fn what_civicpress_cannot_read_is_told_apart() {
    let deployment = Deployment::new();
    let (hot, cold) = (deployment.storage(), deployment.env().root().join("cold"));
    fs::create_dir_all(&cold).unwrap();
    deployment.providers(&format!(
        "  hot: {{ type: local, path: {} }}\n  cold: {{ type: local, path: {} }}",
        hot.display(),
        cold.display()
    ));
    for (n, root) in [(1, &hot), (2, &cold), (3, &cold)] {
        deployment.record(n, &root.display().to_string(), &key("permits", n), (10, days(1)));
    }
    let data = usage(&deployment, &[]);
    assert_eq!(
        (&data["total"], &data["archived"]),
        (&tally(3, 30), &tally(2, 20))
    );
    let table = deployment.civic(&["storage:usage"]).stdout;
    assert!(
        table.contains("Archived, where CivicPress does not read it: 20 B in 2 files\n"),
        "{table}"
    );
}

#[test]
fn a_database_that_may_not_be_written_to_is_counted_and_left_alone() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let deployment = Deployment::new();
    upload(&deployment, "permits", "a.txt", 10);
    let mode =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let data = deployment.env().database().parent().unwrap().to_owned();
    for in_use in [true, false] {
        if !in_use {
            deployment
                .db()
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
                .unwrap();
            fs::remove_file(data.join("civic.db-wal")).unwrap();
            fs::remove_file(data.join("civic.db-shm")).unwrap();
        }
        for dir in deployment.env().database().ancestors().skip(1).take(3) {
            mode(dir, 0o755);
        }
        mode(&deployment.env().config(), 0o644);
        let before = listing(&data);
        for _ in 0..2 {
            let output = deployment
                .process()
                .args(["storage:usage", "--json"])
                .uid(65_534)
                .gid(65_534)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{in_use}: {text}");
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["data"]["cached"], false, "{in_use}: nothing could be kept");
            assert_eq!(answer["data"]["total"], tally(1, 10));
        }
        assert_eq!(listing(&data), before, "{in_use}");
    }
}

/// Names, contents, owners and times of what lies in a directory.
fn listing(dir: &std::path::Path) -> Vec<(String, Vec<u8>, u32, i64)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            let about = entry.metadata().unwrap();
            let name = entry.file_name().into_string().unwrap();
            (
                name,
                fs::read(entry.path()).unwrap(),
                about.uid(),
                about.mtime_nsec(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn keeping_a_report_changes_nothing_else() {
    let deployment = Deployment::new();
    upload(&deployment, "permits", "a.txt", 10);
    let tables = || -> Vec<String> {
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('civic_storage_reports', 'civic_storage_metrics') ORDER BY 1";
        let mut statement = deployment.db().prepare(names).unwrap();
        let names: Vec<String> = statement
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        names
            .into_iter()
            .map(|name| {
                let mut statement = deployment.db().prepare(&format!("SELECT * FROM {name}")).unwrap();
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    Ok((0..columns)
                        .map(|at| format!("{:?}", row.get_ref(at)))
                        .collect::<Vec<String>>()
                        .join(","))
                });
                format!(
                    "{name}: {:?}",
                    rows.unwrap().map(Result::unwrap).collect::<Vec<String>>()
                )
            })
            .collect()
    };
    let before = tables();
    assert_eq!(usage(&deployment, &[])["cached"], false);
    assert_eq!(usage(&deployment, &[])["cached"], true);
    assert_eq!(tables(), before);
}

#[test]
fn a_damaged_report_is_counted_anew() {
    let deployment = Deployment::new();
    upload(&deployment, "permits", "a.txt", 10);
    usage(&deployment, &[]);
    let sql = "UPDATE civic_storage_reports SET report = '{}'";
    deployment.db().execute(sql, []).unwrap();
    assert_eq!(usage(&deployment, &[])["cached"], false);
}

#[test]
fn bars_are_for_terminals() {
    let deployment = Deployment::new();
    upload(&deployment, "permits", "a.txt", 30);
    upload(&deployment, "public", "b.txt", 10);
    let piped = Run::of(deployment.env(), ["storage:usage"]).stdout;
    assert!(!piped.contains('█'), "{piped}");
    let shown = crate::edge::terminal(
        deployment.env(),
        &[("NO_COLOR", "1")],
        "storage:usage --by folder",
    );
    assert!(shown.contains("75.0 %  ████████████"), "{shown}");
    assert!(shown.contains("25.0 %  ████"), "{shown}");
}
