//! What is stored, counted from the records: files and bytes in all, and by folder, provider and more.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::metadata::{self, MetadataStore, ProviderRoots, UsageDimension, UsageRow};

/// A property to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub now: DateTime<Utc>,
}

/// Files and the bytes recorded of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    pub total: Tally,
    pub by_folder: Option<Tallies>,
    pub by_provider: Option<Tallies>,
    pub by_type: Option<Tallies>,
    pub by_month: Option<Tallies>,
    pub by_uploader: Option<Tallies>,
    /// Records under no configured provider.
    pub unmapped: Tally,
    pub timestamp: DateTime<Utc>,
}

/// Counts.
///
/// # Errors
/// Where the database cannot be read.
pub async fn usage(store: &dyn MetadataStore, request: &UsageRequest<'_>) -> metadata::Result<UsageReport> {
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
        timestamp: request.now,
    })
}

async fn counted(
    store: &dyn MetadataStore,
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
