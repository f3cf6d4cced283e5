//! `storage:verify`: what is not what the records say is found, and what could not be asked is no finding.

use std::fs;

use serde_json::{Value, json};

use crate::cleanup_odd::unprivileged;
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeObject, FakeS3};

mod resume;

/// Four files that this program stored; the ids by name.
fn stored(town: &Deployment) -> Vec<(String, Value)> {
    let source = town.env().tmp().join("source");
    fs::create_dir_all(&source).unwrap();
    for name in ["changed", "cut", "gone", "whole"] {
        fs::write(source.join(name), format!("what was stored as {name}")).unwrap();
    }
    let args = [
        "storage:upload",
        "-r",
        source.to_str().unwrap(),
        "--folder",
        "permits",
        "--json",
    ];
    let run = town.civic(&args);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let items = run.json()["data"]["successful"].as_array().unwrap().clone();
    let named = |item: Value| (item["originalName"].as_str().unwrap().to_owned(), item);
    let mut all: Vec<_> = items.into_iter().map(named).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn verify(town: &Deployment, more: &[&str]) -> Run {
    town.civic(&[&["storage:verify", "--json"], more].concat())
}

/// Each finding with the name of its file.
fn found(run: &Run) -> Vec<(String, String)> {
    let json = run.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = json["data"]["findings"].as_array().unwrap();
    let mut all: Vec<_> = items
        .iter()
        .map(|item| (text(&item["originalName"]), text(&item["finding"])))
        .collect();
    all.sort();
    all
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn what_is_gone_cut_or_changed_is_found_and_nothing_is_touched() {
    let town = Deployment::new();
    let files = stored(&town);
    assert_eq!(verify(&town, &["--checksum"]).json()["data"]["verified"], 4);
    let path = |at: usize| files[at].1["providerPath"].as_str().unwrap().to_owned();
    let mut bytes = fs::read(path(0)).unwrap();
    bytes[5] ^= 1;
    fs::write(path(0), bytes).unwrap();
    fs::write(path(1), "what").unwrap();
    fs::remove_file(path(2)).unwrap();
    let before = crate::delete::state(&town);
    let quick = verify(&town, &[]);
    assert_eq!(quick.code, 0, "{}", quick.stdout);
    assert_eq!(
        found(&quick),
        pairs(&[("cut", "size-mismatch"), ("gone", "missing")])
    );
    let whole = verify(&town, &["--checksum", "--fail-on-findings"]);
    assert_eq!(
        (whole.code, &whole.json()["error"]["code"]),
        (4, &json!("STORAGE_INTEGRITY_ERROR"))
    );
    let expected = [
        ("changed", "checksum-mismatch"),
        ("cut", "size-mismatch"),
        ("gone", "missing"),
    ];
    assert_eq!(found(&whole), pairs(&expected));
    let data = &whole.json()["data"];
    assert_eq!((&data["checked"], &data["verified"]), (&json!(4), &json!(1)));
    let changed = data["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|f| f["originalName"] == "changed")
        .unwrap();
    assert_ne!(changed["recordedSha256"], changed["actualSha256"]);
    assert_eq!(crate::delete::state(&town), before);
    let shown = town.civic(&["storage:verify"]);
    assert!(
        shown.stdout.contains("other size") && shown.stdout.contains("missing"),
        "{}",
        shown.stdout
    );
}

#[test]
fn files_whose_checksum_nobody_kept_are_counted_as_such() {
    let town = Deployment::new();
    town.file(&key("permits", 1), 1, days(30));
    town.local_record(1, &key("permits", 1));
    let data = verify(&town, &["--checksum"]).json()["data"].clone();
    assert_eq!(
        (&data["verified"], &data["withoutChecksum"], &data["bytes"]),
        (&json!(0), &json!(1), &json!(1))
    );
}

/// Records 1 to `count` with their files, all in order.
fn many(count: u32) -> Deployment {
    let town = Deployment::new();
    for n in 1..=count {
        town.file(&key("permits", n), 1, days(30));
        town.local_record(n, &key("permits", n));
    }
    town
}

fn lose(town: &Deployment, n: u32) {
    fs::remove_file(town.storage().join(key("permits", n))).unwrap();
}

#[test]
fn a_sample_is_a_share_of_all_and_a_limit_is_kept() {
    let town = many(400);
    let drawn = verify(&town, &["--sample", "25%"]).json()["data"]["checked"]
        .as_u64()
        .unwrap();
    assert!((40..200).contains(&drawn), "{drawn} of 400");
    assert_eq!(
        verify(&town, &["--sample", "100%"]).json()["data"]["checked"],
        400
    );
    for wrong in ["0%", "101%", "7", "x%"] {
        assert_eq!(verify(&town, &["--sample", wrong]).code, 2, "{wrong}");
    }
    town.local_record(500, &key("public", 500));
    assert_eq!(
        verify(&town, &["--folder", "public"]).json()["data"]["checked"],
        1
    );
    assert_eq!(verify(&town, &["--folder", "nowhere"]).code, 2);
    assert_eq!(verify(&town, &["--provider", "nobody"]).code, 2);
}

#[test]
fn what_a_provider_does_not_answer_is_an_error_and_no_finding() {
    let object = |n| FakeObject {
        key: key("permits", n),
        size: 1,
        last_modified: chrono::Utc::now(),
    };
    let mut behaviour = Behaviour {
        objects: (1..=3).map(object).collect(),
        ..Behaviour::default()
    };
    behaviour.head_status.insert(key("permits", 2), 503);
    let fake = FakeS3::start(behaviour);
    let town = Deployment::new();
    town.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    for n in 1..=3 {
        town.record(n, &format!("s3://{BUCKET}"), &key("permits", n), (1, days(30)));
    }
    let run = verify(&town, &["--fail-on-findings"]);
    assert_eq!((run.code, found(&run)), (3, Vec::new()), "{}", run.stdout);
    assert_eq!(run.json()["data"]["errors"][0]["file"], uuid(2));
    // One that cannot be read, though a HEAD sees it, is not called missing: it may be being replaced.
    let run = verify(&town, &["--checksum"]);
    assert_eq!((run.code, found(&run)), (5, Vec::new()), "{}", run.stdout);
    assert_eq!(run.json()["data"]["errorSummary"]["totalErrors"], 3);
    // Nobody listens on port 1.
    town.providers(&Deployment::s3("http://127.0.0.1:1", BUCKET, ""));
    let run = verify(&town, &[]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (5, &json!("STORAGE_PROVIDER_UNAVAILABLE"))
    );
}

#[test]
fn a_database_that_may_not_be_written_is_verified_all_the_same() {
    let town = many(3);
    lose(&town, 2);
    let mut nobody = unprivileged(&town);
    let mode = |mode| {
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode);
        fs::set_permissions(town.env().database(), mode).unwrap();
    };
    mode(0o444);
    let output = nobody.args(["storage:verify", "--json"]).output().unwrap();
    mode(0o644);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &json["data"]["counts"]["missing"]),
        (Some(0), &json!(1)),
        "{json}"
    );
}

mod needs_server {
    use super::*;
    use crate::common::{Remote, TestEnv};

    fn on(bucket: &impl Remote) {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        let files = stored(&town);
        let key = |at: usize| format!("town/{}", files[at].1["relativePath"].as_str().unwrap());
        assert_eq!(verify(&town, &["--checksum"]).json()["data"]["verified"], 4);
        let mut bytes = bucket.get(&key(0)).unwrap();
        bytes[5] ^= 1;
        bucket.put(&key(0), &bytes);
        bucket.put(&key(1), b"what");
        let expected = [("changed", "checksum-mismatch"), ("cut", "size-mismatch")];
        assert_eq!(found(&verify(&town, &["--checksum"])), pairs(&expected));
        assert_eq!(found(&verify(&town, &[])), pairs(&expected[1..]));
    }

    #[test]
    fn on_seaweedfs() {
        if let Some(bucket) = TestEnv::seaweed() {
            on(&bucket);
        }
    }

    #[test]
    fn on_azurite() {
        if let Some(bucket) = TestEnv::azurite() {
            on(&bucket);
        }
    }

    #[test]
    fn on_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            on(&bucket);
        }
    }
}

/// CivicPress's own storage.yml lists providers that are switched off.
#[test]
fn a_provider_that_is_switched_off_and_has_no_records_keeps_nothing_from_being_verified() {
    let town = Deployment::new();
    let local = format!("  local: {{ type: local, path: {} }}", town.storage().display());
    town.providers(&format!(
        "{local}\n  s3: {{ type: s3, enabled: false, bucket: b }}"
    ));
    town.old_file(&key("permits", 1));
    town.local_record(1, &key("permits", 1));
    let run = town.civic(&["storage:verify", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["checked"], 1, "{}", run.stdout);
    assert_eq!(town.civic(&["storage:verify", "--provider", "s3"]).code, 2);
}
