//! `storage:upload`: what was acknowledged is there, as CivicPress would have stored it; what was not left nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run};
use crate::common::run::unshared;

mod atomic;
mod crash;
mod needs_server;

/// A file of this name and content outside of the storage.
fn source(env: &TestEnv, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let directory = env.tmp().join("source");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn upload(env: &TestEnv, args: &[&str]) -> Run {
    Run::of(env, ["storage:upload", "--json"].iter().chain(args))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Rows, objects and sidecars agree with one another, byte for byte where they can, and no intent is left.
#[track_caller]
fn assert_whole(env: &TestEnv) {
    let database = env.sql();
    let sql = "SELECT id, relative_path, provider_path, size FROM storage_files";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, String>(2)?,
            row.get::<_, i64>(3)?,
        ))
    });
    let mut known = BTreeSet::new();
    for row in rows.unwrap() {
        let (id, relative, provider_path, size) = row.unwrap();
        assert_eq!(provider_path, env.storage().join(&relative).display().to_string());
        let meta = fs::metadata(&provider_path).unwrap_or_else(|e| panic!("record without bytes {id}: {e}"));
        assert_eq!(i64::try_from(meta.len()), Ok(size), "{relative}");
        let sidecar: Value =
            serde_json::from_slice(&fs::read(format!("{provider_path}.meta.json")).unwrap()).unwrap();
        assert_eq!(sidecar["id"], id.as_str());
        known.insert(relative.clone());
        known.insert(format!("{relative}.meta.json"));
    }
    assert_eq!(objects(env), known, "what is on disk is what the records name");
    let intents: i64 = database
        .query_row("SELECT count(*) FROM civic_storage_intents", [], |row| row.get(0))
        .unwrap();
    assert_eq!(intents, 0, "no intent is left");
}

/// Every file below the root but the trash and the marker; unfinished files count.
fn objects(env: &TestEnv) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut pending = vec![env.storage()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let key = path
                .strip_prefix(env.storage())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() && key != ".trash" {
                pending.push(path);
            } else if path.is_file() && key != ".civic/installation.json" {
                found.insert(key);
            }
        }
    }
    found
}

#[test]
fn row_sidecar_and_bytes_have_the_form_of_civicpress() {
    let env = TestEnv::fixture();
    let file = source(&env, "Procès-verbal 会議.pdf", "minutes");
    let run = upload(
        &env,
        &[
            path(&file),
            "--folder",
            "public",
            "--uploaded-by",
            "clerk1",
            "--description",
            "d",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let data = run.json()["data"].clone();
    assert_eq!(
        (&data["total"], &data["successfulCount"], &data["failedCount"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let record = &data["successful"][0];
    let id = record["id"].as_str().unwrap();
    let stored = format!("Proc_s-verbal____{id}.pdf");
    assert_eq!(record["storedFilename"], stored.as_str());
    let object = env.storage().join("public").join(&stored);
    assert_eq!(fs::read(&object).unwrap(), b"minutes");

    let columns = "typeof(id), typeof(original_name), typeof(stored_filename), typeof(folder), typeof(relative_path), \
        typeof(provider_path), typeof(size), typeof(mime_type), typeof(uploaded_by), typeof(created_at), \
        length(created_at), created_at = updated_at, created_at GLOB '????-??-?? ??:??:??', mime_type, \
        relative_path = folder || '/' || stored_filename";
    let form = |id: &str| -> Vec<String> {
        let sql = format!("SELECT {columns} FROM storage_files WHERE id = ?1");
        env.sql()
            .query_row(&sql, [id], |row| {
                (0..15).map(|at| Ok(format!("{:?}", row.get_ref(at)?))).collect()
            })
            .unwrap()
    };
    let theirs = "38b5d76b-f65d-4788-ba25-adae98c85950";
    assert_eq!(
        form(id),
        form(theirs),
        "the row is of the form that CivicPress writes"
    );

    let ours = fs::read_to_string(format!("{}.meta.json", object.display())).unwrap();
    let theirs = fs::read_to_string(
        env.storage()
            .join("public/Proc_s-verbal_du_3_f_vrier_38b5d76b-f65d-4788-ba25-adae98c85950.pdf.meta.json"),
    )
    .unwrap();
    let keys = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| Some(line.split_once(": ")?.0.to_owned()))
            .collect()
    };
    assert_eq!(
        keys(&ours),
        keys(&theirs),
        "the same keys in the same order, indented alike"
    );
    let sidecar: BTreeMap<String, Value> = serde_json::from_str(&ours).unwrap();
    assert_eq!(sidecar["original_name"], "Procès-verbal 会議.pdf");
    assert_eq!(sidecar["description"], "d");
    assert_eq!(sidecar["provider_path"], path(&object));
    assert_eq!(
        ours.len() - ours.trim_end().len(),
        theirs.len() - theirs.trim_end().len()
    );
}

#[test]
fn the_world_agrees_afterwards() {
    let env = TestEnv::fixture();
    let look = || {
        let run = Run::of(&env, ["storage:cleanup", "--json", "--dry-run", "--min-age", "0"]).json();
        run["data"]["counts"].clone()
    };
    let files = |env: &TestEnv| Run::of(env, ["storage:usage", "--json"]).json()["data"]["total"].clone();
    let (before, had) = (look(), files(&env));
    let list: Vec<PathBuf> = (0..30)
        .map(|n| source(&env, &format!("n{n}.txt"), format!("content {n}")))
        .collect();
    let args: Vec<&str> = list
        .iter()
        .map(|file| path(file))
        .chain(["--folder", "public"])
        .collect();
    let run = upload(&env, &args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(look(), before, "no new finding of any kind");
    assert_eq!(
        files(&env)["files"].as_u64().unwrap(),
        had["files"].as_u64().unwrap() + 30
    );
    let out = env.tmp().join("back");
    for item in run.json()["data"]["successful"].as_array().unwrap() {
        let id = item["id"].as_str().unwrap();
        let back = Run::of(&env, ["storage:download", id, "--force", "--out", path(&out)]);
        assert_eq!(back.code, 0, "{}", back.stderr);
        assert_eq!(
            fs::read(&out).unwrap(),
            fs::read(item["source"].as_str().unwrap()).unwrap()
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_reason_to_refuse_a_file_is_told_and_nothing_is_left_of_it() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| yaml.replace("max_file_size: 100MB", "max_file_size: 1MB"));
    let directory = source(&env, "x.txt", "x").parent().unwrap().to_path_buf();
    let fifo = directory.join("fifo.txt");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let large = source(&env, "large.pdf", vec![0; (1 << 20) + 1]);
    let limited = source(&env, "limited.png", vec![0; (1 << 20) - 1]);
    let before = objects(&env);
    for (folder, file, code, words) in [
        (
            "public",
            source(&env, "run.exe", "x"),
            "STORAGE_VALIDATION_ERROR",
            "executable",
        ),
        (
            "misc",
            source(&env, "run.EXE. .", "x"),
            "STORAGE_VALIDATION_ERROR",
            "executable",
        ),
        (
            "misc",
            source(&env, "deploy.sh", "x"),
            "STORAGE_VALIDATION_ERROR",
            "executable",
        ),
        (
            "misc",
            source(&env, "a.Ps1", "x"),
            "STORAGE_VALIDATION_ERROR",
            "executable",
        ),
        (
            "public",
            source(&env, "a.zip", "x"),
            "STORAGE_VALIDATION_ERROR",
            "type zip is not allowed in folder public",
        ),
        (
            "public",
            source(&env, "README", "x"),
            "STORAGE_VALIDATION_ERROR",
            "type (none) is not allowed",
        ),
        (
            "public",
            source(&env, ".pdf", "x"),
            "STORAGE_VALIDATION_ERROR",
            "type (none)",
        ),
        (
            "public",
            large,
            "STORAGE_VALIDATION_ERROR",
            "takes 1048576 at most",
        ),
        ("misc", fifo, "STORAGE_VALIDATION_ERROR", "no regular file"),
        (
            "public",
            directory.join("gone.txt"),
            "STORAGE_FILE_NOT_FOUND",
            "cannot be read",
        ),
        (
            "public",
            directory.clone(),
            "STORAGE_VALIDATION_ERROR",
            "--recursive",
        ),
        (
            "misc",
            source(&env, " ", "x"),
            "STORAGE_VALIDATION_ERROR",
            "no name",
        ),
    ] {
        let run = upload(&env, &[path(&file), "--folder", folder]);
        let answer = run.json();
        assert_eq!(
            (run.code, &answer["error"]["code"]),
            (1, &json!(code)),
            "{} {answer}",
            file.display()
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(answer["data"]["failed"][0]["errorCode"], code);
    }
    assert_eq!(objects(&env), before);
    assert_eq!(
        upload(&env, &[path(&limited), "--folder", "icons"]).code,
        0,
        "just below the limit"
    );
    let own = upload(&env, &["--folder", "permitz", path(&directory.join("x.txt"))]);
    assert_eq!(own.code, 2, "a folder that is not there is wrong usage");
    assert!(own.json()["error"]["hint"].as_str().unwrap().contains("permits"));
}

#[test]
fn a_folders_own_limit_is_the_lower_one() {
    let env = TestEnv::fixture();
    let file = source(&env, "icon.png", vec![0; (2 << 20) + 1]);
    let run = upload(&env, &[path(&file), "--folder", "icons"]);
    assert_eq!(run.code, 1);
    assert!(
        run.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("folder icons takes 2097152")
    );
}

#[test]
fn one_bad_file_never_stops_the_others() {
    let env = TestEnv::fixture();
    let good: Vec<PathBuf> = (0..5).map(|n| source(&env, &format!("{n}.txt"), "x")).collect();
    let bad = [
        source(&env, "a.exe", "x"),
        source(&env, "b.exe", "x"),
        env.tmp().join("gone.txt"),
    ];
    let all: Vec<&str> = bad.iter().chain(&good).map(|file| path(file)).collect();
    let run = upload(&env, &[&all[..], &["--folder", "public"]].concat());
    assert_eq!(run.code, 3);
    let answer = run.json();
    assert_eq!(
        (&answer["success"], &answer["error"]["code"]),
        (&json!(false), &json!("STORAGE_BATCH_OPERATION_ERROR"))
    );
    let data = &answer["data"];
    assert_eq!(
        (&data["total"], &data["successfulCount"], &data["failedCount"]),
        (&json!(8), &json!(5), &json!(3))
    );
    assert_eq!(
        data["errorSummary"]["byType"],
        json!({"STORAGE_VALIDATION_ERROR": 2, "STORAGE_FILE_NOT_FOUND": 1})
    );
    assert_eq!(data["errorSummary"]["totalErrors"], 3);
    let exe = json!({"error": "type exe is executable and never stored", "count": 2});
    assert!(data["errorSummary"]["byError"].as_array().unwrap().contains(&exe));
    let failed = &data["failed"][0];
    let keys: Vec<&String> = failed.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error", "errorCode", "file"]);
}

#[test]
fn ndjson_has_a_line_per_committed_file_and_a_summary() {
    let env = TestEnv::fixture();
    let files = [source(&env, "a.txt", "a"), source(&env, "b.exe", "b")];
    let run = Run::of(
        &env,
        [
            "storage:upload",
            "--output",
            "ndjson",
            "--folder",
            "public",
            path(&files[0]),
            path(&files[1]),
        ],
    );
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((run.code, lines.len()), (3, 3), "{}", run.stdout);
    let stored = lines.iter().find(|line| line["success"] == true).unwrap();
    assert_eq!(stored["type"], "item");
    assert_eq!(stored["file"]["originalName"], "a.txt");
    assert_eq!(
        (&lines[2]["type"], &lines[2]["successfulCount"]),
        (&json!("summary"), &json!(1))
    );
}

#[test]
fn names_of_every_kind_are_kept_and_their_files_fit() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let names = [
        "L".repeat(251) + ".txt",
        "é".repeat(125) + ".txt",
        "x.".to_owned() + &"e".repeat(250),
        "emoji 🏛️ \u{202e}gnp.txt".to_owned(),
        "line\nbreak.txt".to_owned(),
        "-rf.txt".to_owned(),
        "Robert'); DROP TABLE storage_files;--.txt".to_owned(),
        ".hidden".to_owned(),
    ];
    for name in &names {
        source(env, name, name);
    }
    let run = upload(
        env,
        &[
            "--recursive",
            path(&env.tmp().join("source")),
            "--folder",
            "permits",
        ],
    );
    assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
    let kept: BTreeSet<String> = run.items("successful", "originalName").into_iter().collect();
    assert_eq!(kept, names.iter().cloned().collect());
    assert_whole(env);
    for item in run.json()["data"]["successful"].as_array().unwrap() {
        let object = fs::read_to_string(item["providerPath"].as_str().unwrap()).unwrap();
        assert_eq!(object, item["originalName"].as_str().unwrap());
    }
}

#[test]
fn two_files_of_one_name_are_two_files() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let file = source(env, "a.txt", "a");
    let run = upload(env, &[path(&file), path(&file), "--folder", "permits"]);
    assert_eq!((run.code, &run.json()["data"]["successfulCount"]), (0, &json!(2)));
    assert_whole(env);
}

#[test]
fn a_rerun_with_skip_existing_stores_nothing_twice() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let same = source(env, "same.txt", "same");
    let changed = source(env, "changed.txt", "old!");
    let args = [
        "--folder",
        "permits",
        "--skip-existing",
        path(&same),
        path(&changed),
    ];
    let first = upload(env, &args);
    assert_eq!(first.json()["data"]["successfulCount"], 2);
    let stored = first.json()["data"]["successful"].clone();
    // Uploads run side by side: the order of the answer is not that of the arguments.
    let same_stored = |item: &&Value| item["originalName"] == "same.txt";
    let kept = stored.as_array().unwrap().iter().find(same_stored).unwrap();
    let id = kept["id"].clone();

    fs::write(&changed, "new!").unwrap();
    let again = upload(env, &args).json()["data"].clone();
    assert_eq!(
        (&again["successfulCount"], &again["skippedCount"]),
        (&json!(1), &json!(1)),
        "same size is not same content"
    );
    assert_eq!((&again["skipped"][0]["id"], &again["total"]), (&id, &json!(2)));
    assert_eq!(upload(env, &args).json()["data"]["skippedCount"], 2);
    let elsewhere = upload(env, &["--folder", "public", "--skip-existing", path(&same)]);
    assert_eq!(
        elsewhere.json()["data"]["successfulCount"],
        1,
        "another folder is another file"
    );

    deployment
        .db()
        .execute("DELETE FROM civic_storage_checksums", [])
        .unwrap();
    assert_eq!(
        upload(env, &args).json()["data"]["skippedCount"],
        2,
        "read back where no checksum is known"
    );
    fs::remove_file(kept["providerPath"].as_str().unwrap()).unwrap();
    let healed = upload(env, &args).json()["data"].clone();
    assert_eq!(
        healed["successfulCount"], 1,
        "a record without its object has no content"
    );
}

#[test]
fn a_dry_run_says_what_it_would_store_and_touches_nothing() {
    let env = TestEnv::fixture();
    let files = [source(&env, "a.txt", "abc"), source(&env, "b.exe", "b")];
    let before = env.tree();
    let run = upload(
        &env,
        &[
            "--dry-run",
            "--folder",
            "public",
            "--skip-existing",
            path(&files[0]),
            path(&files[1]),
        ],
    );
    assert_eq!(run.code, 3);
    let data = run.json()["data"].clone();
    assert_eq!(
        (&data["dryRun"], &data["plannedCount"], &data["successfulCount"]),
        (&json!(true), &json!(1), &json!(0))
    );
    assert_eq!(data["planned"][0], json!({"source": path(&files[0]), "size": 3}));
    assert_eq!(data["failed"][0]["errorCode"], "STORAGE_VALIDATION_ERROR");
    before.assert_unchanged(&env.tree());
}

#[test]
fn a_directory_is_taken_whole_and_its_symlinks_are_not_followed() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let top = source(env, ".hidden", "h").parent().unwrap().to_path_buf();
    fs::create_dir_all(top.join("deep/er")).unwrap();
    fs::write(top.join("deep/er/b.txt"), "b").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", top.join("link.txt")).unwrap();
    std::os::unix::fs::symlink("..", top.join("deep/loop")).unwrap();
    let run = upload(env, &["-r", path(&top), "--folder", "permits"]);
    assert_eq!(run.code, 3);
    assert_eq!(run.items("successful", "originalName"), [".hidden", "b.txt"]);
    assert_eq!(run.json()["data"]["failedCount"], 2, "{}", run.stdout);
    let named = upload(env, &[path(&top.join("link.txt")), "--folder", "permits"]);
    assert_eq!(
        named.code, 0,
        "a symlink that was named is followed: {}",
        named.stderr
    );
    assert_whole(env);
}

#[test]
fn a_list_names_files_and_may_come_from_standard_input() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let (a, b) = (source(env, "a.txt", "a"), source(env, "b c.txt", "b"));
    let mut child = env
        .process()
        .args([
            "storage:upload",
            "--json",
            "--folder",
            "permits",
            "--from-list",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    write!(child.stdin.take().unwrap(), "{}\n\n{}", path(&a), path(&b)).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &answer["data"]["successfulCount"]),
        (Some(0), &json!(2))
    );
    let missing = upload(env, &["--folder", "permits", "--from-list", "/nowhere/list"]);
    assert_eq!(
        missing.code, 2,
        "a list that cannot be read comes before any work"
    );
    let none = upload(env, &["--folder", "permits"]);
    assert_eq!(none.code, 2, "no file named");
}

#[test]
fn a_file_above_the_threshold_goes_in_parts_and_comes_back_whole() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let content: Vec<u8> = (0..5_500_003_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    let file = source(env, "big.bin", &content);
    let run = upload(env, &[path(&file), "--folder", "permits"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_whole(env);
    let stored = run.json()["data"]["successful"][0]["providerPath"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(fs::read(stored).unwrap(), content);
}

#[test]
fn a_root_that_is_gone_is_an_unreachable_provider() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let file = source(env, "a.txt", "a");
    fs::remove_dir_all(env.storage()).unwrap();
    let run = upload(env, &[path(&file), "--folder", "permits"]);
    assert_eq!(
        (run.code, &run.json()["error"]["code"]),
        (5, &json!("STORAGE_PROVIDER_UNAVAILABLE")),
        "{}",
        run.stdout
    );
    assert!(
        !env.storage().exists(),
        "nobody makes the root of an unmounted disk"
    );
}

#[test]
fn many_processes_at_once_lose_nothing() {
    let deployment = Deployment::new();
    let env = deployment.env();
    for n in 0..8 {
        source(env, &format!("f{n}.txt"), format!("content {n}"));
    }
    let directory = env.tmp().join("source");
    let start = |_| {
        let mut process = env.process();
        process.args([
            "storage:upload",
            "-r",
            path(&directory),
            "--folder",
            "permits",
            "--silent",
        ]);
        process.stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let rows: i64 = deployment
        .db()
        .query_row("SELECT count(*) FROM storage_files", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 64);
    assert_whole(env);
}

#[test]
fn owner_and_mode_are_those_of_the_directory_above() {
    use std::os::unix::fs::PermissionsExt;
    let deployment = Deployment::new();
    let env = deployment.env();
    fs::set_permissions(env.storage(), fs::Permissions::from_mode(0o750)).unwrap();
    let file = source(env, "a.txt", "a");
    let run = upload(env, &[path(&file), "--folder", "permits"]);
    let object = run.json()["data"]["successful"][0]["providerPath"]
        .as_str()
        .unwrap()
        .to_owned();
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path(&env.storage().join("permits"))), 0o750);
    assert_eq!(
        (mode(&object), mode(&format!("{object}.meta.json"))),
        (0o640, 0o640)
    );
}

#[test]
fn a_folder_that_is_a_file_system_of_its_own_takes_files_too() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let folder = env.storage().join("permits");
    fs::create_dir(&folder).unwrap();
    let (small, large) = (source(env, "a.txt", "a"), source(env, "b.bin", vec![7; 12 << 20]));
    let civic = env.process();
    let script =
        "mount -t tmpfs none \"$1\" && touch \"$1/.civic-tmp-dead\" && shift && \"$@\" && ls -A permits-copy";
    let script = script.replace("ls -A permits-copy", &format!("ls -A {} >&2", path(&folder)));
    let mut unshare = unshared(&civic, &script);
    unshare.arg(&folder);
    unshare.arg(civic.get_program()).args([
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        path(&small),
        path(&large),
    ]);
    let output = unshare.current_dir(env.root()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare") || said.contains("mount:") {
        // Where nobody may mount anything there is nothing to see.
        return;
    }
    assert!(output.status.success(), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["data"]["successfulCount"], 2, "{answer}");
    let left: Vec<&str> = said.lines().collect();
    assert_eq!(
        left.len(),
        4,
        "two files, two sidecars, and what a dead process left is gone: {left:?}"
    );
}
