//! Google Cloud Storage as an operator meets it: where the key comes from, what is shown of it, and what is left when
//! a run is killed between a copy and the deletion of what was copied.

mod needs_server {
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};

    use crate::common::deployment::{Deployment, Run, days, key, uuid};
    use crate::common::{GcsBucket, Remote, TestEnv};

    const NOWHERE: &str = "127.0.0.1:1";

    /// A deployment whose only provider is the bucket below `town/`.
    fn town(bucket: &GcsBucket) -> Deployment {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml("gcs", "town"));
        town
    }

    /// The same with files 1 to 4, each with its record, 30 days old as far as the records know.
    fn settled(bucket: &GcsBucket) -> Deployment {
        let town = town(bucket);
        for n in 1..=4 {
            bucket.put(
                &format!("town/{}", key("permits", n)),
                format!("file {n}").as_bytes(),
            );
            let root = format!("{}/town", bucket.root());
            town.record(n, &root, &key("permits", n), (6, days(30)));
        }
        town
    }

    /// The same without a key in storage.yml.
    fn keyless(bucket: &GcsBucket) -> Deployment {
        let town = settled(bucket);
        town.env().edit_config(|yaml| {
            let kept = yaml
                .lines()
                .filter(|line| !line.trim_start().starts_with("service_account_key"));
            let kept = kept.filter(|line| !line.trim_start().starts_with("credentials"));
            kept.map(|line| [line, "\n"].concat()).collect()
        });
        town
    }

    fn key_on_disk(town: &Deployment, bucket: &GcsBucket, name: &str) -> PathBuf {
        let file = town.env().tmp().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, bucket.key_file()).unwrap();
        file
    }

    fn look(town: &Deployment, environment: &[(&str, &str)]) -> Run {
        let mut process = town.process();
        process.args(["storage:cleanup", "--json", "--min-age", "0", "-vv"]);
        // No test may ask the machine's own metadata server.
        process.env("GCE_METADATA_HOST", NOWHERE);
        process.env("GCE_METADATA_IP", NOWHERE);
        let output = process.envs(environment.iter().copied()).output().unwrap();
        Run {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn no_secret(run: &Run) {
        let text = format!("{}{}", run.stdout, run.stderr);
        for secret in ["PRIVATE KEY", "eyJ", "ya29."] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn every_place_of_a_key_opens_the_bucket_and_none_is_shown() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = keyless(&bucket);
        let file = key_on_disk(&town, &bucket, "key.json");
        let home = key_on_disk(
            &town,
            &bucket,
            "home/.config/gcloud/application_default_credentials.json",
        );
        let home = home.ancestors().nth(3).unwrap();
        let host = bucket.endpoint.trim_start_matches("http://");
        let (file, home, inline) = (file.to_str().unwrap(), home.to_str().unwrap(), bucket.key_file());
        for environment in [
            ("CIVIC_STORAGE_GCS_SERVICE_ACCOUNT_KEY", inline.as_str()),
            ("CIVIC_STORAGE_GCS_SERVICE_ACCOUNT_KEY", file),
            ("GOOGLE_APPLICATION_CREDENTIALS", file),
            ("HOME", home),
            ("GCE_METADATA_HOST", host),
        ] {
            let run = look(&town, &[environment]);
            assert_eq!(run.code, 0, "{}: {}", environment.0, run.stderr);
            assert_eq!(
                run.json()["data"]["providers"][0]["objectsScanned"],
                4,
                "{}",
                environment.0
            );
            no_secret(&run);
        }
    }

    #[test]
    fn a_key_file_that_storage_yml_names_opens_the_bucket() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = keyless(&bucket);
        let file = key_on_disk(&town, &bucket, "key.json");
        for spelling in ["service_account_key", "service_account_key_file"] {
            let (before, path) = ("    bucket:", file.display());
            let named = format!("    credentials: {{ {spelling}: {path} }}\n{before}");
            let yaml = fs::read_to_string(town.env().config()).unwrap();
            town.env().edit_config(|yaml| yaml.replacen(before, &named, 1));
            let run = look(&town, &[]);
            assert_eq!(run.code, 0, "{spelling}: {}", run.stderr);
            let shown = town.civic(&["storage:config"]);
            assert_eq!(shown.code, 0, "{}", shown.stderr);
            no_secret(&shown);
            fs::write(town.env().config(), yaml).unwrap();
        }
    }

    #[test]
    fn without_any_key_the_answer_says_so_and_nothing_is_claimed() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let run = look(&keyless(&bucket), &[]);
        assert_eq!(run.code, 2, "{} {}", run.stdout, run.stderr);
        assert!(run.stdout.contains("no credentials are set"), "{}", run.stdout);
    }

    /// Google's own token service is behind a proxy that is not there.
    #[test]
    fn a_users_own_credentials_that_get_no_token_are_an_outage_and_are_not_shown() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = keyless(&bucket);
        let file = town.env().tmp().join("user.json");
        let user = r#"{"type":"authorized_user","client_id":"1","client_secret":"hunter2","refresh_token":"hunter3"}"#;
        fs::write(&file, user).unwrap();
        let run = look(
            &town,
            &[
                ("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap()),
                ("HTTPS_PROXY", &format!("http://{NOWHERE}")),
            ],
        );
        assert_eq!(run.code, 5, "{} {}", run.stdout, run.stderr);
        assert!(run.stdout.contains("gets no token"), "{}", run.stdout);
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("hunter"));
    }

    /// Google's token service is the double: it is asked through a proxy, with a certificate that this run trusts.
    #[test]
    fn what_gcloud_leaves_of_a_users_login_opens_the_bucket_and_is_not_shown() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = keyless(&bucket);
        let home = town.env().tmp().join("home");
        let left = home.join(".config/gcloud/application_default_credentials.json");
        let certificate = town.env().tmp().join("tokens.pem");
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        fs::write(&certificate, bucket.tokens_certificate()).unwrap();
        let way = [
            ("HTTPS_PROXY", bucket.endpoint.as_str()),
            ("SSL_CERT_FILE", certificate.to_str().unwrap()),
        ];
        let text = bucket.user_file();
        let user: Value = serde_json::from_str(&text).unwrap();
        let hidden = |run: &Run| {
            no_secret(run);
            for secret in ["client_secret", "refresh_token"] {
                let secret = user[secret].as_str().unwrap();
                assert!(!format!("{}{}", run.stdout, run.stderr).contains(secret));
            }
        };
        for (name, path) in [("HOME", &home), ("GOOGLE_APPLICATION_CREDENTIALS", &left)] {
            fs::write(&left, &text).unwrap();
            let environment = [&way[..], &[(name, path.to_str().unwrap())]].concat();
            let run = look(&town, &environment);
            assert_eq!(run.code, 0, "{name}: {} {}", run.stdout, run.stderr);
            let scanned = &run.json()["data"]["providers"][0]["objectsScanned"];
            assert_eq!(*scanned, Value::from(4), "{name}");
            hidden(&run);
            // A login that was revoked, or is another's.
            fs::write(&left, text.replace("1//", "1//x")).unwrap();
            let run = look(&town, &environment);
            assert!(run.code != 0, "{name}: {}", run.stdout);
            assert!(run.stdout.contains("token"), "{name}: {}", run.stdout);
            hidden(&run);
        }
    }

    #[test]
    fn another_accounts_key_is_refused_and_nothing_is_claimed() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = keyless(&bucket);
        let key = bucket.key_file().replace("\"civic@", "\"another@");
        let run = look(&town, &[("CIVIC_STORAGE_GCS_SERVICE_ACCOUNT_KEY", &key)]);
        assert!(run.code != 0, "{}", run.stdout);
        assert!(
            run.stdout.contains("was denied: HTTP 401 authError"),
            "{}",
            run.stdout
        );
        no_secret(&run);
    }

    #[test]
    fn a_file_keeps_its_storage_class_and_its_metadata_on_the_way_to_the_trash_and_back() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = town(&bucket);
        town.env().edit_config(|yaml| {
            let named = "    options: { storage_class: nearline }\n    bucket:";
            yaml.replacen("    bucket:", named, 1)
        });
        let source = town.env().tmp().join("plan.pdf");
        fs::write(&source, "a plan").unwrap();
        let path = source.to_str().unwrap();
        let run = town.civic(&["storage:upload", path, "--folder", "permits", "--json"]);
        assert_eq!(run.code, 0, "{}", run.stdout);
        let file = run.json()["data"]["successful"][0].clone();
        let place = format!("town/{}", file["relativePath"].as_str().unwrap());
        let said = |place: &str| {
            let stored = bucket.resource(place);
            ["storageClass", "contentType", "metadata"].map(|field| stored[field].clone())
        };
        let before = said(&place);
        assert_eq!(before[0], "NEARLINE");
        let id = file["id"].as_str().unwrap();
        let deleted = town.civic(&["storage:delete", id, "--yes", "--json"]);
        assert_eq!(deleted.code, 0, "{}", deleted.stdout);
        let run_id = deleted.json()["data"]["runId"].as_str().unwrap().to_owned();
        let trashed = bucket
            .names()
            .into_iter()
            .find(|name| name.starts_with("town/.trash/"));
        assert_eq!(said(&trashed.unwrap()), before);
        assert_eq!(town.civic(&["storage:undo", &run_id, "--yes"]).code, 0);
        assert_eq!(said(&place), before);
    }

    #[test]
    fn an_upload_in_parts_that_fails_leaves_no_part() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = town(&bucket);
        let source = town.env().tmp().join("large.bin");
        fs::write(&source, vec![7; 16 << 20]).unwrap();
        bucket.faults(&json!([{ "method": "PUT", "match": "partNumber=2", "status": 503, "times": 99 }]));
        let path = source.to_str().unwrap();
        let upload = ["storage:upload", path, "--folder", "permits", "--json"];
        let run = town.civic(&upload);
        assert!(run.code != 0, "{}", run.stdout);
        assert_eq!(bucket.uploads(), 0);
        assert_eq!(files(&bucket), [""; 0]);
        bucket.faults(&json!([]));
        assert_eq!(town.civic(&upload).code, 0);
        assert_eq!((bucket.uploads(), files(&bucket).len()), (0, 1));
    }

    /// Every name but this program's own.
    fn files(bucket: &GcsBucket) -> Vec<String> {
        let names = bucket.names().into_iter();
        names.filter(|name| !name.contains("/.civic/")).collect()
    }

    fn started(mut command: Command) -> Child {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Until such a request about a file has come.
    fn wait_for(bucket: &GcsBucket, method: &str) {
        let begun = Instant::now();
        let is_it = |one: &String| one.starts_with(method) && one.contains("permits");
        while !bucket.requests().iter().any(is_it) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {method} came");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// File `n` is at its key or in the trash, whole, and in one of the two once a run has ended in peace.
    fn whole_somewhere(bucket: &GcsBucket, n: u32) -> usize {
        let name = key("permits", n);
        let places = files(bucket).into_iter().filter(|place| place.ends_with(&name));
        places
            .map(|place| assert_eq!(bucket.get(&place).unwrap(), format!("file {n}").as_bytes()))
            .count()
    }

    #[test]
    fn killed_between_copy_and_deletion_a_delete_is_ended_by_the_next_run_and_can_be_undone() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = settled(&bucket);
        bucket.faults(&json!([{ "method": "DELETE", "match": "permits", "delay": 2, "status": 503 }]));
        let mut process = town.process();
        process.args(["storage:delete", "--yes", &uuid(1)]);
        let mut child = started(process);
        wait_for(&bucket, "DELETE");
        child.kill().unwrap();
        child.wait().unwrap();
        bucket.faults(&json!([]));
        assert_eq!(whole_somewhere(&bucket, 1), 2, "copied, and not yet deleted");
        let next = town.civic(&["storage:delete", "--yes", "--json", &uuid(2)]);
        assert_eq!(next.code, 0, "{}", next.stdout);
        assert_eq!((1..=4).map(|n| whole_somewhere(&bucket, n)).sum::<usize>(), 4);
        let live = |n: u32| bucket.get(&format!("town/{}", key("permits", n))).is_some();
        assert_eq!([1, 2, 3, 4].map(live), [false, false, true, true]);
        let runs = town.civic(&["storage:trash", "--json"]);
        for id in runs.items("items", "id") {
            let back = town.civic(&["storage:trash", "restore", &id, "--yes"]);
            assert_eq!(back.code, 0, "{}", back.stderr);
        }
        assert_eq!([1, 2, 3, 4].map(live), [true; 4]);
        assert_at_peace(&town, 4);
    }

    fn assert_at_peace(town: &Deployment, records: u64) {
        let look = town.cleanup(&["--min-age", "0"]);
        assert_eq!(look.code, 0, "{}", look.stderr);
        for kind in ["orphanedObjects", "orphanedRecords", "mismatches", "inFlight"] {
            assert_eq!(look.count(kind), 0, "{}", look.stdout);
        }
        let scanned = &look.json()["data"]["providers"][0]["recordsScanned"];
        assert_eq!(*scanned, Value::from(records));
    }

    /// At every step of the journal that a deletion or a cleanup passes.
    #[test]
    fn killed_at_any_step_nothing_is_lost_and_the_next_run_ends_it() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let town = settled(&bucket);
        let orphan = format!("town/{}", key("permits", 9));
        let points = [
            "delete.after-intend",
            "delete.after-move",
            "delete.after-act",
            "delete.after-settle",
            "cleanup.after-intend",
            "cleanup.after-move",
            "cleanup.after-settle",
            "undo.after-intend",
            "undo.after-move",
            "undo.after-settle",
        ];
        for (round, point) in points.into_iter().enumerate() {
            bucket.put(&orphan, b"file 9");
            let one = uuid(1);
            let args: Vec<&str> = match point.split('.').next().unwrap() {
                "delete" => vec!["storage:delete", "--yes", &one],
                "cleanup" => vec!["storage:cleanup", "--apply", "--yes", "--min-age", "0"],
                _ => vec!["storage:undo", "--yes"],
            };
            let deleted = args[0] == "storage:undo";
            let undone = deleted.then(|| {
                let run = town.civic(&["storage:delete", "--yes", "--json", &one]);
                run.json()["data"]["runId"].as_str().unwrap().to_owned()
            });
            let mut process = town.process();
            process.args(&args).args(&undone).env("CIVIC_FAILPOINT", point);
            let status = process
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(!status.success(), "{point}");
            for n in 1..=4 {
                assert!(whole_somewhere(&bucket, n) > 0, "{point}: file {n}");
            }
            assert!(whole_somewhere(&bucket, 9) > round, "{point}: the orphan");
            let apply = ["storage:cleanup", "--apply", "--yes", "--min-age", "0", "--json"];
            let next = town.civic(&apply);
            assert_eq!(next.code, 0, "{point}: {}\n{}", next.stdout, next.stderr);
            for id in town
                .civic(&["storage:trash", "--json"])
                .items("items", "id")
                .iter()
                .filter(|id| **id == one)
            {
                let back = town.civic(&["storage:trash", "restore", id, "--yes"]);
                assert_eq!(back.code, 0, "{point}: {}", back.stderr);
            }
            for n in 1..=4 {
                assert_eq!(whole_somewhere(&bucket, n), 1, "{point}: file {n}");
            }
            let trashed = round + 1;
            assert_eq!(
                whole_somewhere(&bucket, 9),
                trashed,
                "{point}: each in its run's trash"
            );
            assert_eq!(bucket.get(&orphan), None, "{point}");
            assert_at_peace(&town, 4);
        }
    }
}
