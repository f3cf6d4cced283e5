//! `storage:upload`: files from disk into a folder of the active provider.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::batch::{Batch, Words};
use super::named::no_room;
use super::shared::{folder_rules, limits};
use crate::Context;
use crate::engine::cleanup::ItemError;
use crate::engine::journal::{Journal, recover};
use crate::engine::upload::{
    self, Desk, Outcome as Item, Outcomes, Sources, Surroundings, Targets, UploadRequest,
};
use crate::error::Failure;
use crate::metadata::journal::{JournalStore, RunStatus};
use crate::output::Outcome;
use crate::providers::Provider;

const WORDS: Words = Words {
    operation: "storage:upload",
    done: "uploaded",
    planned: "would be uploaded",
};

/// Stores files in a folder: one, many, or what is below directories
///
/// Each gets an id of its own, so that two files of one name are two files. Of a path only the file's own name is kept.
/// One file that fails never stops the others, unless --atomic asks for all or none.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Args)]
pub struct UploadArgs {
    /// Files; with --recursive also directories
    #[arg(value_name = "PATH", required_unless_present = "from_list")]
    paths: Vec<PathBuf>,
    /// Folder of storage.yml to store them in
    #[arg(long, value_name = "NAME")]
    folder: String,
    /// Take every file below a directory, hidden ones included; symlinks in it are not followed
    #[arg(long, short)]
    recursive: bool,
    /// Read paths from a file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    from_list: Option<PathBuf>,
    /// Files under way at once [default: global.max_concurrent_uploads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,
    /// Leave out files that the folder has already, by name, size and content
    #[arg(long)]
    skip_existing: bool,
    /// Store all files or none: where one cannot be stored, the others are taken back
    #[arg(long)]
    atomic: bool,
    /// Say this of every file
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who uploads, as the records will name them
    #[arg(long, value_name = "NAME")]
    uploaded_by: Option<String>,
    /// Only check, and say what would be stored
    #[arg(long)]
    dry_run: bool,
}

/// Uploads.
///
/// # Errors
/// What stands in the way of every file; of one file it is part of the answer.
pub fn run(context: &Context, args: &UploadArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    let sources = sources(args)?;
    if sources.is_empty() {
        return Err(Failure::usage("no file was named"));
    }
    let progress = context.progress();
    if args.dry_run {
        let request = request(context, args, None)?;
        let (metadata, clock) = (context.history()?, context.clock());
        return context.block_on_changes(|interrupt| async move {
            let mut batch = Batch::new(WORDS, context.printer(), true);
            let around = Surroundings {
                metadata: metadata.as_ref(),
                clock: &clock,
                progress: &progress,
                interrupt: &interrupt,
            };
            upload::run(&request, None, around, sources, &mut batch).await?;
            Ok(batch.conclude(interrupt.is_requested()))
        });
    }
    let journal = context.run_journal()?;
    let request = request(context, args, Some(Arc::clone(&journal.store)))?;
    context.block_on_changes(|interrupt| async move {
        let around = Surroundings {
            metadata: journal.store.as_ref(),
            clock: journal.clock.as_ref(),
            progress: &progress,
            interrupt: &interrupt,
        };
        let batch = stored(context, &journal, (&request, args), around, sources).await?;
        Ok(batch.conclude(interrupt.is_requested()))
    })
}

/// The upload as a run of the journal, once what dead ones left is ended.
async fn stored(
    context: &Context,
    journal: &Journal,
    (request, args): (&UploadRequest, &UploadArgs),
    around: Surroundings<'_>,
    sources: Sources,
) -> Result<Batch, Failure> {
    recover(journal, &request.providers).await?;
    for provider in &request.providers {
        provider.sweep().await;
    }
    let run = journal.begin(WORDS.operation, asked(args, &sources)).await?;
    let desk = Desk {
        store: Arc::clone(&journal.store),
        run_id: run.id().to_owned(),
        owner: journal.owner.clone(),
    };
    let mut batch = Batch::new(WORDS, context.printer(), false);
    batch.of_run(run.id());
    let ended = upload::run(request, Some(&desk), around, sources, &mut batch).await;
    let status = match ended {
        Err(_) => RunStatus::Failed,
        Ok(()) if around.interrupt.is_requested() => RunStatus::Interrupted,
        Ok(()) => batch.status(),
    };
    // The files are stored whatever becomes of their run's last line.
    let switches = request.targets.switches();
    for switch in &switches {
        context.count_switch(&switch.to);
    }
    batch.switched(switches);
    if let Err(error) = run.finish(status, batch.counts()).await {
        tracing::warn!("the run could not be ended: {error}");
    }
    ended?;
    Ok(batch)
}

/// What history shows of the request.
fn asked(args: &UploadArgs, sources: &Sources) -> Value {
    json!({
        "folder": args.folder,
        "files": sources.len(),
        "skipExisting": args.skip_existing,
        "atomic": args.atomic,
        "uploadedBy": args.uploaded_by,
    })
}

/// `notes` is where health checks are noted; a dry run makes none.
fn request(
    context: &Context,
    args: &UploadArgs,
    notes: Option<Arc<dyn JournalStore>>,
) -> Result<UploadRequest, Failure> {
    let config = context.config()?;
    let concurrency = args
        .concurrency
        .map_or(config.global.max_concurrent_uploads, usize::from);
    let providers = context.providers()?.into_iter().map(Arc::new).collect();
    let built = |name| Ok(Arc::new(context.provider(name)?));
    let others = config.failover_after(&config.active_provider).map(built);
    let others = others.collect::<Result<_, Failure>>()?;
    let active = built(&config.active_provider)?;
    Ok(UploadRequest {
        targets: Arc::new(Targets::new(active, others, context.doctor(notes)?)),
        providers,
        backups: backups(context)?,
        folder: folder_rules(context, &args.folder)?,
        limits: limits(context)?,
        description: args.description.clone(),
        uploaded_by: args.uploaded_by.clone(),
        skip_existing: args.skip_existing,
        atomic: args.atomic,
        concurrency,
        stream_threshold: config.global.stream_threshold,
        part_size: config.global.chunk_size,
    })
}

/// Where copies go, each an enabled provider.
fn backups(context: &Context) -> Result<Vec<Arc<Provider>>, Failure> {
    let global = &context.config()?.global;
    let names = global
        .backup_providers
        .iter()
        .filter(|_| global.cross_provider_backup);
    names.map(|name| Ok(Arc::new(context.provider(name)?))).collect()
}

fn sources(args: &UploadArgs) -> Result<Sources, Failure> {
    let mut sources = Sources::new(args.recursive);
    for path in &args.paths {
        sources.add(path).map_err(no_room)?;
    }
    if let Some(list) = &args.from_list {
        let unread = |error| {
            let message = format!("--from-list {}: {error}", list.display());
            Failure::usage(message).detail("path", list.display().to_string())
        };
        let mut lines = open_list(list).map_err(unread)?;
        sources.add_list(&mut lines).map_err(unread)?;
    }
    Ok(sources)
}

fn open_list(list: &Path) -> io::Result<Box<dyn BufRead>> {
    if list == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(BufReader::new(File::open(list)?)))
}

impl Outcomes for Batch {
    fn take(&mut self, file: &str, outcome: Item) -> io::Result<()> {
        if let Some(error) = outcome.error(file) {
            return self.fail(&error);
        }
        match outcome {
            Item::Stored(record) => {
                let size = u64::try_from(record.size).unwrap_or(0);
                self.success(&record, file, size)
            }
            Item::Skipped(record) => self.skip(&record, file),
            Item::Planned { size } => self.plan(file, size),
            Item::Failed { .. } | Item::Full(_) => Ok(()),
        }
    }

    fn lacks(&mut self, missing: ItemError) {
        self.lack(missing);
    }
}
