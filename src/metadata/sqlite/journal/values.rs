//! How the journal's values stand in its tables: times as microseconds, words as JSON spells them, rows as JSON with
//! their times exactly as `storage_files` had them.

use chrono::{DateTime, Utc};
use rusqlite::Row;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::trouble::Trouble;
use crate::metadata::journal::Owner;
use crate::metadata::{FileRecord, Stamp};

pub(super) type Answer<T> = Result<T, Trouble>;

pub(super) const fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

pub(super) fn time(row: &Row<'_>, column: &str) -> Answer<DateTime<Utc>> {
    let micros: i64 = row.get(column)?;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| damaged(column, "no time"))
}

pub(super) fn optional_time(row: &Row<'_>, column: &str) -> Answer<Option<DateTime<Utc>>> {
    let micros: Option<i64> = row.get(column)?;
    Ok(micros.and_then(DateTime::from_timestamp_micros))
}

/// A size or a number; none of them is ever negative.
pub(super) fn count(row: &Row<'_>, column: &str) -> Answer<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| damaged(column, "negative"))
}

pub(super) fn signed(value: u64) -> Answer<i64> {
    i64::try_from(value).map_err(|_| Trouble::Told(format!("{value} is more than a database holds")))
}

/// The word that JSON has for it: `running`, `trash`.
pub(super) fn word(value: &impl Serialize) -> Answer<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        _ => Err(Trouble::Told("a state without a name".to_owned())),
    }
}

pub(super) fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Answer<T> {
    let word: String = row.get(column)?;
    serde_json::from_value(Value::String(word.clone())).map_err(|_| damaged(column, &word))
}

pub(super) fn json(value: &impl Serialize) -> Answer<String> {
    serde_json::to_string(value).map_err(|error| Trouble::Told(error.to_string()))
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Answer<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let read =
        |text: String| serde_json::from_str(&text).map_err(|error| damaged(column, &error.to_string()));
    text.map(read).transpose()
}

pub(super) fn owner(row: &Row<'_>) -> Answer<Owner> {
    Ok(Owner {
        host: row.get("host")?,
        pid: row.get("pid")?,
        process: row.get("process")?,
    })
}

fn damaged(column: &str, what: &str) -> Trouble {
    Trouble::Told(format!(
        "its civic_storage tables are damaged: {column} is {what}"
    ))
}

/// A row of `storage_files` as it was.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    original_name: String,
    stored_filename: String,
    folder: String,
    relative_path: String,
    provider_path: String,
    size: i64,
    mime_type: String,
    description: Option<String>,
    uploaded_by: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    /// Columns that a later CivicPress added, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<Box<RawValue>>,
}

/// `unknown`: what the row holds in other columns, as JSON.
pub(super) fn kept(record: Option<&FileRecord>, unknown: Option<String>) -> Answer<Option<String>> {
    let unknown = unknown
        .map(RawValue::from_string)
        .transpose()
        .map_err(|error| Trouble::Told(error.to_string()))?;
    let stored = |stamp: &Stamp| stamp.stored().map(std::borrow::Cow::into_owned);
    record
        .map(|record| {
            let record = record.clone();
            json(&Kept {
                created_at: stored(&record.created_at),
                updated_at: stored(&record.updated_at),
                id: record.id,
                original_name: record.original_name,
                stored_filename: record.stored_filename,
                folder: record.folder,
                relative_path: record.relative_path,
                provider_path: record.provider_path,
                size: record.size,
                mime_type: record.mime_type,
                description: record.description,
                uploaded_by: record.uploaded_by,
                unknown,
            })
        })
        .transpose()
}

pub(super) fn record(row: &Row<'_>, column: &str) -> Answer<Option<FileRecord>> {
    let kept: Option<Kept> = from_json(row, column)?;
    Ok(kept.map(|kept| FileRecord {
        created_at: stamp(kept.created_at),
        updated_at: stamp(kept.updated_at),
        id: kept.id,
        original_name: kept.original_name,
        stored_filename: kept.stored_filename,
        folder: kept.folder,
        relative_path: kept.relative_path,
        provider_path: kept.provider_path,
        size: kept.size,
        mime_type: kept.mime_type,
        description: kept.description,
        uploaded_by: kept.uploaded_by,
    }))
}

/// Text that is a whole number was one in the table, since the columns have numeric affinity.
fn stamp(text: Option<String>) -> Stamp {
    let Some(text) = text else {
        return Stamp::Unreadable(None);
    };
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => Stamp::from_integer(number),
        _ => Stamp::from_text(&text),
    }
}
