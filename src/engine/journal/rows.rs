//! What becomes of a step's row when the step is finished or given up, whatever happened to the row meanwhile: the path
//! fields are the step's business, all else may have been edited and stays so.

use crate::metadata::FileRecord;
use crate::metadata::journal::{RecordChange, Step};

/// The change that brings the row to where the step leads; `Err` where it is another row by now.
pub(super) fn forward(
    step: &Step,
    current: Option<&FileRecord>,
) -> Result<Option<RecordChange>, &'static str> {
    let Some(after) = &step.after else {
        return Ok(None);
    };
    match current {
        Some(current) if has_paths_of(current, after) => Ok(None),
        Some(current) => match &step.before {
            Some(before) if has_paths_of(current, before) => Ok(Some(switch(current, after))),
            _ => Err("its record was changed meanwhile"),
        },
        None if step.before.is_none() => Ok(Some(RecordChange::Insert {
            record: Box::new(after.clone()),
        })),
        None => Err("its record is gone"),
    }
}

/// The change that brings the row back to where it was before the step, where it is the step that moved it.
pub(super) fn back(step: &Step, current: Option<&FileRecord>) -> Option<RecordChange> {
    match (&step.before, &step.after, current) {
        (Some(before), None, None) => Some(RecordChange::Insert {
            record: Box::new(before.clone()),
        }),
        (Some(before), Some(after), Some(current))
            if has_paths_of(current, after) && !has_paths_of(before, after) =>
        {
            Some(switch(current, before))
        }
        _ => None,
    }
}

fn has_paths_of(record: &FileRecord, other: &FileRecord) -> bool {
    record.provider_path == other.provider_path
        && record.relative_path == other.relative_path
        && record.folder == other.folder
        && record.stored_filename == other.stored_filename
}

fn switch(current: &FileRecord, to: &FileRecord) -> RecordChange {
    RecordChange::Replace {
        expected: Box::new(current.clone()),
        record: Box::new(FileRecord {
            folder: to.folder.clone(),
            stored_filename: to.stored_filename.clone(),
            relative_path: to.relative_path.clone(),
            provider_path: to.provider_path.clone(),
            updated_at: to.updated_at.clone(),
            ..current.clone()
        }),
    }
}
