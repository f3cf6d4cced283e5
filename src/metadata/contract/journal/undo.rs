//! Steps that undo steps, and the installation's id.

use super::super::{Seed, id};
use super::{Make, at, begin, plain, record, removal, settled};
use crate::metadata::FileRecord;
use crate::metadata::journal::{
    Action, Intended, JournalStore, NewStep, RecordChange, Settlement, StepQuery, StepState,
};

/// A record that run r1 took away, and run r2 begun.
async fn deleted(seeded: &Make) -> (super::Journaled, FileRecord) {
    let made = seeded(vec![Seed::new(1, "permits", "a.pdf")]);
    let store = &*made.store;
    begin(store, "r1", 0).await;
    begin(store, "r2", 1).await;
    let before = record(store, 1).await;
    store
        .intend_steps("r1", vec![removal(&before)], at(0))
        .await
        .unwrap();
    store.settle_steps("r1", &[settled(1)], at(1)).await.unwrap();
    (made, before)
}

fn undoing(action: Action) -> NewStep {
    NewStep {
        action,
        undoes: Some(("r1".to_owned(), 1)),
        ..plain(".trash/r1/a")
    }
}

async fn state(store: &dyn JournalStore, run_id: &str) -> StepState {
    let query = StepQuery {
        run_id: Some(run_id.to_owned()),
        ..StepQuery::default()
    };
    store.steps(&query).await.unwrap()[0].state
}

pub(crate) async fn undoing_marks_the_step_in_the_same_transaction(seeded: &Make) {
    let (made, before) = deleted(seeded).await;
    let store = &*made.store;
    let intended = store
        .intend_steps("r2", vec![undoing(Action::Restore)], at(2))
        .await
        .unwrap();
    assert_eq!(intended, [Intended::Written(1)]);
    assert_eq!(state(store, "r1").await, StepState::Settled);
    let back = Settlement {
        change: Some(RecordChange::Insert {
            record: Box::new(before.clone()),
        }),
        ..settled(1)
    };
    assert_eq!(store.settle_steps("r2", &[back], at(3)).await.unwrap(), [true]);
    assert_eq!(state(store, "r1").await, StepState::Undone);
    assert_eq!(store.get(&id(1)).await.unwrap(), Some(before));
}

pub(crate) async fn a_step_is_undone_by_one_run_only(seeded: &Make) {
    let (made, before) = deleted(seeded).await;
    let store = &*made.store;
    begin(store, "r3", 2).await;
    let undo = vec![undoing(Action::Restore)];
    store.intend_steps("r2", undo.clone(), at(2)).await.unwrap();
    let second = store.intend_steps("r3", undo.clone(), at(2)).await.unwrap();
    assert_eq!(second, [Intended::Conflict], "while the first is at it");
    store.settle_steps("r2", &[settled(1)], at(3)).await.unwrap();
    let third = store.intend_steps("r3", undo.clone(), at(4)).await.unwrap();
    assert_eq!(third, [Intended::Conflict], "after it is done");

    // A step that was undone meanwhile takes the settlement's change back with it.
    assert_eq!(store.get(&before.id).await.unwrap(), None);
}

pub(crate) async fn what_is_purged_from_the_trash_is_emptied(seeded: &Make) {
    let (made, _) = deleted(seeded).await;
    let store = &*made.store;
    store
        .intend_steps("r2", vec![undoing(Action::Purge)], at(2))
        .await
        .unwrap();
    store.settle_steps("r2", &[settled(1)], at(3)).await.unwrap();
    assert_eq!(state(store, "r1").await, StepState::Emptied);
}

pub(crate) async fn the_installation_keeps_its_id(seeded: &Make) {
    let made = seeded(vec![]);
    assert_eq!(made.store.known_installation().await.unwrap(), None);
    let first = made.store.installation().await.unwrap();
    let known = made.store.known_installation().await.unwrap();
    assert_eq!(known.as_ref(), Some(&first));
    assert!(uuid::Uuid::parse_str(&first).is_ok());
    assert_eq!(made.store.installation().await.unwrap(), first);
    assert_ne!(seeded(vec![]).store.installation().await.unwrap(), first);
}
