//! `storage:migrate`: takes files to another provider, or their records to the root that the files are under today.

use clap::Args;
use serde_json::json;

use super::ask;
use super::changes::{Words, conclude, counts, planned, sites, status};
use super::ownership::{self, OwnershipArgs};
use super::shared::{LockArgs, known_folder, way};
use crate::Context;
use crate::engine::Interrupt;
use crate::engine::changes::{Changes, Sites};
use crate::engine::journal::recover;
use crate::engine::migrate::{self, MigrateRequest};
use crate::engine::rebase::{self, RebaseRequest};
use crate::error::{Code, Exit, Failure};
use crate::output::{Outcome, format_count, format_size};

/// Takes files to another provider: bytes, sidecar and record; storage:undo takes them back
///
/// Each file can be read all the while: it is carried over and compared with the SHA-256 kept at its upload, its record
/// is switched, and only then the original goes to the trash of its provider, where it stays until storage:trash empty.
/// Nothing is overwritten. One that is interrupted is gone on with by the same command.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Provider that has the files
    #[arg(long, value_name = "PROVIDER", required_unless_present = "rebase")]
    from: Option<String>,
    /// Provider to take them to
    #[arg(
        long,
        value_name = "PROVIDER",
        required_unless_present = "rebase",
        conflicts_with = "rebase"
    )]
    to: Option<String>,
    /// Only files of this folder
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// Instead of moving anything, give records of an old root (a provider's `aliases`) the path that their files have today
    #[arg(long)]
    rebase: bool,
    /// How many files are worked on at once [default: global.max_concurrent_uploads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

const MIGRATE: Words = Words {
    operation: "storage:migrate",
    done: "migrated",
    planned: "would be migrated",
};

const REBASE: Words = Words {
    operation: "storage:migrate",
    done: "rebased",
    planned: "would be rebased",
};

const QUESTION: &str = "Migrate these?";

/// # Errors
/// Where a provider or folder is unknown, a provider does not answer, is held by another run or is another
/// installation's, nobody agreed, or the database fails.
pub fn run(context: &Context, args: &MigrateArgs) -> Result<Outcome, Failure> {
    args.lock.settle(go(context, args))
}

fn go(context: &Context, args: &MigrateArgs) -> Result<Outcome, Failure> {
    context.connections(args.concurrency);
    match (&args.from, &args.to) {
        (Some(from), Some(to)) => {
            if from == to {
                let message = format!("--from {from} --to {to}: the files are there already");
                return Err(Failure::usage(message).hint("name two providers of storage.yml"));
            }
            migrate(context, args, (from, to))
        }
        _ => rebase(context, args),
    }
}

fn concurrency(context: &Context, args: &MigrateArgs) -> Result<usize, Failure> {
    Ok(match args.concurrency {
        Some(asked) => usize::from(asked),
        None => context.config()?.global.max_concurrent_uploads,
    })
}

fn migrate(context: &Context, args: &MigrateArgs, (from, to): (&str, &str)) -> Result<Outcome, Failure> {
    for name in [from, to] {
        context.provider(name)?;
    }
    if !args.dry_run {
        ask::possible(context, QUESTION)?;
    }
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        let store = context.history()?;
        known_folder(context, &*store, args.folder.as_deref()).await?;
        let request = request(context, args, (&sites, from, to), &interrupt).await?;
        let Some(journal) = journal else {
            ownership::warn(context, &mut sites, [from, to]).await?;
            let selected = migrate::select(&*store, &sites, (from, args.folder.as_deref())).await?;
            warn_unread(context, to)?;
            let changes = migrate::plan((&sites, &*store), &request, &selected).await?;
            return Ok(planned(MIGRATE, changes));
        };
        let custody = ownership::check(&journal, &mut sites, [from, to], &args.ownership).await?;
        recover(&journal, &sites.usable()).await?;
        let selected = migrate::select(&*store, &sites, (from, args.folder.as_deref())).await?;
        if selected.count() == 0 {
            return Ok(conclude(MIGRATE, None, Changes::default()));
        }
        let unread = unread(context, to)?;
        let what = format!(
            "{} files, {}, from {from} to {to}; the originals go to the trash of {from}{}{}",
            format_count(selected.count()),
            format_size(selected.bytes),
            if unread.is_some() { "\n" } else { "" },
            unread.as_deref().unwrap_or_default()
        );
        ask::confirm(context, &what, QUESTION).await?;
        let taken_over = ownership::claim(custody, &mut sites).await;
        let asked = json!({
            "from": from,
            "to": to,
            "folder": args.folder,
            "files": selected.count(),
            "overrides": args.ownership.asked(),
        });
        let run = journal.begin(MIGRATE.operation, asked).await?;
        for name in [from, to] {
            if let Err(held) = run.lease(name).await {
                run.discard().await?;
                return Err(held.into());
            }
        }
        // Not before it is known that this run has the providers: one that has not is quiet where that was asked for.
        warn_unread(context, to)?;
        let work = ((&sites, &*store), (&request, &selected));
        let mut changes = migrate::migrate(&run, work.0, work.1, (&progress, &interrupt)).await?;
        changes.taken_over = taken_over;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(MIGRATE, Some(run.id()), changes))
    })
}

/// What to do, once both providers have answered.
async fn request(
    context: &Context,
    args: &MigrateArgs,
    (sites, from, to): (&Sites, &str, &str),
    interrupt: &Interrupt,
) -> Result<MigrateRequest, Failure> {
    let usable = |name| {
        let found = sites.named(name, name);
        found.map_err(|error| Failure::new(Exit::Unavailable, Code::named(&error.error_code), error.error))
    };
    let (from, to) = (usable(from)?, usable(to)?);
    for provider in [&from, &to] {
        provider.probe().await?;
    }
    Ok(MigrateRequest {
        from,
        to,
        folder: args.folder.clone(),
        concurrency: concurrency(context, args)?,
        way: way(context, interrupt)?,
    })
}

/// CivicPress reads and deletes through one provider alone.
fn unread(context: &Context, to: &str) -> Result<Option<String>, Failure> {
    let active = &context.config()?.active_provider;
    Ok((active != to).then(|| {
        format!(
            "CivicPress reads only from its active_provider, which is {active}: it will not find these files on {to}"
        )
    }))
}

fn warn_unread(context: &Context, to: &str) -> Result<(), Failure> {
    if let Some(unread) = unread(context, to)? {
        tracing::warn!("{unread}");
    }
    Ok(())
}

fn rebase(context: &Context, args: &MigrateArgs) -> Result<Outcome, Failure> {
    if let Some(from) = &args.from {
        context.provider(from)?;
    }
    let journal = (!args.dry_run).then(|| context.run_journal()).transpose()?;
    let mut sites = sites(context)?;
    let progress = context.progress();
    let request = RebaseRequest {
        provider: args.from.clone(),
        folder: args.folder.clone(),
        concurrency: concurrency(context, args)?,
    };
    let touched: Vec<String> = match &args.from {
        Some(from) => vec![from.clone()],
        None => sites.providers.keys().cloned().collect(),
    };
    context.block_on_changes(|interrupt| async move {
        let store = context.history()?;
        known_folder(context, &*store, args.folder.as_deref()).await?;
        let touched = touched.iter().map(String::as_str);
        let Some(journal) = journal else {
            ownership::warn(context, &mut sites, touched).await?;
            let ids = rebase::select(&*store, &sites, &request).await?;
            let changes = rebase::plan((&sites, &*store), &request, &ids).await?;
            return Ok(planned(REBASE, changes));
        };
        let custody = ownership::check(&journal, &mut sites, touched, &args.ownership).await?;
        recover(&journal, &sites.usable()).await?;
        let ids = rebase::select(&*store, &sites, &request).await?;
        if ids.is_empty() {
            return Ok(conclude(REBASE, None, Changes::default()));
        }
        let taken_over = ownership::claim(custody, &mut sites).await;
        let asked = json!({
            "rebase": true,
            "from": args.from,
            "folder": args.folder,
            "files": ids.len(),
            "overrides": args.ownership.asked(),
        });
        let run = journal.begin(REBASE.operation, asked).await?;
        let mut changes =
            rebase::rebase(&run, (&sites, &*store), (&request, &ids), (&progress, &interrupt)).await?;
        changes.taken_over = taken_over;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(REBASE, Some(run.id()), changes))
    })
}
