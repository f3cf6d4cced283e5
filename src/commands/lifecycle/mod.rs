//! `storage:lifecycle`: what the policies of storage.yml would do, and with `--apply` does it.

mod apply;
mod rules;
mod view;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use uuid::Uuid;

use self::view::LifecycleView;
use super::changes::sites;
use super::shared::{LockArgs, caps, known_folder};
use crate::Context;
use crate::engine::Clock;
use crate::engine::lifecycle::{self, LifecycleRequest, Mode, RULES, View};
use crate::error::{Code, Exit, Failure};
use crate::output::{Outcome, format_count};

/// Tells what the lifecycle policies of storage.yml would do and why, and with --apply does it: warn, archive, delete
///
/// A hold wins over a warning that was not sent or not waited for, that over archiving, and archiving over deletion. What is
/// deleted, and the originals of what is archived, go to the trash; storage:undo takes a run back. Files whose age nobody
/// knows are left alone and told.
#[derive(Debug, Args)]
pub struct LifecycleArgs {
    /// Only look and report; the default
    #[arg(long, visible_alias = "dry-run")]
    check: bool,
    /// Send the warnings, archive and delete, after a question
    #[arg(long, conflicts_with_all = ["check", "as_of"])]
    apply: bool,
    /// Only files of this folder
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,
    /// Only what this policy does; what others protect stays protected
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// As if it were the end of that day (`2027-01-31`), or that moment (`2027-01-31T04:00:00Z`)
    #[arg(long, value_name = "DATE")]
    as_of: Option<String>,
    /// Refuse where more than this would be deleted or archived from one provider: a number, or a share of what it holds
    /// (`50`, `20%`) [default: max_delete_count and max_delete_percent of storage.yml]
    #[arg(long, value_name = "N_OR_P%")]
    max_delete: Option<String>,
    /// With --apply, go on although this safety rule speaks; may be given several times
    #[arg(long = "override", value_name = "RULE")]
    overrides: Vec<String>,
    #[command(flatten)]
    lock: LockArgs,
}

/// Judges every file, and with `--apply` does what was found.
///
/// # Errors
/// A policy, folder, rule or date that is not one, a database that fails; with `--apply` also a refusal, another run, an
/// answer that is not yes.
pub fn run(context: &Context, args: &LifecycleArgs) -> Result<Outcome, Failure> {
    args.lock.settle(go(context, args))
}

fn go(context: &Context, args: &LifecycleArgs) -> Result<Outcome, Failure> {
    for name in &args.overrides {
        if !RULES.contains(&name.as_str()) {
            return Err(Failure::unknown("rule", name, RULES));
        }
    }
    let request = request(context, args)?;
    if args.apply {
        return apply::run(context, args, request);
    }
    let progress = context.progress();
    let sites = sites(context)?;
    context.block_on_all(async {
        let store = context.history()?;
        known_folder(context, &*store, args.folder.as_deref()).await?;
        let mut view = lifecycle::view(&*store, &sites.roots, &request, &progress).await?;
        let claim = context.claim().await?;
        let against = (request.caps, request.clock);
        for (_, error) in lifecycle::caution(&mut view, (&sites, &claim), against).await {
            view.report
                .notices
                .push(format!("{error}; --apply would do nothing"));
        }
        notice(context, &mut view)?;
        tell(&view);
        let failure = unjudged(&view);
        let view = LifecycleView {
            view,
            interrupted: false,
        };
        Ok(match failure {
            Some(failure) => Outcome::failed(view, failure),
            None => Outcome::done(view),
        })
    })
}

fn request(context: &Context, args: &LifecycleArgs) -> Result<LifecycleRequest, Failure> {
    let config = context.config()?;
    let clock = context.clock().now();
    let as_of = match &args.as_of {
        Some(text) => as_of(text)?,
        None => clock,
    };
    if let Some(name) = &args.policy {
        let policies = &config.lifecycle.policies;
        let Some(policy) = policies.iter().find(|policy| policy.name == *name) else {
            return Err(Failure::unknown(
                "policy",
                name,
                policies.iter().map(|policy| policy.name.as_str()),
            ));
        };
        if !policy.enabled {
            let message = format!("policy {name} is not enabled in storage.yml");
            return Err(Failure::usage(message).detail("policy", name.as_str()));
        }
    }
    Ok(LifecycleRequest {
        run_id: Uuid::new_v4().to_string(),
        policies: rules::policies(config),
        only: args.policy.clone(),
        folder: args.folder.clone(),
        as_of,
        clock,
        caps: caps(args.max_delete.as_deref(), &config.cleanup)?,
    })
}

/// A day means its end: whatever is done on it has been done by then.
fn as_of(text: &str) -> Result<DateTime<Utc>, Failure> {
    let day = || {
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .filter(|_| text.len() == 10)?;
        Some(day.and_time(NaiveTime::from_hms_opt(23, 59, 59)?).and_utc())
    };
    let moment = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
    day().or_else(moment).ok_or_else(|| {
        let message = format!("--as-of {text}: a day like 2027-01-31, or a moment like 2027-01-31T04:00:00Z");
        Failure::usage(message)
    })
}

/// What is not refused and yet to be known.
fn notice(context: &Context, view: &mut View) -> Result<(), Failure> {
    let config = context.config()?;
    let active = &config.active_provider;
    for leaving in view
        .leaving
        .iter()
        .filter(|leaving| leaving.arrivals > 0 && leaving.provider != *active)
    {
        view.report.notices.push(format!(
            "{} files go to {}: CivicPress reads only from its active_provider, which is {active}, and will not find them",
            format_count(leaving.arrivals),
            leaving.provider
        ));
    }
    if !config.lifecycle.enabled {
        let message = match view.report.mode {
            Mode::Check => "lifecycle.enabled is false in storage.yml: --apply would do nothing",
            Mode::Apply => "lifecycle.enabled is false in storage.yml: nothing was done",
        };
        view.report.notices.push(message.to_owned());
    }
    Ok(())
}

/// Says on stderr what speaks against it, and what is to be known.
fn tell(view: &View) {
    for warning in &view.report.warnings {
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
    for notice in &view.report.notices {
        tracing::warn!("{notice}");
    }
}

/// Files that were left alone since nobody can judge them.
fn unjudged(view: &View) -> Option<Failure> {
    let errors = view.report.error_summary.total_errors;
    (errors > 0).then(|| {
        let message = format!(
            "{} files could not be judged, and were left alone",
            format_count(errors)
        );
        Failure::new(Exit::Partial, Code::BatchOperation, message)
    })
}
