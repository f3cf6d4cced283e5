//! Single records, ids and folders.

use std::collections::HashSet;

use super::{Make, Seed, id};
use crate::metadata::{FileRecord, Stamp};

pub(crate) async fn a_record_comes_back_as_it_was_written(seeded: &Make) {
    let mut seed = Seed::new(1, "permits", "Résumé 会議 🏛.pdf");
    seed.description = Some("line\nbreak");
    let made = seeded(vec![seed.clone(), Seed::new(2, "permits", "other")]);
    let time = Stamp::from_text("2026-01-02 03:04:05");
    let record = made.store.get(&seed.id).await.unwrap().unwrap();
    let expected = FileRecord {
        id: seed.id.clone(),
        relative_path: format!("permits/{}", seed.stored_filename),
        original_name: seed.original_name,
        stored_filename: seed.stored_filename,
        folder: "permits".to_owned(),
        provider_path: seed.provider_path,
        size: 10,
        mime_type: "application/pdf".to_owned(),
        description: Some("line\nbreak".to_owned()),
        uploaded_by: None,
        created_at: time.clone(),
        updated_at: time,
    };
    assert_eq!(record, expected);
    assert_eq!(made.store.get(&id(3)).await.unwrap(), None);
    let asked = [id(3), record.id.clone(), record.id.clone()];
    let many = made.store.get_many(&asked).await.unwrap();
    assert_eq!(many, [None, Some(record.clone()), Some(record)]);
    assert_eq!(made.store.get("").await.unwrap(), None);
}

pub(crate) async fn names_are_found_before_stored_names(seeded: &Make) {
    let mut stored = Seed::new(3, "permits", "c.pdf");
    stored.stored_filename = "a.pdf".to_owned();
    let made = seeded(vec![
        Seed::new(2, "permits", "a.pdf"),
        Seed::new(1, "permits", "a.pdf"),
        stored,
        Seed::new(4, "public", "a.pdf"),
        Seed::new(5, "permits", "A.pdf"),
    ]);
    let find = async |folder: &str, name: &str| -> Vec<String> {
        let found = made.store.find_by_name(folder, name).await.unwrap();
        found.into_iter().map(|record| record.id).collect()
    };
    assert_eq!(find("permits", "a.pdf").await, [id(1), id(2)]);
    assert_eq!(find("permits", &format!("stored_{}", id(5))).await, [id(5)]);
    assert_eq!(find("permit", "a.pdf").await, [""; 0]);
    assert_eq!(find("permits", "%.pdf").await, [""; 0]);
}

pub(crate) async fn ids_are_known_whatever_their_case(seeded: &Make) {
    let mut seeds = vec![
        Seed::new(1, "f", "x"),
        Seed::new(2, "f", "x"),
        Seed::new(3, "f", "x"),
    ];
    seeds[1].id = id(2).to_uppercase();
    seeds[2].id = id(3).replacen("aaaa", "aAaA", 1);
    let made = seeded(seeds);
    let asked: Vec<_> = (1..=4).map(|number| id(number).to_uppercase()).collect();
    let expected: HashSet<_> = (1..=3).map(id).collect();
    assert_eq!(made.store.known_ids(&asked).await.unwrap(), expected);
    assert_eq!(made.store.known_ids(&[]).await.unwrap(), HashSet::new());
}

pub(crate) async fn paths_are_known_byte_by_byte(seeded: &Make) {
    let made = seeded(vec![Seed::new(1, "f", "x"), Seed::new(2, "f", "x")]);
    let path = made.store.get(&id(1)).await.unwrap().unwrap().provider_path;
    let asked = [
        path.clone(),
        path.to_uppercase(),
        format!("{path}x"),
        String::new(),
    ];
    assert_eq!(
        made.store.known_paths(&asked).await.unwrap(),
        HashSet::from([path])
    );
    assert_eq!(made.store.known_paths(&[]).await.unwrap(), HashSet::new());
}

pub(crate) async fn more_ids_than_a_statement_takes_are_looked_up(seeded: &Make) {
    let made = seeded(
        (0..10)
            .map(|number| Seed::new(number * 4_000, "f", "x"))
            .collect(),
    );
    let asked: Vec<_> = (0..40_000).map(id).collect();
    assert_eq!(made.store.known_ids(&asked).await.unwrap().len(), 10);
}

pub(crate) async fn folders_are_named_and_counted(seeded: &Make) {
    let made = seeded(vec![
        Seed::new(1, "a", "x"),
        Seed::new(2, "a", "x"),
        Seed::new(3, "archive/b", "x"),
    ]);
    let expected: HashSet<_> = ["a", "archive/b"].map(str::to_owned).into();
    assert_eq!(made.store.folders().await.unwrap(), expected);
    assert_eq!(made.store.count_in_folder("a").await.unwrap(), 2);
    assert_eq!(made.store.count_in_folder("A").await.unwrap(), 0);
    assert_eq!(made.store.count_in_folder("archive").await.unwrap(), 0);
}
