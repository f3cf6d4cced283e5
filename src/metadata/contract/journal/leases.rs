//! Leases: one holder at a time, and a holder that was away finds itself fenced.

use serde_json::json;

use super::{Make, at, begin, plain};
use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalStore, Lease, LeaseGrant, RunStatus, StepQuery};

async fn acquire(store: &dyn JournalStore, run_id: &str, dead: &[&str], seconds: i64) -> Option<Lease> {
    let dead: Vec<String> = dead.iter().map(|run| (*run).to_owned()).collect();
    match store
        .acquire_lease(run_id, "local", &dead, at(seconds))
        .await
        .unwrap()
    {
        LeaseGrant::Granted(lease) => Some(lease),
        LeaseGrant::Held(_) => None,
    }
}

async fn two_runs(seeded: &Make) -> super::Journaled {
    let made = seeded(vec![]);
    begin(&*made.store, "r1", 0).await;
    begin(&*made.store, "r2", 0).await;
    made
}

async fn is_fenced(store: &dyn JournalStore, run_id: &str, seconds: i64) -> bool {
    match store.intend_steps(run_id, vec![plain("a")], at(seconds)).await {
        Ok(_) => false,
        Err(MetadataError::Fenced { run }) => run == run_id,
        Err(other) => panic!("{other}"),
    }
}

pub(crate) async fn a_provider_is_held_by_one_run_at_a_time(seeded: &Make) {
    let made = two_runs(seeded).await;
    let store = &*made.store;
    let lease = acquire(store, "r1", &[], 0).await.unwrap();
    assert!(store.holds_lease(&lease, at(1)).await.unwrap());
    let refused = store.acquire_lease("r2", "local", &[], at(1)).await.unwrap();
    assert!(matches!(refused, LeaseGrant::Held(run) if run.id == "r1"));
    let other = store.acquire_lease("r2", "s3", &[], at(1)).await.unwrap();
    assert!(matches!(other, LeaseGrant::Granted(_)));
    assert!(!is_fenced(store, "r1", 2).await);
}

pub(crate) async fn a_lease_that_ran_out_is_taken_over_and_its_holder_fenced(seeded: &Make) {
    let made = two_runs(seeded).await;
    let store = &*made.store;
    let old = acquire(store, "r1", &[], 0).await.unwrap();
    assert!(acquire(store, "r2", &[], 599).await.is_none());
    let new = acquire(store, "r2", &[], 600).await.unwrap();
    assert!(new.token > old.token);
    assert!(!store.holds_lease(&old, at(601)).await.unwrap());
    assert!(!store.beat("r1", at(601)).await.unwrap());
    assert!(is_fenced(store, "r1", 601).await);
    assert!(store.steps(&StepQuery::default()).await.unwrap().is_empty());
    assert!(store.holds_lease(&new, at(601)).await.unwrap());
    // Not even when the new holder has gone: what was seen before may be wrong by now.
    store
        .finish_run("r2", RunStatus::Done, &json!({}), at(602))
        .await
        .unwrap();
    assert!(is_fenced(store, "r1", 603).await);
    assert!(store.acquire_lease("r1", "local", &[], at(603)).await.is_err());
}

pub(crate) async fn a_lease_of_a_dead_run_is_taken_over_at_once(seeded: &Make) {
    let made = two_runs(seeded).await;
    let old = acquire(&*made.store, "r1", &[], 0).await.unwrap();
    assert!(acquire(&*made.store, "r2", &["r3"], 1).await.is_none());
    let new = acquire(&*made.store, "r2", &["r1"], 1).await.unwrap();
    assert!(new.token > old.token);
    assert!(is_fenced(&*made.store, "r1", 2).await);
}

pub(crate) async fn a_beat_keeps_a_lease_and_says_when_it_is_lost(seeded: &Make) {
    let made = two_runs(seeded).await;
    let store = &*made.store;
    let lease = acquire(store, "r1", &[], 0).await.unwrap();
    assert!(store.beat("r1", at(500)).await.unwrap());
    assert!(acquire(store, "r2", &[], 1000).await.is_none());
    assert!(store.holds_lease(&lease, at(1000)).await.unwrap());
    acquire(store, "r2", &["r1"], 1000).await.unwrap();
    assert!(!store.beat("r1", at(1001)).await.unwrap());
}

pub(crate) async fn a_lease_that_ran_out_is_lost_though_nobody_took_it(seeded: &Make) {
    let made = two_runs(seeded).await;
    let lease = acquire(&*made.store, "r1", &[], 0).await.unwrap();
    assert!(!made.store.holds_lease(&lease, at(600)).await.unwrap());
    assert!(!made.store.beat("r1", at(600)).await.unwrap());
    assert!(is_fenced(&*made.store, "r1", 600).await);
}

pub(crate) async fn a_lease_is_free_when_its_run_has_ended(seeded: &Make) {
    let made = two_runs(seeded).await;
    let lease = acquire(&*made.store, "r1", &[], 0).await.unwrap();
    made.store
        .finish_run("r1", RunStatus::Done, &json!({}), at(1))
        .await
        .unwrap();
    assert!(!made.store.holds_lease(&lease, at(1)).await.unwrap());
    let next = acquire(&*made.store, "r2", &[], 2).await.unwrap();
    assert!(next.token > lease.token);
}

pub(crate) async fn a_run_without_a_lease_may_write_steps_down(seeded: &Make) {
    let made = two_runs(seeded).await;
    acquire(&*made.store, "r1", &[], 0).await.unwrap();
    assert!(!is_fenced(&*made.store, "r2", 1).await);
}
