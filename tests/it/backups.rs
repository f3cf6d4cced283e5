//! Copies on backup providers: made with the upload, read when the file's own provider cannot give it, gone with the file.

use std::fs;
use std::path::PathBuf;

use crate::common::deployment::{Deployment, Run};
use crate::delete::{killed, rows};
use crate::failover::nobody;
use crate::reconstruct::{lose, reconstruct};

/// `local` is active; copies go to `attic`.
fn town(more: &str) -> Deployment {
    let town = Deployment::new();
    fs::create_dir_all(attic(&town)).unwrap();
    let local = format!("  local: {{ type: local, path: {} }}", town.storage().display());
    let attic = format!("  attic: {{ type: local, path: {} }}", attic(&town).display());
    town.providers(&format!("{local}\n{attic}\n{more}"));
    let backups = if more.is_empty() { "attic" } else { "attic, s3" };
    town.env()
        .edit_config(|yaml| format!("{yaml}\nbackup_providers: [{backups}]\ncross_provider_backup: true\n"));
    town
}

fn attic(town: &Deployment) -> PathBuf {
    town.env().tmp().join("attic")
}

fn upload(town: &Deployment, count: usize) -> Run {
    let mut args = vec![
        "storage:upload".to_owned(),
        "--json".into(),
        "--folder".into(),
        "permits".into(),
    ];
    for n in 0..count {
        let path = town.env().tmp().join(format!("{n}.txt"));
        fs::write(&path, format!("file {n}")).unwrap();
        args.push(path.to_str().unwrap().to_owned());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    town.civic(&args)
}

/// Names and bytes of all files below, the trash and the reserved names aside.
fn below(root: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join("permits")).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".meta.json") {
            found.push((name, fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

fn id(run: &Run) -> String {
    run.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn every_file_has_a_copy_and_no_cleanup_takes_it_for_an_orphan() {
    let town = town("");
    let run = upload(&town, 5);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(below(&town.storage()).len(), 5);
    assert_eq!(below(&town.storage()), below(&attic(&town)));
    let look = town.cleanup(&["--min-age", "0"]);
    let counts = &look.json()["data"]["counts"];
    assert_eq!(
        (&counts["orphanedObjects"], &counts["misplaced"]),
        (&0.into(), &5.into()),
        "{counts}"
    );
}

#[test]
fn what_its_provider_lost_damaged_or_cannot_give_comes_from_the_copy() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let (name, bytes) = below(&town.storage()).remove(0);
    let (own, away) = (
        town.storage().join("permits").join(&name),
        town.env().tmp().join("away"),
    );
    let out = town.env().tmp().join("out.txt");
    let fetch = || {
        let run = town.civic(&["storage:download", &id, "--force", "--out", out.to_str().unwrap()]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(run.stderr.contains("its copy on attic"), "{}", run.stderr);
        assert_eq!(fs::read(&out).unwrap(), bytes);
    };
    fs::write(&own, b"filE 0").unwrap();
    fetch();
    fs::remove_file(&own).unwrap();
    fetch();
    fs::rename(town.storage(), &away).unwrap();
    fetch();
    let piped = town.civic(&["storage:download", &id, "--out", "-"]);
    assert_eq!(piped.stdout.as_bytes(), bytes, "{piped:?}");
    fs::write(attic(&town).join("permits").join(&name), b"other!").unwrap();
    let run = town.civic(&["storage:download", &id, "--force", "--out", out.to_str().unwrap()]);
    assert_eq!(
        run.code, 5,
        "a copy is compared, too, and the error is the provider's own: {run:?}"
    );
}

#[test]
fn a_copy_goes_with_its_file_and_comes_back_with_it() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let before = (below(&town.storage()), below(&attic(&town)));
    let gone = town.civic(&["storage:delete", &id, "--yes", "--json"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert!(below(&town.storage()).is_empty() && below(&attic(&town)).is_empty());
    let run = gone.json()["data"]["runId"].as_str().unwrap().to_owned();
    // A copy is no file of its own, for nobody who counts.
    let is_one = |of: &serde_json::Value| {
        (
            of["total"] == 1,
            of["copies"]["total"] == 1,
            of["copies"]["bytes"] == 6,
        )
    };
    let list = town.civic(&["storage:trash", "list", "--json"]).json();
    assert_eq!(is_one(&list["data"]), (true, true, true), "{list}");
    assert_eq!(list["data"]["items"].as_array().unwrap().len(), 1, "{list}");
    let plan = town.civic(&["storage:undo", &run, "--dry-run"]);
    assert!(
        plan.stdout.contains("1 file and 1 copy would be put back"),
        "{plan:?}"
    );
    let back = town.civic(&["storage:undo", &run, "--yes", "--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    let back = back.json();
    assert_eq!(is_one(&back["data"]), (true, true, true), "{back}");
    assert_eq!(back["message"], "1 file and 1 copy put back, 12 B", "{back}");
    assert_eq!((below(&town.storage()), below(&attic(&town))), before);
    assert_eq!(town.civic(&["storage:delete", &id, "--yes"]).code, 0);
    let all = ["storage:trash", "empty", "--older-than", "0", "--yes", "--json"];
    let emptied = town.civic(&all).json();
    assert_eq!(is_one(&emptied["data"]), (true, true, true), "{emptied}");
    assert!(below(&town.storage()).is_empty() && below(&attic(&town)).is_empty());
    let id = self::id(&upload(&town, 1));
    let purged = town.civic(&["storage:delete", &id, "--purge", "--yes"]);
    assert_eq!(purged.code, 0, "{purged:?}");
    assert!(below(&town.storage()).is_empty() && below(&attic(&town)).is_empty());
    assert_eq!(town.cleanup(&["--min-age", "0", "--fail-on-findings"]).code, 0);
}

#[test]
fn a_copy_that_cannot_be_made_is_told_loudly_and_the_file_is_stored() {
    let town = town(&Deployment::s3(&nobody(), "bucket", ""));
    let run = upload(&town, 2);
    assert_eq!(run.code, 3, "{run:?}");
    let data = &run.json()["data"];
    assert_eq!(
        (&data["successfulCount"], &data["failedCount"]),
        (&2.into(), &0.into()),
        "{data}"
    );
    let missing = data["missingCopies"].as_array().unwrap();
    assert_eq!(missing.len(), 2, "{data}");
    assert!(
        missing[0]["error"]
            .as_str()
            .unwrap()
            .starts_with("no copy on s3: "),
        "{missing:?}"
    );
    assert_eq!(below(&attic(&town)).len(), 2, "the other backup has its copies");
    let runs = town.civic(&["storage:runs", "--json"]);
    assert_eq!(
        runs.json()["data"]["runs"][0]["status"],
        "partial",
        "{}",
        runs.stdout
    );
}

#[test]
fn killed_around_the_copies_nothing_is_lost_and_the_next_run_ends_it() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let points = [
        "delete.after-intend",
        "delete.after-act",
        "delete.after-settle",
        "copies.after-act",
    ];
    for point in points {
        killed(&town, point, &["storage:delete", &id, "--yes"]);
        let runs = town.civic(&["storage:runs", "--json"]);
        let run = runs.json()["data"]["runs"][0]["id"].as_str().unwrap().to_owned();
        let back = town.civic(&["storage:undo", &run, "--yes"]);
        assert_eq!(back.code, 0, "{point}: {back:?}");
        assert_eq!(below(&town.storage()), below(&attic(&town)), "{point}");
        assert_eq!(below(&town.storage()).len(), 1, "{point}");
    }
}

fn killed_after_its_copies(town: &Deployment) {
    let file = town.env().tmp().join("0.txt");
    fs::write(&file, "file 0").unwrap();
    let args = ["storage:upload", "--folder", "permits", file.to_str().unwrap()];
    killed(town, "upload.after-copies", &args);
    assert_eq!(below(&attic(town)).len(), 1);
}

#[test]
fn the_copies_of_an_upload_that_died_go_to_the_trash_with_what_it_put() {
    for point in [
        None,
        Some("recover.after-intent"),
        Some("recover.after-withdrawal"),
        Some("recover.after-act"),
    ] {
        let town = town("");
        killed_after_its_copies(&town);
        if let Some(point) = point {
            killed(
                &town,
                point,
                &["storage:trash", "empty", "--older-than", "1d", "--yes"],
            );
        }
        assert_eq!(upload(&town, 1).code, 0, "{point:?}");
        assert_eq!(
            (below(&town.storage()).len(), below(&attic(&town)).len()),
            (1, 1),
            "{point:?}"
        );
        let look = town.cleanup(&["--min-age", "0"]);
        assert_eq!(look.count("orphanedRecords"), 0, "{point:?}: {look:?}");
        assert_eq!(look.count("orphanedObjects"), 0, "{point:?}: {look:?}");
        let trash = |root: PathBuf| {
            let runs = fs::read_dir(root.join(".trash")).unwrap();
            let files = runs.flat_map(|run| fs::read_dir(run.unwrap().path().join("permits")).unwrap());
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.ends_with(".meta.trash")).count()
        };
        assert_eq!((trash(town.storage()), trash(attic(&town))), (1, 1), "{point:?}");
    }
}

#[test]
fn an_upload_that_died_waits_for_the_provider_of_its_copies_but_not_for_one_that_is_gone() {
    let town = town("");
    killed_after_its_copies(&town);
    let (away, storage) = (town.env().tmp().join("away"), attic(&town));
    fs::rename(&storage, &away).unwrap();
    let args = ["storage:trash", "empty", "--older-than", "1d", "--yes"];
    let run = town.civic(&args);
    assert!(run.stderr.contains("could not be recovered yet"), "{run:?}");
    fs::rename(&away, &storage).unwrap();
    assert_eq!(town.civic(&args).code, 0);
    assert!(below(&storage).is_empty() && below(&town.storage()).is_empty());
    // One that storage.yml has no more keeps nobody waiting.
    killed_after_its_copies(&town);
    let local = format!("  local: {{ type: local, path: {} }}", town.storage().display());
    town.providers(&local);
    town.env()
        .edit_config(|yaml| yaml.replace("backup_providers: [attic]", "backup_providers: []"));
    let run = town.civic(&args);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(!run.stderr.contains("could not be recovered"), "{run:?}");
    assert!(below(&town.storage()).is_empty());
}

#[test]
fn killed_while_it_goes_for_good_a_file_takes_its_copy_along_with_the_next_run() {
    for point in ["delete.after-intend", "delete.after-act", "delete.after-settle"] {
        let town = town("");
        let id = id(&upload(&town, 1));
        killed(&town, point, &["storage:delete", &id, "--purge", "--yes"]);
        assert_eq!(town.civic(&["storage:trash", "empty", "--yes"]).code, 0);
        assert!(below(&town.storage()).is_empty(), "{point}");
        assert!(below(&attic(&town)).is_empty(), "{point}");
    }
}

#[test]
fn a_file_that_is_restored_from_the_trash_has_its_copy_again() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let before = below(&attic(&town));
    assert_eq!(town.civic(&["storage:delete", &id, "--yes"]).code, 0);
    let back = town.civic(&["storage:trash", "restore", &id, "--yes"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(
        town.civic(&["storage:trash", "empty", "--older-than", "0", "--yes"])
            .code,
        0
    );
    assert_eq!(below(&attic(&town)), before);
    assert_eq!(below(&town.storage()), before);
}

#[test]
fn the_copy_on_a_silent_provider_is_a_pending_deletion() {
    let town = town(&Deployment::s3(&nobody(), "bucket", ""));
    let id = id(&upload(&town, 1));
    let sql = "INSERT INTO civic_storage_copies SELECT id, 's3', relative_path FROM storage_files";
    town.db().execute(sql, []).unwrap();
    let run = town.civic(&["storage:delete", &id, "--yes", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stderr
            .contains("goes with the next run that changes something"),
        "{}",
        run.stderr
    );
    let steps = town.civic(&[
        "storage:runs",
        run.json()["data"]["runId"].as_str().unwrap(),
        "--json",
    ]);
    let steps = steps.json()["data"]["steps"].clone();
    let pending = steps
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["provider"] == "s3")
        .unwrap();
    assert_eq!(pending["state"], "intended", "{steps}");
}

#[test]
fn copies_keep_no_cleanup_from_its_work() {
    let town = town("");
    assert_eq!(upload(&town, 4).code, 0);
    let run = town.civic(&["storage:cleanup", "--apply", "--yes", "--json", "--min-age", "0"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(below(&attic(&town)).len(), 4);
    let made = town.civic(&["storage:reconstruct", "--dry-run", "--json", "--min-age", "0"]);
    assert_eq!(made.code, 0, "a copy is no lost file: {made:?}");
}

/// Where the record says that the one file is.
fn path(town: &Deployment) -> PathBuf {
    let sql = "SELECT provider_path FROM storage_files";
    let path: String = town.db().query_row(sql, [], |row| row.get(0)).unwrap();
    path.into()
}

#[track_caller]
fn assert_fetched(town: &Deployment, id: &str, when: &str) {
    assert_eq!(fs::read_to_string(path(town)).unwrap(), "file 0", "{when}");
    let run = town.civic(&["storage:download", id, "--out", "-"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "file 0"), "{when}: {run:?}");
    assert!(!run.stderr.contains("its copy on"), "{when}: {}", run.stderr);
}

const TO_ATTIC: [&str; 7] = [
    "storage:migrate",
    "--from",
    "local",
    "--to",
    "attic",
    "--yes",
    "--json",
];

#[test]
fn migrated_to_where_its_copy_is_a_file_is_that_copy_and_an_undo_leaves_both() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let before = (below(&town.storage()), below(&attic(&town)));
    let run = town.civic(&TO_ATTIC);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(path(&town).starts_with(attic(&town)));
    assert_fetched(&town, &id, "migrated");
    assert_eq!(
        (below(&town.storage()), below(&attic(&town))),
        (Vec::new(), before.1.clone())
    );
    let run_id = run.json()["data"]["runId"].as_str().unwrap().to_owned();
    let back = town.civic(&["storage:undo", &run_id, "--yes", "--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert!(path(&town).starts_with(town.storage()));
    assert_fetched(&town, &id, "home again");
    assert_eq!((below(&town.storage()), below(&attic(&town))), before);
    assert!(
        !fs::read_dir(attic(&town).join("permits")).unwrap().any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .ends_with(".meta.json")
        }),
        "a copy has no sidecar"
    );
    assert_eq!(town.civic(&["storage:trash", "empty", "--yes"]).code, 0);
    assert_eq!((below(&town.storage()), below(&attic(&town))), before);
    // There again, and home by a migration: the copy stays a copy.
    assert_eq!(town.civic(&TO_ATTIC).code, 0);
    let home = ["storage:migrate", "--from", "attic", "--to", "local", "--yes"];
    assert_eq!(town.civic(&home).code, 0);
    assert_eq!((below(&town.storage()), below(&attic(&town))), before);
    assert_fetched(&town, &id, "migrated home");
}

#[test]
fn a_file_that_its_copy_became_is_deleted_once_and_comes_back() {
    let town = town("");
    let id = id(&upload(&town, 1));
    assert_eq!(town.civic(&TO_ATTIC).code, 0);
    let before = below(&attic(&town));
    let gone = town.civic(&["storage:delete", &id, "--yes", "--json"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert!(below(&attic(&town)).is_empty());
    let run = gone.json()["data"]["runId"].as_str().unwrap().to_owned();
    let steps = town.civic(&["storage:runs", &run, "--json"]).json();
    assert_eq!(steps["data"]["steps"].as_array().unwrap().len(), 1, "{steps}");
    let back = town.civic(&["storage:undo", &run, "--yes"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(below(&attic(&town)), before);
    assert_fetched(&town, &id, "back");
}

#[test]
fn a_copy_with_other_bytes_is_not_taken_for_the_file_and_nothing_of_either_goes() {
    for bytes in ["filE 0", "file 0 and more"] {
        let town = town("");
        let id = id(&upload(&town, 1));
        let (name, _) = below(&attic(&town)).remove(0);
        fs::write(attic(&town).join("permits").join(&name), bytes).unwrap();
        let run = town.civic(&TO_ATTIC);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(
            run.stdout.contains("nothing is overwritten") || run.stdout.contains("has other bytes"),
            "{run:?}"
        );
        assert!(path(&town).starts_with(town.storage()));
        assert_fetched(&town, &id, bytes);
        assert_eq!(below(&attic(&town)), [(name, bytes.as_bytes().to_vec())]);
    }
}

#[test]
fn killed_while_a_copy_becomes_the_file_it_can_be_read_and_the_copy_stays() {
    let points = [
        "move.after-intend",
        "move.after-sidecar",
        "move.after-copies",
        "move.after-switch",
        "move.after-remove",
        "move.after-removals",
    ];
    for point in points {
        let town = town("");
        let id = id(&upload(&town, 1));
        let copies = below(&attic(&town));
        let killed = |args: &[&str], when: &str| {
            killed(&town, point, args);
            assert_fetched(&town, &id, &format!("{when} {point}"));
            assert_eq!(below(&attic(&town)), copies, "{when} {point}");
            // Whatever writes next ends it.
            let other = town.civic(&["storage:update", &id, "--description", when]);
            assert_eq!(other.code, 0, "{when} {point}: {other:?}");
            assert_fetched(&town, &id, &format!("after {when} {point}"));
            assert_eq!(below(&attic(&town)), copies, "after {when} {point}");
        };
        killed(&TO_ATTIC, "migrated");
        if path(&town).starts_with(town.storage()) {
            assert_eq!(town.civic(&TO_ATTIC).code, 0, "{point}");
        }
        let runs = town.civic(&["storage:runs", "--operation", "storage:migrate", "--json"]);
        let run = runs.json()["data"]["runs"][0]["id"].as_str().unwrap().to_owned();
        killed(&["storage:undo", &run, "--yes"], "undone");
        let look = town.cleanup(&["--min-age", "0"]);
        assert_eq!(look.count("orphanedObjects"), 0, "{point}: {look:?}");
        assert_eq!(look.count("orphanedRecords"), 0, "{point}: {look:?}");
    }
}

#[test]
fn what_a_killed_migration_had_begun_is_told_when_it_is_ended_and_its_unfinished_file_goes() {
    let town = town("");
    let id = id(&upload(&town, 1));
    killed(&town, "move.after-switch", &TO_ATTIC);
    let unfinished = attic(&town).join(".civic/tmp/unfinished");
    fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
    fs::write(&unfinished, "half").unwrap();
    let run = town.civic(&TO_ATTIC);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["successfulCount"], 0, "{run:?}");
    let told = "what earlier runs had left was ended first";
    assert!(
        run.stderr.contains(told) && run.stderr.contains("1 step finished"),
        "{run:?}"
    );
    assert!(!unfinished.exists());
    assert_fetched(&town, &id, "ended");
    assert!(!town.civic(&TO_ATTIC).stderr.contains(told), "once");
}

#[test]
fn archived_where_its_copy_is_a_file_is_that_copy() {
    let town = town("");
    let id = id(&upload(&town, 1));
    let copies = below(&attic(&town));
    town.env().edit_config(|yaml| {
        format!(
            "{yaml}\nlifecycle:\n  policies:\n    - {{ name: old, folder: permits, action: archive, max_age: 365d, archive: {{ provider: attic }} }}\n"
        )
    });
    let old =
        "UPDATE storage_files SET created_at = '2020-01-01 00:00:00', updated_at = '2020-01-01 00:00:00'";
    town.db().execute(old, []).unwrap();
    let run = town.civic(&["storage:lifecycle", "--apply", "--yes", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(path(&town).starts_with(attic(&town)));
    assert_fetched(&town, &id, "archived");
    assert_eq!(below(&attic(&town)), copies);
}

/// The same town with its providers in the other order.
fn turned(town: &Deployment) {
    let (local, attic) = (
        format!("  local: {{ type: local, path: {} }}", town.storage().display()),
        format!("  attic: {{ type: local, path: {} }}", attic(town).display()),
    );
    town.env().edit_config(|yaml| {
        let order = format!("{local}\n{attic}");
        assert!(yaml.contains(&order) && yaml.contains("active_provider: local"));
        yaml.replace(&order, &format!("{attic}\n{local}"))
    });
}

/// A file's id, who has a copy of it, and where.
type Known = (String, String, String);

fn copies(town: &Deployment) -> Vec<Known> {
    let sql = "SELECT file_id, provider, key FROM civic_storage_copies ORDER BY file_id, provider";
    let mut statement = town.db().prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

type Rows = Vec<Vec<rusqlite::types::Value>>;

/// A town whose database was lost, and its rows and copies from before.
fn lost(count: usize) -> (Deployment, Rows, Vec<Known>) {
    let town = town("");
    assert_eq!(upload(&town, count).code, 0);
    let before = (rows(town.db()), copies(&town));
    assert_eq!((before.0.len(), before.1.len()), (count, count));
    lose(&town);
    (town, before.0, before.1)
}

#[test]
fn after_the_database_is_lost_files_are_files_and_copies_are_copies_in_whatever_order_providers_stand() {
    for is_turned in [false, true] {
        let (town, records, known) = lost(3);
        if is_turned {
            turned(&town);
        }
        let told = reconstruct(&town, &["--dry-run"]);
        let data = &told.json()["data"];
        let counts = [&data["total"], &data["copies"]["total"], &data["failedCount"]];
        assert_eq!(
            (told.code, counts),
            (0, [&3.into(), &3.into(), &0.into()]),
            "{told:?}"
        );
        assert_eq!(
            (rows(town.db()).len(), copies(&town).len()),
            (0, 0),
            "a dry run writes nothing"
        );
        let run = reconstruct(&town, &[]);
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!((rows(town.db()), copies(&town)), (records, known));
        let again = reconstruct(&town, &[]);
        assert_eq!(
            (again.code, &again.json()["message"]),
            (0, &"0 files reconstructed, 0 B".into()),
            "{again:?}"
        );
        // The copy serves again, and goes with its file.
        let (name, bytes) = below(&town.storage()).remove(0);
        fs::remove_file(town.storage().join("permits").join(&name)).unwrap();
        let path = format!("permits/{name}");
        let out = town.env().tmp().join("out");
        let fetched = town.civic(&["storage:download", &path, "--out", out.to_str().unwrap()]);
        assert_eq!((fetched.code, fs::read(&out).unwrap()), (0, bytes), "{fetched:?}");
        let left = below(&town.storage()).remove(0).0;
        let gone = town.civic(&["storage:delete", &format!("permits/{left}"), "--yes"]);
        assert_eq!(gone.code, 0, "{gone:?}");
        assert!(below(&attic(&town)).iter().all(|(name, _)| *name != left));
        let look = town.cleanup(&["--min-age", "0"]);
        assert_eq!(look.count("orphanedObjects"), 0, "{look:?}");
    }
}

#[test]
fn what_is_no_copy_is_not_written_down_as_one() {
    let (town, records, known) = lost(3);
    let names: Vec<String> = below(&attic(&town)).into_iter().map(|(name, _)| name).collect();
    let at = |name: &str| attic(&town).join("permits").join(name);
    fs::write(at(&names[0]), "of another size").unwrap();
    fs::create_dir(attic(&town).join("public")).unwrap();
    fs::rename(at(&names[1]), attic(&town).join("public").join(&names[1])).unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!(
        (run.code, &run.json()["data"]["failedCount"]),
        (3, &2.into()),
        "{run:?}"
    );
    assert_eq!(
        rows(town.db()),
        records,
        "the sidecars say that these are the files"
    );
    let left = known.into_iter().filter(|copy| copy.2.ends_with(&names[2]));
    assert_eq!(copies(&town), left.collect::<Vec<_>>());
    // A provider that keeps no backups has no copies.
    let (town, _, _) = lost(1);
    town.env()
        .edit_config(|yaml| yaml.replace("backup_providers: [attic]", "backup_providers: []"));
    let run = reconstruct(&town, &[]);
    assert_eq!(
        (run.code, rows(town.db()).len(), copies(&town).len()),
        (3, 1, 0),
        "{run:?}"
    );
    assert!(
        run.stdout
            .contains("this object on attic was left without a record"),
        "{run:?}"
    );
}

#[test]
fn a_file_that_was_cut_is_not_taken_for_the_file_while_a_copy_says_otherwise() {
    let (town, records, known) = lost(2);
    let (name, _) = below(&town.storage()).remove(0);
    let own = town.storage().join("permits").join(&name);
    fs::write(&own, "cut").unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!((run.code, rows(town.db()).len()), (3, 1), "{run:?}");
    assert!(run.stdout.contains("which is the file"), "{run:?}");
    fs::copy(attic(&town).join("permits").join(&name), &own).unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!((rows(town.db()), copies(&town)), (records, known));
}

/// The records are gone, and what is known of copies is not.
#[test]
fn a_copy_that_is_still_known_speaks_against_a_file_that_was_cut() {
    let town = town("");
    assert_eq!(upload(&town, 1).code, 0);
    town.db().execute("DELETE FROM storage_files", []).unwrap();
    let (name, _) = below(&town.storage()).remove(0);
    fs::write(town.storage().join("permits").join(&name), "cut").unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!((run.code, rows(town.db()).len()), (1, 0), "{run:?}");
    assert!(run.stdout.contains("which is the file"), "{run:?}");
}

#[test]
fn while_its_own_provider_is_away_no_file_is_given_to_the_backup_unless_that_is_asked_for() {
    let (town, records, known) = lost(2);
    let away = town.env().tmp().join("away");
    fs::rename(town.storage(), &away).unwrap();
    fs::create_dir(town.storage()).unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!((run.code, rows(town.db()).len()), (1, 0), "{run:?}");
    assert!(run.stdout.contains("only its copy on attic is left"), "{run:?}");
    fs::remove_dir_all(town.storage()).unwrap();
    fs::rename(&away, town.storage()).unwrap();
    let run = reconstruct(&town, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!((rows(town.db()), copies(&town)), (records, known));
    let (town, _, _) = lost(2);
    fs::remove_dir_all(town.storage().join("permits")).unwrap();
    let run = reconstruct(&town, &["--provider", "attic", "--provider", "attic"]);
    assert_eq!(
        (run.code, rows(town.db()).len(), copies(&town).len()),
        (0, 2, 0),
        "{run:?}"
    );
    assert!(
        run.stderr.contains("2 files are where only copies belong"),
        "{run:?}"
    );
    assert!(run.json()["data"]["copies"].is_null(), "{run:?}");
}

#[test]
fn killed_around_the_copies_a_reconstruction_is_ended_by_the_next() {
    for point in ["reconstruct.after-settle", "reconstruct.after-copies"] {
        let (town, records, known) = lost(3);
        killed(&town, point, &["storage:reconstruct", "--min-age", "0"]);
        let run = reconstruct(&town, &[]);
        assert_eq!(run.code, 0, "{point}: {run:?}");
        assert_eq!((rows(town.db()), copies(&town)), (records, known), "{point}");
    }
}
