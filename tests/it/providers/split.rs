//! A listing that is split must show what the same listing shows unsplit: each object once, none left out,
//! whatever the server's order, wherever the hints, and while other keys come and go.

use std::collections::BTreeSet;

use civic_storage::providers::{Key, ListRequest, build};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::bucket::{MemoryBucket, Order, State};
use super::{block_on, global, keys, s3};

/// Characters around `/` in byte order, where the orders of bytes and of components part.
const NAME: &str = "[aB !.0-]{1,3}";
const DEEP: &str = "[aB]/[aB !.0-]{1,2}(/[aB !]{1,2})?";

fn key() -> impl Strategy<Value = String> {
    prop_oneof![6 => "[aB]/[aB !.0-]{1,3}", 2 => DEEP, 1 => NAME, 1 => "[aB][ !]/[aB]", 1 => "[aB]//?[ab ]"]
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        Just(Order::Bytes),
        Just(Order::Components),
        Just(Order::ComponentsFiltered),
        Just(Order::Letters),
        Just(Order::Deaf)
    ]
}

fn split_at(keys: &BTreeSet<String>) -> Vec<Key> {
    keys.iter().map(|key| Key::from(key.as_str())).collect()
}

#[test]
fn each_object_comes_once_whatever_the_order_and_the_hints() {
    let state = State {
        order: Order::Bytes,
        page_size: 2,
        stable: BTreeSet::new(),
        fleeting: Vec::new(),
        requests: 0,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bucket = runtime.block_on(MemoryBucket::start(state));
    let provider = build(&s3(&bucket.server.uri(), "bucket", "p/"), &global()).unwrap();
    let cases = (
        btree_set(key(), 0..40),
        vec(key(), 0..8),
        btree_set(key(), 1..8),
        order(),
        1..6_usize,
    );
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&cases, |(stable, fleeting, hints, order, page_size)| {
            let whole = |keys: &mut dyn Iterator<Item = &String>| {
                keys.map(|key| format!("p/{key}")).collect::<Vec<_>>()
            };
            bucket.set(State {
                order,
                page_size,
                stable: whole(&mut stable.iter()).into_iter().collect(),
                fleeting: whole(&mut fleeting.iter()),
                requests: 0,
            });
            let request = ListRequest {
                split_at: split_at(&hints),
                ..ListRequest::default()
            };
            let mut seen = runtime.block_on(keys(&provider, request));
            seen.sort();
            let steady: Vec<_> = seen.iter().filter(|key| stable.contains(*key)).cloned().collect();
            prop_assert_eq!(steady, stable.iter().cloned().collect::<Vec<_>>());
            let others = seen.iter().filter(|key| !stable.contains(*key));
            prop_assert!(others.into_iter().all(|key| fleeting.contains(key)));
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_a_server_orders_by_bytes_arrives_so_and_in_ranges() {
    block_on(async {
        let stable: BTreeSet<String> = (0..900)
            .map(|n| format!("permits/{n:04}"))
            .chain(["a.txt", "permits", "permits x/q", "permits-old/q", "zz"].map(String::from))
            .chain((0..90).map(|n| format!("public/{n:04}")))
            .collect();
        let bucket = MemoryBucket::start(State {
            order: Order::Bytes,
            page_size: 50,
            stable: stable.clone(),
            fleeting: Vec::new(),
            requests: 0,
        })
        .await;
        let provider = build(&s3(&bucket.server.uri(), "bucket", ""), &global()).unwrap();
        let hints: BTreeSet<String> = (1..9).map(|n| format!("permits/{:04}", n * 100)).collect();
        let request = ListRequest {
            split_at: split_at(&hints),
            ..ListRequest::default()
        };
        let seen = keys(&provider, request).await;
        assert!(seen.iter().eq(&stable), "in byte order, each once");
        // One for the folders, at most three a range (the last sees what it stops at), and the other folders.
        let requests = bucket.requests();
        assert!((20..=35).contains(&requests), "{requests} requests");
    });
}
