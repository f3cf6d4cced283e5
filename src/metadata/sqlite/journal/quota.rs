//! How full folders are, told inside the transaction that lets something in: nobody else can write before it ends.
//!
//! Sums of records are read from a covering index, and then carried on from there: what this connection changes is added,
//! and once anybody else has committed anything they are read again. So a batch that is alone costs one look at the
//! records of its folder, whatever their number.

use std::collections::{BTreeSet, HashSet};

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::values::{Answer, count, signed};
use crate::metadata::FileRecord;
use crate::metadata::journal::{Admissions, Intended, NewStep, Stepped, UploadIntent};
use crate::metadata::quota::{Admission, Ledger, Level, Limits, Scope};

/// Sums on the side of the connection that writes. They are rolled back with the transaction they belong to.
pub(super) fn prepare(connection: &Connection) -> Answer<()> {
    connection.execute_batch(
        "PRAGMA temp_store = MEMORY;
         CREATE TEMP TABLE IF NOT EXISTS civic_sums (
             whole INTEGER NOT NULL, folder TEXT NOT NULL, version INTEGER NOT NULL, bytes INTEGER NOT NULL,
             PRIMARY KEY (whole, folder)) WITHOUT ROWID;",
    )?;
    Ok(())
}

/// A sum so large is read again each time: what is added to it could not be taken off again.
const CARRIED: u64 = 1 << 60;

/// A row goes from one folder, or from nowhere, to another, or away.
pub(super) fn moved(
    connection: &Connection,
    before: Option<&FileRecord>,
    after: Option<&FileRecord>,
) -> Answer<()> {
    let mut add = connection
        .prepare_cached("UPDATE temp.civic_sums SET bytes = bytes + ?2 WHERE whole = 1 OR folder = ?1")?;
    for (record, sign) in [(before, -1), (after, 1)] {
        if let Some(record) = record {
            add.execute(params![record.folder, record.size.max(0) * sign])?;
        }
    }
    // Beyond the range of whole numbers they are rounded, and would come back into it as other numbers.
    connection
        .prepare_cached("DELETE FROM temp.civic_sums WHERE bytes NOT BETWEEN 0 AND ?1")?
        .execute([signed(CARRIED)?])?;
    Ok(())
}

/// Who asks for levels: the writer carries sums on, a reader cannot.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Reading,
    Writing,
}

/// The levels there, with what is reserved by uploads other than these.
pub(super) fn ledger(
    connection: &Connection,
    (scopes, limits): (&BTreeSet<Scope>, &Limits),
    without: &HashSet<&str>,
    side: Side,
) -> Answer<Ledger> {
    let mut levels = Vec::new();
    // Where no command of this version has written, nothing is under way and nothing in the trash that is known of.
    let ours = super::has_table(connection, "civic_storage_reports")?;
    for scope in scopes {
        let records = match side {
            Side::Reading => records(connection, scope)?,
            Side::Writing => carried(connection, scope)?,
        };
        let trash = if limits.counts_trash && ours {
            trash(connection, scope)?
        } else {
            0
        };
        levels.push(Level {
            scope: scope.clone(),
            limit: limits.of(scope),
            used: records.saturating_add(trash),
            reserved: if ours { arriving(connection, scope)? } else { 0 },
        });
    }
    if ours {
        uploads(connection, &mut levels, without)?;
    }
    Ok(Ledger {
        levels,
        enforced: limits.enforced,
    })
}

fn carried(connection: &Connection, scope: &Scope) -> Answer<u64> {
    let (whole, folder) = match scope {
        Scope::All => (1, ""),
        Scope::Folder(folder) => (0, folder.as_str()),
    };
    let version: i64 = connection.query_row("PRAGMA data_version", [], |row| row.get(0))?;
    let known = connection
        .prepare_cached(
            "SELECT bytes FROM temp.civic_sums WHERE whole = ?1 AND folder = ?2 AND version = ?3",
        )?
        .query_row(params![whole, folder, version], |row| row.get::<_, Value>(0))
        .optional()?;
    // What has left the range of whole numbers is read again.
    if let Some(Value::Integer(known @ 0..)) = known {
        return Ok(known.unsigned_abs());
    }
    let bytes = records(connection, scope)?;
    if bytes < CARRIED {
        connection
            .prepare_cached("INSERT OR REPLACE INTO temp.civic_sums VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![whole, folder, version, signed(bytes)?])?;
    }
    Ok(bytes)
}

fn records(connection: &Connection, scope: &Scope) -> Answer<u64> {
    let sum = "SELECT sum(size) FROM main.storage_files WHERE size > 0";
    match scope {
        Scope::All => total(connection, sum, []),
        Scope::Folder(folder) => total(
            connection,
            &format!("{sum} AND folder COLLATE BINARY = ?1"),
            [folder],
        ),
    }
}

fn trash(connection: &Connection, scope: &Scope) -> Answer<u64> {
    let sum = "SELECT sum(held_bytes) FROM main.civic_storage_steps WHERE state = 'settled' AND held_bytes IS NOT NULL";
    match scope {
        Scope::All => total(connection, sum, []),
        Scope::Folder(folder) => total(connection, &format!("{sum} AND held_folder = ?1"), [folder]),
    }
}

/// Files on their way to the folder from another one, whose rows do not say so yet.
fn arriving(connection: &Connection, scope: &Scope) -> Answer<u64> {
    let Scope::Folder(folder) = scope else {
        return Ok(0);
    };
    let sum = "SELECT sum(max(files.size, 0)) FROM main.civic_storage_steps AS steps
         JOIN main.storage_files AS files ON files.id COLLATE BINARY = steps.file_id
         WHERE steps.state = 'intended' AND steps.action IN ('move', 'migrate')
             AND steps.row_after ->> '$.folder' = ?1 AND files.folder COLLATE BINARY <> ?1";
    total(connection, sum, [folder])
}

/// The sum, at the top of its range where it would leave it; sizes that are no whole numbers count for what SQLite takes
/// them for.
fn total(connection: &Connection, sql: &str, values: impl Params) -> Answer<u64> {
    let sum = connection.prepare_cached(sql)?.query_row(values, |row| {
        Ok(match row.get_ref(0)? {
            ValueRef::Integer(sum) => u64::try_from(sum).unwrap_or(0),
            ValueRef::Real(sum) => float(sum),
            _ => 0,
        })
    });
    match sum {
        Err(error) if super::super::usage::is_overflow(&error) => Ok(u64::MAX),
        sum => Ok(sum?),
    }
}

/// Rounded up, within the range.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` stays within the range"
)]
fn float(sum: f64) -> u64 {
    sum.ceil() as u64
}

fn uploads(connection: &Connection, levels: &mut [Level], without: &HashSet<&str>) -> Answer<()> {
    let sql = "SELECT file_id, key, size FROM main.civic_storage_intents";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, key) = (row.get_ref(0)?.as_str().unwrap_or_default(), row.get_ref(1)?);
        if without.contains(id) {
            continue;
        }
        let folder = key
            .as_str()
            .unwrap_or_default()
            .rsplit_once('/')
            .map(|(folder, _)| folder);
        let size = count(row, "size")?;
        for level in levels.iter_mut() {
            let counts = match &level.scope {
                Scope::All => true,
                Scope::Folder(name) => folder == Some(name),
            };
            if counts {
                level.reserved = level.reserved.saturating_add(size);
            }
        }
    }
    Ok(())
}

/// Answers each intent in order: whether there is room for it beside everything else and those before it.
pub(super) fn admit_uploads(
    connection: &Connection,
    intents: &[UploadIntent],
    (limits, ended): (&Limits, &[String]),
) -> Answer<Admissions> {
    let scopes = limits.on(intents.iter().filter_map(UploadIntent::folder));
    if scopes.is_empty() {
        return Ok(Admissions::all(intents.len()));
    }
    // Those that are written down again, after an answer was lost, do not stand in their own way.
    let own = intents.iter().map(|intent| intent.file_id.as_str());
    let without = own.chain(ended.iter().map(String::as_str)).collect();
    let mut ledger = ledger(connection, (&scopes, limits), &without, Side::Writing)?;
    let answers = intents
        .iter()
        .map(|intent| ledger.admit(intent.folder().unwrap_or_default(), intent.size, true))
        .collect();
    Ok(Admissions {
        answers,
        levels: ledger.levels,
    })
}

/// Answers each step that brings a file to a folder with a limit; the others fit.
pub(super) fn admit_steps(
    connection: &Connection,
    steps: &[NewStep],
    limits: &Limits,
) -> Answer<Vec<Admission>> {
    let folders = steps
        .iter()
        .filter_map(|step| step.arrival().map(|(folder, _)| folder));
    let mut scopes = limits.on(folders);
    scopes.remove(&Scope::All);
    let mut ledger = ledger(connection, (&scopes, limits), &HashSet::new(), Side::Writing)?;
    let admit = |step: &NewStep| match step.arrival() {
        Some((folder, size)) => ledger.admit(folder, size, false),
        None => Admission::Fits,
    };
    Ok(steps.iter().map(admit).collect())
}

/// What was written down of those that were let in, and why the others were not.
pub(super) fn stepped(admissions: Vec<Admission>, intended: Vec<Intended>) -> Vec<Stepped> {
    let mut intended = intended.into_iter();
    let mut next = |shortage| Stepped {
        intended: intended.next().unwrap_or(Intended::Conflict),
        shortage,
    };
    let answer = |admission| match admission {
        Admission::Fits => next(None),
        Admission::Over(shortage) => next(Some(shortage)),
        Admission::Refused(shortage) => Stepped {
            intended: Intended::Conflict,
            shortage: Some(shortage),
        },
    };
    admissions.into_iter().map(answer).collect()
}
