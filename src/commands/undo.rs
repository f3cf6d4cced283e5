//! `storage:undo`: puts back everything that a run took away.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use super::ask;
use super::changes::{Words, conclude, counts, planned, preview, sites, status};
use super::ownership::{self, OwnershipArgs};
use crate::Context;
use crate::engine::changes::Changes;
use crate::engine::journal::recover;
use crate::engine::undo::{self, UndoRequest};
use crate::error::Failure;
use crate::metadata::journal::{Action, JournalReader, Step, StepQuery, StepState};
use crate::output::Outcome;

/// Puts back what a run took away: bytes and records. What was edited since stays edited
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// The run, as storage:delete and storage:cleanup name it
    #[arg(value_name = "RUN_ID")]
    run: String,
    /// Only tell what would be put back
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const WORDS: Words = Words {
    operation: "storage:undo",
    done: "put back",
    planned: "would be put back",
};

/// # Errors
/// Where there is no such run, nobody agreed, or the database fails.
pub fn run(context: &Context, args: &UndoArgs) -> Result<Outcome, Failure> {
    const QUESTION: &str = "Put these back?";
    if !args.dry_run {
        ask::possible(context, QUESTION)?;
    }
    context.block_on_changes(|interrupt| async move {
        let asked = json!({ "run": args.run, "overrides": args.ownership.asked() });
        if args.dry_run {
            let steps = steps_of(&*context.history()?, &args.run).await?;
            return plan(context, WORDS, steps).await;
        }
        let journal = context.run_journal()?;
        steps_of(&*context.history()?, &args.run).await?;
        recover(&journal, &sites(context)?.usable()).await?;
        let steps = steps_of(&*context.history()?, &args.run).await?;
        let how = (asked, &args.ownership, &interrupt);
        put_back(context, (WORDS, QUESTION), steps, how).await
    })
}

async fn steps_of(history: &dyn JournalReader, run: &str) -> Result<Vec<Step>, Failure> {
    if history.run(run).await?.is_none() {
        let hint = "`civic storage:trash list` tells which run took what away";
        return Err(Failure::usage(format!("there is no run {run}")).hint(hint));
    }
    let query = StepQuery {
        run_id: Some(run.to_owned()),
        ..StepQuery::default()
    };
    Ok(history.steps(&query).await?)
}

/// What would be put back.
///
/// # Errors
/// Where configuration or database cannot be read.
pub(super) async fn plan(context: &Context, words: Words, steps: Vec<Step>) -> Result<Outcome, Failure> {
    let (mut sites, request) = (sites(context)?, request(context, steps)?);
    let touched = touched(&request.steps);
    ownership::warn(context, &mut sites, touched.iter().map(String::as_str)).await?;
    let changes = undo::plan(&*context.metadata()?, &sites, &request).await?;
    Ok(planned(words, changes))
}

/// Asks, and puts back as a run of its own. Where nothing is left to put back, nothing is written.
///
/// # Errors
/// Where nobody agreed, or the database fails.
pub(super) async fn put_back(
    context: &Context,
    (words, question): (Words, &str),
    steps: Vec<Step>,
    (asked, ownership, interrupt): (serde_json::Value, &OwnershipArgs, &crate::engine::Interrupt),
) -> Result<Outcome, Failure> {
    let standing: Vec<(String, u64)> = steps
        .iter()
        .filter(|step| step.state == StepState::Settled)
        .map(|step| (label(step), undo::size_of(step)))
        .collect();
    let (mut sites, request) = (sites(context)?, request(context, steps)?);
    let metadata = context.metadata()?;
    if standing.is_empty() {
        let changes = undo::plan(&*metadata, &sites, &request).await?;
        return Ok(conclude(words, None, changes));
    }
    let journal = context.run_journal()?;
    let touched = touched(&request.steps);
    let touched = touched.iter().map(String::as_str);
    let custody = ownership::check(&journal, &mut sites, touched, ownership).await?;
    ask::confirm(context, &preview(&standing), question)?;
    let taken_over = ownership::claim(custody, &mut sites).await;
    let progress = context.progress();
    let run = journal.begin(words.operation, asked).await?;
    let mut changes: Changes =
        undo::undo(&run, &*metadata, (&sites, &request), (&progress, interrupt)).await?;
    changes.taken_over = taken_over;
    run.finish(status(&changes), counts(&changes)).await?;
    Ok(conclude(words, Some(run.id()), changes))
}

fn request(context: &Context, steps: Vec<Step>) -> Result<UndoRequest, Failure> {
    let config = context.config()?;
    Ok(UndoRequest {
        steps,
        folders: config.folders.keys().cloned().collect(),
        concurrency: config.global.max_concurrent_deletes,
    })
}

/// Providers in which bytes are moved or deleted for these steps.
pub(super) fn touched(steps: &[Step]) -> BTreeSet<String> {
    let of_bytes = steps
        .iter()
        .filter(|step| step.state == StepState::Settled && step.action != Action::Record);
    of_bytes.map(|step| step.provider.clone()).collect()
}

/// What a question calls a step.
pub(super) fn label(step: &Step) -> String {
    match &step.before {
        Some(row) => format!("{}/{}  {}", row.folder, row.original_name, row.id),
        None => undo::name_of(step),
    }
}
