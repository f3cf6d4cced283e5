//! `usage` and `usage_by`.

use super::{Make, Seed};
use crate::metadata::{ProviderRoots, UsageDimension, UsageRow};

pub(crate) async fn usage_counts_each_file_once_and_the_longer_root_wins(seeded: &Make) {
    let mut seeds = vec![
        Seed::at(1, "/srv/a/x"),
        Seed::at(2, "/srv/a/deep/y"),
        Seed::at(3, "/srv/ab/z"),
        Seed::at(4, "s3://bucket/a"),
        Seed::at(5, "/srv/a/w"),
    ];
    seeds[4].folder = "public".to_owned();
    let made = seeded(seeds);
    let provider = |provider: &str, roots: &[&str]| ProviderRoots {
        provider: provider.to_owned(),
        roots: roots.iter().map(|root| (*root).to_owned()).collect(),
    };
    let providers = [
        provider("outer", &["/srv/a/", "s3://bucket/"]),
        provider("inner", &["/srv/a/deep/"]),
    ];
    let row = |folder: &str, provider: Option<&str>, files| UsageRow {
        folder: folder.to_owned(),
        provider: provider.map(str::to_owned),
        files,
        bytes: files * 10,
    };
    assert_eq!(
        made.store.usage(&providers).await.unwrap(),
        [
            row("permits", None, 1),
            row("permits", Some("inner"), 1),
            row("permits", Some("outer"), 2),
            row("public", Some("outer"), 1),
        ]
    );
    assert_eq!(
        made.store.usage(&[]).await.unwrap(),
        [row("permits", None, 4), row("public", None, 1)]
    );
}

pub(crate) async fn usage_counts_negative_sizes_as_nothing_and_does_not_overflow(seeded: &Make) {
    let sized = |number, folder: &str, size| Seed {
        size,
        ..Seed::new(number, folder, "x")
    };
    let made = seeded(vec![
        sized(1, "negative", -5),
        sized(2, "negative", 7),
        sized(3, "vast", i64::MAX),
        sized(4, "vast", i64::MAX),
        sized(5, "vast", i64::MAX),
    ]);
    let usage = made.store.usage(&[]).await.unwrap();
    let counted: Vec<_> = usage
        .iter()
        .map(|row| (row.folder.as_str(), row.files, row.bytes))
        .collect();
    assert_eq!(counted, [("negative", 2, 7), ("vast", 3, u64::MAX)]);
}

pub(crate) async fn usage_breaks_down_by_type_month_and_uploader(seeded: &Make) {
    let mut seeds: Vec<_> = (1..=4).map(|number| Seed::new(number, "permits", "x")).collect();
    seeds[0].created_at = Some("2026-01-31T23:30:00-02:00");
    seeds[1].created_at = Some("2026-02-10 00:00:00");
    seeds[2].created_at = None;
    seeds[0].uploaded_by = Some("clerk");
    seeds[3].mime_type = "image/png";
    seeds.push(Seed {
        mime_type: "text/plain",
        created_at: None,
        ..Seed::new(5, "public", "x")
    });
    let made = seeded(seeds);
    let by = async |dimension| made.store.usage_by(dimension, None).await.unwrap();
    let row = |name: &str, files: u64| (name.to_owned(), files, files * 10);
    let elsewhere = made
        .store
        .usage_by(UsageDimension::Type, Some("public"))
        .await
        .unwrap();
    assert_eq!(elsewhere, [row("text/plain", 1)]);
    assert_eq!(
        by(UsageDimension::Type).await,
        [
            row("application/pdf", 3),
            row("image/png", 1),
            row("text/plain", 1)
        ]
    );
    assert_eq!(
        by(UsageDimension::Month).await,
        [row("2026-01", 1), row("2026-02", 2), row("unknown", 2)]
    );
    assert_eq!(
        by(UsageDimension::Uploader).await,
        [row("clerk", 1), row("unknown", 4)]
    );
}
