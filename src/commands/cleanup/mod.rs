//! `storage:cleanup`: finds drift between storage and database, and with `--apply` does something about it.

mod apply;
mod explain;
mod headings;
mod plan;
mod view;

pub(super) use apply::refused;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use uuid::Uuid;

use self::explain::ExplainView;
use self::view::CleanupView;
use super::shared::{LockArgs, caps};
use crate::Context;
use crate::config::parse_duration;
use crate::engine::cleanup::plan::{self as planning, Written};
use crate::engine::cleanup::{self, Cleanup, CleanupRequest, Counts, Desk, Kind, RULES};
use crate::engine::marker::Claim;
use crate::error::{Code, Exit, Failure};
use crate::metadata::MetadataStore;
use crate::output::Outcome;
use crate::providers::Provider;

/// Finds objects without a record, records without an object, and sizes that differ. Changes nothing without --apply.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Only look and report; the default
    #[arg(long)]
    pub dry_run: bool,
    /// Move orphaned objects to the trash and take orphaned records out, after a question; storage:undo brings both back
    #[arg(long, conflicts_with_all = ["dry_run", "explain", "fail_on_findings"])]
    pub apply: bool,
    /// Look at this provider only; may be given several times
    #[arg(long, value_name = "NAME")]
    pub provider: Vec<String>,
    /// Look at this folder only
    #[arg(long, value_name = "NAME")]
    pub folder: Option<String>,
    /// Report these findings item by item; with --apply, act on these only
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<KindArg>,
    /// Leave alone what is younger than this (`24h`, `30d`; 0 looks at everything)
    #[arg(long, value_name = "DURATION")]
    pub min_age: Option<String>,
    /// Refuse where more than this would go from one provider: a number, or a share of what it holds (`50`, `20%`)
    /// [default: max_delete_count and max_delete_percent of storage.yml]
    #[arg(long, value_name = "N_OR_P%")]
    pub max_delete: Option<String>,
    /// Write what was found to this new file; with --apply, do what such a file says and nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["explain", "fail_on_findings"])]
    pub plan: Option<PathBuf>,
    /// How old a plan may be that is applied [default: 24h]
    #[arg(long, value_name = "DURATION", requires_all = ["plan", "apply"])]
    pub plan_max_age: Option<String>,
    /// With --apply, set recorded sizes to what is there
    #[arg(long, value_name = "WHAT")]
    pub repair: Option<Repair>,
    /// With --apply, go on although this safety rule speaks; may be given several times
    #[arg(long = "override", value_name = "RULE")]
    pub overrides: Vec<String>,
    /// With --apply, delete objects for good instead of moving them to the trash
    #[arg(long, requires = "apply")]
    pub purge: bool,
    /// Tell of one record or object, by id, key or path, why it is a finding or is none
    #[arg(long, value_name = "ID_OR_KEY")]
    pub explain: Option<String>,
    /// Exit with 4 where anything was found
    #[arg(long)]
    pub fail_on_findings: bool,
    #[command(flatten)]
    pub lock: LockArgs,
}

/// What `--repair` can mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Repair {
    /// Recorded sizes that are not the object's
    Sizes,
}

/// Findings that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Objects of this system that no record names
    OrphanedObjects,
    /// Records whose object is gone
    OrphanedRecords,
    /// Sizes that differ
    Mismatches,
    /// Objects that carry the UUID of a record which names another place
    Misplaced,
    /// What this system did not put there
    Foreign,
    /// Records that no configured provider matches
    Unmapped,
    /// Sidecars whose object is gone; with --apply, those go whose record is gone, too
    Sidecars,
    /// Uploads in parts that were never ended; with --apply, those of dead processes are ended
    Multipart,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::OrphanedObjects => Self::OrphanedObjects,
            KindArg::OrphanedRecords => Self::OrphanedRecords,
            KindArg::Mismatches => Self::Mismatches,
            KindArg::Misplaced => Self::Misplaced,
            KindArg::Foreign => Self::Foreign,
            KindArg::Unmapped => Self::Unmapped,
            KindArg::Sidecars => Self::Sidecars,
            KindArg::Multipart => Self::Multipart,
        }
    }
}

/// Ages below this leave CivicPress's own uploads without protection: it writes the file first and the row later.
const SHORT_AGE: Duration = Duration::from_secs(3600);

/// Compares, or explains one item.
pub fn run(context: &Context, args: &CleanupArgs) -> Result<Outcome, Failure> {
    args.lock.settle(compare(context, args))
}

fn compare(context: &Context, args: &CleanupArgs) -> Result<Outcome, Failure> {
    for name in &args.overrides {
        if !RULES.contains(&name.as_str()) {
            return Err(Failure::unknown("rule", name, RULES));
        }
    }
    let claim = context.block_on(context.claim())?;
    let request = request(context, args, claim)?;
    if args.apply {
        return apply::run(context, args, request);
    }
    if let Some(file) = &args.plan {
        plan::free(file)?;
    }
    let metadata = context.history()?;
    let progress = context.progress();
    let clock = context.clock();
    let desk = Desk {
        metadata: &*metadata,
        clock: &clock,
        progress: &progress,
    };
    context.block_on_all(async {
        if let Some(folder) = &args.folder {
            known_folder(context, &*metadata, folder).await?;
        }
        if let Some(item) = &args.explain {
            let explanations = cleanup::explain(desk, &request, item).await?;
            return Ok(Outcome::done(ExplainView { explanations }));
        }
        let cleanup = cleanup::run(desk, &request).await?;
        let planned = match &args.plan {
            Some(file) if cleanup.failures.is_empty() => {
                let repairs = args.repair == Some(Repair::Sizes);
                let found = (&cleanup.findings, repairs);
                Some(planning::write(file, &request, found, &clock).map_err(|error| plan::failure(&error))?)
            }
            _ => None,
        };
        Ok(outcome(cleanup, &request, (args.fail_on_findings, planned)))
    })
}

fn request(context: &Context, args: &CleanupArgs, claim: Claim) -> Result<CleanupRequest, Failure> {
    let config = context.config()?;
    let (enabled, unreachable) = enabled(context)?;
    let providers = if args.provider.is_empty() {
        context.providers()?.into_iter().map(Arc::new).collect()
    } else {
        asked_for(context, &args.provider)?
    };
    let mut kinds: Vec<Kind> = match args.kind.as_slice() {
        [] => Kind::DEFAULT.to_vec(),
        asked => asked.iter().copied().map(Kind::from).collect(),
    };
    if args.repair.is_some() && !kinds.contains(&Kind::Mismatches) {
        kinds.push(Kind::Mismatches);
    }
    Ok(CleanupRequest {
        run_id: Uuid::new_v4().to_string(),
        providers,
        enabled,
        unreachable,
        all_roots: context
            .roots()?
            .into_iter()
            .flat_map(|provider| provider.roots)
            .collect(),
        folders: config.folders.keys().cloned().collect(),
        folder: args.folder.clone(),
        kinds,
        min_age: min_age(args.min_age.as_deref(), config.cleanup.min_age)?,
        claim,
        caps: caps(args.max_delete.as_deref(), &config.cleanup)?,
    })
}

/// Every enabled provider, and why some cannot be used.
#[expect(clippy::type_complexity, reason = "two lists that have no other name")]
fn enabled(context: &Context) -> Result<(Vec<Arc<Provider>>, Vec<(String, String)>), Failure> {
    let mut usable = Vec::new();
    let mut unreachable = Vec::new();
    for provider in context.config()?.providers.iter().filter(|p| p.enabled) {
        match context.provider(&provider.name) {
            Ok(provider) => usable.push(Arc::new(provider)),
            Err(failure) => unreachable.push((provider.name.clone(), failure.message)),
        }
    }
    Ok((usable, unreachable))
}

/// The providers of these names, each once however often it was named.
fn asked_for(context: &Context, names: &[String]) -> Result<Vec<Arc<Provider>>, Failure> {
    let mut asked: Vec<Arc<Provider>> = Vec::new();
    for name in names {
        if asked.iter().all(|provider| provider.name != *name) {
            asked.push(Arc::new(context.provider(name)?));
        }
    }
    Ok(asked)
}

fn min_age(flag: Option<&str>, configured: Duration) -> Result<Duration, Failure> {
    let Some(text) = flag else { return Ok(configured) };
    let age = parse_duration(text).map_err(|why| Failure::usage(format!("--min-age {text}: {why}")))?;
    if age < SHORT_AGE {
        tracing::warn!(
            "--min-age {text}: less than an hour; what CivicPress is uploading right now may look orphaned"
        );
    }
    Ok(age)
}

/// The folder of a flag: one that storage.yml has, or that some record is in.
async fn known_folder(context: &Context, metadata: &dyn MetadataStore, folder: &str) -> Result<(), Failure> {
    let mut folders = metadata.folders().await?;
    folders.extend(context.config()?.folders.keys().cloned());
    if folders.contains(folder) {
        return Ok(());
    }
    Err(Failure::unknown(
        "folder",
        folder,
        folders.iter().map(String::as_str),
    ))
}

/// What the run came to, and the first reason why it is not all that was asked.
fn outcome(
    mut cleanup: Cleanup,
    request: &CleanupRequest,
    (fail_on_findings, planned): (bool, Option<Written>),
) -> Outcome {
    warn(&cleanup);
    let failure = failure(&mut cleanup, request, fail_on_findings);
    let view = CleanupView {
        cleanup,
        kinds: request.kinds.clone(),
        purged: false,
        planned,
    };
    match failure {
        Some(failure) => Outcome::failed(view, failure),
        None => Outcome::done(view),
    }
}

/// Says on stderr which rules spoke.
fn warn(cleanup: &Cleanup) {
    for warning in &cleanup.report.warnings {
        let end = if warning.overridable {
            ""
        } else {
            "; this cannot be overridden"
        };
        tracing::warn!(
            "{} ({}): {}{end}",
            warning.rule,
            warning.provider,
            warning.message
        );
    }
}

fn failure(cleanup: &mut Cleanup, request: &CleanupRequest, fail_on_findings: bool) -> Option<Failure> {
    if let Some(failure) = incomplete(cleanup) {
        return Some(failure);
    }
    let errors = cleanup.report.error_summary.total_errors;
    if errors > 0 {
        let message = format!("{errors} items could not be judged");
        return Some(Failure::new(Exit::Partial, Code::BatchOperation, message));
    }
    let found = found(&cleanup.report.counts, &request.kinds);
    (fail_on_findings && found > 0).then(|| {
        let message = format!("{found} findings");
        Failure::new(Exit::Findings, Code::OrphanedFile, message)
    })
}

/// Why a provider could not be compared.
fn incomplete(cleanup: &mut Cleanup) -> Option<Failure> {
    if cleanup.failures.is_empty() {
        return None;
    }
    let others: Vec<String> = cleanup.failures[1..]
        .iter()
        .map(|failed| failed.error.to_string())
        .collect();
    let first = cleanup.failures.swap_remove(0);
    let failure = Failure::from(first.error).detail("provider", first.provider);
    Some(if others.is_empty() {
        failure
    } else {
        failure.detail("others", others)
    })
}

/// How many findings there are of the kinds that were asked for.
fn found(counts: &Counts, kinds: &[Kind]) -> u64 {
    let of = |kind: &Kind| match kind {
        Kind::OrphanedObjects => counts.orphaned_objects,
        Kind::OrphanedRecords => counts.orphaned_records,
        Kind::Mismatches => counts.mismatches,
        Kind::Misplaced => counts.misplaced,
        Kind::Foreign => counts.foreign,
        Kind::Unmapped => counts.unmapped_records,
        Kind::Sidecars => counts.sidecars_without_object,
        Kind::Multipart => counts.multipart_uploads,
        Kind::Errors => 0,
    };
    kinds.iter().map(of).sum()
}
