//! How files are sent: whole or in parts as storage.yml says, side by side as it says, and with a checksum that the
//! provider or the program holds against what arrived.

use sha2::{Digest, Sha256};

use crate::common::TestEnv;
use crate::common::deployment::Run;
use crate::common::proxy::{Fault, Seen};
use crate::unreliable::town::Town;

const MIB: usize = 1 << 20;

fn towns() -> impl Iterator<Item = Town> {
    let buckets = [TestEnv::seaweed(), TestEnv::azurite()].into_iter().flatten();
    buckets.map(Town::on).chain(TestEnv::gcs().map(Town::on))
}

type Applies = fn(&str) -> bool;

/// An object's name has its folder in it.
fn is_put(line: &str) -> bool {
    line.starts_with("PUT ") && line.contains("permits")
}

fn is_part(line: &str) -> bool {
    is_put(line) && (line.contains("partNumber=") || line.contains("blockid="))
}

fn is_whole(line: &str) -> bool {
    is_put(line) && !line.contains('?')
}

/// No two pieces of it are the same.
fn content(size: usize) -> Vec<u8> {
    let mut content: Vec<u8> = (0_u32..).take(size / 4 + 1).flat_map(u32::to_be_bytes).collect();
    content.truncate(size);
    content
}

/// Uploads a file of this size, which arrives as it is.
#[track_caller]
fn sent(town: &Town, size: usize) {
    town.proxy.forget();
    let content = content(size);
    let id = town.stored("a.bin", &content);
    assert!(
        town.world.file(&id) == (size as u64, content),
        "{}: other bytes",
        town.kind
    );
}

#[test]
fn a_file_goes_whole_or_in_parts_as_long_as_storage_yml_says() {
    for town in towns() {
        town.set("stream_threshold: 12MiB");
        town.set("chunk_size: 6MiB");
        // The defaults, 10 MB and 5 MB, would send the second in parts, and the last in seven.
        for (size, whole, parts) in [
            (1, 1, 0),
            (12 * MIB, 1, 0),
            (12 * MIB + 1, 0, 3),
            (30 * MIB + 5, 0, 6),
        ] {
            sent(&town, size);
            let counts = (town.proxy.count(is_whole), town.proxy.count(is_part));
            assert_eq!(counts, (whole, parts), "{}: {size} bytes", town.kind);
        }
    }
}

#[test]
fn several_parts_of_a_file_are_under_way_at_once() {
    for town in towns() {
        town.set("stream_threshold: 5MiB");
        town.set("chunk_size: 6MiB");
        town.proxy.inject((0, usize::MAX), Fault::Gather(4), is_part);
        sent(&town, 30 * MIB + 5);
        assert_eq!(town.proxy.count(is_part), 6, "{}", town.kind);
        let most = town.proxy.most_at_once();
        assert!(most >= 4, "{}: {most} at once", town.kind);
    }
}

#[test]
fn as_many_files_are_under_way_as_was_asked_for() {
    for town in towns() {
        for concurrency in [10, 4, 1] {
            let files: Vec<String> = (0..10)
                .map(|n| town.source(&format!("{concurrency} {n}.txt"), format!("file {n}").as_bytes()))
                .collect();
            let asked = concurrency.to_string();
            let mut args = vec![
                "storage:upload",
                "--json",
                "--folder",
                "permits",
                "--concurrency",
                &asked,
            ];
            args.extend(files.iter().map(String::as_str));
            town.proxy.calm();
            town.proxy.forget();
            town.proxy
                .inject((0, usize::MAX), Fault::Gather(concurrency), is_put);
            let run = town.civic(&args);
            assert_eq!(run.code, 0, "{}: {run:?}", town.kind);
            let seen = (town.proxy.count(is_whole), town.proxy.most_at_once());
            assert_eq!(seen, (10, concurrency), "{}: puts, and most at once", town.kind);
        }
    }
}

/// A byte of what was sent is another when it arrives.
fn spoilt(town: &Town, size: usize, applies: Applies) -> Run {
    let file = town.source("spoilt.bin", &content(size));
    town.proxy.inject((0, usize::MAX), Fault::Spoil, applies);
    let run = town.upload(&[file]);
    town.proxy.calm();
    run
}

#[test]
fn bytes_that_change_on_their_way_are_an_error_and_leave_nothing() {
    for town in towns() {
        town.set("stream_threshold: 5MiB");
        let ways: [(usize, Applies); 2] = [(20_000, is_whole), (11 * MIB, is_part)];
        for (size, applies) in ways {
            let run = spoilt(&town, size, applies);
            assert_eq!(run.code, 1, "{}: {size} bytes: {run:?}", town.kind);
            assert_eq!(town.world.ids(), [""; 0], "{}: {size} bytes", town.kind);
            town.assert_settled();
            town.assert_no_upload_left();
        }
        let whole = town.stored("again.bin", &content(20_000));
        assert_eq!(town.world.file(&whole).1, content(20_000));
    }
}

fn sha256(bytes: &[u8]) -> [String; 2] {
    use base64::Engine as _;
    let hash = Sha256::digest(bytes);
    let hex = hash
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    [hex, base64::engine::general_purpose::STANDARD.encode(hash)]
}

#[test]
fn s3_is_sent_the_checksum_of_each_part_in_the_signed_request() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = Town::on(bucket);
    town.set("stream_threshold: 5MiB");
    town.set("chunk_size: 5MiB");
    sent(&town, 11 * MIB);
    let said = |seen: &Seen| {
        let header = |name: &str| seen.header(name).unwrap_or_default();
        let signed = header("authorization");
        assert!(signed.contains("x-amz-content-sha256"), "{signed}");
        [header("x-amz-content-sha256"), header("x-amz-checksum-sha256")]
    };
    let parts = town.proxy.seen().into_iter().filter(|seen| is_part(&seen.line()));
    let mut said: Vec<_> = parts.map(|seen| said(&seen)).collect();
    let mut known: Vec<_> = content(11 * MIB).chunks(5 * MIB).map(sha256).collect();
    said.sort();
    known.sort();
    assert_eq!(said, known);
}
