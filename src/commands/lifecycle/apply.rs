//! `storage:lifecycle --apply`: judges under leases, asks, and does what was found.

use serde_json::json;

use super::view::LifecycleView;
use super::{LifecycleArgs, notice, tell, unjudged};
use crate::Context;
use crate::commands::changes::sites;
use crate::commands::shared::{known_folder, limits, way};
use crate::commands::{ask, cleanup, ownership};
use crate::engine::Interrupt;
use crate::engine::changes::Sites;
use crate::engine::journal::Journal;
use crate::engine::lifecycle::{
    ApplyRequest, End, LifecycleRequest, Mode, Prepared, View, prepare, view as judge,
};
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunStatus;
use crate::notify::{NoticeFile, Outlets, Webhook, WebhookSettings};
use crate::output::{Outcome, Reporter, format_count, format_size};

const QUESTION: &str = "Apply this?";

/// Judges and applies.
pub fn run(context: &Context, args: &LifecycleArgs, request: LifecycleRequest) -> Result<Outcome, Failure> {
    ask::possible(context, QUESTION)?;
    let journal = context.run_journal()?;
    let sites = sites(context)?;
    let outlets = outlets(context)?;
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        known_folder(context, &*journal.store, args.folder.as_deref()).await?;
        if !context.config()?.lifecycle.enabled {
            return disabled(context, (&journal, &sites), &request, &progress).await;
        }
        let request = apply_request(context, args, (&journal, request), &interrupt).await?;
        let asked = asked(args);
        // Nothing is changed yet: stopping is dropping, and the next run ends this one.
        let prepared = tokio::select! {
            prepared = prepare(&journal, &sites, (request, asked), &progress) => prepared?,
            () = interrupt.requested() => return Err(Failure::interrupted()),
        };
        let around = (context, &journal, &sites);
        let (view, failure) = decide(around, prepared, &outlets, (&progress, &interrupt)).await?;
        let interrupted = failure
            .as_ref()
            .is_some_and(|failure| failure.exit == Exit::Interrupted);
        let view = LifecycleView { view, interrupted };
        Ok(match failure {
            Some(failure) => Outcome::failed(view, failure),
            None => Outcome::done(view),
        })
    })
}

/// Tells that nothing is done, and with what.
async fn disabled(
    context: &Context,
    (journal, sites): (&Journal, &Sites),
    request: &LifecycleRequest,
    progress: &Reporter,
) -> Result<Outcome, Failure> {
    let mut view = judge(&*journal.store, &sites.roots, request, progress).await?;
    view.report.mode = Mode::Apply;
    notice(context, &mut view)?;
    tell(&view);
    let view = LifecycleView {
        view,
        interrupted: false,
    };
    Ok(Outcome::done(view))
}

/// How warnings are sent.
fn outlets(context: &Context) -> Result<Outlets, Failure> {
    let config = context.config()?;
    let notify = &config.lifecycle.notify;
    let webhook = notify.webhook.as_ref().map(|url| {
        Webhook::new(&WebhookSettings {
            url,
            connect_timeout: config.global.connection_timeout,
            timeout: config.global.connection_timeout * 3,
        })
    });
    let unusable = |why| Failure::new(Exit::Usage, Code::Configuration, why);
    Ok(Outlets {
        webhook: webhook.transpose().map_err(unusable)?,
        file: notify.file.clone().map(NoticeFile),
        // A log that shows nothing warns nobody.
        log: notify.log && !context.global().silent,
    })
}

async fn apply_request(
    context: &Context,
    args: &LifecycleArgs,
    (journal, lifecycle): (&Journal, LifecycleRequest),
    interrupt: &Interrupt,
) -> Result<ApplyRequest, Failure> {
    let global = &context.config()?.global;
    Ok(ApplyRequest {
        lifecycle,
        overrides: args.overrides.clone(),
        claim: journal.claim().await?,
        archived_at_once: global.max_concurrent_uploads,
        deleted_at_once: global.max_concurrent_deletes,
        way: way(context, interrupt)?,
        limits: limits(context)?,
    })
}

/// What the history says was asked for.
fn asked(args: &LifecycleArgs) -> serde_json::Value {
    json!({
        "folder": args.folder,
        "policy": args.policy,
        "maxDelete": args.max_delete,
        "overrides": args.overrides,
    })
}

/// Goes on where nothing forbids it and the operator agrees.
async fn decide(
    (context, journal, sites): (&Context, &Journal, &Sites),
    mut prepared: Prepared,
    outlets: &Outlets,
    (progress, interrupt): (&Reporter, &Interrupt),
) -> Result<(View, Option<Failure>), Failure> {
    notice(context, &mut prepared.view)?;
    tell(&prepared.view);
    if let Some(failure) = incomplete(&mut prepared) {
        let view = prepared.leave(RunStatus::Failed, &failure.message).await?;
        return Ok((view, Some(failure)));
    }
    if let Some(refusal) = prepared.refusals() {
        let failure = cleanup::refused(&refusal);
        let view = prepared.leave(RunStatus::Failed, &failure.message).await?;
        return Ok((view, Some(failure)));
    }
    let counts = prepared.view.report.counts;
    if counts.delete + counts.archive > 0
        && let Err(failure) = ask::confirm(context, &summary(&prepared.view), QUESTION).await
    {
        let view = prepared.leave(RunStatus::Interrupted, &failure.message).await?;
        return Ok((view, Some(failure)));
    }
    let (view, end) = prepared
        .apply((journal, sites), outlets, (progress, interrupt))
        .await?;
    ownership::tell(&view.report.taken_over);
    let failure = match end {
        End::Interrupted => Some(Failure::interrupted().hint("run the command again to go on")),
        End::Failed(error) => Some(stopped(error.into(), &view)),
        End::Whole => failed(&view),
    };
    Ok((view, failure))
}

/// Why a provider that something is to be done with could not be looked at.
fn incomplete(prepared: &mut Prepared) -> Option<Failure> {
    let others: Vec<String> = prepared
        .failures
        .iter()
        .skip(1)
        .map(|(_, error)| error.to_string())
        .collect();
    let (provider, error) = prepared.failures.drain(..).next()?;
    let failure = Failure::from(error).detail("provider", provider);
    Some(if others.is_empty() {
        failure
    } else {
        failure.detail("others", others)
    })
}

/// What would be done, as the question shows it.
fn summary(view: &View) -> String {
    let leaving = view
        .leaving
        .iter()
        .filter(|leaving| leaving.deletions + leaving.archivals > 0);
    let lines: Vec<String> = leaving
        .map(|leaving| {
            format!(
                "{}: {} files to the trash, {} archived, {} in all; {} warnings",
                leaving.provider,
                format_count(leaving.deletions),
                format_count(leaving.archivals),
                format_size(leaving.bytes),
                format_count(leaving.warnings)
            )
        })
        .collect();
    lines.join("\n")
}

/// The run was stopped by an error: its exit code says whether anything was done before.
fn stopped(mut failure: Failure, view: &View) -> Failure {
    failure.exit = match failure.exit {
        _ if view.report.done.acts() > 0 => Exit::Partial,
        Exit::Unavailable => Exit::Unavailable,
        // 7 and the like say that nothing was begun.
        _ => Exit::Failed,
    };
    failure
}

/// Some files failed, or all did and for which reason.
fn failed(view: &View) -> Option<Failure> {
    let report = &view.report;
    if report.failed == 0 {
        return unjudged(view);
    }
    let exit = match report.done.acts() {
        0 => Exit::of_failed(report.error_summary.by_type.keys()),
        _ => Exit::Partial,
    };
    let errors = report.error_summary.total_errors;
    let message = format!("{} files were left as they are", format_count(errors));
    let failure = Failure::new(exit, Code::BatchOperation, message);
    Some(failure.retryable_if(report.error_summary.may_pass()))
}
