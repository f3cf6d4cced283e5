//! Sixteen processes that upload and delete at once, beside cleanups that delete: nothing acknowledged is lost, nothing
//! that was taken away is beyond recall, and the cleanups take exactly what was orphaned before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::cleanup_apply::Stopped;
use crate::common::deployment::{Run, key, uuid};
use crate::common::{TestEnv, World};

const UPLOADERS: u32 = 8;
const DELETERS: u32 = 8;
/// Files of each of them.
const FILES: u32 = 6;
const ORPHANS: u32 = 12;
/// In a bucket, what a test planted is young, as after a restored database.
const CLEANUP: [&str; 8] = [
    "storage:cleanup",
    "--apply",
    "--yes",
    "--json",
    "--max-delete",
    "1000",
    "--override",
    "restored-database",
];

/// The n-th file of a deleter.
const fn doomed(deleter: u32, n: u32) -> u32 {
    1000 + deleter * 100 + n
}

const fn orphan(n: u32) -> u32 {
    9000 + n
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(dir).unwrap();
    let one = |n| {
        let path = dir.join(format!("{n} résumé.txt"));
        fs::write(&path, format!("{} {n}", dir.display())).unwrap();
        path
    };
    (0..FILES).map(one).collect()
}

/// Half of them a batch, half of them one by one; what was acknowledged: id and bytes.
fn upload(env: &TestEnv, uploader: u32) -> Vec<(String, Vec<u8>)> {
    let dir = env.tmp().join(format!("source-{uploader}"));
    let sources = sources(&dir);
    let base = ["storage:upload", "--json", "--folder", "permits"];
    let store = |what: &[&str]| {
        let run = Run::of(env, [&base, what].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        let list = run.json()["data"]["successful"].as_array().unwrap().clone();
        list.into_iter()
    };
    let stored: Vec<Value> = if uploader.is_multiple_of(2) {
        store(&["--recursive", dir.to_str().unwrap()]).collect()
    } else {
        let one = |path: &PathBuf| store(&[path.to_str().unwrap()]);
        sources.iter().flat_map(one).collect()
    };
    let acknowledged = |file: &Value| {
        let name = file["originalName"].as_str().unwrap();
        let id = file["id"].as_str().unwrap().to_owned();
        (id, fs::read(dir.join(name)).unwrap())
    };
    stored.iter().map(acknowledged).collect()
}

/// The runs that deleted the deleter's files.
fn delete(env: &TestEnv, deleter: u32) -> Vec<String> {
    let ids: Vec<String> = (0..FILES).map(|n| uuid(doomed(deleter, n))).collect();
    let base = ["storage:delete", "--yes", "--json"];
    let go = |what: Vec<&str>| {
        let run = Run::of(env, [&base[..], &what].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        run.json()["data"]["runId"].as_str().unwrap().to_owned()
    };
    if deleter.is_multiple_of(2) {
        vec![go(ids.iter().map(String::as_str).collect())]
    } else {
        ids.iter().map(|id| go(vec![id])).collect()
    }
}

/// Cleans up again and again until told that all have ended, and tells how many objects and records went.
fn clean(env: &TestEnv, all_ended: &AtomicBool) -> (u64, u64) {
    let mut gone = (0, 0);
    loop {
        let last = all_ended.load(Ordering::SeqCst);
        for age in ["0", "24h"] {
            let run = Run::of(env, [&CLEANUP[..], &["--min-age", age]].concat());
            assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
            let cleaned = &run.json()["data"]["cleaned"];
            gone.0 += cleaned["objects"].as_u64().unwrap();
            gone.1 += cleaned["records"].as_u64().unwrap();
        }
        if last {
            return gone;
        }
    }
}

fn sixteen_at_once_beside_a_cleanup(world: &World) {
    for n in 0..ORPHANS {
        world.object(&key("public", orphan(n)));
        world.record(orphan(100 + n), &key("public", orphan(100 + n)));
    }
    for deleter in 0..DELETERS {
        for n in 0..FILES {
            world.object(&key("public", doomed(deleter, n)));
            world.record(doomed(deleter, n), &key("public", doomed(deleter, n)));
        }
    }
    let env = world.town().env();
    let all_ended = AtomicBool::new(false);
    let (acknowledged, runs, gone) = thread::scope(|scope| {
        let uploads: Vec<_> = (0..UPLOADERS)
            .map(|n| scope.spawn(move || upload(env, n)))
            .collect();
        let deletes: Vec<_> = (0..DELETERS)
            .map(|n| scope.spawn(move || delete(env, n)))
            .collect();
        let cleanup = scope.spawn(|| clean(env, &all_ended));
        let acknowledged: Vec<_> = uploads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        let runs: Vec<_> = deletes.into_iter().map(thread::ScopedJoinHandle::join).collect();
        all_ended.store(true, Ordering::SeqCst);
        (acknowledged, runs, cleanup.join())
    });
    let orphans = u64::from(ORPHANS);
    assert_eq!(gone.unwrap(), (orphans, orphans), "exactly what was orphaned");
    let acknowledged: Vec<_> = acknowledged.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(acknowledged.len(), (UPLOADERS * FILES) as usize);
    for (id, bytes) in &acknowledged {
        assert!(world.file(id).1 == *bytes, "{id} has other bytes");
    }
    assert_eq!(
        world.ids().len(),
        acknowledged.len(),
        "all that was deleted is gone"
    );
    world.assert_whole();
    world.assert_nothing_left_behind();
    for run in runs.into_iter().flat_map(Result::unwrap) {
        let undone = world.town().civic(&["storage:undo", "--yes", "--json", &run]);
        assert_eq!(undone.code, 0, "{}\n{}", undone.stdout, undone.stderr);
    }
    let back = acknowledged.len() + (DELETERS * FILES) as usize;
    assert_eq!(world.ids().len(), back, "all that was deleted is back");
    world.assert_whole();
}

#[test]
fn on_disk_sixteen_at_once_beside_a_cleanup_lose_nothing() {
    sixteen_at_once_beside_a_cleanup(&World::local());
}

#[test]
fn what_a_deletion_is_carrying_to_the_trash_is_nobodys_orphan() {
    let world = World::local();
    for n in [1, 2] {
        world.object(&key("public", n));
        world.record(n, &key("public", n));
    }
    let delete = ["storage:delete", "--yes", "--json", &uuid(1)];
    let delete = Stopped::command(world.town(), "delete.after-intend", &delete);
    for more in [&["--dry-run"][..], &["--apply", "--yes"]] {
        let run = world
            .town()
            .cleanup(&[&["--min-age", "0", "--override", "empty-database"], more].concat());
        let counts = (run.count("inFlight"), run.count("orphanedObjects"));
        assert_eq!((run.code, counts), (0, (1, 0)), "{}", run.stdout);
    }
    let delete = delete.go_on();
    assert_eq!(delete.code, 0, "{}\n{}", delete.stdout, delete.stderr);
    world.assert_nothing_left_behind();
}

mod needs_server {
    use super::*;

    #[test]
    fn on_seaweedfs_sixteen_at_once_beside_a_cleanup_lose_nothing() {
        if let Some(bucket) = TestEnv::seaweed() {
            sixteen_at_once_beside_a_cleanup(&World::on(bucket));
        }
    }

    #[test]
    fn on_gcs_sixteen_at_once_beside_a_cleanup_lose_nothing() {
        if let Some(bucket) = TestEnv::gcs() {
            sixteen_at_once_beside_a_cleanup(&World::on(bucket));
        }
    }

    #[test]
    fn on_azurite_sixteen_at_once_beside_a_cleanup_lose_nothing() {
        if let Some(bucket) = TestEnv::azurite() {
            sixteen_at_once_beside_a_cleanup(&World::on(bucket));
        }
    }
}
