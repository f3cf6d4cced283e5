//! `scan` and `sample_paths`: order, ranges, nothing left out.

use super::{Make, Seed, paths, scanned};
use crate::metadata::{ListQuery, ScanScope, Stamp};

pub(crate) async fn scans_are_ordered_by_bytes(seeded: &Make) {
    let mut written = vec![
        "/srv/a b",
        "/srv/a/b",
        "/srv/a",
        "/srv/A",
        "/srv/é",
        "/srv/e\u{301}",
        "/srv/\u{10ffff}",
        "/srv/z",
        "/srv/\u{7f}",
        "/srv/_",
        "/srv/\u{e000}",
        "/srv/😀",
    ];
    let seeds = (1..)
        .zip(&written)
        .map(|(number, path)| Seed::at(number, path))
        .collect();
    let made = seeded(seeds);
    written.sort_unstable();
    assert_eq!(
        paths(&*made.store, ScanScope::Under(String::new())).await,
        written
    );
    let all = scanned(&*made.store, ScanScope::Under(String::new())).await;
    assert_eq!(all[0].created_at, Stamp::from_text("2026-01-02 03:04:05"));
    assert_eq!(
        (all[0].size, all[0].original_name.as_str(), all[0].folder.as_str()),
        (10, "x.pdf", "permits")
    );
}

pub(crate) async fn a_prefix_covers_what_begins_with_it_and_nothing_else(seeded: &Make) {
    let written = [
        "/a/x",
        "/a/\u{10ffff}",
        "/a/\u{10ffff}x",
        "/A/x",
        "/a",
        "/ab/x",
        "/a_/x",
        "/a%/x",
        "/b",
    ];
    let made = seeded(
        (1..)
            .zip(written)
            .map(|(number, path)| Seed::at(number, path))
            .collect(),
    );
    let under = async |prefix: &str| paths(&*made.store, ScanScope::Under(prefix.to_owned())).await;
    assert_eq!(under("/a/").await, ["/a/x", "/a/\u{10ffff}", "/a/\u{10ffff}x"]);
    assert_eq!(under("/a/\u{10ffff}").await, ["/a/\u{10ffff}", "/a/\u{10ffff}x"]);
    assert_eq!(under("/a_/").await, ["/a_/x"]);
    assert_eq!(under("/a%").await, ["/a%/x"]);
    assert_eq!(under("/a/x/").await, [""; 0]);
}

pub(crate) async fn outside_is_all_that_no_root_covers(seeded: &Make) {
    let made = seeded(
        (1..)
            .zip(["/a/x", "/ab/x", "s3://b/x", ""])
            .map(|(n, path)| Seed::at(n, path))
            .collect(),
    );
    let outside = async |roots: &[&str]| {
        paths(
            &*made.store,
            ScanScope::Outside(roots.iter().map(|root| (*root).to_owned()).collect()),
        )
        .await
    };
    assert_eq!(outside(&["/a/", "s3://b/"]).await, ["", "/ab/x"]);
    assert_eq!(outside(&[]).await, ["", "/a/x", "/ab/x", "s3://b/x"]);
    assert_eq!(outside(&[""]).await, [""; 0]);
}

pub(crate) async fn samples_are_drawn_from_the_root_in_order(seeded: &Make) {
    let at = |number: u64| {
        let scattered = number * 2_654_435_761 % 4_294_967_291;
        let root = if number.is_multiple_of(1000) {
            "/rare"
        } else {
            "/many"
        };
        Seed {
            provider_path: format!("{root}/{number:05}"),
            ..Seed::new(scattered, "f", "x")
        }
    };
    let made = seeded((0..20_000).map(at).collect());
    let sample = made.store.sample_paths("/many/", 100).await.unwrap();
    assert_eq!(sample.len(), 100);
    assert!(sample.is_sorted() && sample.iter().all(|path| path.starts_with("/many/")));
    let halves = sample.iter().filter(|path| path.as_str() < "/many/10000").count();
    assert!((25..75).contains(&halves), "{halves} of 100 in the first half");
    assert_eq!(made.store.sample_paths("/rare/", 100).await.unwrap().len(), 20);
    assert_eq!(made.store.sample_paths("/none/", 100).await.unwrap().len(), 0);
    assert_eq!(made.store.sample_paths("/many/", 0).await.unwrap().len(), 0);
}

pub(crate) async fn an_empty_table_has_an_answer_to_everything(seeded: &Make) {
    let made = seeded(Vec::new());
    assert_eq!(
        paths(&*made.store, ScanScope::Under(String::new())).await,
        [""; 0]
    );
    assert_eq!(paths(&*made.store, ScanScope::Outside(Vec::new())).await, [""; 0]);
    assert_eq!(made.store.usage(&[]).await.unwrap(), []);
    assert_eq!(made.store.list(&ListQuery::default()).await.unwrap().total, 0);
}
