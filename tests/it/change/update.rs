//! `storage:update`.

use std::fs;

use serde_json::{Value, json};

use super::{assert_agrees, column, edit, row_count, sidecar, told_by_row, town, unsettled};
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::delete::{files, killed, rows, run_id};

fn describe(town: &Deployment, target: &str, text: &str) -> Run {
    town.civic(&["storage:update", target, "--description", text, "--json"])
}

#[test]
fn a_description_changes_in_row_and_sidecar_alike_and_can_be_taken_away_and_put_back() {
    let town = town(2);
    let (before, rows_before) = (files(&town.storage()), rows(town.db()));
    let said = "Procès-verbal 会議録 🏛️ \u{202e}\"\\\n'; DROP TABLE storage_files; --";
    let run = describe(&town, &uuid(1), said);
    assert_eq!(run.code, 0, "{run:?}");
    let data = &run.json()["data"];
    assert_eq!(
        (&data["successfulCount"], &data["successful"][0]["description"]),
        (&json!(1), &json!(said))
    );
    assert_eq!(data["successful"][0]["changed"], true);
    assert_eq!(column(&town, 1, "description"), said);
    assert_ne!(column(&town, 1, "updated_at"), column(&town, 1, "created_at"));
    assert_agrees(&town, 1);

    let cleared = describe(&town, &uuid(1), "");
    assert_eq!((cleared.code, column(&town, 1, "description")), (0, Value::Null));
    assert_agrees(&town, 1);

    for run in [&cleared, &run] {
        let undone = town.civic(&["storage:undo", "--yes", "--json", &run_id(run)]);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_agrees(&town, 1);
    }
    assert_eq!(rows(town.db()), rows_before);
    assert_eq!(files(&town.storage()), before);
}

#[test]
fn what_a_sidecar_holds_beside_the_record_is_kept() {
    let town = town(1);
    let path = town.storage().join(key("permits", 1) + ".meta.json");
    let mut told = told_by_row(&town, 1);
    told["retention"] = json!({ "years": 7 });
    fs::write(&path, told.to_string()).unwrap();
    assert_eq!(describe(&town, &uuid(1), "new").code, 0);
    let now = sidecar(&town, 1);
    assert_eq!(
        (&now["description"], &now["retention"]),
        (&json!("new"), &json!({ "years": 7 }))
    );
}

#[test]
fn a_dry_run_and_one_with_nothing_to_change_write_nothing() {
    let town = town(1);
    edit(&town, 1, "description = 'so'");
    // The tables are made by whoever writes first.
    assert_eq!(describe(&town, &uuid(1), "thus").code, 0);
    let (before, rows_before) = (files(&town.storage()), rows(town.db()));
    let everything = town.env().but_counts();
    let dry = town.civic(&[
        "storage:update",
        &uuid(1),
        "--description",
        "new",
        "--dry-run",
        "--json",
    ]);
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(dry.json()["data"]["dryRun"], true);
    assert_eq!(dry.json()["data"]["successful"][0]["description"], "new");
    everything.assert_unchanged(&town.env().but_counts());
    let same = describe(&town, &uuid(1), "thus");
    assert_eq!(same.code, 0, "{same:?}");
    assert_eq!(same.json()["data"]["runId"], Value::Null);
    assert_eq!(same.json()["data"]["successful"][0]["changed"], false);
    assert_eq!((files(&town.storage()), rows(town.db())), (before, rows_before));
}

#[test]
fn a_file_is_named_by_folder_and_name_and_two_of_one_name_are_an_error_that_lists_them() {
    let town = town(2);
    let run = describe(&town, "permits/file 1.txt", "by name");
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(column(&town, 1, "description"), "by name");
    edit(&town, 2, "original_name = 'file 1.txt'");
    let run = describe(&town, "permits/file 1.txt", "of which?");
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stdout.contains(&uuid(1)) && run.stdout.contains(&uuid(2)),
        "{run:?}"
    );
    assert_eq!(column(&town, 1, "description"), "by name");
}

#[test]
fn what_cannot_be_changed_is_told_and_nothing_is() {
    let town = town(1);
    town.record(7, "s3://elsewhere", &key("permits", 7), (1, days(30)));
    town.providers(&format!(
        "{}\n  local: {{ type: local, path: {} }}",
        Deployment::s3("http://127.0.0.1:1", "bucket", ""),
        town.storage().display()
    ));
    town.record(8, "s3://bucket", &key("permits", 8), (1, days(30)));
    let before = rows(town.db());
    let unknown = describe(&town, &uuid(9), "x");
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert_eq!(unknown.json()["error"]["code"], "STORAGE_FILE_NOT_FOUND");
    let unmapped = describe(&town, &uuid(7), "x");
    assert_eq!(unmapped.code, 1, "{unmapped:?}");
    assert_eq!(unmapped.json()["error"]["code"], "STORAGE_CONFIGURATION_ERROR");
    let unreachable = describe(&town, &uuid(8), "x");
    assert_eq!(unreachable.code, 5, "{unreachable:?}");
    let without = town.civic(&["storage:update", &uuid(1)]);
    assert_eq!(without.code, 2, "{without:?}");
    assert!(without.stderr.contains("--description"), "{without:?}");
    assert_eq!(rows(town.db()), before);
    assert_eq!(unsettled(&town), 0);
}

#[test]
fn a_record_whose_object_is_missing_gets_no_sidecar() {
    let town = town(1);
    for name in [key("permits", 1), key("permits", 1) + ".meta.json"] {
        fs::remove_file(town.storage().join(name)).unwrap();
    }
    assert_eq!(describe(&town, &uuid(1), "lost").code, 0);
    assert_eq!(column(&town, 1, "description"), "lost");
    assert!(files(&town.storage()).is_empty());
}

#[test]
fn killed_anywhere_row_and_sidecar_agree_after_the_next_run() {
    for failpoint in [
        "update.after-intend",
        "update.after-sidecar",
        "update.after-settle",
    ] {
        let town = town(2);
        let args = ["storage:update", &uuid(1), "--description", "new"];
        killed(&town, failpoint, &args);
        assert_eq!(row_count(&town), 2, "{failpoint}");
        let next = describe(&town, &uuid(2), "other");
        assert_eq!(next.code, 0, "{failpoint}: {next:?}");
        assert_eq!(column(&town, 1, "description"), "new", "{failpoint}");
        assert_agrees(&town, 1);
        assert_eq!(unsettled(&town), 0, "{failpoint}");
    }
}

#[test]
fn a_killed_undo_of_an_update_is_brought_to_its_end() {
    for failpoint in ["undo.after-intend", "undo.after-act", "undo.after-settle"] {
        let town = town(2);
        let run = run_id(&describe(&town, &uuid(1), "new"));
        killed(&town, failpoint, &["storage:undo", "--yes", &run]);
        assert_eq!(describe(&town, &uuid(2), "other").code, 0, "{failpoint}");
        assert_eq!(column(&town, 1, "description"), Value::Null, "{failpoint}");
        assert_agrees(&town, 1);
        assert_eq!(unsettled(&town), 0, "{failpoint}");
    }
}

#[test]
fn undo_puts_back_what_the_run_changed_and_leaves_what_others_did() {
    let town = town(2);
    let run = run_id(&describe(&town, &uuid(1), "new"));
    edit(
        &town,
        1,
        "uploaded_by = 'mayor', updated_at = '2030-01-01 00:00:00'",
    );
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(column(&town, 1, "description"), Value::Null);
    assert_eq!(column(&town, 1, "uploaded_by"), "mayor");
    assert_eq!(column(&town, 1, "updated_at"), "2030-01-01T00:00:00.000Z");
    assert_agrees(&town, 1);

    let run = run_id(&describe(&town, &uuid(2), "new"));
    edit(&town, 2, "description = 'newer'");
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert!(undone.stdout.contains("changed again since"), "{undone:?}");
    assert_eq!(column(&town, 2, "description"), "newer");
}

#[test]
fn repaired_sizes_reach_the_sidecar_and_an_update_between_survives_their_undo() {
    let town = town(1);
    let size = column(&town, 1, "size");
    edit(&town, 1, "size = 999");
    let repair = || town.cleanup(&["--apply", "--yes", "--repair", "sizes", "--min-age", "0"]);
    let repaired = repair();
    assert_eq!(
        (repaired.code, column(&town, 1, "size")),
        (0, size),
        "{repaired:?}"
    );
    assert_agrees(&town, 1);
    assert_eq!(describe(&town, &uuid(1), "between").code, 0);
    let undone = town.civic(&["storage:undo", "--yes", "--json", &run_id(&repaired)]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(
        (column(&town, 1, "size"), column(&town, 1, "description")),
        (json!(999), json!("between"))
    );
    assert_agrees(&town, 1);
}

#[test]
fn a_repair_of_sizes_that_was_killed_leaves_no_stale_sidecar() {
    for failpoint in ["cleanup.after-intend", "cleanup.after-sidecars"] {
        let town = town(1);
        edit(&town, 1, "size = 999");
        let args = ["--apply", "--yes", "--repair", "sizes", "--min-age", "0"];
        killed(&town, failpoint, &[&["storage:cleanup"], &args[..]].concat());
        let next = town.cleanup(&args);
        assert_eq!(next.code, 0, "{failpoint}: {next:?}");
        assert_agrees(&town, 1);
        assert_eq!(unsettled(&town), 0, "{failpoint}");
    }
}

mod needs_server {
    use super::*;
    use crate::common::{Remote, TestEnv};

    fn a_sidecar_object_tells_what_the_headers_of_the_untouched_object_cannot(bucket: &dyn Remote) {
        let town = Deployment::new();
        town.providers(bucket.provider_yaml(bucket.kind(), "town").trim_end());
        let file = town.env().tmp().join("plan.pdf");
        fs::write(&file, "bytes").unwrap();
        let args = [
            "storage:upload",
            "--folder",
            "permits",
            "--json",
            "--description",
            "old",
        ];
        let uploaded = town.civic(&[&args[..], &[file.to_str().unwrap()]].concat());
        assert_eq!(uploaded.code, 0, "{uploaded:?}");
        let etag = || {
            let info = town.civic(&["storage:info", "permits/plan.pdf", "--json"]).json();
            info["data"]["object"]["etag"].clone()
        };
        let before = etag();
        let run = describe(&town, "permits/plan.pdf", "new");
        assert_eq!(run.code, 0, "{run:?}");
        assert_eq!(etag(), before);
        let info = town.civic(&["storage:info", "permits/plan.pdf", "--json"]).json();
        assert_eq!(info["data"]["record"]["description"], "new");
        let path = info["data"]["record"]["relativePath"]
            .as_str()
            .unwrap()
            .to_owned();
        let told = |key: &str| serde_json::from_slice::<Value>(&bucket.get(key).unwrap()).unwrap();
        assert_eq!(told(&format!("town/{path}.meta.json"))["description"], "new");
        let undone = town.civic(&["storage:undo", "--yes", "--json", &run_id(&run)]);
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(told(&format!("town/{path}.meta.json"))["description"], "old");
        let clean = town.cleanup(&["--min-age", "0"]);
        assert_eq!(
            ["orphanedObjects", "sidecarsWithoutObject", "foreign"].map(|name| clean.count(name)),
            [0; 3]
        );
    }

    #[test]
    fn on_s3_a_sidecar_object_tells_what_headers_cannot() {
        if let Some(bucket) = TestEnv::seaweed() {
            a_sidecar_object_tells_what_the_headers_of_the_untouched_object_cannot(&bucket);
        }
    }

    #[test]
    fn on_gcs_a_sidecar_object_tells_what_headers_cannot() {
        if let Some(bucket) = TestEnv::gcs() {
            a_sidecar_object_tells_what_the_headers_of_the_untouched_object_cannot(&bucket);
        }
    }

    #[test]
    fn on_azurite_a_sidecar_object_tells_what_headers_cannot() {
        if let Some(bucket) = TestEnv::azurite() {
            a_sidecar_object_tells_what_the_headers_of_the_untouched_object_cannot(&bucket);
        }
    }
}
