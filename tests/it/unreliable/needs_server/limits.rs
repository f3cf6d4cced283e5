//! What all requests to a provider share: connections, limits, credentials.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::common::TestEnv;
use crate::common::proxy::Fault;
use crate::unreliable::town::Town;

fn uploads(town: &Town, count: usize, more: &[&str]) -> crate::common::deployment::Run {
    let files: Vec<String> = (0..count)
        .map(|n| town.source(&format!("{n}.txt"), format!("file {n}").as_bytes()))
        .collect();
    let mut args = vec!["storage:upload", "--json", "--folder", "permits"];
    args.extend(more);
    args.extend(files.iter().map(String::as_str));
    town.civic(&args)
}

#[test]
fn connections_are_used_again() {
    for bucket in [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten() {
        let town = Town::on(bucket);
        let run = uploads(&town, 60, &["--concurrency", "4"]);
        assert_eq!(run.code, 0, "{run:?}");
        let (requests, connections) = (town.proxy.seen().len(), town.proxy.connections());
        assert!(
            requests >= 60 && connections <= 15,
            "{connections} for {requests}"
        );
    }
}

#[test]
fn no_more_requests_are_under_way_than_there_may_be_connections_and_who_waits_says_so() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    town.set("max_connections_per_provider: 2");
    town.proxy
        .inject((0, 1000), Fault::Delay(Duration::from_millis(50)), |_| true);
    let run = uploads(&town, 12, &["-vv"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(town.proxy.most_at_once() <= 2, "{}", town.proxy.most_at_once());
    assert!(town.proxy.connections() <= 2, "{}", town.proxy.connections());
    assert!(
        run.stderr.contains("a request waits: 2 connections are in use"),
        "{}",
        run.stderr
    );
    town.proxy.forget();
    let run = uploads(&town, 12, &["-vv", "--concurrency", "12"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        !run.stderr.contains("a request waits"),
        "--concurrency takes as many: {}",
        run.stderr
    );
    town.assert_settled();
}

#[test]
fn a_secret_that_was_changed_is_read_again_before_the_next_file() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    let secret = town.world.town().env().tmp().join("secret");
    fs::write(&secret, "expired").unwrap();
    let file = format!("secret_access_key_file: {}", secret.display());
    town.world
        .town()
        .env()
        .edit_config(|yaml| yaml.replace("secret_access_key: civic-test-secret", &file));
    // The first answer takes its time, so that the secret is changed before it is there.
    town.proxy
        .inject((0, 1), Fault::Delay(Duration::from_secs(2)), |_| true);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while town.proxy.seen().is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
            fs::write(&secret, "civic-test-secret").unwrap();
        });
        uploads(&town, 4, &["--concurrency", "1"])
    });
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.json()["data"]["successfulCount"], 3, "{run:?}");
    let failed = &run.json()["data"]["failed"][0];
    let said = failed["error"].as_str().unwrap();
    assert!(said.contains("s3: upload was denied"), "{said}");
    assert!(!run.stderr.contains("trying again"), "{}", run.stderr);
    town.assert_settled();
}

/// Nothing but what stands below the prefix may be asked for, and no listing: what an upload needs, and no more.
#[test]
fn a_health_check_needs_no_more_rights_than_an_upload() {
    for bucket in [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten() {
        let town = Town::on(bucket);
        let is_allowed = |line: &str| {
            let (path, query) = line.split_once('?').unwrap_or((line, ""));
            // A deletion in bulk names a bucket, and asks for rights to its objects only.
            let bulk = query.starts_with("delete") || query.contains("comp=batch");
            let lists = query.contains("list-type") || query.contains("comp=list");
            bulk || path.contains("/town/") && !lists
        };
        let denied = move |line: &str| !is_allowed(line);
        town.proxy.inject((0, usize::MAX), Fault::Status(403), denied);
        let check = town.civic(&["storage:health", town.kind, "--refresh", "--json"]);
        assert_eq!(check.code, 0, "{check:?}");
        let file = town.source("a.txt", b"hello");
        assert_eq!(town.upload(&[file]).code, 0, "an upload needs as much");
        // Without the right to put, it is none that works.
        let put = |line: &str| line.starts_with("PUT ");
        town.proxy.inject((0, usize::MAX), Fault::Status(403), put);
        let check = town.civic(&["storage:health", town.kind, "--refresh", "--json"]);
        assert_eq!(check.code, 5, "{check:?}");
        assert!(check.stdout.contains("denied"), "{check:?}");
    }
}
