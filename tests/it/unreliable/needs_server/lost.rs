//! Answers that never came, came in part, or spoke of one thing of many.

use std::fs;
use std::time::Duration;

use crate::common::TestEnv;
use crate::common::proxy::Fault;
use crate::unreliable::town::Town;

fn large() -> Vec<u8> {
    (0..6_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect()
}

#[test]
fn a_download_that_falls_silent_goes_on_from_its_last_byte() {
    for bucket in [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten() {
        let town = Town::on(bucket);
        let id = town.stored("a.bin", &large());
        town.set("stall_timeout: 1500ms");
        town.proxy.forget();
        town.proxy
            .inject((0, 1), Fault::StallAnswer, |line| line.starts_with("GET "));
        let out = town.out().display().to_string();
        let run = town.civic(&["storage:download", "--json", &id, "--out", &out]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(fs::read(out).unwrap() == large(), "other bytes");
        assert_eq!(town.proxy.count(|line| line.starts_with("GET ")), 2);
        let went_on = run.stderr.lines().find(|line| line.contains("going on")).unwrap();
        let from: u64 = went_on
            .split("from_byte=")
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        assert!(from > 1_000_000, "{went_on}");
        assert!(went_on.contains("1500 ms (stall_timeout)"), "{went_on}");
    }
}

#[test]
fn a_download_that_never_goes_on_leaves_nothing_and_with_resume_what_came() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let id = town.stored("a.bin", &large());
    town.set("stall_timeout: 1500ms");
    town.set("retry_attempts: 0");
    let is_get = |line: &str| line.starts_with("GET ");
    town.proxy.inject((0, 2), Fault::StallAnswer, is_get);
    let out = town.out().display().to_string();
    let download = |more: &[&str]| {
        let args = [&["storage:download", "--json", &id, "--out", &out], more].concat();
        town.civic(&args)
    };
    let run = download(&[]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stdout.contains("STORAGE_TIMEOUT"), "{run:?}");
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
    assert_eq!(download(&["--resume"]).code, 5);
    town.proxy.calm();
    town.proxy.forget();
    let run = download(&["--resume"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fs::read(&out).unwrap() == large(), "other bytes");
    assert_eq!(town.proxy.count(is_get), 1);
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn a_download_of_which_a_few_bytes_come_at_a_time_ends_and_one_that_gets_on_does_not() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let id = town.stored("a.bin", &large());
    let is_get = |line: &str| line.starts_with("GET ");
    let out = town.out().display().to_string();
    let download = |bytes: usize| {
        town.proxy.calm();
        town.proxy.forget();
        town.proxy.inject((0, usize::MAX), Fault::CutAfter(bytes), is_get);
        town.civic(&["storage:download", "--json", "--no-progress", &id, "--out", &out])
    };
    // Of 6 MB, 10,000 bytes at a time: it would take 600 requests.
    let run = download(10_000);
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(town.proxy.count(is_get), 4, "one, and three tries more");
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
    let run = download(100_000);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fs::read(&out).unwrap() == large(), "other bytes");
    assert_eq!(town.proxy.count(is_get), 60);
}

/// What a trial is for is not known after an outage, and a deletion without it is none that was agreed to.
#[test]
fn a_trial_of_conditions_that_nobody_answered_is_made_again_before_anything_is_deleted() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let ids = ["a", "b"].map(|name| town.stored(name, b"hello"));
    town.proxy.forget();
    let is_trial = |line: &str| line.starts_with("PUT ") && line.contains("/.civic/probe-");
    town.proxy.inject((0, 4), Fault::Status(503), is_trial);
    let delete = ["storage:delete", "--yes", "--json", "--concurrency", "1", "-vv"];
    let run = town.civic(&[&delete[..], &[&ids[0], &ids[1]]].concat());
    assert!(
        !run.stderr.contains("conditional deletions: Ok(false)"),
        "{run:?}"
    );
    let lines: Vec<String> = town
        .proxy
        .seen()
        .iter()
        .map(crate::common::proxy::Seen::line)
        .collect();
    let first = |what: &str| {
        let found = lines
            .iter()
            .position(|line| line.starts_with("DELETE ") && line.contains(what));
        found.unwrap_or(usize::MAX)
    };
    let (trial, file) = (first("/.civic/probe-"), first("/town/permits/"));
    assert!(file == usize::MAX || trial < file, "{lines:#?}");
    // Whatever this one left, the next ends.
    town.proxy.calm();
    let other = town.stored("c", b"hello");
    assert_eq!(town.civic(&["storage:delete", "--yes", "--json", &other]).code, 0);
    assert_eq!(town.shape(), "trash 3");
    town.assert_settled();
}

#[test]
fn a_trial_of_conditions_whose_own_deletion_was_not_answered_is_believed() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let id = town.stored("a", b"hello");
    let is_deletion = |line: &str| line.starts_with("DELETE ") && line.contains("/.civic/probe-");
    // The second: the first is refused.
    town.proxy.inject((1, 1), Fault::DropAnswer, is_deletion);
    let run = town.civic(&["storage:delete", "--yes", "--json", "-vv", &id]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("conditional deletions: Ok(true)"), "{run:?}");
    assert_eq!(town.proxy.count(is_deletion), 3, "one of them again");
    town.assert_settled();
}

/// Once, and for good: a look tells that the object is there.
#[test]
fn an_upload_in_parts_whose_last_answers_are_lost_is_stored() {
    for bucket in [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten() {
        let town = Town::on(bucket);
        town.set("stream_threshold: 1MB");
        town.proxy.inject((0, 1000), Fault::DropAnswer, |line| {
            line.starts_with("POST ") && line.contains("uploadId=") || line.contains("comp=blocklist")
        });
        let run = town.upload(&[town.source("a", &large())]);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(town.shape(), "a@permits/s3");
        town.assert_settled();
        town.assert_no_upload_left();
    }
}

/// The service says of one key that it failed; nobody may believe that it is still there, or that it is gone.
#[test]
fn one_key_that_fails_in_a_bulk_deletion_of_200_is_told_and_settled_by_the_next_run() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let files: Vec<String> = (0..200)
        .map(|n| town.source(&format!("{n}.txt"), b"hello"))
        .collect();
    let stored = town.upload(&files);
    let ids = stored.items("successful", "id");
    let item = &stored.json()["data"]["successful"][77];
    let (id, path) = (
        item["id"].as_str().unwrap(),
        item["providerPath"].as_str().unwrap(),
    );
    let key = path.splitn(4, '/').nth(3).unwrap();
    let body = format!(
        "<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    );
    town.proxy.inject((0, 1), Fault::Replace(body.leak()), |line| {
        line.starts_with("POST ")
    });
    let list = town.source("../list", ids.join("\n").as_bytes());
    let run = town.civic(&[
        "storage:delete",
        "--purge",
        "--yes",
        "--json",
        "--from-list",
        &list,
    ]);
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.json()["data"]["successfulCount"], 199, "{run:?}");
    assert_eq!(run.items("failed", "file"), [id]);
    let said = run.json()["data"]["failed"][0]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(said.contains("s3: delete") && said.contains("next run"), "{said}");
    town.stored("later.txt", b"later");
    assert_eq!(town.shape(), "later.txt@permits/s3");
    town.assert_settled();
}

/// A request that the provider carries out after this program gave it up.
#[test]
fn a_put_that_is_done_after_its_time_leaves_nothing_once_the_next_run_was_there() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    town.set("upload_timeout: 1500ms");
    town.set("retry_attempts: 0");
    town.proxy
        .inject((0, 1), Fault::Late(Duration::from_secs(3)), |line| {
            line.starts_with("PUT ")
        });
    let run = town.upload(&[town.source("a", b"hello")]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stdout.contains("STORAGE_TIMEOUT"), "{run:?}");
    std::thread::sleep(Duration::from_secs(3));
    town.stored("b", b"hello");
    // Bytes that nobody was told of are not thrown away at once.
    assert_eq!(town.shape(), "b@permits/s3 trash 1");
    town.assert_settled();
}
