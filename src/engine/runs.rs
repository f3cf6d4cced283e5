//! What ran: the journal as a history. Reads only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::journal::is_dead;
use crate::metadata::Result;
use crate::metadata::journal::{JournalReader, Run, RunQuery, RunStatus, Step, StepQuery, StepState};

/// A run as it stands now: one whose process has died is interrupted, though nobody has recovered it yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedRun {
    #[serde(flatten)]
    pub run: Run,
    /// Its steps, by how they stand.
    pub steps: BTreeMap<StepState, u64>,
}

impl ListedRun {
    /// Whether it ended, and not well: some of its items failed, all did, or it was stopped.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        !matches!(self.run.status, RunStatus::Done | RunStatus::Running)
    }
}

/// The runs that were asked for, newest first.
///
/// # Errors
/// Where the database cannot be read.
pub async fn list(
    reader: &dyn JournalReader,
    query: &RunQuery,
    now: DateTime<Utc>,
) -> Result<Vec<ListedRun>> {
    with_steps(reader, reader.runs(query).await?, now).await
}

/// Those of them that ended, and not well.
///
/// # Errors
/// Where the database cannot be read.
pub async fn bad(reader: &dyn JournalReader, query: &RunQuery, now: DateTime<Utc>) -> Result<Vec<ListedRun>> {
    let query = RunQuery {
        // One that runs may be dead, which the database does not know.
        statuses: vec![
            RunStatus::Partial,
            RunStatus::Failed,
            RunStatus::Interrupted,
            RunStatus::Running,
        ],
        ..query.clone()
    };
    let mut runs = list(reader, &query, now).await?;
    runs.retain(ListedRun::is_bad);
    Ok(runs)
}

/// One run with its steps, at most `limit`; `None` where nothing has this id.
///
/// # Errors
/// Where the database cannot be read.
pub async fn find(
    reader: &dyn JournalReader,
    run_id: &str,
    (limit, now): (u64, DateTime<Utc>),
) -> Result<Option<(ListedRun, Vec<Step>)>> {
    let run = reader.run(run_id).await?;
    let Some(run) = with_steps(reader, run.into_iter().collect(), now).await?.pop() else {
        return Ok(None);
    };
    let query = StepQuery {
        run_id: Some(run_id.to_owned()),
        limit,
        ..StepQuery::default()
    };
    Ok(Some((run, reader.steps(&query).await?)))
}

async fn with_steps(
    reader: &dyn JournalReader,
    runs: Vec<Run>,
    now: DateTime<Utc>,
) -> Result<Vec<ListedRun>> {
    let ids: Vec<String> = runs.iter().map(|run| run.id.clone()).collect();
    let mut steps: BTreeMap<String, BTreeMap<StepState, u64>> = BTreeMap::new();
    for (run, state, count) in reader.tally(&ids).await? {
        steps.entry(run).or_default().insert(state, count);
    }
    Ok(runs
        .into_iter()
        .map(|mut run| {
            if run.status == RunStatus::Running && is_dead(&run, now) {
                run.status = RunStatus::Interrupted;
            }
            ListedRun {
                steps: steps.remove(&run.id).unwrap_or_default(),
                run,
            }
        })
        .collect())
}
