//! Runs and the leases they hold.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::trouble::Trouble;
use super::values::{Answer, from_json, from_word, json, micros, optional_time, owner, time, word};
use crate::metadata::journal::{Lease, LeaseGrant, NewRun, Run, RunQuery, RunStatus};

/// A lease is renewed every few seconds; so long after the last time it is anybody's.
const LEASE: TimeDelta = TimeDelta::minutes(10);

/// The installation's id, where one was made.
pub(super) fn installation(connection: &Connection) -> Answer<Option<String>> {
    let read = "SELECT id FROM main.civic_storage_installation";
    Ok(connection.query_row(read, [], |row| row.get(0)).optional()?)
}

pub(super) fn begin(connection: &Connection, run: &NewRun) -> Answer<()> {
    connection
        .prepare_cached(
            "INSERT INTO main.civic_storage_runs
                 (id, operation, status, actor, host, pid, process, request, started_at, beat_at)
             VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at
             WHERE host = excluded.host AND pid = excluded.pid AND process = excluded.process",
        )?
        .execute(params![
            run.id,
            run.operation,
            run.actor,
            run.owner.host,
            run.owner.pid,
            run.owner.process,
            json(&run.request)?,
            micros(run.now),
        ])
        .map_err(Trouble::from)
        .and_then(|made| match made {
            1 => Ok(()),
            _ => Err(Trouble::Told(format!("another process has the run {}", run.id))),
        })
}

/// Renews the run and all it holds; `false`, and nothing renewed, where it has been ended or a lease of it is lost.
pub(super) fn beat(connection: &Connection, run_id: &str, now: DateTime<Utc>) -> Answer<bool> {
    if !is_running(connection, run_id)? || has_lost_a_lease(connection, run_id, None, now)? {
        return Ok(false);
    }
    let at = micros(now);
    connection
        .prepare_cached("UPDATE main.civic_storage_runs SET beat_at = max(beat_at, ?2) WHERE id = ?1")?
        .execute(params![run_id, at])?;
    connection
        .prepare_cached(
            "UPDATE main.civic_storage_intents SET renewed_at = max(renewed_at, ?2) WHERE run_id = ?1",
        )?
        .execute(params![run_id, at])?;
    connection
        .prepare_cached(
            "UPDATE main.civic_storage_leases SET expires_at = max(expires_at, ?2) WHERE run_id = ?1",
        )?
        .execute(params![run_id, micros(now + LEASE)])?;
    Ok(true)
}

pub(super) fn finish(
    connection: &Connection,
    run_id: &str,
    (status, summary): (RunStatus, &str),
    now: DateTime<Utc>,
) -> Answer<()> {
    let status = word(&status)?;
    let ended = connection
        .prepare_cached(
            "UPDATE main.civic_storage_runs SET status = ?2, summary = ?3, finished_at = ?4
             WHERE id = ?1 AND (status = 'running' OR status = ?2)",
        )?
        .execute(params![run_id, status, summary, micros(now)])?;
    if ended == 0 {
        return Err(Trouble::Fenced(run_id.to_owned()));
    }
    connection
        .prepare_cached("UPDATE main.civic_storage_leases SET run_id = NULL WHERE run_id = ?1")?
        .execute([run_id])?;
    Ok(())
}

pub(super) fn discard(connection: &Connection, run_id: &str) -> Answer<bool> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM main.civic_storage_runs WHERE id = ?1 AND status = 'running'
             AND NOT EXISTS (SELECT 1 FROM main.civic_storage_steps WHERE run_id = ?1)
             AND NOT EXISTS (SELECT 1 FROM main.civic_storage_intents WHERE run_id = ?1)",
        )?
        .execute([run_id])?;
    if gone == 1 {
        for of_it in [
            "UPDATE main.civic_storage_leases SET run_id = NULL WHERE run_id = ?1",
            "DELETE FROM main.civic_storage_grants WHERE run_id = ?1",
        ] {
            connection.prepare_cached(of_it)?.execute([run_id])?;
        }
    }
    Ok(gone == 1)
}

pub(super) fn is_running(connection: &Connection, run_id: &str) -> Answer<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM main.civic_storage_runs WHERE id = ?1 AND status = 'running'")?
        .query_row([run_id], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Whether a lease that the run was granted (on that provider, or on any) is no longer its own.
pub(super) fn has_lost_a_lease(
    connection: &Connection,
    run_id: &str,
    provider: Option<&str>,
    now: DateTime<Utc>,
) -> Answer<bool> {
    let lost = connection
        .prepare_cached(
            "SELECT 1 FROM main.civic_storage_grants AS granted
             LEFT JOIN main.civic_storage_leases AS held
                 ON held.provider = granted.provider AND held.run_id = granted.run_id
                    AND held.token = granted.token AND held.expires_at > ?3
             WHERE granted.run_id = ?1 AND (?2 IS NULL OR granted.provider = ?2) AND held.provider IS NULL
             LIMIT 1",
        )?
        .query_row(params![run_id, provider, micros(now)], |_| Ok(()))
        .optional()?;
    Ok(lost.is_some())
}

pub(super) fn acquire(
    connection: &Connection,
    (run_id, provider): (&str, &str),
    dead: &[String],
    now: DateTime<Utc>,
) -> Answer<LeaseGrant> {
    if !is_running(connection, run_id)? || has_lost_a_lease(connection, run_id, Some(provider), now)? {
        return Err(Trouble::Fenced(run_id.to_owned()));
    }
    let (holder, token) = lease(connection, provider)?;
    if let Some((holder, expires_at)) = holder.filter(|(holder, _)| holder != run_id)
        && expires_at > micros(now)
        && !dead.contains(&holder)
        && let Some(run) = get(connection, &holder)?
        && run.status == RunStatus::Running
    {
        return Ok(LeaseGrant::Held(Box::new(run)));
    }
    grant(connection, (run_id, provider), token + 1, now)
}

/// Who holds the provider until when, and the last token that was given.
fn lease(connection: &Connection, provider: &str) -> Answer<(Option<(String, i64)>, i64)> {
    let found = connection
        .prepare_cached(
            "SELECT run_id, expires_at, token FROM main.civic_storage_leases WHERE provider = ?1",
        )?
        .query_row([provider], |row| {
            let holder: Option<String> = row.get(0)?;
            let expires_at: i64 = row.get(1)?;
            Ok((holder.map(|holder| (holder, expires_at)), row.get(2)?))
        })
        .optional()?;
    Ok(found.unwrap_or((None, 0)))
}

fn grant(
    connection: &Connection,
    (run_id, provider): (&str, &str),
    token: i64,
    now: DateTime<Utc>,
) -> Answer<LeaseGrant> {
    let expires_at = now + LEASE;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO main.civic_storage_leases (provider, run_id, token, expires_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![provider, run_id, token, micros(expires_at)])?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO main.civic_storage_grants (run_id, provider, token) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![run_id, provider, token])?;
    Ok(LeaseGrant::Granted(Lease {
        provider: provider.to_owned(),
        run_id: run_id.to_owned(),
        token,
        expires_at,
    }))
}

pub(super) fn holds(connection: &Connection, lease: &Lease, now: DateTime<Utc>) -> Answer<bool> {
    let held = connection
        .prepare_cached(
            "SELECT 1 FROM main.civic_storage_leases JOIN main.civic_storage_runs AS runs ON runs.id = run_id
             WHERE provider = ?1 AND run_id = ?2 AND token = ?3 AND expires_at > ?4 AND runs.status = 'running'",
        )?
        .query_row(
            params![lease.provider, lease.run_id, lease.token, micros(now)],
            |_| Ok(()),
        )
        .optional()?;
    Ok(held.is_some())
}

pub(super) fn get(connection: &Connection, run_id: &str) -> Answer<Option<Run>> {
    let mut statement = connection.prepare_cached("SELECT * FROM main.civic_storage_runs WHERE id = ?1")?;
    let mut rows = statement.query([run_id])?;
    rows.next()?.map(read).transpose()
}

pub(super) fn find(connection: &Connection, query: &RunQuery) -> Answer<Vec<Run>> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let statuses: Vec<String> = query.statuses.iter().map(word).collect::<Result<_, _>>()?;
    let sql = "SELECT * FROM main.civic_storage_runs
               WHERE (?1 IS NULL OR operation = ?1) AND (?2 IS NULL OR started_at >= ?2)
               AND (?3 = '[]' OR status IN (SELECT value FROM json_each(?3)))
               ORDER BY started_at DESC, id DESC LIMIT ?4";
    let values = params![query.operation, query.since.map(micros), json(&statuses)?, limit];
    all(connection, sql, values)
}

pub(super) fn unfinished(connection: &Connection) -> Answer<Vec<Run>> {
    let sql = "SELECT * FROM main.civic_storage_runs WHERE status = 'running' ORDER BY id";
    all(connection, sql, [])
}

fn all(connection: &Connection, sql: &str, values: impl rusqlite::Params) -> Answer<Vec<Run>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(read(row)?);
    }
    Ok(runs)
}

fn read(row: &Row<'_>) -> Answer<Run> {
    Ok(Run {
        id: row.get("id")?,
        operation: row.get("operation")?,
        status: from_word(row, "status")?,
        actor: row.get("actor")?,
        owner: owner(row)?,
        request: from_json(row, "request")?.unwrap_or_default(),
        summary: from_json(row, "summary")?,
        started_at: time(row, "started_at")?,
        beat_at: time(row, "beat_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}
