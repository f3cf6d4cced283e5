//! `storage:delete`: takes files away, into the trash unless told otherwise.

use clap::Args;
use serde_json::json;

use super::ask;
use super::changes::{Words, conclude, counts, planned, sites, status};
use super::named;
use super::ownership::{self, OwnershipArgs};
use super::selection::{Gathering, Selection};
use crate::Context;
use crate::engine::changes::{Changes, Sites};
use crate::engine::delete::{self, DeleteRequest};
use crate::engine::journal::recover;
use crate::error::Failure;
use crate::metadata::MetadataStore;
use crate::output::Outcome;
use crate::spill::Spool;

/// Deletes files: records and bytes go to the trash, from which storage:undo brings them back
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// Ids of the files, or folder and name (`permits/plan.pdf`)
    #[arg(value_name = "ID_OR_FILE")]
    files: Vec<String>,
    /// Folder of --file
    #[arg(long, value_name = "NAME", requires = "file")]
    folder: Option<String>,
    /// Name of a file in --folder
    #[arg(long, value_name = "NAME", requires = "folder")]
    file: Option<String>,
    /// Read ids from this file, one a line; `-` is stdin
    #[arg(long, value_name = "FILE")]
    from_list: Option<String>,
    /// How many files are worked on at once [default: global.max_concurrent_deletes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Delete for good, past the trash: nothing brings the files back
    #[arg(long)]
    purge: bool,
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const WORDS: Words = Words {
    operation: "storage:delete",
    done: "deleted",
    planned: "would be deleted",
};

/// Finds the records, asks, and deletes. One file that cannot be deleted does not stop the others.
///
/// # Errors
/// Where nothing was named, nobody agreed, or the database fails.
pub fn run(context: &Context, args: &DeleteArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    let question = if args.purge {
        "Delete these for good? Nothing will bring them back."
    } else {
        "Delete these?"
    };
    if !args.dry_run {
        ask::possible(context, question)?;
    }
    let names = named::spool(&args.files, args.from_list.as_deref())?;
    if names.is_empty() && args.file.is_none() && args.from_list.is_none() {
        return Err(Failure::usage(
            "name the files to delete by id, with --folder and --file, or with --from-list",
        ));
    }
    // Asked for before anything is read, and only where something may be written.
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let concurrency = match args.concurrency {
        Some(asked) => usize::from(asked),
        None => context.config()?.global.max_concurrent_deletes,
    };
    let metadata = context.metadata()?;
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        let mut changes = Changes::default();
        let selection = select(&*metadata, (args, &names), &sites, &mut changes).await?;
        let request = DeleteRequest {
            ids: &selection.ids,
            purge: args.purge,
            concurrency,
        };
        // Copies go with their files.
        let backups = &context.config()?.global.backup_providers;
        let backups = backups.iter().filter(|name| !selection.providers.contains(*name));
        let touched = selection.providers.iter().chain(backups).map(String::as_str);
        let Some(journal) = journal else {
            ownership::warn(context, &mut sites, touched).await?;
            delete::plan((&sites, &*metadata), &request, &mut changes).await?;
            return Ok(planned(WORDS, changes));
        };
        if selection.ids.is_empty() {
            // The same command again after a kill names records that are gone, and their objects may not be.
            recover(&journal, &sites.usable()).await?;
            return Ok(conclude(WORDS, None, changes));
        }
        let custody = ownership::check(&journal, &mut sites, touched, &args.ownership).await?;
        ask::confirm(context, &selection.preview.to_string(), question).await?;
        changes.taken_over = ownership::claim(custody, &mut sites).await;
        recover(&journal, &sites.usable()).await?;
        let run = journal.begin(WORDS.operation, asked(args, &selection)).await?;
        let at = (&sites, &*metadata);
        delete::delete(&run, at, &request, (&progress, &interrupt, &mut changes)).await?;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(WORDS, Some(run.id()), changes))
    })
}

async fn select(
    store: &dyn MetadataStore,
    (args, names): (&DeleteArgs, &Spool),
    sites: &Sites,
    changes: &mut Changes,
) -> Result<Selection, Failure> {
    let mut gathering = Gathering::new(sites);
    gathering.add_all(store, names, changes).await?;
    if let (Some(folder), Some(file)) = (&args.folder, &args.file) {
        let candidates = store.find_by_name(folder, file).await?;
        gathering.add(&format!("{folder}/{file}"), candidates, changes)?;
    }
    gathering.finish()
}

fn asked(args: &DeleteArgs, selection: &Selection) -> serde_json::Value {
    json!({
        "files": selection.ids.len(),
        "purge": args.purge,
        "overrides": args.ownership.asked(),
    })
}
