//! What is stored, counted from the records: files and bytes in all, and by folder, provider and more. Beside it stands
//! what no record tells of: the trash, and uploads under way.
//!
//! A report is kept for five minutes, and good for as long as this program changes nothing. Nobody tells of what others
//! change: it says how old it is.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::journal::is_dead;
use crate::metadata::journal::JournalReader;
use crate::metadata::{self, Mark, NewReport, ProviderRoots, UsageDimension, UsageRow};

/// How long a report is given again.
const KEPT: TimeDelta = TimeDelta::minutes(5);

/// A property to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Breakdown {
    Folder,
    Provider,
    Type,
    Month,
    Uploader,
}

#[derive(Debug)]
pub struct UsageRequest<'a> {
    /// Only this folder.
    pub folder: Option<&'a str>,
    /// Whose a record is; a record under none of these counts as unmapped.
    pub roots: &'a [ProviderRoots],
    pub by: &'a [Breakdown],
    /// The provider that CivicPress reads.
    pub active: &'a str,
    /// Count anew, whatever is kept.
    pub refresh: bool,
    pub now: DateTime<Utc>,
}

/// Files and the bytes recorded of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub files: u64,
    pub bytes: u64,
}

impl Tally {
    const fn add(&mut self, files: u64, bytes: u64) {
        self.files = self.files.saturating_add(files);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// By name.
pub type Tallies = BTreeMap<String, Tally>;

/// Exact as of `timestamp`. A breakdown that was not asked for is `None`. Folders add up to `total`, and so do providers
/// together with `unmapped`; the others are counted a moment later, while CivicPress may be writing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    pub total: Tally,
    pub by_folder: Option<Tallies>,
    pub by_provider: Option<Tallies>,
    pub by_type: Option<Tallies>,
    pub by_month: Option<Tallies>,
    pub by_uploader: Option<Tallies>,
    /// Records under no configured provider.
    pub unmapped: Tally,
    /// Records with another provider than the active one, where CivicPress does not read them: what was archived, and what
    /// a migration took there or has left there.
    pub archived: Tally,
    /// What was deleted and can still come back; in no other number.
    pub trash: Tally,
    /// Uploads under way, with the bytes that they will have; in no other number.
    pub in_flight: Tally,
    pub timestamp: DateTime<Utc>,
    /// Given again, rather than made now.
    #[serde(skip)]
    pub cached: bool,
}

impl UsageReport {
    /// How long ago it was made.
    #[must_use]
    pub fn age_seconds(&self, now: DateTime<Utc>) -> u64 {
        (now - self.timestamp).num_seconds().try_into().unwrap_or(0)
    }
}

/// Counts, or gives a report again that is good still. What is counted is kept where that changes nothing else.
///
/// # Errors
/// Where the database cannot be read. A report that cannot be kept is no error.
pub async fn usage(store: &dyn JournalReader, request: &UsageRequest<'_>) -> metadata::Result<UsageReport> {
    let asked = request.asked();
    let kept = store.kept_report(&asked).await?;
    if let Some((made_at, text)) = kept.report
        && let Some(report) = again(made_at, &text, request)
    {
        return Ok(report);
    }
    let report = count(store, request).await?;
    if let Some(mark) = kept.mark {
        keep(store, asked, mark, &report).await;
    }
    Ok(report)
}

impl UsageRequest<'_> {
    /// All that the answer hangs on, as text.
    fn asked(&self) -> String {
        let roots: Vec<_> = self
            .roots
            .iter()
            .map(|provider| (&provider.provider, &provider.roots))
            .collect();
        json!([
            "usage",
            env!("CARGO_PKG_VERSION"),
            self.folder,
            roots,
            self.by,
            self.active
        ])
        .to_string()
    }
}

/// The kept report, unless it is too old, or from a time that has not come: then a clock was set back.
fn again(made_at: DateTime<Utc>, text: &str, request: &UsageRequest<'_>) -> Option<UsageReport> {
    let age = request.now - made_at;
    if request.refresh || age < TimeDelta::zero() || age >= KEPT {
        return None;
    }
    let report: UsageReport = serde_json::from_str(text).ok()?;
    Some(UsageReport {
        timestamp: made_at,
        cached: true,
        ..report
    })
}

async fn keep(store: &dyn JournalReader, request: String, mark: Mark, report: &UsageReport) {
    let Ok(text) = serde_json::to_string(report) else {
        return;
    };
    let made_at = report.timestamp;
    let report = NewReport {
        request,
        mark,
        made_at,
        good_since: made_at - KEPT,
        text,
    };
    match store.keep_report(&report).await {
        Ok(kept) => tracing::debug!("the report is {}", if kept { "kept" } else { "not kept" }),
        Err(error) => tracing::debug!("the report is not kept: {error}"),
    }
}

async fn count(store: &dyn JournalReader, request: &UsageRequest<'_>) -> metadata::Result<UsageReport> {
    let mut rows = store.usage(request.roots).await?;
    rows.retain(|row| request.folder.is_none_or(|folder| row.folder == folder));
    let asked = |breakdown| request.by.contains(&breakdown);
    Ok(UsageReport {
        total: total(&rows),
        by_folder: asked(Breakdown::Folder).then(|| tallies(&rows, |row| Some(&row.folder))),
        by_provider: asked(Breakdown::Provider).then(|| tallies(&rows, |row| row.provider.as_ref())),
        by_type: counted(store, request, Breakdown::Type, UsageDimension::Type).await?,
        by_month: counted(store, request, Breakdown::Month, UsageDimension::Month).await?,
        by_uploader: counted(store, request, Breakdown::Uploader, UsageDimension::Uploader).await?,
        unmapped: total(rows.iter().filter(|row| row.provider.is_none())),
        archived: total(rows.iter().filter(|row| is_archived(row, request.active))),
        trash: in_trash(store, request.folder).await?,
        in_flight: in_flight(store, request).await?,
        timestamp: request.now,
        cached: false,
    })
}

fn is_archived(row: &UsageRow, active: &str) -> bool {
    row.provider.as_ref().is_some_and(|provider| provider != active)
}

async fn in_trash(store: &dyn JournalReader, folder: Option<&str>) -> metadata::Result<Tally> {
    let mut held = store.trash_usage().await?;
    held.retain(|row| folder.is_none() || row.folder.as_deref() == folder);
    Ok(held.iter().fold(Tally::default(), |mut sum, row| {
        sum.add(row.files, row.bytes);
        sum
    }))
}

async fn in_flight(store: &dyn JournalReader, request: &UsageRequest<'_>) -> metadata::Result<Tally> {
    let mut sum = Tally::default();
    for intent in store.intents().await? {
        let asked = request.folder.is_none() || intent.folder() == request.folder;
        if asked && !is_dead(&intent, request.now) {
            sum.add(1, intent.size);
        }
    }
    Ok(sum)
}

async fn counted(
    store: &dyn JournalReader,
    request: &UsageRequest<'_>,
    breakdown: Breakdown,
    dimension: UsageDimension,
) -> metadata::Result<Option<Tallies>> {
    if !request.by.contains(&breakdown) {
        return Ok(None);
    }
    let rows = store.usage_by(dimension, request.folder).await?;
    let tallies = rows
        .into_iter()
        .map(|(name, files, bytes)| (name, Tally { files, bytes }));
    Ok(Some(tallies.collect()))
}

fn total<'a>(rows: impl IntoIterator<Item = &'a UsageRow>) -> Tally {
    rows.into_iter().fold(Tally::default(), |mut sum, row| {
        sum.add(row.files, row.bytes);
        sum
    })
}

fn tallies<'a>(rows: &'a [UsageRow], name: impl Fn(&'a UsageRow) -> Option<&'a String>) -> Tallies {
    let mut tallies = Tallies::new();
    for row in rows {
        if let Some(name) = name(row) {
            tallies.entry(name.clone()).or_default().add(row.files, row.bytes);
        }
    }
    tallies
}
