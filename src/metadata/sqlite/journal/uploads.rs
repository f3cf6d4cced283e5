//! Intents of uploads, and the records they become.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::values::{Answer, count, micros, owner, signed, time};
use super::{change, quota};
use crate::metadata::journal::{Admissions, Copy, PartSums, StoredFile, UploadIntent};
use crate::metadata::quota::{Admission, Limits};

/// Writes down those that are let in.
pub(super) fn intend(
    connection: &Connection,
    intents: &[UploadIntent],
    within: (&Limits, &[String]),
) -> Answer<Admissions> {
    let admissions = quota::admit_uploads(connection, intents, within)?;
    let admitted = intents.iter().zip(&admissions.answers);
    for (intent, _) in admitted.filter(|(_, answer)| !matches!(answer, Admission::Refused(_))) {
        write(connection, intent)?;
    }
    Ok(admissions)
}

fn write(connection: &Connection, intent: &UploadIntent) -> Answer<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO main.civic_storage_intents
             (file_id, run_id, provider, key, size, host, pid, process, renewed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        intent.file_id,
        intent.run_id,
        intent.provider,
        intent.key,
        signed(intent.size)?,
        intent.owner.host,
        intent.owner.pid,
        intent.owner.process,
        micros(intent.renewed_at),
    ])?;
    let copies = intent.copies.iter().map(|provider| Copy {
        provider: provider.clone(),
        key: intent.key.clone(),
    });
    super::copies::remember(connection, &intent.file_id, &copies.collect::<Vec<_>>())
}

/// The ids that were refused: nobody's intent any more, or the id of a record.
pub(super) fn commit(connection: &Connection, files: &[StoredFile]) -> Answer<Vec<String>> {
    let mut refused = Vec::new();
    for file in files {
        let id = &file.record.id;
        if is_intended(connection, id)? && change::insert(connection, &file.record)? {
            unintend(connection, id)?;
            // Those that were made, instead of those that were to be.
            super::copies::forget(connection, id)?;
            remember(connection, file)?;
            super::copies::remember(connection, id, &file.copies)?;
        } else if !is_committed(connection, file)? {
            refused.push(id.clone());
        }
    }
    Ok(refused)
}

/// All of them, or none: the ids of all come back then.
pub(super) fn commit_together(connection: &Connection, files: &[StoredFile]) -> Answer<Vec<String>> {
    connection.execute_batch("SAVEPOINT together")?;
    if commit(connection, files)?.is_empty() {
        connection.execute_batch("RELEASE together")?;
        return Ok(Vec::new());
    }
    connection.execute_batch("ROLLBACK TO together; RELEASE together")?;
    Ok(files.iter().map(|file| file.record.id.clone()).collect())
}

/// A call that is repeated after its answer was lost finds its own work done.
fn is_committed(connection: &Connection, file: &StoredFile) -> Answer<bool> {
    let recorded = super::super::queries::get(connection, &file.record.id)?;
    Ok(recorded.as_ref() == Some(&file.record)
        && checksum(connection, &file.record.id)?.as_deref() == Some(file.sha256.as_str()))
}

fn remember(connection: &Connection, file: &StoredFile) -> Answer<()> {
    let (file_id, sha256) = (&file.record.id, &file.sha256);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO main.civic_storage_checksums (file_id, sha256) VALUES (?1, ?2)",
        )?
        .execute([file_id, sha256])?;
    if let Some(parts) = &file.parts {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO main.civic_storage_part_sums (file_id, sha256, part_size, sums)
                 VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![
                file_id,
                sha256,
                signed(parts.size)?,
                parts.sha256.concat()
            ])?;
    }
    Ok(())
}

fn is_intended(connection: &Connection, file_id: &str) -> Answer<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM main.civic_storage_intents WHERE file_id = ?1")?
        .query_row([file_id], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// With what was written down of its copies, unless there is a record that they are of.
pub(super) fn withdraw(connection: &Connection, file_id: &str) -> Answer<()> {
    unintend(connection, file_id)?;
    if super::super::queries::get(connection, file_id)?.is_none() {
        super::copies::forget(connection, file_id)?;
    }
    Ok(())
}

fn unintend(connection: &Connection, file_id: &str) -> Answer<()> {
    connection
        .prepare_cached("DELETE FROM main.civic_storage_intents WHERE file_id = ?1")?
        .execute([file_id])?;
    Ok(())
}

pub(super) fn all(connection: &Connection) -> Answer<Vec<UploadIntent>> {
    let mut statement =
        connection.prepare_cached("SELECT * FROM main.civic_storage_intents ORDER BY file_id")?;
    let mut rows = statement.query([])?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next()? {
        intents.push(read(row)?);
    }
    for intent in &mut intents {
        let copies = super::copies::of(connection, std::slice::from_ref(&intent.file_id))?;
        intent.copies = copies.into_iter().map(|(_, copy)| copy.provider).collect();
    }
    Ok(intents)
}

fn read(row: &Row<'_>) -> Answer<UploadIntent> {
    Ok(UploadIntent {
        file_id: row.get("file_id")?,
        run_id: row.get("run_id")?,
        provider: row.get("provider")?,
        key: row.get("key")?,
        size: count(row, "size")?,
        owner: owner(row)?,
        renewed_at: time(row, "renewed_at")?,
        copies: Vec::new(),
    })
}

pub(super) fn checksums(connection: &Connection, file_ids: &[String]) -> Answer<HashMap<String, String>> {
    let mut known = HashMap::new();
    for file_id in file_ids {
        if let Some(sha256) = checksum(connection, file_id)? {
            known.insert(file_id.clone(), sha256);
        }
    }
    Ok(known)
}

fn checksum(connection: &Connection, file_id: &str) -> Answer<Option<String>> {
    let found = connection
        .prepare_cached("SELECT sha256 FROM main.civic_storage_checksums WHERE file_id = ?1")?
        .query_row([file_id], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Of the content whose checksum is kept. None where no command of this version ever wrote.
pub(super) fn part_sums(connection: &Connection, file_id: &str) -> Answer<Option<PartSums>> {
    if !super::has_table(connection, "civic_storage_part_sums")? {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT part_size, sums FROM main.civic_storage_part_sums
         JOIN main.civic_storage_checksums USING (file_id, sha256) WHERE file_id = ?1",
    )?;
    let mut rows = statement.query([file_id])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let sums: Vec<u8> = row.get("sums")?;
    let (sha256, _) = sums.as_chunks();
    Ok(Some(PartSums {
        size: count(row, "part_size")?,
        sha256: sha256.to_vec(),
    }))
}
