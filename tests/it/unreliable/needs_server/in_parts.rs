//! Large downloads come in parts that are asked for side by side: whole, of one object, and in constant memory, whatever
//! becomes of one of them.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::deployment::Run;
use crate::common::proxy::Fault;
use crate::common::run::{knows_nameless_files, report, unshared};
use crate::common::{Remote, TestEnv};
use crate::unreliable::town::Town;

/// Five parts of 8 MiB, as they are where a connection is slow; the last of them is short.
const SIZE: usize = (32 << 20) + 12_345;

/// No two pieces of it are the same.
fn content(seed: u8) -> Vec<u8> {
    long(seed, SIZE)
}

fn long(seed: u8, size: usize) -> Vec<u8> {
    let piece = |number: u32| {
        let mut piece = vec![seed; 4096];
        piece[..4].copy_from_slice(&number.to_be_bytes());
        piece
    };
    let mut content: Vec<u8> = (0..).take(size.div_ceil(4096)).flat_map(piece).collect();
    content.truncate(size);
    content
}

/// A town with this file in the bucket, and the file's id.
fn holding(bucket: impl Remote + Sync + 'static, content: &[u8]) -> (Town, String) {
    let town = Town::on(bucket);
    let id = town.stored("a.bin", content);
    town.proxy.forget();
    (town, id)
}

fn on_all(test: impl Fn(&Town, &str)) {
    on_all_of(&content(0), test);
}

fn on_all_of(content: &[u8], test: impl Fn(&Town, &str)) {
    let buckets = [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten();
    let towns = buckets.map(|bucket| holding(bucket, content));
    for (town, id) in towns.chain(TestEnv::gcs().map(|bucket| holding(bucket, content))) {
        test(&town, &id);
    }
}

/// The first part comes slowly: the others are short.
fn slowly(town: &Town) {
    let slow = Fault::Slow(Duration::from_millis(50));
    town.proxy.inject((0, 1), slow, is_get);
}

fn is_get(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("permits")
}

fn fetch(town: &Town, id: &str, more: &[&str]) -> Run {
    let out = town.out().display().to_string();
    let args = ["storage:download", "--json", "-v", id, "--out", &out];
    town.civic(&[&args, more].concat())
}

#[track_caller]
fn assert_came(town: &Town, run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fs::read(town.out()).unwrap() == content(0), "other bytes");
    fs::remove_file(town.out()).unwrap();
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn a_large_file_comes_in_parts_side_by_side_and_in_order() {
    on_all(|town, id| {
        slowly(town);
        // The later a part was asked for, the earlier it comes.
        for wait in [400, 300, 200] {
            let slow = Fault::Delay(Duration::from_millis(wait));
            town.proxy.inject((0, 1), slow, is_get);
        }
        let run = fetch(town, id, &[]);
        assert_came(town, &run);
        assert_eq!(town.proxy.count(is_get), 5);
        assert!(town.proxy.most_at_once() >= 4, "{}", town.proxy.most_at_once());
    });
}

/// How long the parts are depends on the machine; whether it is the file does not.
#[test]
fn a_larger_file_comes_whole_however_fast_it_comes() {
    let content = long(7, (88 << 20) + 4_097);
    on_all_of(&content, |town, id| {
        let run = fetch(town, id, &[]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(fs::read(town.out()).unwrap() == content, "other bytes");
        assert_eq!(town.left_in_tmp(), Vec::<String>::new());
        let parts = town.proxy.count(is_get);
        assert!((3..=12).contains(&parts), "{parts}");
    });
}

#[test]
fn a_part_that_breaks_or_is_refused_for_a_moment_is_asked_for_again_alone() {
    on_all(|town, id| {
        slowly(town);
        town.proxy.inject((0, 1), Fault::CutAnswer, is_get);
        town.proxy.inject((0, 1), Fault::Status(503), is_get);
        town.proxy.inject((0, 1), Fault::Close, is_get);
        let run = fetch(town, id, &[]);
        assert_came(town, &run);
        assert_eq!(town.proxy.count(is_get), 8, "five, and three once more");
    });
}

#[test]
fn a_part_that_never_comes_fails_the_file_and_leaves_nothing() {
    on_all(|town, id| {
        slowly(town);
        town.proxy.inject((1, usize::MAX), Fault::Status(503), is_get);
        let run = fetch(town, id, &[]);
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.stdout.contains("STORAGE_PROVIDER_UNAVAILABLE"), "{run:?}");
        assert!(!town.out().exists());
        assert_eq!(town.left_in_tmp(), Vec::<String>::new());
    });
}

/// What a download says, and how it ends, that gets the signal when one part has come and no other does.
fn signalled_amid_the_parts(town: &Town, id: &str, signal: Signal) -> (String, Option<i32>) {
    slowly(town);
    town.proxy.inject((0, usize::MAX), Fault::StallAnswer, is_get);
    let out = town.out();
    let mut civic = town.world.town().process();
    let args = ["storage:download", "--json", id, "--out", out.to_str().unwrap()];
    let mut civic = civic.args(args).stdout(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while town.proxy.count(is_get) < 5 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the parts are never asked for"
        );
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&civic), signal).unwrap();
    let told = std::io::read_to_string(civic.stdout.take().unwrap()).unwrap();
    (told, civic.wait().unwrap().code())
}

#[test]
fn ctrl_c_amid_the_parts_ends_them_and_leaves_nothing() {
    on_all(|town, id| {
        let (told, code) = signalled_amid_the_parts(town, id, Signal::INT);
        assert_eq!(code, Some(130), "{told}");
        assert!(told.contains("interrupted"), "{told}");
        assert_eq!(town.left_in_tmp(), Vec::<String>::new());
    });
}

#[test]
fn a_kill_amid_the_parts_leaves_nothing() {
    on_all(|town, id| {
        assert_eq!(
            signalled_amid_the_parts(town, id, Signal::KILL),
            (String::new(), None)
        );
        if knows_nameless_files(town.out().parent().unwrap()) {
            assert_eq!(town.left_in_tmp(), Vec::<String>::new());
        }
    });
}

/// What a question of one value to the database is answered.
fn value<T: rusqlite::types::FromSql>(town: &Town, sql: &str) -> T {
    let db = town.world.town().db();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Where the only file is in its bucket.
fn key_in(town: &Town, bucket: &impl Remote) -> String {
    let path: String = value(town, "SELECT provider_path FROM storage_files");
    let root = format!("{}/", bucket.root());
    path.strip_prefix(&root).unwrap().to_owned()
}

/// Another object of the same size: one byte is another, in the fourth part that is asked for, and the seventh that was sent.
fn with_a_wrong_byte(town: &Town, bucket: &impl Remote) {
    let key = key_in(town, bucket);
    let mut wrong = content(0);
    wrong[31 << 20] ^= 1;
    bucket.put(&key, &wrong);
}

fn a_wrong_byte_is_found_and_where_it_is<B: Remote + Clone + Sync + 'static>(bucket: &B) {
    let (town, id) = holding(bucket.clone(), &content(0));
    with_a_wrong_byte(&town, bucket);
    let run = fetch(&town, &id, &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("STORAGE_INTEGRITY_ERROR"), "{run:?}");
    // The seventh part of 5 MB.
    let told = "the SHA-256 of its bytes 31457280 to 33566776 is ";
    assert!(run.stdout.contains(told), "{run:?}");
    assert!(!town.out().exists());
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn a_wrong_byte_is_found_and_where_it_is_on_all() {
    TestEnv::seaweed()
        .iter()
        .for_each(a_wrong_byte_is_found_and_where_it_is);
    TestEnv::azurite()
        .iter()
        .for_each(a_wrong_byte_is_found_and_where_it_is);
    TestEnv::gcs()
        .iter()
        .for_each(a_wrong_byte_is_found_and_where_it_is);
}

/// Files that an older version stored, and rows that somebody has put there.
#[test]
fn where_no_part_is_known_the_whole_is_compared() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let (town, id) = holding(bucket.clone(), &content(0));
    let sums =
        "SELECT count(*) FROM civic_storage_part_sums WHERE part_size = 5242880 AND length(sums) = 7 * 32";
    let count: u32 = value(&town, sums);
    assert_eq!(count, 1, "they are known at first");
    for sql in [
        "UPDATE civic_storage_part_sums SET part_size = 5242881",
        "UPDATE civic_storage_part_sums SET part_size = 0",
        "UPDATE civic_storage_part_sums SET part_size = 7000000",
        "UPDATE civic_storage_part_sums SET part_size = 5242880, sums = x'00'",
        "UPDATE civic_storage_part_sums SET sums = zeroblob(7 * 32), sha256 = 'of another content'",
        "DELETE FROM civic_storage_part_sums",
        "DROP TABLE civic_storage_part_sums",
    ] {
        town.world.town().db().execute(sql, []).unwrap();
        slowly(&town);
        assert_came(&town, &fetch(&town, &id, &[]));
    }
    with_a_wrong_byte(&town, &bucket);
    let run = fetch(&town, &id, &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("its SHA-256 is "), "{run:?}");
    assert!(!town.out().exists());
}

/// Bytes of two objects in one file would be a file that never was, and without a checksum nothing else would tell.
fn two_objects_are_never_mixed<B: Remote + Clone + Sync + 'static>(bucket: &B) {
    let town = Town::on(bucket.clone());
    let id = town.stored("a.bin", &content(0));
    let sql = "DELETE FROM civic_storage_checksums";
    town.world.town().db().execute(sql, []).unwrap();
    slowly(&town);
    // The third part is asked for once another object of that size is there.
    let slow = Fault::Late(Duration::from_secs(6));
    town.proxy.inject((1, usize::MAX), slow, is_get);
    let key = key_in(&town, bucket);
    let (proxy, other) = (&town.proxy, content(1));
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while proxy.count(is_get) < 4 {
                thread::sleep(Duration::from_millis(5));
            }
            bucket.put(&key, &other);
        });
        fetch(&town, &id, &[])
    });
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("STORAGE_INTEGRITY_ERROR"), "{run:?}");
    assert!(run.stdout.contains("replaced meanwhile"), "{run:?}");
    assert!(!town.out().exists());
    assert_eq!(town.left_in_tmp(), Vec::<String>::new());
}

#[test]
fn parts_of_two_objects_are_never_mixed_on_seaweedfs() {
    TestEnv::seaweed().iter().for_each(two_objects_are_never_mixed);
}

#[test]
fn parts_of_two_objects_are_never_mixed_on_azurite() {
    TestEnv::azurite().iter().for_each(two_objects_are_never_mixed);
}

#[test]
fn parts_of_two_objects_are_never_mixed_on_gcs() {
    TestEnv::gcs().iter().for_each(two_objects_are_never_mixed);
}

/// rclone sends all of a file, whatever range is asked for.
#[test]
fn a_disk_without_room_is_told_of_before_the_file_comes() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let (town, id) = holding(bucket, &content(0));
    let civic = town.world.town().process();
    let script = "mkdir disk && mount -t tmpfs -o size=20m none disk || exit 125
        \"$@\" 2>/dev/null; code=$?; ls -A disk >&2; exit $code";
    let mut full = unshared(&civic, script);
    let args = ["storage:download", "--json", &id, "--out", "disk/out"];
    let output = full.arg(civic.get_program()).args(args).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let left = String::from_utf8(output.stderr).unwrap();
    if output.status.code() == Some(125) || left.contains("unshare") {
        return report("left out: a disk without room needs a mount of its own, which this system refuses");
    }
    assert_eq!(output.status.code(), Some(1), "{told}{left}");
    assert!(
        told.contains("disk/out cannot be written: No space left on device"),
        "{told}"
    );
    assert_eq!(left, "", "nothing is left");
    assert_eq!(town.proxy.count(is_get), 1, "no part but the first was asked for");
}

#[test]
fn a_service_without_ranges_sends_a_large_file_whole() {
    let Some(bucket) = TestEnv::rclone() else { return };
    let (town, id) = holding(bucket, &content(0));
    let run = fetch(&town, &id, &[]);
    assert_came(&town, &run);
    assert_eq!(
        town.proxy.count(is_get),
        2,
        "a part, and since that is none, all of it"
    );
}
