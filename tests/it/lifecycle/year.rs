//! A year of nightly runs, a good part of them killed, judged from disk and rows: no file is deleted unwarned, before its
//! age, or while it is held, and every archived file can be read throughout.
//!
//! As large as `CIVIC_TEST_YEAR_FILES` and `CIVIC_TEST_YEAR_DAYS` say, else small enough for every day.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Town, content};
use crate::common::deployment::key;

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const POLICIES: &str = "  policies:
    - { name: old-plans, folder: plans, action: delete, max_age: 300d, warn_before: 14d }
    - { name: permits-away, folder: permits, action: archive, max_age: 250d, archive: { provider: vault } }
    - { name: public-aside, folder: public, action: archive, max_age: 8mo, warn_before: 7d, archive: { provider: vault, folder: attic } }
    - { name: attic-goes, folder: attic, action: delete, max_age: 500d, warn_before: 1mo }
    - { name: hold, folder: '*', action: retain, min_age: 380d, match: { name: '*7.txt' } }
    - { name: look, folder: permits, action: warn, max_age: 200d }
  notify: { log: false, file: warnings.ndjson }
";

/// What is known of a file from the beginning.
struct Known {
    folder: &'static str,
    created: DateTime<Utc>,
    held: bool,
}

struct Year {
    town: Town,
    known: HashMap<String, (u32, Known)>,
    /// Files that were there the last time.
    left: HashMap<String, String>,
    start: DateTime<Utc>,
    deleted: u64,
    archived: u64,
    killed: u64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// Files of every age up to 460 days, in three folders, a tenth of them held.
fn begin(count: u32, random: &mut Random) -> Year {
    let town = Town::new(POLICIES);
    let start: DateTime<Utc> = SystemTime::now().into();
    let mut known = HashMap::new();
    let root = town.town.storage().display().to_string();
    town.town.db().execute_batch("BEGIN").unwrap();
    for n in 0..count {
        let folder = ["plans", "permits", "public"][usize::try_from(random.below(3)).unwrap()];
        let age = Duration::from_secs(random.below(460 * 86_400));
        let (at, bytes) = (key(folder, n), content(n));
        let path = town.town.storage().join(&at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &bytes).unwrap();
        let id = town
            .town
            .record(n, &root, &at, (i64::try_from(bytes.len()).unwrap(), age));
        let created: DateTime<Utc> = (SystemTime::now() - age).into();
        let held = n % 10 == 7;
        known.insert(
            id,
            (
                n,
                Known {
                    folder,
                    created,
                    held,
                },
            ),
        );
    }
    town.town.db().execute_batch("COMMIT").unwrap();
    let mut year = Year {
        town,
        known,
        left: HashMap::new(),
        start,
        deleted: 0,
        archived: 0,
        killed: 0,
    };
    year.left = year.rows();
    year
}

impl Year {
    fn rows(&self) -> HashMap<String, String> {
        let mut statement = self
            .town
            .town
            .db()
            .prepare("SELECT id, provider_path FROM storage_files")
            .unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// One night: to its end, or to a kill.
    fn night(&mut self, day: u64, random: Option<&mut Random>) {
        let args = [
            "storage:lifecycle",
            "--apply",
            "--yes",
            "--json",
            "--max-delete",
            "100%",
            "--override",
            "clock-skew",
        ];
        let mut process = self.town.process_after(day);
        process
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = process.spawn().unwrap();
        if let Some(random) = random {
            let deadline = Instant::now() + Duration::from_micros(10_000 + random.below(150_000));
            while Instant::now() < deadline {
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            self.killed += u64::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            return;
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "day {day}: {said}");
    }

    fn judge(&mut self, day: u64, warned: &HashMap<(String, String), DateTime<Utc>>) {
        let now = self.start + chrono::TimeDelta::days(i64::try_from(day).unwrap());
        // A night takes a while.
        let soon = now + chrono::TimeDelta::hours(1);
        let rows = self.rows();
        for (id, was) in &self.left {
            let (n, known) = &self.known[id];
            let age = (soon - known.created).num_days();
            let Some(path) = rows.get(id) else {
                let (policy, least, before) = if was.contains("/attic/") {
                    ("attic-goes", 500, 28)
                } else {
                    assert_eq!(
                        known.folder, "plans",
                        "day {day}: {id} of {was} went, which no policy deletes"
                    );
                    ("old-plans", 300, 14)
                };
                assert!(age >= least, "day {day}: {id} went after {age} days");
                assert!(
                    !known.held || age >= 380,
                    "day {day}: {id} went while it was held"
                );
                let at = warned.get(&(id.clone(), policy.to_owned()));
                let at = at.unwrap_or_else(|| panic!("day {day}: {id} went unwarned"));
                assert!(
                    (soon - *at).num_days() >= before,
                    "day {day}: {id} was warned of at {at}"
                );
                self.deleted += 1;
                continue;
            };
            if path != was {
                let (policy, least) = match known.folder {
                    "permits" => ("permits-away", 250),
                    _ => ("public-aside", 240),
                };
                assert!(age >= least, "day {day}: {id} was archived after {age} days");
                assert!(
                    !known.held || age >= 380,
                    "day {day}: {id} was archived while it was held"
                );
                if policy == "public-aside" {
                    let at = warned[&(id.clone(), policy.to_owned())];
                    assert!((soon - at).num_days() >= 7, "day {day}: {id}");
                }
                self.archived += 1;
            }
            let bytes = fs::read(path).unwrap_or_else(|error| panic!("day {day}: {path}: {error}"));
            assert_eq!(bytes, content(*n), "day {day}: {path}");
        }
        assert!(
            rows.keys().all(|id| self.left.contains_key(id)),
            "day {day}: nothing comes back by itself"
        );
        self.left = rows;
    }
}

/// When each file was first told of, by policy.
fn warned(file: &Path, seen: &mut HashMap<(String, String), DateTime<Utc>>, read: &mut usize) {
    let text = fs::read_to_string(file).unwrap_or_default();
    for line in text[*read..].split_inclusive('\n') {
        if !line.ends_with('\n') {
            break;
        }
        *read += line.len();
        let Ok(told) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let text = |key: &str| told[key].as_str().unwrap().to_owned();
        let at = text("sentAt").parse().unwrap();
        seen.entry((text("id"), text("policy"))).or_insert(at);
    }
}

#[test]
fn a_year_of_nights_loses_nothing_that_was_to_be_kept() {
    let count = u32::try_from(setting("CIVIC_TEST_YEAR_FILES", 120)).unwrap();
    let days = setting("CIVIC_TEST_YEAR_DAYS", 60);
    let mut random = Random(setting("CIVIC_TEST_SEED", 0x5eed));
    let mut year = begin(count, &mut random);
    let file = year.town.town.env().system_data().join("warnings.ndjson");
    let (mut told, mut read) = (HashMap::new(), 0);
    // Fewer nights than 365 are spread over the year.
    let mut last = 0;
    for night in 1..=days {
        last = night * 365 / days;
        let killed = random.below(5) < 2;
        year.night(last, killed.then_some(&mut random));
        warned(&file, &mut told, &mut read);
        year.judge(last, &told);
    }
    // Whatever the kills left, two nights without any bring to an end what is due.
    for _ in 0..2 {
        year.night(last, None);
        warned(&file, &mut told, &mut read);
        year.judge(last, &told);
    }
    for (id, path) in &year.left {
        let (_, known) = &year.known[id];
        let age = (year.start - known.created).num_days() + i64::try_from(last).unwrap();
        // A day for what became due in the last night.
        let away = age > 382 || (!known.held && age > 252);
        if known.folder == "permits" && away {
            assert!(
                path.contains("/vault/permits/"),
                "{id} of {age} days is at {path}"
            );
        }
        assert!(
            known.folder != "plans" || age < 400,
            "{id} of {age} days is still there"
        );
    }
    assert_eq!(crate::change::unsettled(&year.town.town), 0);
    let look = year.town.town.cleanup(&["--min-age", "0"]);
    let left = [
        "orphanedObjects",
        "orphanedRecords",
        "mismatches",
        "misplaced",
        "foreign",
    ]
    .map(|kind| look.count(kind));
    assert_eq!(left, [0; 5], "{}", look.stdout);
    eprintln!(
        "{count} files, {days} nights, {} killed: {} archived, {} deleted, {} warnings, {} left",
        year.killed,
        year.archived,
        year.deleted,
        told.len(),
        year.left.len()
    );
    assert!(year.archived > 0 && year.deleted > 0 && year.killed > 0);
}
