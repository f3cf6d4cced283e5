//! Sidecars that outlive their objects: from each that stays, a reconstruction brings a dead record back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, days, key, uuid};

fn sidecar(n: u32) -> String {
    key("permits", n) + ".meta.json"
}

/// Files 1 to 5 in order; 11 and 12 are records whose object is gone, 11 with its sidecar; of 21 and 22 only sidecars are
/// left, 22's a young one.
fn drifted() -> Deployment {
    let town = Deployment::new();
    for n in 1..=5 {
        town.old_file(&key("permits", n));
        town.old_file(&sidecar(n));
        town.local_record(n, &key("permits", n));
    }
    for n in [11, 12] {
        town.local_record(n, &key("permits", n));
    }
    town.old_file(&sidecar(11));
    town.old_file(&sidecar(21));
    town.file(&sidecar(22), 1, std::time::Duration::ZERO);
    town
}

/// Names and bytes of what is in the folder.
fn files(town: &Deployment) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(town.storage().join("permits")).unwrap();
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(|entry| read(entry.unwrap())).collect()
}

fn apply(town: &Deployment, args: &[&str]) -> Run {
    town.cleanup(&[&["--apply", "--yes"], args].concat())
}

fn there(town: &Deployment, n: u32) -> bool {
    town.storage().join(sidecar(n)).exists()
}

fn has_record(town: &Deployment, n: u32) -> bool {
    let sql = "SELECT count(*) FROM storage_files WHERE id = ?1";
    let found: u32 = town.db().query_row(sql, [uuid(n)], |row| row.get(0)).unwrap();
    found == 1
}

fn run_id(run: &Run) -> String {
    run.json()["data"]["runId"].as_str().unwrap().to_owned()
}

fn in_trash(town: &Deployment, run: &str, n: u32) -> bool {
    let place = format!(".trash/{run}/{}.meta.trash", key("permits", n));
    town.storage().join(place).exists()
}

#[test]
fn the_sidecar_of_an_orphaned_record_goes_with_it_and_comes_back_with_it() {
    let town = drifted();
    let before = files(&town);
    let run = apply(&town, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    let cleaned = &run.json()["data"]["cleaned"];
    assert_eq!(
        (&cleaned["records"], &cleaned["sidecars"]),
        (&2.into(), &1.into()),
        "{cleaned}"
    );
    assert!(!there(&town, 11) && !has_record(&town, 11) && !has_record(&town, 12));
    assert!(in_trash(&town, &run_id(&run), 11));
    assert!(there(&town, 21), "nobody asked for those that stand alone");
    let listed = town.civic(&["storage:trash", "--json"]);
    assert_eq!(listed.items("items", "id"), [uuid(11)]);
    let undone = town.civic(&["storage:undo", &run_id(&run), "--yes", "--json"]);
    assert_eq!(
        (undone.code, &undone.json()["data"]["successfulCount"]),
        (0, &2.into()),
        "{undone:?}"
    );
    assert!(has_record(&town, 11) && has_record(&town, 12));
    assert_eq!(files(&town), before);
}

#[test]
fn purging_keeps_records_and_their_sidecars_for_undo_as_before() {
    let town = drifted();
    let run = apply(&town, &["--purge"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(in_trash(&town, &run_id(&run), 11));
    let undone = town.civic(&["storage:undo", &run_id(&run), "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert!(there(&town, 11) && has_record(&town, 11));
}

#[test]
fn cleanup_of_the_fixture_leaves_no_sidecar_without_its_object() {
    let env = TestEnv::fixture();
    let count = |run: &Run| run.count("sidecarsWithoutObject");
    let cleanup = ["storage:cleanup", "--json", "--min-age", "0"];
    assert_eq!(count(&Run::of(&env, cleanup)), 2);
    let kinds = ["--apply", "--yes", "--kind", "orphaned-records,sidecars"];
    let applied = Run::of(&env, cleanup.iter().chain(&kinds));
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(applied.json()["data"]["cleaned"]["sidecars"], 2, "{applied:?}");
    assert_eq!(count(&Run::of(&env, cleanup)), 0);
}

#[test]
fn those_whose_record_is_gone_too_go_when_they_are_asked_for() {
    let town = drifted();
    town.old_file("permits/notes.meta.json");
    let before = files(&town);
    let dry = town.cleanup(&["--kind", "sidecars"]);
    let found = dry.json()["data"]["sidecars"].as_array().unwrap().clone();
    let of = |n: u32| found.iter().find(|item| item["key"] == sidecar(n).as_str());
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(of(22).unwrap()["tooRecent"], true);
    assert_eq!(of(11).unwrap()["hasRecord"], true);
    assert_eq!(of(21).unwrap()["hasRecord"], false);

    let run = apply(&town, &["--kind", "sidecars"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["cleaned"]["sidecars"], 1, "{run:?}");
    assert!(!there(&town, 21) && in_trash(&town, &run_id(&run), 21));
    assert!(there(&town, 22), "it is too young");
    assert!(there(&town, 11) && has_record(&town, 11), "its record is there");
    assert!(there(&town, 1), "its object is there");
    assert!(
        town.storage().join("permits/notes.meta.json").exists(),
        "not one of ours"
    );
    let undone = town.civic(&["storage:undo", &run_id(&run), "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(files(&town), before);

    let purged = apply(&town, &["--kind", "sidecars", "--purge"]);
    assert_eq!(purged.code, 0, "{purged:?}");
    assert!(!there(&town, 21) && !in_trash(&town, &run_id(&purged), 21));
    assert_eq!(town.civic(&["storage:undo", &run_id(&purged), "--yes"]).code, 1);
}

#[test]
fn they_count_for_the_cap() {
    let town = drifted();
    for n in 31..=42 {
        town.old_file(&sidecar(n));
    }
    let run = apply(&town, &["--kind", "sidecars"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert!(run.stdout.contains("max-delete") && there(&town, 21), "{run:?}");
    assert_eq!(
        apply(&town, &["--kind", "sidecars", "--max-delete", "20"]).code,
        0
    );
    assert!(!there(&town, 21) && !there(&town, 31));
}

/// Stops at the point, lets the test do something, and goes on.
fn meanwhile(town: &Deployment, point: &str, args: &[&str], act: impl FnOnce()) -> Run {
    let mut command = town.process();
    let mut child: Child = command
        .args(["storage:cleanup", "--apply", "--yes", "--json"])
        .args(args)
        .env("CIVIC_FAILPOINT_STOP", point)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    loop {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let state = stat.rsplit(") ").next().unwrap().chars().next().unwrap();
        assert_ne!(state, 'Z', "it ended before {point}: {:?}", child.wait());
        if state == 'T' {
            break;
        }
        std::thread::yield_now();
    }
    act();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_sidecar_whose_object_or_record_comes_meanwhile_stays() {
    let town = drifted();
    let run = meanwhile(&town, "cleanup.before-batch", &["--kind", "sidecars"], || {
        town.old_file(&key("permits", 21));
    });
    assert!(run.code == 0 && there(&town, 21), "{run:?}");
    fs::remove_file(town.storage().join(key("permits", 21))).unwrap();
    let run = meanwhile(&town, "cleanup.before-batch", &["--kind", "sidecars"], || {
        town.local_record(21, &key("permits", 21));
    });
    assert!(run.code == 0 && there(&town, 21), "{run:?}");
}

#[test]
fn a_record_whose_object_comes_back_keeps_its_sidecar() {
    let town = drifted();
    let run = meanwhile(
        &town,
        "cleanup.after-intend",
        &["--kind", "orphaned-records"],
        || {
            town.old_file(&key("permits", 11));
        },
    );
    assert_eq!(run.code, 0, "{run:?}");
    assert!(there(&town, 11) && has_record(&town, 11) && !has_record(&town, 12));
    assert_eq!(run.json()["data"]["skipped"]["records"], 1, "{run:?}");
}

#[test]
fn a_kill_at_any_step_leaves_row_and_sidecar_together_or_both_away() {
    for kind in ["orphaned-records", "sidecars"] {
        for point in [
            "cleanup.after-intend",
            "cleanup.after-move",
            "cleanup.after-settle",
        ] {
            let town = drifted();
            let status = town
                .process()
                .args(["storage:cleanup", "--apply", "--yes", "--kind", kind])
                .env("CIVIC_FAILPOINT", point)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.signal(), Some(9), "{kind} {point}");
            let next = apply(&town, &["--kind", kind]);
            assert_eq!(next.code, 0, "{kind} {point}: {next:?}");
            let n = if kind == "sidecars" { 21 } else { 11 };
            assert!(!there(&town, n) && !has_record(&town, n), "{kind} {point}");
            let runs = town.civic(&["storage:runs", "--json"]).items("runs", "id");
            let held = runs.iter().filter(|run| in_trash(&town, run, n)).count();
            assert_eq!(held, 1, "{kind} {point}: in one run's trash");
        }
    }
}

mod needs_server {
    use super::*;
    use crate::common::Remote;

    fn sidecars_in_a_bucket(bucket: &dyn Remote) {
        let town = Deployment::new();
        town.providers(&bucket.provider_yaml(bucket.kind(), "town"));
        let root = format!("{}/town", bucket.root());
        for n in [1, 11] {
            town.record(n, &root, &key("permits", n), (1, days(30)));
        }
        bucket.put(&format!("town/{}", key("permits", 1)), b"x");
        for n in [1, 11, 21] {
            bucket.put(&format!("town/{}", sidecar(n)), b"{}");
        }
        let kinds = ["--kind", "orphaned-records,sidecars", "--min-age", "0"];
        let run = apply(&town, &kinds);
        assert_eq!(run.code, 0, "{run:?}");
        let cleaned = &run.json()["data"]["cleaned"];
        assert_eq!(
            (&cleaned["records"], &cleaned["sidecars"]),
            (&1.into(), &2.into()),
            "{cleaned}"
        );
        assert_eq!(town.cleanup(&kinds).count("sidecarsWithoutObject"), 0);
        let undone = town.civic(&["storage:undo", &run_id(&run), "--yes", "--json"]);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert!(has_record(&town, 11));
        assert_eq!(town.cleanup(&kinds).count("sidecarsWithoutObject"), 2);
    }

    #[test]
    fn sidecars_in_a_bucket_on_seaweedfs() {
        if let Some(bucket) = TestEnv::seaweed() {
            sidecars_in_a_bucket(&bucket);
        }
    }

    #[test]
    fn sidecars_in_a_bucket_on_rclone() {
        if let Some(bucket) = TestEnv::rclone() {
            sidecars_in_a_bucket(&bucket);
        }
    }

    #[test]
    fn sidecars_in_a_bucket_on_gcs() {
        if let Some(bucket) = TestEnv::gcs() {
            sidecars_in_a_bucket(&bucket);
        }
    }

    #[test]
    fn sidecars_in_a_bucket_on_azurite() {
        if let Some(bucket) = TestEnv::azurite() {
            sidecars_in_a_bucket(&bucket);
        }
    }
}
