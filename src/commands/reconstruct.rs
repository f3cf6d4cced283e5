//! `storage:reconstruct`: records again, where the database was lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::changes::{Words, conclude, counts, planned, sites, status};
use super::ownership::{self, OwnershipArgs};
use super::shared::LockArgs;
use crate::Context;
use crate::config::parse_duration;
use crate::engine::changes::Changes;
use crate::engine::journal::recover;
use crate::engine::reconstruct::{self, Around, ReconstructRequest, Seen};
use crate::error::Failure;
use crate::metadata::journal::RunStatus;
use crate::output::{Outcome, format_count};
use crate::providers::Provider;

/// Makes records that were lost again, from sidecars, object metadata and keys
///
/// Touches no object and no record that is there. What could not be known of a file is named with it.
#[derive(Debug, Args)]
pub struct ReconstructArgs {
    /// Look into this provider only; may be given several times
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// Look into this folder only
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// How many objects are asked about at once [default: global.max_concurrent_downloads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Leave alone what is younger than this, since CivicPress may be uploading it (`1h`, `30m`; 0 takes everything)
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    min_age: String,
    /// Make the database where there is none
    #[arg(long, conflicts_with = "dry_run")]
    create: bool,
    /// Only tell what would be reconstructed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const WORDS: Words = Words {
    operation: "storage:reconstruct",
    done: "reconstructed",
    planned: "would be reconstructed",
};

/// Lists the storage, and writes the records that are missing. Nothing is destroyed, so nobody is asked.
///
/// # Errors
/// A provider that is another installation's or is not listed to its end, a database that fails.
pub fn run(context: &Context, args: &ReconstructArgs) -> Result<Outcome, Failure> {
    args.lock.settle(go(context, args))
}

fn go(context: &Context, args: &ReconstructArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    if args.create {
        context.make_database()?;
    }
    // Asked for before anything is read, and only where something may be written.
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let mut providers: Vec<Arc<Provider>> = if args.provider.is_empty() {
        context.providers()?.into_iter().map(Arc::new).collect()
    } else {
        let once: BTreeSet<&String> = args.provider.iter().collect();
        let named = once.into_iter().map(|name| context.provider(name).map(Arc::new));
        named.collect::<Result<Vec<_>, _>>()?
    };
    let config = context.config()?;
    let backups = config.global.backup_providers.clone();
    // Whoever has copies of a file is asked last, whatever the order in storage.yml.
    providers.sort_by_key(|provider| match &provider.name {
        name if *name == config.active_provider => 0,
        name if backups.contains(name) => 2,
        _ => 1,
    });
    let names: Vec<String> = providers.iter().map(|provider| provider.name.clone()).collect();
    let configured = config.global.max_concurrent_downloads;
    let min_age = parse_duration(&args.min_age)
        .map_err(|why| Failure::usage(format!("--min-age {}: {why}", args.min_age)))?;
    let request = ReconstructRequest {
        min_age,
        providers,
        backups,
        is_chosen: !args.provider.is_empty(),
        folder: args.folder.clone(),
        concurrency: args.concurrency.map_or(configured, usize::from),
    };
    let metadata = context.history()?;
    let (progress, clock) = (context.progress(), context.clock());
    context.block_on_changes(|interrupt| async move {
        let mut changes = Changes::default();
        let around = Around {
            clock: &clock,
            progress: &progress,
            interrupt: &interrupt,
        };
        let touched = names.iter().map(String::as_str);
        let Some(journal) = journal else {
            ownership::warn(context, &mut sites, touched).await?;
            let seen = reconstruct::reconstruct(None, &*metadata, &request, (around, &mut changes)).await?;
            tell(seen);
            return Ok(planned(WORDS, changes));
        };
        let custody = ownership::check(&journal, &mut sites, touched, &args.ownership).await?;
        changes.taken_over = ownership::claim(custody, &mut sites).await;
        recover(&journal, &sites.usable()).await?;
        let asked = json!({
            "providers": names,
            "folder": args.folder,
            "overrides": args.ownership.asked(),
        });
        let run = journal.begin(WORDS.operation, asked).await?;
        for name in &names {
            if let Err(held) = run.lease(name).await {
                run.discard().await?;
                return Err(held.into());
            }
        }
        match reconstruct::reconstruct(Some(&run), &*metadata, &request, (around, &mut changes)).await {
            Ok(seen) => tell(seen),
            Err(error) => {
                let why = json!({ "error": error.to_string() });
                run.finish(RunStatus::Failed, why).await?;
                return Err(error.into());
            }
        }
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(WORDS, Some(run.id()), changes))
    })
}

fn tell(seen: Seen) {
    if seen.recorded > 0 {
        tracing::info!(
            "{} objects have their record already",
            format_count(seen.recorded)
        );
    }
    if seen.recent > 0 {
        tracing::warn!(
            "{} objects are too recent, or are being uploaded now: their record may be on its way (--min-age)",
            format_count(seen.recent)
        );
    }
    if seen.on_backups > 0 {
        tracing::warn!(
            "{} files are where only copies belong, in `backup_providers`: CivicPress does not look there, and `storage:migrate` \
             takes them home",
            format_count(seen.on_backups)
        );
    }
    if seen.foreign > 0 {
        tracing::warn!(
            "{} objects were not named by this system, and were left without a record",
            format_count(seen.foreign)
        );
    }
}
