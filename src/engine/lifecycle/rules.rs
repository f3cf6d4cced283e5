//! Safety rules that look at a whole provider. A check never refuses by them: it warns, with the name that a real run
//! would want overridden.

use chrono::{DateTime, TimeDelta, Utc};

use super::report::Leaving;
use super::view::View;
use crate::engine::changes::Sites;
use crate::engine::cleanup::{Caps, Warning};
use crate::engine::marker::{self, Claim, Ownership};
use crate::engine::ownership;
use crate::providers::{Provider, ProviderError};

/// The names that `--override` takes.
pub const RULES: [&str; 3] = ["clock-skew", "max-delete", "ownership"];

/// Clocks further apart than this make ages untrustworthy.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Looks at every provider that something is to be done with, and adds what speaks against it to the report. Gives
/// those that could not be looked at.
pub async fn caution(
    view: &mut View,
    (sites, claim): (&Sites, &Claim),
    (caps, clock): (Caps, DateTime<Utc>),
) -> Vec<(String, ProviderError)> {
    let mut failures = Vec::new();
    for leaving in view.leaving.iter().filter(|leaving| leaving.is_touched()) {
        view.report.warnings.extend(over(caps, leaving));
        // One that is disabled, or cannot be used at all, fails its own files.
        let Some(Ok(provider)) = sites.providers.get(&leaving.provider) else {
            continue;
        };
        match look(provider, claim, (leaving.held, clock)).await {
            Ok(warnings) => view.report.warnings.extend(warnings),
            Err(error) => failures.push((leaving.provider.clone(), error)),
        }
    }
    failures
}

async fn look(
    provider: &Provider,
    claim: &Claim,
    (held, clock): (u64, DateTime<Utc>),
) -> Result<Vec<Warning>, ProviderError> {
    let warn = |rule, message, overridable| Warning {
        rule,
        provider: provider.name.clone(),
        message,
        overridable,
    };
    let probe = provider.probe().await?;
    let mut found = Vec::new();
    if probe.bare && provider.type_name == "local" && held > 0 {
        // What a mount point looks like when its disk is missing.
        let message =
            format!("the root is completely empty though {held} records name it: is its disk mounted?");
        found.push(warn("empty-listing", message, false));
    }
    let skew = (probe.now - clock).abs();
    if skew > CLOCK_SKEW {
        let message = format!("its clock and this machine's are {} s apart", skew.num_seconds());
        found.push(warn("clock-skew", message, true));
    }
    if let Ownership::Foreign(message) = marker::look(provider, claim).await? {
        found.push(warn(ownership::RULE, message, true));
    }
    Ok(found)
}

fn over(caps: Caps, leaving: &Leaving) -> Option<Warning> {
    let (asked, allowed) = (leaving.deletions + leaving.archivals, caps.allowed(leaving.held));
    (asked > allowed).then(|| Warning {
        rule: "max-delete",
        provider: leaving.provider.clone(),
        message: format!(
            "{asked} files would be deleted or archived of {} that it holds, and at most {allowed} may leave it at once",
            leaving.held
        ),
        overridable: true,
    })
}
