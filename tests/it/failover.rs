//! New files while the active provider is down: they go to the next, their records name it, and writes return.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::common::deployment::{Deployment, Run};

/// An endpoint where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// `town` on S3, which is down, is active; `disk` and `attic` stand in.
fn town_with(others: &str, more: &str) -> Deployment {
    town_before(&nobody(), others, more)
}

fn town_before(endpoint: &str, others: &str, more: &str) -> Deployment {
    let town = Deployment::new();
    for disk in ["disk", "attic"] {
        fs::create_dir_all(root(&town, disk)).unwrap();
    }
    let s3 = Deployment::s3(endpoint, "bucket", "").replace("  s3:", "  town:");
    let disks: Vec<String> = ["disk", "attic"]
        .iter()
        .map(|name| {
            format!(
                "  {name}: {{ type: local, path: {} }}",
                root(&town, name).display()
            )
        })
        .collect();
    town.providers(&format!("{s3}\n{}", disks.join("\n")));
    town.env()
        .edit_config(|yaml| format!("{yaml}\nfailover_providers: [{others}]\n{more}\n"));
    town
}

fn root(town: &Deployment, name: &str) -> PathBuf {
    town.env().tmp().join(name)
}

fn sources(town: &Deployment, count: usize) -> Vec<String> {
    let dir = town.env().tmp().join("inbox");
    fs::create_dir_all(&dir).unwrap();
    (0..count)
        .map(|n| {
            let path = dir.join(format!("{n}.txt"));
            fs::write(&path, format!("file {n}")).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect()
}

fn upload(town: &Deployment, files: &[String]) -> Run {
    let mut args = vec![
        "storage:upload",
        "--json",
        "--folder",
        "permits",
        "--concurrency",
        "3",
    ];
    args.extend(files.iter().map(String::as_str));
    town.civic(&args)
}

/// Where the records say that files are, each with its bytes there.
fn recorded(town: &Deployment) -> Vec<String> {
    let sql = town.env().sql();
    let mut rows = sql
        .prepare("SELECT provider_path, original_name FROM storage_files")
        .unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>().unwrap();
    for (path, name) in &rows {
        let expected = format!("file {}", name.trim_end_matches(".txt"));
        assert_eq!(fs::read_to_string(path).unwrap(), expected, "{path}");
    }
    rows.into_iter().map(|(path, _)| path).collect()
}

/// A port that drops what would make a connection; it ends when dropped.
struct Unanswered(Child, String);

impl Unanswered {
    fn new() -> Self {
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/unanswered.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        Self(child, format!("http://127.0.0.1:{}", port.trim()))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn connecting_takes_two_seconds_at_most_where_there_is_somewhere_else_to_go() {
    let port = Unanswered::new();
    let town = town_before(&port.1, "disk", "");
    let began = Instant::now();
    let run = upload(&town, &sources(&town, 1));
    let took = began.elapsed().as_secs_f64();
    assert_eq!((run.code, recorded(&town).len()), (0, 1), "{run:?}");
    assert!(
        run.stderr.contains("2000 ms (connection_timeout)"),
        "{}",
        run.stderr
    );
    assert!(
        (1.9..9.0).contains(&took),
        "{took} s, and connection_timeout is 10 s"
    );
}

#[test]
fn a_batch_is_worth_another_try_where_each_of_its_failed_files_is() {
    let town = town_with("", "");
    let files = sources(&town, 3);
    let run = upload(&town, &files);
    assert_eq!(run.code, 5, "{run:?}");
    let json = run.json();
    assert_eq!(json["error"]["code"], "STORAGE_BATCH_OPERATION_ERROR", "{json}");
    assert_eq!(json["error"]["retryable"], true, "{json}");
    let bad = town.env().tmp().join("inbox/virus.exe");
    fs::write(&bad, "x").unwrap();
    let run = upload(&town, &[files, vec![bad.display().to_string()]].concat());
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(run.json()["error"]["retryable"], false, "{run:?}");
}

#[test]
fn while_the_active_provider_is_down_files_go_to_the_next_and_records_name_it() {
    let town = town_with("disk, attic", "");
    let run = upload(&town, &sources(&town, 20));
    assert_eq!(run.code, 0, "{run:?}");
    let paths = recorded(&town);
    assert_eq!(paths.len(), 20);
    let disk = root(&town, "disk").display().to_string();
    assert!(paths.iter().all(|path| path.starts_with(&disk)), "{paths:?}");
    let data = &run.json()["data"];
    let switch = &data["failover"][0];
    assert_eq!((&switch["from"], &switch["to"]), (&"town".into(), &"disk".into()));
    assert_eq!(
        data["failover"].as_array().unwrap().len(),
        1,
        "one switch is one event"
    );
    assert!(
        run.stderr.contains("storage:migrate --from disk --to town"),
        "{}",
        run.stderr
    );
    let runs = town.civic(&["storage:runs", "--json"]);
    let summary = &runs.json()["data"]["runs"][0]["summary"];
    assert_eq!(summary["failover"][0]["to"], "disk", "{summary}");
    let circuits = town.civic(&["storage:health", "town", "--json"]);
    assert_eq!(
        circuits.json()["data"]["providers"][0]["circuit"],
        "open",
        "{}",
        circuits.stdout
    );
    let metrics = town.civic(&["storage:metrics", "--format", "prometheus"]).stdout;
    for line in [
        "civic_storage_operations_total{operation=\"failover\",provider=\"disk\",folder=\"\"} 1\n",
        "civic_storage_circuit_open{provider=\"town\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[test]
fn a_backup_provider_that_takes_files_itself_is_no_second_place_and_says_so() {
    let town = town_with("disk", "backup_providers: [disk]\ncross_provider_backup: true");
    let run = upload(&town, &sources(&town, 2));
    assert_eq!(run.code, 3, "{run:?}");
    let data = &run.json()["data"];
    assert_eq!(
        (
            &data["successfulCount"],
            data["missingCopies"].as_array().unwrap().len()
        ),
        (&2.into(), 2)
    );
    assert_eq!(recorded(&town).len(), 2);
}

#[test]
fn of_ten_uploads_five_run_and_five_wait_and_the_log_says_so() {
    let town = Deployment::new();
    let files = sources(&town, 10);
    let mut args = vec!["storage:upload", "-v", "--folder", "permits"];
    args.extend(files.iter().map(String::as_str));
    let run = town.civic(&args);
    assert!(run.stderr.contains("10 uploads: 5 run, 5 wait"), "{}", run.stderr);
    let few = town.civic(&[&args[..], &["--concurrency", "10"]].concat());
    assert!(!few.stderr.contains("wait"), "{}", few.stderr);
}

#[test]
fn the_next_run_knows_that_the_circuit_is_open_and_sends_nothing_there() {
    let town = town_with("disk", "");
    assert_eq!(upload(&town, &sources(&town, 12)).code, 0);
    let again = upload(&town, &sources(&town, 12));
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("its circuit is open"), "{}", again.stderr);
    assert!(!again.stderr.contains("trying again"), "{}", again.stderr);
    assert_eq!(recorded(&town).len(), 24);
}

#[test]
fn where_no_provider_takes_a_file_one_error_has_every_reason() {
    let town = town_with("disk, attic", "");
    for disk in ["disk", "attic"] {
        fs::remove_dir_all(root(&town, disk)).unwrap();
    }
    let run = upload(&town, &sources(&town, 1));
    assert_eq!(run.code, 5, "{run:?}");
    let error = run.json()["data"]["failed"][0]["error"]
        .as_str()
        .unwrap()
        .to_owned();
    for name in ["town", "disk", "attic"] {
        assert!(error.contains(&format!("{name}: ")), "{error}");
    }
}

#[test]
fn a_refusal_is_no_outage_and_failover_may_be_switched_off() {
    let town = town_with("disk", "failover_enabled: false");
    let run = upload(&town, &sources(&town, 2));
    assert_eq!(run.code, 5, "{run:?}");
    assert_eq!(recorded(&town).len(), 0);
    assert!(run.json()["data"]["failover"].is_null());
}

#[test]
fn killed_between_two_providers_an_upload_leaves_no_record_without_bytes() {
    let town = town_with("disk", "");
    let files = sources(&town, 3);
    let mut args = vec!["storage:upload", "--folder", "permits", "--concurrency", "1"];
    args.extend(files.iter().map(String::as_str));
    let killed = town
        .process()
        .args(&args)
        .env("CIVIC_FAILPOINT", "upload.after-second-intent")
        .output()
        .unwrap();
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    assert_eq!(recorded(&town).len(), 0);
    let reserved = "SELECT sum(size) FROM civic_storage_intents";
    let reserved: i64 = town
        .env()
        .sql()
        .query_row(reserved, [], |row| row.get(0))
        .unwrap();
    assert_eq!(
        reserved, 18,
        "the room of three files of 6 bytes went with the one that goes elsewhere"
    );
    let next = upload(&town, &files);
    assert_eq!(next.code, 0, "{next:?}");
    assert_eq!(recorded(&town).len(), 3);
    let look = town.civic(&[
        "storage:cleanup",
        "--provider",
        "disk",
        "--min-age",
        "0",
        "--json",
    ]);
    assert_eq!(
        look.json()["data"]["counts"]["orphanedObjects"],
        0,
        "{}",
        look.stdout
    );
}

mod needs_server {
    use super::*;
    use crate::common::TestEnv;

    #[test]
    fn once_the_provider_passes_its_check_writes_return() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let town = town_with("disk", "circuit_breaker_timeout: 1s");
        assert_eq!(upload(&town, &sources(&town, 12)).code, 0);
        assert_eq!(recorded(&town).len(), 12);
        let down = fs::read_to_string(town.env().config()).unwrap();
        let up = bucket.provider_yaml("town", "");
        let lines = down.lines().map(|line| {
            if line.starts_with("  town:") {
                up.as_str()
            } else {
                line
            }
        });
        fs::write(town.env().config(), lines.collect::<Vec<_>>().join("\n")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let back = upload(&town, &sources(&town, 5));
        assert_eq!(back.code, 0, "{back:?}");
        assert!(back.json()["data"]["failover"].is_null(), "{}", back.stdout);
        let sql = "SELECT count(*) FROM storage_files WHERE provider_path LIKE 's3://%'";
        let there: i64 = town.env().sql().query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(there, 5);
        let home = town.civic(&[
            "storage:migrate",
            "--from",
            "disk",
            "--to",
            "town",
            "--yes",
            "--json",
        ]);
        assert_eq!(home.json()["data"]["successfulCount"], 12, "{home:?}");
    }
}
