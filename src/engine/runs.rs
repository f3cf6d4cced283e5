//! What ran: the journal as a history. Reads only.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::journal::is_dead;
use crate::metadata::Result;
use crate::metadata::journal::{JournalReader, Run, RunStatus, Step, StepQuery, StepState};

/// A run as it stands now: one whose process has died is interrupted, though nobody has recovered it yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedRun {
    #[serde(flatten)]
    pub run: Run,
    /// Its steps, by how they stand.
    pub steps: BTreeMap<StepState, u64>,
}

/// The newest runs, at most `limit`.
///
/// # Errors
/// Where the database cannot be read.
pub async fn list(reader: &dyn JournalReader, limit: u64, now: DateTime<Utc>) -> Result<Vec<ListedRun>> {
    with_steps(reader, reader.runs(limit).await?, now).await
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
