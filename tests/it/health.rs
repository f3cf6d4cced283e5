//! `storage:health`: what it finds, what it believes, what it leaves.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::common::deployment::Deployment;
use crate::failover::nobody;

#[test]
fn a_provider_that_works_is_healthy_and_nothing_is_left_of_the_check() {
    let town = Deployment::new();
    let run = town.civic(&["storage:health", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let health = &run.json()["data"]["providers"][0];
    assert_eq!(health["provider"], "local");
    assert_eq!(health["healthy"], true);
    assert_eq!(health["circuit"], "closed");
    assert_eq!(health["successRate"], 1.0);
    assert!(health["error"].is_null() && health["latency"].is_u64() && health["lastCheck"].is_string());
    for entry in fs::read_dir(town.storage().join(".civic")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_str().unwrap().starts_with("health-"), "{name:?}");
    }
}

#[test]
fn a_provider_that_does_not_answer_is_told_with_exit_5_and_the_rate_remembers() {
    let town = Deployment::new();
    let local = format!("  local: {{ type: local, path: {} }}", town.storage().display());
    town.providers(&format!("{local}\n{}", Deployment::s3(&nobody(), "bucket", "")));
    let run = town.civic(&["storage:health", "--json"]);
    assert_eq!(run.code, 5, "{run:?}");
    let json = run.json();
    let s3 = &json["data"]["providers"][1];
    assert_eq!((&s3["provider"], &s3["healthy"]), (&"s3".into(), &false.into()));
    assert_eq!(s3["error"]["code"], "STORAGE_PROVIDER_UNAVAILABLE", "{s3}");
    assert_eq!(json["error"]["details"]["provider"], "s3");
    assert_eq!(json["error"]["retryable"], true);
    let hint = json["error"]["hint"].as_str().unwrap();
    assert!(!hint.contains("storage:health"), "that was run just now: {hint}");
    let one = town.civic(&["storage:health", "local"]);
    assert_eq!(one.code, 0, "{one:?}");
    assert!(
        one.stdout.contains("healthy") && !one.stdout.contains("s3"),
        "{}",
        one.stdout
    );
    assert_eq!(town.civic(&["storage:health", "nobody"]).code, 2);
}

#[test]
fn a_database_that_cannot_be_read_is_told_with_exit_1_and_beside_a_sick_provider_with_5() {
    let town = Deployment::new();
    let database = town.env().system_data().join("civic.db");
    let healthy = town.civic(&["storage:health", "--json"]).json();
    assert_eq!(healthy["data"]["database"]["healthy"], true, "{healthy}");
    fs::remove_file(&database).unwrap();
    for tail in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{tail}", database.display()));
    }
    let told = |why: &str, code: i32| {
        let run = town.civic(&["storage:health", "--refresh", "--json"]);
        assert_eq!(run.code, code, "{run:?}");
        let json = run.json();
        assert_eq!(json["success"], false, "{json}");
        let found = &json["data"]["database"];
        assert_eq!(found["healthy"], false, "{json}");
        assert!(
            found["error"]["message"].as_str().unwrap().contains(why),
            "{json}"
        );
        let table = town.civic(&["storage:health"]);
        assert!(table.stdout.contains("is unhealthy"), "{table:?}");
    };
    told("no database at", 1);
    assert!(!database.exists(), "a look makes none");
    fs::write(&database, "no database at all ".repeat(1000)).unwrap();
    told("not a SQLite database", 1);
    let one = town.civic(&["storage:health", "local", "--json"]);
    assert_eq!(one.code, 0, "it was asked about the provider alone: {one:?}");
    assert!(one.json()["data"].get("database").is_none());
    fs::rename(town.storage(), town.env().tmp().join("away")).unwrap();
    told("not a SQLite database", 5);
}

#[test]
fn a_check_is_believed_by_other_processes_until_it_is_old_or_a_new_one_is_asked_for() {
    let town = Deployment::new();
    let cached = |args: &[&str]| {
        let run = town.civic(&[&["storage:health", "--json"], args].concat());
        run.json()["data"]["providers"][0]["cached"].as_bool().unwrap()
    };
    assert!(!cached(&[]));
    assert!(cached(&[]));
    assert!(!cached(&["--refresh"]));
    fs::rename(town.storage(), town.env().tmp().join("away")).unwrap();
    assert_eq!(
        town.civic(&["storage:health"]).code,
        0,
        "five minutes are not over"
    );
    assert_eq!(town.civic(&["storage:health", "--refresh"]).code, 5);
    let now = town.civic(&["storage:health", "--json"]);
    assert_eq!(now.code, 5, "{now:?}");
    let rate = now.json()["data"]["providers"][0]["successRate"]
        .as_f64()
        .unwrap();
    assert!((rate - 2.0 / 3.0).abs() < 0.01, "{rate}");
    town.env()
        .edit_config(|yaml| format!("{yaml}\nhealth_check_interval: 1ms\n"));
    fs::rename(town.env().tmp().join("away"), town.storage()).unwrap();
    assert_eq!(town.civic(&["storage:health"]).code, 0, "too old to be believed");
}

#[test]
fn five_failed_checks_open_the_circuit_and_then_nothing_is_sent() {
    let town = Deployment::new();
    town.providers(&Deployment::s3(&nobody(), "bucket", ""));
    for _ in 0..5 {
        assert_eq!(town.civic(&["storage:health", "--refresh"]).code, 5);
    }
    let run = town.civic(&["storage:health", "--refresh", "--json"]);
    let json = run.json();
    let health = &json["data"]["providers"][0];
    assert_eq!(health["circuit"], "open", "{health}");
    assert_eq!(health["error"]["code"], "STORAGE_CIRCUIT_OPEN", "{health}");
    assert_eq!(json["error"]["code"], "STORAGE_CIRCUIT_OPEN");
    let list = town.civic(&["storage:cleanup", "--json"]);
    assert_eq!(list.code, 5, "{list:?}");
    assert!(list.stdout.contains("STORAGE_CIRCUIT_OPEN"), "{}", list.stdout);
}

#[test]
fn what_a_killed_check_left_is_collected_once_it_is_old() {
    let town = Deployment::new();
    let old = ".civic/health-00000000-0000-4000-8000-000000000001";
    let young = ".civic/health-00000000-0000-4000-8000-000000000002";
    town.old_file(old);
    town.file(young, 1, std::time::Duration::ZERO);
    assert_eq!(town.civic(&["storage:health"]).code, 0);
    assert!(!town.storage().join(old).exists());
    assert!(town.storage().join(young).exists(), "its process may be at work");
}

#[test]
fn health_can_be_watched_until_a_signal_ends_it() {
    let town = Deployment::new();
    let mut child = town
        .process()
        .args(["storage:health", "--watch=1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.contains("local") && line.contains("healthy"), "{line}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
