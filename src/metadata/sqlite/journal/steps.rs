//! Steps: written down together with what they change in `storage_files`, and settled in the same way.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::super::trouble::Trouble;
use super::values::{Answer, count, from_json, from_word, json, kept, micros, record, signed, time, word};
use super::{change, quota, runs};
use crate::metadata::TrashRow;
use crate::metadata::journal::{
    Action, Intended, NewStep, RecordChange, Settlement, Step, StepQuery, StepState, Stepped,
};
use crate::metadata::quota::{Admission, Limits};

pub(super) fn intend(
    connection: &Connection,
    run_id: &str,
    steps: &[NewStep],
    now: DateTime<Utc>,
) -> Answer<Vec<Intended>> {
    let fenced = || Trouble::Fenced(run_id.to_owned());
    if !runs::is_running(connection, run_id)? {
        return Err(fenced());
    }
    let touched = steps
        .iter()
        .flat_map(|step| [Some(&step.provider), step.to_provider.as_ref()]);
    let touched: BTreeSet<&String> = touched.flatten().collect();
    for provider in touched {
        if runs::has_lost_a_lease(connection, run_id, Some(provider), now)? {
            return Err(fenced());
        }
    }
    let columns = change::UnknownColumns::of(connection)?;
    let mut number = last_number(connection, run_id)?;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        // Read while the row is still there.
        let unknown = match &step.change {
            Some(RecordChange::Remove { expected }) => columns.read(connection, &expected.id)?,
            _ => None,
        };
        if is_free(connection, step.undoes.as_ref())?
            && is_alone(connection, step)?
            && made(connection, step.change.as_ref())?
        {
            number += 1;
            insert(connection, (run_id, number), (step, unknown), now)?;
            answers.push(Intended::Written(number));
        } else {
            answers.push(Intended::Conflict);
        }
    }
    Ok(answers)
}

/// The same for those steps that find room; the others are refused.
pub(super) fn intend_within(
    connection: &Connection,
    run_id: &str,
    (steps, limits): (Vec<NewStep>, &Limits),
    now: DateTime<Utc>,
) -> Answer<Vec<Stepped>> {
    let admissions = quota::admit_steps(connection, &steps, limits)?;
    let admitted: Vec<NewStep> = steps
        .into_iter()
        .zip(&admissions)
        .filter(|(_, admission)| !matches!(admission, Admission::Refused(_)))
        .map(|(step, _)| step)
        .collect();
    let intended = intend(connection, run_id, &admitted, now)?;
    Ok(quota::stepped(admissions, intended))
}

fn made(connection: &Connection, change: Option<&RecordChange>) -> Answer<bool> {
    change.map_or(Ok(true), |change| change::apply(connection, change))
}

fn last_number(connection: &Connection, run_id: &str) -> Answer<u64> {
    let last: i64 = connection
        .prepare_cached("SELECT coalesce(max(number), 0) FROM main.civic_storage_steps WHERE run_id = ?1")?
        .query_row([run_id], |row| row.get(0))?;
    Ok(last.unsigned_abs())
}

/// Whether the step to be undone, if any, is settled and nobody is undoing it already.
fn is_free(connection: &Connection, undoes: Option<&(String, u64)>) -> Answer<bool> {
    let Some((run_id, number)) = undoes else {
        return Ok(true);
    };
    let free = connection
        .prepare_cached(
            "SELECT 1 FROM main.civic_storage_steps WHERE run_id = ?1 AND number = ?2 AND state = 'settled'
             AND NOT EXISTS (SELECT 1 FROM main.civic_storage_steps AS undoing
                 WHERE undoing.undoes_run = ?1 AND undoing.undoes_number = ?2 AND undoing.state = 'intended')",
        )?
        .query_row(params![run_id, signed(*number)?], |_| Ok(()))
        .optional()?;
    Ok(free.is_some())
}

/// Whether nobody moves the file already, and where it is to be moved, nobody does anything else to it.
fn is_alone(connection: &Connection, step: &NewStep) -> Answer<bool> {
    let Some(id) = &step.file_id else {
        return Ok(true);
    };
    let other = connection
        .prepare_cached(
            "SELECT 1 FROM main.civic_storage_steps
             WHERE file_id = ?1 AND state = 'intended' AND (action IN ('move', 'migrate') OR ?2 IN ('move', 'migrate'))
             LIMIT 1",
        )?
        .query_row(params![id, word(&step.action)?], |_| Ok(()))
        .optional()?;
    Ok(other.is_none())
}

fn insert(
    connection: &Connection,
    (run_id, number): (&str, u64),
    (step, unknown): (&NewStep, Option<String>),
    now: DateTime<Utc>,
) -> Answer<()> {
    let undoes_number = step.undoes.as_ref().map(|(_, number)| signed(*number));
    let (held_bytes, held_folder) = will_hold(step).unzip();
    connection
        .prepare_cached(
            "INSERT INTO main.civic_storage_steps (run_id, number, action, state, provider, key, to_key, evidence,
                 file_id, row_before, row_after, undoes_run, undoes_number, changed_at, to_provider,
                 held_bytes, held_folder)
             VALUES (?1, ?2, ?3, 'intended', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            run_id,
            signed(number)?,
            word(&step.action)?,
            step.provider,
            step.key,
            step.to_key,
            step.evidence.as_ref().map(json).transpose()?,
            step.file_id,
            kept(step.before.as_ref(), unknown)?,
            kept(step.after.as_ref(), None)?,
            step.undoes.as_ref().map(|(run, _)| run),
            undoes_number.transpose()?,
            micros(now),
            step.to_provider,
            held_bytes.map(signed).transpose()?,
            held_folder.flatten(),
        ])?;
    Ok(())
}

/// What the trash will hold once the step is settled, and of which folder it was.
fn will_hold(step: &NewStep) -> Option<(u64, Option<&str>)> {
    if !matches!(step.action, Action::Trash | Action::Migrate) {
        return None;
    }
    let recorded = step.before.as_ref();
    let size = recorded.map_or(0, |record| u64::try_from(record.size).unwrap_or(0));
    let directory = step.key.as_deref().and_then(|key| key.rsplit_once('/'));
    Some((
        step.evidence.as_ref().map_or(size, |evidence| evidence.size),
        recorded
            .map(|record| record.folder.as_str())
            .or(directory.map(|(directory, _)| directory)),
    ))
}

/// What the trash holds, by folder.
pub(super) fn held(connection: &Connection) -> Answer<Vec<TrashRow>> {
    // A database that may not be written to may be of a time before these columns.
    let (folder, bytes) = match connection.prepare("SELECT held_bytes FROM main.civic_storage_steps") {
        Ok(_) => ("held_folder", "held_bytes"),
        Err(_) => (
            "row_before ->> '$.folder'",
            "CASE WHEN action IN ('trash', 'migrate') THEN coalesce(evidence ->> '$.size', 0) END",
        ),
    };
    let sql = format!(
        "SELECT {folder} AS folder, count(*) AS files, sum({bytes}) AS bytes FROM main.civic_storage_steps
         WHERE state = 'settled' AND {bytes} IS NOT NULL GROUP BY 1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push(TrashRow {
            folder: row.get("folder")?,
            files: count(row, "files")?,
            bytes: count(row, "bytes")?,
        });
    }
    Ok(held)
}

pub(super) fn settle(
    connection: &Connection,
    run_id: &str,
    settlements: &[Settlement],
    now: DateTime<Utc>,
) -> Answer<Vec<bool>> {
    let one = |settlement| settle_one(connection, run_id, settlement, now);
    settlements.iter().map(one).collect()
}

/// `false` where the step is not in a state from which it can go there, where its row changed meanwhile, or where what
/// it undoes has been undone by somebody else: then nothing of it stays.
fn settle_one(
    connection: &Connection,
    run_id: &str,
    settlement: &Settlement,
    now: DateTime<Utc>,
) -> Answer<bool> {
    let step = (run_id, settlement.number);
    let undone = match settlement.state {
        StepState::Settled => undone_by(connection, step)?,
        _ => None,
    };
    let own = || advance_own(connection, step, settlement, now);
    if undone.is_none() && settlement.change.is_none() {
        // One statement takes nothing back that it did not do; a savepoint for each would copy the pages it touches.
        return own();
    }
    connection.execute_batch("SAVEPOINT settlement")?;
    let made = own()?
        && made(connection, settlement.change.as_ref())?
        && undone.map_or(Ok(true), |((run_id, number), state)| {
            advance(
                connection,
                (&run_id, number),
                (StepState::Settled, state),
                (None, now),
            )
        })?;
    connection.execute_batch(if made {
        "RELEASE settlement"
    } else {
        "ROLLBACK TO settlement; RELEASE settlement"
    })?;
    Ok(made)
}

fn advance_own(
    connection: &Connection,
    step: (&str, u64),
    settlement: &Settlement,
    now: DateTime<Utc>,
) -> Answer<bool> {
    let from = match settlement.state {
        StepState::Intended | StepState::Settled | StepState::Failed => StepState::Intended,
        StepState::Undone | StepState::Emptied => StepState::Settled,
    };
    let error = settlement.error.as_deref();
    advance(connection, step, (from, settlement.state), (error, now))
}

fn advance(
    connection: &Connection,
    (run_id, number): (&str, u64),
    (from, to): (StepState, StepState),
    (error, now): (Option<&str>, DateTime<Utc>),
) -> Answer<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE main.civic_storage_steps SET state = ?4, error = coalesce(?5, error), changed_at = ?6
             WHERE run_id = ?1 AND number = ?2 AND state = ?3",
        )?
        .execute(params![
            run_id,
            signed(number)?,
            word(&from)?,
            word(&to)?,
            error,
            micros(now)
        ])?;
    Ok(changed == 1)
}

type Undone = ((String, u64), StepState);

/// The step that this one undoes, and what becomes of it: what goes for good cannot be undone again.
fn undone_by(connection: &Connection, (run_id, number): (&str, u64)) -> Answer<Option<Undone>> {
    let mut statement = connection.prepare_cached(
        "SELECT undoes_run, undoes_number, action FROM main.civic_storage_steps
         WHERE run_id = ?1 AND number = ?2 AND undoes_run IS NOT NULL",
    )?;
    let mut rows = statement.query(params![run_id, signed(number)?])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let state = match from_word(row, "action")? {
        Action::Purge => StepState::Emptied,
        _ => StepState::Undone,
    };
    Ok(Some((
        (row.get("undoes_run")?, count(row, "undoes_number")?),
        state,
    )))
}

pub(super) fn find(connection: &Connection, query: &StepQuery) -> Answer<Vec<Step>> {
    let (sql, values) = statement(query)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        steps.push(read(row)?);
    }
    Ok(steps)
}

pub(super) fn tally(connection: &Connection, run_ids: &[String]) -> Answer<Vec<(String, StepState, u64)>> {
    let mut statement = connection.prepare_cached(
        "SELECT run_id, state, count(*) AS steps FROM main.civic_storage_steps WHERE run_id = ?1 GROUP BY state",
    )?;
    let mut counts = Vec::new();
    for run_id in run_ids {
        let mut rows = statement.query([run_id])?;
        while let Some(row) = rows.next()? {
            counts.push((run_id.clone(), from_word(row, "state")?, count(row, "steps")?));
        }
    }
    Ok(counts)
}

fn statement(query: &StepQuery) -> Answer<(String, Vec<Value>)> {
    let (beyond, order) = if query.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = vec!["TRUE".to_owned()];
    let equal = [
        ("run_id", &query.run_id),
        ("file_id", &query.file_id),
        ("provider", &query.provider),
    ];
    for (column, value) in equal {
        if let Some(value) = value {
            values.push(value.clone().into());
            conditions.push(format!("{column} = ?{}", values.len()));
        }
    }
    if let Some((run, number)) = &query.after {
        values.push(run.clone().into());
        values.push(signed(*number)?.into());
        let last = values.len();
        conditions.push(format!("(run_id, number) {beyond} (?{}, ?{last})", last - 1));
    }
    // Words of this program's own, written out so that the partial index on the state can serve them.
    let states: Vec<String> = query.states.iter().map(word).collect::<Answer<_>>()?;
    let actions: Vec<String> = query.actions.iter().map(word).collect::<Answer<_>>()?;
    for (column, words) in [("state", states), ("action", actions)] {
        match words.as_slice() {
            [] => {}
            [word] => conditions.push(format!("{column} = '{word}'")),
            words => conditions.push(format!("{column} IN ('{}')", words.join("', '"))),
        }
    }
    let limit = match query.limit {
        0 => String::new(),
        limit => format!("LIMIT {limit}"),
    };
    let sql = format!(
        "SELECT * FROM main.civic_storage_steps WHERE {} ORDER BY run_id {order}, number {order} {limit}",
        conditions.join(" AND ")
    );
    Ok((sql, values))
}

fn read(row: &Row<'_>) -> Answer<Step> {
    let undoes_run: Option<String> = row.get("undoes_run")?;
    Ok(Step {
        run_id: row.get("run_id")?,
        number: count(row, "number")?,
        action: from_word(row, "action")?,
        state: from_word(row, "state")?,
        provider: row.get("provider")?,
        key: row.get("key")?,
        to_key: row.get("to_key")?,
        // A database that may not be written to may be of a time before this column.
        to_provider: match row.get("to_provider") {
            Err(rusqlite::Error::InvalidColumnName(_)) => None,
            to_provider => to_provider?,
        },
        evidence: from_json(row, "evidence")?,
        file_id: row.get("file_id")?,
        before: record(row, "row_before")?,
        after: record(row, "row_after")?,
        undoes: undoes_run
            .map(|run| Ok::<_, Trouble>((run, count(row, "undoes_number")?)))
            .transpose()?,
        error: row.get("error")?,
        changed_at: time(row, "changed_at")?,
    })
}
