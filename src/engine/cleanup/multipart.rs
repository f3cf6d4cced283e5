//! Uploads in parts that nobody will end: begun under a key of ours by a process that died, they take up room, cost money
//! and are no file. Looked for where `--kind multipart` asks.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::finding::{Findings, Kind, StaleUpload};
use super::report::Counts;
use super::scan::younger_than;
use super::under_way::UnderWay;
use super::{CleanupRequest, Desk, ScanError};
use crate::providers::{Provider, stored_shape, uuids_in};

/// What a provider holds of them, each with what speaks against its end.
#[derive(Debug, Default)]
pub struct Unfinished {
    pub findings: Findings,
    pub counts: Counts,
}

/// Lists those under keys of this system's shape in folders that it knows; all others may be another program's.
///
/// # Errors
/// Any error of the listing or the database: nothing is claimed of half a view.
///
/// # Cancellation
/// Safe: it only reads.
pub async fn look(
    desk: Desk<'_>,
    request: &CleanupRequest,
    (provider, now): (&Provider, DateTime<Utc>),
    folders: &HashSet<String>,
) -> Result<Unfinished, ScanError> {
    let mut found = Unfinished::default();
    if !request.kinds.contains(&Kind::Multipart) {
        return Ok(found);
    }
    let mut uploads = provider.unfinished_uploads();
    while let Some(upload) = uploads.try_next().await? {
        let Some(shape) = stored_shape(in_use(upload.key.as_bytes())) else {
            continue;
        };
        let asked = request
            .folder
            .as_deref()
            .is_none_or(|folder| folder == shape.folder);
        if !asked || !folders.contains(shape.folder) {
            continue;
        }
        // Asked after it was listed: an intent is written down before its upload begins.
        let under_way = UnderWay::of_the_living(desk.metadata, desk.clock.now()).await?;
        found.counts.multipart_uploads += 1;
        let finding = StaleUpload {
            provider: provider.name.clone(),
            key: upload.key.to_string(),
            upload_id: upload.id,
            initiated: upload.begun,
            in_flight: under_way.contains(&provider.name, &uuids_in(upload.key.as_bytes()), &upload.key),
            too_recent: younger_than(request.min_age, now, upload.begun),
        };
        found.findings.push(Kind::Multipart, &finding)?;
    }
    Ok(found)
}

/// The key that something had before it went to the trash: a copy to there may have been left half done.
fn in_use(key: &[u8]) -> &[u8] {
    let trashed = key.strip_prefix(b".trash/".as_slice());
    let below = trashed.and_then(|rest| rest.splitn(2, |byte| *byte == b'/').nth(1));
    below.unwrap_or(key)
}
