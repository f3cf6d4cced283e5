//! Changes to `storage_files`, each only where the row still is what it was: every column compared as the database
//! holds it. A row with bytes that text cannot show is never equal to what was read of it, and so never changed.

use std::borrow::Cow;
use std::sync::LazyLock;

use rusqlite::types::{Null, ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::super::trouble::Trouble;
use super::quota;
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

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let (columns, values) = (COLUMNS.join(", "), numbered(1, "").join(", "));
    format!("INSERT INTO main.storage_files ({columns}) VALUES ({values})")
});

static REMOVE: LazyLock<String> =
    LazyLock::new(|| format!("DELETE FROM main.storage_files WHERE {}", condition(1)));

static REPLACE: LazyLock<String> = LazyLock::new(|| {
    let (columns, values) = (numbered(1, " = ").join(", "), condition(COLUMNS.len() + 1));
    format!("UPDATE main.storage_files SET {columns} WHERE {values}")
});

/// Makes the change; `false`, with nothing changed, where the row is not what was expected or the id is taken.
pub(super) fn apply(connection: &Connection, change: &RecordChange) -> Result<bool, Trouble> {
    match change {
        RecordChange::Remove { expected } => remove(connection, expected),
        RecordChange::Insert { record } => insert(connection, record),
        RecordChange::Replace { expected, record } => replace(connection, expected, record),
    }
}

/// Columns of `storage_files` that this program does not know.
pub(super) struct UnknownColumns(Vec<String>);

impl UnknownColumns {
    /// As they are in the transaction that is open.
    pub(super) fn of(connection: &Connection) -> Result<Self, Trouble> {
        let mut statement =
            connection.prepare_cached("SELECT name FROM pragma_table_info('storage_files') ORDER BY cid")?;
        let names: Vec<String> = statement
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let unknown = names
            .into_iter()
            .filter(|name| !COLUMNS.iter().any(|known| known.eq_ignore_ascii_case(name)));
        Ok(Self(unknown.collect()))
    }

    /// What the row holds in them, as JSON; `None` where there are none.
    pub(super) fn read(&self, connection: &Connection, id: &str) -> Result<Option<String>, Trouble> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let pairs = self
            .0
            .iter()
            .map(|name| format!("'{}', {}", name.replace('\'', "''"), quoted(name)));
        let sql = format!(
            "SELECT json_object({}) FROM main.storage_files WHERE id COLLATE BINARY = ?1",
            pairs.collect::<Vec<_>>().join(", ")
        );
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }
}

/// Puts those back into a row that is there again.
fn put_back_unknown_columns(connection: &Connection, id: &str) -> Result<(), Trouble> {
    let kept: Option<String> = connection
        .prepare_cached(
            "SELECT row_before ->> '$.unknown' FROM main.civic_storage_steps
             WHERE file_id = ?1 AND row_before ->> '$.unknown' IS NOT NULL
             ORDER BY changed_at DESC, run_id DESC LIMIT 1",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let Some(kept) = kept else {
        return Ok(());
    };
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM json_each(?1)
         WHERE key IN (SELECT name FROM pragma_table_info('storage_files'))",
    )?;
    let mut columns = statement.query([&kept])?;
    while let Some(column) = columns.next()? {
        let (name, value): (String, Value) = (column.get(0)?, column.get(1)?);
        let sql = format!(
            "UPDATE main.storage_files SET {} = ?2 WHERE id = ?1",
            quoted(&name)
        );
        connection.execute(&sql, params![id, value])?;
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
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
    let inserted = connection
        .prepare_cached(&INSERT)?
        .execute(params_from_iter(values(record)))?;
    put_back_unknown_columns(connection, &record.id)?;
    if inserted == 1 {
        quota::moved(connection, None, Some(record))?;
    }
    Ok(inserted == 1)
}

fn remove(connection: &Connection, expected: &FileRecord) -> Result<bool, Trouble> {
    let removed = connection
        .prepare_cached(&REMOVE)?
        .execute(params_from_iter(values(expected)))?;
    if removed == 1 {
        quota::moved(connection, Some(expected), None)?;
    }
    Ok(removed == 1)
}

fn replace(connection: &Connection, expected: &FileRecord, record: &FileRecord) -> Result<bool, Trouble> {
    let values = values(record).into_iter().chain(values(expected));
    let replaced = connection
        .prepare_cached(&REPLACE)?
        .execute(params_from_iter(values))?;
    if replaced == 1 {
        quota::moved(connection, Some(expected), Some(record))?;
    }
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
fn values(record: &FileRecord) -> [ToSqlOutput<'_>; COLUMNS.len()] {
    [
        text(&record.id),
        text(&record.original_name),
        text(&record.stored_filename),
        text(&record.folder),
        text(&record.relative_path),
        text(&record.provider_path),
        record.size.into(),
        text(&record.mime_type),
        maybe(record.description.as_deref().map(Cow::from)),
        maybe(record.uploaded_by.as_deref().map(Cow::from)),
        maybe(record.created_at.stored()),
        maybe(record.updated_at.stored()),
    ]
}

fn text(text: &str) -> ToSqlOutput<'_> {
    text.into()
}

fn maybe(text: Option<Cow<'_, str>>) -> ToSqlOutput<'_> {
    match text {
        None => Null.into(),
        Some(Cow::Borrowed(text)) => text.into(),
        Some(Cow::Owned(text)) => text.into(),
    }
}
