//! `storage:move`: takes files into another folder.

use clap::Args;
use serde_json::json;

use super::changes::{Words, conclude, counts, planned, sites, status};
use super::named;
use super::ownership::{self, OwnershipArgs};
use super::shared::{folder_rules, limits};
use crate::Context;
use crate::config::Access;
use crate::engine::Clock;
use crate::engine::changes::Changes;
use crate::engine::journal::recover;
use crate::engine::refile::{self, RefileRequest};
use crate::error::Failure;
use crate::metadata::FileRecord;
use crate::output::Outcome;

/// Moves files into another folder: bytes, sidecar and record together; storage:undo moves them back
///
/// Each file stays on the provider that has it, whatever is active now, and can be read all the while: it is copied (on a
/// local disk it gets a second name), its record is switched, and only then the old place is cleared. The folder has to
/// take the file, by the same rules as at an upload. Nothing is overwritten, and nobody is asked, since nothing is
/// destroyed.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// Ids of the files, or folder and name (`permits/plan.pdf`)
    #[arg(value_name = "ID_OR_FILE", required_unless_present = "from_list")]
    files: Vec<String>,
    /// Folder of storage.yml to move them to
    #[arg(long, value_name = "NAME")]
    folder: String,
    /// Read ids from this file, one a line; `-` is stdin
    #[arg(long, value_name = "FILE")]
    from_list: Option<String>,
    /// How many files are worked on at once [default: global.max_concurrent_uploads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Only tell what would be moved
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const WORDS: Words = Words {
    operation: "storage:move",
    done: "moved",
    planned: "would be moved",
};

/// Finds the records and moves their files. One that cannot be moved does not stop the others.
///
/// # Errors
/// Where there is no such folder, nothing was named, or the database fails.
pub fn run(context: &Context, args: &MoveArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    let folder = folder_rules(context, &args.folder)?;
    let names = named::read(&args.files, args.from_list.as_deref())?;
    // Asked for before anything is read, and only where something may be written.
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let concurrency = match args.concurrency {
        Some(asked) => usize::from(asked),
        None => context.config()?.global.max_concurrent_uploads,
    };
    let metadata = context.metadata()?;
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        let mut taken_over = Vec::new();
        if let Some(journal) = &journal {
            // Whose the storage is comes before recovery; what recovery moves, after it.
            let (records, _) = named::each_once(named::find(&*metadata, &names).await?);
            let touched = ownership::of_records(&sites, &records);
            let touched = touched.iter().map(String::as_str);
            let custody = ownership::check(journal, &mut sites, touched, &args.ownership).await?;
            taken_over = ownership::claim(custody, &mut sites).await;
            recover(journal, &sites.usable()).await?;
        }
        let (records, unknown) = named::each_once(named::find(&*metadata, &names).await?);
        tell_exposed(context, &records, &folder.name)?;
        let request = RefileRequest {
            records,
            folder,
            limits: limits(context)?,
            concurrency,
            now: context.clock().now(),
        };
        let Some(journal) = journal else {
            let touched = ownership::of_records(&sites, &request.records);
            ownership::warn(context, &mut sites, touched.iter().map(String::as_str)).await?;
            let mut changes = refile::plan((&sites, &*context.history()?), &request).await?;
            changes.fail_all(unknown);
            return Ok(planned(WORDS, changes));
        };
        if request.records.is_empty() {
            let mut changes = Changes::default();
            changes.fail_all(unknown);
            return Ok(conclude(WORDS, None, changes));
        }
        let run = journal.begin(WORDS.operation, asked(args, &request)).await?;
        let at = (&sites, &*metadata);
        let mut changes = refile::refile(&run, at, &request, (&progress, &interrupt)).await?;
        changes.fail_all(unknown);
        changes.taken_over = taken_over;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(WORDS, Some(run.id()), changes))
    })
}

fn asked(args: &MoveArgs, request: &RefileRequest) -> serde_json::Value {
    json!({
        "files": request.records.len(),
        "folder": args.folder,
        "overrides": args.ownership.asked(),
    })
}

/// Files that everybody may read from now on are told of: a folder's `access` is easily forgotten.
fn tell_exposed(context: &Context, records: &[FileRecord], to: &str) -> Result<(), Failure> {
    let folders = &context.config()?.folders;
    let access = |name: &str| folders.get(name).map(|folder| folder.access);
    if access(to) != Some(Access::Public) {
        return Ok(());
    }
    let exposed = records
        .iter()
        .filter(|record| access(&record.folder).is_some_and(|access| access != Access::Public));
    match exposed.count() {
        0 => {}
        count => tracing::warn!("folder {to} is public; files that were not: {count}"),
    }
    Ok(())
}
