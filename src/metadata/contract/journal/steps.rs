//! Steps: written down with what they change, settled once.

use serde_json::json;

use super::super::{Seed, id};
use super::{Make, at, begin, plain, record, removal, settled};
use crate::metadata::journal::{
    Action, Evidence, Intended, JournalStore, NewStep, RecordChange, RunStatus, Settlement, StepQuery,
    StepState,
};
use crate::metadata::{FileRecord, MetadataError, Stamp};

pub(super) async fn intend(store: &dyn JournalStore, step: NewStep) -> Intended {
    store
        .intend_steps("r1", vec![step], at(0))
        .await
        .unwrap()
        .remove(0)
}

pub(super) async fn one_record(seeded: &Make) -> super::Journaled {
    let made = seeded(vec![Seed::new(1, "permits", "Résumé 🏛.pdf")]);
    begin(&*made.store, "r1", 0).await;
    made
}

pub(crate) async fn a_step_and_its_change_are_written_together(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let before = record(store, 1).await;
    let mut step = removal(&before);
    step.evidence = Some(Evidence {
        size: 10,
        etag: Some("\"x\"".to_owned()),
        last_modified: Some(at(-5)),
    });
    assert_eq!(intend(store, step.clone()).await, Intended::Written(1));
    assert_eq!(store.get(&id(1)).await.unwrap(), None);
    let written = store.steps(&StepQuery::default()).await.unwrap().remove(0);
    assert_eq!((written.run_id.as_str(), written.number), ("r1", 1));
    assert_eq!(written.state, StepState::Intended);
    assert_eq!(written.before, Some(before.clone()));
    assert_eq!(
        (written.key, written.to_key, written.evidence, written.file_id),
        (
            step.key.clone(),
            step.to_key.clone(),
            step.evidence.clone(),
            step.file_id.clone()
        )
    );
    // The same once more finds no row: nothing is written, and the number is not used up.
    let both = store
        .intend_steps("r1", vec![step, plain("b")], at(1))
        .await
        .unwrap();
    assert_eq!(both, [Intended::Conflict, Intended::Written(2)]);
    assert_eq!(store.steps(&StepQuery::default()).await.unwrap().len(), 2);
}

pub(crate) async fn a_row_that_differs_in_any_column_is_a_conflict(seeded: &Make) {
    type Edit = fn(&mut FileRecord);
    let edits: [(&str, Edit); 13] = [
        ("id", |r| r.id = r.id.to_uppercase()),
        ("original_name", |r| r.original_name.push(' ')),
        ("original_name's case", |r| {
            r.original_name = r.original_name.to_lowercase();
        }),
        ("stored_filename", |r| r.stored_filename.push('x')),
        ("folder", |r| r.folder.push('x')),
        ("relative_path", |r| r.relative_path.push('x')),
        ("provider_path", |r| r.provider_path.push('x')),
        ("size", |r| r.size += 1),
        ("mime_type", |r| r.mime_type.push('x')),
        ("description", |r| r.description = Some(String::new())),
        ("uploaded_by", |r| r.uploaded_by = Some("mayor".to_owned())),
        ("created_at", |r| r.created_at = Stamp::Unreadable(None)),
        ("updated_at", |r| {
            r.updated_at = Stamp::from_text("2026-01-02T03:04:05Z");
        }),
    ];
    let made = one_record(seeded).await;
    let store = &*made.store;
    let there = record(store, 1).await;
    for (column, edit) in edits {
        let mut expected = there.clone();
        edit(&mut expected);
        assert_eq!(
            intend(store, removal(&expected)).await,
            Intended::Conflict,
            "{column}"
        );
        assert_eq!(record(store, 1).await, there, "{column}");
    }
    assert_eq!(intend(store, removal(&there)).await, Intended::Written(1));
}

pub(crate) async fn a_row_is_put_back_exactly_as_it_was(seeded: &Make) {
    for created in [
        Some("2026-01-02 03:04:05"),
        Some("2026-01-02T03:04:05.678Z"),
        Some("yesterday"),
        Some("1795459119"),
        None,
    ] {
        let mut seed = Seed::new(1, "permits", "a\u{301} \u{202e}\n.pdf");
        seed.description = Some("");
        seed.created_at = created;
        let made = seeded(vec![seed]);
        let store = &*made.store;
        begin(store, "r1", 0).await;
        let before = record(store, 1).await;
        assert_eq!(intend(store, removal(&before)).await, Intended::Written(1));
        let step = store.steps(&StepQuery::default()).await.unwrap().remove(0);
        let back = Settlement {
            number: 1,
            state: StepState::Failed,
            error: Some("denied".to_owned()),
            change: Some(RecordChange::Insert {
                record: Box::new(step.before.unwrap()),
            }),
        };
        assert_eq!(store.settle_steps("r1", &[back], at(1)).await.unwrap(), [true]);
        assert_eq!(record(store, 1).await, before, "{created:?}");
        let failed = store.steps(&StepQuery::default()).await.unwrap().remove(0);
        assert_eq!(
            (failed.state, failed.error.as_deref(), failed.changed_at),
            (StepState::Failed, Some("denied"), at(1))
        );
    }
}

pub(crate) async fn a_replaced_row_is_compared_as_a_whole(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let before = record(store, 1).await;
    let mut after = before.clone();
    after.folder = "public".to_owned();
    after.updated_at = Stamp::At(at(0));
    let step = |expected: &FileRecord, record: &FileRecord| NewStep {
        action: Action::Record,
        before: Some(expected.clone()),
        after: Some(record.clone()),
        change: Some(RecordChange::Replace {
            expected: Box::new(expected.clone()),
            record: Box::new(record.clone()),
        }),
        ..removal(expected)
    };
    assert_eq!(intend(store, step(&after, &before)).await, Intended::Conflict);
    assert_eq!(intend(store, step(&before, &after)).await, Intended::Written(1));
    assert_eq!(record(store, 1).await, after);
    assert_eq!(intend(store, step(&before, &after)).await, Intended::Conflict);
}

pub(crate) async fn a_step_is_settled_once(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    intend(store, plain("a")).await;
    let state = |state| Settlement { state, ..settled(1) };
    let steps = [
        (state(StepState::Emptied), false),
        (state(StepState::Intended), true),
        (state(StepState::Settled), true),
        (state(StepState::Intended), false),
        (state(StepState::Settled), false),
        (state(StepState::Failed), false),
        (state(StepState::Emptied), true),
        (state(StepState::Undone), false),
        (settled(2), false),
    ];
    for (settlement, made) in steps {
        let answer = store
            .settle_steps("r1", std::slice::from_ref(&settlement), at(1))
            .await
            .unwrap();
        assert_eq!(answer, [made], "{settlement:?}");
    }
}

pub(crate) async fn a_settlement_that_conflicts_leaves_the_step_as_it_was(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let there = record(store, 1).await;
    store
        .intend_steps("r1", vec![plain("a"), plain("b")], at(0))
        .await
        .unwrap();
    let taken = Settlement {
        change: Some(RecordChange::Insert {
            record: Box::new(there),
        }),
        ..settled(1)
    };
    let answers = store
        .settle_steps("r1", &[taken, settled(2)], at(1))
        .await
        .unwrap();
    assert_eq!(answers, [false, true]);
    let states: Vec<_> = store.steps(&StepQuery::default()).await.unwrap();
    assert_eq!(
        states.iter().map(|step| step.state).collect::<Vec<_>>(),
        [StepState::Intended, StepState::Settled]
    );
}

pub(crate) async fn steps_are_found_by_what_is_asked_and_read_page_by_page(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    begin(store, "r2", 0).await;
    let s3 = NewStep {
        action: Action::Purge,
        provider: "s3".to_owned(),
        file_id: Some(id(3)),
        ..plain("c")
    };
    store
        .intend_steps("r2", vec![plain("a"), plain("b"), s3], at(0))
        .await
        .unwrap();
    store.intend_steps("r1", vec![plain("d")], at(0)).await.unwrap();
    store.settle_steps("r2", &[settled(2)], at(1)).await.unwrap();
    let mut tally = store
        .tally(&["r1".to_owned(), "r2".to_owned(), "none".to_owned()])
        .await
        .unwrap();
    tally.sort_by_key(|(run, _, count)| (run.clone(), *count));
    assert_eq!(
        tally,
        [
            ("r1".to_owned(), StepState::Intended, 1),
            ("r2".to_owned(), StepState::Settled, 1),
            ("r2".to_owned(), StepState::Intended, 2),
        ]
    );
    let find = async |query: StepQuery| -> Vec<String> {
        let found = store.steps(&query).await.unwrap();
        found.into_iter().map(|step| step.key.unwrap()).collect()
    };
    let all = StepQuery::default;
    assert_eq!(find(all()).await, ["d", "a", "b", "c"]);
    let run_id = Some("r2".to_owned());
    assert_eq!(
        find(StepQuery {
            run_id: run_id.clone(),
            ..all()
        })
        .await,
        ["a", "b", "c"]
    );
    let mut backwards = StepQuery {
        descending: true,
        limit: 2,
        ..all()
    };
    assert_eq!(find(backwards.clone()).await, ["c", "b"]);
    backwards.after = Some(("r2".to_owned(), 2));
    assert_eq!(find(backwards).await, ["a", "d"]);
    let file_id = Some(id(3));
    assert_eq!(find(StepQuery { file_id, ..all() }).await, ["c"]);
    let provider = Some("s3".to_owned());
    assert_eq!(find(StepQuery { provider, ..all() }).await, ["c"]);
    let states = vec![StepState::Intended];
    assert_eq!(find(StepQuery { states, ..all() }).await, ["d", "a", "c"]);
    let states = vec![StepState::Settled, StepState::Failed];
    assert_eq!(find(StepQuery { states, ..all() }).await, ["b"]);
    let actions = vec![Action::Trash];
    assert_eq!(
        find(StepQuery {
            run_id,
            actions,
            ..all()
        })
        .await,
        ["a", "b"]
    );
    let page = StepQuery {
        after: Some(("r1".to_owned(), 1)),
        limit: 2,
        ..all()
    };
    assert_eq!(find(page).await, ["a", "b"]);
    let page = StepQuery {
        after: Some(("r2".to_owned(), 2)),
        limit: 2,
        ..all()
    };
    assert_eq!(find(page).await, ["c"]);
}

pub(crate) async fn a_run_that_has_ended_writes_no_more_steps(seeded: &Make) {
    let made = one_record(seeded).await;
    let store = &*made.store;
    let there = record(store, 1).await;
    store
        .finish_run("r1", RunStatus::Interrupted, &json!({}), at(1))
        .await
        .unwrap();
    for run in ["r1", "never begun"] {
        let late = store.intend_steps(run, vec![removal(&there)], at(2)).await;
        assert!(matches!(late, Err(MetadataError::Fenced { .. })));
    }
    assert_eq!(record(store, 1).await, there);
}
