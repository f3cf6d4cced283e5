//! `storage:cleanup --apply`: compares under lease, asks, and does what was found.

use serde_json::json;

use super::view::CleanupView;
use super::{CleanupArgs, Repair, incomplete, known_folder, warn};
use crate::Context;
use crate::commands::ask;
use crate::commands::ownership::{HINT, tell};
use crate::engine::Interrupt;
use crate::engine::cleanup::plan::Plan;
use crate::engine::cleanup::{self, ApplyRequest, Cleanup, CleanupRequest, Desk, End, Prepared, Refusal};
use crate::engine::journal::Journal;
use crate::engine::ownership;
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunStatus;
use crate::output::{Outcome, format_count, format_size};

const QUESTION: &str = "Apply this?";

/// Compares and applies.
pub fn run(context: &Context, args: &CleanupArgs, request: CleanupRequest) -> Result<Outcome, Failure> {
    ask::possible(context, QUESTION)?;
    let journal = context.run_journal()?;
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        let desk = Desk {
            metadata: &*journal.store,
            clock: &*journal.clock,
            progress: &progress,
        };
        if let Some(folder) = &args.folder {
            known_folder(context, desk.metadata, folder).await?;
        }
        let (plan, request) = match &args.plan {
            None => (None, request),
            Some(file) => {
                let (plan, request) = super::plan::load(context, args, file, request).await?;
                (Some(plan), request)
            }
        };
        let kinds = request.kinds.clone();
        let request = apply_request(args, request, (plan, &journal)).await?;
        let asked = asked(args, &request);
        // Nothing is changed yet: stopping is dropping, and the next run ends this one.
        let prepared = tokio::select! {
            prepared = cleanup::prepare(desk, &journal, request, asked) => prepared?,
            () = interrupt.requested() => return Err(Failure::interrupted()),
        };
        warn(&prepared.cleanup);
        let (cleanup, failure) = decide(context, desk, prepared, &interrupt).await?;
        let view = CleanupView {
            cleanup,
            kinds,
            purged: args.purge,
            planned: None,
        };
        Ok(match failure {
            Some(failure) => Outcome::failed(view, failure),
            None => Outcome::done(view),
        })
    })
}

async fn apply_request(
    args: &CleanupArgs,
    mut cleanup: CleanupRequest,
    (plan, journal): (Option<Plan>, &Journal),
) -> Result<ApplyRequest, Failure> {
    cleanup.claim = journal.claim().await?;
    Ok(ApplyRequest {
        cleanup,
        repair_sizes: plan.as_ref().map_or(args.repair == Some(Repair::Sizes), |plan| {
            plan.header.repair_sizes
        }),
        purge: args.purge,
        overrides: args.overrides.clone(),
        plan,
    })
}

/// What the history says was asked for.
fn asked(args: &CleanupArgs, request: &ApplyRequest) -> serde_json::Value {
    let providers: Vec<&str> = request
        .cleanup
        .providers
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    json!({
        "providers": providers,
        "folder": request.cleanup.folder,
        "kinds": request.cleanup.kinds.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>(),
        "minAgeSeconds": request.cleanup.min_age.as_secs(),
        "maxDelete": args.max_delete,
        "repairSizes": request.repair_sizes,
        "purge": request.purge,
        "overrides": request.overrides,
        "plan": request.plan.as_ref().map(|plan| json!({ "file": plan.file, "sha256": plan.sha256 })),
    })
}

/// Goes on where nothing forbids it and the operator agrees.
async fn decide(
    context: &Context,
    desk: Desk<'_>,
    mut prepared: Prepared,
    interrupt: &Interrupt,
) -> Result<(Cleanup, Option<Failure>), Failure> {
    if let Some(failure) = incomplete(&mut prepared.cleanup) {
        return Ok((
            prepared.leave(RunStatus::Failed, &failure.message).await?,
            Some(failure),
        ));
    }
    if let Some(refusal) = prepared.refusals() {
        let failure = refused(&refusal);
        return Ok((
            prepared.leave(RunStatus::Failed, &failure.message).await?,
            Some(failure),
        ));
    }
    if prepared.changes() > 0
        && let Err(failure) = ask::confirm(context, &summary(&prepared), QUESTION).await
    {
        return Ok((
            prepared.leave(RunStatus::Interrupted, &failure.message).await?,
            Some(failure),
        ));
    }
    let (cleanup, end) = prepared.apply(desk, interrupt).await?;
    tell(&cleanup.report.taken_over);
    let failure = match end {
        End::Interrupted => Some(Failure::interrupted().hint("run the command again to go on")),
        End::Failed(error) => Some(stopped(error.into(), &cleanup)),
        End::Whole => failed_items(&cleanup),
    };
    Ok((cleanup, failure))
}

/// What would be done, as the question shows it.
fn summary(prepared: &Prepared) -> String {
    let line = |wanted: &cleanup::Wanted| {
        format!(
            "{}: {} orphaned objects ({}), {} orphaned records{}{}",
            wanted.provider,
            format_count(wanted.objects),
            format_size(wanted.bytes),
            format_count(wanted.records),
            more(wanted.sidecars, "sidecars without object and record"),
            more(wanted.uploads, "unfinished uploads"),
        )
    };
    let lines: Vec<String> = prepared.cleanup.wanted.iter().map(line).collect();
    lines.join("\n")
}

fn more(count: u64, what: &str) -> String {
    match count {
        0 => String::new(),
        count => format!(", {} {what}", format_count(count)),
    }
}

/// Exit code 8, with what can be done about it.
pub fn refused(refusal: &Refusal) -> Failure {
    let rules: Vec<&str> = refusal.0.iter().map(|warning| warning.rule).collect();
    let said: Vec<String> = refusal
        .0
        .iter()
        .map(|warning| format!("{} ({}): {}", warning.rule, warning.provider, warning.message))
        .collect();
    let failure = Failure::new(
        Exit::Refused,
        Code::Refused,
        format!("nothing was changed, because of {}", said.join("; ")),
    )
    .detail("rules", rules.clone());
    if refusal.0.iter().any(|warning| !warning.overridable) {
        return failure.hint("this cannot be overridden: mend what was seen, then run the command again");
    }
    let flags: Vec<String> = rules.iter().map(|rule| format!("--override {rule}")).collect();
    let hint = format!("if this is as it should be, add {}", flags.join(" "));
    if rules.contains(&ownership::RULE) {
        return failure.hint(format!("{hint}. As to ownership: {HINT}"));
    }
    failure.hint(hint)
}

/// Changes that were made and settled.
fn done(cleanup: &Cleanup) -> u64 {
    let report = &cleanup.report;
    let cleaned = report.cleaned;
    cleaned.objects + cleaned.records + cleaned.sidecars + cleaned.uploads + report.repaired.unwrap_or(0)
}

/// The run was stopped by an error: its exit code says whether anything was done before.
fn stopped(mut failure: Failure, cleanup: &Cleanup) -> Failure {
    failure.exit = match failure.exit {
        _ if done(cleanup) > 0 => Exit::Partial,
        Exit::Unavailable => Exit::Unavailable,
        // 7 and the like say that nothing was begun.
        _ => Exit::Failed,
    };
    failure
}

/// Some items failed, or all did and for which reason.
fn failed_items(cleanup: &Cleanup) -> Option<Failure> {
    let summary = &cleanup.report.error_summary;
    let errors = summary.total_errors;
    if errors == 0 {
        return None;
    }
    let exit = match done(cleanup) {
        0 => Exit::of_failed(summary.by_type.keys()),
        _ => Exit::Partial,
    };
    let message = format!("{errors} items were left as they are");
    Some(Failure::new(exit, Code::BatchOperation, message))
}
