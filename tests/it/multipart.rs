//! Uploads in parts whose process died: found where they are asked for, ended where nobody works on them.

mod needs_server {
    use std::fs;

    use serde_json::{Value, json};

    use crate::cleanup_apply::Stopped;
    use crate::common::deployment::{Deployment, Run, uuid};
    use crate::common::proxy::{Fault, Proxy};
    use crate::common::{Bucket, Remote, TestEnv};
    use crate::delete::{killed, rows};

    const APPLY: [&str; 5] = ["--apply", "--yes", "--kind", "multipart", "--min-age"];

    /// Where an upload is known to the provider for sure: Azure has heard of none before its first block is there, and no
    /// more than eight are under way.
    fn point(bucket: &impl Remote) -> (&'static str, u32) {
        match bucket.kind() {
            "azure" => ("upload.after-part:9", 50_000_003),
            _ => ("upload.after-part", 13_000_003),
        }
    }

    /// A deployment on the bucket, and a file that goes up in parts.
    fn deployment(bucket: &impl Remote) -> Deployment {
        let deployment = Deployment::new();
        deployment.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        let large: Vec<u8> = (0..point(bucket).1)
            .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        fs::write(deployment.env().tmp().join("large.bin"), large).unwrap();
        deployment
    }

    fn upload(deployment: &Deployment) -> [String; 5] {
        let file = deployment.env().tmp().join("large.bin").display().to_string();
        ["storage:upload", "--json", "--folder", "permits", &file].map(str::to_owned)
    }

    /// Dies with every part there: one that is still on its way when a process dies begins an upload anew, where the one
    /// before it was ended meanwhile.
    fn dies(deployment: &Deployment) {
        let mut process = deployment.process();
        let output = process
            .args(upload(deployment))
            .env("CIVIC_FAILPOINT", "upload.after-parts")
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
        let uploading = Stopped::command(&deployment, point(bucket).0, &args.each_ref().map(String::as_str));
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
        let sql = "INSERT INTO civic_storage_intents VALUES (?1, 'run', ?4, ?2, 10, 'elsewhere', 1, 'p', ?3)";
        let now = chrono::Utc::now().timestamp_millis();
        deployment
            .db()
            .execute(sql, rusqlite::params![uuid(9), key, now, bucket.kind()])
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

    /// Ctrl-C with parts under way: they are given up at once, and neither a file nor a record is left.
    fn an_interrupt_leaves_nothing(bucket: &impl Remote) {
        let deployment = deployment(bucket);
        // So many parts that the file cannot be whole before the signal is heard.
        fs::write(deployment.env().tmp().join("large.bin"), vec![7; 80_000_000]).unwrap();
        let args = upload(&deployment);
        let args = args.each_ref().map(String::as_str);
        let run = Stopped::command(&deployment, point(bucket).0, &args).interrupt();
        assert_eq!(run.code, 130, "{run:?}");
        let seen = look(&deployment, &["--min-age", "0"]);
        assert_eq!(seen["counts"].get("multipartUploads"), None, "{seen}");
        assert_eq!(rows(deployment.db()).len(), 0, "{run:?}");
        let objects = deployment.cleanup(&["--dry-run", "--min-age", "0"]).json();
        assert_eq!(objects["data"]["counts"]["orphanedObjects"], 0, "{objects}");
    }

    #[test]
    fn an_interrupt_leaves_nothing_on_seaweedfs() {
        if let Some(bucket) = TestEnv::seaweed() {
            an_interrupt_leaves_nothing(&bucket);
        }
    }

    #[test]
    fn an_interrupt_leaves_nothing_on_azurite() {
        if let Some(bucket) = TestEnv::azurite() {
            an_interrupt_leaves_nothing(&bucket);
            assert_eq!(files(&bucket), [""; 0]);
        }
    }

    #[test]
    fn an_interrupt_leaves_nothing_on_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            an_interrupt_leaves_nothing(&bucket);
            assert_eq!(bucket.uploads(), 0);
        }
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
    fn on_azurite_those_of_the_dead_go_and_no_others() {
        if let Some(bucket) = TestEnv::azurite() {
            those_of_the_dead_go(&bucket);
            assert_eq!(files(&bucket), [""; 0]);
            those_of_the_living_stay(&TestEnv::azurite().unwrap());
            one_that_comes_to_life_stays(&TestEnv::azurite().unwrap());
        }
    }

    /// Every name but this program's own, with those of what is no blob yet.
    fn files(bucket: &Bucket) -> Vec<String> {
        let names = bucket.names().into_iter();
        names.filter(|name| !name.contains("/.civic/")).collect()
    }

    /// The empty blob that takes the blocks with it is found by the next run where it was left.
    #[test]
    fn an_end_that_is_killed_on_azurite_is_ended_by_the_next() {
        if let Some(bucket) = TestEnv::azurite() {
            let deployment = deployment(&bucket);
            dies(&deployment);
            let args = [&["storage:cleanup"], &APPLY[..], &["0"]].concat();
            killed(&deployment, "abort.after-discard", &args);
            let left = files(&bucket);
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(bucket.get(&left[0]), Some(Vec::new()));
            let seen = look(&deployment, &["--min-age", "0"]);
            assert_eq!(seen["counts"]["multipartUploads"], 1, "{seen}");
            // It is the only object, and there is no record.
            let run = deployment.cleanup(&[&APPLY[..], &["0", "--override", "empty-database"]].concat());
            assert_eq!(run.json()["data"]["cleaned"]["multipartUploads"], 1, "{run:?}");
            assert_eq!(files(&bucket), [""; 0]);
        }
    }

    /// Azure itself tells no time of what is not committed; Azurite does, so its answer is put in Azure's words.
    #[test]
    fn one_of_unknown_age_on_azure_is_never_old_enough() {
        if let Some(bucket) = TestEnv::azurite() {
            let proxy = Proxy::before(&bucket.endpoint);
            let deployment = deployment(&Bucket {
                endpoint: proxy.endpoint(),
                ..bucket.clone()
            });
            dies(&deployment);
            let page = format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs><Blob><Name>{}</Name><Properties>\
                 <Content-Length>0</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob></Blobs><NextMarker />\
                 </EnumerationResults>",
                files(&bucket)[0]
            );
            proxy.inject((0, usize::MAX), Fault::Replace(page.leak()), |line| {
                line.contains("uncommittedblobs")
            });
            let seen = look(&deployment, &["--min-age", "1s"]);
            let upload = &seen["multipartUploads"][0];
            assert_eq!(
                (&upload["tooRecent"], &upload["initiated"]),
                (&json!(true), &Value::Null),
                "{seen}"
            );
            let run = deployment.cleanup(&[&APPLY[..], &["1s"]].concat());
            assert_eq!(run.json()["data"]["cleaned"]["multipartUploads"], Value::Null);
            assert_eq!(files(&bucket).len(), 1);
            let run = deployment.cleanup(&[&APPLY[..], &["0"]].concat());
            assert_eq!(run.json()["data"]["cleaned"]["multipartUploads"], 1, "{run:?}");
            assert_eq!(files(&bucket), [""; 0]);
        }
    }
}
