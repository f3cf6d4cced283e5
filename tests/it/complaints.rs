//! What the users of CivicPress's own storage module went through before, line by line: each line names the tests that
//! keep it from coming back, and those that stand nowhere else stand here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, days, key, uuid};

/// What went wrong, and the tests that fail should it do so again.
const COMPLAINTS: [(&str, &[&str]); 21] = [
    (
        "records of other providers were orphans",
        &["rule_3_records_of_another_provider_are_no_orphans_here"],
    ),
    (
        "a moved root made everything an orphan",
        &["rule_3_the_objects_of_a_moved_root_are_misplaced_until_an_alias_names_it"],
    ),
    (
        "a missing root made every record an orphan",
        &[
            "rule_2_a_missing_root_is_an_error_and_never_a_finding",
            "rule_2_a_missing_root_is_an_error_before_anything",
        ],
    ),
    (
        "a run from another directory found other files",
        &["a_relative_root_means_the_same_from_every_directory"],
    ),
    (
        "the prefix `town` also matched `townhall/`",
        &["rule_3_a_prefix_ends_at_a_slash"],
    ),
    (
        "time and memory grew with the square, or with the number of files",
        &["ten_thousand_deletions_take_the_memory_of_four_thousand"],
    ),
    (
        "a dry run reported items as cleaned",
        &["every_drift_of_the_fixture_is_found_and_nothing_is_changed"],
    ),
    (
        "sidecars stayed, and dead records came back from them",
        &[
            "the_sidecar_of_an_orphaned_record_goes_with_it_and_comes_back_with_it",
            "those_whose_record_is_gone_too_go_when_they_are_asked_for",
        ],
    ),
    (
        "a local file's record was deleted while S3 was active, the file left",
        &["a_local_file_really_goes_while_s3_is_active"],
    ),
    (
        "accented, CJK and emoji names failed as metadata headers",
        &["the_record_goes_with_the_object_whatever_its_characters"],
    ),
    (
        "stored names near 255 bytes failed, or lost their sidecar",
        &["names_of_every_kind_are_kept_and_their_files_fit"],
    ),
    ("a batch was capped at 50 files", &["a_batch_has_no_cap"]),
    (
        "JSON over 64 KB was cut off in a pipe",
        &["an_answer_longer_than_a_pipe_arrives_whole"],
    ),
    (
        "unknown commands exited 0",
        &["an_unknown_command_is_wrong_usage_and_the_nearest_is_named"],
    ),
    (
        "unknown folders exited 0",
        &["a_folder_that_nobody_knows_is_wrong_usage_and_an_empty_one_is_not"],
    ),
    ("lists showed no names", &["a_list_shows_names_and_turns_pages"]),
    (
        "of two files of one name only one could be reached",
        &[
            "info_on_nothing_and_on_two_of_a_name",
            "an_ambiguous_name_is_wrong_usage_that_lists_the_ids",
        ],
    ),
    (
        "local time zones shifted ages by hours",
        &["ages_are_the_same_in_every_time_zone"],
    ),
    ("`1TB` was one byte", &["sizes_are_powers_of_1024"]),
    (
        "a root containing `test` changed behaviour",
        &["a_root_named_test_is_a_root_like_any_other"],
    ),
    (
        "adding a folder dropped comments and keys, and set-up printed secrets",
        &[
            "a_folder_comes_changes_and_goes_and_the_rest_of_the_file_stays",
            "init_for_a_bucket_names_the_variables_and_writes_no_secret",
        ],
    ),
];

/// Every Rust source below `directory` of this project, as one text.
fn sources(directory: &str) -> String {
    let mut text = String::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    text
}

#[test]
fn each_complaint_is_met_by_a_test_that_is_there() {
    let tests = sources("tests/it") + &sources("src");
    for (complaint, names) in COMPLAINTS {
        assert!(!names.is_empty(), "{complaint}: no test");
        for name in names {
            let test = format!("#[test]\nfn {name}()");
            let inner = format!("#[test]\n    fn {name}()");
            assert!(
                tests.contains(&test) || tests.contains(&inner),
                "{complaint}: no test {name}"
            );
        }
    }
}

#[test]
fn at_every_point_where_the_program_may_die_a_test_lets_it_die() {
    let (program, tests) = (sources("src"), sources("tests/it"));
    let points: Vec<&str> = program
        .split("reach(")
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
        .collect();
    assert!(points.len() > 40, "{points:?}");
    for point in points {
        // Those of the journal's writer are tested beside it.
        let named = tests.contains(point) || program.matches(point).count() > 1;
        assert!(named, "no test dies at {point}");
    }
}

/// Two files in order, below a root that storage.yml names by `path`.
fn in_order(path: &str) -> Deployment {
    let deployment = Deployment::new();
    for n in [1, 2] {
        deployment.old_file(&key("permits", n));
        deployment.local_record(n, &key("permits", n));
    }
    deployment.providers(&format!("  local: {{ type: local, path: {path} }}"));
    deployment
}

#[test]
fn a_relative_root_means_the_same_from_every_directory() {
    let deployment = in_order("../storage");
    for directory in [deployment.env().root(), deployment.storage(), PathBuf::from("/")] {
        let output = deployment
            .process()
            .args(["storage:cleanup", "--json", "--min-age", "0"])
            .current_dir(&directory)
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = &json["data"]["counts"];
        for kind in [
            "orphanedObjects",
            "orphanedRecords",
            "misplaced",
            "unmappedRecords",
        ] {
            assert_eq!(counts[kind], 0, "{kind} from {}: {json}", directory.display());
        }
        assert_eq!(json["data"]["providers"][0]["objectsScanned"], 2, "{json}");
    }
}

fn records(env: &TestEnv) -> i64 {
    let count = "SELECT count(*) FROM storage_files";
    env.sql().query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_batch_has_no_cap() {
    let env = TestEnv::fixture();
    let before = records(&env);
    let directory = env.tmp().join("many");
    fs::create_dir(&directory).unwrap();
    let mut args = vec![
        "storage:upload".to_owned(),
        "--json".to_owned(),
        "--folder".to_owned(),
        "public".to_owned(),
    ];
    for n in 0..60 {
        let path = directory.join(format!("page {n}.txt"));
        fs::write(&path, format!("page {n}")).unwrap();
        args.push(path.display().to_string());
    }
    let output = env.civic(&args).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(records(&env), before + 60);
    let ids: Vec<String> = {
        let db = env.sql();
        let mut added = db
            .prepare("SELECT id FROM storage_files WHERE original_name LIKE 'page %.txt'")
            .unwrap();
        let ids = added.query_map([], |row| row.get(0)).unwrap();
        ids.map(Result::unwrap).collect()
    };
    assert_eq!(ids.len(), 60);
    let list = env.tmp().join("list");
    fs::write(&list, ids.join("\n")).unwrap();
    let delete = ["storage:delete", "--from-list", list.to_str().unwrap(), "--yes"];
    assert_eq!(env.civic(delete).output().unwrap().status.code(), Some(0));
    assert_eq!(records(&env), before);
}

#[test]
fn ages_are_the_same_in_every_time_zone() {
    let deployment = Deployment::new();
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let root = deployment.storage().display().to_string();
    for (n, age) in [(1, hours(23)), (2, hours(25))] {
        deployment.file(&key("permits", n), 1, age);
        deployment.record(10 + n, &root, &key("permits", 10 + n), (1, age));
    }
    // The default minimum age is a day.
    for zone in ["UTC0", "EST5EDT", "<+14>-14", "<-12>12"] {
        let output = deployment
            .env()
            .civic(["storage:cleanup", "--json"])
            .env("TZ", zone)
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let data = &json["data"];
        let found = |list: &str| data[list].as_array().map(Vec::len);
        assert_eq!(found("orphanedObjects"), Some(1), "{zone}: {json}");
        assert_eq!(found("orphanedRecords"), Some(1), "{zone}: {json}");
        assert_eq!(data["orphanedObjects"][0]["key"], key("permits", 2).as_str());
        assert_eq!(data["orphanedRecords"][0]["id"], uuid(12).as_str());
    }
}

#[test]
fn a_root_named_test_is_a_root_like_any_other() {
    let clean = |root: &Path| {
        let deployment = Deployment::new();
        deployment.providers(&format!("  local: {{ type: local, path: {} }}", root.display()));
        let put = |n: u32| {
            let path = root.join(key("permits", n));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() - days(30))
                .unwrap();
            path
        };
        let (kept, orphan) = (put(1), put(2));
        let place = root.display().to_string();
        deployment.record(1, &place, &key("permits", 1), (1, days(30)));
        let run = deployment.cleanup(&["--apply", "--yes"]);
        assert!(kept.exists() && !orphan.exists(), "{}", run.stdout);
        let json = run.json();
        (
            run.code,
            json["data"]["counts"].clone(),
            json["data"]["cleaned"].clone(),
        )
    };
    let plain = tempfile::Builder::new().prefix("plain-").tempdir().unwrap();
    let named = plain.path().join("test/tests/test-storage");
    fs::create_dir_all(&named).unwrap();
    let other = tempfile::Builder::new().prefix("plain-").tempdir().unwrap();
    assert_eq!(clean(&named), clean(other.path()));
}
