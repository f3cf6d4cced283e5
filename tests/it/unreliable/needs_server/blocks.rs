//! Uploads in blocks that fail on their way to Azure: no block stays, wherever the program dies.

use std::fs;

use crate::common::deployment::Run;
use crate::common::proxy::Fault;
use crate::common::{Bucket, TestEnv};
use crate::delete::killed;
use crate::unreliable::town::Town;

const TO_AZURE: [&str; 7] = [
    "storage:migrate",
    "--json",
    "--yes",
    "--from",
    "vault",
    "--to",
    "azure",
];

/// Three blocks, the last of them short.
fn large() -> Vec<u8> {
    (0..12_000_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[1])
        .collect()
}

/// On Azurite, with the container as it is behind the proxy.
fn town() -> Option<(Town, Bucket)> {
    let bucket = TestEnv::azurite()?;
    let town = Town::on(bucket.clone());
    for line in [
        "stream_threshold: 1MB",
        // The first two blocks are there when the third is given up.
        "retry_initial_delay: 400",
        "retry_max_delay: 400",
    ] {
        town.set(line);
    }
    Some((town, bucket))
}

/// The same, and the file is on disk.
fn town_with_a_file_on_disk() -> Option<(Town, Bucket, String)> {
    let (town, bucket) = town()?;
    town.world.with_vault();
    let id = town.stored("a.bin", &large());
    let mut there = TO_AZURE;
    there.swap(4, 6);
    let run = town.civic(&there);
    assert_eq!(run.code, 0, "{run:?}");
    Some((town, bucket, id))
}

/// From the third block on none is taken.
fn blocks_fail(town: &Town) {
    let fault = Fault::Status(503);
    town.proxy.inject((2, usize::MAX), fault, |line| {
        line.starts_with("PUT ") && line.contains("blockid=")
    });
}

/// What is there under keys of files but sidecars, and what is no blob yet.
fn files(bucket: &Bucket) -> Vec<String> {
    let names = bucket.names().into_iter();
    names
        .filter(|name| name.contains("/town/permits/") && !name.ends_with(".meta.json"))
        .collect()
}

#[track_caller]
fn assert_comes_back(town: &Town, id: &str) {
    let out = town.out().display().to_string();
    let run = town.civic(&["storage:download", id, "--out", &out]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(fs::read(out).unwrap() == large(), "other bytes");
}

fn uploads(town: &Town) -> Run {
    town.upload(&[town.source("a.bin", &large())])
}

#[track_caller]
fn assert_goes_now(town: &Town, bucket: &Bucket, id: &str) {
    town.proxy.calm();
    let run = town.civic(&TO_AZURE);
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(files(bucket).len(), 1);
    assert_comes_back(town, id);
}

#[test]
fn a_migration_whose_blocks_fail_leaves_none_of_them() {
    let Some((town, bucket, id)) = town_with_a_file_on_disk() else {
        return;
    };
    blocks_fail(&town);
    let run = town.civic(&TO_AZURE);
    assert!(run.code != 0, "{run:?}");
    assert_eq!(files(&bucket), [""; 0]);
    assert_goes_now(&town, &bucket, &id);
}

#[test]
fn a_migration_that_is_killed_while_it_gives_its_blocks_up_goes_on_with_the_next() {
    let Some((town, bucket, id)) = town_with_a_file_on_disk() else {
        return;
    };
    blocks_fail(&town);
    killed(town.world.town(), "abort.after-discard", &TO_AZURE);
    let left = files(&bucket);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(bucket.get(&left[0]), Some(Vec::new()));
    assert_goes_now(&town, &bucket, &id);
}

#[test]
fn an_upload_whose_blocks_fail_leaves_none_wherever_it_dies() {
    let Some((town, bucket)) = town() else { return };
    blocks_fail(&town);
    let run = uploads(&town);
    assert!(run.code != 0, "{run:?}");
    assert_eq!(files(&bucket), [""; 0]);
    let large = town.source("a.bin", &large());
    let args = ["storage:upload", "--folder", "permits", &large];
    killed(town.world.town(), "abort.after-discard", &args);
    assert_eq!(files(&bucket).len(), 1);
    town.proxy.calm();
    town.stored("b", b"hello");
    // What was left is no file, and does not go to the trash as one.
    assert_eq!(town.shape(), "b@permits/s3");
    assert_eq!(files(&bucket).len(), 1);
    town.assert_settled();
}

/// The answer to the request that discards them is lost, and the same request finds the blob that it made itself.
#[test]
fn blocks_whose_end_is_not_answered_leave_nothing_either() {
    let Some((town, bucket, _)) = town_with_a_file_on_disk() else {
        return;
    };
    blocks_fail(&town);
    let is_end = |line: &str| line.starts_with("PUT ") && line.contains("comp=blocklist");
    town.proxy.inject((0, 1), Fault::DropAnswer, is_end);
    let run = town.civic(&TO_AZURE);
    assert!(run.code != 0, "{run:?}");
    assert_eq!(
        town.proxy.count(is_end),
        3,
        "one of the upload, and this one twice"
    );
    assert_eq!(files(&bucket), [""; 0]);
}
