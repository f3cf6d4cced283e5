//! `storage:undo`: puts back everything that a run took away.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use super::ask;
use super::changes::{Preview, Words, conclude, counts, planned, sites, status};
use super::ownership::{self, OwnershipArgs};
use super::shared::way;
use crate::Context;
use crate::engine::Interrupt;
use crate::engine::changes::Changes;
use crate::engine::journal::recover;
use crate::engine::undo::{self, Pages, Steps, UndoRequest};
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

async fn steps_of(history: &dyn JournalReader, run: &str) -> Result<Steps, Failure> {
    if history.run(run).await?.is_none() {
        let hint = "`civic storage:trash list` tells which run took what away";
        return Err(Failure::usage(format!("there is no run {run}")).hint(hint));
    }
    let query = StepQuery {
        run_id: Some(run.to_owned()),
        ..StepQuery::default()
    };
    Ok(Steps::Found(query, None))
}

/// What is to be shown of steps before anything is done.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Those that stand.
    pub preview: Preview,
    /// Providers in which bytes are moved or deleted for them.
    pub touched: BTreeSet<String>,
    /// All of them.
    pub total: u64,
}

/// Reads the steps once.
///
/// # Errors
/// Where the database cannot be read.
pub(super) async fn survey(history: &dyn JournalReader, steps: &Steps) -> Result<Survey, Failure> {
    const AT_ONCE: usize = 500;
    let mut survey = Survey::default();
    let mut pages = Pages::forward(history, steps);
    loop {
        let page = pages.next(AT_ONCE).await?;
        if page.is_empty() {
            return Ok(survey);
        }
        survey.total += page.len() as u64;
        let copies = pages.copied_files(&page).await?;
        let steps = page.iter().zip(copies);
        for (step, copy_of) in steps.filter(|(step, _)| step.state == StepState::Settled) {
            match copy_of {
                Some(_) => survey.preview.copies.add(undo::size_of(step)),
                None => survey.preview.add(|| label(step), undo::size_of(step)),
            }
            if step.action != Action::Record {
                let touched = [Some(&step.provider), step.to_provider.as_ref()];
                survey.touched.extend(touched.into_iter().flatten().cloned());
            }
        }
    }
}

/// What would be put back.
///
/// # Errors
/// Where configuration or database cannot be read.
pub(super) async fn plan(context: &Context, words: Words, steps: Steps) -> Result<Outcome, Failure> {
    let history = context.history()?;
    let survey = survey(&*history, &steps).await?;
    let (mut sites, request) = (
        sites(context)?,
        request(context, (steps, survey.total), &Interrupt::default())?,
    );
    ownership::warn(context, &mut sites, survey.touched.iter().map(String::as_str)).await?;
    let changes = undo::plan(&*history, &sites, &request).await?;
    Ok(planned(words, changes))
}

/// Asks, and puts back as a run of its own. Where nothing is left to put back, nothing is written.
///
/// # Errors
/// Where nobody agreed, or the database fails.
pub(super) async fn put_back(
    context: &Context,
    (words, question): (Words, &str),
    steps: Steps,
    (asked, ownership, interrupt): (serde_json::Value, &OwnershipArgs, &Interrupt),
) -> Result<Outcome, Failure> {
    let history = context.history()?;
    let survey = survey(&*history, &steps).await?;
    let (mut sites, request) = (
        sites(context)?,
        request(context, (steps, survey.total), interrupt)?,
    );
    if survey.preview.count + survey.preview.copies.total == 0 {
        let changes = undo::plan(&*history, &sites, &request).await?;
        return Ok(conclude(words, None, changes));
    }
    let journal = context.run_journal()?;
    let touched = survey.touched.iter().map(String::as_str);
    let custody = ownership::check(&journal, &mut sites, touched, ownership).await?;
    ask::confirm(context, &survey.preview.to_string(), question).await?;
    let taken_over = ownership::claim(custody, &mut sites).await;
    let progress = context.progress();
    let run = journal.begin(words.operation, asked).await?;
    let mut changes: Changes =
        undo::undo(&run, &*history, (&sites, &request), (&progress, interrupt)).await?;
    changes.taken_over = taken_over;
    run.finish(status(&changes), counts(&changes)).await?;
    Ok(conclude(words, Some(run.id()), changes))
}

fn request(
    context: &Context,
    (steps, total): (Steps, u64),
    interrupt: &Interrupt,
) -> Result<UndoRequest, Failure> {
    let config = context.config()?;
    Ok(UndoRequest {
        steps,
        total,
        folders: config.folders.keys().cloned().collect(),
        concurrency: config.global.max_concurrent_deletes,
        way: way(context, interrupt)?,
    })
}

/// What a question calls a step.
pub(super) fn label(step: &Step) -> String {
    match &step.before {
        Some(row) => format!("{}/{}  {}", row.folder, row.original_name, row.id),
        None => undo::name_of(step),
    }
}
