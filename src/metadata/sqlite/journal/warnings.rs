//! Warnings that were sent before a lifecycle policy acts.

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::values::{Answer, micros, time};
use crate::metadata::journal::ServedWarning;

/// Ids in one statement.
const AT_ONCE: usize = 500;

pub(super) fn put(connection: &Connection, warnings: &[ServedWarning]) -> Answer<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO main.civic_storage_warnings (file_id, policy, announces, sent_at, goes_at)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for warning in warnings {
        statement.execute(params![
            warning.file_id,
            warning.policy,
            warning.announces,
            micros(warning.sent_at),
            micros(warning.goes_at),
        ])?;
    }
    Ok(())
}

/// None where no command of this version ever wrote.
pub(super) fn of(connection: &Connection, file_ids: &[String]) -> Answer<Vec<ServedWarning>> {
    let there = "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'civic_storage_warnings'";
    if connection.query_row(there, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for some in file_ids.chunks(AT_ONCE) {
        let marks = vec!["?"; some.len()].join(",");
        // What was done because of a warning is in the journal, whoever brought it to its end.
        let sql = format!(
            "SELECT * FROM main.civic_storage_warnings AS warned WHERE file_id IN ({marks})
             AND (announces = '{}' OR NOT EXISTS (
                 SELECT 1 FROM main.civic_storage_steps AS step
                 JOIN main.civic_storage_runs AS run ON run.id = step.run_id
                 WHERE step.file_id = warned.file_id AND run.operation = 'storage:lifecycle'
                 AND step.changed_at >= warned.sent_at AND step.state IN ('settled', 'undone', 'emptied')
                 AND step.action = CASE warned.announces WHEN '{}' THEN 'trash' ELSE 'migrate' END))",
            ServedWarning::NOTHING,
            ServedWarning::DELETE,
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(some))?;
        while let Some(row) = rows.next()? {
            found.push(ServedWarning {
                file_id: row.get("file_id")?,
                policy: row.get("policy")?,
                announces: row.get("announces")?,
                sent_at: time(row, "sent_at")?,
                goes_at: time(row, "goes_at")?,
            });
        }
    }
    Ok(found)
}

pub(super) fn forget_of_none(connection: &Connection) -> Answer<()> {
    connection.execute(
        "DELETE FROM main.civic_storage_warnings WHERE NOT EXISTS (
             SELECT 1 FROM main.storage_files AS file WHERE file.id = civic_storage_warnings.file_id)",
        [],
    )?;
    Ok(())
}
