//! From columns to records. SQLite keeps any type in any column: what can be read sensibly is read, and a row whose id,
//! path or size cannot be understood is an error that names it. No row is skipped.

use std::borrow::Cow;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::trouble::Trouble;
use crate::metadata::{FileRecord, ScannedRecord, Stamp};

/// The columns of [`file_record`], in its order.
pub(super) const FILE_COLUMNS: &str = "id, original_name, stored_filename, folder, relative_path, provider_path, size, \
     mime_type, description, uploaded_by, created_at, updated_at";

/// The columns of [`scanned_record`], in its order.
pub(super) const SCAN_COLUMNS: &str =
    "id, original_name, folder, provider_path, size, created_at, updated_at";

pub(super) fn file_record(row: &Row<'_>) -> Result<FileRecord, Trouble> {
    let named = Named(row);
    Ok(FileRecord {
        id: named.strict("id", 0)?,
        original_name: named.text(1)?,
        stored_filename: named.text(2)?,
        folder: named.text(3)?,
        relative_path: named.text(4)?,
        provider_path: named.strict("provider_path", 5)?,
        size: named.size(6)?,
        mime_type: named.text(7)?,
        description: lossy(row.get_ref(8)?).map(Cow::into_owned),
        uploaded_by: lossy(row.get_ref(9)?).map(Cow::into_owned),
        created_at: stamp(row.get_ref(10)?),
        updated_at: stamp(row.get_ref(11)?),
    })
}

pub(super) fn scanned_record(row: &Row<'_>) -> Result<ScannedRecord, Trouble> {
    let named = Named(row);
    Ok(ScannedRecord {
        id: named.strict("id", 0)?,
        original_name: named.text(1)?,
        folder: named.text(2)?,
        provider_path: named.strict("provider_path", 3)?,
        size: named.size(4)?,
        created_at: stamp(row.get_ref(5)?),
        updated_at: stamp(row.get_ref(6)?),
    })
}

/// A row whose first column is the id, which its errors name.
pub(super) struct Named<'a, 'stmt>(pub(super) &'a Row<'stmt>);

impl Named<'_, '_> {
    /// Text that something hangs on: bytes that are not text, or were not stored as text, are an error.
    pub(super) fn strict(&self, column: &str, index: usize) -> Result<String, Trouble> {
        match self.0.get_ref(index)? {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes)
                .map(str::to_owned)
                .map_err(|_| self.unreadable(format!("its {column} is not UTF-8"))),
            other => Err(self.unreadable(format!("its {column} is {}, not text", kind(other)))),
        }
    }

    /// Text for people: what is not UTF-8 in it shows as U+FFFD, NULL as nothing.
    pub(super) fn text(&self, index: usize) -> Result<String, Trouble> {
        Ok(lossy(self.0.get_ref(index)?).unwrap_or_default().into_owned())
    }

    /// Bytes as recorded, negative ones too.
    pub(super) fn size(&self, index: usize) -> Result<i64, Trouble> {
        match self.0.get_ref(index)? {
            ValueRef::Integer(size) => Ok(size),
            other => Err(self.unreadable(format!("its size is {}, not a whole number", kind(other)))),
        }
    }

    fn unreadable(&self, reason: String) -> Trouble {
        let id = self.0.get_ref(0).ok().and_then(lossy).unwrap_or_default();
        Trouble::Row {
            id: id.into_owned(),
            reason,
        }
    }
}

/// Any value as text, NULL aside.
pub(super) fn lossy(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_string())),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
    }
}

pub(super) fn stamp(value: ValueRef<'_>) -> Stamp {
    match value {
        ValueRef::Integer(number) => Stamp::from_integer(number),
        // A Julian day, or seconds with a fraction: nobody can tell which.
        ValueRef::Real(number) => Stamp::Unreadable(Some(number.to_string())),
        other => lossy(other).map_or(Stamp::Unreadable(None), |text| Stamp::from_text(&text)),
    }
}

const fn kind(value: ValueRef<'_>) -> &'static str {
    match value {
        ValueRef::Null => "NULL",
        ValueRef::Integer(_) => "a whole number",
        ValueRef::Real(_) => "a fraction",
        ValueRef::Text(_) => "text",
        ValueRef::Blob(_) => "raw bytes",
    }
}
