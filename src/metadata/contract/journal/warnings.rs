//! Warnings that were sent: kept per file and policy, and spent once a run has acted on them.

use serde_json::json;

use super::super::{Seed, id};
use super::{Make, at, owner, removal};
use crate::metadata::journal::{
    Intended, JournalStore, NewRun, RunStatus, ServedWarning, Settlement, StepState,
};

fn warning(file: u64, policy: &str, announces: &str, seconds: i64) -> ServedWarning {
    ServedWarning {
        file_id: id(file),
        policy: policy.to_owned(),
        announces: announces.to_owned(),
        sent_at: at(seconds),
        goes_at: at(seconds + 100),
    }
}

pub(crate) async fn a_warning_is_kept_per_file_and_policy_until_the_next(seeded: &Make) {
    let made = seeded(vec![Seed::new(1, "permits", "a.pdf")]);
    let store = &*made.store;
    let all = [id(1), id(2)];
    assert_eq!(store.warnings(&all).await.unwrap(), []);
    let first = [
        warning(1, "a", "delete", 0),
        warning(1, "b", "warn", 1),
        warning(2, "a", "delete", 2),
    ];
    store.serve_warnings(&first).await.unwrap();
    assert_eq!(store.warnings(&all).await.unwrap(), first);
    assert_eq!(store.warnings(&[id(2)]).await.unwrap(), first[2..]);
    let again = warning(1, "a", "archive to provider cold", 5);
    store.serve_warnings(std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(
        store.warnings(&[id(1)]).await.unwrap(),
        [again.clone(), first[1].clone()]
    );
    store.forget_warnings_of_none().await.unwrap();
    assert_eq!(
        store.warnings(&all).await.unwrap(),
        [again, first[1].clone()],
        "the second file has no record"
    );
}

async fn run(store: &dyn JournalStore, run_id: &str, operation: &str) {
    let run = NewRun {
        id: run_id.to_owned(),
        operation: operation.to_owned(),
        actor: None,
        owner: owner(7),
        request: json!({}),
        now: at(10),
    };
    store.begin_run(&run).await.unwrap();
}

pub(crate) async fn a_warning_is_spent_once_a_lifecycle_run_has_acted_on_it(seeded: &Make) {
    let made = seeded(vec![
        Seed::new(1, "permits", "a.pdf"),
        Seed::new(2, "permits", "b.pdf"),
    ]);
    let store = &*made.store;
    let sent = [
        warning(1, "deletes", "delete", 0),
        warning(1, "archives", "archive to folder x", 0),
        warning(1, "warns", "warn", 0),
        warning(2, "deletes", "delete", 0),
    ];
    store.serve_warnings(&sent).await.unwrap();
    let both = [id(1), id(2)];
    for (run_id, operation, file) in [("r1", "storage:lifecycle", 1), ("r2", "storage:delete", 2)] {
        run(store, run_id, operation).await;
        let record = store.get(&id(file)).await.unwrap().unwrap();
        let intended = store
            .intend_steps(run_id, vec![removal(&record)], at(20))
            .await
            .unwrap();
        assert_eq!(intended, [Intended::Written(1)]);
        assert_eq!(
            store.warnings(&[id(file)]).await.unwrap().len(),
            if file == 1 { 3 } else { 1 }
        );
        let settled = Settlement {
            number: 1,
            state: StepState::Settled,
            error: None,
            change: None,
        };
        store.settle_steps(run_id, &[settled], at(30)).await.unwrap();
        store
            .finish_run(run_id, RunStatus::Done, &json!({}), at(40))
            .await
            .unwrap();
    }
    // What somebody deleted by hand, and brought back, was not what the warning was about.
    let standing = [sent[1].clone(), sent[2].clone(), sent[3].clone()];
    assert_eq!(store.warnings(&both).await.unwrap(), standing);
    let anew = warning(1, "deletes", "delete", 50);
    store.serve_warnings(std::slice::from_ref(&anew)).await.unwrap();
    assert!(
        store.warnings(&both).await.unwrap().contains(&anew),
        "one of later stands"
    );
}
