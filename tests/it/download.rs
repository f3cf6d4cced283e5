//! `storage:download`: what arrives is what was stored, under its name only when it is whole.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::params;
use serde_json::json;

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::run::knows_nameless_files;
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
fn a_directory_that_is_not_there_is_named_as_it_was() {
    let env = TestEnv::fixture();
    let out = env.tmp().join("none/out.md");
    let run = Run::of(
        &env,
        ["storage:download", MINUTES, "--out", out.to_str().unwrap()],
    );
    let told = format!(
        "{} cannot be written: {}: No such file or directory (os error 2)",
        out.display(),
        env.tmp().join("none").display()
    );
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    assert!(!run.stderr.contains("civic-download"), "{}", run.stderr);
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

/// A deployment with one file of 3 MB that this program stored, and its id.
fn large(provider: Option<String>) -> (Deployment, String, Vec<u8>) {
    let town = Deployment::new();
    if let Some(provider) = provider {
        town.providers(&provider);
    }
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let source = town.env().tmp().join("large.bin");
    fs::write(&source, &content).unwrap();
    let run = town.civic(&[
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        source.to_str().unwrap(),
    ]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let id = run.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::remove_file(source).unwrap();
    (town, id, content)
}

fn fetched(town: &Deployment, id: &str, more: &[&str]) -> Run {
    let out = town.env().tmp().join("out.bin");
    let args = [
        "storage:download",
        id,
        "--json",
        "-v",
        "--out",
        out.to_str().unwrap(),
    ];
    town.civic(&[&args[..], more].concat())
}

fn dies(town: &Deployment, id: &str) {
    let out = town.env().tmp().join("out.bin");
    let args = ["storage:download", id, "--resume", "--out", out.to_str().unwrap()];
    let mut process = town.process();
    let died = process
        .args(args)
        .env("CIVIC_FAILPOINT", "download.after-piece:5")
        .status();
    assert!(!died.unwrap().success());
    assert_eq!(names(town.env().tmp()).len(), 2, "{:?}", names(town.env().tmp()));
}

#[test]
fn a_download_that_is_killed_leaves_nothing_and_not_what_it_was_to_replace_either() {
    let (town, id, content) = large(None);
    let out = town.env().tmp().join("out.bin");
    for before in [None, Some("before")] {
        if let Some(before) = before {
            fs::write(&out, before).unwrap();
        }
        let mut process = town.process();
        let args = ["storage:download", &id, "--force", "--out", out.to_str().unwrap()];
        let died = process
            .args(args)
            .env("CIVIC_FAILPOINT", "download.after-piece:5")
            .status();
        assert!(!died.unwrap().success());
        assert_eq!(fs::read_to_string(&out).ok().as_deref(), before);
        if knows_nameless_files(&town.env().tmp()) {
            assert_eq!(names(town.env().tmp()).len(), usize::from(before.is_some()));
        }
    }
    assert_eq!(fetched(&town, &id, &["--force"]).code, 0);
    assert!(fs::read(out).unwrap() == content);
    assert_eq!(names(town.env().tmp()), ["out.bin"]);
}

fn part(town: &Deployment, end: &str) -> std::path::PathBuf {
    let names = names(town.env().tmp());
    town.env()
        .tmp()
        .join(names.iter().find(|name| name.ends_with(end)).unwrap())
}

fn ranges_are_those_bytes(provider: Option<String>) {
    let (town, id, content) = large(provider);
    let out = town.env().tmp().join("out.bin");
    for (range, bytes) in [
        ("0-99", &content[..100]),
        ("2999990-", &content[2_999_990..]),
        ("-7", &content[2_999_993..]),
        ("1000-9999999", &content[1000..]),
    ] {
        let run = fetched(&town, &id, &["--force", "--range", range]);
        assert_eq!(
            (run.code, fs::read(&out).is_ok_and(|read| read == bytes)),
            (0, true),
            "{range}: {}",
            run.stdout
        );
        assert_eq!(run.json()["data"]["bytes"], bytes.len());
    }
    let output = town
        .process()
        .args(["storage:download", &id, "--out", "-", "--range", "5-9"])
        .output()
        .unwrap();
    assert_eq!(output.stdout, &content[5..10]);
}

fn what_broke_off_goes_on(provider: Option<String>) {
    let (town, id, content) = large(provider);
    dies(&town, &id);
    let run = fetched(&town, &id, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stderr.contains("bytes are here already"), "{}", run.stderr);
    assert!(fs::read(town.env().tmp().join("out.bin")).unwrap() == content);
    assert_eq!(names(town.env().tmp()), ["out.bin"]);
}

#[test]
fn a_range_is_those_bytes_and_nothing_else() {
    ranges_are_those_bytes(None);
    let (town, id, _) = large(None);
    for wrong in [
        &["--range", "3000000-"][..],
        &["--range", "5-4"],
        &["--range", "0-9", "--resume"],
        &["--range", "0-9", &id[..8]],
    ] {
        let run = fetched(&town, &id, wrong);
        assert_eq!(run.code, 2, "{wrong:?}: {}", run.stdout);
    }
    assert_eq!(names(town.env().tmp()), Vec::<String>::new());
    // Bytes of a file that is another by now are of no use.
    let sql = "UPDATE storage_files SET size = 3000001";
    town.db().execute(sql, []).unwrap();
    let run = fetched(&town, &id, &["--range", "0-9"]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (1, &json!("STORAGE_INTEGRITY_ERROR"))
    );
}

#[test]
fn what_broke_off_is_resumed_and_compared_whole() {
    what_broke_off_goes_on(None);
    let (town, id, content) = large(None);
    // What is kept is no longer what arrived: that is told, thrown away, and fetched anew.
    dies(&town, &id);
    let mut kept = fs::read(part(&town, ".part")).unwrap();
    kept[9] ^= 1;
    fs::write(part(&town, ".part"), kept).unwrap();
    let run = fetched(&town, &id, &["--resume"]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (1, &json!("STORAGE_INTEGRITY_ERROR"))
    );
    assert_eq!(names(town.env().tmp()), Vec::<String>::new());
    // Without its note it is worth nothing.
    dies(&town, &id);
    fs::remove_file(part(&town, ".note")).unwrap();
    let run = fetched(&town, &id, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(!run.stderr.contains("already"), "{}", run.stderr);
    assert!(fs::read(town.env().tmp().join("out.bin")).unwrap() == content);
}

#[test]
fn a_part_of_an_object_that_was_replaced_is_thrown_away() {
    let (town, id, content) = large(None);
    // As CivicPress's files are: nobody kept a checksum that would tell.
    town.db()
        .execute("DELETE FROM civic_storage_checksums", [])
        .unwrap();
    dies(&town, &id);
    let path: String = town
        .db()
        .query_row("SELECT provider_path FROM storage_files", [], |row| row.get(0))
        .unwrap();
    let other: Vec<u8> = content.iter().map(|byte| !byte).collect();
    fs::write(path, &other).unwrap();
    let run = fetched(&town, &id, &["--resume"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(run.stderr.contains("the object has changed"), "{}", run.stderr);
    assert!(fs::read(town.env().tmp().join("out.bin")).unwrap() == other);
    // And one of before the machine was started anew, since nothing would tell what never reached the disk.
    fs::remove_file(town.env().tmp().join("out.bin")).unwrap();
    dies(&town, &id);
    let note = fs::read_to_string(part(&town, ".note")).unwrap();
    let mut note: serde_json::Value = serde_json::from_str(&note).unwrap();
    note["boot"] = "another".into();
    fs::write(part(&town, ".note"), note.to_string()).unwrap();
    let run = fetched(&town, &id, &["--resume"]);
    assert_eq!(
        (run.code, run.stderr.contains("already")),
        (0, false),
        "{}",
        run.stderr
    );
}

#[test]
fn two_that_resume_the_same_file_do_not_write_into_one_another() {
    let (town, id, content) = large(None);
    let out = town.env().tmp().join("out.bin");
    let args = [
        "storage:download",
        &id,
        "--resume",
        "--json",
        "--out",
        out.to_str().unwrap(),
    ];
    let first = crate::cleanup_apply::Stopped::command(&town, "download.after-piece:3", &args);
    let second = fetched(&town, &id, &["--resume"]);
    assert_eq!(second.code, 1, "{}", second.stdout);
    assert!(second.stdout.contains("at work here"), "{}", second.stdout);
    assert_eq!(first.go_on().code, 0);
    assert!(fs::read(out).unwrap() == content);
}

#[test]
fn a_whole_part_that_cannot_be_placed_is_kept() {
    let (town, id, content) = large(None);
    let out = town.env().tmp().join("out.bin");
    let args = [
        "storage:download",
        &id,
        "--resume",
        "--out",
        out.to_str().unwrap(),
    ];
    let running = crate::cleanup_apply::Stopped::command(&town, "download.after-piece:3", &args);
    fs::write(&out, "somebody else's").unwrap();
    let run = running.go_on();
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(fs::read(&out).unwrap(), b"somebody else's");
    assert_eq!(names(town.env().tmp()).len(), 3, "the part and its note stay");
    let run = fetched(&town, &id, &["--resume", "--force", "-v"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fs::read(&out).unwrap() == content);
    assert_eq!(names(town.env().tmp()), ["out.bin"]);
}

#[test]
fn what_is_no_file_is_never_replaced() {
    let (town, id, _) = large(None);
    let out = town.env().tmp().join("out.bin");
    fs::create_dir_all(out.join("large.bin")).unwrap();
    for more in [&["--force"][..], &["--force", "--resume"]] {
        let run = fetched(&town, &id, more);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(
            run.stdout.contains("something that is no file is there"),
            "{run:?}"
        );
        assert_eq!(names(&out), ["large.bin"], "nothing was begun");
    }
}

#[test]
fn ids_come_from_a_list_and_one_that_is_unknown_fails_alone() {
    let env = TestEnv::fixture();
    let list = env.tmp().join("list");
    fs::write(&list, format!("{MINUTES}\n\n  {AGENDA}  \nnobody\n")).unwrap();
    let out = env.tmp().join("out");
    let args = [
        "storage:download",
        "--json",
        "--concurrency",
        "2",
        "--from-list",
        list.to_str().unwrap(),
    ];
    let run = Run::of(&env, args.iter().chain(&["--out", out.to_str().unwrap()]));
    assert_eq!(run.code, 3, "{}", run.stdout);
    assert_eq!(names(&out), ["agenda.txt", "minutes.md"]);
    assert_eq!(run.json()["data"]["failed"][0]["file"], "nobody");
}

mod needs_server {
    use super::{dies, fetched, large, ranges_are_those_bytes, what_broke_off_goes_on};
    use crate::common::{Remote, TestEnv};

    fn on<R: Remote>(fresh: impl Fn() -> Option<R>) {
        for test in [ranges_are_those_bytes, what_broke_off_goes_on] {
            let Some(bucket) = fresh() else { return };
            test(Some(bucket.provider_yaml(bucket.kind(), "town")));
        }
    }

    #[test]
    fn parts_and_ranges_on_seaweedfs() {
        on(TestEnv::seaweed);
    }

    /// It sends the whole file whatever range is asked for.
    #[test]
    fn rclone_has_no_ranges_and_is_told_so() {
        let Some(bucket) = TestEnv::rclone() else { return };
        let (town, id, content) = large(Some(bucket.provider_yaml("s3", "town")));
        let run = fetched(&town, &id, &["--range", "0-99"]);
        assert_eq!(run.code, 1, "{}", run.stdout);
        assert!(run.stdout.contains("sends files whole"), "{}", run.stdout);
        dies(&town, &id);
        let run = fetched(&town, &id, &["--resume"]);
        assert_eq!(run.code, 0, "{}", run.stdout);
        assert!(run.stderr.contains("sends files whole"), "{}", run.stderr);
        assert!(std::fs::read(town.env().tmp().join("out.bin")).unwrap() == content);
    }

    #[test]
    fn parts_and_ranges_on_azurite() {
        on(TestEnv::azurite);
    }

    #[test]
    fn parts_and_ranges_on_gcs() {
        on(TestEnv::gcs);
    }
}
