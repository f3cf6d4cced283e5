//! Deleting, putting back and judging by policies take the same memory however many files there are.

use std::fs;
use std::process::Stdio;

use crate::cleanup_apply::Stopped;
use crate::common::TestEnv;
use crate::common::deployment::Deployment;

/// Bytes by which a run of many may be larger than one of few: less than it would take to hold a record and its answer
/// for each file more. Fewer files than these would not have filled the caches of the database.
const SLACK: u64 = 6 << 20;

/// Memory of the process's own when it comes to the point, after which it goes on to its end.
fn held(env: &TestEnv, point: &str, args: &[&str]) -> u64 {
    let mut child = env
        .process()
        .args(args)
        .env("CIVIC_FAILPOINT_STOP", point)
        // The allocator keeps a heap per thread otherwise, as many as there are cores: noise above what is looked for.
        .env("MALLOC_ARENA_MAX", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let proc = |what: &str| fs::read_to_string(format!("/proc/{}/{what}", child.id())).unwrap();
    loop {
        let stat = proc("stat");
        let state = stat.rsplit(") ").next().unwrap();
        assert!(!state.starts_with('Z'), "it ended before {point}");
        if state.starts_with('T') {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = proc("status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    child.wait().unwrap();
    kilobytes << 10
}

/// What deleting so many records takes, and putting them back, at the last batch of each.
fn both(count: u32) -> (u64, u64) {
    let env = TestEnv::fixture();
    env.add_records(count);
    let list = env.tmp().join("list");
    let ids: Vec<String> = (1..=count)
        .map(|n| format!("00000000-0000-4000-8000-{n:012}"))
        .collect();
    fs::write(&list, ids.join("\n")).unwrap();
    let batches = count / 100;
    let list = list.to_str().unwrap();
    let delete = ["storage:delete", "--from-list", list, "--yes", "--json"];
    let deleting = held(&env, &format!("delete.after-settle:{batches}"), &delete);
    let left: u32 = env
        .sql()
        .query_row(
            "SELECT count(*) FROM storage_files WHERE original_name LIKE 'added %'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
    let run: String = env
        .sql()
        .query_row(
            "SELECT id FROM civic_storage_runs WHERE operation = 'storage:delete'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let undo = ["storage:undo", &run, "--yes", "--json"];
    let putting_back = held(&env, &format!("undo.after-settle:{batches}"), &undo);
    let back: u32 = env
        .sql()
        .query_row(
            "SELECT count(*) FROM storage_files WHERE original_name LIKE 'added %'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(back, count);
    (deleting, putting_back)
}

#[test]
fn ten_thousand_deletions_take_the_memory_of_four_thousand() {
    let (few, many) = (both(4_000), both(10_000));
    assert!(
        many.0 < few.0 + SLACK,
        "deleting: {} bytes after {}",
        many.0,
        few.0
    );
    assert!(
        many.1 < few.1 + SLACK,
        "putting back: {} bytes after {}",
        many.1,
        few.1
    );
}

/// What judging and warning of so many records takes, at the last batch.
fn judging(count: u32) -> u64 {
    let env = TestEnv::fixture();
    env.add_records(count);
    env.edit_config(|yaml| {
        yaml + "\nlifecycle:\n  policies:\n    - { name: tell, folder: public, action: warn, max_age: 30d, match: { name: 'added *' } }\n\
              \u{20}   - { name: hold, folder: '*', action: retain, except: { name: 'added *' } }\n  notify: { log: false, file: warnings.ndjson }\n"
    });
    let point = format!("lifecycle.after-record:{}", count / 100);
    let held = held(&env, &point, &["storage:lifecycle", "--apply", "--yes", "--json"]);
    let told = fs::read_to_string(env.system_data().join("warnings.ndjson")).unwrap();
    assert_eq!(told.lines().count(), count as usize);
    held
}

#[test]
fn judging_ten_thousand_files_takes_the_memory_of_four_thousand() {
    let (few, many) = (judging(4_000), judging(10_000));
    assert!(many < few + SLACK, "{many} bytes after {few}");
}

/// The most that the process had held when the last of so many files of this size was put, all at once.
fn uploading(count: usize, size: usize) -> u64 {
    let deployment = Deployment::new();
    let directory = deployment.env().tmp().join("source");
    fs::create_dir_all(&directory).unwrap();
    for n in 0..count {
        fs::write(directory.join(format!("{n}.bin")), vec![b'x'; size]).unwrap();
    }
    let many = count.to_string();
    let args = [
        "storage:upload",
        "-r",
        directory.to_str().unwrap(),
        "--folder",
        "permits",
        "--concurrency",
        &many,
    ];
    let stopped = Stopped::command(&deployment, &format!("upload.after-put:{count}"), &args);
    let status = fs::read_to_string(format!("/proc/{}/status", stopped.0.id())).unwrap();
    assert_eq!(stopped.go_on().code, 0);
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn many_files_at_once_hold_no_more_bytes_than_there_is_room_for() {
    let (one, many) = (uploading(1, 9_000_000), uploading(40, 9_000_000));
    // What the allocator keeps for later comes on top of the 48 MiB; all files at once would be 360 MB.
    assert!(many < one + (144 << 20), "{many} bytes after {one}");
}

/// Each goes in parts of 5 MB, whose buffers serve those of the others, too.
#[test]
fn many_large_files_at_once_hold_no_more_bytes_than_there_is_room_for() {
    let (one, many) = (uploading(1, 30_000_000), uploading(20, 30_000_000));
    assert!(many < one + (72 << 20), "{many} bytes after {one}");
}
