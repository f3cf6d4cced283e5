//! `--plan`: what a dry run writes, and what `--apply` does of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::CleanupArgs;
use crate::Context;
use crate::config::parse_duration;
use crate::engine::Clock as _;
use crate::engine::cleanup::CleanupRequest;
use crate::engine::cleanup::plan::{self, Plan, PlanError};
use crate::error::{Code, Exit, Failure};

/// How old a plan may be where nobody says.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Flags that say what to do, which the plan says already.
fn flags(args: &CleanupArgs) -> [(&'static str, bool); 5] {
    [
        ("--kind", !args.kind.is_empty()),
        ("--provider", !args.provider.is_empty()),
        ("--folder", args.folder.is_some()),
        ("--min-age", args.min_age.is_some()),
        ("--repair", args.repair.is_some()),
    ]
}

/// Makes sure that a plan can be written there, before anything is compared for it.
///
/// # Errors
/// Where something has the name already.
pub fn free(file: &Path) -> Result<(), Failure> {
    if std::fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    let message = format!(
        "--plan {}: it exists already, and a plan replaces nothing",
        file.display()
    );
    Err(Failure::usage(message).detail("path", file.display().to_string()))
}

/// The plan that is to be applied, and the request that was made for it.
///
/// # Errors
/// Where it cannot be read, is not what was written, or does not fit what is here now; flags that contradict it.
pub async fn load(
    context: &Context,
    args: &CleanupArgs,
    file: &Path,
    mut request: CleanupRequest,
) -> Result<(Plan, CleanupRequest), Failure> {
    if let Some((flag, _)) = flags(args).iter().find(|(_, given)| *given) {
        let message = format!("{flag} cannot stand beside --apply --plan: the plan says what is done");
        return Err(Failure::usage(message));
    }
    let max_age = match args.plan_max_age.as_deref() {
        None => MAX_AGE,
        Some(text) => {
            parse_duration(text).map_err(|why| Failure::usage(format!("--plan-max-age {text}: {why}")))?
        }
    };
    let plan = plan::read(file).map_err(|error| failure(&error))?;
    let mut providers = Vec::new();
    for name in plan.providers() {
        providers.push(Arc::new(context.provider(name)?));
    }
    let claim = context.run_journal()?.claim().await?;
    plan.fits((&claim, &providers), (context.clock().now(), max_age))
        .map_err(|error| failure(&error))?;
    request.providers = providers;
    request.kinds.clone_from(&plan.header.kinds);
    request.folder.clone_from(&plan.header.folder);
    request.min_age = Duration::from_secs(plan.header.min_age_seconds);
    Ok((plan, request))
}

/// A plan that cannot be read is wrong usage; one that is not to be trusted is refused.
pub fn failure(error: &PlanError) -> Failure {
    let message = error.to_string();
    let refused = |file: &Path| {
        Failure::new(Exit::Refused, Code::Refused, message.clone())
            .detail("path", file.display().to_string())
            .hint("nothing was changed; make a new plan with `civic storage:cleanup --plan FILE`")
    };
    match error {
        PlanError::File { file, .. } => {
            Failure::usage(message.clone()).detail("path", file.display().to_string())
        }
        PlanError::Malformed { file, .. } | PlanError::Refused { file, .. } => refused(file),
        PlanError::Spill(_) => Failure::new(Exit::Failed, Code::Error, message),
    }
}
