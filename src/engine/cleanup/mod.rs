//! Cleanup: drift between providers and database, found in both directions.
//!
//! A run compares each provider's listing with the records that name it, as two streams merged by key. Memory
//! does not grow with the number of files. A provider whose listing or whose questions failed is `complete:
//! false`, and nothing is claimed of it. Comparing only finds; what was found is done by [`prepare`] and
//! [`Prepared::apply`], and by nothing else here.

mod apply;
mod caps;
mod classify;
mod compare;
mod elsewhere;
mod explain;
mod finding;
mod multipart;
mod ordered;
pub mod plan;
mod records;
mod report;
mod rules;
mod scan;
mod settle;
pub(super) mod under_way;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use self::classify::Classifier;
use self::multipart::Unfinished;
use self::ordered::Order;
use self::scan::{Scan, Scanner};
use self::settle::{Settled, settle};
use super::marker::Claim;
use super::{Clock, Progress};
use crate::metadata::journal::JournalReader;
use crate::metadata::{MetadataError, MetadataStore, ScanScope};
use crate::providers::{Key, Provider, ProviderError};

pub use apply::{ApplyError, ApplyRequest, End, Prepared, RULES, Refusal, prepare, refusals};
pub use caps::{Caps, Wanted};
pub use explain::{Explanation, Step, Subject, explain};
pub use finding::{
    Findings, ItemError, Kind, LoneSidecar, Mismatch, Misplaced, OrphanedObject, OrphanedRecord, StaleUpload,
    Stray, Unmapped,
};
pub use report::{
    Cleaned, CleanupReport, Counts, ErrorCount, ErrorSummary, Mode, ProviderScan, Skipped, Warning,
};

/// Above this many records a listing that can be split is read in parallel.
const SPLIT_ABOVE: u64 = 20_000;
/// Keys per part of a split listing: few enough to read ahead, many enough that the ends cost little.
const KEYS_PER_PART: u64 = 5_000;

/// What an operation works with.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    pub metadata: &'a dyn JournalReader,
    pub clock: &'a dyn Clock,
    pub progress: &'a dyn Progress,
}

/// What to compare, and how to judge it.
#[derive(Debug, Clone)]
pub struct CleanupRequest {
    pub run_id: String,
    /// The providers to look at.
    pub providers: Vec<Arc<Provider>>,
    /// Every enabled provider, looked at or not: the bytes of a record may lie on any of them.
    pub enabled: Vec<Arc<Provider>>,
    /// Enabled providers that this version cannot reach, and why: only `providers` has to be reached.
    pub unreachable: Vec<(String, String)>,
    /// Roots of every configured provider, looked at or not: a record under none of them is unmapped.
    pub all_roots: Vec<String>,
    /// Names of the folders of storage.yml.
    pub folders: HashSet<String>,
    /// Only this folder, on both sides.
    pub folder: Option<String>,
    /// Which findings are wanted item by item; all are counted.
    pub kinds: Vec<Kind>,
    pub min_age: Duration,
    /// How much may go from one provider.
    pub caps: Caps,
    /// Who asks; a provider's marker may name somebody else.
    pub claim: Claim,
}

/// Why a provider's comparison could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] std::io::Error),
    #[error("{provider}: the listing left out {key}, which exists: it cannot be believed about the rest")]
    ListingMissed { provider: String, key: String },
    /// Keys came out of byte order: read again, sorted.
    #[error("the listing is not in byte order")]
    Unordered,
}

/// A finished run: the summary, the items, and why some provider is not in it.
#[derive(Debug)]
pub struct Cleanup {
    pub report: CleanupReport,
    pub findings: Findings,
    pub failures: Vec<ScanFailure>,
    /// What of it a real run would change, per provider in the report's order.
    pub wanted: Vec<Wanted>,
}

/// A provider that could not be compared.
#[derive(Debug)]
pub struct ScanFailure {
    pub provider: String,
    pub error: ScanError,
}

/// Compares and reports. Changes nothing anywhere.
///
/// # Errors
/// Where the database or the temporary directory fails for the run as a whole. A failing provider is reported in
/// [`Cleanup::failures`].
///
/// # Cancellation
/// Dropping the future stops every request; there is nothing to undo.
pub async fn run(desk: Desk<'_>, request: &CleanupRequest) -> Result<Cleanup, ScanError> {
    let mut known = desk.metadata.folders().await?;
    known.extend(request.folders.iter().cloned());
    let mut run = Run::new(request);
    let mut scans = Vec::new();
    for provider in &request.providers {
        desk.progress.start(&format!("Comparing {}", provider.name), None);
        match compare(desk, request, provider, &known).await {
            Ok((scan, warnings, unfinished)) => {
                run.take(&scan, warnings)?;
                run.report.counts.add(&unfinished.counts);
                run.findings.append(&unfinished.findings)?;
                scans.push(scan);
            }
            Err(error) => run.fail(&provider.name, error),
        }
        desk.progress.finish();
    }
    let elsewhere = elsewhere::look(desk, request, &scans).await?;
    let CleanupReport { counts, warnings, .. } = &mut run.report;
    warnings.extend(elsewhere.warnings);
    settle(
        &scans,
        &elsewhere.objects,
        &mut Settled {
            kinds: &request.kinds,
            findings: &mut run.findings,
            counts,
        },
    )?;
    run.count_unmapped(desk).await?;
    let mut cleanup = Cleanup {
        wanted: Vec::new(),
        report: run.report,
        findings: run.findings,
        failures: run.failures,
    };
    cleanup.judge_caps(request.caps)?;
    Ok(cleanup)
}

impl Cleanup {
    /// Counts what would be changed, and warns where that is more than may be.
    fn judge_caps(&mut self, caps: Caps) -> std::io::Result<()> {
        self.wanted = caps::wanted(&self.report.providers, &self.findings)?;
        self.report.warnings.retain(|warning| warning.rule != caps::RULE);
        let over = caps::warnings(caps, &self.report.providers, &self.wanted);
        self.report.warnings.extend(over);
        Ok(())
    }
}

/// One provider, in the order it lists; sorted, where that is not by bytes.
async fn compare(
    desk: Desk<'_>,
    request: &CleanupRequest,
    provider: &Provider,
    known: &HashSet<String>,
) -> Result<(Scan, Vec<Warning>, Unfinished), ScanError> {
    let probe = provider.probe().await?;
    let split_at = split_points(desk.metadata, provider).await?;
    let scanner = || Scanner::new(&desk, request, (provider, probe), Classifier::new(known.clone()));
    let scan = match scanner().run(Order::AsListed, split_at.clone()).await {
        Err(ScanError::Unordered) => {
            tracing::info!(
                provider = provider.name,
                "listing is not in byte order: sorting it out of core"
            );
            scanner().run(Order::Sorted, split_at).await?
        }
        other => other?,
    };
    let warnings = rules::warnings(desk, request, (provider, probe), &scan).await?;
    let unfinished = multipart::look(desk, request, (provider, probe.now), known).await?;
    Ok((scan, warnings, unfinished))
}

/// Where the records say that a long listing may be split.
async fn split_points(store: &dyn MetadataStore, provider: &Provider) -> Result<Vec<Key>, MetadataError> {
    const SAMPLES: u64 = 4_000;
    if provider.type_name == "local" {
        return Ok(Vec::new());
    }
    let root = &provider.mapping.roots()[0];
    let roots = crate::metadata::ProviderRoots {
        provider: provider.name.clone(),
        roots: provider.mapping.roots().to_vec(),
    };
    let usage = store.usage(&[roots]).await?;
    let records: u64 = usage
        .iter()
        .filter(|row| row.provider.is_some())
        .map(|row| row.files)
        .sum();
    if records < SPLIT_ABOVE {
        return Ok(Vec::new());
    }
    let sample = store.sample_paths(root, SAMPLES).await?;
    let parts = usize::try_from(records / KEYS_PER_PART)
        .unwrap_or(usize::MAX)
        .min(sample.len());
    let at = |part: usize| provider.mapping.key_of(&sample[part * sample.len() / parts]);
    let mut keys: Vec<Key> = (1..parts).filter_map(at).collect();
    keys.dedup();
    Ok(keys)
}

/// A run's report as it fills.
struct Run<'a> {
    request: &'a CleanupRequest,
    report: CleanupReport,
    findings: Findings,
    failures: Vec<ScanFailure>,
}

impl<'a> Run<'a> {
    fn new(request: &'a CleanupRequest) -> Self {
        let report = CleanupReport {
            run_id: request.run_id.clone(),
            mode: Mode::DryRun,
            providers: Vec::new(),
            counts: Counts::default(),
            bytes_reclaimable: 0,
            cleaned: Cleaned::default(),
            repaired: None,
            skipped: None,
            taken_over: Vec::new(),
            error_summary: ErrorSummary::default(),
            warnings: Vec::new(),
        };
        Self {
            request,
            report,
            findings: Findings::default(),
            failures: Vec::new(),
        }
    }

    fn take(&mut self, scan: &Scan, warnings: Vec<Warning>) -> std::io::Result<()> {
        self.report.providers.push(scan.provider.clone());
        self.report.counts.add(&scan.counts);
        self.report.bytes_reclaimable = self
            .report
            .bytes_reclaimable
            .saturating_add(scan.bytes_reclaimable);
        self.report.error_summary.merge(scan.errors.clone());
        self.report.warnings.extend(warnings);
        self.findings.append(&scan.findings)
    }

    fn fail(&mut self, provider: &str, error: ScanError) {
        self.report.providers.push(ProviderScan::incomplete(provider));
        self.failures.push(ScanFailure {
            provider: provider.to_owned(),
            error,
        });
    }

    async fn count_unmapped(&mut self, desk: Desk<'_>) -> Result<(), ScanError> {
        let mut outside = desk
            .metadata
            .scan(ScanScope::Outside(self.request.all_roots.clone()));
        while let Some(record) = outside.next().await.transpose()? {
            if self
                .request
                .folder
                .as_ref()
                .is_some_and(|folder| *folder != record.folder)
            {
                continue;
            }
            self.report.counts.unmapped_records += 1;
            if self.request.kinds.contains(&Kind::Unmapped) {
                self.findings.push(Kind::Unmapped, &Unmapped::from(&record))?;
            }
        }
        Ok(())
    }
}
