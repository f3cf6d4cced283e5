//! `storage:cleanup --apply`: what goes, what stays, and each rule shown by what would happen without it. Judged from
//! outside, by files and rows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::fake_s3::{BUCKET, Behaviour, FakeObject, FakeS3};

const APPLY: [&str; 4] = ["--apply", "--yes", "--min-age", "0"];

fn apply(deployment: &Deployment, more: &[&str]) -> Run {
    deployment.cleanup(&[&APPLY, more].concat())
}

/// Three files in order (1 to 3), two objects without a record (11, 12; 11 with a sidecar), two records without an
/// object (21, 22).
fn drifted() -> Deployment {
    let deployment = Deployment::new();
    for n in 1..=3 {
        deployment.old_file(&key("permits", n));
        deployment.local_record(n, &key("permits", n));
    }
    for n in [11, 12] {
        deployment.file(&key("permits", n), 10, days(30));
    }
    deployment.old_file(&format!("{}.meta.json", key("permits", 11)));
    for n in [21, 22] {
        deployment.local_record(n, &key("permits", n));
    }
    deployment
}

fn exists(deployment: &Deployment, n: u32) -> bool {
    deployment.storage().join(key("permits", n)).exists()
}

fn has_record(deployment: &Deployment, n: u32) -> bool {
    let sql = "SELECT count(*) FROM storage_files WHERE id = ?1";
    let found: i64 = deployment
        .db()
        .query_row(sql, [uuid(n)], |row| row.get(0))
        .unwrap();
    found == 1
}

/// Keys of everything in the trash, below the run's own directory.
fn trash(deployment: &Deployment) -> Vec<String> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let root = deployment.storage().join(".trash");
    let mut found = Vec::new();
    walk(&root, &mut found);
    let below_run = |path: &PathBuf| {
        let mut parts = path.strip_prefix(&root).unwrap().components();
        parts.next();
        parts.as_path().display().to_string()
    };
    let mut keys: Vec<String> = found.iter().map(below_run).collect();
    keys.sort();
    keys
}

/// Nothing of what was in order is lost, and every orphan is where it was or in the trash.
#[track_caller]
fn nothing_is_lost(deployment: &Deployment) {
    for n in 1..=3 {
        assert!(exists(deployment, n) && has_record(deployment, n), "file {n}");
    }
    let trash = trash(deployment);
    for n in [11, 12] {
        assert!(
            exists(deployment, n) != trash.contains(&key("permits", n)),
            "orphan {n}: {trash:?}"
        );
    }
}

#[track_caller]
fn no_orphan_is_left(deployment: &Deployment) {
    let run = deployment.cleanup(&["--min-age", "0"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(
        (run.count("orphanedObjects"), run.count("orphanedRecords")),
        (0, 0),
        "{}",
        run.stdout
    );
    assert_eq!(run.count("sidecarsWithoutObject"), 0);
}

#[test]
fn orphans_go_to_the_trash_and_a_second_look_finds_none() {
    let deployment = drifted();
    let run = apply(&deployment, &[]);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    let data = &run.json()["data"];
    assert_eq!(data["mode"], "apply");
    assert_eq!(
        data["cleaned"],
        serde_json::json!({ "objects": 2, "records": 2, "bytes": 20 })
    );
    assert_eq!(
        run.items("orphanedObjects", "key"),
        [key("permits", 11), key("permits", 12)]
    );
    assert_eq!(
        trash(&deployment),
        [
            key("permits", 11),
            format!("{}.meta.trash", key("permits", 11)),
            key("permits", 12)
        ]
    );
    nothing_is_lost(&deployment);
    assert!(!exists(&deployment, 11) && !has_record(&deployment, 21) && !has_record(&deployment, 22));
    no_orphan_is_left(&deployment);
}

#[test]
fn only_the_kinds_asked_for_are_touched() {
    let deployment = drifted();
    let run = apply(&deployment, &["--kind", "orphaned-records"]);
    assert_eq!(run.json()["data"]["cleaned"]["objects"], 0);
    assert_eq!(run.json()["data"]["cleaned"]["records"], 2);
    assert!(exists(&deployment, 11) && exists(&deployment, 12));
    assert!(!has_record(&deployment, 21));
}

#[test]
fn purge_leaves_no_trash() {
    let deployment = drifted();
    let run = apply(&deployment, &["--purge"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(trash(&deployment), Vec::<String>::new());
    assert!(!exists(&deployment, 11) && !exists(&deployment, 12));
    no_orphan_is_left(&deployment);
}

#[test]
fn sizes_are_repaired_only_where_that_was_asked() {
    let deployment = drifted();
    let size = || -> i64 {
        let sql = "SELECT size FROM storage_files WHERE id = ?1";
        deployment
            .db()
            .query_row(sql, [uuid(1)], |row| row.get(0))
            .unwrap()
    };
    deployment.file(&key("permits", 1), 7, days(30));
    apply(&deployment, &[]);
    assert_eq!(size(), 1);
    let run = apply(&deployment, &["--repair", "sizes"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["data"]["repaired"], 1);
    assert_eq!(size(), 7);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_begun() {
    let deployment = drifted();
    let before = deployment.env().tree();
    let run = deployment.cleanup(&["--apply", "--min-age", "0"]);
    assert_eq!(run.code, 8, "{}", run.stdout);
    assert!(run.stdout.contains("--yes"), "{}", run.stdout);
    before.assert_unchanged(&deployment.env().tree());
}

#[test]
fn an_unknown_rule_is_wrong_usage_and_names_the_nearest() {
    let deployment = drifted();
    let run = apply(&deployment, &["--override", "max-delet"]);
    assert_eq!(run.code, 2);
    assert!(run.stdout.contains("max-delete"), "{}", run.stdout);
    assert!(exists(&deployment, 11));
}

/// Refused with this rule and nothing changed; overridden, the run goes through.
#[track_caller]
fn refused(deployment: &Deployment, rule: &str, args: &[&str], overridden: bool) {
    let (files, rows) = (files(deployment), rows(deployment));
    let dry = deployment.cleanup(&[&["--min-age", "0"], args].concat());
    assert!(
        dry.code == 0 && dry.stderr.contains(rule),
        "{} {}",
        dry.code,
        dry.stderr
    );
    let run = apply(deployment, args);
    assert_eq!(run.code, 8, "{}", run.stdout);
    let json = run.json();
    assert_eq!(json["error"]["code"], "STORAGE_REFUSED");
    let rules: Vec<_> = json["data"]["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["rule"].clone())
        .collect();
    assert!(rules.contains(&rule.into()), "{rules:?}");
    assert_eq!(files, self::files(deployment));
    assert_eq!(rows, self::rows(deployment));
    let run = apply(deployment, &[&["--override", rule], args].concat());
    if overridden {
        assert_eq!(run.code, 0, "{}", run.stdout);
        assert_ne!((files, rows), (self::files(deployment), self::rows(deployment)));
    } else {
        assert_eq!(run.code, 8, "{}", run.stdout);
        assert_eq!((files, rows), (self::files(deployment), self::rows(deployment)));
    }
}

/// Everything under the root but the marker.
fn files(deployment: &Deployment) -> Vec<String> {
    let found = std::process::Command::new("find")
        .arg(deployment.storage())
        .args(["-type", "f", "-not", "-path", "*/.civic/*"])
        .output()
        .unwrap();
    let mut files: Vec<String> = String::from_utf8(found.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    files.sort();
    files
}

fn rows(deployment: &Deployment) -> Vec<String> {
    let mut statement = deployment
        .db()
        .prepare("SELECT id FROM storage_files ORDER BY id")
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn rule_2_an_empty_listing_is_refused() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    deployment.old_file("note.txt");
    refused(&deployment, "empty-listing", &[], true);
}

#[test]
fn rule_2_a_bare_root_is_refused_whatever_is_overridden() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    refused(&deployment, "empty-listing", &[], false);
}

#[test]
fn rule_2_a_missing_root_is_an_error_before_anything() {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    fs::remove_dir(deployment.storage()).unwrap();
    let run = apply(&deployment, &["--override", "empty-listing"]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    assert!(has_record(&deployment, 1) && !deployment.storage().exists());
}

#[test]
fn rule_2_an_empty_database_is_refused() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    refused(&deployment, "empty-database", &[], true);
}

#[test]
fn rule_8_more_than_the_cap_is_refused() {
    refused(&drifted(), "max-delete", &["--max-delete", "3"], true);
    refused(&drifted(), "max-delete", &["--max-delete", "50%"], true);
    let run = apply(&drifted(), &["--max-delete", "4"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
}

#[test]
fn rule_8_ten_may_always_go_and_eleven_of_a_few_may_not() {
    let deployment = drifted();
    for n in 31..=36 {
        deployment.old_file(&key("permits", n));
    }
    assert_eq!(
        apply(&deployment, &["--kind", "orphaned-objects,orphaned-records"]).code,
        0
    );
    for n in 41..=51 {
        deployment.old_file(&key("permits", n));
    }
    refused(&deployment, "max-delete", &[], true);
}

#[test]
fn rule_8_orphans_newer_than_every_record_look_like_a_restored_database() {
    let deployment = drifted();
    for n in 41..=52 {
        deployment.file(&key("permits", n), 1, days(3));
    }
    refused(&deployment, "restored-database", &["--max-delete", "50"], true);
}

#[test]
fn rule_12_a_marker_of_another_installation_is_refused() {
    let deployment = drifted();
    let marker = deployment.storage().join(".civic/installation.json");
    fs::create_dir_all(marker.parent().unwrap()).unwrap();
    let text =
        r#"{"installation":"of-another-town","database":"sqlite:/srv/other/civic.db","host":"elsewhere"}"#;
    fs::write(&marker, text).unwrap();
    let run = apply(&deployment, &[]);
    assert_eq!(run.code, 8, "{}", run.stdout);
    assert!(
        run.stdout.contains("ownership") && run.stdout.contains("/srv/other/civic.db"),
        "{}",
        run.stdout
    );
    assert!(exists(&deployment, 11) && has_record(&deployment, 21));
    let taken = apply(&deployment, &["--override", "ownership"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert_eq!(taken.json()["data"]["takenOver"][0]["provider"], "local");
    let ours = fs::read_to_string(&marker).unwrap();
    let database = deployment.env().database().canonicalize().unwrap();
    assert!(ours.contains(database.to_str().unwrap()), "{ours}");
    assert_eq!(apply(&deployment, &[]).code, 0);
}

#[test]
fn rule_12_a_copy_of_the_database_is_recognised() {
    let deployment = drifted();
    assert_eq!(apply(&deployment, &["--kind", "orphaned-records"]).code, 0);
    let copy = deployment.env().system_data().join("staging.db");
    deployment
        .db()
        .execute("VACUUM INTO ?1", [copy.display().to_string()])
        .unwrap();
    let database = format!("sqlite:{}", copy.display());
    let dry = deployment.cleanup(&["--database", &database]);
    assert!(
        dry.code == 0 && dry.stderr.contains("ownership"),
        "{}",
        dry.stderr
    );
    let run = apply(&deployment, &["--database", &database]);
    assert_eq!(run.code, 8, "{}", run.stdout);
    assert!(run.stdout.contains("ownership"), "{}", run.stdout);
    assert!(exists(&deployment, 11));
    assert_eq!(apply(&deployment, &[]).code, 0);
}

#[test]
fn rule_5_a_clock_far_off_is_refused() {
    let mut behaviour = Behaviour {
        clock_ahead: 3600,
        ..Behaviour::default()
    };
    behaviour.objects = [key("permits", 1), key("permits", 2)]
        .map(|key| FakeObject {
            key,
            size: 1,
            last_modified: chrono::Utc::now() - chrono::TimeDelta::days(30),
        })
        .to_vec();
    let fake = FakeS3::start(behaviour);
    let deployment = Deployment::new();
    deployment.providers(&Deployment::s3(&fake.endpoint(), BUCKET, ""));
    deployment.record(1, &format!("s3://{BUCKET}"), &key("permits", 1), (1, days(30)));
    let run = apply(&deployment, &[]);
    assert_eq!(run.code, 8, "{}", run.stdout);
    assert!(run.stdout.contains("clock-skew"), "{}", run.stdout);
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[test]
fn rule_1_a_listing_that_fails_ends_the_run_before_anything_goes() {
    let behaviour = Behaviour {
        fail_page: Some((1, 403)),
        ..Behaviour::default()
    };
    let fake = FakeS3::start(behaviour);
    let deployment = drifted();
    let local = format!(
        "  local: {{ type: local, path: {} }}\n",
        deployment.storage().display()
    );
    deployment.providers(&(local + &Deployment::s3(&fake.endpoint(), BUCKET, "")));
    let run = apply(&deployment, &[]);
    assert_eq!(run.code, 5, "{}", run.stdout);
    assert!(exists(&deployment, 11) && has_record(&deployment, 21));
    assert_eq!(fake.writes(), Vec::<String>::new());
}

/// A run that stops itself at a point, until it is let go.
pub struct Stopped(pub Child);

impl Stopped {
    fn at(deployment: &Deployment, point: &str, args: &[&str]) -> Self {
        Self::command(
            deployment,
            point,
            &[&["storage:cleanup", "--json"], args].concat(),
        )
    }

    pub fn command(deployment: &Deployment, point: &str, args: &[&str]) -> Self {
        let child = deployment
            .process()
            .args(args)
            .env("CIVIC_FAILPOINT_STOP", point)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let stat = fs::read_to_string(&stat).unwrap();
            let state = stat
                .rsplit(')')
                .next()
                .unwrap()
                .trim_start()
                .chars()
                .next()
                .unwrap();
            match state {
                'T' => return Self(child),
                'Z' => panic!("it ended before {point}: {:?}", child.wait_with_output()),
                _ => assert!(Instant::now() < deadline, "it never came to {point}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same after a Ctrl-C.
    pub fn interrupt(self) -> Run {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        self.go_on()
    }

    pub fn go_on(self) -> Run {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::CONT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn rule_11_of_two_at_once_the_second_is_locked_out() {
    let deployment = drifted();
    let first = Stopped::at(&deployment, "cleanup.after-lease", &APPLY);
    let second = apply(&deployment, &[]);
    assert_eq!(second.code, 7, "{}", second.stdout);
    assert_eq!(second.json()["error"]["code"], "STORAGE_LOCKED");
    assert!(exists(&deployment, 11));
    let first = first.go_on();
    assert_eq!(first.code, 0, "{}", first.stdout);
    no_orphan_is_left(&deployment);
}

#[test]
fn rule_11_a_holder_that_slept_past_its_lease_deletes_nothing() {
    let deployment = drifted();
    let sleeper = Stopped::at(&deployment, "cleanup.before-batch", &APPLY);
    let changed = deployment
        .db()
        .execute("UPDATE civic_storage_leases SET expires_at = 1", [])
        .unwrap();
    assert_eq!(changed, 1);
    let other = apply(&deployment, &["--kind", "orphaned-records"]);
    assert_eq!(other.code, 0, "{}", other.stdout);
    let sleeper = sleeper.go_on();
    assert_eq!(sleeper.code, 1, "{}", sleeper.stdout);
    assert!(
        exists(&deployment, 11) && exists(&deployment, 12),
        "{}",
        sleeper.stdout
    );
    assert_eq!(sleeper.json()["data"]["cleaned"]["objects"], 0);
}

#[test]
fn rule_7_what_changes_between_comparison_and_deletion_stays() {
    let deployment = drifted();
    let run = Stopped::at(&deployment, "cleanup.before-batch", &APPLY);
    deployment.file(&key("permits", 11), 11, days(30));
    deployment.local_record(12, &key("permits", 12));
    deployment.old_file(&key("permits", 21));
    let touch = "UPDATE storage_files SET updated_at = '2026-01-01 00:00:00' WHERE id = ?1";
    deployment.db().execute(touch, [uuid(22)]).unwrap();
    let run = run.go_on();
    assert_eq!(run.code, 0, "{}", run.stdout);
    let data = &run.json()["data"];
    assert_eq!(
        data["cleaned"],
        serde_json::json!({ "objects": 0, "records": 0, "bytes": 0 })
    );
    assert_eq!(
        data["skipped"],
        serde_json::json!({ "objects": 2, "records": 2, "mismatches": 0 })
    );
    assert!(exists(&deployment, 11) && exists(&deployment, 12));
    assert!(has_record(&deployment, 21) && has_record(&deployment, 22));
}

#[test]
fn rule_7_an_object_whose_uuid_some_record_got_meanwhile_stays() {
    let deployment = drifted();
    let args = [&APPLY[..], &["--kind", "orphaned-objects"]].concat();
    let run = Stopped::at(&deployment, "cleanup.before-batch", &args);
    // It names another place, as after a move: by its path alone nobody would know.
    deployment.record(11, "/srv/elsewhere", &key("permits", 11), (10, days(1)));
    let run = run.go_on();
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(
        exists(&deployment, 11) && !exists(&deployment, 12),
        "{}",
        run.stdout
    );
    assert_eq!(run.json()["data"]["skipped"]["objects"], 1);
}

#[test]
fn rule_7_a_record_whose_object_comes_back_after_the_last_look_stays() {
    let deployment = drifted();
    let args = [&APPLY[..], &["--kind", "orphaned-records"]].concat();
    let run = Stopped::at(&deployment, "cleanup.after-intend", &args);
    assert!(
        !has_record(&deployment, 21),
        "the step that takes it out is written down"
    );
    deployment.old_file(&key("permits", 21));
    let run = run.go_on();
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(
        has_record(&deployment, 21) && !has_record(&deployment, 22),
        "{}",
        run.stdout
    );
    assert_eq!(run.json()["data"]["skipped"]["records"], 1);
}

#[test]
fn a_record_that_comes_while_its_object_moves_gets_it_back() {
    let deployment = drifted();
    let args = [&APPLY[..], &["--kind", "orphaned-objects"]].concat();
    let run = Stopped::at(&deployment, "cleanup.after-move", &args);
    assert!(!exists(&deployment, 12));
    deployment.local_record(12, &key("permits", 12));
    let run = run.go_on();
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert!(exists(&deployment, 12) && has_record(&deployment, 12));
    assert_eq!(run.json()["data"]["cleaned"]["objects"], 1);
}

#[test]
fn killed_at_any_point_the_next_run_ends_it() {
    for point in [
        "cleanup.after-lease",
        "cleanup.before-batch",
        "cleanup.after-intend",
        "cleanup.after-move",
        "cleanup.after-settle",
        "cleanup.after-intend:2",
        "cleanup.after-settle:2",
    ] {
        let deployment = drifted();
        let status = deployment
            .process()
            .args(["storage:cleanup", "--json"])
            .args(APPLY)
            .env("CIVIC_FAILPOINT", point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), None, "{point}: it was not killed");
        nothing_is_lost(&deployment);
        let run = apply(&deployment, &[]);
        assert_eq!(run.code, 0, "{point}: {}\n{}", run.stdout, run.stderr);
        nothing_is_lost(&deployment);
        no_orphan_is_left(&deployment);
        let open = "SELECT count(*) FROM civic_storage_steps WHERE state = 'intended'";
        let open: i64 = deployment.db().query_row(open, [], |row| row.get(0)).unwrap();
        assert_eq!(open, 0, "{point}: a step is left open");
    }
}

#[test]
fn civicpress_writing_its_way_loses_nothing_to_the_default_minimum_age() {
    let deployment = drifted();
    deployment.file(&key("permits", 50), 5, Duration::ZERO);
    let run = deployment.cleanup(&["--apply", "--yes"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.json()["data"]["cleaned"]["objects"], 2);
    assert!(exists(&deployment, 50));
    deployment.record(
        50,
        &deployment.storage().display().to_string(),
        &key("permits", 50),
        (5, Duration::ZERO),
    );
    no_orphan_is_left(&deployment);
}

#[test]
fn what_an_upload_has_claimed_is_in_flight_and_nobodys_orphan() {
    let deployment = drifted();
    apply(&deployment, &["--kind", "orphaned-records"]);
    let intend =
        "INSERT INTO civic_storage_intents VALUES (?1, 'run', 'local', ?2, 10, 'elsewhere', 1, 'p', ?3)";
    let now = chrono::Utc::now().timestamp_micros();
    let begin = "INSERT INTO civic_storage_runs (id, operation, status, host, pid, process, request, started_at, beat_at)
        VALUES ('run', 'storage:upload', 'running', 'elsewhere', 1, 'p', 'null', ?1, ?1)";
    deployment.db().execute(begin, [now]).unwrap();
    for n in [11, 12] {
        // One by its key, one by its id.
        let (id, key) = if n == 11 {
            (uuid(99), key("permits", 11))
        } else {
            (uuid(12), key("permits", 99))
        };
        deployment.db().execute(intend, (id, key, now)).unwrap();
    }
    for run in [deployment.cleanup(&["--min-age", "0"]), apply(&deployment, &[])] {
        assert_eq!(
            (run.code, run.count("inFlight"), run.count("orphanedObjects")),
            (0, 2, 0),
            "{}",
            run.stdout
        );
    }
    assert!(exists(&deployment, 11) && exists(&deployment, 12));
}

#[test]
fn an_interrupt_ends_the_run_cleanly_and_the_next_one_goes_on() {
    let deployment = drifted();
    let run = Stopped::at(&deployment, "cleanup.after-intend", &APPLY);
    kill_process(Pid::from_child(&run.0), Signal::INT).unwrap();
    let run = run.go_on();
    assert_eq!(run.code, 130, "{}\n{}", run.stdout, run.stderr);
    // The batch in flight was finished, the next not begun.
    assert_eq!(run.json()["data"]["cleaned"]["objects"], 2);
    assert!(has_record(&deployment, 21));
    let status = "SELECT status FROM civic_storage_runs";
    let status: String = deployment.db().query_row(status, [], |row| row.get(0)).unwrap();
    assert_eq!(status, "interrupted");
    assert_eq!(apply(&deployment, &[]).code, 0);
    no_orphan_is_left(&deployment);
}

/// Every row, column by column.
fn whole_rows(deployment: &Deployment) -> Vec<String> {
    let mut statement = deployment
        .db()
        .prepare("SELECT * FROM storage_files ORDER BY id")
        .unwrap();
    let rows = statement.query_map([], |row| {
        let columns: Result<Vec<_>, _> = (0..12)
            .map(|at| row.get::<_, rusqlite::types::Value>(at))
            .collect();
        Ok(format!("{:?}", columns?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn undo_brings_back_rows_and_bytes_and_undoing_twice_does_nothing() {
    let deployment = drifted();
    deployment.file(&key("permits", 1), 7, days(30));
    let (rows, files) = (
        whole_rows(&deployment),
        crate::common::Tree::of(&deployment.storage().join("permits")),
    );
    let run = apply(&deployment, &["--repair", "sizes"]);
    assert_eq!(run.json()["data"]["repaired"], 1, "{}", run.stdout);
    assert_ne!(whole_rows(&deployment), rows);
    let id = run.json()["data"]["runId"].as_str().unwrap().to_owned();
    let undone = deployment.civic(&["storage:undo", &id, "--yes"]);
    assert_eq!(undone.code, 0, "{}\n{}", undone.stdout, undone.stderr);
    assert_eq!(whole_rows(&deployment), rows);
    let now = crate::common::Tree::of(&deployment.storage().join("permits"));
    // The directory itself has been written to; its files are as they were, to the nanosecond.
    let changed: Vec<_> = files
        .changes(&now)
        .into_iter()
        .filter(|path| path != Path::new(""))
        .collect();
    assert_eq!(changed, Vec::<PathBuf>::new());
    assert_eq!(trash(&deployment), Vec::<String>::new());
    let again = deployment.civic(&["storage:undo", &id, "--yes"]);
    assert!(again.code <= 1, "{}", again.stdout);
    assert_eq!(whole_rows(&deployment), rows);
}

/// Kills at random moments, as many as `CIVIC_TEST_KILLS` says.
#[test]
fn killed_at_random_again_and_again_nothing_is_lost_and_one_run_ends_it() {
    let kills: u64 = std::env::var("CIVIC_TEST_KILLS").map_or(30, |n| n.parse().unwrap());
    let deployment = drifted();
    let mut seed: u64 = 0x5eed;
    for round in 0..kills {
        // Knuth's MMIX generator; the high bits are the good ones.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mut child = deployment
            .process()
            .args(["storage:cleanup", "--json"])
            .args(APPLY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros((seed >> 33) % 80_000));
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_is_lost(&deployment);
        // What has gone by now drifts anew, elsewhere.
        let n = 1000 + u32::try_from(round).unwrap();
        deployment.old_file(&key("public", n));
        deployment.local_record(5000 + n, &key("public", 5000 + n));
    }
    let run = apply(&deployment, &["--max-delete", "1000"]);
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    nothing_is_lost(&deployment);
    no_orphan_is_left(&deployment);
    let lost = (1000..1000 + kills).filter(|n| {
        let key = key("public", u32::try_from(*n).unwrap());
        !trash(&deployment).contains(&key)
    });
    assert_eq!(lost.count(), 0, "every orphan is in the trash");
}

#[test]
fn rule_3_a_run_that_cannot_see_the_other_provider_removes_no_record() {
    let deployment = drifted();
    let local = format!(
        "  local: {{ type: local, path: {} }}\n",
        deployment.storage().display()
    );
    let nobody_listens = "http://127.0.0.1:1";
    deployment.providers(&(local + &Deployment::s3(nobody_listens, BUCKET, "")));
    refused(&deployment, "limited-view", &["--provider", "local"], true);
}
