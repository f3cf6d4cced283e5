//! Reports that took long to make, kept for the next time. One is good while no transaction of this program has changed
//! anything since, and no row has been added by anybody: what else others change, its age has to answer for.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use super::super::beside;
use super::super::trouble::Trouble;
use super::values::{Answer, micros, time};
use crate::metadata::{KeptReport, Mark, NewReport};

/// After each transaction that changed something: whatever was counted before is no longer kept.
pub(super) fn drop_all(connection: &Connection) -> Answer<()> {
    let next = "UPDATE main.civic_storage_generation SET number = number + 1";
    connection.prepare_cached(next)?.execute([])?;
    Ok(())
}

/// The report that is kept, if it is still good, and under what mark one that is made from now on would be.
pub(super) fn kept(connection: &Connection, request: &str) -> Answer<KeptReport> {
    if !super::has_table(connection, "civic_storage_reports")? {
        return Ok(KeptReport::default());
    }
    let mark = mark(connection)?;
    let mut statement = connection.prepare_cached(
        "SELECT made_at, report FROM main.civic_storage_reports
         WHERE request = ?1 AND generation = ?2 AND newest IS ?3",
    )?;
    let mut rows = statement.query(params![request, mark.generation, mark.newest])?;
    let report = rows
        .next()?
        .map(|row| Ok::<_, Trouble>((time(row, "made_at")?, row.get("report")?)));
    Ok(KeptReport {
        report: report.transpose()?,
        mark: Some(mark),
    })
}

/// Every row that is added gets a higher number than the last one has, also the one that replaces another.
fn mark(connection: &Connection) -> Answer<Mark> {
    let generation = "SELECT number FROM main.civic_storage_generation";
    let newest = "SELECT max(rowid) FROM main.storage_files";
    Ok(Mark {
        generation: connection.query_row(generation, [], |row| row.get(0))?,
        newest: connection.query_row(newest, [], |row| row.get(0))?,
    })
}

/// Keeps a report beside those that are still good. `false`, with nothing changed, where this would do more than that:
/// where the database may not be written to, is no WAL database or has no table for reports, where its WAL would have to
/// be made by somebody else than its owner, or where another program is writing.
pub(super) fn keep(path: &Path, report: &NewReport) -> Answer<bool> {
    let Some(mut connection) = beside::connect(path, beside::BUSY_TIMEOUT)? else {
        return Ok(false);
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !super::has_table(&transaction, "civic_storage_reports")? {
        return Ok(false);
    }
    write(&transaction, report)?;
    transaction.commit()?;
    Ok(true)
}

fn write(connection: &Connection, report: &NewReport) -> Answer<()> {
    let Mark { generation, newest } = report.mark;
    connection.execute(
        "DELETE FROM main.civic_storage_reports
         WHERE generation <> (SELECT number FROM main.civic_storage_generation) OR made_at < ?1",
        [micros(report.good_since)],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO main.civic_storage_reports (request, generation, newest, made_at, report)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            report.request,
            generation,
            newest,
            micros(report.made_at),
            report.text
        ],
    )?;
    Ok(())
}
