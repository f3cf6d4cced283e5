//! `storage:migrate`: from any provider to any other, readable by the record at every moment, and back by an undo.

use std::fs;

use serde_json::{Value, json};

use crate::change::unsettled;
use crate::cleanup_apply::Stopped;
use crate::common::Remote;
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::delete::{files, killed, rows, run_id};

/// Every point of a migration at which it may die; the second file of a batch as well as the first.
const POINTS: [&str; 13] = [
    "move.after-intend",
    "migrate.after-put",
    "migrate.after-put:2",
    "move.after-copy",
    "move.after-copy:2",
    "move.after-sidecar",
    "move.after-sidecar:2",
    "move.after-copies",
    "move.after-switch",
    "move.after-remove",
    "move.after-remove:2",
    "move.after-removals",
    "move.after-settle",
];

/// One side of a migration, looked at from outside.
struct End {
    name: String,
    root: String,
    bucket: Option<Box<dyn Remote + Sync>>,
}

impl End {
    fn disk(town: &Deployment, name: &str) -> (Self, String) {
        let root = town.env().root().join(name);
        fs::create_dir_all(&root).unwrap();
        let yaml = format!("  {name}: {{ type: local, path: {} }}", root.display());
        let end = Self {
            name: name.to_owned(),
            root: root.display().to_string(),
            bucket: None,
        };
        (end, yaml)
    }

    fn remote(bucket: impl Remote + Sync + 'static) -> (Self, String) {
        let yaml = bucket.provider_yaml(bucket.kind(), "town");
        let end = Self {
            name: bucket.kind().to_owned(),
            root: format!("{}/town", bucket.root()),
            bucket: Some(Box::new(bucket)),
        };
        (end, yaml)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        if let Some(bucket) = &self.bucket {
            return bucket.put(&format!("town/{key}"), bytes);
        }
        let path = format!("{}/{key}", self.root);
        fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        match &self.bucket {
            Some(bucket) => bucket.get(&format!("town/{key}")),
            None => fs::read(format!("{}/{key}", self.root)).ok(),
        }
    }
}

/// A deployment of two providers, its files at the first.
struct Two {
    town: Deployment,
    ends: [End; 2],
    count: u32,
}

impl Two {
    fn new(count: u32, ends: impl FnOnce(&Deployment) -> [(End, String); 2]) -> Self {
        let town = Deployment::new();
        let [(one, one_yaml), (two, two_yaml)] = ends(&town);
        town.providers(&format!("{one_yaml}\n{two_yaml}"));
        for n in 1..=count {
            let (at, bytes) = (key("permits", n), content(n));
            one.put(&at, &bytes);
            town.record(n, &one.root, &at, (i64::try_from(bytes.len()).unwrap(), days(30)));
        }
        Self {
            town,
            ends: [one, two],
            count,
        }
    }

    fn disks(count: u32) -> Self {
        Self::new(count, |town| [End::disk(town, "attic"), End::disk(town, "vault")])
    }

    fn to(count: u32, bucket: impl Remote + Sync + 'static) -> Self {
        Self::new(count, |town| [End::disk(town, "attic"), End::remote(bucket)])
    }

    fn from(count: u32, bucket: impl Remote + Sync + 'static) -> Self {
        Self::new(count, |town| [End::remote(bucket), End::disk(town, "vault")])
    }

    fn args(&self) -> [&str; 9] {
        let [one, two] = &self.ends;
        [
            "storage:migrate",
            "--json",
            "--yes",
            "--from",
            &one.name,
            "--to",
            &two.name,
            "--concurrency",
            "1",
        ]
    }

    fn migrate(&self) -> Run {
        self.town.civic(&self.args())
    }

    fn undo(&self, run: &str) -> Run {
        self.town.civic(&["storage:undo", "--yes", "--json", run])
    }

    fn path(&self, n: u32) -> String {
        let sql = "SELECT provider_path FROM storage_files WHERE id = ?1";
        self.town
            .db()
            .query_row(sql, [uuid(n)], |row| row.get(0))
            .unwrap()
    }

    /// Which end the record names.
    fn end(&self, n: u32) -> &End {
        let path = self.path(n);
        let under = |end: &&End| path.starts_with(&format!("{}/", end.root));
        self.ends.iter().find(under).unwrap_or_else(|| panic!("{path}"))
    }

    /// Each file can be read where its row says, and holds what it held.
    #[track_caller]
    fn assert_readable(&self, context: &str) {
        assert_eq!(rows(self.town.db()).len(), self.count as usize, "{context}");
        for n in 1..=self.count {
            let bytes = self.end(n).get(&key("permits", n));
            let bytes = bytes.unwrap_or_else(|| panic!("{context}: {} is lost", self.path(n)));
            assert_eq!(bytes, content(n), "{context}: {n}");
        }
    }

    /// Each file is at one place alone; a comparison finds nothing, and nobody has anything left to do.
    #[track_caller]
    fn assert_whole(&self, context: &str) {
        self.assert_readable(context);
        for n in 1..=self.count {
            let [one, two] = &self.ends;
            let other = if self.end(n).name == one.name { two } else { one };
            assert_eq!(other.get(&key("permits", n)), None, "{context}: {n} is at both");
            let told = self.end(n).get(&(key("permits", n) + ".meta.json"));
            if let Some(told) = told {
                let told: Value = serde_json::from_slice(&told).unwrap();
                assert_eq!(told["provider_path"], self.path(n), "{context}");
            }
        }
        assert_eq!(unsettled(&self.town), 0, "{context}");
        for end in &self.ends {
            let look = self.town.cleanup(&["--provider", &end.name, "--min-age", "0"]);
            let left = [
                "orphanedObjects",
                "orphanedRecords",
                "mismatches",
                "misplaced",
                "sidecarsWithoutObject",
                "foreign",
            ]
            .map(|count| look.count(count));
            assert_eq!(left, [0; 6], "{context}: {}", look.stdout);
        }
    }
}

fn content(n: u32) -> Vec<u8> {
    format!("bytes of {n}").into_bytes()
}

fn there_and_back(two: &Two) {
    let before = rows(two.town.db());
    let run = two.migrate();
    assert_eq!(run.code, 0, "{run:?}");
    let data = run.json()["data"].clone();
    assert_eq!(data["successfulCount"], two.count);
    let [one, other] = &two.ends;
    let first = &data["successful"][0];
    assert_eq!(
        [&first["provider"], &first["previousProvider"]],
        [&json!(other.name), &json!(one.name)]
    );
    two.assert_whole("migrated");
    assert_eq!(two.end(1).name, other.name);
    let trashed = format!(".trash/{}/{}", run_id(&run), key("permits", 1));
    assert_eq!(
        one.get(&trashed),
        Some(content(1)),
        "the original is in the trash"
    );
    let again = two.migrate();
    assert_eq!((again.code, &again.json()["data"]["total"]), (0, &json!(0)));

    let undone = two.undo(&run_id(&run));
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(undone.json()["data"]["successfulCount"], two.count);
    two.assert_whole("undone");
    assert_eq!(rows(two.town.db()), before);
    assert_eq!(one.get(&trashed), None, "it came back out of the trash");
    let twice = two.undo(&run_id(&run));
    assert_eq!((twice.code, &twice.json()["data"]["total"]), (0, &json!(0)));
    // The undo is undone like anything else.
    let forth = two.undo(&run_id(&undone));
    assert_eq!(forth.code, 0, "{forth:?}");
    two.assert_whole("undone and done again");
    assert_eq!(two.end(1).name, other.name);
}

fn killed_anywhere(make: impl Fn() -> Option<Two>) {
    for point in POINTS {
        let Some(two) = make() else { return };
        let before = rows(two.town.db());
        killed(&two.town, point, &two.args());
        two.assert_readable(point);
        let next = two.migrate();
        assert_eq!(next.code, 0, "{point}: {next:?}");
        two.assert_whole(point);
        assert_eq!(two.end(1).name, two.ends[1].name, "{point}");
        // What the killed run has done, and what the next one.
        let runs =
            "SELECT id FROM civic_storage_runs WHERE operation = 'storage:migrate' ORDER BY started_at";
        let runs: Vec<String> = {
            let mut statement = two.town.db().prepare(runs).unwrap();
            let found = statement.query_map([], |row| row.get(0)).unwrap();
            found.map(Result::unwrap).collect()
        };
        for run in runs {
            let undone = two.undo(&run);
            assert_eq!(undone.code, 0, "{point}: {undone:?}");
        }
        two.assert_whole(point);
        assert_eq!(rows(two.town.db()), before, "{point}");
    }
}

fn undo_killed_anywhere(make: impl Fn() -> Option<Two>) {
    for point in POINTS {
        if point.starts_with("migrate.") {
            // What comes out of the trash is not put.
            continue;
        }
        let Some(two) = make() else { return };
        let before = rows(two.town.db());
        let run = run_id(&two.migrate());
        killed(&two.town, point, &["storage:undo", "--yes", &run]);
        two.assert_readable(point);
        let next = two.undo(&run);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        two.assert_whole(point);
        assert_eq!(rows(two.town.db()), before, "{point}");
    }
}

#[test]
fn files_go_from_disk_to_disk_and_back() {
    there_and_back(&Two::disks(3));
}

#[test]
fn killed_anywhere_between_disks_every_file_can_be_read_and_the_next_run_ends_it() {
    killed_anywhere(|| Some(Two::disks(3)));
    undo_killed_anywhere(|| Some(Two::disks(3)));
}

#[test]
fn a_recovery_that_is_killed_is_taken_up_by_the_next_command() {
    for died_at in ["move.after-copies", "move.after-switch", "move.after-remove"] {
        for point in [
            "recover.after-copy",
            "recover.after-switch",
            "recover.after-act",
            "recover.after-settle",
        ] {
            let context = format!("{died_at}, then {point}");
            let two = Two::disks(2);
            killed(&two.town, died_at, &two.args());
            let mut again = two.town.process();
            again.args(two.args()).env("CIVIC_FAILPOINT", point);
            again.output().unwrap();
            two.assert_readable(&context);
            assert_eq!(two.migrate().code, 0, "{context}");
            two.assert_whole(&context);
        }
    }
}

#[test]
fn a_dry_run_and_a_migration_that_nobody_agreed_to_change_nothing() {
    let two = Two::disks(2);
    let before = two.town.env().tree();
    let run = two.town.civic(&[&two.args()[..], &["--dry-run"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    let data = run.json()["data"].clone();
    assert_eq!(
        (&data["successfulCount"], &data["dryRun"], &data["runId"]),
        (&json!(2), &json!(true), &Value::Null)
    );
    assert!(
        run.stderr.contains("active_provider, which is attic"),
        "{}",
        run.stderr
    );
    before.assert_unchanged(&two.town.env().tree());
    let unasked: Vec<&str> = two.args().into_iter().filter(|arg| *arg != "--yes").collect();
    assert_eq!(two.town.civic(&unasked).code, 8);
    two.assert_readable("not asked");
    assert_eq!(two.end(1).name, "attic");
}

#[test]
fn wrong_usage_has_its_exit_codes_and_changes_nothing() {
    let two = Two::disks(1);
    let before = two.town.env().tree();
    for (args, code, said) in [
        (&["--from", "attic"][..], 2, "--to"),
        (&["--from", "attic", "--to", "attic"], 2, "there already"),
        (&["--from", "attic", "--to", "vualt"], 2, "vault"),
        (&["--from", "atic", "--to", "vault"], 2, "attic"),
        (&["--from", "attic", "--to", "vault", "--rebase"], 2, "--rebase"),
        (
            &["--from", "attic", "--to", "vault", "--folder", "permit"],
            2,
            "permits",
        ),
    ] {
        let run = two
            .town
            .civic(&[&["storage:migrate", "--yes", "--dry-run"], args].concat());
        assert_eq!(run.code, code, "{args:?}: {run:?}");
        assert!((run.stdout + &run.stderr).contains(said), "{args:?}");
    }
    before.assert_unchanged(&two.town.env().tree());
}

#[test]
fn a_provider_that_is_not_there_is_told_before_anything_is_done() {
    let two = Two::disks(1);
    fs::remove_dir(&two.ends[1].root).unwrap();
    let run = two.migrate();
    assert_eq!(run.code, 5, "{run:?}");
    two.assert_readable("no target");
    assert_eq!(unsettled(&two.town), 0);
}

#[test]
fn two_at_once_on_a_provider_are_one_and_a_refusal() {
    let two = Two::disks(2);
    let first = Stopped::command(&two.town, "move.after-copies", &two.args());
    let second = two.migrate();
    assert_eq!(second.code, 7, "{second:?}");
    for end in &two.ends {
        let cleanup = two
            .town
            .cleanup(&["--apply", "--yes", "--provider", &end.name, "--min-age", "0"]);
        assert_eq!(cleanup.code, 7, "{}", cleanup.stdout);
    }
    let look = two.town.cleanup(&["--min-age", "0"]);
    assert_eq!(
        ["orphanedObjects", "orphanedRecords"].map(|count| look.count(count)),
        [0; 2],
        "{}",
        look.stdout
    );
    assert_eq!(first.go_on().code, 0);
    two.assert_whole("both");
}

#[test]
fn a_folder_goes_alone_and_what_cannot_go_stays() {
    let two = Two::disks(5);
    let [one, other] = &two.ends;
    let edit = |n: u32, assignment: &str| {
        let sql = format!("UPDATE storage_files SET {assignment} WHERE id = ?1");
        two.town.db().execute(&sql, [uuid(n)]).unwrap();
    };
    edit(1, "folder = 'public'");
    other.put(&key("permits", 2), b"another's");
    fs::remove_file(format!("{}/{}", one.root, key("permits", 3))).unwrap();
    edit(4, "size = 4711");
    let run = two
        .town
        .civic(&[&two.args()[..], &["--folder", "permits"]].concat());
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.items("successful", "id"), [uuid(5)]);
    let failed = run.json()["data"]["failed"].clone();
    for (at, n, code, said) in [
        (0, 2, "STORAGE_ERROR", "nothing is overwritten"),
        (1, 3, "STORAGE_FILE_NOT_FOUND", "nothing was moved"),
        (2, 4, "STORAGE_INTEGRITY_ERROR", "4711"),
    ] {
        assert_eq!(
            [&failed[at]["file"], &failed[at]["errorCode"]],
            [&json!(uuid(n)), &json!(code)],
            "{failed}"
        );
        assert!(failed[at]["error"].as_str().unwrap().contains(said), "{failed}");
    }
    assert_eq!([1, 2, 4].map(|n| two.end(n).name.as_str()), ["attic"; 3]);
    assert_eq!(other.get(&key("permits", 2)).unwrap(), b"another's");
    assert_eq!(unsettled(&two.town), 0);
}

/// Uploads one file through the program, which keeps its checksum, and gives its id and key.
fn uploaded(two: &Two, bytes: &[u8]) -> (String, String) {
    let file = two.town.env().tmp().join("uploaded.bin");
    fs::write(&file, bytes).unwrap();
    let run = two.town.civic(&[
        "storage:upload",
        file.to_str().unwrap(),
        "--folder",
        "permits",
        "--json",
    ]);
    assert_eq!(run.code, 0, "{run:?}");
    let stored = run.json()["data"]["successful"][0].clone();
    let text = |name: &str| stored[name].as_str().unwrap().to_owned();
    (text("id"), text("relativePath"))
}

#[test]
fn bytes_that_are_not_those_that_were_stored_do_not_go() {
    let two = Two::disks(0);
    let (_, at) = uploaded(&two, b"as it was stored");
    let (id, large) = uploaded(&two, &vec![b'a'; 11 << 20]);
    two.ends[0].put(&at, b"as it was spoilt");
    let mut spoilt = vec![b'a'; 11 << 20];
    spoilt[7 << 20] = b'b';
    two.ends[0].put(&large, &spoilt);
    let before = files(two.ends[1].root.as_ref());
    let run = two.migrate();
    assert_eq!(run.code, 1, "{run:?}");
    let failed = run.json()["data"]["failed"].clone();
    assert_eq!(failed.as_array().unwrap().len(), 2, "{failed}");
    for item in failed.as_array().unwrap() {
        assert_eq!(item["errorCode"], "STORAGE_INTEGRITY_ERROR", "{failed}");
        assert!(item["error"].as_str().unwrap().contains("SHA-256"), "{failed}");
    }
    assert!(two.town.civic(&["storage:info", &id]).stdout.contains("attic"));
    assert_eq!(files(two.ends[1].root.as_ref()), before, "nothing came there");
    assert_eq!(unsettled(&two.town), 0);
}

#[test]
fn a_record_that_is_edited_meanwhile_stays_edited_and_one_that_is_deleted_does_not_come_back() {
    let two = Two::disks(3);
    let stopped = Stopped::command(&two.town, "move.after-copies", &two.args());
    let edit = "UPDATE storage_files SET description = 'edited' WHERE id = ?1";
    two.town.db().execute(edit, [uuid(1)]).unwrap();
    two.town
        .db()
        .execute("DELETE FROM storage_files WHERE id = ?1", [uuid(2)])
        .unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(run.items("failed", "file"), [uuid(2)]);
    let told = two.ends[1].get(&(key("permits", 1) + ".meta.json")).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["description"], "edited");
    assert_eq!([1, 3].map(|n| two.end(n).name.as_str()), ["vault"; 2]);
    assert_eq!(
        two.ends[0].get(&key("permits", 2)).unwrap(),
        content(2),
        "as before"
    );
    assert_eq!(two.ends[1].get(&key("permits", 2)), None, "the copy went");
    let undone = two.undo(&run_id(&run));
    assert_eq!(undone.code, 0, "{undone:?}");
    let description: String = two
        .town
        .db()
        .query_row(
            "SELECT description FROM storage_files WHERE id = ?1",
            [uuid(1)],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(description, "edited");
    assert_eq!(unsettled(&two.town), 0);
}

#[test]
fn the_only_copy_left_is_never_taken_away() {
    // Somebody deletes record and original while the copy is there.
    let two = Two::disks(2);
    let stopped = Stopped::command(&two.town, "move.after-copies", &two.args());
    fs::remove_file(format!("{}/{}", two.ends[0].root, key("permits", 1))).unwrap();
    two.town
        .db()
        .execute("DELETE FROM storage_files WHERE id = ?1", [uuid(1)])
        .unwrap();
    let run = stopped.go_on();
    assert_eq!(run.code, 3, "{run:?}");
    assert_eq!(two.ends[1].get(&key("permits", 1)).unwrap(), content(1));
    assert_eq!(unsettled(&two.town), 0);

    // The original is written to while its copy takes over: both stay.
    let two = Two::disks(2);
    let stopped = Stopped::command(&two.town, "move.after-copies", &two.args());
    two.ends[0].put(&key("permits", 1), b"other bytes");
    let run = stopped.go_on();
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(two.ends[0].get(&key("permits", 1)).unwrap(), b"other bytes");
    assert_eq!(two.ends[1].get(&key("permits", 1)).unwrap(), content(1));
    assert!(run.stderr.contains("different bytes"), "{}", run.stderr);
}

#[test]
fn what_a_migration_left_in_the_trash_goes_by_its_rules_and_the_file_stays() {
    let two = Two::disks(2);
    let run = run_id(&two.migrate());
    let list = two.town.civic(&["storage:trash", "list", "--json"]);
    let items = list.json()["data"]["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2);
    assert_eq!(
        [&items[0]["provider"], &items[0]["migratedTo"]],
        ["attic", "vault"]
    );
    // Brought home by id.
    let home = two
        .town
        .civic(&["storage:trash", "restore", &uuid(1), "--yes", "--json"]);
    assert_eq!(home.code, 0, "{home:?}");
    assert_eq!([1, 2].map(|n| two.end(n).name.as_str()), ["attic", "vault"]);
    two.assert_whole("one is home");
    let emptied = two
        .town
        .civic(&["storage:trash", "empty", "--older-than", "0", "--yes", "--json"]);
    assert_eq!(emptied.code, 0, "{emptied:?}");
    assert_eq!(emptied.json()["data"]["successfulCount"], 2);
    two.assert_whole("emptied");
    for end in &two.ends {
        let left = files(end.root.as_ref());
        assert!(left.keys().all(|name| !name.starts_with(".trash")), "{left:?}");
    }
    let undone = two.undo(&run);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("emptied"), "{}", undone.stdout);
    two.assert_whole("still there");
}

#[test]
fn what_the_other_provider_has_lost_comes_back_out_of_the_trash() {
    let two = Two::disks(2);
    let run = run_id(&two.migrate());
    fs::remove_file(format!("{}/{}", two.ends[1].root, key("permits", 1))).unwrap();
    fs::write(
        format!("{}/{}", two.ends[1].root, key("permits", 2)),
        "BYTES OF 2",
    )
    .unwrap();
    let undone = two.undo(&run);
    assert_eq!(undone.code, 3, "{undone:?}");
    assert_eq!(
        undone.items("failed", "file"),
        [uuid(2)],
        "it was written to since"
    );
    assert_eq!(two.ends[0].get(&key("permits", 1)).unwrap(), content(1));
    assert_eq!([1, 2].map(|n| two.end(n).name.as_str()), ["attic", "vault"]);
    assert_eq!(unsettled(&two.town), 0);
}

fn an_update_is_undone_where_the_file_is(two: &Two) {
    let update = ["storage:update", &uuid(1), "--description", "new", "--json"];
    let updated = two.town.civic(&update);
    assert_eq!(updated.code, 0, "{updated:?}");
    assert_eq!(two.migrate().code, 0);
    let sidecar = || {
        let found = two.ends[1].get(&format!("{}.meta.json", key("permits", 1)));
        serde_json::from_slice::<Value>(&found.expect("a sidecar")).unwrap()
    };
    assert_eq!(sidecar()["description"], "new");
    let undone = two.undo(&run_id(&updated));
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(
        sidecar()["description"],
        Value::Null,
        "the sidecar tells what the row says"
    );
}

#[test]
fn an_update_that_is_undone_after_a_migration_reaches_the_sidecar_where_the_file_is_now() {
    an_update_is_undone_where_the_file_is(&Two::disks(1));
    let two = Two::disks(1);
    let updated = two
        .town
        .civic(&["storage:update", &uuid(1), "--description", "new", "--json"]);
    assert_eq!(two.migrate().code, 0);
    killed(
        &two.town,
        "undo.after-intend",
        &["storage:undo", "--yes", &run_id(&updated)],
    );
    assert_eq!(two.migrate().code, 0, "recovers");
    let told = two.ends[1]
        .get(&format!("{}.meta.json", key("permits", 1)))
        .unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(
        told["description"],
        Value::Null,
        "killed, and ended by the next run"
    );
    assert_eq!(unsettled(&two.town), 0);
}

#[test]
fn a_recovery_waits_for_both_providers() {
    let two = Two::disks(3);
    killed(&two.town, "move.after-switch", &two.args());
    let away = format!("{}.away", two.ends[1].root);
    fs::rename(&two.ends[1].root, &away).unwrap();
    let update = two
        .town
        .civic(&["storage:update", &uuid(3), "--description", "new"]);
    assert_ne!(update.code, 0, "its record is being moved: {update:?}");
    assert!(unsettled(&two.town) > 0);
    fs::rename(&away, &two.ends[1].root).unwrap();
    assert_eq!(two.migrate().code, 0);
    two.assert_whole("both are there again");
}

#[test]
fn records_of_an_old_root_are_given_the_path_that_their_files_have() {
    let two = Two::disks(3);
    let (root, old) = (two.ends[0].root.clone(), "/srv/old/storage");
    let yaml = format!("  attic: {{ type: local, path: {root}, aliases: [{old}] }}");
    two.town.providers(&yaml);
    let old_path = |n: u32| {
        two.town
            .db()
            .execute(
                "UPDATE storage_files SET provider_path = ?1 WHERE id = ?2",
                (format!("{old}/{}", key("permits", n)), uuid(n)),
            )
            .unwrap();
    };
    old_path(1);
    old_path(2);
    fs::remove_file(format!("{root}/{}", key("permits", 2))).unwrap();
    two.ends[0].put(&(key("permits", 1) + ".meta.json"), b"{\"extra\": 1}");
    let before = (files(root.as_ref()), rows(two.town.db()));
    let dry = two
        .town
        .civic(&["storage:migrate", "--rebase", "--dry-run", "--json"]);
    assert_eq!(dry.code, 3, "{dry:?}");
    assert_eq!(dry.items("successful", "id"), [uuid(1)]);
    assert_eq!((files(root.as_ref()), rows(two.town.db())), before);

    for point in [
        "rebase.after-intend",
        "rebase.after-sidecars",
        "rebase.after-settle",
    ] {
        killed(&two.town, point, &["storage:migrate", "--rebase"]);
        let run = two.town.civic(&["storage:migrate", "--rebase", "--json"]);
        assert_eq!(run.code, 1, "{point}: {run:?}");
        assert_eq!(
            run.items("failed", "file"),
            [uuid(2)],
            "{point}: its object is not there"
        );
        assert_eq!(two.path(1), format!("{root}/{}", key("permits", 1)), "{point}");
        assert_eq!(two.path(2), format!("{old}/{}", key("permits", 2)), "{point}");
        let told = two.ends[0].get(&(key("permits", 1) + ".meta.json")).unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(
            [&told["provider_path"], &told["extra"]],
            [&json!(two.path(1)), &json!(1)]
        );
        assert_eq!(unsettled(&two.town), 0, "{point}");
        // The killed run is undone like any other.
        let sql = "SELECT run_id FROM civic_storage_steps WHERE file_id = ?1 AND state = 'settled' AND undoes_run IS NULL";
        let run: String = two.town.db().query_row(sql, [uuid(1)], |row| row.get(0)).unwrap();
        let undone = two.undo(&run);
        assert_eq!(undone.code, 0, "{point}: {undone:?}");
        assert_eq!(rows(two.town.db()), before.1, "{point}");
    }
}

mod needs_server {
    use super::*;
    use crate::common::TestEnv;

    #[test]
    fn files_go_to_every_kind_of_provider_and_back() {
        let (Some(seaweed), Some(azurite), Some(gcs)) =
            (TestEnv::seaweed(), TestEnv::azurite(), TestEnv::gcs())
        else {
            return;
        };
        there_and_back(&Two::to(3, seaweed));
        there_and_back(&Two::to(3, azurite));
        there_and_back(&Two::to(3, gcs));
    }

    #[test]
    fn files_come_from_every_kind_of_provider_and_go_back() {
        let (Some(seaweed), Some(azurite), Some(gcs)) =
            (TestEnv::seaweed(), TestEnv::azurite(), TestEnv::gcs())
        else {
            return;
        };
        there_and_back(&Two::from(3, seaweed));
        there_and_back(&Two::from(3, azurite));
        there_and_back(&Two::from(3, gcs));
    }

    #[test]
    fn files_go_between_buckets_and_back() {
        let (Some(seaweed), Some(azurite)) = (TestEnv::seaweed(), TestEnv::azurite()) else {
            return;
        };
        there_and_back(&Two::new(3, |_| [End::remote(seaweed), End::remote(azurite)]));
        let (Some(azurite), Some(gcs)) = (TestEnv::azurite(), TestEnv::gcs()) else {
            return;
        };
        there_and_back(&Two::new(3, |_| [End::remote(azurite), End::remote(gcs)]));
        let (Some(gcs), Some(seaweed)) = (TestEnv::gcs(), TestEnv::seaweed()) else {
            return;
        };
        there_and_back(&Two::new(3, |_| [End::remote(gcs), End::remote(seaweed)]));
    }

    #[test]
    fn killed_anywhere_on_the_way_to_seaweedfs_every_file_can_be_read() {
        killed_anywhere(|| Some(Two::to(3, TestEnv::seaweed()?)));
    }

    #[test]
    fn killed_anywhere_on_the_way_from_azurite_every_file_can_be_read() {
        killed_anywhere(|| Some(Two::from(3, TestEnv::azurite()?)));
    }

    #[test]
    fn killed_anywhere_an_undo_between_gcs_and_disk_is_ended_by_the_next() {
        undo_killed_anywhere(|| Some(Two::to(3, TestEnv::gcs()?)));
    }

    /// A file in parts and an empty one, with a name that headers cannot hold as it is: round all four providers.
    #[test]
    fn a_large_file_goes_round_all_providers_and_is_the_same() {
        let (Some(seaweed), Some(azurite), Some(gcs)) =
            (TestEnv::seaweed(), TestEnv::azurite(), TestEnv::gcs())
        else {
            return;
        };
        let town = Deployment::new();
        let ends = [
            End::disk(&town, "attic"),
            End::remote(seaweed),
            End::remote(azurite),
            End::remote(gcs),
        ];
        let yaml: Vec<&str> = ends.iter().map(|(_, yaml)| yaml.as_str()).collect();
        town.providers(&yaml.join("\n"));
        let bytes: Vec<u8> = (0_u32..3 << 20).flat_map(u32::to_le_bytes).collect();
        let from = town.env().tmp().join("Procès 会議録.bin");
        fs::write(&from, &bytes).unwrap();
        let empty = town.env().tmp().join("empty.bin");
        fs::write(&empty, b"").unwrap();
        let paths = [from.to_str().unwrap(), empty.to_str().unwrap()];
        let up = town.civic(&[
            "storage:upload",
            paths[0],
            paths[1],
            "--folder",
            "permits",
            "--json",
        ]);
        assert_eq!(up.code, 0, "{up:?}");
        let id = up.json()["data"]["successful"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["size"] != 0)
            .unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let names: Vec<&str> = ends.iter().map(|(end, _)| end.name.as_str()).collect();
        for at in 0..names.len() {
            let (from, to) = (names[at], names[(at + 1) % names.len()]);
            let run = town.civic(&["storage:migrate", "--yes", "--json", "--from", from, "--to", to]);
            assert_eq!(run.code, 0, "{from} to {to}: {run:?}");
            assert_eq!(run.json()["data"]["successfulCount"], 2, "{from} to {to}");
            let verified = town.civic(&["storage:verify", "--checksum", "--fail-on-findings", "--json"]);
            assert_eq!(verified.code, 0, "{from} to {to}: {verified:?}");
            assert_eq!(verified.json()["data"]["verified"], 2, "{verified:?}");
            let out = town.env().tmp().join("out.bin");
            let down = town.civic(&["storage:download", &id, "--out", out.to_str().unwrap(), "--force"]);
            assert_eq!(down.code, 0, "{from} to {to}: {down:?}");
            assert!(fs::read(&out).unwrap() == bytes, "{from} to {to}");
        }
    }
}
