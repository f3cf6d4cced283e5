//! `list`: pages, order, search, filters.

use super::{Make, Seed, id, names};
use crate::metadata::{ListQuery, SortKey};

pub(crate) async fn lists_are_paged_in_a_stable_order(seeded: &Make) {
    let made = seeded(
        (0..25)
            .map(|n| Seed::new(n * 7 % 25, "permits", "same.pdf"))
            .collect(),
    );
    for descending in [false, true] {
        let mut ids = Vec::new();
        for offset in [0, 10, 20, 30] {
            let query = ListQuery {
                descending,
                offset,
                limit: 10,
                ..ListQuery::default()
            };
            let page = made.store.list(&query).await.unwrap();
            assert_eq!(page.total, 25);
            ids.extend(page.records.into_iter().map(|record| record.id));
        }
        assert_eq!(
            ids,
            (0..25).map(id).collect::<Vec<_>>(),
            "equal keys are told apart by id"
        );
    }
    let none = made
        .store
        .list(&ListQuery {
            limit: 0,
            ..ListQuery::default()
        })
        .await
        .unwrap();
    assert_eq!((none.records.len(), none.total), (0, 25));
    let far = made
        .store
        .list(&ListQuery {
            offset: u64::MAX,
            limit: u64::MAX,
            ..ListQuery::default()
        })
        .await
        .unwrap();
    assert_eq!((far.records.len(), far.total), (0, 25));
}

pub(crate) async fn lists_sort_by_every_key(seeded: &Make) {
    let mut seeds = vec![
        Seed::new(1, "b", "écrit"),
        Seed::new(2, "a", "Zoo"),
        Seed::new(3, "c", "Écrin"),
    ];
    seeds[0].created_at = Some("2026-03-01 10:00:00");
    seeds[1].created_at = Some("2026-03-01T11:30:00+02:00");
    seeds[2].created_at = Some("2026-03-01T09:45:00.500Z");
    for (seed, (size, mime)) in seeds.iter_mut().zip([(300, "b/b"), (100, "c/c"), (200, "a/a")]) {
        (seed.size, seed.mime_type) = (size, mime);
    }
    let made = seeded(seeds);
    for (sort, expected) in [
        (SortKey::Created, ["Zoo", "Écrin", "écrit"]),
        (SortKey::Updated, ["Zoo", "Écrin", "écrit"]),
        (SortKey::Name, ["Zoo", "Écrin", "écrit"]),
        (SortKey::Size, ["Zoo", "Écrin", "écrit"]),
        (SortKey::Folder, ["Zoo", "écrit", "Écrin"]),
        (SortKey::Type, ["Écrin", "écrit", "Zoo"]),
    ] {
        let ascending = names(
            &*made.store,
            ListQuery {
                sort,
                ..ListQuery::default()
            },
        )
        .await;
        assert_eq!(ascending, expected, "{sort:?}");
        let mut descending = names(
            &*made.store,
            ListQuery {
                sort,
                descending: true,
                ..ListQuery::default()
            },
        )
        .await;
        descending.reverse();
        assert_eq!(descending, expected, "{sort:?}");
    }
}

pub(crate) async fn searches_ignore_letter_case_and_know_no_wildcards(seeded: &Make) {
    let mut described = Seed::new(4, "permits", "d.pdf");
    described.description = Some("Straße 50%");
    let made = seeded(vec![
        Seed::new(1, "permits", "PROCÈS-verbal.pdf"),
        Seed::new(2, "permits", "a_b.pdf"),
        Seed::new(3, "permits", "axb.pdf"),
        described,
    ]);
    let search = async |text: &str| {
        names(
            &*made.store,
            ListQuery {
                search: Some(text.to_owned()),
                ..ListQuery::default()
            },
        )
        .await
    };
    assert_eq!(search("procès").await, ["PROCÈS-verbal.pdf"]);
    assert_eq!(search("CÈS-VER").await, ["PROCÈS-verbal.pdf"]);
    assert_eq!(search("A_B").await, ["a_b.pdf"]);
    assert_eq!(search("%").await, ["d.pdf"]);
    assert_eq!(search("STRASSE").await, ["d.pdf"]);
    assert_eq!(search(&id(3)[..8].to_uppercase()).await, ["axb.pdf"]);
    assert_eq!(search("nothing like it").await, [""; 0]);
    assert_eq!(search("").await.len(), 4);
}

pub(crate) async fn lists_filter_by_type_folder_and_root(seeded: &Make) {
    let mut seeds = vec![
        Seed::new(1, "permits", "scan.PDF"),
        Seed::new(2, "permits", "photo.jpg"),
        Seed::new(3, "public", "notes.txt"),
        Seed::new(4, "permits2", "pdf"),
    ];
    for (seed, mime) in seeds.iter_mut().zip([
        "application/pdf",
        "Image/JPEG",
        "text/plain; charset=utf-8",
        "x/y",
    ]) {
        seed.mime_type = mime;
    }
    let made = seeded(seeds);
    let of_kind = async |kind: &str| {
        names(
            &*made.store,
            ListQuery {
                mime_or_extension: Some(kind.to_owned()),
                ..ListQuery::default()
            },
        )
        .await
    };
    assert_eq!(of_kind("application/PDF").await, ["scan.PDF"]);
    assert_eq!(of_kind("pdf").await, ["scan.PDF"]);
    assert_eq!(of_kind(".Pdf").await, ["scan.PDF"]);
    assert_eq!(of_kind("image").await, ["photo.jpg"]);
    assert_eq!(of_kind("image/*").await, ["photo.jpg"]);
    assert_eq!(of_kind("text/plain").await, ["notes.txt"]);
    assert_eq!(of_kind("text/pla").await, [""; 0]);
    assert_eq!(of_kind("%").await, [""; 0]);

    let folder = Some("permits".to_owned());
    assert_eq!(
        names(
            &*made.store,
            ListQuery {
                folder,
                ..ListQuery::default()
            }
        )
        .await,
        ["scan.PDF", "photo.jpg"]
    );
    let under = async |roots: &[&str]| {
        let roots = Some(roots.iter().map(|root| (*root).to_owned()).collect());
        names(
            &*made.store,
            ListQuery {
                roots,
                ..ListQuery::default()
            },
        )
        .await
    };
    assert_eq!(
        under(&["/srv/permits/", "/srv/public/"]).await,
        ["scan.PDF", "photo.jpg", "notes.txt"]
    );
    assert_eq!(under(&[]).await, [""; 0]);
}
