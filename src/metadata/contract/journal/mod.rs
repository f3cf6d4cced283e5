//! What every database behind [`JournalStore`] must do, as one suite; run with [`journal_suite!`].

mod leases;
mod moves;
mod runs;
mod steps;
mod undo;
mod uploads;
mod warnings;

use std::any::Any;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{Seed, id};
use crate::metadata::FileRecord;
use crate::metadata::journal::{
    Action, JournalStore, NewRun, NewStep, Owner, RecordChange, Settlement, StepState,
};

pub(crate) use leases::*;
pub(crate) use moves::*;
pub(crate) use runs::*;
pub(crate) use steps::*;
pub(crate) use undo::*;
pub(crate) use uploads::*;
pub(crate) use warnings::*;

/// A journal and whatever must live as long as it does.
pub(crate) struct Journaled {
    pub store: Arc<dyn JournalStore>,
    pub _keep: Box<dyn Any + Send>,
}

type Make = dyn Fn(Vec<Seed>) -> Journaled + Sync;

/// A test for each named function of this module, run on what `$seed` makes.
macro_rules! journal_suite {
    ($seed:path) => {
        crate::metadata::contract::journal::journal_suite! { $seed:
            a_run_is_remembered_from_beginning_to_end
            runs_come_newest_first
            a_run_is_ended_once
            a_run_that_changed_nothing_is_forgotten_and_gives_its_leases_back
            a_run_that_was_begun_is_begun_again_by_its_own_process_only
            a_provider_is_held_by_one_run_at_a_time
            a_lease_that_ran_out_is_taken_over_and_its_holder_fenced
            a_lease_of_a_dead_run_is_taken_over_at_once
            a_beat_keeps_a_lease_and_says_when_it_is_lost
            a_lease_that_ran_out_is_lost_though_nobody_took_it
            a_lease_is_free_when_its_run_has_ended
            a_run_without_a_lease_may_write_steps_down
            an_upload_becomes_a_record_and_leaves_no_intent
            an_upload_whose_intent_is_gone_is_refused_and_the_others_are_committed
            sums_of_parts_are_kept_with_the_sum_of_the_whole
            a_copy_that_is_found_is_written_down_once_and_only_of_a_record
            an_upload_whose_id_is_taken_is_refused_and_keeps_its_intent
            uploads_that_belong_together_are_all_refused_for_one
            a_commit_that_is_repeated_changes_nothing
            intents_are_renewed_with_their_run_only
            a_step_and_its_change_are_written_together
            a_row_that_differs_in_any_column_is_a_conflict
            a_row_is_put_back_exactly_as_it_was
            a_replaced_row_is_compared_as_a_whole
            a_step_is_settled_once
            a_settlement_that_conflicts_leaves_the_step_as_it_was
            steps_are_found_by_what_is_asked_and_read_page_by_page
            a_run_that_has_ended_writes_no_more_steps
            a_step_that_goes_on_changes_its_row_while_nobody_has_ended_it
            a_file_that_is_moved_has_no_other_step
            undoing_marks_the_step_in_the_same_transaction
            a_step_is_undone_by_one_run_only
            what_is_purged_from_the_trash_is_emptied
            the_installation_keeps_its_id
            runs_are_found_by_what_is_asked
            a_warning_is_kept_per_file_and_policy_until_the_next
            a_warning_is_spent_once_a_lifecycle_run_has_acted_on_it
        }
    };
    ($seed:path: $($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::metadata::contract::journal::$name(&$seed).await;
            }
        )*
    };
}
pub(crate) use journal_suite;

/// 2026-11-23 12:00 and so many seconds.
fn at(seconds: i64) -> DateTime<Utc> {
    let noon: DateTime<Utc> = "2026-11-23T12:00:00Z".parse().unwrap();
    noon + TimeDelta::seconds(seconds)
}

fn owner(pid: u32) -> Owner {
    Owner {
        host: "hall".to_owned(),
        pid,
        process: format!("boot/{pid}"),
    }
}

async fn begin(store: &dyn JournalStore, run_id: &str, seconds: i64) {
    let run = NewRun {
        id: run_id.to_owned(),
        operation: "storage:delete".to_owned(),
        actor: Some("clerk".to_owned()),
        owner: owner(7),
        request: json!({ "ids": ["a"] }),
        now: at(seconds),
    };
    store.begin_run(&run).await.unwrap();
}

/// A step that takes the record away.
fn removal(record: &FileRecord) -> NewStep {
    NewStep {
        action: Action::Trash,
        provider: "local".to_owned(),
        key: Some(record.relative_path.clone()),
        to_key: Some(format!(".trash/r1/{}", record.relative_path)),
        to_provider: None,
        evidence: None,
        file_id: Some(record.id.clone()),
        before: Some(record.clone()),
        after: None,
        change: Some(RecordChange::Remove {
            expected: Box::new(record.clone()),
        }),
        undoes: None,
    }
}

/// A step that changes no record.
fn plain(key: &str) -> NewStep {
    NewStep {
        action: Action::Trash,
        provider: "local".to_owned(),
        key: Some(key.to_owned()),
        to_key: Some(format!(".trash/r1/{key}")),
        to_provider: None,
        evidence: None,
        file_id: None,
        before: None,
        after: None,
        change: None,
        undoes: None,
    }
}

fn settled(number: u64) -> Settlement {
    Settlement {
        number,
        state: StepState::Settled,
        error: None,
        change: None,
    }
}

async fn record(store: &dyn JournalStore, number: u64) -> FileRecord {
    store.get(&id(number)).await.unwrap().unwrap()
}
