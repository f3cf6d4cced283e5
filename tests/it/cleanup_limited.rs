//! Cleanup that sees only part of a deployment, and keys that carry more than their own UUID: nothing that is
//! somebody's last copy may look orphaned, nor its record.

use crate::common::deployment::{Deployment, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeS3};

const NO: [&str; 0] = [];

fn verdict(deployment: &Deployment, item: &str) -> String {
    let run = deployment.cleanup(&["--explain", item]);
    run.json()["data"]["explanations"][0]["verdict"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_run_on_one_folder_called_a_record_orphaned_whose_bytes_lie_in_another() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    deployment.old_file(&key("public", 1));
    let run = deployment.cleanup(&["--folder", "permits", "--kind", "misplaced,orphaned-records"]);
    assert_eq!(run.items("orphanedRecords", "id"), [uuid(2)]);
    assert_eq!(run.items("misplaced", "key"), [key("public", 1)]);
    assert_eq!(run.json()["data"]["misplaced"][0]["recordObjectMissing"], true);
    assert_eq!(run.count("misplaced"), 1);
}

#[test]
fn a_run_on_one_provider_called_a_record_orphaned_whose_bytes_lie_on_another() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.storage(), deployment.storage().with_file_name("there"));
    let there_key = there.join(key("permits", 1));
    std::fs::create_dir_all(there_key.parent().expect("a parent")).expect("a directory");
    std::fs::write(there_key, "x").expect("a file");
    deployment.providers(&format!(
        "  local: {{ type: local, path: {} }}\n  there: {{ type: local, path: {} }}",
        here.display(),
        there.display()
    ));
    deployment.local_record(1, &key("permits", 1));
    let run = deployment.cleanup(&[
        "--provider",
        "local",
        "--provider",
        "local",
        "--kind",
        "misplaced,orphaned-records",
    ]);
    assert_eq!(run.items("orphanedRecords", "id"), NO);
    assert_eq!(run.items("misplaced", "provider"), ["there"]);
    assert_eq!(
        run.json()["data"]["providers"].as_array().map(Vec::len),
        Some(1),
        "named twice"
    );
}

#[test]
fn a_run_on_one_provider_says_which_other_it_could_not_look_at() {
    let failing = Behaviour {
        fail_page: Some((1, 503)),
        ..Behaviour::default()
    };
    let fake = FakeS3::start(failing);
    let deployment = Deployment::new();
    let local = format!(
        "  local: {{ type: local, path: {} }}\n",
        deployment.storage().display()
    );
    deployment.providers(&(local + &Deployment::s3(&fake.endpoint(), BUCKET, "")));
    deployment.old_file(&key("permits", 2));
    deployment.local_record(2, &key("permits", 2));
    let calm = deployment.cleanup(&["--provider", "local"]);
    assert_eq!(
        (calm.code, &calm.json()["data"]["warnings"]),
        (0, &serde_json::json!([]))
    );
    deployment.local_record(1, &key("permits", 1));
    let run = deployment.cleanup(&["--provider", "local"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let warning = &run.json()["data"]["warnings"][0];
    assert_eq!(
        (&warning["rule"], &warning["provider"]),
        (&"limited-view".into(), &"s3".into())
    );
}

#[test]
fn explain_called_a_record_orphaned_where_the_run_found_its_bytes_elsewhere() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    deployment.old_file(&key("public", 1));
    assert_eq!(verdict(&deployment, &uuid(1)), "misplaced");
    assert_eq!(verdict(&deployment, &uuid(2)), "orphaned-record");
}

#[test]
fn rule_3_a_key_with_two_uuids_was_judged_by_the_last_alone() {
    let deployment = Deployment::new();
    deployment.local_record(1, &format!("permits/old_{}.txt", uuid(1)));
    let twice = format!("permits/old_{}_{}.txt", uuid(1), uuid(2));
    deployment.old_file(&twice);
    let run = deployment.cleanup(&["--kind", "misplaced,orphaned-records,orphaned-objects"]);
    assert_eq!(run.items("orphanedObjects", "key"), NO);
    assert_eq!(run.items("orphanedRecords", "id"), NO);
    assert_eq!(run.items("misplaced", "key"), [twice.as_str()]);
    assert_eq!(verdict(&deployment, &twice), "misplaced");
}

#[test]
fn rule_3_the_records_of_a_renamed_directory_were_called_orphaned() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.local_record(2, &key("permits", 2));
    let moved = [
        format!("permits-2019/file_{}.txt", uuid(1)),
        format!("permits/file_{}.txt.bak~", uuid(2).to_uppercase()),
    ];
    for key in &moved {
        deployment.old_file(key);
    }
    deployment.old_file(&format!("elsewhere/of others {}.txt", uuid(3)));
    let run = deployment.cleanup(&["--kind", "misplaced,orphaned-records,foreign"]);
    assert_eq!(run.items("orphanedRecords", "id"), NO);
    assert_eq!(run.items("misplaced", "key"), moved);
    assert_eq!(run.count("foreign"), 1);
    assert_eq!(verdict(&deployment, &moved[0]), "misplaced");
}

#[test]
fn a_sidecar_is_nobodys_last_copy() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.old_file(&format!("{}.meta.json", key("permits", 1)));
    deployment.old_file(&format!("attic/{}.meta.json", key("permits", 1)));
    for limit in [&[][..], &["--folder", "permits"]] {
        let run = deployment.cleanup(limit);
        assert_eq!(run.items("orphanedRecords", "id"), [uuid(1)]);
    }
}

#[test]
fn rule_2_a_folder_whose_disk_is_missing_went_without_a_warning() {
    let deployment = Deployment::new();
    for n in 1..4 {
        deployment.local_record(n, &key("permits", n));
        deployment.old_file(&key("public", n + 10));
        deployment.local_record(n + 10, &key("public", n + 10));
    }
    let run = deployment.cleanup(&[]);
    let warnings = &run.json()["data"]["warnings"];
    assert_eq!(warnings[0]["rule"], "empty-listing", "{warnings}");
    assert!(run.stderr.contains("folder permits"), "{}", run.stderr);
    deployment.old_file(&key("permits", 1));
    assert_eq!(
        deployment.cleanup(&[]).json()["data"]["warnings"],
        serde_json::json!([])
    );
}
