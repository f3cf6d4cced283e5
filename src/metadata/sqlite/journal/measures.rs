//! What processes have counted, added up: each adds its own in one transaction when it ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::super::SqliteStore;
use super::super::beside;
use super::super::cancel::Cancel;
use super::super::session::Session;
use super::values::{Answer, count, from_json, json};
use crate::metadata::{MetadataStore, Result};
use crate::metrics::{Histogram, Key, Series, Snapshot};

/// How long whoever counted may be kept waiting for others that write, most of them to do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A quarter of a second: it was only a question.
    Asked,
    /// Two seconds: something was done.
    Done,
}

impl Patience {
    const fn busy_timeout(self) -> Duration {
        match self {
            Self::Asked => Duration::from_millis(250),
            Self::Done => Duration::from_secs(2),
        }
    }
}

impl SqliteStore {
    /// The database at `path` for nothing but [`Self::add_metrics`]; `None` where they would not be kept in any case. Waits
    /// for nobody.
    #[must_use]
    pub fn to_count(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        beside::is_ours_to_open(&path).then(|| beside::again(|| Self::open(&path)).ok())?
    }

    /// Adds what this process has counted to what others have, and changes nothing else. `false`, with nothing changed,
    /// where no command that writes has brought the tables to this version, or it cannot be kept, as for
    /// [`JournalReader::keep_report`](crate::metadata::journal::JournalReader::keep_report).
    ///
    /// # Errors
    /// Where the database fails, or others write for too long; nothing is kept then.
    pub fn add_metrics(&self, counted: &Snapshot, patience: Patience) -> Result<bool> {
        beside::again(|| self.try_add(counted, patience))
    }

    fn try_add(&self, counted: &Snapshot, patience: Patience) -> Result<bool> {
        let path = self.path();
        if !beside::is_ours_to_open(path) || !self.pool.answer(&Cancel::default(), is_there)? {
            return Ok(false);
        }
        // See [`SqliteJournal::beside`](super::SqliteJournal::beside).
        self.rest();
        add(path, counted, patience.busy_timeout()).map_err(|trouble| trouble.about(&self.location()))
    }
}

/// Asked without writing.
fn is_there(session: &Session) -> Answer<bool> {
    super::has_written(session.connection())
}

/// Adds to what is there. `false`, with nothing changed, where the tables are not of this version, or the database may not
/// be written to.
fn add(path: &Path, snapshot: &Snapshot, wait: Duration) -> Answer<bool> {
    let Some(mut connection) = beside::connect(path, wait)? else {
        return Ok(false);
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !super::has_written(&transaction)? {
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
    if !super::has_table(connection, "civic_storage_metrics")? {
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
