//! What is left where an upload is killed, stopped, or finds no room: nothing that was acknowledged is lost, and the
//! next run finishes the rest.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{assert_whole, objects, path, source, upload};
use crate::common::TestEnv;
use crate::common::deployment::Deployment;

pub(super) const SIGKILL: i32 = 9;

pub(super) fn rows(env: &TestEnv) -> i64 {
    let sql = "SELECT count(*) FROM storage_files";
    env.sql().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Kills an upload of three files at the point, runs another upload, and gives the rows before that.
fn killed_at(point: &str) -> (Deployment, i64) {
    let deployment = Deployment::new();
    let env = deployment.env();
    let acknowledged = upload(
        env,
        &[path(&source(env, "before.txt", "b")), "--folder", "permits"],
    );
    assert_eq!(acknowledged.code, 0, "{}", acknowledged.stderr);
    let files: Vec<_> = (0..3).map(|n| source(env, &format!("{n}.txt"), "x")).collect();
    let output = env
        .process()
        .args(["storage:upload", "--folder", "permits", "--output", "ndjson"])
        .args(&files)
        .env("CIVIC_FAILPOINT", point)
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {output:?}");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["file"]["id"].as_str().unwrap();
        let sql = "SELECT count(*) FROM storage_files WHERE id = ?1";
        let there: i64 = env.sql().query_row(sql, [id], |row| row.get(0)).unwrap();
        assert_eq!(there, 1, "{point}: acknowledged and lost");
    }
    let left = rows(env);
    let next = upload(
        env,
        &[path(&source(env, "after.txt", "a")), "--folder", "permits"],
    );
    assert_eq!(next.code, 0, "{point}: {}", next.stderr);
    assert_eq!(rows(env), left + 1);
    assert_whole(env);
    (deployment, left)
}

#[test]
fn killed_after_the_intent() {
    let (deployment, rows) = killed_at("upload.after-intent");
    assert_eq!(rows, 1);
    assert!(
        !deployment.storage().join(".trash").exists(),
        "nothing was there to be moved"
    );
}

#[test]
fn killed_after_the_put() {
    let (deployment, rows) = killed_at("upload.after-put");
    assert_eq!(rows, 1);
    assert!(
        deployment.storage().join(".trash").exists(),
        "recovery moves, it never purges"
    );
}

#[test]
fn killed_after_the_sidecar() {
    let (deployment, rows) = killed_at("upload.after-sidecar");
    assert_eq!(rows, 1);
    assert!(deployment.storage().join(".trash").exists());
}

#[test]
fn killed_after_the_commit() {
    let (_, rows) = killed_at("upload.after-commit");
    assert!(rows > 1, "what was committed stays");
}

#[test]
fn an_interrupt_finishes_or_rolls_back_and_says_130() {
    let deployment = Deployment::new();
    let env = deployment.env();
    for n in 0..3000 {
        source(env, &format!("{n}.txt"), "x");
    }
    let mut child = env
        .process()
        .args([
            "storage:upload",
            "-r",
            "--json",
            "--folder",
            "permits",
            path(&env.tmp().join("source")),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while rows(env) == 0 && child.try_wait().unwrap().is_none() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no file was ever committed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut stdout = Vec::new();
    std::io::Read::read_to_end(child.stdout.as_mut().unwrap(), &mut stdout).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let answer: Value = serde_json::from_slice(&stdout).unwrap();
    let stored = answer["data"]["successfulCount"].as_i64().unwrap();
    assert!(stored > 0 && stored < 3000, "{stored}");
    assert_eq!(
        rows(env),
        stored,
        "every file that is there was told, and no other"
    );
    assert_whole(env);
}

/// Runs the binary in a shell that limits it.
pub(super) fn limited(env: &TestEnv, limits: &str, args: &[&str]) -> std::process::Output {
    let civic = env.process();
    let mut shell = std::process::Command::new("bash");
    shell.env_clear();
    for (name, value) in civic.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(civic.get_program())
        .args(args);
    shell.current_dir(env.root()).output().unwrap()
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let deployment = Deployment::new();
    let env = deployment.env();
    // The tables are made first: the limit is for the files, as on a disk that the database is not on.
    assert_eq!(
        upload(
            env,
            &[path(&source(env, "first.txt", "x")), "--folder", "permits"]
        )
        .code,
        0
    );
    deployment
        .db()
        .pragma_update(None, "wal_checkpoint", "truncate")
        .ok();
    let small = source(env, "small.txt", "small");
    let large = source(env, "large.bin", vec![7; 3 << 20]);
    let parts = source(env, "parts.bin", vec![7; 12 << 20]);
    let args = [
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        path(&small),
        path(&large),
        path(&parts),
    ];
    let output = limited(env, "trap '' XFSZ; ulimit -f 2048", &args);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{answer}");
    assert_eq!(
        (&answer["data"]["successfulCount"], &answer["data"]["failedCount"]),
        (&json!(1), &json!(2)),
        "{answer}"
    );
    assert_whole(env);
}

/// Shells allow 1,024 open files, whatever the system allows: ten times the files of this test are no more than that.
#[test]
fn more_files_may_be_under_way_than_a_shell_lets_be_open() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let files: Vec<_> = (0..60).map(|n| source(env, &format!("{n}.txt"), "x")).collect();
    let mut args = vec![
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        "--concurrency",
        "60",
    ];
    args.extend(files.iter().map(|file| path(file)));
    let output = limited(env, "ulimit -S -n 48", &args);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{answer}");
    assert_eq!(answer["data"]["successfulCount"], 60);
    assert_whole(env);
}

#[test]
fn a_database_that_is_locked_for_long_is_told_and_leaves_nothing() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let file = source(env, "a.txt", "a");
    assert_eq!(upload(env, &[path(&file), "--folder", "permits"]).code, 0);
    deployment.db().execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = upload(env, &[path(&file), "--folder", "permits"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    deployment.db().execute_batch("ROLLBACK").unwrap();
    assert_eq!(objects(env).len(), 2, "the first file and its sidecar");
    assert_whole(env);
}

#[test]
fn a_provider_that_does_not_answer_is_told_and_gets_no_record() {
    let deployment = Deployment::new();
    let env = deployment.env();
    // Nobody listens on port 1.
    deployment.providers(&Deployment::s3("http://127.0.0.1:1", "bucket", ""));
    let files = [source(env, "a.txt", "a"), source(env, "b.txt", "b")];
    let run = upload(env, &[path(&files[0]), path(&files[1]), "--folder", "permits"]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    let by_type = run.json()["data"]["errorSummary"]["byType"].clone();
    assert_eq!(by_type, json!({"STORAGE_PROVIDER_UNAVAILABLE": 2}));
    assert_eq!(rows(env), 0);
}
