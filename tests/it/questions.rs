//! `storage:usage`, `storage:list`, `storage:info`: right on a real deployment, in every format, and nothing changed.

use serde_json::{Value, json};

use crate::common::TestEnv;
use crate::common::deployment::Run;

const PHOTO: &str = "ece174b6-e3ea-4c3a-9857-1e34d9280a77";

#[test]
fn usage_equals_what_sql_says() {
    let env = TestEnv::fixture();
    let run = Run::of(&env, ["storage:usage", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let answer = run.json();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["message"], "19.17 MB in 66 files");
    assert_eq!(answer["meta"]["operation"], "storage:usage");
    assert_eq!(answer["meta"]["schemaVersion"], 1);
    assert!(answer["meta"]["duration"].is_u64());
    let data = &answer["data"];
    let whole = json!({"files": 66, "size": 20_096_182, "sizeFormatted": "19.17 MB"});
    assert_eq!(data["total"], whole);
    assert_eq!(data["byProvider"], json!({ "local": whole }));
    assert_eq!(data["unmapped"]["files"], 0);
    assert_eq!((&data["cached"], &data["ageSeconds"]), (&json!(false), &json!(0)));

    let database = env.sql();
    let sql = "SELECT folder, count(*), sum(size) FROM storage_files GROUP BY folder";
    let mut statement = database.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut folders = 0;
    while let Some(row) = rows.next().unwrap() {
        let shown = &data["byFolder"][row.get::<_, String>(0).unwrap()];
        assert_eq!(shown["files"], row.get::<_, i64>(1).unwrap());
        assert_eq!(shown["size"], row.get::<_, i64>(2).unwrap());
        folders += 1;
    }
    assert_eq!(data["byFolder"].as_object().unwrap().len(), folders);
}

#[test]
fn usage_reads_the_same_in_every_format() {
    let env = TestEnv::fixture();
    let table = Run::of(&env, ["storage:usage", "--by", "provider"]).stdout;
    assert_eq!(
        table,
        "PROVIDER  FILES      SIZE    SHARE\n\
         local        66  19.17 MB  100.0 %\n\
         \n\
         Total: 19.17 MB in 66 files\n"
    );
    let csv = Run::of(&env, ["storage:usage", "--by", "provider", "--output", "csv"]).stdout;
    assert_eq!(
        csv,
        "by,name,files,size,sizeFormatted\n\
         provider,local,66,20096182,19.17 MB\n\
         total,,66,20096182,19.17 MB\n"
    );
    let ndjson = Run::of(&env, ["storage:usage", "--by", "provider", "--output", "ndjson"]).stdout;
    let lines: Vec<Value> = ndjson
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(ndjson.lines().all(|line| line.starts_with("{\"type\":")));
    assert_eq!(
        (&lines[0]["type"], &lines[0]["name"]),
        (&json!("item"), &json!("local"))
    );
    assert_eq!(
        (&lines[2]["type"], &lines[2]["total"]["files"]),
        (&json!("summary"), &json!(66))
    );
}

#[test]
fn usage_by_anything_adds_up_in_a_folder_too() {
    let env = TestEnv::fixture();
    let by = "folder,provider,type,month,uploader";
    for (args, files) in [(vec![], 66), (vec!["--folder", "permits"], 10)] {
        let base = ["storage:usage", "--json", "--by", by];
        let data = Run::of(&env, base.iter().chain(&args)).json()["data"].clone();
        assert_eq!(data["total"]["files"], files);
        for key in ["byFolder", "byProvider", "byType", "byMonth", "byUploader"] {
            let sum: u64 = data[key]
                .as_object()
                .unwrap()
                .values()
                .map(|t| t["files"].as_u64().unwrap())
                .sum();
            assert_eq!(sum, files, "{key} {args:?}");
        }
    }
    let only = Run::of(&env, ["storage:usage", "--json", "--by", "month"]).json();
    assert_eq!(only["data"]["byMonth"]["2026-11"]["files"], 66);
    assert!(only["data"]["byFolder"].is_null(), "not asked for");
}

#[test]
fn a_folder_that_nobody_knows_is_wrong_usage_and_an_empty_one_is_not() {
    let env = TestEnv::fixture();
    for command in ["storage:usage", "storage:list"] {
        let run = Run::of(&env, [command, "--folder", "permitz", "--json"]);
        assert_eq!(run.code, 2, "{command}");
        let error = &run.json()["error"];
        assert_eq!(error["message"], "there is no folder named permitz");
        assert!(
            error["hint"].as_str().unwrap().contains("did you mean permits?"),
            "{error}"
        );
    }
    env.edit_config(|yaml| yaml.replacen("folders:\n", "folders:\n  empty:\n    path: empty\n    access: private\n    allowed_types: [pdf]\n    max_size: 1MB\n", 1));
    let run = Run::of(&env, ["storage:usage", "--folder", "empty", "--json"]);
    assert_eq!(
        (run.code, &run.json()["data"]["total"]["files"]),
        (0, &json!(0)),
        "{}",
        run.stderr
    );
}

#[test]
fn records_under_no_provider_are_counted_and_said_so() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| yaml.replace("    aliases: [/srv/civicpress/storage]\n", ""));
    let data = Run::of(&env, ["storage:usage", "--json"]).json()["data"].clone();
    assert_eq!(
        (&data["total"]["files"], &data["unmapped"]["files"]),
        (&json!(66), &json!(66))
    );
    assert_eq!(data["byProvider"], json!({}));
    let table = Run::of(&env, ["storage:usage"]).stdout;
    assert!(table.contains("(unmapped)     66"), "{table}");
    assert!(table.contains("under no configured provider"), "{table}");
    let info = Run::of(&env, ["storage:info", PHOTO, "--json"]).json()["data"].clone();
    assert_eq!((&info["provider"], &info["object"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_list_shows_names_and_turns_pages() {
    let env = TestEnv::fixture();
    let page = |n: &str| {
        Run::of(
            &env,
            [
                "storage:list",
                "--sort",
                "name",
                "--limit",
                "20",
                "--page",
                n,
                "--json",
            ],
        )
        .json()["data"]
            .clone()
    };
    let mut seen = Vec::new();
    for n in ["1", "2", "3", "4", "5"] {
        let data = page(n);
        assert_eq!(
            (&data["total"], &data["pages"], &data["limit"]),
            (&json!(66), &json!(4), &json!(20))
        );
        let ids = data["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
    }
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((all, seen.len()), (66, 66), "every file once");

    let table = Run::of(
        &env,
        [
            "storage:list",
            "--folder",
            "permits",
            "--sort",
            "name",
            "--limit",
            "2",
        ],
    )
    .stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("FOLDER   NAME             SIZE  CREATED"),
        "{table}"
    );
    assert!(
        lines[2].starts_with("permits  permit-0001.pdf  4 KB  2026-"),
        "{table}"
    );
    assert_eq!(lines[4], "2 of 10 files, page 1 of 5");
}

#[test]
fn a_list_is_filtered_and_sorted() {
    let env = TestEnv::fixture();
    let list =
        |args: &[&str]| Run::of(&env, ["storage:list", "--json"].iter().chain(args)).json()["data"].clone();
    let file = &list(&["--search", "PHOTO"])["files"][0];
    assert_eq!(
        (&file["id"], &file["originalName"], &file["provider"]),
        (&json!(PHOTO), &json!("Photo.JPG"), &json!("local"))
    );
    assert_eq!(
        list(&["--type", "pdf"])["total"],
        list(&["--type", "application/pdf"])["total"]
    );
    assert_eq!(list(&["--provider", "local"])["total"], 66);
    assert_eq!(list(&["--provider", "s3"])["total"], 0);
    let sizes = |args: &[&str]| -> Vec<u64> {
        list(args)["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["size"].as_u64().unwrap())
            .collect()
    };
    assert!(
        sizes(&["--sort", "size"]).is_sorted_by(|a, b| a >= b),
        "largest first"
    );
    assert!(sizes(&["--sort", "size", "--reverse"]).is_sorted());

    let nothing = Run::of(&env, ["storage:list", "--search", "no such thing"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (0, "no file matches\n"));
    let csv = Run::of(&env, ["storage:list", "--search", "photo", "--output", "csv"]).stdout;
    assert!(
        csv.starts_with("id,originalName,folder,size,mimeType,provider,"),
        "{csv}"
    );
    assert!(
        csv.lines()
            .nth(1)
            .unwrap()
            .starts_with(&format!("{PHOTO},Photo.JPG,public,204800,image/jpeg,local,"))
    );
    let ndjson = Run::of(&env, ["storage:list", "--output", "ndjson", "--limit", "3"]).stdout;
    assert_eq!(ndjson.lines().count(), 4);
    let unknown = Run::of(&env, ["storage:list", "--provider", "lokal"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("did you mean local?"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn info_compares_record_and_object() {
    let env = TestEnv::fixture();
    for target in [PHOTO, &PHOTO.to_uppercase(), "public/Photo.JPG"] {
        let run = Run::of(&env, ["storage:info", target, "--json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let data = run.json()["data"].clone();
        assert_eq!(
            (&data["record"]["id"], &data["record"]["size"]),
            (&json!(PHOTO), &json!(204_800))
        );
        assert_eq!(
            data["provider"],
            json!({"name": "local", "type": "local", "enabled": true})
        );
        let object = &data["object"];
        assert_eq!(
            (&object["exists"], &object["size"], &object["sizeMatches"]),
            (&json!(true), &json!(100_000), &json!(false))
        );
        assert!(object["lastModified"].is_string());
    }
    let gone = Run::of(&env, ["storage:info", "permits/permit-0003.pdf", "--json"]);
    assert_eq!(
        (gone.code, &gone.json()["data"]["object"]["exists"]),
        (0, &json!(false))
    );
    let table = Run::of(&env, ["storage:info", PHOTO]).stdout;
    assert!(
        table.contains("Object       there, but 100000 bytes where the record says 204800\n"),
        "{table}"
    );
    let csv = Run::of(&env, ["storage:info", PHOTO, "--output", "csv"]).stdout;
    assert!(csv.starts_with("record.id,record.originalName,"), "{csv}");
    assert!(csv.contains(",local,local,true,100000,"), "{csv}");
    let ndjson = Run::of(&env, ["storage:info", PHOTO, "--output", "ndjson"]).stdout;
    assert_eq!(ndjson.lines().count(), 2);
}

#[test]
fn info_on_nothing_and_on_two_of_a_name() {
    let env = TestEnv::fixture();
    let nothing = Run::of(&env, ["storage:info", "public/nothing.pdf", "--json"]);
    assert_eq!(
        (nothing.code, &nothing.json()["error"]["code"]),
        (1, &json!("STORAGE_FILE_NOT_FOUND"))
    );
    let other = env.rename_one("permit-0002.pdf");
    let two = Run::of(&env, ["storage:info", "permits/permit-0002.pdf", "--json"]);
    let error = two.json()["error"].clone();
    let ids = error["details"]["ids"].as_array().unwrap();
    assert_eq!((two.code, ids.len()), (2, 2), "{error}");
    assert!(ids.contains(&json!(other)));
    assert!(error["hint"].as_str().unwrap().contains(&other), "{error}");
}

#[test]
fn a_name_may_hold_slashes() {
    let env = TestEnv::fixture();
    let id = env.rename_one("plans/2026/north wing.pdf");
    let run = Run::of(
        &env,
        ["storage:info", "permits/plans/2026/north wing.pdf", "--json"],
    );
    assert_eq!(run.json()["data"]["record"]["id"], id.as_str());
}

#[test]
fn info_shows_the_record_beside_an_unreachable_provider() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| {
        yaml.replacen("type: s3\n    enabled: false", "type: s3\n    enabled: true", 1)
            .replacen("bucket: \"\"", "bucket: town", 1)
            .replacen("endpoint: \"\"", "endpoint: http://127.0.0.1:1", 1)
            .replacen("access_key_id: \"\"", "access_key_id: somebody", 1)
            .replacen("secret_access_key: \"\"", "secret_access_key: opensesame", 1)
            .replacen("global:\n", "global:\n  retry_attempts: 0\n", 1)
    });
    let sql = "UPDATE storage_files SET provider_path = 's3://town/' || relative_path WHERE id = ?1";
    env.sql().execute(sql, [PHOTO]).unwrap();
    let run = Run::of(&env, ["storage:info", PHOTO, "--json"]);
    let answer = run.json();
    assert_eq!(run.code, 5, "{answer}");
    assert_eq!(answer["success"], false);
    assert_eq!(answer["error"]["code"], "STORAGE_PROVIDER_UNAVAILABLE");
    assert_eq!(answer["error"]["details"]["provider"], "s3");
    assert_eq!(answer["data"]["record"]["id"], PHOTO);
    assert_eq!(answer["data"]["object"], Value::Null);
    assert!(!run.stdout.contains("opensesame") && !run.stderr.contains("opensesame"));
    let table = Run::of(&env, ["storage:info", PHOTO]);
    assert_eq!(table.code, 5);
    assert!(
        table
            .stdout
            .contains("Object       unknown: its provider did not answer"),
        "{}",
        table.stdout
    );
    assert!(table.stderr.starts_with("error: "), "{}", table.stderr);
    let usage = Run::of(&env, ["storage:usage", "--json"]);
    assert_eq!(
        (usage.code, &usage.json()["data"]["byProvider"]["s3"]["files"]),
        (0, &json!(1))
    );
}

#[test]
fn no_question_changes_a_byte() {
    let env = TestEnv::fixture();
    let before = env.tree();
    for args in [
        vec!["storage:usage"],
        vec!["storage:list"],
        vec!["storage:info", PHOTO],
    ] {
        assert_eq!(Run::of(&env, args).code, 0);
    }
    before.assert_unchanged(&env.tree());
}
