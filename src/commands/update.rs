//! `storage:update`: changes what the record of one file says.

use clap::Args;
use serde_json::json;

use super::changes::{Words, conclude, counts, planned, sites, status};
use super::ownership::{self, OwnershipArgs};
use super::shared::the_one;
use crate::Context;
use crate::engine::info;
use crate::engine::journal::recover;
use crate::engine::update::{self, UpdateRequest};
use crate::error::Failure;
use crate::output::Outcome;

/// Changes the description of a file; storage:undo takes the change back
///
/// The record changes, and the sidecar beside a local file with it. The headers of an object in a bucket stay as they
/// were at its upload, since new ones would make it another object; a sidecar beside it tells the new description.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The file's id, or its folder and name (`permits/plan.pdf`)
    #[arg(value_name = "ID_OR_FILE")]
    file: String,
    /// What the file is to be described as; an empty text takes the description away
    #[arg(long, value_name = "TEXT", required = true)]
    description: String,
    /// Only tell what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const WORDS: Words = Words {
    operation: "storage:update",
    done: "updated",
    planned: "would be updated",
};

/// Finds the record and changes it. Nothing is destroyed, so nobody is asked.
///
/// # Errors
/// Where there is no such file, or several, or the database fails.
pub fn run(context: &Context, args: &UpdateArgs) -> Result<Outcome, Failure> {
    // Asked for before anything is read, and only where something may be written.
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let metadata = context.metadata()?;
    context.block_on_changes(|_| async move {
        let mut taken_over = Vec::new();
        if let Some(journal) = &journal {
            // A copy of the database must not write beside the original's files.
            let found = info::find(&*metadata, &args.file).await?;
            let touched = ownership::of_records(&sites, &found);
            let touched = touched.iter().map(String::as_str);
            let custody = ownership::check(journal, &mut sites, touched, &args.ownership).await?;
            taken_over = ownership::claim(custody, &mut sites).await;
            recover(journal, &sites.usable()).await?;
        }
        let record = the_one(info::find(&*metadata, &args.file).await?, &args.file)?;
        let request = UpdateRequest {
            record,
            description: Some(args.description.clone()).filter(|text| !text.is_empty()),
        };
        let Some(journal) = journal else {
            let touched = ownership::of_records(&sites, std::slice::from_ref(&request.record));
            ownership::warn(context, &mut sites, touched.iter().map(String::as_str)).await?;
            return Ok(planned(WORDS, update::plan(&sites, &request).await));
        };
        if request.is_done() {
            return Ok(conclude(WORDS, None, update::nothing_to_do(&request)));
        }
        let asked = json!({
            "file": request.record.id,
            "description": request.description,
            "overrides": args.ownership.asked(),
        });
        let run = journal.begin(WORDS.operation, asked).await?;
        let now = journal.clock.now();
        let mut changes = update::update(&run, (&sites, &*metadata), &request, now).await?;
        changes.taken_over = taken_over;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(WORDS, Some(run.id()), changes))
    })
}
