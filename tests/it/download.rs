//! `storage:download`: what arrives is what was stored, under its name only when it is whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::params;
use serde_json::json;

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::{TestEnv, Tree};

const AGENDA: &str = "7a6a9deb-b64d-4f71-a830-476446039c5c";
const OTHER_AGENDA: &str = "d019ccf9-6e9c-4d41-a268-d5c1c490fb6a";
const MINUTES: &str = "68960494-162e-4e5c-bd5f-ac27f69cc1de";
const PHOTO: &str = "ece174b6-e3ea-4c3a-9857-1e34d9280a77";

/// Names of what is in the directory, sorted.
fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn stored(env: &TestEnv, id: &str) -> Vec<u8> {
    let sql = "SELECT relative_path FROM storage_files WHERE id = ?1";
    let path: String = env.sql().query_row(sql, [id], |row| row.get(0)).unwrap();
    fs::read(env.storage().join(path)).unwrap()
}

#[test]
fn a_file_comes_by_id_and_by_name_byte_for_byte() {
    let env = TestEnv::fixture();
    let before = Tree::of(&env.storage());
    let out = env.tmp().join("out.md");
    for name in [MINUTES, "sessions/minutes.md"] {
        let run = Run::of(
            &env,
            [
                "storage:download",
                name,
                "--json",
                "--force",
                "--out",
                out.to_str().unwrap(),
            ],
        );
        assert_eq!(run.code, 0, "{}", run.stderr);
        let data = &run.json()["data"];
        assert_eq!((&data["successfulCount"], &data["total"]), (&json!(1), &json!(1)));
        assert_eq!(data["successful"][0]["id"], MINUTES);
        assert_eq!(data["successful"][0]["source"], out.to_str().unwrap());
        assert_eq!(fs::read(&out).unwrap(), stored(&env, MINUTES));
    }
    let mode = fs::metadata(&out).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    before.assert_unchanged(&Tree::of(&env.storage()));
}

#[test]
fn an_existing_file_is_replaced_only_by_force() {
    let env = TestEnv::fixture();
    let out = env.tmp().join("kept");
    fs::write(&out, "mine").unwrap();
    let args = [
        "storage:download",
        MINUTES,
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let run = Run::of(&env, args);
    assert_eq!((run.code, fs::read(&out).unwrap()), (1, b"mine".to_vec()));
    assert_eq!(run.json()["error"]["code"], "STORAGE_VALIDATION_ERROR");
    let run = Run::of(&env, args.iter().chain(&["--force"]));
    assert_eq!((run.code, fs::read(&out).unwrap()), (0, stored(&env, MINUTES)));
    assert_eq!(names(env.tmp()), ["kept"], "nothing temporary is left");
}

#[test]
fn several_come_into_a_directory_and_clashing_names_get_a_number() {
    let env = TestEnv::fixture();
    let out = env.tmp().join("new/dir");
    let run = Run::of(
        &env,
        [
            "storage:download",
            AGENDA,
            OTHER_AGENDA,
            AGENDA,
            MINUTES,
            "--out",
            out.to_str().unwrap(),
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(names(&out), ["agenda (2).txt", "agenda.txt", "minutes.md"]);
    assert_eq!(
        fs::read(out.join("agenda (2).txt")).unwrap(),
        stored(&env, OTHER_AGENDA)
    );
}

#[test]
fn hostile_names_lead_nowhere_else() {
    let env = TestEnv::fixture();
    let directory = env.tmp().join("d");
    fs::create_dir(&directory).unwrap();
    let id = env.rename_one("../../escaped\n.pdf");
    let run = Run::of(
        &env,
        ["storage:download", &id, "--out", directory.to_str().unwrap()],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(names(&directory), [".._.._escaped_.pdf"]);
    assert_eq!(names(env.tmp()), ["d"]);
    assert!(!run.stdout.contains("escaped\n"), "escaped for the terminal");
}

#[test]
fn an_ambiguous_name_is_wrong_usage_that_lists_the_ids() {
    let env = TestEnv::fixture();
    let run = Run::of(&env, ["storage:download", MINUTES, "public/agenda.txt", "--json"]);
    assert_eq!(run.code, 2);
    let hint = run.json()["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains(AGENDA) && hint.contains(OTHER_AGENDA), "{hint}");
    assert!(!env.root().join("minutes.md").exists(), "nothing was fetched");
}

#[test]
fn what_is_not_there_or_not_whole_fails_alone_and_leaves_no_file() {
    let env = TestEnv::fixture();
    let out = env.tmp().join("out");
    let args = [
        "storage:download",
        "nope",
        PHOTO,
        "public/会議録.pdf",
        MINUTES,
        "--json",
        "--out",
    ];
    let run = Run::of(&env, args.iter().chain(&[out.to_str().unwrap()]));
    assert_eq!(run.code, 3, "{}", run.stderr);
    let data = &run.json()["data"];
    assert_eq!(
        (&data["successfulCount"], &data["failedCount"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        data["errorSummary"]["byType"],
        json!({"STORAGE_FILE_NOT_FOUND": 2, "STORAGE_INTEGRITY_ERROR": 1})
    );
    assert_eq!(names(&out), ["minutes.md"]);

    for (name, code) in [
        (PHOTO, "STORAGE_INTEGRITY_ERROR"),
        ("nope", "STORAGE_FILE_NOT_FOUND"),
    ] {
        let run = Run::of(&env, ["storage:download", name, "--json"]);
        assert_eq!((run.code, &run.json()["error"]["code"]), (1, &json!(code)));
    }
    assert!(!env.root().join("Photo.JPG").exists());
}

#[test]
fn a_dash_is_standard_output_and_nothing_else_is_on_it() {
    let env = TestEnv::fixture();
    let output = env
        .civic(["storage:download", MINUTES, "--out", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, stored(&env, MINUTES));
    for extra in [&["--json"][..], &[AGENDA]] {
        let args = [&["storage:download", MINUTES, "--out", "-"], extra].concat();
        assert_eq!(Run::of(&env, args).code, 2, "{extra:?}");
    }
    let output = env
        .civic(["storage:download", PHOTO, "--out", "-"])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "an integrity failure shows in the exit code"
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure_and_a_full_disk_is() {
    let env = TestEnv::fixture();
    let shell = |script: &str| {
        let civic = format!("'{}'", assert_cmd::cargo::cargo_bin!("civic").display());
        let mut process = std::process::Command::new("bash");
        let ours = env.process();
        process.env_clear();
        for (name, value) in ours.get_envs() {
            if let Some(value) = value {
                process.env(name, value);
            }
        }
        let script = script.replace("CIVIC", &civic);
        process
            .args(["-c", &script])
            .current_dir(env.root())
            .output()
            .unwrap()
    };
    let scan = "385763e4-b9d9-41dc-b97b-9a96fad0ccfd";
    let output = shell(&format!(
        "set -o pipefail; CIVIC storage:download {scan} --out - | head -c 9"
    ));
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(0), 9),
        "{output:?}"
    );
    let output = shell(&format!("CIVIC storage:download {scan} --out - >/dev/full"));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // 1 MiB at most for any file, as a disk that is nearly full.
    let output = shell(&format!(
        "trap '' XFSZ; ulimit -f 1024; CIVIC storage:download {scan} --out {}/out",
        env.tmp().display()
    ));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(names(env.tmp()), Vec::<String>::new());
}

#[test]
fn the_records_own_provider_is_asked_whatever_is_active() {
    let deployment = Deployment::new();
    let other = deployment.env().tmp().join("other");
    fs::create_dir(&other).unwrap();
    deployment.providers(&format!(
        "  main: {{ type: local, path: {} }}\n  other: {{ type: local, path: {} }}",
        deployment.storage().display(),
        other.display()
    ));
    let key = key("permits", 1);
    let id = deployment.record(1, other.to_str().unwrap(), &key, (5, days(1)));
    fs::create_dir(other.join("permits")).unwrap();
    fs::write(other.join(&key), "there").unwrap();
    let out = deployment.env().tmp().join("out");
    let run = deployment.civic(&["storage:download", &id, "--out", out.to_str().unwrap()]);
    assert_eq!(
        (run.code, fs::read(&out).unwrap()),
        (0, b"there".to_vec()),
        "{}",
        run.stderr
    );

    let nowhere = deployment.record(2, "/gone/root", "permits/x.txt", (5, days(1)));
    let run = deployment.civic(&["storage:download", &nowhere, "--json"]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (1, &json!("STORAGE_CONFIGURATION_ERROR"))
    );
    assert_eq!(nowhere, uuid(2));

    fs::remove_dir_all(&other).unwrap();
    let run = deployment.civic(&["storage:download", &id, "--force", "--out", out.to_str().unwrap()]);
    assert_eq!(
        run.code, 5,
        "a root that is gone is no missing file: {}",
        run.stdout
    );
}

#[test]
fn content_that_changed_under_a_known_checksum_is_an_integrity_error() {
    let deployment = Deployment::new();
    let source = deployment.env().tmp().join("plan.txt");
    fs::write(&source, "as it was").unwrap();
    let upload = [
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        source.to_str().unwrap(),
    ];
    let stored = deployment.civic(&upload).json()["data"]["successful"][0].clone();
    let (id, path) = (
        stored["id"].as_str().unwrap(),
        stored["providerPath"].as_str().unwrap(),
    );
    fs::write(path, "AS IT WAS").unwrap();
    let out = deployment.env().tmp().join("out");
    let run = deployment.civic(&["storage:download", id, "--json", "--out", out.to_str().unwrap()]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (1, &json!("STORAGE_INTEGRITY_ERROR"))
    );
    assert!(!out.exists());
    let forget = "DELETE FROM civic_storage_checksums WHERE file_id = ?1";
    assert_eq!(deployment.db().execute(forget, params![id]).unwrap(), 1);
    let run = deployment.civic(&["storage:download", id, "--out", out.to_str().unwrap()]);
    assert_eq!(
        run.code, 0,
        "without a checksum the size is all there is: {}",
        run.stderr
    );
}
