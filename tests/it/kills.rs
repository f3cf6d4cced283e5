//! Random kills over everything that changes something, judged from outside by files and rows: no acknowledged file is
//! lost, no record is without bytes, and after one more run nothing is left behind.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::deployment::key;
use crate::common::{TestEnv, World};

/// Knuth's MMIX generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What the world outside knows: files that were acknowledged, and what they hold.
#[derive(Default)]
struct Known {
    /// Id and size.
    acknowledged: Vec<(String, u64)>,
}

/// Starts a command, kills it at a random moment, and gives back what it had printed by then.
fn killed(command: &mut Command, random: &mut Random) -> String {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Long enough for a bucket, so that some runs come to their end.
    std::thread::sleep(Duration::from_micros(random.below(250_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

/// Uploads eight files, to the end or to a kill, and gives those that were acknowledged.
fn upload(world: &World, random: Option<&mut Random>, round: u64) -> Vec<(String, u64)> {
    let batch = world.town().env().tmp().join(format!("batch-{round}"));
    fs::create_dir_all(&batch).unwrap();
    for n in 0..8 {
        fs::write(batch.join(format!("{round}-{n}.txt")), vec![b'u'; 100 + n]).unwrap();
    }
    let mut command = world.town().process();
    command
        .args([
            "storage:upload",
            "--folder",
            "permits",
            "--recursive",
            "--output",
            "ndjson",
        ])
        .arg(&batch);
    let said = match random {
        Some(random) => killed(&mut command, random),
        None => String::from_utf8(command.output().unwrap().stdout).unwrap(),
    };
    // A line that was cut off by the kill acknowledges nothing.
    let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let files = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    files
        .filter(|line| line["type"] == "item" && line["success"] == true)
        .map(|line| {
            let file = &line["file"];
            (
                file["id"].as_str().unwrap().to_owned(),
                file["size"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn cleanup(world: &World, random: &mut Random, round: u64) {
    let n = 1000 + u32::try_from(round).unwrap();
    world.object(&key("public", n));
    world.record(5000 + n, &key("public", 5000 + n));
    let mut command = world.town().process();
    command.args([
        "storage:cleanup",
        "--apply",
        "--yes",
        "--min-age",
        "0",
        "--max-delete",
        "100000",
    ]);
    killed(&mut command, random);
}

/// Deletes one file; whether it went is not known, since the command is killed.
fn delete(world: &World, random: &mut Random, known: &mut Known) {
    if known.acknowledged.is_empty() {
        return;
    }
    let at = usize::try_from(random.below(known.acknowledged.len() as u64)).unwrap();
    let (id, _) = known.acknowledged.swap_remove(at);
    let mut command = world.town().process();
    command.args(["storage:delete", &id, "--yes"]);
    killed(&mut command, random);
}

/// Moves one file to the other folder, or back; wherever it is when the command is killed, it is kept.
fn refile(world: &World, random: &mut Random, known: &Known) {
    let Some((id, _)) = known.any(random) else { return };
    let folder = ["permits", "public"][usize::from(random.below(2) == 0)];
    let mut command = world.town().process();
    command.args(["storage:move", id, "--folder", folder]);
    killed(&mut command, random);
}

/// Takes everything of a folder to the other provider, or back.
fn migrate(world: &World, random: &mut Random, home: &str) {
    let ends = match random.below(2) {
        0 => [home, "vault"],
        _ => ["vault", home],
    };
    let folder = ["permits", "public"][usize::from(random.below(2) == 0)];
    let mut command = world.town().process();
    let args = [
        "storage:migrate",
        "--from",
        ends[0],
        "--to",
        ends[1],
        "--folder",
        folder,
    ];
    command.args(args).arg("--yes");
    killed(&mut command, random);
}

/// Gives one file another description.
fn update(world: &World, random: &mut Random, known: &Known, round: u64) {
    let Some((id, _)) = known.any(random) else { return };
    let mut command = world.town().process();
    command.args([
        "storage:update",
        id,
        "--description",
        &format!("of round {round}"),
    ]);
    killed(&mut command, random);
}

/// Takes back some run that changed something.
fn undo(world: &World, random: &mut Random) {
    let sql = "SELECT id FROM civic_storage_runs WHERE operation IN ('storage:delete', 'storage:cleanup', \
               'storage:migrate', 'storage:move', 'storage:update') AND status <> 'running' ORDER BY id";
    let Ok(mut statement) = world.town().db().prepare(sql) else {
        return;
    };
    let runs: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    if runs.is_empty() {
        return;
    }
    let run = &runs[usize::try_from(random.below(runs.len() as u64)).unwrap()];
    let mut command = world.town().process();
    command.args(["storage:undo", run, "--yes"]);
    killed(&mut command, random);
}

impl Known {
    fn any(&self, random: &mut Random) -> Option<&(String, u64)> {
        let count = self.acknowledged.len() as u64;
        let at = usize::try_from(random.below(count.max(1))).unwrap();
        self.acknowledged.get(at)
    }

    /// Each sidecar tells what the row says; in a bucket not every file has one.
    #[track_caller]
    fn is_told(&self, world: &World) {
        for (id, _) in &self.acknowledged {
            let sql =
                "SELECT provider_path, folder, coalesce(description, '') FROM storage_files WHERE id = ?1";
            let row: (String, String, String) = world
                .town()
                .db()
                .query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .unwrap();
            let Some(told) = world.bytes(&format!("{}.meta.json", row.0)) else {
                assert!(!row.0.starts_with('/') && row.2.is_empty(), "{id} has no sidecar");
                continue;
            };
            let told: Value = serde_json::from_slice(&told).unwrap();
            let told = [&told["folder"], &told["description"]].map(|told| told.as_str().unwrap_or_default());
            assert_eq!(told, [row.1, row.2], "{id}:\n{}", history(world, id));
        }
    }

    #[track_caller]
    fn is_kept(&self, world: &World) {
        for (id, size) in &self.acknowledged {
            let (recorded, bytes) = world.file(id);
            assert_eq!((bytes.len() as u64, recorded), (*size, *size), "{id}");
        }
    }
}

/// What the journal knows of a file: a failure that no seed brings back is to tell how it came about.
fn history(world: &World, id: &str) -> String {
    let sql = "SELECT operation || ' ' || status || ': ' || action || ' ' || state || ' ' || provider || ' ' \
               || coalesce(to_provider, '') || ' ' || coalesce(row_before, '') || ' -> ' || coalesce(row_after, '') \
               FROM civic_storage_steps JOIN civic_storage_runs ON id = run_id WHERE file_id = ?1 \
               ORDER BY started_at, number";
    let db = world.town().db();
    let mut statement = db.prepare(sql).unwrap();
    let lines = statement.query_map([id], |row| row.get::<_, String>(0)).unwrap();
    lines.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

/// As many kills as `CIVIC_TEST_KILLS` says, else a few; then one run that is left alone.
fn nothing_acknowledged_is_lost_and_nothing_is_left_behind(world: &World) {
    let kills: u64 = std::env::var("CIVIC_TEST_KILLS").map_or(30, |n| n.parse().unwrap());
    let seed = std::env::var("CIVIC_TEST_SEED").map_or(0x5eed, |n| n.parse().unwrap());
    let home = world.with_vault();
    world.object(&key("public", 1));
    world.record(1, &key("public", 1));
    let (mut random, mut known) = (Random(seed), Known::default());
    // On a busy machine no upload may come far before its kill: these are there to be lost in any case.
    known.acknowledged.extend(upload(world, None, kills));
    assert_eq!(known.acknowledged.len(), 8);
    for round in 0..kills {
        match random.below(7) {
            0 => known.acknowledged.extend(upload(world, Some(&mut random), round)),
            1 => cleanup(world, &mut random, round),
            2 => delete(world, &mut random, &mut known),
            3 => refile(world, &mut random, &known),
            4 => update(world, &mut random, &known, round),
            5 => migrate(world, &mut random, home),
            _ => undo(world, &mut random),
        }
        known.is_kept(world);
    }
    // A migration may have left a folder with nothing in it but records whose objects never were.
    let all = [
        "--apply",
        "--yes",
        "--min-age",
        "0",
        "--max-delete",
        "100000",
        "--override",
        "empty-listing",
    ];
    let last = world.town().cleanup(&all);
    assert_eq!(last.code, 0, "{}\n{}", last.stdout, last.stderr);
    known.is_kept(world);
    known.is_told(world);
    world.assert_nothing_left_behind();
}

#[test]
fn whatever_is_killed_at_random_on_disk_loses_nothing() {
    nothing_acknowledged_is_lost_and_nothing_is_left_behind(&World::local());
}

mod needs_server {
    use super::*;

    #[test]
    fn whatever_is_killed_at_random_on_seaweedfs_loses_nothing() {
        if let Some(bucket) = TestEnv::seaweed() {
            nothing_acknowledged_is_lost_and_nothing_is_left_behind(&World::on(bucket));
        }
    }

    #[test]
    fn whatever_is_killed_at_random_on_gcs_loses_nothing() {
        if let Some(bucket) = TestEnv::gcs() {
            nothing_acknowledged_is_lost_and_nothing_is_left_behind(&World::on(bucket));
        }
    }

    #[test]
    fn whatever_is_killed_at_random_on_azurite_loses_nothing() {
        if let Some(bucket) = TestEnv::azurite() {
            nothing_acknowledged_is_lost_and_nothing_is_left_behind(&World::on(bucket));
        }
    }
}
