//! What is counted: it outlives the process, adds up over all of them, and reads as Prometheus reads it.

mod asking;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run};

fn source(env: &TestEnv, name: &str, size: usize) -> String {
    let path = env.tmp().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![b'x'; size]).unwrap();
    path.display().to_string()
}

fn upload(env: &TestEnv, files: &[String]) -> Run {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    Run::of(
        env,
        [
            &["storage:upload", "--json", "--folder", "permits"],
            files.as_slice(),
        ]
        .concat(),
    )
}

/// The series of an operation of a provider in a folder.
fn series(env: &TestEnv, (operation, provider, folder): (&str, &str, &str)) -> Value {
    let run = Run::of(env, ["storage:metrics", "--format", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let all = run.json()["data"]["operations"].as_array().unwrap().clone();
    let is =
        |one: &Value| one["operation"] == operation && one["provider"] == provider && one["folder"] == folder;
    all.into_iter().find(is).unwrap_or(Value::Null)
}

#[test]
fn what_is_done_is_counted_by_operation_provider_and_folder() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let nothing = Run::of(env, ["storage:metrics"]);
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (0, "nothing was counted yet\n")
    );
    let files = [source(env, "a.txt", 1000), source(env, "b.txt", 500)];
    let stored = upload(env, &files).json()["data"]["successful"][0].clone();
    let command = series(env, ("storage:upload", "", ""));
    assert_eq!(
        (&command["count"], &command["failures"], &command["successRate"]),
        (&json!(1), &json!(0), &json!(1.0))
    );
    let put = series(env, ("put", "local", "permits"));
    assert_eq!(put["count"], 4, "two files, each with its sidecar: {put}");
    assert!(put["bytes"].as_u64().unwrap() > 1500, "{put}");
    let of = |name: &str| put[name].as_f64().unwrap();
    assert!(
        of("p50Ms") > 0.0 && of("p50Ms") <= of("p95Ms") && of("p95Ms") <= of("p99Ms"),
        "{put}"
    );
    // Another process adds to it, also one that failed.
    assert_eq!(upload(env, &[source(env, "c.txt", 1)]).code, 0);
    assert_ne!(upload(env, &["/nothing/at/all".to_owned()]).code, 0);
    let command = series(env, ("storage:upload", "", ""));
    assert_eq!((&command["count"], &command["failures"]), (&json!(3), &json!(1)));
    assert_eq!(series(env, ("put", "local", "permits"))["count"], 6);
    // Reading is counted too.
    let out = env.tmp().join("out.txt").display().to_string();
    assert_eq!(
        Run::of(
            env,
            ["storage:download", stored["id"].as_str().unwrap(), "--out", &out]
        )
        .code,
        0
    );
    assert_eq!(series(env, ("get", "local", "permits"))["bytes"], stored["size"]);
    assert_eq!(series(env, ("storage:download", "", ""))["count"], 1);
    let table = Run::of(env, ["storage:metrics"]).stdout;
    assert!(
        table.starts_with("OPERATION") && table.contains("storage:upload"),
        "{table}"
    );
}

#[test]
fn processes_at_once_add_up_to_the_last_one() {
    let deployment = Deployment::new();
    let env = deployment.env();
    assert_eq!(upload(env, &[source(env, "first.txt", 1)]).code, 0);
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                for again in 0..3 {
                    let file = source(env, &format!("{number}-{again}.txt"), 1);
                    assert_eq!(upload(env, &[file]).code, 0);
                }
            });
        }
    });
    assert_eq!(series(env, ("storage:upload", "", ""))["count"], 25);
    assert_eq!(series(env, ("put", "local", "permits"))["count"], 50);
}

#[test]
fn a_reset_begins_anew() {
    let deployment = Deployment::new();
    let env = deployment.env();
    assert_eq!(upload(env, &[source(env, "a.txt", 1)]).code, 0);
    let last = Run::of(env, ["storage:metrics", "--reset", "--json"]);
    assert!(
        !last.json()["data"]["operations"].as_array().unwrap().is_empty(),
        "shown before it is gone"
    );
    assert_eq!(series(env, ("storage:upload", "", "")), Value::Null);
    assert_eq!(series(env, ("put", "local", "permits")), Value::Null);
}

#[test]
fn prometheus_takes_what_it_is_given() {
    let deployment = Deployment::new();
    let env = deployment.env();
    assert_eq!(upload(env, &[source(env, "a.txt", 1)]).code, 0);
    let text = Run::of(env, ["storage:metrics", "--format", "prometheus"]).stdout;
    let line = "civic_storage_operations_total{operation=\"put\",provider=\"local\",folder=\"permits\"} 2\n";
    assert!(text.contains(line), "{text}");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        let note = b"\nleft out: promtool is not installed; on Debian: apt-get install prometheus\n";
        std::io::stderr().write_all(note).unwrap();
        return;
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}\n{text}");
}

#[test]
fn two_formats_at_once_are_refused_by_their_names() {
    let env = TestEnv::fixture();
    for (args, message) in [
        (
            "prometheus --json",
            "--format prometheus cannot be used with --json",
        ),
        (
            "prometheus --output csv",
            "--format prometheus cannot be used with --output csv",
        ),
        (
            "prometheus --output table",
            "--format prometheus cannot be used with --output table",
        ),
        (
            "json --output ndjson",
            "--format json cannot be used with --output ndjson",
        ),
        ("table --json", "--format table cannot be used with --json"),
    ] {
        let args = ["storage:metrics", "--format"].into_iter().chain(args.split(' '));
        let run = Run::of(&env, args);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains(message), "{run:?}");
        assert!(!run.stdout.contains("# HELP"), "{run:?}");
    }
    for args in ["json --json", "json --output json", "table --output table"] {
        let args = ["storage:metrics", "--format"].into_iter().chain(args.split(' '));
        assert_eq!(Run::of(&env, args).code, 0);
    }
}

#[test]
fn the_script_for_the_textfile_collector_leaves_one_whole_file() {
    let deployment = Deployment::new();
    let env = deployment.env();
    assert_eq!(upload(env, &[source(env, "a.txt", 1)]).code, 0);
    let target = env.tmp().join("collector");
    fs::create_dir_all(&target).unwrap();
    let civic = env.process();
    let bin = std::path::Path::new(civic.get_program())
        .parent()
        .unwrap()
        .to_owned();
    let status = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/contrib/prometheus/civic-metrics.sh"
    ))
    .args([&env.system_data(), &target])
    .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
    .status()
    .unwrap();
    assert!(status.success());
    let names: Vec<_> = fs::read_dir(&target)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["civic.prom"]);
    let text = fs::read_to_string(target.join("civic.prom")).unwrap();
    assert!(
        text.contains("civic_storage_operation_duration_seconds_count"),
        "{text}"
    );
}
