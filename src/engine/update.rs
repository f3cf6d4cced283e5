//! Changing what a record says of its file, and its sidecar with it. The bytes are not touched, nor are the headers of
//! an object in a bucket: new ones would make it another object, so a sidecar beside it tells what is true now.

use chrono::{DateTime, SubsecRound, Utc};
use serde_json::Value;

use super::changes::{Changes, Sites, failed, failed_by};
use super::cleanup::ItemError;
use super::journal::{JournalError, RunHandle};
use super::sidecar::{self, Absent, SidecarError};
use crate::failpoint::reach;
use crate::metadata::journal::{Action, Intended, NewStep, RecordChange, Settlement, StepState};
use crate::metadata::{FileRecord, MetadataStore, Stamp};
use crate::providers::Provider;

/// What to change.
#[derive(Debug)]
pub struct UpdateRequest {
    /// The row as it was read.
    pub record: FileRecord,
    /// `None` takes the description away.
    pub description: Option<String>,
}

impl UpdateRequest {
    /// Whether the record says so already.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.record.description == self.description
    }

    fn after(&self, now: DateTime<Utc>) -> FileRecord {
        FileRecord {
            description: self.description.clone(),
            // The database holds whole seconds; the sidecar must not say another time.
            updated_at: Stamp::At(now.trunc_subsecs(0)),
            ..self.record.clone()
        }
    }
}

/// What [`update`] would do, with nothing written.
pub async fn plan(sites: &Sites, request: &UpdateRequest) -> Changes {
    let mut changes = Changes::default();
    match sites.of_record(&request.record) {
        _ if request.is_done() => changes.succeed(&item(&request.record, false), 0),
        Ok((provider, key)) => match provider.head(&key).await {
            Ok(_) => {
                let after = FileRecord {
                    description: request.description.clone(),
                    ..request.record.clone()
                };
                changes.succeed(&item(&after, true), size(&after));
            }
            Err(error) => changes.fail(failed_by(&request.record.id, &error)),
        },
        Err(error) => changes.fail(error),
    }
    changes
}

/// What a record that says so already comes to.
#[must_use]
pub fn nothing_to_do(request: &UpdateRequest) -> Changes {
    let mut changes = Changes::default();
    changes.succeed(&item(&request.record, false), 0);
    changes
}

/// Changes the row while it is what was read, in the transaction that writes the step down, then the sidecar.
///
/// # Errors
/// Where the journal cannot be written; what was written down by then is finished by the next run.
///
/// # Cancellation
/// Safe in the same way.
pub async fn update(
    run: &RunHandle,
    (sites, store): (&Sites, &dyn MetadataStore),
    request: &UpdateRequest,
    now: DateTime<Utc>,
) -> Result<Changes, JournalError> {
    let mut changes = Changes::default();
    let provider = match sites.of_record(&request.record) {
        Ok((provider, key)) => match provider.head(&key).await {
            Ok(_) => provider,
            Err(error) => {
                changes.fail(failed_by(&request.record.id, &error));
                return Ok(changes);
            }
        },
        Err(error) => {
            changes.fail(error);
            return Ok(changes);
        }
    };
    let after = request.after(now);
    let step = record_step(&provider.name, request.record.clone(), after.clone());
    let [Intended::Written(number)] = run.intend(vec![step]).await?[..] else {
        changes.fail(failed(
            &request.record.id,
            "STORAGE_ERROR",
            "its record was changed or deleted meanwhile, or another run works on it; nothing was done",
        ));
        return Ok(changes);
    };
    reach("update.after-intend");
    match end(run, (&provider, store), (number, &after.id)).await? {
        Ok(()) => changes.succeed(&item(&after, true), size(&after)),
        Err(error) => changes.fail(error),
    }
    Ok(changes)
}

/// The row is changed; its sidecar follows.
async fn end(
    run: &RunHandle,
    (provider, store): (&Provider, &dyn MetadataStore),
    (number, id): (u64, &str),
) -> Result<Result<(), ItemError>, JournalError> {
    match sidecar::agree(provider, store, id, Absent::Written).await {
        Ok(()) => {}
        Err(SidecarError::Metadata(error)) => return Err(error.into()),
        Err(SidecarError::Provider(error)) => {
            let mut item = failed_by(id, &error);
            item.error = format!(
                "its record was changed, but its sidecar could not be written; the next run that changes something \
                 brings this to its end: {}",
                item.error
            );
            return Ok(Err(item));
        }
    }
    reach("update.after-sidecar");
    let settled = Settlement {
        number,
        state: StepState::Settled,
        error: None,
        change: None,
    };
    // `false`: another run took this over and finished it. The row is changed either way.
    run.settle(vec![settled]).await?;
    reach("update.after-settle");
    Ok(Ok(()))
}

/// A step that changes a row and touches no bytes.
pub(super) fn record_step(provider: &str, before: FileRecord, after: FileRecord) -> NewStep {
    NewStep {
        action: Action::Record,
        provider: provider.to_owned(),
        key: None,
        to_key: None,
        to_provider: None,
        evidence: None,
        file_id: Some(before.id.clone()),
        before: Some(before.clone()),
        after: Some(after.clone()),
        change: Some(RecordChange::Replace {
            expected: Box::new(before),
            record: Box::new(after),
        }),
        undoes: None,
    }
}

fn item(record: &FileRecord, changed: bool) -> Value {
    let mut item = serde_json::to_value(record).unwrap_or_default();
    item["changed"] = changed.into();
    item
}

fn size(record: &FileRecord) -> u64 {
    u64::try_from(record.size).unwrap_or(0)
}
