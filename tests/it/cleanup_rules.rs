//! The safety rules of cleanup, one by one: each test fails if its rule is taken away.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{TimeDelta, Utc};

use crate::common::deployment::{Deployment, days, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeObject, FakeS3};

const NO: Vec<String> = Vec::new();

fn object(key: &str, age: TimeDelta) -> FakeObject {
    FakeObject {
        key: key.to_owned(),
        size: 1,
        last_modified: Utc::now() - age,
    }
}

fn old(key: &str) -> FakeObject {
    object(key, TimeDelta::days(30))
}

/// A deployment on a fake S3 endpoint with these behaviours, and records for the given keys.
fn on_fake(behaviour: Behaviour, records: &[(u32, String)]) -> (Deployment, FakeS3) {
    let fake = FakeS3::start(behaviour);
    let deployment = Deployment::new();
    deployment.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    for (n, key) in records {
        deployment.record(*n, &format!("s3://{BUCKET}"), key, (1, days(30)));
    }
    (deployment, fake)
}

#[test]
fn rule_1_a_listing_that_fails_on_page_3_of_5_claims_nothing() {
    let objects: Vec<_> = (0..50).map(|n| old(&key("permits", n))).collect();
    // Every second object has its record, and ten records have no object: there would be much to claim.
    let records: Vec<_> = (0..70).step_by(2).map(|n| (n, key("permits", n))).collect();
    let behaviour = Behaviour {
        objects,
        page_size: 10,
        fail_page: Some((3, 500)),
        ..Behaviour::default()
    };
    let (deployment, fake) = on_fake(behaviour, &records);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 5, "{}", run.stderr);
    let json = run.json();
    assert_eq!(json["success"], false);
    assert_eq!(json["error"]["code"], "STORAGE_PROVIDER_UNAVAILABLE");
    assert_eq!(json["data"]["providers"][0]["complete"], false);
    assert_eq!(run.items("orphanedObjects", "key"), NO);
    assert_eq!(run.items("orphanedRecords", "id"), NO);
    assert_eq!(run.count("orphanedObjects") + run.count("orphanedRecords"), 0);
    assert_eq!(fake.writes(), NO);
}

#[test]
fn rule_1_a_listing_that_leaves_out_an_old_object_is_not_believed() {
    let behaviour = Behaviour {
        objects: vec![old(&key("permits", 1))],
        hidden: vec![old(&key("permits", 2))],
        ..Behaviour::default()
    };
    let records = [(1, key("permits", 1)), (2, key("permits", 2))];
    let (deployment, _fake) = on_fake(behaviour, &records);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    assert_eq!(run.json()["data"]["providers"][0]["complete"], false);
    assert_eq!(run.count("orphanedRecords"), 0);
}

#[test]
fn rule_1_one_failing_provider_does_not_hide_what_another_completed() {
    let behaviour = Behaviour {
        fail_page: Some((1, 403)),
        ..Behaviour::default()
    };
    let fake = FakeS3::start(behaviour);
    let deployment = Deployment::new();
    let local = format!(
        "  local: {{ type: local, path: {} }}\n",
        deployment.storage().display()
    );
    deployment.providers(&(local + &Deployment::s3(&fake.endpoint(), BUCKET, "")));
    deployment.old_file(&key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    deployment.old_file(&key("permits", 2));
    let run = deployment.cleanup(&[]);
    assert_ne!(run.code, 0);
    let providers = &run.json()["data"]["providers"];
    assert_eq!(providers[0]["complete"], true);
    assert_eq!(providers[1]["complete"], false);
    assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 1)]);
}

#[test]
fn rule_2_an_empty_listing_is_warned_of() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.old_file("note.txt");
    let run = deployment.cleanup(&[]);
    let warning = &run.json()["data"]["warnings"][0];
    assert_eq!(
        (&warning["rule"], &warning["overridable"]),
        (&"empty-listing".into(), &true.into())
    );
    assert!(run.stderr.contains("empty-listing"), "{}", run.stderr);
}

#[test]
fn rule_2_a_root_with_nothing_in_it_looks_unmounted_and_cannot_be_overridden() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    let run = deployment.cleanup(&[]);
    let warning = &run.json()["data"]["warnings"][0];
    assert_eq!(
        (&warning["rule"], &warning["overridable"]),
        (&"empty-listing".into(), &false.into())
    );
    assert!(
        warning["message"]
            .as_str()
            .unwrap_or_default()
            .contains("mounted")
    );
}

#[test]
fn rule_2_a_missing_root_is_an_error_and_never_a_finding() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    std::fs::remove_dir(deployment.storage()).expect("the root goes");
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    assert_eq!(run.count("orphanedRecords"), 0);
    assert!(
        run.json()["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("storage")
    );
}

#[test]
fn rule_2_an_empty_database_is_warned_of() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    let run = deployment.cleanup(&[]);
    assert_eq!(run.json()["data"]["warnings"][0]["rule"], "empty-database");
}

#[test]
fn rule_3_records_of_another_provider_are_no_orphans_here() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.local_record(1, &key("permits", 1));
    deployment.record(2, "s3://elsewhere", &key("permits", 2), (1, days(30)));
    deployment.record(3, "/srv/forgotten", &key("permits", 3), (1, days(30)));
    let run = deployment.cleanup(&[]);
    assert_eq!(run.items("orphanedRecords", "id"), NO);
    assert_eq!(run.count("unmappedRecords"), 2);
    let listed = deployment.cleanup(&["--kind", "unmapped"]);
    assert_eq!(listed.items("unmapped", "id"), [uuid(2), uuid(3)]);
}

#[test]
fn rule_3_the_objects_of_a_moved_root_are_misplaced_until_an_alias_names_it() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.record(1, "/srv/old/storage", &key("permits", 1), (1, days(30)));
    let moved = deployment.cleanup(&["--kind", "misplaced"]);
    assert_eq!(moved.count("orphanedObjects") + moved.count("orphanedRecords"), 0);
    assert_eq!(moved.items("misplaced", "key"), [key("permits", 1)]);
    let path = deployment.storage().display().to_string();
    deployment.providers(&format!(
        "  local: {{ type: local, path: {path}, aliases: [/srv/old/storage] }}"
    ));
    let found = deployment.cleanup(&[]);
    assert_eq!((found.count("misplaced"), found.count("unmappedRecords")), (0, 0));
    assert_eq!(found.json()["data"]["providers"][0]["recordsScanned"], 1);
}

#[test]
fn rule_3_a_prefix_ends_at_a_slash() {
    let behaviour = Behaviour {
        objects: vec![
            old(&format!("town/{}", key("permits", 1))),
            old(&format!("townhall/{}", key("permits", 2))),
        ],
        ..Behaviour::default()
    };
    let fake = FakeS3::start(behaviour);
    let deployment = Deployment::new();
    deployment.providers(&Deployment::s3(&fake.endpoint(), BUCKET, "town"));
    deployment.record(
        1,
        &format!("s3://{BUCKET}/town"),
        &key("permits", 1),
        (1, days(30)),
    );
    let run = deployment.cleanup(&[]);
    assert_eq!(run.json()["data"]["providers"][0]["objectsScanned"], 1);
    assert_eq!(run.count("orphanedObjects"), 0);
}

#[test]
fn a_record_whose_bytes_lie_under_another_key_is_no_orphan() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    deployment.old_file(&key("public", 1));
    let run = deployment.cleanup(&["--kind", "misplaced,orphaned-records"]);
    assert_eq!(run.items("orphanedRecords", "id"), [uuid(2)]);
    assert_eq!(run.items("misplaced", "key"), [key("public", 1)]);
    assert_eq!(run.json()["data"]["misplaced"][0]["recordObjectMissing"], true);
}

#[test]
fn rule_4_what_this_system_did_not_name_is_counted_and_left() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.old_file(&key("permits", 1));
    for foreign in [
        "stray.txt",
        "public/scan.pdf",
        "theirs/photo_0badc0de-0000-4000-8000-00000000dead.jpg",
    ] {
        deployment.old_file(foreign);
    }
    for reserved in [
        ".civic/marker",
        ".trash/run/permits/x_0badc0de-0000-4000-8000-00000000dead.pdf",
    ] {
        deployment.old_file(reserved);
    }
    let run = deployment.cleanup(&["--kind", "foreign"]);
    assert_eq!((run.count("foreign"), run.count("orphanedObjects")), (3, 0));
    assert_eq!(run.items("foreign", "key").len(), 3);
}

#[test]
fn rule_5_what_is_younger_than_the_minimum_age_is_left_alone() {
    let deployment = Deployment::new();
    deployment.file(&key("permits", 1), 1, Duration::from_secs(60));
    deployment.file(&key("permits", 2), 1, days(2));
    let root = deployment.storage().display().to_string();
    deployment.record(3, &root, &key("permits", 3), (1, Duration::from_secs(60)));
    deployment.record(4, &root, &key("permits", 4), (1, days(2)));
    let default = deployment.cleanup(&[]);
    assert_eq!(default.items("orphanedObjects", "key"), [key("permits", 2)]);
    assert_eq!(default.items("orphanedRecords", "id"), [uuid(4)]);
    assert_eq!(default.count("tooRecent"), 2);
    let longer = deployment.cleanup(&["--min-age", "30d"]);
    assert_eq!(
        (longer.count("orphanedObjects"), longer.count("tooRecent")),
        (0, 4)
    );
    let none = deployment.cleanup(&["--min-age", "0"]);
    assert_eq!(
        (none.count("orphanedObjects"), none.count("orphanedRecords")),
        (2, 2)
    );
    assert!(
        none.stderr.contains("min-age"),
        "less than an hour warns: {}",
        none.stderr
    );
}

#[test]
fn rule_5_an_age_that_nobody_can_tell_is_young() {
    let deployment = Deployment::new();
    deployment.old_file("note.txt");
    for (n, at) in [(1, "NULL"), (2, "'yesterday'"), (3, "'2999-01-01 00:00:00'")] {
        deployment.local_record(n, &key("permits", n));
        let sql = format!(
            "UPDATE storage_files SET created_at = {at} WHERE id = '{}'",
            uuid(n)
        );
        deployment.db().execute_batch(&sql).expect("the time");
    }
    let run = deployment.cleanup(&[]);
    assert_eq!((run.count("orphanedRecords"), run.count("tooRecent")), (0, 3));
}

#[test]
fn rule_5_ages_are_told_by_the_providers_clock_and_a_wrong_clock_is_warned_of() {
    let behaviour = Behaviour {
        objects: vec![
            object(&key("permits", 1), TimeDelta::hours(12)),
            old(&key("permits", 2)),
        ],
        clock_ahead: 13 * 3600,
        ..Behaviour::default()
    };
    let (deployment, _fake) = on_fake(behaviour, &[(2, key("permits", 2))]);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 1)]);
    assert_eq!(run.json()["data"]["warnings"][0]["rule"], "clock-skew");
}

#[test]
fn rule_6_only_not_found_makes_a_record_an_orphan() {
    let head_status = HashMap::from([(key("permits", 2), 403)]);
    let behaviour = Behaviour {
        objects: vec![old(&key("permits", 1))],
        head_status,
        ..Behaviour::default()
    };
    let records: Vec<_> = (1..4).map(|n| (n, key("permits", n))).collect();
    let (deployment, fake) = on_fake(behaviour, &records);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert_eq!(run.items("orphanedRecords", "id"), [uuid(3)]);
    assert_eq!(
        run.items("errors", "file"),
        [format!("s3://{BUCKET}/{}", key("permits", 2))]
    );
    assert!(fake.heads() >= 2, "each was asked for");
}

#[test]
fn rule_6_a_provider_that_cannot_answer_ends_the_comparison() {
    let head_status = HashMap::from([(key("permits", 2), 503)]);
    let behaviour = Behaviour {
        objects: vec![old(&key("permits", 1))],
        head_status,
        ..Behaviour::default()
    };
    let records: Vec<_> = (1..4).map(|n| (n, key("permits", n))).collect();
    let (deployment, _fake) = on_fake(behaviour, &records);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    assert_eq!(run.count("orphanedRecords"), 0);
}

#[test]
fn a_listing_out_of_byte_order_is_sorted_and_nothing_is_missed() {
    let keys: Vec<_> = (0..40)
        .map(|n| key(if n % 2 == 0 { "permits" } else { "public" }, n))
        .collect();
    let objects = keys.iter().rev().map(|k| old(k)).collect();
    let behaviour = Behaviour {
        objects,
        page_size: 7,
        ..Behaviour::default()
    };
    let records: Vec<_> = (1..41)
        .map(|n| (n, key(if n % 2 == 0 { "permits" } else { "public" }, n)))
        .collect();
    let (deployment, _fake) = on_fake(behaviour, &records);
    let run = deployment.cleanup(&[]);
    assert_eq!(run.items("orphanedObjects", "key"), [key("permits", 0)]);
    assert_eq!(run.items("orphanedRecords", "id"), [uuid(40)]);
    assert_eq!(run.json()["data"]["providers"][0]["objectsScanned"], 40);
}

#[test]
fn two_records_of_one_object_are_both_served_by_it() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 1));
    let run = deployment.cleanup(&[]);
    assert_eq!(
        (run.count("orphanedRecords"), run.count("orphanedObjects")),
        (0, 0)
    );
    assert_eq!(run.json()["data"]["providers"][0]["objectsScanned"], 1);
}

#[test]
fn a_record_that_points_outside_its_root_is_unmapped() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, "../../etc/passwd");
    deployment.local_record(3, "permits//x.txt");
    let run = deployment.cleanup(&["--kind", "unmapped"]);
    assert_eq!(run.items("unmapped", "id"), [uuid(2), uuid(3)]);
    assert_eq!(run.count("orphanedRecords"), 0);
}

#[test]
fn explain_tells_each_verdict() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    deployment.old_file(&key("permits", 3));
    deployment.record(4, "/srv/forgotten", &key("permits", 4), (1, days(30)));
    deployment.old_file(&key("public", 4));
    deployment.old_file("public/stray.txt");
    let verdict = |item: &str| {
        let run = deployment.cleanup(&["--explain", item]);
        run.json()["data"]["explanations"][0]["verdict"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(verdict(&uuid(1)), "in-agreement");
    assert_eq!(verdict(&uuid(2)), "orphaned-record");
    assert_eq!(verdict(&uuid(4)), "unmapped");
    assert_eq!(verdict(&key("permits", 1)), "in-agreement");
    assert_eq!(verdict(&key("permits", 3)), "orphaned-object");
    assert_eq!(verdict(&format!("local:{}", key("public", 4))), "misplaced");
    assert_eq!(verdict("public/stray.txt"), "foreign");
    assert_eq!(
        verdict(
            &deployment
                .storage()
                .join("public/absent.txt")
                .display()
                .to_string()
        ),
        "absent"
    );
}
