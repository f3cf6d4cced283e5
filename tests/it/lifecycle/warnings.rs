//! Warnings: sent in every way that is named, once, written down, and waited for.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Town, errors, four};
use crate::common::deployment::uuid;
use crate::delete::run_id;

const WARNED: &str =
    "  policies:\n    - { name: old, folder: permits, action: delete, max_age: 100d, warn_before: 14d }\n";

/// Who takes warnings: answers with the next of these codes, with the last ever after, and keeps what it was sent.
struct Hook {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    fn new(codes: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret-path", listener.local_addr().unwrap());
        let (got, codes) = (Arc::new(Mutex::new(Vec::new())), codes.to_vec());
        let kept = Arc::clone(&got);
        std::thread::spawn(move || {
            let mut codes = codes.into_iter().peekable();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let code = codes.next_if(|_| true);
                let code = match codes.peek() {
                    None => {
                        // The last one again.
                        let last = code.unwrap_or(200);
                        codes = vec![last].into_iter().peekable();
                        last
                    }
                    Some(_) => code.unwrap(),
                };
                let (body, json) = request(&stream);
                if json {
                    kept.lock().unwrap().push(body);
                }
                let answer = format!(
                    "HTTP/1.1 {code} X\r\nLocation: /new-secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, got }
    }

    fn got(&self) -> Vec<Value> {
        self.got.lock().unwrap().clone()
    }
}

/// The body of a POST of JSON, and whether it was one.
fn request(stream: &std::net::TcpStream) -> (Value, bool) {
    let mut reader = BufReader::new(stream);
    let (mut length, mut json, mut first) = (0, false, String::new());
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        json |= line == "content-type: application/json";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let is_post = first.starts_with("POST /secret-path ");
    (serde_json::from_slice(&body).unwrap_or_default(), json && is_post)
}

fn notify(ways: &str) -> String {
    format!("{WARNED}  notify: {{ {ways} }}\n")
}

fn lines(town: &Town) -> Vec<Value> {
    let text = fs::read_to_string(town.town.env().system_data().join("warnings.ndjson")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn warned(town: &Town) -> i64 {
    let sql = "SELECT count(*) FROM civic_storage_warnings";
    town.town.db().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_file_is_warned_of_once_waited_for_and_deleted_and_warned_of_anew_once_it_was_brought_back() {
    let town = Town::new(&notify("log: true, file: warnings.ndjson"));
    town.file(1, "permits", 90);
    town.file(2, "permits", 80);
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")), (0, [0, 0, 1, 0]), "{run:?}");
    assert!(run.stderr.contains("old is to delete it on"), "{}", run.stderr);
    let told = &lines(&town)[0];
    assert_eq!(
        (told["id"].as_str(), told["policy"].as_str()),
        (Some(uuid(1).as_str()), Some("old"))
    );
    assert_eq!(
        (told["action"].as_str(), told["type"].as_str()),
        (Some("delete"), Some("storage.lifecycle.warning"))
    );
    assert_eq!(
        (told["uploadedBy"].as_str(), told["runId"].as_str()),
        (Some("clerk"), Some(run_id(&run).as_str()))
    );
    let at = |key: &str| {
        told[key]
            .as_str()
            .unwrap()
            .parse::<chrono::DateTime<chrono::Utc>>()
            .unwrap()
    };
    assert_eq!((at("goesAt") - at("sentAt")).num_days(), 14);
    for days in [1, 5, 13] {
        let run = town.apply_after(days, &[]);
        let waiting = run.json()["data"]["waiting"].as_u64().unwrap();
        assert_eq!((run.code, four(&run, "done")[0]), (0, 0), "{days}: {run:?}");
        assert!(waiting >= 1, "{days}: {run:?}");
        town.assert_readable(1, "waiting");
    }
    assert_eq!(
        lines(&town).len(),
        2,
        "the other file was due to be warned of meanwhile"
    );
    let run = town.apply_after(15, &[]);
    assert_eq!((run.code, four(&run, "done")[0]), (0, 1), "{run:?}");
    assert_eq!(town.path(1), None);

    assert_eq!(town.after(15, &["storage:undo", "--yes", &run_id(&run)]).code, 0);
    town.assert_readable(1, "brought back");
    let run = town.apply_after(16, &[]);
    assert_eq!(
        four(&run, "done"),
        [0, 0, 1, 0],
        "an undo is not undone the next night: {run:?}"
    );
    let run = town.apply_after(29, &[]);
    assert_eq!(
        four(&run, "done"),
        [1, 0, 0, 0],
        "the other one, warned of on the thirteenth day"
    );
    town.assert_readable(1, "warned of anew");
    assert_eq!(four(&town.apply_after(31, &[]), "done")[0], 1);
    assert_eq!((town.path(1), town.path(2)), (None, None));
    assert_eq!(lines(&town).len(), 3);
}

#[test]
fn an_archive_is_warned_of_and_waited_for_too() {
    let town = Town::new(
        "  policies:\n    - { name: a, folder: permits, action: archive, max_age: 100d, warn_before: 14d, archive: { folder: attic } }\n",
    );
    town.file(1, "permits", 200);
    let run = town.apply(&[]);
    assert!(run.stderr.contains("to folder attic"), "{}", run.stderr);
    assert_eq!(four(&town.apply_after(13, &[]), "done"), [0; 4]);
    assert_eq!(four(&town.apply_after(15, &[]), "done")[1], 1);
    assert!(town.path(1).unwrap().contains("/attic/"));
    town.assert_whole("archived");
}

#[test]
fn a_webhook_is_posted_each_warning_as_json() {
    let hook = Hook::new(&[204]);
    let town = Town::new(&notify(&format!(
        "log: false, file: warnings.ndjson, webhook: '{}'",
        hook.url
    )));
    (1..=5).for_each(|n| drop(town.file(n, "permits", 200)));
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[2]), (0, 5), "{run:?}");
    let mut got: Vec<String> = hook
        .got()
        .iter()
        .map(|body| body["id"].as_str().unwrap().to_owned())
        .collect();
    got.sort();
    assert_eq!(got, [1, 2, 3, 4, 5].map(uuid));
    assert_eq!(
        hook.got()[0]["originalName"].as_str().unwrap().split(' ').next(),
        Some("file")
    );
    assert_eq!(lines(&town).len(), 5, "the file has the same");
    assert_eq!(run.stderr, "", "the log was not asked for");
    assert_eq!(four(&town.apply(&[]), "done"), [0; 4]);
    assert_eq!(hook.got().len(), 5, "once");
}

#[test]
fn a_webhook_that_fails_means_that_nobody_was_warned_and_is_asked_again() {
    let hook = Hook::new(&[500, 200]);
    let town = Town::new(&notify(&format!(
        "log: false, file: warnings.ndjson, webhook: '{}'",
        hook.url
    )));
    town.file(1, "permits", 200);
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[2]), (1, 0), "{run:?}");
    assert!(errors(&run)[0].1.contains("the webhook answered 500"), "{run:?}");
    assert!(
        !(run.stdout.clone() + &run.stderr).contains("secret-path"),
        "{run:?}"
    );
    assert_eq!(
        (lines(&town).len(), warned(&town)),
        (0, 0),
        "nobody was told in another way"
    );
    // Twenty days later nothing has gone: it was never warned of.
    let run = town.apply_after(20, &[]);
    assert_eq!((run.code, four(&run, "done")), (0, [0, 0, 1, 0]), "{run:?}");
    assert_eq!(lines(&town).len(), 1);
    town.assert_readable(1, "warned late");
    assert_eq!(four(&town.apply_after(33, &[]), "done")[0], 0);
    assert_eq!(four(&town.apply_after(35, &[]), "done")[0], 1);
}

#[test]
fn a_webhook_that_sends_elsewhere_was_not_told_and_is_not_followed() {
    for code in [301, 302, 303, 307, 308] {
        // What is asked next would answer well.
        let hook = Hook::new(&[code, 200]);
        let town = Town::new(&notify(&format!("log: false, webhook: '{}'", hook.url)));
        town.file(1, "permits", 200);
        let run = town.apply(&[]);
        assert_eq!(
            (run.code, four(&run, "done")[2], warned(&town)),
            (1, 0, 0),
            "{run:?}"
        );
        let why = &errors(&run)[0].1;
        assert!(
            why.contains(&format!("answered {code}, which sends elsewhere")),
            "{why}"
        );
        let said = run.stdout.clone() + &run.stderr;
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn a_webhook_that_is_down_is_not_asked_a_hundred_times() {
    let hook = Hook::new(&[503]);
    let town = Town::new(&notify(&format!("webhook: '{}'", hook.url)));
    (1..=40).for_each(|n| drop(town.file(n, "permits", 200)));
    let run = town.apply(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert_eq!(errors(&run).len(), 40);
    assert!(hook.got().len() < 12, "{}", hook.got().len());
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    town.configure(&notify(&format!("webhook: 'http://{gone}/secret-path'")));
    let run = town.apply(&[]);
    assert!(errors(&run)[0].1.contains("could not be reached"), "{run:?}");
    assert!(!(run.stdout + &run.stderr).contains("secret-path"));
}

#[test]
fn a_file_that_cannot_be_written_to_warns_nobody() {
    let hook = Hook::new(&[200]);
    let town = Town::new(&notify(&format!(
        "file: nowhere/warnings.ndjson, webhook: '{}'",
        hook.url
    )));
    town.file(1, "permits", 200);
    let run = town.apply(&[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(errors(&run)[0].1.contains("nowhere/warnings.ndjson"), "{run:?}");
    assert_eq!((hook.got().len(), warned(&town)), (0, 0));
}

#[test]
fn a_log_that_shows_nothing_warns_nobody() {
    let town = Town::new(WARNED);
    town.file(1, "permits", 200);
    let run = town.apply(&["--silent"]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(errors(&run)[0].1.contains("the log is silent"), "{run:?}");
    assert_eq!(warned(&town), 0);
}

#[test]
fn a_line_that_was_cut_off_does_not_spoil_the_next() {
    let town = Town::new(&notify("log: false, file: warnings.ndjson"));
    let file = town.town.env().system_data().join("warnings.ndjson");
    fs::write(&file, "{\"id\":\"cut o").unwrap();
    town.file(1, "permits", 200);
    assert_eq!(town.apply(&[]).code, 0);
    let text = fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (text.lines().count(), last["id"].as_str()),
        (2, Some(uuid(1).as_str()))
    );
}

#[test]
fn a_policy_that_only_warns_does_so_once_and_needs_no_agreement() {
    let town = Town::new("  policies:\n    - { name: tell, folder: permits, action: warn, max_age: 100d }\n");
    town.file(1, "permits", 200);
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")), (0, [0, 0, 1, 0]), "{run:?}");
    assert!(
        run.stderr.contains("has reached the age of tell"),
        "{}",
        run.stderr
    );
    assert_eq!(four(&town.apply_after(300, &[]), "counts"), [0; 4]);
    town.assert_readable(1, "warned of");
}

#[test]
fn a_check_sends_nothing_and_writes_nothing_down() {
    let hook = Hook::new(&[200]);
    let town = Town::new(&notify(&format!(
        "file: warnings.ndjson, webhook: '{}'",
        hook.url
    )));
    town.file(1, "permits", 200);
    let before = town.town.env().tree();
    let run = town.run(&[]);
    assert_eq!(four(&run, "counts"), [0, 0, 1, 0]);
    assert_eq!(hook.got().len(), 0);
    before.assert_unchanged(&town.town.env().tree());
}

#[test]
fn a_refused_run_sends_nothing() {
    let town = Town::new(&format!(
        "{WARNED}    - {{ name: all, folder: plans, action: delete, max_age: 1d }}\n  notify: {{ file: warnings.ndjson }}\n"
    ));
    town.file(1, "permits", 200);
    town.file(2, "plans", 200);
    let run = town.apply(&["--max-delete", "0"]);
    assert_eq!(run.code, 8, "{run:?}");
    assert_eq!(lines(&town).len(), 0);
}
