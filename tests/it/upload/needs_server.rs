//! The same on buckets.

use std::fs;

use serde_json::{Value, json};

use super::{path, source, upload};
use crate::common::deployment::{Deployment, Run};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeS3};
use crate::common::{Remote, TestEnv};

fn deployment(bucket: &impl Remote, prefix: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.providers(&bucket.provider_yaml(bucket.kind(), prefix));
    deployment
}

fn up_and_down(bucket: &impl Remote) {
    let deployment = deployment(bucket, "town");
    let env = deployment.env();
    let names = [
        "Procès 会議録 🏛️.txt".to_owned(),
        "a b+c%25#?.txt".to_owned(),
        "é".repeat(125) + ".txt",
        "e".to_owned(),
    ];
    for name in &names {
        source(env, name, name);
    }
    source(env, "empty.txt", "");
    let large: Vec<u8> = (0..13_000_003_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    source(env, "large.bin", &large);
    let run = upload(
        env,
        &[
            "-r",
            path(&env.tmp().join("source")),
            "--folder",
            "permits",
            "--description",
            "été",
        ],
    );
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    assert_eq!(run.json()["data"]["successfulCount"], 6);
    let out = env.tmp().join("back");
    for item in run.json()["data"]["successful"].as_array().unwrap() {
        let run = Run::of(
            env,
            [
                "storage:download",
                item["id"].as_str().unwrap(),
                "--force",
                "--out",
                path(&out),
            ],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(
            fs::read(&out).unwrap(),
            fs::read(item["source"].as_str().unwrap()).unwrap()
        );
        let stored = item["providerPath"].as_str().unwrap();
        assert_eq!(
            stored,
            format!(
                "{}/town/permits/{}",
                bucket.root(),
                item["storedFilename"].as_str().unwrap()
            )
        );
    }
    let counts = deployment.cleanup(&["--dry-run", "--min-age", "0"]).json()["data"]["counts"].clone();
    assert!(
        counts
            .as_object()
            .unwrap()
            .values()
            .all(|count| *count == json!(0)),
        "{counts}"
    );
    assert_eq!(
        Run::of(env, ["storage:usage", "--json"]).json()["data"]["total"]["files"],
        6
    );
    let again = upload(
        env,
        &[
            "-r",
            path(&env.tmp().join("source")),
            "--folder",
            "permits",
            "--skip-existing",
        ],
    );
    assert_eq!(again.json()["data"]["skippedCount"], 6);
}

fn metadata_goes_along(bucket: &impl Remote) {
    let deployment = deployment(bucket, "");
    let env = deployment.env();
    let file = source(env, "Procès 会議.pdf", "x");
    let stored = |run: &Run| -> Value { run.json()["data"]["successful"][0].clone() };
    let run = upload(env, &[path(&file), "--folder", "permits", "--uploaded-by", "Zoë"]);
    let found = bucket.head(stored(&run)["relativePath"].as_str().unwrap());
    assert!(found.contains("content-type: application/pdf"), "{found}");
    for (name, value) in [
        ("civic-original-name", "proc%c3%a8s%20%e4%bc%9a%e8%ad%b0.pdf"),
        ("civic-uploaded-by", "zo%c3%ab"),
        ("civic-folder", "permits"),
    ] {
        let header = format!("{}: {value}", bucket.metadata_header(name));
        assert!(found.contains(&header), "{header}: {found}");
    }
    let run = upload(
        env,
        &[
            path(&file),
            "--folder",
            "permits",
            "--description",
            &"é".repeat(1500),
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stdout);
    let record = stored(&run);
    let key = record["relativePath"].as_str().unwrap();
    assert!(
        bucket
            .head(&format!("{key}.meta.json"))
            .starts_with("http/1.1 200"),
        "a sidecar holds what headers cannot"
    );
    let counts = deployment.cleanup(&["--dry-run", "--min-age", "0"]).json()["data"]["counts"].clone();
    assert!(
        counts
            .as_object()
            .unwrap()
            .values()
            .all(|count| *count == json!(0)),
        "{counts}"
    );
}

fn killed(bucket: &impl Remote) {
    for point in ["upload.after-intent", "upload.after-put", "upload.after-commit"] {
        // A place of its own for each: the marker of another deployment would forbid to clear up after it.
        let deployment = deployment(bucket, point);
        let env = deployment.env();
        let file = source(env, "a.txt", "a");
        let status = env
            .process()
            .args(["storage:upload", "--folder", "permits", path(&file)])
            .env("CIVIC_FAILPOINT", point)
            .status()
            .unwrap();
        assert!(!status.success(), "{point}");
        let next = upload(env, &[path(&file), "--folder", "permits"]);
        assert_eq!(next.code, 0, "{point}: {}", next.stderr);
        let look = deployment.cleanup(&["--dry-run", "--min-age", "0"]);
        assert_eq!(look.count("orphanedRecords"), 0, "{point}");
        assert_eq!(look.count("orphanedObjects"), 0, "{point}: {}", look.stdout);
    }
}

#[test]
fn files_go_up_and_come_down_on_seaweed() {
    if let Some(bucket) = TestEnv::seaweed() {
        up_and_down(&bucket);
    }
}

#[test]
fn files_go_up_and_come_down_on_rclone() {
    if let Some(bucket) = TestEnv::rclone() {
        // rclone answers 500 when two puts make one directory: it is there before, and stays without files.
        bucket.put("town/permits/first", "");
        bucket.delete("town/permits/first");
        up_and_down(&bucket);
    }
}

#[test]
fn files_go_up_and_come_down_on_gcs() {
    if let Some(bucket) = TestEnv::gcs() {
        up_and_down(&bucket);
    }
}

#[test]
fn the_record_goes_with_the_object_whatever_its_characters_on_gcs() {
    if let Some(bucket) = TestEnv::gcs() {
        metadata_goes_along(&bucket);
    }
}

#[test]
fn a_killed_upload_leaves_nothing_on_gcs() {
    if let Some(bucket) = TestEnv::gcs() {
        killed(&bucket);
    }
}

#[test]
fn the_record_goes_with_the_object_whatever_its_characters() {
    if let Some(bucket) = TestEnv::seaweed() {
        metadata_goes_along(&bucket);
    }
}

#[test]
fn a_killed_upload_leaves_nothing_in_the_bucket() {
    if let Some(bucket) = TestEnv::seaweed() {
        killed(&bucket);
    }
}

#[test]
fn files_go_up_and_come_down_on_azurite() {
    if let Some(bucket) = TestEnv::azurite() {
        up_and_down(&bucket);
    }
}

#[test]
fn the_record_goes_with_the_blob_whatever_its_characters() {
    if let Some(bucket) = TestEnv::azurite() {
        metadata_goes_along(&bucket);
    }
}

#[test]
fn a_killed_upload_leaves_nothing_in_the_container() {
    if let Some(bucket) = TestEnv::azurite() {
        killed(&bucket);
    }
}

/// Up to the threshold a file goes in one request: the ETag of one in parts ends with their number.
#[test]
fn below_the_threshold_a_file_goes_whole_and_above_it_in_parts() {
    if let Some(bucket) = TestEnv::seaweed() {
        let deployment = deployment(&bucket, "");
        let env = deployment.env();
        for (size, parts) in [(5_000_000, ""), (10 << 20, ""), ((10 << 20) + 1, "-3\"")] {
            let file = source(env, "file.bin", vec![7; size]);
            let run = upload(env, &[path(&file), "--folder", "permits"]);
            assert_eq!(run.code, 0, "{}", run.stdout);
            let key = run.json()["data"]["successful"][0]["relativePath"]
                .as_str()
                .unwrap()
                .to_owned();
            let found = bucket.head(&key);
            let etag = found.lines().find(|line| line.starts_with("etag:")).unwrap();
            assert_eq!(etag.contains('-'), !parts.is_empty(), "{size}: {etag}");
            assert!(etag.ends_with(parts), "{size}: {etag}");
        }
    }
}

#[test]
fn s3_is_sent_the_checksum_of_every_body_in_the_signed_request() {
    let fake = FakeS3::start(Behaviour::default());
    let deployment = Deployment::new();
    deployment.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    let file = source(deployment.env(), "a.txt", "what is sent");
    upload(deployment.env(), &[path(&file), "--folder", "permits"]);
    // SHA-256 of those bytes: signed with the request, so that the provider checks what came against it.
    let sent = fake.header_of("PUT", "permits/", "x-amz-content-sha256");
    let known = "f4ad6f8b54c2324aad996598ce204964af294dcdd4d73f2cc732c6b9b83b2f12";
    assert_eq!(sent.as_deref(), Some(known));
}

/// Where nothing is asked over TLS, nobody's certificates are needed, and none are read.
#[test]
fn a_bucket_without_tls_is_used_on_a_machine_without_certificates() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let deployment = deployment(&bucket, "bare");
    let file = source(deployment.env(), "plan.txt", "plan");
    let mut civic = deployment.process();
    let args = ["storage:upload", "--folder", "permits", path(&file)];
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")];
    let output = civic.args(args).envs(none).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
