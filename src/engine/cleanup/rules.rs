//! Safety rules that look at a whole provider. A dry run never refuses by them: it warns, with the name that a
//! real run would want overridden.

use chrono::TimeDelta;

use super::report::Warning;
use super::scan::Scan;
use super::{Desk, ScanError};
use crate::providers::{Probe, Provider};

/// Clocks further apart than this make ages untrustworthy.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// What a real run would refuse by, for one provider.
///
/// # Errors
/// Where the database cannot say whether it has records of the provider at all.
pub async fn warnings(
    desk: Desk<'_>,
    provider: &Provider,
    probe: Probe,
    scan: &Scan,
) -> Result<Vec<Warning>, ScanError> {
    let warn = |rule, message: String, overridable| Warning {
        rule,
        provider: provider.name.clone(),
        message,
        overridable,
    };
    let mut found = Vec::new();
    if scan.shaped == 0 && scan.provider.records_scanned > 0 {
        let records = scan.provider.records_scanned;
        // A root with nothing in it at all is what a mount point looks like when its disk is missing.
        let unmounted = probe.bare && provider.type_name == "local";
        let message = if unmounted {
            format!("the root is completely empty though {records} records name it: is its disk mounted?")
        } else {
            format!("the listing shows none of our objects though {records} records name this provider")
        };
        found.push(warn("empty-listing", message, !unmounted));
    }
    if scan.shaped > 0 && scan.provider.records_scanned == 0 && !has_records(desk, provider).await? {
        let message = format!("{} objects, and not one record names this provider", scan.shaped);
        found.push(warn("empty-database", message, true));
    }
    let skew = (probe.now - desk.clock.now()).abs();
    if skew > CLOCK_SKEW {
        let message = format!("its clock and this machine's are {} s apart", skew.num_seconds());
        found.push(warn("clock-skew", message, true));
    }
    Ok(found)
}

/// Looks beyond the folder that a run may be limited to.
async fn has_records(desk: Desk<'_>, provider: &Provider) -> Result<bool, ScanError> {
    for root in provider.mapping.roots() {
        if !desk.metadata.sample_paths(root, 1).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
