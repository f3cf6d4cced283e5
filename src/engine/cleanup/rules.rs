//! Safety rules that look at a whole provider. A dry run never refuses by them: it warns, with the name that a
//! real run would want overridden.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::{Kind, OrphanedObject};
use super::report::Warning;
use super::scan::Scan;
use super::{CleanupRequest, Desk, ScanError};
use crate::engine::marker::{self, Ownership};
use crate::engine::ownership;
use crate::metadata::{ListQuery, SortKey};
use crate::providers::{Probe, Provider};

/// Clocks further apart than this make ages untrustworthy.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Fewer orphans than this say nothing about the database.
const RESTORED_AT_LEAST: u64 = 10;

/// A folder without any object is worth a warning where at least this many records name it: one file may be lost.
const EMPTY_FOLDER_RECORDS: u64 = 3;

/// A row is written a moment after or before its file, and to the second.
const SAME_TIME: TimeDelta = TimeDelta::minutes(1);

/// What a real run would refuse by, for one provider.
///
/// # Errors
/// Where the database cannot say whether it has records of the provider at all.
pub async fn warnings(
    desk: Desk<'_>,
    request: &CleanupRequest,
    (provider, probe): (&Provider, Probe),
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
    for (folder, view) in scan.folders.iter().filter(|_| scan.shaped > 0) {
        if view.objects == 0 && view.records >= EMPTY_FOLDER_RECORDS {
            let records = view.records;
            let message = format!(
                "nothing of ours is in folder {folder} though {records} records name it: was it moved, or its disk \
                 not mounted?"
            );
            found.push(warn("empty-listing", message, true));
        }
    }
    // Copies of files that records name elsewhere are no sign of a database that lost its rows.
    let unknown = scan.elsewhere.saturating_mul(2) < scan.shaped;
    if scan.shaped > 0
        && unknown
        && scan.provider.records_scanned == 0
        && !has_records(desk, provider).await?
    {
        let message = format!("{} objects, and not one record names this provider", scan.shaped);
        found.push(warn("empty-database", message, true));
    }
    let skew = (probe.now - desk.clock.now()).abs();
    if skew > CLOCK_SKEW {
        let message = format!("its clock and this machine's are {} s apart", skew.num_seconds());
        found.push(warn("clock-skew", message, true));
    }
    if let Ownership::Foreign(message) = marker::look(provider, &request.claim).await? {
        found.push(warn(ownership::RULE, message, true));
    }
    if let Some(message) = restored(desk, request, provider, scan).await? {
        found.push(warn("restored-database", message, true));
    }
    Ok(found)
}

/// Orphans that are mostly younger than every record: the rows of the newest files are missing, as they are where
/// an older copy of the database was put in place.
async fn restored(
    desk: Desk<'_>,
    request: &CleanupRequest,
    provider: &Provider,
    scan: &Scan,
) -> Result<Option<String>, ScanError> {
    let orphans = scan.counts.orphaned_objects;
    if orphans < RESTORED_AT_LEAST {
        return Ok(None);
    }
    let newest = match &request.folder {
        None => scan.newest_record,
        Some(_) => newest_record(desk, provider).await?.max(scan.newest_record),
    };
    let Some(newest) = newest else { return Ok(None) };
    let mut newer = 0;
    for line in scan.findings.lines(Kind::OrphanedObjects) {
        let object: OrphanedObject = serde_json::from_slice(&line?).map_err(io::Error::from)?;
        newer += u64::from(object.last_modified > newest + SAME_TIME);
    }
    let speaks = newer >= RESTORED_AT_LEAST && newer * 2 > orphans;
    Ok(speaks.then(|| {
        format!(
            "{newer} of {orphans} orphaned objects are newer than the newest record, of {}: was an older database \
             put back?",
            newest.format("%Y-%m-%d %H:%M")
        )
    }))
}

/// Of the whole provider, whatever folder a run is limited to.
async fn newest_record(desk: Desk<'_>, provider: &Provider) -> Result<Option<DateTime<Utc>>, ScanError> {
    let query = ListQuery {
        roots: Some(provider.mapping.roots().to_vec()),
        sort: SortKey::Created,
        descending: true,
        limit: 1,
        ..ListQuery::default()
    };
    let page = desk.metadata.list(&query).await?;
    Ok(page.records.first().and_then(|record| record.created_at.time()))
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
