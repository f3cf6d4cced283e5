//! What processes have counted, added up: each adds its own in one transaction when it ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::super::SqliteStore;
use super::super::cancel::Cancel;
use super::super::session::Session;
use super::reports;
use super::values::{Answer, count, from_json, json};
use crate::metadata::{MetadataStore, Result};
use crate::metrics::{Histogram, Key, Series, Snapshot};

const TABLE: &str = "civic_storage_metrics";

/// For others that write at the same moment, most of them to do the same.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

impl SqliteStore {
    /// Adds what this process has counted to what others have, and changes nothing else. `false` where it cannot be kept, as
    /// for [`JournalReader::keep_report`](crate::metadata::journal::JournalReader::keep_report). Blocks for two seconds at most.
    ///
    /// # Errors
    /// Where the database fails; nothing is kept then.
    pub fn add_metrics(&self, counted: &Snapshot) -> Result<bool> {
        if !self.pool.answer(&Cancel::default(), is_there)? {
            return Ok(false);
        }
        // See [`SqliteJournal::beside`](super::SqliteJournal::beside).
        self.rest();
        add(self.path(), counted).map_err(|trouble| trouble.about(&self.location()))
    }
}

/// Whether a command that writes has made the table; asked without writing.
fn is_there(session: &Session) -> Answer<bool> {
    super::has_table(session.connection(), TABLE)
}

/// Adds to what is there. `false`, with nothing changed, where no command that writes has made the table, or the database
/// may not be written to.
fn add(path: &Path, snapshot: &Snapshot) -> Answer<bool> {
    let Some(mut connection) = reports::beside_others(path, BUSY_TIMEOUT)? else {
        return Ok(false);
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !super::has_table(&transaction, TABLE)? {
        return Ok(false);
    }
    for (key, series) in snapshot {
        let mut sum = one(&transaction, key)?;
        sum.merge(series);
        write(&transaction, key, &sum)?;
    }
    transaction.commit()?;
    Ok(true)
}

fn one(connection: &Connection, key: &Key) -> Answer<Series> {
    let sql =
        "SELECT * FROM main.civic_storage_metrics WHERE operation = ?1 AND provider = ?2 AND folder = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![key.operation, key.provider, key.folder])?;
    rows.next()?.map_or_else(|| Ok(Series::default()), read)
}

pub(super) fn all(connection: &Connection) -> Answer<Snapshot> {
    if !super::has_table(connection, TABLE)? {
        return Ok(Snapshot::default());
    }
    let mut statement = connection.prepare_cached("SELECT * FROM main.civic_storage_metrics")?;
    let mut rows = statement.query([])?;
    let mut snapshot = Snapshot::default();
    while let Some(row) = rows.next()? {
        let key = Key {
            operation: row.get("operation")?,
            provider: row.get("provider")?,
            folder: row.get("folder")?,
        };
        snapshot.insert(key, read(row)?);
    }
    Ok(snapshot)
}

/// Begins anew; how many series are gone.
pub(super) fn reset(connection: &Connection) -> Answer<u64> {
    Ok(connection.execute("DELETE FROM main.civic_storage_metrics", [])? as u64)
}

fn read(row: &Row<'_>) -> Answer<Series> {
    let buckets: Option<BTreeMap<u16, u64>> = from_json(row, "buckets")?;
    Ok(Series {
        count: count(row, "count")?,
        failures: count(row, "failures")?,
        bytes: count(row, "bytes")?,
        micros: count(row, "micros")?,
        durations: Histogram::of(buckets.unwrap_or_default()),
    })
}

fn write(connection: &Connection, key: &Key, series: &Series) -> Answer<()> {
    let buckets: BTreeMap<u16, u64> = series.durations.buckets().collect();
    // At the top of their range rather than not at all.
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO main.civic_storage_metrics VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            key.operation,
            key.provider,
            key.folder,
            signed(series.count),
            signed(series.failures),
            signed(series.bytes),
            signed(series.micros),
            json(&buckets)?,
        ])?;
    Ok(())
}
