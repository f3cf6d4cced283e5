//! Changes to `storage_files`, each only where the row still is what it was: every column compared as the database
//! holds it. A row with bytes that text cannot show is never equal to what was read of it, and so never changed.

use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};

use super::super::trouble::Trouble;
use crate::metadata::FileRecord;
use crate::metadata::journal::RecordChange;

pub(super) const COLUMNS: [&str; 12] = [
    "id",
    "original_name",
    "stored_filename",
    "folder",
    "relative_path",
    "provider_path",
    "size",
    "mime_type",
    "description",
    "uploaded_by",
    "created_at",
    "updated_at",
];

/// Makes the change; `false`, with nothing changed, where the row is not what was expected or the id is taken.
pub(super) fn apply(connection: &Connection, change: &RecordChange) -> Result<bool, Trouble> {
    match change {
        RecordChange::Remove { expected } => remove(connection, expected),
        RecordChange::Insert { record } => insert(connection, record),
        RecordChange::Replace { expected, record } => replace(connection, expected, record),
    }
}

/// Inserts the record; `false` where its id is taken.
pub(super) fn insert(connection: &Connection, record: &FileRecord) -> Result<bool, Trouble> {
    let taken = connection
        .prepare_cached("SELECT 1 FROM main.storage_files WHERE id COLLATE BINARY = ?1")?
        .query_row([&record.id], |_| Ok(()))
        .optional()?;
    if taken.is_some() {
        return Ok(false);
    }
    let sql = format!(
        "INSERT INTO main.storage_files ({}) VALUES ({})",
        COLUMNS.join(", "),
        numbered(1, "").join(", ")
    );
    let inserted = connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(values(record)))?;
    Ok(inserted == 1)
}

fn remove(connection: &Connection, expected: &FileRecord) -> Result<bool, Trouble> {
    let sql = format!("DELETE FROM main.storage_files WHERE {}", condition(1));
    let removed = connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(values(expected)))?;
    Ok(removed == 1)
}

fn replace(connection: &Connection, expected: &FileRecord, record: &FileRecord) -> Result<bool, Trouble> {
    let assignments: Vec<String> = COLUMNS
        .iter()
        .zip(1..)
        .map(|(column, number)| format!("{column} = ?{number}"))
        .collect();
    let sql = format!(
        "UPDATE main.storage_files SET {} WHERE {}",
        assignments.join(", "),
        condition(COLUMNS.len() + 1)
    );
    let values = values(record).into_iter().chain(values(expected));
    let replaced = connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(values))?;
    Ok(replaced == 1)
}

/// Every column equal to the parameters from `first` on; the id first, which has an index.
fn condition(first: usize) -> String {
    let rest: Vec<String> = numbered(first, " COLLATE BINARY IS ").split_off(1);
    format!(
        "id = ?{first} AND id COLLATE BINARY = ?{first} AND {}",
        rest.join(" AND ")
    )
}

/// `?N` for each column, with the column and `operator` in front where there is one.
fn numbered(first: usize, operator: &str) -> Vec<String> {
    COLUMNS
        .iter()
        .zip(first..)
        .map(|(column, number)| match operator {
            "" => format!("?{number}"),
            _ => format!("{column}{operator}?{number}"),
        })
        .collect()
}

/// As [`COLUMNS`] has them.
fn values(record: &FileRecord) -> Vec<Box<dyn ToSql>> {
    let text = |text: &String| -> Box<dyn ToSql> { Box::new(text.clone()) };
    let stamp = |stamp: &crate::metadata::Stamp| stamp.stored().map(std::borrow::Cow::into_owned);
    vec![
        text(&record.id),
        text(&record.original_name),
        text(&record.stored_filename),
        text(&record.folder),
        text(&record.relative_path),
        text(&record.provider_path),
        Box::new(record.size),
        text(&record.mime_type),
        Box::new(record.description.clone()),
        Box::new(record.uploaded_by.clone()),
        Box::new(stamp(&record.created_at)),
        Box::new(stamp(&record.updated_at)),
    ]
}
