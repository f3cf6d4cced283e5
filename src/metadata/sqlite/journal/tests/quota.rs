//! Sums that are carried on, held against sums that are read anew: whatever is written by whom, in whatever order.

use proptest::prelude::*;
use proptest::test_runner::Config;

use super::super::SqliteJournal;
use super::{a_run, removal, running};
use crate::metadata::MetadataStore;
use crate::metadata::contract::{Seed, id};
use crate::metadata::journal::{
    JournalReader, JournalStore, NewStep, RecordChange, StoredFile, UploadIntent,
};
use crate::metadata::quota::{Level, Limits};

#[derive(Debug, Clone)]
enum Op {
    /// An upload of so many bytes, which becomes a record or not.
    Upload(u64, bool),
    Delete(u64),
    /// Of a record, to the other folder.
    Move(u64),
    /// What CivicPress does.
    Foreign(u64, i64),
    ForeignDelete(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let number = 0..6_u64;
    let size = prop_oneof![-5..50_i64, Just(i64::MAX)];
    prop_oneof![
        3 => (0..50_u64, any::<bool>()).prop_map(|(size, commits)| Op::Upload(size, commits)),
        2 => number.clone().prop_map(Op::Delete),
        2 => number.clone().prop_map(Op::Move),
        1 => (number.clone(), size).prop_map(|(number, size)| Op::Foreign(number, size)),
        1 => number.prop_map(Op::ForeignDelete),
    ]
}

fn intent(number: u64, size: u64) -> UploadIntent {
    UploadIntent {
        copies: Vec::new(),
        file_id: id(number),
        run_id: "r1".to_owned(),
        provider: "local".to_owned(),
        key: format!("permits/x_{}", id(number)),
        size,
        owner: a_run("r1").owner,
        renewed_at: a_run("r1").now,
    }
}

fn limits() -> Limits {
    Limits {
        folders: [("permits".to_owned(), u64::MAX), ("public".to_owned(), u64::MAX)].into(),
        all: Some(u64::MAX),
        counts_trash: true,
        enforced: true,
    }
}

/// Levels as an upload of nothing is told of them.
async fn carried(store: &dyn JournalStore, folder: &str) -> Vec<Level> {
    let mut nothing = intent(999, 0);
    nothing.key = format!("{folder}/nothing");
    let told = store.intend_uploads(&[nothing], &limits(), &[]).await.unwrap();
    store.withdraw_intents(&[id(999)]).await.unwrap();
    told.levels
}

async fn is_right(store: &SqliteJournal) {
    for folder in ["permits", "public"] {
        let anew = store
            .levels(&limits(), &[folder.to_owned()], &[])
            .await
            .unwrap()
            .levels;
        assert_eq!(carried(store, folder).await, anew, "{folder}");
    }
}

async fn apply(store: &SqliteJournal, civicpress: &rusqlite::Connection, (at, op): (u64, Op)) {
    match op {
        Op::Upload(size, commits) => {
            let number = 100 + at;
            store
                .intend_uploads(&[intent(number, size)], &limits(), &[])
                .await
                .unwrap();
            let Some(mut record) = store.get(&id(0)).await.unwrap().filter(|_| commits) else {
                return;
            };
            record.id = id(number);
            record.folder = "permits".to_owned();
            record.size = i64::try_from(size).unwrap();
            let sha256 = String::new();
            store
                .commit_uploads(
                    &[StoredFile {
                        record,
                        sha256,
                        parts: None,
                        copies: Vec::new(),
                    }],
                    at.is_multiple_of(2),
                )
                .await
                .unwrap();
        }
        Op::Delete(number) => {
            if let Some(record) = store.get(&id(number)).await.unwrap() {
                let step = removal(record);
                store
                    .intend_steps("r1", vec![step], a_run("r1").now)
                    .await
                    .unwrap();
            }
        }
        Op::Move(number) => {
            if let Some(record) = store.get(&id(number)).await.unwrap() {
                let mut after = record.clone();
                after.folder = if record.folder == "public" {
                    "permits"
                } else {
                    "public"
                }
                .to_owned();
                let step = NewStep {
                    action: crate::metadata::journal::Action::Record,
                    change: Some(RecordChange::Replace {
                        expected: Box::new(record.clone()),
                        record: Box::new(after),
                    }),
                    ..removal(record)
                };
                store
                    .intend_steps("r1", vec![step], a_run("r1").now)
                    .await
                    .unwrap();
            }
        }
        Op::Foreign(number, size) => {
            let sql = "INSERT OR REPLACE INTO storage_files SELECT ?1, original_name, stored_filename, folder, relative_path,
                provider_path, ?2, mime_type, description, uploaded_by, created_at, updated_at FROM storage_files LIMIT 1";
            civicpress.execute(sql, (id(number), size)).unwrap();
        }
        Op::ForeignDelete(number) => {
            civicpress
                .execute("DELETE FROM storage_files WHERE id = ?1", [id(number)])
                .unwrap();
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, ..Config::default() })]
    #[test]
    fn a_sum_that_is_carried_on_is_the_sum(ops in prop::collection::vec(op(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let seeds: Vec<Seed> = (0..4).map(|number| Seed::new(number, "permits", "a")).collect();
            let (town, civicpress) = running(&seeds);
            let store = SqliteJournal::open(&town.path()).unwrap();
            store.begin_run(&a_run("r1")).await.unwrap();
            is_right(&store).await;
            for (at, op) in ops.into_iter().enumerate() {
                apply(&store, &civicpress, (at as u64, op)).await;
                is_right(&store).await;
            }
        });
    }
}

#[tokio::test]
async fn a_sum_that_left_the_range_of_whole_numbers_is_read_again_when_it_is_back() {
    let seeds: Vec<Seed> = (0..4).map(|number| Seed::new(number, "permits", "a")).collect();
    let (town, civicpress) = running(&seeds);
    let store = SqliteJournal::open(&town.path()).unwrap();
    store.begin_run(&a_run("r1")).await.unwrap();
    let ops = [Op::Foreign(5, i64::MAX), Op::Move(0), Op::Move(5), Op::Move(5)];
    for (at, op) in ops.into_iter().enumerate() {
        apply(&store, &civicpress, (at as u64, op)).await;
        is_right(&store).await;
    }
}

#[tokio::test]
async fn a_move_under_way_holds_its_room_once() {
    let (town, _civicpress) = running(&[Seed::new(1, "public", "a")]);
    let store = SqliteJournal::open(&town.path()).unwrap();
    store.begin_run(&a_run("r1")).await.unwrap();
    let before = store.get(&id(1)).await.unwrap().unwrap();
    let mut after = before.clone();
    after.folder = "permits".to_owned();
    let step = NewStep {
        action: crate::metadata::journal::Action::Move,
        change: None,
        after: Some(after.clone()),
        ..removal(before.clone())
    };
    let level = async || {
        let ledger = store
            .levels(&limits(), &["permits".to_owned()], &[])
            .await
            .unwrap();
        (ledger.levels[0].used, ledger.levels[0].reserved)
    };
    assert_eq!(level().await, (0, 0));
    store
        .intend_steps_within("r1", vec![step], &limits(), a_run("r1").now)
        .await
        .unwrap();
    assert_eq!(level().await, (0, 10));
    let switched = crate::metadata::journal::Settlement {
        number: 1,
        state: crate::metadata::journal::StepState::Intended,
        error: None,
        change: Some(RecordChange::Replace {
            expected: Box::new(before),
            record: Box::new(after),
        }),
    };
    assert_eq!(
        store
            .settle_steps("r1", &[switched], a_run("r1").now)
            .await
            .unwrap(),
        [true]
    );
    assert_eq!(
        level().await,
        (10, 0),
        "its row says so, and the step is not settled yet"
    );
}
