//! Uploads in parts whose process died: found where they are asked for, ended where nobody works on them.

mod needs_server {
    use std::fs;

    use serde_json::{Value, json};

    use crate::cleanup_apply::Stopped;
    use crate::common::deployment::{Deployment, Run, uuid};
    use crate::common::{Remote, TestEnv};

    const APPLY: [&str; 5] = ["--apply", "--yes", "--kind", "multipart", "--min-age"];

    /// A deployment on the bucket, and a file that goes up in three parts.
    fn deployment(bucket: &impl Remote) -> Deployment {
        let deployment = Deployment::new();
        deployment.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        let large: Vec<u8> = (0..13_000_003_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        fs::write(deployment.env().tmp().join("large.bin"), large).unwrap();
        deployment
    }

    fn upload(deployment: &Deployment) -> [String; 5] {
        let file = deployment.env().tmp().join("large.bin").display().to_string();
        ["storage:upload", "--json", "--folder", "permits", &file].map(str::to_owned)
    }

    fn dies(deployment: &Deployment) {
        let mut process = deployment.process();
        let output = process
            .args(upload(deployment))
            .env("CIVIC_FAILPOINT", "upload.after-part")
            .output();
        assert!(!output.unwrap().status.success());
    }

    fn look(deployment: &Deployment, more: &[&str]) -> Value {
        let run = deployment.cleanup(&[&["--dry-run", "--kind", "multipart"], more].concat());
        assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
        run.json()["data"].clone()
    }

    fn those_of_the_dead_go(bucket: &impl Remote) -> Deployment {
        let deployment = deployment(bucket);
        for _ in 0..5 {
            dies(&deployment);
        }
        let unasked = deployment.cleanup(&["--dry-run"]).json();
        assert_eq!(unasked["data"]["counts"].get("multipartUploads"), None);
        let young = look(&deployment, &[]);
        assert_eq!(young["counts"]["multipartUploads"], 5, "{young}");
        assert_eq!(young["multipartUploads"][4]["tooRecent"], true);
        let run = deployment.cleanup(&[&APPLY[..], &["1h"]].concat());
        assert_eq!(
            (run.code, &run.json()["data"]["cleaned"]["multipartUploads"]),
            (0, &Value::Null),
            "{}",
            run.stdout
        );
        let old = look(&deployment, &["--min-age", "0"]);
        let first = &old["multipartUploads"][0];
        assert!(
            first["key"].as_str().unwrap().starts_with("permits/large_"),
            "{old}"
        );
        assert_eq!(
            (&first["tooRecent"], &first["inFlight"]),
            (&json!(false), &json!(false))
        );
        let elsewhere = look(&deployment, &["--min-age", "0", "--folder", "public"]);
        assert_eq!(elsewhere["counts"].get("multipartUploads"), None);
        let run = deployment.cleanup(&[&APPLY[..], &["0"]].concat());
        assert_eq!(
            (run.code, &run.json()["data"]["cleaned"]["multipartUploads"]),
            (0, &json!(5)),
            "{}",
            run.stdout
        );
        assert_eq!(
            look(&deployment, &["--min-age", "0"])["counts"].get("multipartUploads"),
            None
        );
        deployment
    }

    fn those_of_the_living_stay(bucket: &impl Remote) {
        let deployment = deployment(bucket);
        let args = upload(&deployment);
        let uploading = Stopped::command(
            &deployment,
            "upload.after-part",
            &args.each_ref().map(String::as_str),
        );
        let seen = look(&deployment, &["--min-age", "0"]);
        assert_eq!(seen["multipartUploads"][0]["inFlight"], true, "{seen}");
        let run = deployment.cleanup(&[&APPLY[..], &["0"]].concat());
        assert_eq!(
            (run.code, &run.json()["data"]["cleaned"]["multipartUploads"]),
            (0, &Value::Null),
            "{}",
            run.stdout
        );
        let uploaded = uploading.go_on();
        assert_eq!(uploaded.code, 0, "{}", uploaded.stdout);
        let id = uploaded.json()["data"]["successful"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let back = deployment.env().tmp().join("back.bin");
        let run = Run::of(
            deployment.env(),
            ["storage:download", &id, "--out", back.to_str().unwrap()],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(fs::read(back).unwrap(), fs::read(&args[4]).unwrap());
    }

    /// One that comes to work between the comparison and the end of it is seen then.
    fn one_that_comes_to_life_stays(bucket: &impl Remote) {
        let deployment = deployment(bucket);
        dies(&deployment);
        let seen = look(&deployment, &["--min-age", "0"]);
        let key = seen["multipartUploads"][0]["key"].as_str().unwrap().to_owned();
        let args = [&["storage:cleanup", "--json"], &APPLY[..], &["0"]].concat();
        let cleaning = Stopped::command(&deployment, "cleanup.before-batch", &args);
        let sql =
            "INSERT INTO civic_storage_intents VALUES (?1, 'run', 's3', ?2, 10, 'elsewhere', 1, 'p', ?3)";
        let now = chrono::Utc::now().timestamp_millis();
        deployment
            .db()
            .execute(sql, rusqlite::params![uuid(9), key, now])
            .unwrap();
        let run = cleaning.go_on();
        assert_eq!(
            (run.code, &run.json()["data"]["skipped"]["multipartUploads"]),
            (0, &json!(1)),
            "{}",
            run.stdout
        );
        deployment
            .db()
            .execute("DELETE FROM civic_storage_intents", [])
            .unwrap();
        assert_eq!(
            look(&deployment, &["--min-age", "0"])["counts"]["multipartUploads"],
            1
        );
    }

    #[test]
    fn on_seaweedfs_those_of_the_dead_go_and_no_others() {
        if let Some(bucket) = TestEnv::seaweed() {
            let foreign = format!("/town/exports/a_{}.bin?uploads=", uuid(7));
            assert_eq!(bucket.send("POST", &foreign, b""), 200);
            let deployment = those_of_the_dead_go(&bucket);
            // It was another program's for as long as storage.yml did not know its folder.
            deployment
                .env()
                .edit_config(|yaml| yaml.replace("folders:\n", "folders:\n  exports: { path: exports }\n"));
            assert_eq!(look(&deployment, &[])["counts"]["multipartUploads"], 1);
            those_of_the_living_stay(&TestEnv::seaweed().unwrap());
        }
    }

    #[test]
    fn on_gcs_those_of_the_dead_go_and_no_others() {
        if let Some(bucket) = TestEnv::gcs() {
            those_of_the_dead_go(&bucket);
            assert_eq!(bucket.uploads(), 0);
            those_of_the_living_stay(&TestEnv::gcs().unwrap());
        }
    }

    #[test]
    fn between_look_and_end_somebody_may_come() {
        if let Some(bucket) = TestEnv::seaweed() {
            one_that_comes_to_life_stays(&bucket);
        }
    }

    #[test]
    fn azure_has_none_to_show() {
        if let Some(bucket) = TestEnv::azurite() {
            let deployment = deployment(&bucket);
            dies(&deployment);
            assert_eq!(
                look(&deployment, &["--min-age", "0"])["counts"].get("multipartUploads"),
                None
            );
        }
    }
}
