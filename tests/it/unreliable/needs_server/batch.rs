//! The active provider goes down in the middle of a batch, in each way that a provider can: every file ends up recorded
//! once, with its bytes where its record says, and writes return.
//!
//! `CIVIC_TEST_BATCH` is the number of files; from 1,000 on with the waits that storage.yml has by itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::common::deployment::Run;
use crate::common::proxy::{Fault, Mode, Proxy};
use crate::common::run::report;
use crate::common::{Bucket, Remote, TestEnv};
use crate::unreliable::town::{Town, size};

/// What a test may wait for on a machine that has other things to do; what is promised is 5 s.
const GENEROUS: f64 = 30.0;

fn is_put(line: &str) -> bool {
    line.starts_with("PUT ") && line.contains("/permits/")
}

/// The bucket behind the proxy is active, and `disk` stands in.
fn town() -> Option<Town> {
    TestEnv::seaweed().map(town_on)
}

fn town_on(bucket: Bucket) -> Town {
    let town = Town::on(bucket);
    let disk = disk(&town);
    fs::create_dir_all(&disk).unwrap();
    let entry = format!(
        "providers:\n  disk: {{ type: local, path: {} }}\n",
        disk.display()
    );
    town.world
        .town()
        .env()
        .edit_config(|yaml| yaml.replacen("providers:\n", &entry, 1));
    town.set("failover_providers: [disk]");
    town.set("circuit_breaker_enabled: true");
    town.set("circuit_breaker_timeout: 1s");
    town.set("upload_timeout: 2s");
    town.set("delete_timeout: 2s");
    town
}

fn disk(town: &Town) -> PathBuf {
    town.world.town().env().tmp().join("disk")
}

fn sources(town: &Town, (from, to): (usize, usize)) -> String {
    for n in from..to {
        town.source(&format!("{n}.txt"), content(n).as_bytes());
    }
    town.world.town().env().tmp().join("inbox").display().to_string()
}

fn content(n: usize) -> String {
    format!("file {n} {}", "x".repeat(n % 97))
}

fn upload_args(inbox: &str) -> [&str; 8] {
    let [log, form] = ["--log-format", "json"];
    [
        "storage:upload",
        "--json",
        log,
        form,
        "--folder",
        "permits",
        "-r",
        inbox,
    ]
}

fn upload(town: &Town, inbox: &str) -> Run {
    town.civic(&upload_args(inbox))
}

/// Path and name of each record.
fn rows(town: &Town) -> Vec<(String, String)> {
    let sql = "SELECT provider_path, original_name FROM storage_files";
    let mut rows = town.world.town().db().prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// How many records each provider has. Each file has one, and its bytes are there.
#[track_caller]
fn recorded(town: &Town, count: usize) -> BTreeMap<&'static str, usize> {
    let rows = rows(town);
    let mut names: Vec<&str> = rows.iter().map(|(_, name)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((rows.len(), names.len()), (count, count), "each file once");
    let mut at = BTreeMap::new();
    for (path, name) in &rows {
        let n = name.trim_end_matches(".txt").parse().unwrap();
        let bytes = town.world.bytes(path).unwrap_or_else(|| panic!("{path} is lost"));
        assert_eq!(bytes, content(n).into_bytes(), "{path}");
        *at.entry(if path.starts_with('/') { "disk" } else { "bucket" })
            .or_default() += 1;
    }
    at
}

/// Lines of the log that hold this, with their times.
fn logged(run: &Run, text: &str) -> Vec<(DateTime<Utc>, Value)> {
    let lines = run.stderr.lines().filter(|line| line.contains(text));
    lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| (line["timestamp"].as_str().unwrap().parse().unwrap(), line))
        .collect()
}

/// When the first object of this directory was there.
fn first_of(disk: &Path) -> Option<DateTime<Utc>> {
    let entries = fs::read_dir(disk.join("permits")).ok()?;
    let times = entries.map(|entry| entry.unwrap().metadata().unwrap().modified().unwrap());
    times.min().map(DateTime::<Utc>::from)
}

/// In the middle of the batch the provider begins to behave so.
fn goes_down(mode: Mode) {
    if let Some(town) = town() {
        goes_down_in(&town, mode);
    }
}

fn goes_down_in(town: &Town, mode: Mode) {
    let (count, is_full) = (size("CIVIC_TEST_BATCH", 90), size("CIVIC_TEST_BATCH", 90) >= 1000);
    if is_full {
        town.set("retry_initial_delay: 1000");
        town.set("retry_max_delay: 10000");
    }
    let inbox = sources(town, (0, count));
    town.proxy.mode_after(mode, count / 3, is_put);
    let began = SystemTime::now();
    let run = upload(town, &inbox);
    let took = began.elapsed().unwrap().as_secs_f64();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["successfulCount"], count, "{run:?}");
    let at = recorded(town, count);
    assert!(at["disk"] > 0 && at["bucket"] > 0, "{at:?}");
    let switches = run.json()["data"]["failover"].clone();
    assert_eq!(
        (&switches[0]["from"], &switches[0]["to"]),
        (&town.kind.into(), &"disk".into())
    );
    let failed = logged(&run, "trying again");
    let (failed, first) = (failed[0].0, first_of(&disk(town)).unwrap());
    let after = (first - failed).as_seconds_f64();
    assert!(after < GENEROUS, "{after} s after the first failed attempt");
    report(&format!(
        "{mode:?}: {count} files in {took:.1} s, at {at:?}, bytes flow {after:.3} s after the first failed attempt"
    ));
    returns(town, count);
}

/// Once the provider is back and its circuit's time is over, writes return; nothing is left of what failed.
fn returns(town: &Town, before: usize) {
    town.proxy.calm();
    thread::sleep(Duration::from_millis(1100));
    let count = before + 10;
    fs::remove_dir_all(town.world.town().env().tmp().join("inbox")).unwrap();
    let there = recorded(town, before)["bucket"];
    let run = upload(town, &sources(town, (before, count)));
    assert_eq!(run.code, 0, "{run:?}");
    let at = recorded(town, count);
    assert_eq!(at["bucket"], there + 10, "writes return: {at:?} {run:?}");
    town.world.assert_nothing_left_behind();
}

#[test]
fn its_process_ends() {
    goes_down(Mode::Ended);
}

#[test]
fn the_process_of_azure_ends() {
    if let Some(bucket) = TestEnv::azurite() {
        goes_down_in(&town_on(bucket), Mode::Ended);
    }
}

#[test]
fn nobody_answers_any_more() {
    goes_down(Mode::BlackHole);
}

#[test]
fn it_is_not_available() {
    goes_down(Mode::Every(Fault::Status(503)));
}

#[test]
fn it_does_everything_too_late() {
    goes_down(Mode::Every(Fault::Delay(Duration::from_secs(4))));
}

/// The one that stands in is slow, so that there is still something to do when the other is back.
#[test]
fn once_it_is_back_the_rest_of_the_same_batch_returns_to_it() {
    let (Some(town), Some(azure)) = (town(), TestEnv::azurite()) else {
        return;
    };
    let slow = Proxy::before(&azure.endpoint);
    slow.mode(Mode::Every(Fault::Delay(Duration::from_millis(100))));
    let way = Bucket {
        endpoint: slow.endpoint(),
        ..azure.clone()
    };
    let entry = format!("providers:\n{}", way.provider_yaml("azure", ""));
    let env = town.world.town().env();
    env.edit_config(|yaml| yaml.replacen("providers:\n", &entry, 1));
    town.set("failover_providers: [azure]");
    let (count, is_full) = (
        size("CIVIC_TEST_BATCH", 200),
        size("CIVIC_TEST_BATCH", 200) >= 1000,
    );
    let inbox = sources(&town, (0, count));
    town.proxy.mode_after(Mode::Ended, 30, is_put);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while slow.count(is_put) < 10 {
                thread::sleep(Duration::from_millis(5));
            }
            town.proxy.mode(Mode::Up);
        });
        Run::of(env, upload_args(&inbox))
    });
    assert_eq!(run.code, 0, "{run:?}");
    let switches = run.json()["data"]["failover"].as_array().unwrap().clone();
    let ways: Vec<(&str, &str)> = switches
        .iter()
        .map(|switch| (switch["from"].as_str().unwrap(), switch["to"].as_str().unwrap()))
        .collect();
    assert_eq!(ways, [("s3", "azure"), ("azure", "s3")], "{switches:?}");
    if is_full {
        report(&format!("{count} files, back in the same batch: {switches:?}"));
    }
    let rows: Vec<(String, String)> = rows(&town);
    assert_eq!(rows.len(), count);
    for (path, name) in rows {
        let n = name.trim_end_matches(".txt").parse().unwrap();
        let at_azure = path.strip_prefix(&format!("{}/", azure.root()));
        let bytes = at_azure.map_or_else(|| town.world.bytes(&path), |key| azure.get(key));
        assert_eq!(bytes, Some(content(n).into_bytes()), "{path}");
    }
}

/// Many processes meet a circuit whose time is over: one request goes out between them.
#[test]
fn a_single_request_finds_out_for_all_processes_whether_it_is_back() {
    let Some(town) = town() else { return };
    town.set("failover_enabled: false");
    town.set("upload_timeout: 5m");
    town.set("delete_timeout: 5m");
    town.proxy.mode(Mode::Every(Fault::Status(503)));
    for _ in 0..5 {
        assert_eq!(town.civic(&["storage:health", "s3", "--refresh"]).code, 5);
    }
    let asked = town.proxy.seen().len();
    assert_eq!(town.civic(&["storage:health", "s3", "--refresh"]).code, 5);
    assert_eq!(town.proxy.seen().len(), asked, "open: no request at all");
    thread::sleep(Duration::from_millis(1100));
    town.proxy.forget();
    let slow = Duration::from_secs(3);
    town.proxy.mode(Mode::Every(Fault::Delay(slow)));
    let env = town.world.town().env();
    let codes: Vec<i32> = thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Run::of(env, ["storage:health", "s3", "--refresh"]).code))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let seen = town.proxy.seen();
    let probe = seen[0].at;
    let meanwhile = seen.iter().filter(|one| one.at < probe + slow).count();
    assert_eq!(meanwhile, 1, "{seen:?}");
    assert!(
        codes.contains(&0) && codes.iter().all(|code| matches!(code, 0 | 5)),
        "{codes:?}"
    );
}
