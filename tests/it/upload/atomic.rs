//! `storage:upload --atomic`: all files or none, whatever fails, is stopped or dies in between.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use super::crash::{SIGKILL, limited, rows};
use super::{assert_whole, objects, path, source, upload};
use crate::common::TestEnv;
use crate::common::deployment::Deployment;

const FILES: i64 = 40;

fn sources(env: &TestEnv) -> Vec<PathBuf> {
    (0..FILES)
        .map(|n| source(env, &format!("{n}.txt"), format!("file {n}")))
        .collect()
}

fn atomically<'a>(sources: &'a [PathBuf], more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["--atomic", "--folder", "permits"];
    args.extend(more);
    args.extend(sources.iter().map(|source| path(source)));
    args
}

#[test]
fn all_are_stored_where_nothing_fails() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let sources = sources(env);
    let run = upload(env, &atomically(&sources, &[]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["data"]["successfulCount"], FILES);
    assert_eq!(rows(env), FILES);
    assert_whole(env);
    let again = upload(env, &atomically(&sources, &["--skip-existing"]));
    assert_eq!(
        (again.code, &again.json()["data"]["skippedCount"]),
        (0, &json!(FILES)),
        "what is stored already stands in nobody's way"
    );
}

#[test]
fn one_that_is_refused_keeps_all_out_before_the_first_is_sent() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let mut sources = sources(env);
    sources.push(source(env, "last.exe", "MZ"));
    for dry in [true, false] {
        let run = upload(env, &atomically(&sources, if dry { &["--dry-run"] } else { &[] }));
        let answer = run.json();
        assert_eq!(run.code, 1, "{answer}");
        let failed = answer["data"]["failed"].as_array().unwrap();
        assert_eq!(failed.len(), sources.len(), "each file is answered for");
        let told = |name: &str| {
            let of = |item: &&Value| item["file"].as_str().unwrap().ends_with(name);
            failed.iter().find(of).unwrap()["error"].as_str().unwrap()
        };
        assert!(told("last.exe").contains("executable"), "{answer}");
        assert!(told("/0.txt").contains("last.exe failed"), "{answer}");
        assert_eq!(objects(env).len(), 0);
        assert!(!env.storage().join(".trash").exists(), "nothing was ever sent");
        assert_eq!(rows(env), 0);
    }
    assert_whole(env);
}

#[test]
fn one_that_fails_on_its_way_takes_the_others_back() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let first = source(env, "first.txt", "x");
    assert_eq!(upload(env, &[path(&first), "--folder", "permits"]).code, 0);
    deployment
        .db()
        .pragma_update(None, "wal_checkpoint", "truncate")
        .ok();
    let mut sources = sources(env);
    sources.insert(20, source(env, "large.bin", vec![7; 3 << 20]));
    let args = atomically(&sources, &[]);
    let args: Vec<&str> = ["storage:upload", "--json"].into_iter().chain(args).collect();
    let output = limited(env, "trap '' XFSZ; ulimit -f 2048", &args);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{answer}");
    assert_eq!(answer["data"]["failedCount"], FILES + 1, "{answer}");
    assert_eq!(rows(env), 1, "only what was there before");
    assert_whole(env);
}

#[test]
fn one_that_is_stopped_stores_nothing() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let many: Vec<PathBuf> = (0..2000).map(|n| source(env, &format!("{n}.txt"), "x")).collect();
    let mut child = env
        .process()
        .args([
            "storage:upload",
            "--json",
            "-r",
            "--atomic",
            "--folder",
            "permits",
        ])
        .arg(many[0].parent().unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while objects(env).len() < 50 && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["data"]["successfulCount"], 0);
    assert_eq!(rows(env), 0);
    assert_whole(env);
}

/// Kills an upload of all files at the point, then stores one file more; how many rows of the first there are.
fn killed_at(point: &str) -> i64 {
    let deployment = Deployment::new();
    let env = deployment.env();
    let sources = sources(env);
    let output = env
        .process()
        .arg("storage:upload")
        .args(atomically(&sources, &[]))
        .env("CIVIC_FAILPOINT", point)
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {output:?}");
    let next = source(env, "next.txt", "next");
    let next = upload(env, &[path(&next), "--folder", "permits"]);
    assert_eq!(next.code, 0, "{point}: {}", next.stderr);
    assert_whole(env);
    rows(env) - 1
}

#[test]
fn one_that_dies_has_stored_all_or_nothing() {
    for point in [
        "upload.after-intent",
        "upload.after-put:30",
        "upload.after-sidecar:39",
        "upload.before-commit",
        "journal.before-commit:4",
    ] {
        assert_eq!(killed_at(point), 0, "{point}");
    }
    assert_eq!(killed_at("upload.after-commit"), FILES);
}
