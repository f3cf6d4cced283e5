//! What becomes of a step's row when the step is finished, given up or undone, whatever happened to the row meanwhile:
//! what the step changed is its business, all else may have been edited and stays so.

use crate::metadata::FileRecord;
use crate::metadata::journal::{RecordChange, Step};

/// The change that brings the row to where the step leads; `Err` where it is another row by now.
pub(in crate::engine) fn forward(
    (before, after): (Option<&FileRecord>, Option<&FileRecord>),
    current: Option<&FileRecord>,
) -> Result<Option<RecordChange>, &'static str> {
    let Some(after) = after else {
        return Ok(None);
    };
    match current {
        Some(current) if has_paths_of(current, after) => Ok(None),
        Some(current) => match before {
            Some(before) if has_paths_of(current, before) => Ok(Some(switch(current, before, after))),
            _ => Err("its record was changed meanwhile"),
        },
        None if before.is_none() => Ok(Some(RecordChange::Insert {
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
            Some(switch(current, after, before))
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

fn switch(current: &FileRecord, from: &FileRecord, to: &FileRecord) -> RecordChange {
    RecordChange::Replace {
        expected: Box::new(current.clone()),
        record: Box::new(FileRecord {
            folder: to.folder.clone(),
            stored_filename: to.stored_filename.clone(),
            relative_path: to.relative_path.clone(),
            provider_path: to.provider_path.clone(),
            // The time of an edit stays with the edit.
            updated_at: back_to(&to.updated_at, &from.updated_at, &current.updated_at)
                .unwrap_or_else(|| current.updated_at.clone()),
            ..current.clone()
        }),
    }
}

/// The row with what a step changed from `before` to `after` put back, all else as it is now; `None` where the very
/// thing that the step changed was changed again since.
pub(in crate::engine) fn undone(
    before: &FileRecord,
    after: &FileRecord,
    now: &FileRecord,
) -> Option<FileRecord> {
    let text = |column: fn(&FileRecord) -> &String| back_to(column(before), column(after), column(now));
    Some(FileRecord {
        id: now.id.clone(),
        original_name: text(|row| &row.original_name)?,
        stored_filename: text(|row| &row.stored_filename)?,
        folder: text(|row| &row.folder)?,
        relative_path: text(|row| &row.relative_path)?,
        provider_path: text(|row| &row.provider_path)?,
        size: back_to(&before.size, &after.size, &now.size)?,
        mime_type: text(|row| &row.mime_type)?,
        description: back_to(&before.description, &after.description, &now.description)?,
        uploaded_by: back_to(&before.uploaded_by, &after.uploaded_by, &now.uploaded_by)?,
        created_at: back_to(&before.created_at, &after.created_at, &now.created_at)?,
        updated_at: back_to(&before.updated_at, &after.updated_at, &now.updated_at)
            .unwrap_or_else(|| now.updated_at.clone()),
    })
}

/// What a column holds once its change from `before` to `after` is put back; `None` where it was changed again.
fn back_to<T: Clone + PartialEq>(before: &T, after: &T, now: &T) -> Option<T> {
    if before == after {
        Some(now.clone())
    } else {
        (now == after || now == before).then(|| before.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Stamp;

    fn row(folder: &str, description: &str, updated: &str) -> FileRecord {
        FileRecord {
            id: "1c9be456-9019-4123-86c2-b2a304657661".into(),
            original_name: "a.pdf".into(),
            stored_filename: "a.pdf".into(),
            folder: folder.into(),
            relative_path: format!("{folder}/a.pdf"),
            provider_path: format!("/srv/{folder}/a.pdf"),
            size: 1,
            mime_type: "application/pdf".into(),
            description: Some(description.into()),
            uploaded_by: None,
            created_at: Stamp::from_text("2026-01-01 00:00:00"),
            updated_at: Stamp::from_text(updated),
        }
    }

    #[test]
    fn undoing_a_move_leaves_later_edits_and_their_time() {
        let (before, after) = (
            row("permits", "", "2026-01-01 00:00:00"),
            row("public", "", "2026-02-02 00:00:00"),
        );
        assert_eq!(undone(&before, &after, &after), Some(before.clone()));
        let edited = row("public", "edited", "2026-03-03 00:00:00");
        let expected = row("permits", "edited", "2026-03-03 00:00:00");
        assert_eq!(undone(&before, &after, &edited), Some(expected));
    }

    #[test]
    fn what_was_changed_again_is_not_put_back() {
        let (before, after) = (
            row("permits", "one", "2026-01-01 00:00:00"),
            row("permits", "two", "2026-02-02 00:00:00"),
        );
        let third = row("permits", "three", "2026-03-03 00:00:00");
        assert_eq!(undone(&before, &after, &third), None);
        let moved = row("public", "two", "2026-03-03 00:00:00");
        let expected = row("public", "one", "2026-03-03 00:00:00");
        assert_eq!(undone(&before, &after, &moved), Some(expected));
    }
}
