//! Many deletions in one folder are looked at by a page or two of a listing: fewer requests, and the same outcome, whatever
//! the listing says.

use std::thread;
use std::time::Duration;

use crate::common::deployment::{Run, key, uuid};
use crate::common::proxy::Fault;
use crate::common::{Bucket, Remote, TestEnv, World};
use crate::delete::run_id;
use crate::unreliable::town::Town;

const FILES: usize = 40;
/// The first so many.
fn numbers(count: usize) -> impl Iterator<Item = u32> {
    (1..).take(count)
}

/// Files that have a sidecar.
const DESCRIBED: [u32; 3] = [1, 17, 40];

/// Forty files of one folder, three of them with sidecars, and more in the same folder that nobody deletes.
fn town() -> Option<Town> {
    Some(town_in(TestEnv::seaweed()?))
}

fn town_in(bucket: Bucket) -> Town {
    let town = Town::on(bucket);
    for n in numbers(FILES + 5) {
        town.world.object(&key("permits", n));
        town.world.record(n, &key("permits", n));
    }
    for n in DESCRIBED {
        town.world.object_of(&sidecar(n), b"{}");
    }
    town
}

fn sidecar(n: u32) -> String {
    format!("{}.meta.json", key("permits", n))
}

fn delete(town: &Town, more: &[&str]) -> Run {
    let ids: Vec<String> = numbers(FILES).map(uuid).collect();
    let mut args = vec!["storage:delete", "--yes", "--json"];
    args.extend(ids.iter().map(String::as_str));
    args.extend(more);
    town.proxy.forget();
    town.civic(&args)
}

fn is_listing(line: &str) -> bool {
    line.starts_with("GET ") && line.contains("list-type=2") && line.contains("permits")
}

fn is_head(line: &str) -> bool {
    line.starts_with("HEAD ") && line.contains("/permits/")
}

#[track_caller]
fn assert_gone(town: &Town, run: &Run) {
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.json()["data"]["successfulCount"], FILES);
    town.proxy.calm();
    for n in numbers(FILES) {
        let path = format!("{}/{}", town.world.root(), key("permits", n));
        assert_eq!(town.world.bytes(&path), None, "{n}");
        assert_eq!(town.world.bytes(&format!("{path}.meta.json")), None, "{n}");
    }
    assert_eq!(town.world.ids().len(), 5);
    town.world.assert_whole();
}

/// What was brought to the trash and back is as it was, sidecars too.
#[track_caller]
fn assert_comes_back(town: &Town, run: &Run) {
    let undone = town.civic(&["storage:undo", &run_id(run), "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(town.world.ids().len(), FILES + 5);
    town.world.assert_whole();
    for n in numbers(FILES) {
        let path = format!("{}/{}", town.world.root(), sidecar(n));
        let there = town.world.bytes(&path).is_some();
        assert_eq!(there, DESCRIBED.contains(&n), "{n}");
    }
}

#[test]
fn what_goes_to_the_trash_is_listed_and_not_asked_for_one_by_one() {
    let Some(town) = town() else { return };
    let run = delete(&town, &[]);
    assert_gone(&town, &run);
    assert_eq!(town.proxy.count(is_listing), 1);
    // One look at each copy in the trash, and at the sidecars that were listed: their own, their place, their copy.
    let heads = town.proxy.count(is_head);
    assert!(heads <= FILES + 6 * DESCRIBED.len(), "{heads} looks");
    assert_comes_back(&town, &run);
}

#[test]
fn what_goes_for_good_takes_the_keys_of_those_sidecars_along_that_are_there() {
    let Some(town) = town() else { return };
    let run = delete(&town, &["--purge"]);
    assert_gone(&town, &run);
    assert_eq!(town.proxy.count(is_listing), 1);
    let is_deletion = |line: &str| line.starts_with("POST ") && line.contains("?delete");
    assert_eq!(town.proxy.count(is_deletion), 1);
    assert_eq!(
        town.proxy.count(is_head),
        1,
        "one look says that the provider answers"
    );
}

/// Files go and come back as ever, whatever every listing is answered with.
#[track_caller]
fn assert_no_listing_is_needed(fault: Fault) {
    for more in [&[][..], &["--purge"]] {
        let Some(town) = town() else { return };
        town.proxy.inject((0, usize::MAX), fault, is_listing);
        let run = delete(&town, more);
        assert!(town.proxy.count(is_listing) > 0);
        assert_gone(&town, &run);
        if more.is_empty() {
            assert_comes_back(&town, &run);
        }
    }
}

#[test]
fn where_a_listing_cannot_be_had_each_object_is_asked_for() {
    assert_no_listing_is_needed(Fault::Status(403));
}

/// As one that lags behind, or leaves out what it should not.
#[test]
fn a_listing_that_shows_nothing_is_not_believed() {
    const EMPTY: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult>\
        <KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>";
    assert_no_listing_is_needed(Fault::Replace(EMPTY));
}

/// The listing is older than the object: the deletion is on condition of what was listed.
#[test]
fn an_object_that_is_another_than_was_listed_stays() {
    let Some(bucket) = TestEnv::seaweed() else { return };
    let town = town_in(bucket.clone());
    let changed = format!("{}/{}", town.world.root(), key("permits", 9));
    let in_bucket = changed.strip_prefix(&format!("{}/", bucket.root())).unwrap();
    let proxy = &town.proxy;
    let is_copy = |line: &str| line.starts_with("PUT ") && line.contains(".trash/");
    thread::scope(|scope| {
        town.proxy
            .inject((0, usize::MAX), Fault::Late(Duration::from_secs(2)), is_copy);
        scope.spawn(|| {
            while proxy.count(is_copy) == 0 {
                thread::sleep(Duration::from_millis(5));
            }
            bucket.put(in_bucket, [b'n'; 10]);
        });
        let run = delete(&town, &[]);
        assert_eq!(run.json()["data"]["successfulCount"], FILES - 1, "{run:?}");
        assert!(run.stdout.contains("replaced meanwhile"), "{run:?}");
    });
    town.proxy.calm();
    assert_eq!(town.world.bytes(&changed).as_deref(), Some(&[b'n'; 10][..]));
    assert_eq!(town.world.ids().len(), 6);
    town.world.assert_whole();
}

/// What a listing tells of an object is what a look tells, or each of these would be taken for another object.
fn many_go_and_come_back(bucket: impl Remote + Sync + 'static) {
    let world = World::on(bucket);
    world.town().tries_again();
    for n in numbers(20) {
        world.object(&key("permits", n));
        world.record(n, &key("permits", n));
    }
    world.object_of(&sidecar(3), b"{}");
    let ids: Vec<String> = numbers(20).map(uuid).collect();
    let delete = |more: &[&str]| {
        let mut args = vec!["storage:delete", "--yes", "--json"];
        args.extend(ids.iter().map(String::as_str));
        args.extend(more);
        let run = world.town().civic(&args);
        assert_eq!((run.code, world.ids().len()), (0, 0), "{run:?}");
        run
    };
    let undone = world
        .town()
        .civic(&["storage:undo", &run_id(&delete(&[])), "--yes"]);
    assert_eq!((undone.code, world.ids().len()), (0, 20), "{undone:?}");
    world.assert_whole();
    let at_sidecar = format!("{}/{}", world.root(), sidecar(3));
    assert_eq!(world.bytes(&at_sidecar).as_deref(), Some(&b"{}"[..]));
    delete(&["--purge"]);
    for n in numbers(20) {
        let path = format!("{}/{}", world.root(), key("permits", n));
        assert_eq!(world.bytes(&path), None, "{n}");
    }
    assert_eq!(world.bytes(&at_sidecar), None);
}

#[test]
fn many_go_and_come_back_on_seaweedfs() {
    TestEnv::seaweed().into_iter().for_each(many_go_and_come_back);
}

/// It holds to no conditions.
#[test]
fn many_go_and_come_back_on_rclone() {
    TestEnv::rclone().into_iter().for_each(many_go_and_come_back);
}

/// It begins no listing in the middle.
#[test]
fn many_go_and_come_back_on_azurite() {
    TestEnv::azurite().into_iter().for_each(many_go_and_come_back);
}

#[test]
fn many_go_and_come_back_on_gcs() {
    TestEnv::gcs().into_iter().for_each(many_go_and_come_back);
}
