//! Quotas: what is over one is refused whoever else is uploading, what fits never is, and what died holds no room.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use civic_storage::metadata::journal::{JournalReader, JournalStore, Owner, UploadIntent};
use civic_storage::metadata::quota::{Admission, Limits};
use civic_storage::metadata::sqlite::SqliteJournal;
use serde_json::{Value, json};

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, days, key, uuid};

/// One local provider, folders `permits` and `public`, and these keys of `permits` and of `global`.
fn with(permits: &str, global: &str) -> Deployment {
    let deployment = Deployment::new();
    deployment.env().edit_config(|yaml| {
        let yaml = yaml.replace("{ path: permits,", &format!("{{ {permits} path: permits,"));
        format!("{yaml}global: {{ {global} }}\n")
    });
    deployment
}

fn source(env: &TestEnv, name: &str, size: usize) -> String {
    let path = env.tmp().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![b'x'; size]).unwrap();
    path.display().to_string()
}

/// Uploads files of these sizes to `permits`.
fn upload(deployment: &Deployment, sizes: &[usize], more: &[&str]) -> Run {
    let file = |(at, size): (usize, &usize)| source(deployment.env(), &format!("{at}-{size}.txt"), *size);
    let files: Vec<String> = sizes.iter().enumerate().map(file).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    deployment.civic(
        &[
            &["storage:upload", "--json", "--folder", "permits"],
            more,
            files.as_slice(),
        ]
        .concat(),
    )
}

fn quota(deployment: &Deployment, args: &[&str]) -> Value {
    let run = deployment.civic(&[&["storage:quota", "--json"], args].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json()["data"].clone()
}

fn used(deployment: &Deployment, folder: &str) -> u64 {
    let sql = "SELECT coalesce(sum(size), 0) FROM storage_files WHERE folder = ?1";
    let sum: i64 = deployment
        .db()
        .query_row(sql, [folder], |row| row.get(0))
        .unwrap();
    sum.unsigned_abs()
}

#[test]
fn a_file_that_is_over_the_quota_is_refused_with_what_there_is() {
    let deployment = with("quota: 100,", "");
    deployment.record(1, "/srv", &key("permits", 1), (30, days(1)));
    let run = upload(&deployment, &[71], &[]);
    let answer = run.json();
    assert_eq!(run.code, 6, "{answer}");
    let error = &answer["error"];
    assert_eq!(error["code"], "STORAGE_QUOTA_EXCEEDED");
    let room =
        json!({"folder": "permits", "used": 30, "reserved": 0, "limit": 100, "available": 70, "wanted": 71});
    for (name, value) in room.as_object().unwrap() {
        assert_eq!(&error["details"][name], value, "{name}: {error}");
    }
    let failed = &answer["data"]["failed"][0];
    assert_eq!(
        (&failed["errorCode"], &failed["details"]),
        (&json!("STORAGE_QUOTA_EXCEEDED"), &room)
    );
    assert_eq!(
        answer["data"]["errorSummary"]["byType"],
        json!({"STORAGE_QUOTA_EXCEEDED": 1})
    );
    assert_eq!(upload(&deployment, &[70], &[]).code, 0, "to the last byte");
    assert_eq!(upload(&deployment, &[0], &[]).code, 0, "nothing always fits");
    assert_eq!(upload(&deployment, &[1], &[]).code, 6);
}

#[test]
fn of_a_batch_goes_up_what_fits() {
    let deployment = with("quota: 100,", "");
    let run = upload(&deployment, &[60, 50, 30, 20, 10], &["--concurrency", "1"]);
    let answer = run.json();
    assert_eq!(run.code, 3, "{answer}");
    assert_eq!(answer["error"]["code"], "STORAGE_BATCH_OPERATION_ERROR");
    assert_eq!(used(&deployment, "permits"), 100, "60, 30 and 10");
    let none = upload(&deployment, &[60, 50], &[]);
    let details = none.json()["error"]["details"].clone();
    assert_eq!(
        (none.code, &none.json()["error"]["code"]),
        (6, &json!("STORAGE_QUOTA_EXCEEDED"))
    );
    assert_eq!(
        (&details["wanted"], &details["available"], &details["used"]),
        (&json!(110), &json!(0), &json!(100))
    );
}

#[test]
fn a_batch_that_goes_up_as_a_whole_or_not_at_all_finds_room_for_all_or_none() {
    let deployment = with("quota: 100,", "");
    let run = upload(&deployment, &[60, 50], &["--atomic"]);
    assert_ne!(run.code, 0);
    assert_eq!(used(&deployment, "permits"), 0);
    assert_eq!(
        quota(&deployment, &["permits"])["folders"]["permits"]["reserved"],
        0,
        "nothing stays reserved"
    );
    assert_eq!(upload(&deployment, &[60, 40], &["--atomic"]).code, 0);
}

#[test]
fn the_whole_has_a_quota_too() {
    let deployment = with("", "global_quota: 100");
    deployment.record(1, "/srv", &key("elsewhere", 1), (90, days(1)));
    let run = upload(&deployment, &[11], &[]);
    let details = run.json()["error"]["details"].clone();
    assert_eq!(
        (run.code, &details["folder"], &details["available"]),
        (6, &Value::Null, &json!(10))
    );
    assert_eq!(upload(&deployment, &[10], &[]).code, 0);
    let data = quota(&deployment, &[]);
    assert_eq!(
        (&data["global"]["used"], &data["global"]["status"]),
        (&json!(100), &json!("critical"))
    );
    assert_eq!(
        (
            &data["folders"]["permits"]["used"],
            &data["folders"]["permits"]["limit"]
        ),
        (&json!(10), &Value::Null)
    );
}

#[test]
fn without_enforcement_it_is_only_told() {
    let deployment = with("quota: 100,", "quota_enforcement: false");
    let run = upload(&deployment, &[150], &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(
        run.stderr
            .contains("folder permits has taken 150.0 % of its quota"),
        "{}",
        run.stderr
    );
    let data = quota(&deployment, &["permits"]);
    assert_eq!(
        (&data["enforced"], &data["folders"]["permits"]["status"]),
        (&json!(false), &json!("exceeded"))
    );
}

#[test]
fn a_folder_that_fills_up_is_warned_of_at_80_and_at_95_percent() {
    let deployment = with("quota: 1000,", "");
    assert_eq!(upload(&deployment, &[799], &[]).stderr, "");
    let run = upload(&deployment, &[1], &[]);
    assert!(
        run.stderr
            .contains("folder permits has taken 80.0 % of its quota"),
        "{}",
        run.stderr
    );
    let run = upload(&deployment, &[149], &[]);
    assert!(
        run.stderr.contains("has taken 94.9 % of its quota"),
        "{}",
        run.stderr
    );
    let run = deployment.civic(&["storage:quota", "permits"]);
    assert_eq!(run.code, 0);
    assert!(run.stderr.contains("94.9 %"), "{}", run.stderr);
    let line = run
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(line, "permits 949 B 0 B 1000 B 51 B 94.9 %");
    assert_eq!(quota(&deployment, &[])["folders"]["permits"]["status"], "warning");
    upload(&deployment, &[1], &[]);
    let data = quota(&deployment, &[]);
    assert_eq!(
        (
            &data["folders"]["permits"]["status"],
            &data["folders"]["permits"]["percent"]
        ),
        (&json!("critical"), &json!(95.0))
    );
    assert_eq!(data["folders"]["public"]["status"], "unlimited");
    let unknown = deployment.civic(&["storage:quota", "permitz"]);
    assert_eq!(unknown.code, 2, "{}", unknown.stdout);
}

#[test]
fn a_dry_run_says_what_would_be_refused_and_reserves_nothing() {
    let deployment = with("quota: 100,", "");
    let run = upload(&deployment, &[60, 50, 40], &["--dry-run"]);
    let answer = run.json();
    assert_eq!(run.code, 3, "{answer}");
    assert_eq!(answer["data"]["plannedCount"], 2);
    assert_eq!(answer["data"]["failed"][0]["details"]["available"], 40);
    assert_eq!(upload(&deployment, &[101], &["--dry-run"]).code, 6);
    assert_eq!(upload(&deployment, &[100], &[]).code, 0);
}

#[test]
fn a_move_into_a_full_folder_is_refused_and_going_back_never_is() {
    let deployment = with("quota: 100,", "");
    let first = upload(&deployment, &[60], &[]).json()["data"]["successful"][0]["id"].clone();
    let other = source(deployment.env(), "other.txt", 50);
    let run = deployment.civic(&["storage:upload", &other, "--folder", "public", "--json"]);
    let other = run.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for dry in [&["--dry-run"][..], &[]] {
        let run =
            deployment.civic(&[&["storage:move", &other, "--folder", "permits", "--json"], dry].concat());
        let error = run.json()["error"].clone();
        assert_eq!(
            (run.code, &error["code"]),
            (6, &json!("STORAGE_QUOTA_EXCEEDED")),
            "{error}"
        );
        assert_eq!(
            (&error["details"]["available"], &error["details"]["wanted"]),
            (&json!(40), &json!(50))
        );
    }
    assert_eq!(
        (used(&deployment, "permits"), used(&deployment, "public")),
        (60, 50)
    );
    // A deleted file comes back, though another has taken its room.
    let run = deployment.civic(&["storage:delete", first.as_str().unwrap(), "--yes", "--json"]);
    let deletion = run.json()["data"]["runId"].as_str().unwrap().to_owned();
    let moved = deployment.civic(&["storage:move", &other, "--folder", "permits", "--json"]);
    assert_eq!(moved.code, 0, "{}", moved.stdout);
    let undone = deployment.civic(&["storage:undo", &deletion, "--yes"]);
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    assert_eq!(used(&deployment, "permits"), 110);
    // And so does a file that was moved away.
    let away = deployment.civic(&["storage:move", &other, "--folder", "public", "--json"]);
    let away = away.json()["data"]["runId"].as_str().unwrap().to_owned();
    assert_eq!(upload(&deployment, &[40], &[]).code, 0);
    let undone = deployment.civic(&["storage:undo", &away, "--yes"]);
    assert_eq!(undone.code, 0, "{}", undone.stderr);
    assert_eq!(used(&deployment, "permits"), 150);
}

#[test]
fn the_trash_counts_where_it_is_said_to() {
    for (counts, left) in [(false, 100), (true, 40)] {
        let deployment = with("quota: 100,", &format!("quota_counts_trash: {counts}"));
        let id = upload(&deployment, &[60], &[]).json()["data"]["successful"][0]["id"].clone();
        assert_eq!(
            deployment
                .civic(&["storage:delete", id.as_str().unwrap(), "--yes"])
                .code,
            0
        );
        let data = quota(&deployment, &["permits"]);
        assert_eq!(data["folders"]["permits"]["available"], left, "{data}");
        assert_eq!(data["countsTrash"], counts);
        assert_eq!(upload(&deployment, &[left + 1], &[]).code, 6);
        assert_eq!(
            deployment
                .civic(&["storage:trash", "empty", "--older-than", "0", "--yes"])
                .code,
            0
        );
        assert_eq!(upload(&deployment, &[100], &[]).code, 0);
    }
}

#[test]
fn what_civicpress_writes_between_two_groups_counts() {
    let deployment = with("quota: 1000,", "");
    assert_eq!(upload(&deployment, &[1], &[]).code, 0);
    deployment.record(1, "/srv", &key("permits", 1), (900, days(1)));
    assert_eq!(upload(&deployment, &[100], &[]).code, 6);
    deployment
        .db()
        .execute("UPDATE storage_files SET size = 899 WHERE size = 900", [])
        .unwrap();
    assert_eq!(upload(&deployment, &[100], &[]).code, 0);
    deployment
        .db()
        .execute("DELETE FROM storage_files WHERE size = 899", [])
        .unwrap();
    assert_eq!(upload(&deployment, &[899], &[]).code, 0);
}

/// Sixteen processes that upload files of these sizes each; what was refused, by size.
fn race(deployment: &Deployment, limit: u64, sizes: impl Fn(usize) -> Vec<usize> + Sync) -> Vec<u64> {
    let over = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    let env = deployment.env();
    let database = env.database();
    let racer = |number: usize| {
        let sizes = sizes(number);
        let file = |(at, size): (usize, &usize)| source(env, &format!("{number}/{at}.txt"), *size);
        let files: Vec<String> = sizes.iter().enumerate().map(file).collect();
        let output = env
            .process()
            .args([
                "storage:upload",
                "--json",
                "--folder",
                "permits",
                "--concurrency",
                "2",
            ])
            .args(&files)
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let failed = answer["data"]["failed"].as_array().unwrap().clone();
        let wanted = |item: Value| {
            assert_eq!(item["errorCode"], "STORAGE_QUOTA_EXCEEDED", "{item}");
            item["details"]["wanted"].as_u64().unwrap()
        };
        failed.into_iter().map(wanted).collect::<Vec<u64>>()
    };
    let refused: Vec<u64> = thread::scope(|scope| {
        scope.spawn(|| watch(&database, limit, (&over, &done)));
        let racer = &racer;
        let racers: Vec<_> = (0..16).map(|number| scope.spawn(move || racer(number))).collect();
        let refused = racers.into_iter().map(thread::ScopedJoinHandle::join);
        let refused: Vec<_> = refused.collect();
        done.store(true, Ordering::SeqCst);
        refused.into_iter().flat_map(Result::unwrap).collect()
    });
    assert!(!over.load(Ordering::SeqCst), "it was over its quota for a while");
    refused
}

/// Looks again and again whether the folder is over its quota. What the dead had reserved is nobody's, recovered or not.
fn watch(database: &Path, limit: u64, (over, done): (&AtomicBool, &AtomicBool)) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    let sql = "SELECT NULL, coalesce(sum(size), 0) FROM storage_files WHERE folder = 'permits'
        UNION ALL SELECT pid, size FROM civic_storage_intents";
    let mut taken = connection.prepare(sql).unwrap();
    while !done.load(Ordering::SeqCst) {
        let rows = taken.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rows: Vec<(Option<u32>, i64)> = rows.collect::<Result<_, _>>().unwrap();
        let lives = |pid: Option<u32>| pid.is_none_or(|pid| Path::new(&format!("/proc/{pid}")).exists());
        let taken: i64 = rows
            .into_iter()
            .filter(|(pid, _)| lives(*pid))
            .map(|(_, size)| size)
            .sum();
        over.fetch_or(taken.unsigned_abs() > limit, Ordering::SeqCst);
        thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn sixteen_processes_fill_a_folder_to_the_brim_and_never_over_it() {
    let deployment = with("quota: 1000,", "");
    assert_eq!(upload(&deployment, &[3], &[]).code, 0);
    deployment.record(1, "/srv", &key("permits", 1), (500, days(1)));
    let refused = race(&deployment, 1000, |number| {
        (0..6).map(|n| 5 + (number * 7 + n * 11) % 17).collect()
    });
    let left = 1000 - used(&deployment, "permits");
    assert!(!refused.is_empty(), "they all wanted more than there was");
    for wanted in &refused {
        assert!(*wanted > left, "{wanted} bytes were refused, and {left} are left");
    }
}

#[test]
fn of_files_of_one_size_exactly_as_many_go_up_as_fit() {
    let deployment = with("quota: 10,", "global_quota: 1000");
    assert_eq!(upload(&deployment, &[0], &[]).code, 0);
    let refused = race(&deployment, 10, |_| vec![1; 2]);
    assert_eq!((used(&deployment, "permits"), refused.len()), (10, 22));
}

#[test]
fn room_that_killed_uploads_had_reserved_is_free_again() {
    let deployment = with("quota: 100,", "");
    assert_eq!(upload(&deployment, &[10], &[]).code, 0);
    for (at, point) in ["upload.after-intent", "upload.after-put", "upload.before-commit"]
        .iter()
        .enumerate()
    {
        let output = deployment
            .process()
            .args([
                "storage:upload",
                "--folder",
                "permits",
                &source(deployment.env(), &format!("{at}.txt"), 85),
            ])
            .env("CIVIC_FAILPOINT", point)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), None, "{point}: killed");
        let free = quota(&deployment, &["permits"])["folders"]["permits"]["available"].clone();
        assert_eq!(free, 90, "{point}: at once, before anybody recovered it");
    }
    let refused = race(&deployment, 100, |_| vec![9, 8]);
    let left = 100 - used(&deployment, "permits");
    assert!(refused.iter().all(|wanted| *wanted > left), "{refused:?}, {left}");
}

/// While a command is under way, another process is killed: its room is found before anything is refused.
#[tokio::test]
async fn what_ends_meanwhile_is_found_before_anything_is_refused() {
    let deployment = with("quota: 100,", "");
    let store = Arc::new(SqliteJournal::open(&deployment.env().database()).unwrap());
    let mut dead = Owner::of_this_process();
    dead.process.push('1');
    let intent = |number, owner: &Owner| UploadIntent {
        copies: Vec::new(),
        file_id: uuid(number),
        run_id: "r".to_owned(),
        provider: "local".to_owned(),
        key: key("permits", number),
        size: 60,
        owner: owner.clone(),
        renewed_at: chrono::Utc::now(),
    };
    let limits = Limits {
        folders: [("permits".to_owned(), 100)].into(),
        enforced: true,
        ..Limits::default()
    };
    let silent = Owner {
        host: "elsewhere".to_owned(),
        ..dead.clone()
    };
    for (owner, fits) in [
        (&dead, true),
        (&silent, false),
        (&Owner::of_this_process(), false),
    ] {
        store
            .intend_uploads(&[intent(1, owner)], &Limits::default(), &[])
            .await
            .unwrap();
        let ours = [intent(2, &Owner::of_this_process())];
        let answers = civic_storage::engine::quota::reserve(store.as_ref(), &ours, &limits)
            .await
            .unwrap();
        assert_eq!(
            answers.answers == [Admission::Fits],
            fits,
            "{owner:?}: {answers:?}"
        );
        let left = store.intents().await.unwrap();
        assert_eq!(
            left.len(),
            if fits { 2 } else { 1 },
            "its intent stays for recovery"
        );
        store.withdraw_intents(&[uuid(1), uuid(2)]).await.unwrap();
    }
}
