//! Steps that move a file: alone with it, and going on after their row is switched.

use super::steps::{intend, one_record};
use super::{Make, at, record, removal};
use crate::metadata::FileRecord;
use crate::metadata::journal::{
    Action, Intended, JournalStore, NewStep, RecordChange, Settlement, StepQuery, StepState,
};

fn moving(before: &FileRecord) -> (NewStep, FileRecord) {
    let after = FileRecord {
        folder: "public".to_owned(),
        ..before.clone()
    };
    let step = NewStep {
        action: Action::Move,
        before: Some(before.clone()),
        after: Some(after.clone()),
        change: None,
        ..removal(before)
    };
    (step, after)
}

fn goes_on(expected: &FileRecord, record: &FileRecord) -> Settlement {
    Settlement {
        number: 1,
        state: StepState::Intended,
        error: None,
        change: Some(RecordChange::Replace {
            expected: Box::new(expected.clone()),
            record: Box::new(record.clone()),
        }),
    }
}

async fn settle(store: &dyn JournalStore, settlement: Settlement) -> bool {
    let answers = store.settle_steps("r1", &[settlement], at(1)).await.unwrap();
    answers == [true]
}

pub(crate) async fn a_step_that_goes_on_changes_its_row_while_nobody_has_ended_it(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let before = record(store, 1).await;
    let (step, after) = moving(&before);
    assert_eq!(intend(store, step).await, Intended::Written(1));
    assert_eq!(record(store, 1).await, before, "written down, and nothing else");
    assert!(
        !settle(store, goes_on(&after, &before)).await,
        "not the row that is there"
    );
    assert!(settle(store, goes_on(&before, &after)).await);
    assert_eq!(record(store, 1).await, after);
    let steps = store.steps(&StepQuery::default()).await.unwrap();
    assert_eq!(steps[0].state, StepState::Intended);
    let ended = Settlement {
        state: StepState::Settled,
        change: None,
        ..goes_on(&before, &after)
    };
    assert!(settle(store, ended).await);
    assert!(
        !settle(store, goes_on(&after, &before)).await,
        "somebody has ended it"
    );
    assert_eq!(record(store, 1).await, after);
}

pub(crate) async fn a_file_that_is_moved_has_no_other_step(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let there = record(store, 1).await;
    let (step, _) = moving(&there);
    assert_eq!(intend(store, step.clone()).await, Intended::Written(1));
    assert_eq!(intend(store, step.clone()).await, Intended::Conflict);
    assert_eq!(intend(store, removal(&there)).await, Intended::Conflict);
    assert_eq!(record(store, 1).await, there);
    let given_up = Settlement {
        state: StepState::Failed,
        change: None,
        ..goes_on(&there, &there)
    };
    assert!(settle(store, given_up).await);
    assert_eq!(intend(store, removal(&there)).await, Intended::Written(2));
    assert_eq!(
        intend(store, step).await,
        Intended::Conflict,
        "it is being taken away"
    );
}
