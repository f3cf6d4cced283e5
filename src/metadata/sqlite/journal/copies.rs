//! Copies of files on providers that keep backups.

use rusqlite::{Connection, OptionalExtension};

use super::values::Answer;
use crate::metadata::journal::Copy;

pub(super) fn remember(connection: &Connection, file_id: &str, copies: &[Copy]) -> Answer<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO main.civic_storage_copies (file_id, provider, key) VALUES (?1, ?2, ?3)",
    )?;
    for copy in copies {
        statement.execute([file_id, &copy.provider, &copy.key])?;
    }
    Ok(())
}

/// Of those that have a record.
pub(super) fn remember_found(connection: &Connection, copies: &[(String, Copy)]) -> Answer<()> {
    for (file_id, copy) in copies {
        if super::super::queries::get(connection, file_id)?.is_some() {
            remember(connection, file_id, std::slice::from_ref(copy))?;
        }
    }
    Ok(())
}

pub(super) fn forget(connection: &Connection, file_id: &str) -> Answer<()> {
    connection
        .prepare_cached("DELETE FROM main.civic_storage_copies WHERE file_id = ?1")?
        .execute([file_id])?;
    Ok(())
}

/// Of these files, ordered by provider. None where no command of this version ever wrote.
pub(super) fn of(connection: &Connection, file_ids: &[String]) -> Answer<Vec<(String, Copy)>> {
    let there = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'civic_storage_copies'";
    let mut found = Vec::new();
    if connection.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(found);
    }
    let mut statement = connection.prepare_cached(
        "SELECT provider, key FROM main.civic_storage_copies WHERE file_id = ?1 ORDER BY provider",
    )?;
    for file_id in file_ids {
        let copies = statement.query_map([file_id], |row| {
            Ok(Copy {
                provider: row.get(0)?,
                key: row.get(1)?,
            })
        })?;
        for copy in copies {
            found.push((file_id.clone(), copy?));
        }
    }
    Ok(found)
}
