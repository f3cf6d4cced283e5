//! All records, read once, each with the verdict of the policies. Memory does not grow with their number: what is to be
//! done is kept out of core, and warnings are asked for some records at a time.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::LifecycleRequest;
use super::policy::{Decision, Policy, Rule, SKEW, Subject, Verdict, decide};
use super::report::{Counts, Item, Items, Kind, Leaving, LifecycleReport, Mode, Tally};
use crate::engine::Progress;
use crate::engine::changes::failed;
use crate::engine::cleanup::{ApplyError, ErrorSummary, ItemError};
use crate::engine::list::owner;
use crate::metadata::journal::{JournalReader, ServedWarning};
use crate::metadata::{FileRecord, ProviderRoots, ScanScope, ScannedRecord, Stamp};

/// Records whose warnings are asked for at once.
const BATCH: usize = 256;

/// What the policies say of everything.
#[derive(Debug)]
pub struct View {
    pub report: LifecycleReport,
    pub items: Items,
    /// Every configured provider.
    pub leaving: Vec<Leaving>,
}

/// Reads all records and judges them; changes nothing anywhere.
///
/// # Errors
/// Where the database or the temporary directory fails: then nothing is claimed of any file.
///
/// # Cancellation
/// Dropping the future ends it; there is nothing to undo.
pub async fn view(
    store: &dyn JournalReader,
    roots: &[ProviderRoots],
    request: &LifecycleRequest,
    progress: &dyn Progress,
) -> Result<View, ApplyError> {
    let mut looker = Looker::new(roots, request);
    progress.start("Judging", None);
    let mut records = store.scan(ScanScope::Outside(Vec::new())).ready_chunks(BATCH);
    let mut done = 0;
    while let Some(batch) = records.next().await {
        let batch: Vec<ScannedRecord> = batch.into_iter().collect::<Result<_, _>>()?;
        let served = served(store, &request.policies, &batch).await?;
        for record in &batch {
            let warnings = served.get(&record.id).map_or(&[][..], Vec::as_slice);
            looker.take(record, warnings)?;
        }
        done += batch.len() as u64;
        progress.advance(done, &"records");
    }
    progress.finish();
    Ok(looker.view)
}

/// The warnings that stand of those records that any policy could have warned of.
async fn served(
    store: &dyn JournalReader,
    policies: &[Policy],
    records: &[ScannedRecord],
) -> Result<HashMap<String, Vec<ServedWarning>>, ApplyError> {
    let warning: Vec<&Policy> = policies.iter().filter(|policy| policy.warns()).collect();
    let asked = records
        .iter()
        .filter(|record| warning.iter().any(|policy| policy.covers(&scanned(record, None))));
    let ids: Vec<String> = asked.map(|record| record.id.clone()).collect();
    by_file(store, &ids).await
}

/// The warnings that stand of these files.
pub(super) async fn by_file(
    store: &dyn JournalReader,
    ids: &[String],
) -> Result<HashMap<String, Vec<ServedWarning>>, ApplyError> {
    let mut found: HashMap<String, Vec<ServedWarning>> = HashMap::new();
    if !ids.is_empty() {
        for warning in store.warnings(ids).await? {
            found.entry(warning.file_id.clone()).or_default().push(warning);
        }
    }
    Ok(found)
}

fn scanned<'a>(record: &'a ScannedRecord, provider: Option<&'a str>) -> Subject<'a> {
    Subject {
        original_name: &record.original_name,
        folder: &record.folder,
        size: record.size,
        created: record.created_at.time(),
        provider,
    }
}

/// A row as the policies look at it.
pub(super) fn subject<'a>(record: &'a FileRecord, provider: Option<&'a str>) -> Subject<'a> {
    Subject {
        original_name: &record.original_name,
        folder: &record.folder,
        size: record.size,
        created: record.created_at.time(),
        provider,
    }
}

struct Looker<'a> {
    roots: &'a [ProviderRoots],
    request: &'a LifecycleRequest,
    view: View,
}

impl<'a> Looker<'a> {
    fn new(roots: &'a [ProviderRoots], request: &'a LifecycleRequest) -> Self {
        let report = LifecycleReport {
            run_id: request.run_id.clone(),
            mode: Mode::Check,
            as_of: request.as_of,
            policies: request.policies.iter().map(Tally::of).collect(),
            counts: Counts::default(),
            done: Counts::default(),
            waiting: 0,
            skipped: 0,
            failed: 0,
            error_summary: ErrorSummary::default(),
            warnings: Vec::new(),
            notices: Vec::new(),
            taken_over: Vec::new(),
        };
        let leaving = roots.iter().map(|site| Leaving {
            provider: site.provider.clone(),
            ..Leaving::default()
        });
        Self {
            roots,
            request,
            view: View {
                report,
                items: Items::default(),
                leaving: leaving.collect(),
            },
        }
    }

    fn take(&mut self, record: &ScannedRecord, served: &[ServedWarning]) -> std::io::Result<()> {
        let provider = owner(&record.provider_path, self.roots);
        if let Some(leaving) = self.leaving(provider) {
            leaving.held += 1;
        }
        if self
            .request
            .folder
            .as_ref()
            .is_some_and(|folder| *folder != record.folder)
        {
            return Ok(());
        }
        let subject = scanned(record, provider);
        let Decision { verdict, matched } =
            decide(&self.request.policies, &subject, served, self.request.as_of);
        for at in matched {
            let tally = &mut self.view.report.policies[at];
            tally.matched += 1;
            tally.bytes = tally
                .bytes
                .saturating_add(u64::try_from(record.size).unwrap_or(0));
        }
        match verdict {
            Verdict::Nothing => Ok(()),
            Verdict::Wait { policy, .. } => {
                self.view.report.waiting += u64::from(self.wants(policy));
                Ok(())
            }
            Verdict::Undated { policy } => self.undated(record, policy),
            Verdict::Retain { policy, until } => {
                let reason = held(until, subject.created.is_some());
                self.act(record, provider, (policy, Kind::Retain, reason))
            }
            Verdict::Warn(unsent) => unsent.into_iter().try_for_each(|(policy, told)| {
                let reason = self.warned(policy, told);
                self.act(record, provider, (policy, Kind::Warn, reason))
            }),
            Verdict::Archive { policy } => {
                let reason = self.archived(policy);
                self.act(record, provider, (policy, Kind::Archive, reason))
            }
            Verdict::Delete { policy } => {
                let reason = format!("its age has reached max_age of {}", self.name(policy));
                self.act(record, provider, (policy, Kind::Delete, reason))
            }
        }
    }

    fn act(
        &mut self,
        record: &ScannedRecord,
        provider: Option<&str>,
        (policy, action, reason): (usize, Kind, String),
    ) -> std::io::Result<()> {
        if !self.wants(policy) {
            return Ok(());
        }
        if provider.is_none() && action != Kind::Retain {
            let path = &record.provider_path;
            let reason = format!("no configured provider matches its path {path}; it is left alone");
            return self.fail(&failed(&record.id, "STORAGE_CONFIGURATION_ERROR", &reason));
        }
        let item = Item {
            id: record.id.clone(),
            original_name: record.original_name.clone(),
            folder: record.folder.clone(),
            provider: provider.map(str::to_owned),
            policy: self.name(policy).to_owned(),
            action,
            reason,
            age_days: record
                .created_at
                .time()
                .map(|at| (self.request.as_of - at).num_days()),
            size: record.size,
        };
        *self.view.report.counts.of(action) += 1;
        self.count(provider, (policy, action), record.size);
        self.view.items.push(&item)
    }

    fn count(&mut self, provider: Option<&str>, (policy, action): (usize, Kind), size: i64) {
        let bytes = u64::try_from(size).unwrap_or(0);
        let to = match &self.request.policies[policy].rule {
            Rule::Archive { target, .. } if action == Kind::Archive => target.provider.clone(),
            _ => None,
        };
        if let Some(leaving) = self.leaving(provider) {
            match action {
                Kind::Delete => leaving.deletions += 1,
                Kind::Archive => leaving.archivals += 1,
                Kind::Warn => leaving.warnings += 1,
                Kind::Retain => {}
            }
            if matches!(action, Kind::Delete | Kind::Archive) {
                leaving.bytes = leaving.bytes.saturating_add(bytes);
            }
        }
        if let Some(target) = self.leaving(to.as_deref()) {
            target.arrivals += 1;
        }
    }

    /// A date that cannot be read, or of the future by the clock that counts: told, and never acted on.
    fn undated(&mut self, record: &ScannedRecord, policy: usize) -> std::io::Result<()> {
        let why = match (&record.created_at, record.created_at.time()) {
            (_, Some(at)) if at <= self.request.clock + SKEW => return Ok(()),
            (_, Some(at)) => format!("it says that it was made in the future, at {}", day(at)),
            (Stamp::Unreadable(Some(text)), _) => {
                format!("`{text}`, as which it says that it was made, is no time")
            }
            _ => "it does not say when it was made".to_owned(),
        };
        if !self.wants(policy) {
            return Ok(());
        }
        let reason = format!("{why}; {} leaves it alone", self.name(policy));
        self.fail(&failed(&record.id, "STORAGE_VALIDATION_ERROR", &reason))
    }

    fn fail(&mut self, error: &ItemError) -> std::io::Result<()> {
        self.view.report.error_summary.add(error);
        self.view.items.fail(error)
    }

    fn leaving(&mut self, provider: Option<&str>) -> Option<&mut Leaving> {
        let all = &mut self.view.leaving;
        provider.and_then(|name| all.iter_mut().find(|leaving| leaving.provider == name))
    }

    /// Whether what the policy does was asked for; what it protects, it protects in any case.
    fn wants(&self, policy: usize) -> bool {
        let only = self.request.only.as_deref();
        only.is_none_or(|name| name == self.name(policy))
    }

    fn name(&self, policy: usize) -> &str {
        &self.request.policies[policy].name
    }

    fn archived(&self, policy: usize) -> String {
        let policy = &self.request.policies[policy];
        match &policy.rule {
            Rule::Archive { target, .. } => {
                format!(
                    "its age has reached max_age of {}; it goes to {target}",
                    policy.name
                )
            }
            _ => String::new(),
        }
    }

    fn warned(&self, policy: usize, told: DateTime<Utc>) -> String {
        let policy = &self.request.policies[policy];
        match policy.rule {
            Rule::Warn { .. } => format!(
                "its age has reached max_age of {}, and nobody was told yet",
                policy.name
            ),
            _ => format!(
                "{} is to {} it on {}, and nobody was warned yet",
                policy.name,
                policy.action(),
                day(told)
            ),
        }
    }
}

fn held(until: Option<DateTime<Utc>>, dated: bool) -> String {
    match until {
        Some(until) => format!("held until {}", day(until)),
        None if dated => "held for good".to_owned(),
        None => "held, since nobody knows its age".to_owned(),
    }
}

/// To the day and minute, in UTC.
pub(super) fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}
