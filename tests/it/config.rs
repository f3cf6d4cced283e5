//! `storage:config`, `storage:init` and `storage:folder:*` as an operator runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use assert_cmd::Command;
use serde_json::Value;

use crate::common::TestEnv;

/// Exit code, stdout, stderr, with the deployment's directory out of the way.
fn ran(env: &TestEnv, command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .unwrap()
            .replace(env.root().to_str().unwrap(), "TOWN")
    };
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn run(env: &TestEnv, args: &[&str]) -> (i32, String, String) {
    ran(env, &mut env.civic(args))
}

fn json(env: &TestEnv, args: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(env, &[args, &["--json"]].concat());
    (
        code,
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}\n{err}")),
    )
}

#[test]
fn the_configuration_is_shown_with_origins_and_without_secrets() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| {
        yaml.replace("secret_access_key: \"\"", "secret_access_key: hunter2")
            .replace("access_key_id: \"\"", "access_key_id: hunter1")
    });
    let before = env.tree();
    let (code, out, err) = ran(&env, env.civic(["storage:config"]).env("S3_REGION", "eu-1"));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(!out.contains("hunter"), "{out}");
    let line = |key: &str| {
        out.lines()
            .find(|line| line.split_whitespace().next() == Some(key))
            .unwrap()
            .split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("global.max_file_size"), "line 49 100MB");
    assert_eq!(line("global.list_timeout"), "default 30s");
    assert_eq!(line("providers.s3.region"), "$S3_REGION eu-1");
    assert_eq!(
        line("providers.s3.credentials.secret_access_key"),
        "line 17 ********"
    );
    assert_eq!(line("folders.misc.path"), "line 160 misc_docs");
    for format in ["json", "ndjson", "csv"] {
        let (code, out, _) = run(&env, &["storage:config", "--output", format]);
        assert!(
            code == 0 && !out.contains("hunter") && out.contains("max_concurrent_uploads"),
            "{format}"
        );
    }
    before.assert_unchanged(&env.tree());
}

#[test]
fn validation_tells_warnings_and_strict_makes_them_errors() {
    let env = TestEnv::fixture();
    assert_eq!(
        run(&env, &["storage:config", "--validate", "--strict"]),
        (
            0,
            "TOWN/.system-data/storage.yml is valid\n".into(),
            String::new()
        )
    );
    env.edit_config(|yaml| yaml.replace("  max_file_size:", "  max_file_sise:"));
    let warning = "TOWN/.system-data/storage.yml:49: global.max_file_sise: is not a known key; the nearest is `max_file_size`\n";
    let (code, out, err) = run(&env, &["storage:config", "--validate"]);
    assert_eq!(
        (code, out, err.as_str()),
        (
            0,
            format!("{warning}TOWN/.system-data/storage.yml is valid, with 1 warning\n"),
            ""
        )
    );
    let (code, out, err) = run(&env, &["storage:config", "--validate", "--strict"]);
    assert_eq!((code, out.as_str()), (2, warning));
    assert!(err.contains("--strict takes none"), "{err}");
    let (code, value) = json(&env, &["storage:config", "--validate", "--strict"]);
    assert_eq!(
        (code, &value["success"], &value["data"]["valid"]),
        (2, &false.into(), &false.into())
    );
    assert_eq!(value["error"]["code"], "STORAGE_CONFIGURATION_ERROR");
}

#[test]
fn every_problem_is_told_with_file_line_and_key() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| {
        yaml.replace("max_file_size: 100MB", "max_file_size: lots")
            .replace("access: private", "access: secret")
    });
    let (code, value) = json(&env, &["storage:config", "--validate"]);
    assert_eq!(code, 2);
    let problems = value["error"]["details"]["problems"].as_array().unwrap();
    let places: Vec<_> = problems
        .iter()
        .map(|p| format!("{} {}", p["line"], p["key"].as_str().unwrap()))
        .collect();
    assert_eq!(
        places,
        [
            "49 global.max_file_size",
            "102 folders.recordings_raw.access",
            "137 folders.private.access"
        ]
    );
    assert!(problems[0]["file"].as_str().unwrap().ends_with("/storage.yml"));
}

#[test]
fn the_schema_is_printed_by_itself() {
    let env = TestEnv::empty();
    let (code, out, _) = run(&env, &["storage:config", "--schema"]);
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &schema["title"]), (0, &"storage.yml".into()));
    assert!(
        schema["properties"]["upload_timeout"].is_object(),
        "global keys at the top level"
    );
    assert_eq!(json(&env, &["storage:config", "--schema"]).1["data"], schema);
}

#[test]
fn an_update_changes_one_line_and_a_dry_run_none() {
    let env = TestEnv::fixture();
    let before = fs::read_to_string(env.config()).unwrap();
    let update = [
        "storage:config",
        "--update",
        "global.max_file_size=250MB",
        "--dry-run",
    ];
    let (code, out, _) = run(&env, &update);
    assert!(
        code == 0 && out.contains("-  max_file_size: 100MB\n+  max_file_size: 250MB\n"),
        "{out}"
    );
    assert_eq!(fs::read_to_string(env.config()).unwrap(), before);
    assert_eq!(run(&env, &update[..3]).0, 0);
    let after = fs::read_to_string(env.config()).unwrap();
    assert_eq!(
        after,
        before.replace("  max_file_size: 100MB", "  max_file_size: 250MB")
    );
    let (code, _, err) = run(&env, &["storage:config", "--update", "active_provider=s4"]);
    assert!(
        code == 2 && err.contains("is `s4`, which is no provider (did you mean s3?)"),
        "{err}"
    );
    assert_eq!(fs::read_to_string(env.config()).unwrap(), after);
}

#[test]
fn a_folder_comes_changes_and_goes_and_the_rest_of_the_file_stays() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| format!("# our own notes\n{yaml}# the end\n"));
    let before = fs::read_to_string(env.config()).unwrap();
    let add = [
        "storage:folder:add",
        "maps",
        "--access",
        "public",
        "--allowed-types",
        "png,svg",
        "--max-size",
        "2MB",
    ];
    assert_eq!(run(&env, &[&add[..], &["--dry-run"]].concat()).0, 0);
    assert_eq!(fs::read_to_string(env.config()).unwrap(), before);
    assert_eq!(
        run(&env, &add),
        (
            0,
            "folder maps added in TOWN/.system-data/storage.yml\n".into(),
            String::new()
        )
    );
    let added = "  maps:\n    path: maps\n    access: public\n    allowed_types:\n      - png\n      - svg\n    max_size: 2MB\n";
    let with_maps = fs::read_to_string(env.config()).unwrap();
    assert_eq!(
        with_maps,
        before.replace("metadata:\n", &format!("{added}metadata:\n"))
    );
    assert_eq!(run(&env, &add).0, 2, "it is there already");

    let update = [
        "storage",
        "folder",
        "update",
        "maps",
        "--quota",
        "5GB",
        "--description",
        "Maps: of the town #1",
    ];
    assert_eq!(run(&env, &update).0, 0);
    let (_, value) = json(&env, &["storage:config"]);
    let settings = value["data"]["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|s| s["key"] == key).unwrap()["value"].clone();
    assert_eq!(
        (of("folders.maps.quota"), of("folders.maps.description")),
        ("5GB".into(), "Maps: of the town #1".into())
    );

    let remove = ["storage:folder:remove", "maps"];
    let (code, value) = json(&env, &remove);
    assert_eq!(
        (code, &value["error"]["code"]),
        (8, &"STORAGE_REFUSED".into()),
        "nobody is here to ask"
    );
    assert_eq!(run(&env, &[&remove[..], &["--yes"]].concat()).0, 0);
    assert_eq!(fs::read_to_string(env.config()).unwrap(), before);
}

#[test]
fn a_folder_with_records_stays() {
    let env = TestEnv::fixture();
    let before = env.tree();
    for dry in [&["--dry-run"][..], &["--yes"]] {
        let (code, value) = json(&env, &[&["storage:folder:remove", "permits"], dry].concat());
        assert_eq!((code, &value["error"]["code"]), (8, &"STORAGE_REFUSED".into()));
        assert!(value["error"]["details"]["records"].as_u64().unwrap() > 0);
    }
    before.assert_unchanged(&env.tree());
}

#[test]
fn a_folder_that_is_not_there_or_cannot_be_is_named() {
    let env = TestEnv::fixture();
    let (code, _, err) = run(&env, &["storage:folder:remove", "permit", "--yes"]);
    assert!(
        code == 2 && err.contains("no folder named permit") && err.contains("did you mean permits?"),
        "{err}"
    );
    for name in [
        "",
        "/abs",
        "a//b",
        "../up",
        "a/../b",
        ".trash",
        ".civic/x",
        "tab\there",
        "end/",
    ] {
        let (code, _, err) = run(&env, &["storage:folder:add", "--", name]);
        assert!(
            code == 2 && err.contains("which no folder can have"),
            "{name:?}: {err}"
        );
    }
    assert_eq!(
        run(&env, &["storage:folder:update", "permits"]).0,
        2,
        "nothing to change"
    );
}

#[test]
fn init_makes_what_is_missing_and_never_overwrites() {
    let env = TestEnv::empty();
    let before = env.tree();
    let (code, out, _) = run(&env, &["storage:init", "--dry-run"]);
    assert!(code == 0 && out.contains("    path: TOWN/storage\n"), "{out}");
    before.assert_unchanged(&env.tree());

    let (code, value) = json(&env, &["storage:init"]);
    assert_eq!(
        (code, value["data"]["created"].as_array().unwrap().len()),
        (0, 3),
        "{value}"
    );
    assert_eq!(run(&env, &["storage:config", "--validate", "--strict"]).0, 0);
    assert!(env.storage().is_dir() && env.database().is_file());
    assert_eq!(
        fs::metadata(env.config()).unwrap().permissions().mode() & 0o133,
        0
    );
    assert_eq!(
        run(&env, &["storage:folder:remove", "permits", "--yes"]).0,
        0,
        "its database can be asked"
    );

    let after = env.but_counts();
    let (code, value) = json(&env, &["storage:init"]);
    assert_eq!((code, &value["error"]["code"]), (8, &"STORAGE_REFUSED".into()));
    after.assert_unchanged(&env.but_counts());
}

#[test]
fn init_beside_civicpress_keeps_its_database() {
    let env = TestEnv::fixture();
    fs::remove_file(env.config()).unwrap();
    let rows = || -> Vec<String> {
        let sql = "SELECT json_array(id, original_name, folder, provider_path, size, created_at, updated_at)
            FROM storage_files UNION ALL
            SELECT name || sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'civic_storage_%'";
        let database = env.sql();
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = rows();
    let (code, value) = json(&env, &["storage:init"]);
    assert_eq!(code, 0);
    assert_eq!(value["data"]["kept"].as_array().unwrap().len(), 3, "{value}");
    assert_eq!(rows(), before, "nothing but tables of its own is added");
}

#[test]
fn the_new_table_is_the_one_that_civicpress_makes() {
    let columns = |env: &TestEnv| -> Vec<String> {
        let database = rusqlite::Connection::open(env.database()).unwrap();
        let mut statement = database
            .prepare(
                "SELECT sql FROM sqlite_schema
                  WHERE tbl_name = 'storage_files' AND name NOT LIKE 'civic!_storage!_%' ESCAPE '!'",
            )
            .unwrap();
        let rows = statement
            .query_map([], |row| row.get::<_, Option<String>>(0))
            .unwrap();
        rows.map(|row| row.unwrap().unwrap_or_default()).collect()
    };
    let made = TestEnv::empty();
    assert_eq!(run(&made, &["storage:init"]).0, 0);
    assert_eq!(columns(&made), columns(&TestEnv::fixture()));
}

#[test]
fn init_for_a_bucket_names_the_variables_and_writes_no_secret() {
    let env = TestEnv::empty();
    let args = [
        "storage:init",
        "--bucket",
        "town",
        "--endpoint",
        "http://127.0.0.1:9000",
        "--prefix",
        "files",
    ];
    let mut command = env.civic(args);
    command
        .env("S3_ACCESS_KEY_ID", "hunter1")
        .env("S3_SECRET_ACCESS_KEY", "hunter2");
    let (code, out, _) = ran(&env, &mut command);
    assert!(
        code == 0 && out.contains("  CIVIC_STORAGE_S3_SECRET_ACCESS_KEY\n"),
        "{out}"
    );
    let yaml = fs::read_to_string(env.config()).unwrap();
    assert!(
        !yaml.contains("hunter")
            && yaml.contains("bucket: town\n")
            && yaml.contains("force_path_style: true\n"),
        "{yaml}"
    );
    assert_eq!(
        run(&env, &["storage:init", "--provider-type", "s3"]).0,
        2,
        "a bucket is needed"
    );
    assert_eq!(run(&env, &["storage:init", "--path", "x", "--bucket", "y"]).0, 2);
}

#[test]
fn init_makes_what_azure_and_google_need_and_takes_no_flag_of_another_type() {
    let made = |args: &[&str]| {
        let env = TestEnv::empty();
        let (code, out, err) = run(&env, &[&["storage:init"], args].concat());
        assert_eq!(code, 0, "{out}{err}");
        let (code, _, err) = run(&env, &["storage:config", "--validate", "--strict"]);
        assert_eq!(code, 0, "{err}");
        (out, fs::read_to_string(env.config()).unwrap())
    };
    let azure = [
        "--account-name",
        "town",
        "--container-name",
        "files",
        "--prefix",
        "a",
    ];
    let (out, yaml) = made(&azure);
    assert!(out.contains("  CIVIC_STORAGE_AZURE_ACCOUNT_KEY\n"), "{out}");
    for line in [
        "account_name: town\n",
        "container_name: files\n",
        "active_provider: azure\n",
    ] {
        assert!(yaml.contains(line), "{line}{yaml}");
    }
    let (out, yaml) = made(&["--provider-type", "gcs", "--bucket", "town"]);
    assert!(out.contains("  CIVIC_STORAGE_GCS_SERVICE_ACCOUNT_KEY\n"), "{out}");
    assert!(
        yaml.contains("bucket: town\n") && yaml.contains("active_provider: gcs\n"),
        "{yaml}"
    );
    for (wrong, told) in [
        (
            &["--provider-type", "azure", "--bucket", "b"][..],
            "--bucket belongs to --provider-type s3 or gcs",
        ),
        (
            &["--provider-type", "gcs", "--region", "r"],
            "--region belongs to --provider-type s3",
        ),
        (
            &["--provider-type", "local", "--prefix", "p"],
            "--prefix belongs to",
        ),
        (&["--account-name", "town"], "needs --container-name"),
        (&["--provider-type", "gcs"], "needs --bucket"),
    ] {
        let env = TestEnv::empty();
        let before = env.tree();
        let (code, _, err) = run(&env, &[&["storage:init"], wrong].concat());
        assert!(code == 2 && err.contains(told), "{err}");
        before.assert_unchanged(&env.tree());
    }
}

#[test]
fn nothing_found_hints_at_init() {
    let env = TestEnv::empty();
    let (code, _, err) = run(&env, &["storage:config"]);
    assert!(code == 2 && err.contains("civic storage:init"), "{err}");
}

#[test]
fn init_that_was_cut_off_left_an_empty_file_that_it_then_refused_to_overwrite() {
    let env = TestEnv::empty();
    assert_eq!(run(&env, &["storage:init"]).0, 0);
    let mode = fs::metadata(env.config()).unwrap().permissions().mode();
    fs::remove_file(env.config()).unwrap();
    let civic = env.process();
    let mut full_disk = std::process::Command::new("sh");
    full_disk
        .args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" storage:init"])
        .arg(civic.get_program())
        .current_dir(env.root())
        .env_clear()
        .envs(civic.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(full_disk.output().unwrap().status.code(), Some(1));
    assert!(!env.config().exists());
    assert_eq!(run(&env, &["storage:init"]).0, 0);
    assert_eq!(fs::metadata(env.config()).unwrap().permissions().mode(), mode);
    let left = fs::read_dir(env.system_data()).unwrap().filter(|e| {
        let name = e.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(left.count(), 0);
}
