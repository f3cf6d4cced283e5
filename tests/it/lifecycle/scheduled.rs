//! Runs that nobody watches: one at a time, quietly, and a history that says whether last night's worked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Town, four};
use crate::cleanup_apply::Stopped;
use crate::common::TestEnv;
use crate::common::deployment::{Run, uuid};

const DELETES: &str = "  policies:\n    - { name: old, folder: permits, action: delete, max_age: 100d }\n";

fn due() -> Town {
    let town = Town::new(DELETES);
    town.file(1, "permits", 200);
    town
}

#[test]
fn an_overlapping_run_ends_with_7_and_quietly_where_that_was_asked_for() {
    let town = due();
    let args = ["storage:lifecycle", "--json", "--apply", "--yes"];
    let first = Stopped::command(&town.town, "lifecycle.after-lease", &args);
    let loud = town.town.civic(&["storage:lifecycle", "--apply", "--yes"]);
    assert_eq!(loud.code, 7, "{loud:?}");
    assert!(loud.stderr.contains("local is held by run"), "{loud:?}");
    let vault = town.vault().display().to_string();
    for args in [
        &["storage:lifecycle", "--apply", "--yes"][..],
        &["storage:cleanup", "--apply", "--yes"],
        &["storage:migrate", "--from", "local", "--to", "vault", "--yes"],
        &["storage:reconstruct", "--yes"],
    ] {
        let run = town.town.civic(&[args, &["--skip-if-locked"]].concat());
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (7, "", ""),
            "{args:?} {vault}"
        );
        let run = town.town.civic(args);
        assert!(
            run.code == 7 && run.stderr.contains("held by run"),
            "{args:?}: {run:?}"
        );
    }
    // Who asked for JSON is answered.
    let run = town.apply(&["--skip-if-locked"]);
    assert_eq!(
        (run.code, run.json()["error"]["code"].as_str()),
        (7, Some("STORAGE_LOCKED"))
    );
    assert_eq!(run.stderr, "");
    let runs = town.town.civic(&["storage:runs", "--json"]).json();
    assert_eq!(
        runs["data"]["runs"].as_array().unwrap().len(),
        1,
        "only the one that runs: {runs}"
    );
    assert_eq!(first.go_on().code, 0);
    assert_eq!(town.path(1), None);
    // Nothing in the way: the flag changes nothing.
    let run = town.apply(&["--skip-if-locked"]);
    assert_eq!((run.code, four(&run, "done")), (0, [0; 4]));
    // What is wrong is told all the same.
    let run = town
        .town
        .civic(&["storage:lifecycle", "--skip-if-locked", "--policy", "ol"]);
    assert!(
        run.code == 2 && run.stderr.contains("did you mean old?"),
        "{run:?}"
    );
}

#[test]
fn the_history_says_whether_last_nights_run_worked() {
    let town = due();
    let ask = |args: &[&str]| {
        let own = [
            "storage:runs",
            "--operation",
            "storage:lifecycle",
            "--fail-on-findings",
        ];
        town.town.civic(&[&own[..], args].concat())
    };
    let none = ask(&["--since", "24h"]);
    assert_eq!(none.code, 4, "{none:?}");
    assert!(none.stderr.contains("nothing ran"), "{none:?}");
    assert_eq!(town.apply(&["--max-delete", "0"]).code, 8);
    let refused = ask(&["--since", "24h"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.stdout.contains("because of max-delete"),
        "it says why: {refused:?}"
    );
    assert_eq!(ask(&["--failed"]).code, 4);
    town.town
        .db()
        .execute(
            "UPDATE civic_storage_runs SET started_at = started_at - 2 * 86400000000",
            [],
        )
        .unwrap();
    assert_eq!(ask(&["--since", "24h"]).code, 4, "nothing since");
    assert_eq!(town.apply(&[]).code, 0);
    let good = ask(&["--since", "24h"]);
    assert_eq!(good.code, 0, "{good:?}");
    assert!(
        good.stdout.contains("1 settled") && good.stdout.ends_with("1 run\n"),
        "{good:?}"
    );
    assert_eq!(ask(&["--failed", "--since", "24h"]).code, 0);
    assert_eq!(
        ask(&["--failed", "--since", "7d"]).code,
        4,
        "the one of two days ago"
    );
    assert_eq!(ask(&["--since", "2020-01-01"]).code, 4);
    assert_eq!(ask(&["--since", "2999-01-01"]).code, 4, "none");
    let other = town
        .town
        .civic(&["storage:runs", "--operation", "cleanup", "--fail-on-findings"]);
    assert_eq!(other.code, 4, "no cleanup ran: {other:?}");
    for args in [
        ["--operation", "lifecycles"],
        ["--since", "yesterday"],
        ["--since", "24"],
    ] {
        let run = town.town.civic(&[&["storage:runs"], &args[..]].concat());
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
    }
}

#[test]
fn a_run_that_died_did_not_work() {
    let town = due();
    crate::delete::killed(
        &town.town,
        "lifecycle.before-batch",
        &["storage:lifecycle", "--apply", "--yes"],
    );
    let run = town
        .town
        .civic(&["storage:runs", "--failed", "--fail-on-findings", "--json"]);
    assert_eq!(run.code, 4, "{run:?}");
    assert_eq!(run.json()["data"]["runs"][0]["status"], "interrupted");
}

fn contrib() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib")
}

/// The commands of the examples, as they stand there, by the file they stand in.
fn examples() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(contrib().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap().replace("\\\n", " ");
        let starts = text.lines().filter_map(|line| line.strip_prefix("ExecStart="));
        found.extend(starts.map(|line| (name.clone(), line.to_owned())));
    }
    let cron = fs::read_to_string(contrib().join("cron/civic")).unwrap();
    for line in cron
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '@'))
    {
        let fields: Vec<&str> = line.splitn(7, ' ').collect();
        assert_eq!(fields.len(), 7, "five times, a user and a command: {line}");
        assert_eq!(fields[5], "civicpress", "{line}");
        assert!(
            !fields[6].contains('%'),
            "cron takes it for the end of the line: {line}"
        );
        found.push(("cron".to_owned(), fields[6].to_owned()));
    }
    // What looks back comes after what it looks back at.
    found.sort_by_key(|(_, command)| command.contains("storage:runs"));
    found
}

#[test]
fn the_commands_of_the_cron_and_systemd_examples_do_what_they_say() {
    let town = due();
    town.file(2, "permits", 10);
    let commands = examples();
    assert!(commands.len() >= 6, "{commands:?}");
    for (file, command) in &commands {
        assert!(command.contains("/usr/local/bin/civic"), "{file}: {command}");
        assert!(
            !command.contains("--apply") || command.contains("--yes") && command.contains("--skip-if-locked"),
            "{command}"
        );
        let quoted = |path: &Path| format!("'{}'", path.display());
        let program = assert_cmd::cargo::cargo_bin!("civic");
        let command = command.replace("/usr/local/bin/civic", &quoted(program)).replace(
            "/srv/civicpress/.system-data",
            &quoted(&town.town.env().system_data()),
        );
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &command])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", town.town.env().tmp());
        let output = shell.current_dir("/").output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{file}: {command}: {said}");
    }
    assert_eq!(town.path(1), None, "what was due went: {commands:?}");
    town.assert_readable(2, "not due");
    // A good night is a quiet one: cron mails what is printed.
    let quiet = commands.iter().filter(|(file, _)| file == "cron");
    for (_, command) in quiet {
        assert!(
            command.contains("--silent") || command.contains(">/dev/null"),
            "{command}"
        );
    }
}

#[test]
fn the_systemd_units_are_sound() {
    let tool = Command::new("systemd-analyze").arg("--version").output();
    if !tool.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "left out: systemd-analyze is not installed, so the units in contrib/systemd are not verified"
        );
        return;
    }
    // The program that they name need not be there.
    let dir = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in fs::read_dir(contrib().join("systemd")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("/usr/local/bin/civic", "/bin/true");
        let unit = dir.path().join(path.file_name().unwrap());
        fs::write(&unit, text).unwrap();
        units.push(unit);
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("civic-")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn the_program_needs_no_home_and_no_terminal() {
    let town = due();
    let env: &TestEnv = town.town.env();
    let output = Command::new(assert_cmd::cargo::cargo_bin!("civic"))
        .args(["storage:lifecycle", "--apply", "--yes", "--json", "--system-data"])
        .arg(env.system_data())
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    assert_eq!((run.code, four(&run, "done")[0]), (0, 1), "{run:?}");
    assert_eq!(town.path(1), None, "{}", uuid(1));
}
