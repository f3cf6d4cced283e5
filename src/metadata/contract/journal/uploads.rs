//! Uploads: an intent becomes a record, or is refused.

use super::super::{Seed, id};
use super::{Make, at, begin, owner};
use crate::metadata::journal::{Copy, JournalStore, PartSums, StoredFile, UploadIntent};
use crate::metadata::quota::Limits;
use crate::metadata::{FileRecord, Stamp};

fn intent(number: u64) -> UploadIntent {
    UploadIntent {
        copies: vec!["attic".to_owned()],
        file_id: id(number),
        run_id: "r1".to_owned(),
        provider: "local".to_owned(),
        key: format!("permits/a_{}.pdf", id(number)),
        size: 10,
        owner: owner(7),
        renewed_at: at(0),
    }
}

fn file(number: u64) -> StoredFile {
    let stored = format!("a_{}.pdf", id(number));
    StoredFile {
        copies: Vec::new(),
        record: FileRecord {
            id: id(number),
            original_name: "Ä 会議.pdf".to_owned(),
            folder: "permits".to_owned(),
            relative_path: format!("permits/{stored}"),
            provider_path: format!("/srv/permits/{stored}"),
            stored_filename: stored,
            size: 10,
            mime_type: "application/pdf".to_owned(),
            description: None,
            uploaded_by: Some("clerk".to_owned()),
            created_at: Stamp::At(at(0)),
            updated_at: Stamp::At(at(0)),
        },
        sha256: format!("{number:064x}"),
        parts: None,
    }
}

async fn ids_of_intents(store: &dyn JournalStore) -> Vec<String> {
    let intents = store.intents().await.unwrap();
    intents.into_iter().map(|intent| intent.file_id).collect()
}

pub(crate) async fn an_upload_becomes_a_record_and_leaves_no_intent(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    store
        .intend_uploads(&[intent(1)], &Limits::default(), &[])
        .await
        .unwrap();
    assert_eq!(store.intents().await.unwrap(), [intent(1)]);
    let vault = Copy {
        provider: "vault".to_owned(),
        key: intent(1).key,
    };
    let made_elsewhere = StoredFile {
        copies: vec![vault.clone()],
        ..file(1)
    };
    let refused = store.commit_uploads(&[made_elsewhere], false).await.unwrap();
    assert_eq!(refused, [""; 0]);
    let copies = store.copies(&[id(1)]).await.unwrap();
    assert_eq!(
        copies,
        [(id(1), vault)],
        "those that were made, not those that were to be"
    );
    assert_eq!(store.get(&id(1)).await.unwrap(), Some(file(1).record));
    assert_eq!(store.checksum(&id(1)).await.unwrap(), Some(file(1).sha256));
    assert_eq!(store.checksum(&id(2)).await.unwrap(), None);
    assert_eq!(store.intents().await.unwrap(), []);
}

pub(crate) async fn an_upload_whose_intent_is_gone_is_refused_and_the_others_are_committed(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    store
        .intend_uploads(&[intent(1), intent(2)], &Limits::default(), &[])
        .await
        .unwrap();
    store.withdraw_intents(&[id(1)]).await.unwrap();
    assert_eq!(store.copies(&[id(1)]).await.unwrap(), []);
    let refused = store.commit_uploads(&[file(1), file(2)], false).await.unwrap();
    assert_eq!(refused, [id(1)]);
    assert_eq!(store.get(&id(1)).await.unwrap(), None);
    assert_eq!(store.checksum(&id(1)).await.unwrap(), None);
    assert_eq!(store.get(&id(2)).await.unwrap(), Some(file(2).record));
}

pub(crate) async fn sums_of_parts_are_kept_with_the_sum_of_the_whole(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    let intents = [intent(1), intent(2)];
    store
        .intend_uploads(&intents, &Limits::default(), &[])
        .await
        .unwrap();
    let parts = PartSums {
        size: 6,
        sha256: vec![[1; 32], [2; 32]],
    };
    let in_parts = StoredFile {
        parts: Some(parts.clone()),
        ..file(1)
    };
    for _ in 0..2 {
        let refused = store
            .commit_uploads(&[in_parts.clone(), file(2)], false)
            .await
            .unwrap();
        assert_eq!(refused, [""; 0]);
        assert_eq!(store.part_sums(&id(1)).await.unwrap(), Some(parts.clone()));
    }
    assert_eq!(store.part_sums(&id(2)).await.unwrap(), None);
    assert_eq!(store.part_sums(&id(3)).await.unwrap(), None);
}

pub(crate) async fn a_copy_that_is_found_is_written_down_once_and_only_of_a_record(seeded: &Make) {
    let made = seeded(vec![Seed::new(1, "permits", "plan.pdf")]);
    let store = &*made.store;
    let attic = Copy {
        provider: "attic".to_owned(),
        key: "permits/plan".to_owned(),
    };
    let found = [(id(1), attic.clone()), (id(2), attic.clone())];
    for _ in 0..2 {
        store.remember_copies(&found).await.unwrap();
        assert_eq!(
            store.copies(&[id(1), id(2)]).await.unwrap(),
            [(id(1), attic.clone())]
        );
    }
}

pub(crate) async fn an_upload_whose_id_is_taken_is_refused_and_keeps_its_intent(seeded: &Make) {
    let made = seeded(vec![Seed::new(1, "permits", "somebody's")]);
    let store = &*made.store;
    store
        .intend_uploads(&[intent(1)], &Limits::default(), &[])
        .await
        .unwrap();
    assert_eq!(store.commit_uploads(&[file(1)], false).await.unwrap(), [id(1)]);
    let there = store.get(&id(1)).await.unwrap().unwrap();
    assert_eq!(there.original_name, "somebody's");
    assert_eq!(ids_of_intents(store).await, [id(1)]);
}

pub(crate) async fn uploads_that_belong_together_are_all_refused_for_one(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    let all = [file(1), file(2), file(3)];
    let ids: Vec<String> = (1..=3).map(id).collect();
    store
        .intend_uploads(&[intent(1), intent(2), intent(3)], &Limits::default(), &[])
        .await
        .unwrap();
    store.withdraw_intents(&[id(2)]).await.unwrap();
    assert_eq!(store.commit_uploads(&all, true).await.unwrap(), ids);
    assert_eq!(ids_of_intents(store).await, [id(1), id(3)]);
    for id in &ids {
        assert_eq!(store.get(id).await.unwrap(), None);
        assert_eq!(store.checksum(id).await.unwrap(), None);
    }
    store
        .intend_uploads(&[intent(2)], &Limits::default(), &[])
        .await
        .unwrap();
    assert_eq!(store.commit_uploads(&all, true).await.unwrap(), [""; 0]);
    assert_eq!(store.get(&id(3)).await.unwrap(), Some(file(3).record));
    assert_eq!(store.intents().await.unwrap(), []);
}

pub(crate) async fn a_commit_that_is_repeated_changes_nothing(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    store
        .intend_uploads(&[intent(1)], &Limits::default(), &[])
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(store.commit_uploads(&[file(1)], false).await.unwrap(), [""; 0]);
    }
    let mut other = file(1);
    other.record.original_name = "another".to_owned();
    assert_eq!(store.commit_uploads(&[other], false).await.unwrap(), [id(1)]);
}

pub(crate) async fn intents_are_renewed_with_their_run_only(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    begin(store, "r1", 0).await;
    begin(store, "r2", 0).await;
    store
        .intend_uploads(&[intent(1)], &Limits::default(), &[])
        .await
        .unwrap();
    assert!(store.beat("r2", at(30)).await.unwrap());
    assert_eq!(store.intents().await.unwrap()[0].renewed_at, at(0));
    assert!(store.beat("r1", at(30)).await.unwrap());
    assert_eq!(store.intents().await.unwrap()[0].renewed_at, at(30));
}
