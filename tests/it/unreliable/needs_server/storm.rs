//! Many operations while one request in twenty meets a fault of some kind.
//!
//! `CIVIC_TEST_STORM` is the number of operations, `CIVIC_TEST_STORM_SEED` which faults they meet.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use crate::common::deployment::Run;
use crate::common::proxy::Fault;
use crate::common::run::report;
use crate::common::{Bucket, TestEnv};
use crate::unreliable::town::{Town, size};

/// Of ten thousand requests.
const SHARE: u64 = 500;

const FAULTS: [Fault; 8] = [
    Fault::Status(500),
    Fault::Status(503),
    Fault::StatusAfter(429, 0),
    Fault::StatusAfter(503, 0),
    Fault::Close,
    Fault::DropAnswer,
    Fault::CutAnswer,
    Fault::Delay(Duration::from_millis(20)),
];

/// What each operation came to.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    failed: Vec<String>,
}

impl Tally {
    fn add(&mut self, run: &Run) {
        let data = &run.json()["data"];
        let items = |list: &str| data[list].as_array().cloned().unwrap_or_default();
        self.done += items("successful").len();
        self.failed
            .extend(items("failed").iter().map(ToString::to_string));
    }
}

/// A file's record: its path and its name.
type Rows = BTreeMap<String, (String, String)>;

fn rows(town: &Town) -> Rows {
    let sql = "SELECT id, provider_path, original_name FROM storage_files";
    let mut rows = town.world.town().db().prepare(sql).unwrap();
    let rows = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
    rows.unwrap().map(Result::unwrap).collect()
}

fn content(name: &str) -> Vec<u8> {
    name.repeat(1 + name.len() % 7).into_bytes()
}

/// The named files, by a list that the command reads.
fn with_list(town: &Town, args: &[&str], ids: &[&String]) -> Run {
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let list = town.source("../list", ids.join("\n").as_bytes());
    town.civic(&[args, &["--json", "--from-list", &list]].concat())
}

/// Three in ten are uploads, three downloads, two moves and two deletions.
fn many(bucket: Bucket) {
    let town = Town::on(bucket);
    town.set("circuit_breaker_enabled: true");
    let total = size("CIVIC_TEST_STORM", 300);
    let seed = size("CIVIC_TEST_STORM_SEED", 20_261_125);
    let (files, few) = (total * 3 / 10, total / 5);
    let mut sent = BTreeSet::new();
    for n in 0..files {
        let name = format!("{n}.txt");
        town.source(&name, &content(&name));
        sent.insert(name);
    }
    town.proxy.storm(u64::try_from(seed).unwrap(), SHARE, &FAULTS);
    let (mut tally, began) = (Tally::default(), Instant::now());
    let inbox = town.world.town().env().tmp().join("inbox");
    let inbox = inbox.to_str().unwrap();
    let mut stderr = String::new();
    let mut note = |run: Run| {
        tally.add(&run);
        stderr.push_str(&run.stderr);
    };
    note(town.civic(&["storage:upload", "--json", "--folder", "permits", "-r", inbox]));
    let stored = rows(&town);
    let ids: Vec<&String> = stored.keys().collect();
    let out = town.world.town().env().tmp().join("out");
    fs::create_dir(&out).unwrap();
    note(with_list(
        &town,
        &["storage:download", "--out", out.to_str().unwrap()],
        &ids,
    ));
    let (gone, moved) = ids.split_at(few.min(ids.len()));
    let moved = &moved[..few.min(moved.len())];
    note(with_list(&town, &["storage:delete", "--yes"], gone));
    let (moved_now, moved_again) = (moved, &moved[..few.saturating_sub(moved.len()).min(moved.len())]);
    note(with_list(
        &town,
        &["storage:move", "--folder", "public"],
        moved_now,
    ));
    note(with_list(
        &town,
        &["storage:move", "--folder", "permits"],
        moved_again,
    ));
    let took = began.elapsed().as_secs_f64();
    let requests = town.proxy.seen();
    town.proxy.calm();
    let hit = requests.iter().filter(|seen| seen.fault.is_some()).count();
    let tried = tally.done + tally.failed.len();
    report(&format!(
        "{}: {tried} operations in {took:.1} s, {} requests, {hit} with a fault, {} failed {:?}",
        town.kind,
        requests.len(),
        tally.failed.len(),
        tally.failed
    ));
    assert!(hit * 100 >= requests.len() * 3, "{hit} of {}", requests.len());
    assert!(stderr.contains("trying again"), "{stderr}");
    assert!(tried >= total * 98 / 100, "{tried} of {total}");
    assert!(tally.failed.len() * 1000 <= tried, "{:?}", tally.failed);
    judged(&town, &stored, gone);
    if tally.failed.is_empty() {
        let names: BTreeSet<String> = stored.values().map(|(_, name)| name.clone()).collect();
        assert_eq!(names, sent, "none lost");
    }
}

/// Each file is there once, or in the trash once, with its bytes.
fn judged(town: &Town, stored: &Rows, gone: &[&String]) {
    // What an operation that failed left open is brought to its end by the next that changes something.
    town.stored("last.txt", b"last");
    let now = rows(town);
    let listed = town.civic(&["storage:trash", "list", "--json"]);
    let trashed = listed.items("items", "id");
    for (id, (_, name)) in stored {
        let times = usize::from(now.contains_key(id)) + trashed.iter().filter(|other| *other == id).count();
        assert_eq!(times, 1, "{name} is there {times} times");
        if let Some((path, _)) = now.get(id) {
            assert_eq!(
                town.world.bytes(path).as_deref(),
                Some(&content(name)[..]),
                "{path}"
            );
        }
    }
    assert!(gone.iter().filter(|id| now.contains_key(**id)).count() * 1000 <= gone.len());
    let back = town.civic(&["storage:trash", "empty", "--older-than", "0", "--yes", "--json"]);
    assert_eq!(back.code, 0, "{back:?}");
    town.world.assert_nothing_left_behind();
}

#[test]
fn on_s3_nearly_all_go_through_none_is_lost_and_none_done_twice() {
    if let Some(bucket) = TestEnv::seaweed() {
        many(bucket);
    }
}

#[test]
fn on_azure_nearly_all_go_through_none_is_lost_and_none_done_twice() {
    if let Some(bucket) = TestEnv::azurite() {
        many(bucket);
    }
}
