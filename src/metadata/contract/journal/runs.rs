//! Runs: begun, seen alive, ended, remembered.

use serde_json::json;

use super::super::{Seed, id};
use super::{Make, at, begin, owner, removal};
use crate::metadata::MetadataError;
use crate::metadata::journal::{LeaseGrant, NewRun, Run, RunQuery, RunStatus};

pub(crate) async fn a_run_is_remembered_from_beginning_to_end(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    assert_eq!(store.run("r1").await.unwrap(), None);
    begin(store, "r1", 0).await;
    let mut expected = Run {
        id: "r1".to_owned(),
        operation: "storage:delete".to_owned(),
        status: RunStatus::Running,
        actor: Some("clerk".to_owned()),
        owner: owner(7),
        request: json!({ "ids": ["a"] }),
        summary: None,
        started_at: at(0),
        beat_at: at(0),
        finished_at: None,
    };
    assert_eq!(store.run("r1").await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.unfinished_runs().await.unwrap(), [expected.clone()]);

    assert!(store.beat("r1", at(10)).await.unwrap());
    let summary = json!({ "deleted": 1 });
    store
        .finish_run("r1", RunStatus::Partial, &summary, at(20))
        .await
        .unwrap();
    expected.beat_at = at(10);
    expected.status = RunStatus::Partial;
    expected.summary = Some(summary);
    expected.finished_at = Some(at(20));
    assert_eq!(store.run("r1").await.unwrap(), Some(expected));
    assert_eq!(store.unfinished_runs().await.unwrap(), []);
}

pub(crate) async fn runs_come_newest_first(seeded: &Make) {
    let made = seeded(vec![]);
    for (run, seconds) in [("b", 1), ("a", 3), ("c", 2)] {
        begin(&*made.store, run, seconds).await;
    }
    let ids = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(
        ids(made.store.runs(&RunQuery::newest(9)).await.unwrap()),
        ["a", "c", "b"]
    );
    assert_eq!(
        ids(made.store.runs(&RunQuery::newest(2)).await.unwrap()),
        ["a", "c"]
    );
}

pub(crate) async fn runs_are_found_by_what_is_asked(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    for (run, seconds) in [("a", 1), ("b", 2), ("c", 3)] {
        begin(store, run, seconds).await;
    }
    store
        .finish_run("b", RunStatus::Failed, &json!({}), at(9))
        .await
        .unwrap();
    let found = async |query: RunQuery| {
        let runs = store.runs(&query).await.unwrap();
        runs.into_iter().map(|run| run.id).collect::<String>()
    };
    let all = RunQuery::newest(9);
    let of = |operation: &str| RunQuery {
        operation: Some(operation.to_owned()),
        ..all.clone()
    };
    assert_eq!(found(of("storage:delete")).await, "cba");
    assert_eq!(found(of("storage:lifecycle")).await, "");
    let since = RunQuery {
        since: Some(at(2)),
        ..all.clone()
    };
    assert_eq!(found(since).await, "cb");
    let failed = RunQuery {
        statuses: vec![RunStatus::Failed, RunStatus::Partial],
        ..all.clone()
    };
    assert_eq!(found(failed).await, "b");
}

pub(crate) async fn a_run_is_ended_once(seeded: &Make) {
    let made = seeded(vec![]);
    let store = &*made.store;
    begin(store, "r1", 0).await;
    let none = json!({});
    for _ in 0..2 {
        store
            .finish_run("r1", RunStatus::Interrupted, &none, at(1))
            .await
            .unwrap();
    }
    let late = store.finish_run("r1", RunStatus::Done, &none, at(2)).await;
    assert!(matches!(late, Err(MetadataError::Fenced { run }) if run == "r1"));
    assert!(!store.beat("r1", at(3)).await.unwrap());
    assert_eq!(
        store.run("r1").await.unwrap().unwrap().status,
        RunStatus::Interrupted
    );
}

pub(crate) async fn a_run_that_was_begun_is_begun_again_by_its_own_process_only(seeded: &Make) {
    let made = seeded(vec![]);
    begin(&*made.store, "r1", 0).await;
    begin(&*made.store, "r1", 0).await;
    let other = NewRun {
        id: "r1".to_owned(),
        operation: "storage:undo".to_owned(),
        actor: None,
        owner: owner(8),
        request: json!({}),
        now: at(0),
    };
    assert!(made.store.begin_run(&other).await.is_err());
    assert_eq!(
        made.store.run("r1").await.unwrap().unwrap().operation,
        "storage:delete"
    );
}

pub(crate) async fn a_run_that_changed_nothing_is_forgotten_and_gives_its_leases_back(seeded: &Make) {
    let made = seeded(vec![Seed::new(1, "permits", "a.pdf")]);
    let store = &*made.store;
    for run in ["r1", "r2", "r3"] {
        begin(store, run, 0).await;
    }
    store.acquire_lease("r1", "local", &[], at(1)).await.unwrap();
    assert!(store.discard_run("r1").await.unwrap());
    assert_eq!(store.run("r1").await.unwrap(), None);
    let granted = store.acquire_lease("r2", "local", &[], at(2)).await.unwrap();
    assert!(matches!(granted, LeaseGrant::Granted(_)), "{granted:?}");

    let record = store.get(&id(1)).await.unwrap().unwrap();
    store
        .intend_steps("r2", vec![removal(&record)], at(3))
        .await
        .unwrap();
    let none = json!({});
    store
        .finish_run("r3", RunStatus::Done, &none, at(3))
        .await
        .unwrap();
    for kept in ["r2", "r3", "nobody's"] {
        assert!(!store.discard_run(kept).await.unwrap());
    }
    assert!(store.run("r2").await.unwrap().is_some(), "it wrote a step down");
    assert!(store.run("r3").await.unwrap().is_some(), "it has ended");
}
