use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::walk::Walk;
use super::*;

fn walk(room: &Room) -> Walk {
    walk_with_budget(room, 8 << 20)
}

fn walk_with_budget(room: &Room, budget: usize) -> Walk {
    let dir = RootDir::open(&room.root()).unwrap().directory(b"").unwrap();
    Walk::with_budget(dir, b"", Box::new(|| false), budget).unwrap()
}

fn rest(mut walk: Walk) -> Vec<String> {
    std::iter::from_fn(|| walk.next().unwrap())
        .map(|l| l.key.to_string())
        .collect()
}

#[tokio::test]
async fn a_directory_sorts_as_its_name_with_a_slash() {
    let room = Room::with(&[b"a/b", b"a b", b"a.b", b"a0", b"a-/x"]);
    assert_eq!(room.keys("").await, ["a b", "a-/x", "a.b", "a/b", "a0"]);
}

/// Names from an alphabet around `/`, bytes that are no UTF-8 among them.
fn names() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![
            Just(b' '),
            Just(b'.'),
            Just(b'0'),
            Just(b'a'),
            Just(0xFF),
            Just(b'\n')
        ],
        1..4,
    )
    .prop_filter("a name", |name| !is_dots(name))
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_tree_is_listed_whole_and_in_byte_order(
        paths in btree_set(vec(names(), 1..4), 0..40),
        budget in 1_usize..3000,
    ) {
        let room = Room::with(&[]);
        let mut expected = BTreeSet::new();
        for path in paths {
            let key = path.join(&b'/');
            let made = fs::create_dir_all(room.path(&key).parent().unwrap())
                .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(room.path(&key)));
            if made.is_ok() {
                expected.insert(key);
            }
        }
        let mut walk = walk_with_budget(&room, budget);
        let found: Vec<_> = std::iter::from_fn(|| walk.next().unwrap())
            .map(|l| l.key.as_bytes().to_vec())
            .collect();
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_prefix_ends_at_its_slash() {
    let room = Room::with(&[b"town/a", b"townhall/b", b"town.txt", b"deep/er/c", b"file"]);
    assert_eq!(room.keys("town/").await, ["town/a"]);
    assert_eq!(room.keys("deep/er/").await, ["deep/er/c"]);
    assert!(room.keys("nowhere/").await.is_empty());
    assert!(room.keys("file/").await.is_empty());
    for wrong in ["town", "../", "deep//", "./", "/"] {
        let error = room.list(wrong).await.unwrap_err();
        assert!(matches!(error, ProviderError::Invalid { .. }), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_root_never_lists_its_neighbour() {
    let room = Room::with(&[b"town/a", b"townhall/b"]);
    let town = LocalStore::new("local", &room.path(b"town"));
    let listed: Vec<_> = town.list(ListRequest::default()).try_collect().await.unwrap();
    assert_eq!(
        listed.iter().map(|l| l.key.to_string()).collect::<Vec<_>>(),
        ["a"]
    );
}

#[tokio::test]
async fn a_root_whose_name_holds_test_is_a_root_like_any_other() {
    let room = Room::with(&[b"test-storage/permits/a"]);
    let store = LocalStore::new("local", &room.path(b"test-storage"));
    let listed: Vec<_> = store.list(ListRequest::default()).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(!store.probe().await.unwrap().bare);
}

#[tokio::test]
async fn reserved_and_empty_directories_are_neither_hidden_nor_invented() {
    let room = Room::with(&[b".civic/marker", b".trash/run/a", b"a.meta.json"]);
    fs::create_dir_all(room.path(b"empty/inside")).unwrap();
    assert_eq!(
        room.keys("").await,
        [".civic/marker", ".trash/run/a", "a.meta.json"]
    );
}

#[test]
fn what_vanishes_after_the_names_were_read_is_left_out() {
    let room = Room::with(&[b"a", b"b", b"c/1", b"d"]);
    let walk = walk(&room);
    fs::remove_file(room.path(b"b")).unwrap();
    fs::remove_dir_all(room.path(b"c")).unwrap();
    assert_eq!(rest(walk), ["a", "d"]);
}

#[test]
fn a_directory_may_vanish_while_the_walk_is_inside() {
    let room = Room::with(&[b"a/1", b"a/2", b"b"]);
    let mut walk = walk(&room);
    assert_eq!(walk.next().unwrap().unwrap().key, Key::from("a/1"));
    fs::remove_dir_all(room.path(b"a")).unwrap();
    assert_eq!(rest(walk), ["b"]);
}

#[test]
fn a_directory_that_became_a_symlink_is_an_error() {
    let room = Room::with(&[b"a/1", b"b"]);
    let mut walk = walk(&room);
    fs::rename(room.path(b"a"), room.path(b"moved")).unwrap();
    room.link("moved", b"a");
    assert!(matches!(walk.next(), Err(Fault::Symlink(path)) if path == b"a"));
}

/// Many more than the channel and the thread can hold.
fn crowd() -> Room {
    let room = Room::with(&[]);
    for i in 0..6000 {
        fs::File::create(room.path(format!("{i:05}").as_bytes())).unwrap();
    }
    room
}

#[tokio::test]
async fn a_root_that_vanishes_halfway_never_looks_like_an_end() {
    let room = crowd();
    let mut listing = room.store().list(ListRequest::default());
    listing.next().await.unwrap().unwrap();
    fs::rename(room.root(), room.dir.path().join("moved")).unwrap();
    let outcome = listing.try_collect::<Vec<_>>().await;
    assert!(
        matches!(outcome, Err(ProviderError::RootMissing { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn dropping_the_stream_stops_the_thread() {
    let room = crowd();
    let store = room.store();
    let mut listing = store.list(ListRequest::default());
    listing.next().await.unwrap().unwrap();
    assert!(Arc::strong_count(&store.root) > 1, "the thread holds the store");
    drop(listing);
    for _ in 0..500 {
        if Arc::strong_count(&store.root) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the thread still runs");
}

#[test]
fn reading_a_crowded_directory_asks_whether_anybody_still_wants_it() {
    let room = crowd();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let stop = Box::new(move || count.fetch_add(1, Ordering::Relaxed) == 2);
    let dir = RootDir::open(&room.root()).unwrap().directory(b"").unwrap();
    let mut walk = Walk::new(dir, b"", stop).unwrap();
    assert_eq!(walk.next().unwrap(), None);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_dead_thread_is_an_error_never_an_end() {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    drop(sender);
    let room = Room::new();
    let outcome = super::super::listing::receive(room.store(), receiver)
        .try_collect::<Vec<_>>()
        .await;
    assert!(
        matches!(outcome, Err(ProviderError::Unavailable { .. })),
        "{outcome:?}"
    );
}

#[test]
fn a_directory_larger_than_its_memory_is_sorted_all_the_same() {
    let room = Room::with(&[]);
    let dir = RootDir::open(&room.root()).unwrap().directory(b"").unwrap();
    let name = |i: u32| format!("{:08x}", i.wrapping_mul(2_654_435_761));
    for i in 0..20_000 {
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::openat(&dir, name(i), flags, rustix::fs::Mode::RUSR).unwrap();
    }
    let found = rest(walk_with_budget(&room, 8 << 10));
    assert_eq!(found.len(), 20_000);
    assert!(found.is_sorted());
}

#[test]
fn depth_beyond_every_path_limit_is_walked() {
    const DEPTH: usize = 1500;
    let room = Room::with(&[b"z"]);
    let mut dir = RootDir::open(&room.root()).unwrap().directory(b"").unwrap();
    for level in 0..DEPTH {
        rustix::fs::mkdirat(&dir, "dd", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        rustix::fs::openat(&dir, format!("f{level}"), flags, rustix::fs::Mode::RUSR).unwrap();
        dir = root::open_below(dir.as_fd(), b"dd").unwrap();
    }
    let found = rest(walk(&room));
    let removed = std::process::Command::new("rm")
        .arg("-rf")
        .arg(room.root())
        .status();
    assert!(removed.unwrap().success());
    assert_eq!(found.len(), DEPTH + 1);
    assert!(found.is_sorted());
    assert_eq!(found[0].len(), (DEPTH - 1) * 3 + format!("f{}", DEPTH - 1).len());
}

#[test]
fn a_directory_moved_away_under_a_deep_walk_is_an_error() {
    let deep = "d/".repeat(40);
    let room = Room::with(&[format!("{deep}f").as_bytes(), b"d/z"]);
    let mut walk = walk(&room);
    assert!(walk.next().unwrap().unwrap().key.as_bytes().ends_with(b"f"));
    fs::create_dir(room.path(b"elsewhere")).unwrap();
    fs::rename(room.path(b"d/d/d"), room.path(b"elsewhere/d")).unwrap();
    assert!(matches!(walk.next(), Err(Fault::Moved(_))));
}
