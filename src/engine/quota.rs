//! Quotas: how full folders are, and room reserved for what comes. Whether something fits is decided by the database, in
//! the transaction that lets it in.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cleanup::ItemError;
use crate::metadata::journal::{Admissions, JournalReader, JournalStore, UploadIntent};
use crate::metadata::quota::{Admission, Level, Limits, Scope, Shortage};
use crate::metadata::{self, MetadataError};

/// Tenths of a percent from which on a level is worth a warning, the last one a second.
pub const WARNINGS: [u64; 2] = [800, 950];

/// The code of what found no room.
pub const CODE: &str = "STORAGE_QUOTA_EXCEEDED";

/// How full everything is that was asked for, in the order of the folders; all of them together last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReport {
    pub levels: Vec<Level>,
    pub enforced: bool,
    pub counts_trash: bool,
}

/// How full these folders are, and all of them together.
///
/// # Errors
/// Where the database cannot be read.
pub async fn report(
    store: &dyn JournalReader,
    limits: &Limits,
    folders: &[String],
) -> metadata::Result<QuotaReport> {
    let ledger = store.levels(limits, folders, &ended(store).await?).await?;
    Ok(QuotaReport {
        levels: ledger.levels,
        enforced: limits.enforced,
        counts_trash: limits.counts_trash,
    })
}

/// Uploads whose processes have certainly ended. They become no records any more, so that what they reserved is free,
/// while what they left is for the next recovery. One that is only silent, on another host, may still wake.
pub(super) async fn ended(store: &dyn JournalReader) -> metadata::Result<Vec<String>> {
    let intents = store.intents().await?;
    let ended = intents.into_iter().filter(|intent| intent.owner.has_ended());
    Ok(ended.map(|intent| intent.file_id).collect())
}

/// Writes intents down as far as there is room. Before one is refused, what dead uploads had reserved is set free.
///
/// # Errors
/// Where the database fails.
pub async fn reserve(
    store: &dyn JournalStore,
    intents: &[UploadIntent],
    limits: &Limits,
) -> Result<Admissions, MetadataError> {
    let mut first = store.intend_uploads(intents, limits, &[]).await?;
    let refused = |(_, answer): &(&UploadIntent, &Admission)| matches!(answer, Admission::Refused(_));
    let again: Vec<UploadIntent> = intents
        .iter()
        .zip(&first.answers)
        .filter(refused)
        .map(|(intent, _)| intent.clone())
        .collect();
    let ended = if again.is_empty() {
        Vec::new()
    } else {
        ended(store).await?
    };
    if ended.is_empty() {
        return Ok(first);
    }
    let second = store.intend_uploads(&again, limits, &ended).await?;
    let waiting = first
        .answers
        .iter_mut()
        .filter(|answer| matches!(answer, Admission::Refused(_)));
    for (answer, now) in waiting.zip(second.answers) {
        *answer = now;
    }
    first.levels = second.levels;
    Ok(first)
}

/// An item for which there is no room.
#[must_use]
pub fn no_room(item: &str, shortage: &Shortage) -> ItemError {
    ItemError {
        file: item.to_owned(),
        error: shortage.to_string(),
        error_code: CODE.to_owned(),
        details: Some(json!(shortage)),
    }
}

/// Bytes for which there was no room; none where something else was the matter.
#[must_use]
pub fn wanted(error: &ItemError) -> u64 {
    let details = error.details.as_ref().filter(|_| error.error_code == CODE);
    details
        .and_then(|details| details["wanted"].as_u64())
        .unwrap_or(0)
}

/// The details for a command of which nothing went through for want of room: those of its first item, with the bytes that
/// all of them wanted.
#[must_use]
pub fn of_all(first: &Value, wanted: u64) -> Value {
    let mut details = first.clone();
    details["wanted"] = wanted.into();
    details
}

/// Tells of each level once when it gets nearly full, and once more when it gets there.
#[derive(Debug, Default)]
pub(super) struct Watch(BTreeMap<Scope, u64>);

impl Watch {
    pub(super) fn look(&mut self, levels: &[Level]) {
        for level in levels {
            let Some(permille) = level.permille() else {
                continue;
            };
            let passed = WARNINGS.iter().rev().find(|warning| permille >= **warning);
            let Some(passed) = passed else { continue };
            let told = self.0.entry(level.scope.clone()).or_default();
            if *told < *passed {
                *told = *passed;
                tracing::warn!("{}", nearly_full(level, permille));
            }
        }
    }
}

/// `folder permits has taken 81.3 % of its quota`
#[must_use]
pub fn nearly_full(level: &Level, permille: u64) -> String {
    format!(
        "{} has taken {}.{} % of its quota",
        level.scope,
        permille / 10,
        permille % 10
    )
}
