//! `storage:upload --atomic` into buckets and containers: all files or none, whatever is refused, fails or dies.

use std::os::unix::process::ExitStatusExt;

use serde_json::Value;

use crate::common::TestEnv;
use crate::common::deployment::Run;
use crate::common::proxy::Fault;
use crate::unreliable::town::Town;

const FILES: usize = 20;

fn is_put(line: &str) -> bool {
    line.starts_with("PUT ") && line.contains("permits")
}

fn on_all(test: impl Fn(&Town)) {
    let buckets = [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten();
    let towns = buckets.map(Town::on).chain(TestEnv::gcs().map(Town::on));
    towns.for_each(|town| test(&town));
}

/// Twenty files, and in their midst these.
fn sources(town: &Town, odd: &[(&str, Vec<u8>)]) -> Vec<String> {
    let file = |n: usize| town.source(&format!("{n}.txt"), format!("file {n}").as_bytes());
    let mut files: Vec<String> = (0..FILES).map(file).collect();
    for (name, bytes) in odd {
        files.insert(FILES / 2, town.source(name, bytes));
    }
    files
}

fn args(files: &[String]) -> Vec<&str> {
    let args = ["storage:upload", "--json", "--atomic", "--folder", "permits"];
    args.into_iter().chain(files.iter().map(String::as_str)).collect()
}

/// Each file is told as failed, and none has left a record, an object or a part.
#[track_caller]
fn assert_none(town: &Town, run: &Run, files: &[String]) {
    let data = run.json()["data"].clone();
    assert_eq!(
        (&data["successfulCount"], &data["failedCount"]),
        (&Value::from(0), &Value::from(files.len())),
        "{}: {run:?}",
        town.kind
    );
    assert_eq!(town.world.ids(), [""; 0], "{}", town.kind);
    town.assert_settled();
    town.assert_no_upload_left();
}

#[test]
fn where_all_can_be_stored_all_are() {
    on_all(|town| {
        let files = sources(town, &[]);
        let run = town.civic(&args(&files));
        assert_eq!(run.code, 0, "{}: {run:?}", town.kind);
        assert_eq!(town.world.ids().len(), FILES, "{}", town.kind);
        town.assert_settled();
    });
}

#[test]
fn one_that_may_not_be_stored_keeps_all_out_before_the_first_is_sent() {
    on_all(|town| {
        let files = sources(town, &[("bad.exe", b"MZ".to_vec())]);
        let run = town.civic(&args(&files));
        assert_eq!(run.code, 1, "{}: {run:?}", town.kind);
        assert_eq!(town.proxy.count(is_put), 0, "{}", town.kind);
        assert_none(town, &run, &files);
    });
}

#[test]
fn one_that_the_provider_refuses_takes_the_others_back() {
    on_all(|town| {
        let files = sources(town, &[]);
        // Most are there by then.
        town.proxy.inject((FILES - 2, 1), Fault::Status(403), is_put);
        let run = town.civic(&args(&files));
        assert_eq!(run.code, 1, "{}: {run:?}", town.kind);
        assert!(run.stdout.contains("denied"), "{}: {run:?}", town.kind);
        assert_none(town, &run, &files);
    });
}

#[test]
fn a_large_one_of_which_a_part_never_arrives_takes_the_others_back() {
    on_all(|town| {
        town.set("stream_threshold: 5MiB");
        town.set("chunk_size: 5MiB");
        let files = sources(town, &[("large.bin", vec![7; 11 << 20])]);
        let is_part =
            |line: &str| is_put(line) && (line.contains("partNumber=2") || line.contains("blockid="));
        town.proxy.inject((0, usize::MAX), Fault::Status(503), is_part);
        let run = town.civic(&args(&files));
        assert!(matches!(run.code, 1 | 5), "{}: {run:?}", town.kind);
        assert_none(town, &run, &files);
    });
}

/// Kills an upload of all files at the point, then stores one file more; how many of the first have records.
fn killed_at(town: &Town, point: &str) -> usize {
    let files = sources(town, &[]);
    let before = town.world.ids().len();
    let mut process = town.world.town().process();
    let output = process
        .args(args(&files))
        .env("CIVIC_FAILPOINT", point)
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
    town.stored("next.txt", b"next");
    town.assert_settled();
    town.world.ids().len() - before - 1
}

#[test]
fn one_that_dies_has_stored_all_or_nothing_once_the_next_run_is_over() {
    on_all(|town| {
        for point in [
            "upload.after-intent",
            "upload.after-put:15",
            "upload.before-commit",
        ] {
            assert_eq!(killed_at(town, point), 0, "{}: {point}", town.kind);
        }
        assert_eq!(killed_at(town, "upload.after-commit"), FILES, "{}", town.kind);
    });
}
