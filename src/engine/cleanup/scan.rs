//! One provider against its records: the comparison, and the questions each finding has to survive.
//!
//! Nothing here deletes. What is found stays in [`Scan`] until the listing has reached its end; a scan that fails
//! takes its findings with it, so that nothing is ever claimed on half a view.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};

use super::classify::{Class, Classifier};
use super::compare::{MergeJoin, Pair};
use super::finding::{
    Findings, ItemError, Kind, LoneSidecar, Mismatch, Misplaced, OrphanedObject, OrphanedRecord, Stray,
    Unmapped, stamp_text,
};
use super::ordered::{Order, OrderedListing};
use super::records::{KeyedRecord, RecordMerge};
use super::report::{Counts, ErrorSummary, ProviderScan};
use super::under_way::UnderWay;
use super::{CleanupRequest, Desk, ScanError};
use crate::metadata::ScannedRecord;
use crate::providers::{
    EntryKind, Key, ListRequest, Listed, Probe, Provider, ProviderError, SIDECAR_SUFFIX, uuids_in,
};

/// Ids asked of the database at once.
const ID_BATCH: usize = 500;
/// Records asked of the provider at once, and how many of those requests are in flight.
const HEAD_BATCH: usize = 256;
const HEADS_IN_FLIGHT: usize = 16;

/// What one provider's comparison came to.
#[derive(Debug)]
pub struct Scan {
    pub provider: ProviderScan,
    pub counts: Counts,
    pub bytes_reclaimable: u64,
    pub findings: Findings,
    /// Misplaced objects and orphaned records, which only the end of all scans can settle.
    pub pending: Findings,
    pub errors: ErrorSummary,
    /// Objects whose key has the shape this system gives.
    pub shaped: u64,
    /// Of these, those that carry the id of a record which names another place.
    pub elsewhere: u64,
    /// When the newest record seen was made, by its own word.
    pub newest_record: Option<DateTime<Utc>>,
    /// For each folder that records name, whether anything of ours was in it.
    pub folders: BTreeMap<String, FolderView>,
}

/// What stood in one folder of one provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct FolderView {
    pub objects: u64,
    pub records: u64,
}

impl Scan {
    fn new(provider: &str) -> Self {
        Self {
            provider: ProviderScan::incomplete(provider),
            counts: Counts::default(),
            bytes_reclaimable: 0,
            findings: Findings::default(),
            pending: Findings::default(),
            errors: ErrorSummary::default(),
            shaped: 0,
            elsewhere: 0,
            newest_record: None,
            folders: BTreeMap::new(),
        }
    }
}

/// An object that no record names, until the database was asked whose UUIDs its key carries.
struct Unnamed {
    object: Listed,
    ids: Vec<String>,
    /// Of this system's shape, in a folder it knows.
    shaped: bool,
}

/// A comparison under way.
pub struct Scanner<'a> {
    desk: &'a Desk<'a>,
    request: &'a CleanupRequest,
    provider: &'a Provider,
    probe: Probe,
    classifier: Classifier,
    objects: Vec<Unnamed>,
    sidecars: Vec<Listed>,
    records: Vec<KeyedRecord>,
    scan: Scan,
}

impl<'a> Scanner<'a> {
    pub fn new(
        desk: &'a Desk<'a>,
        request: &'a CleanupRequest,
        (provider, probe): (&'a Provider, Probe),
        classifier: Classifier,
    ) -> Self {
        Self {
            desk,
            request,
            provider,
            probe,
            classifier,
            objects: Vec::new(),
            sidecars: Vec::new(),
            records: Vec::new(),
            scan: Scan::new(&provider.name),
        }
    }

    /// Runs the comparison to its end.
    ///
    /// # Errors
    /// Any error of the listing or the database, and [`ScanError::Unordered`] where `order` was
    /// [`Order::AsListed`] and the provider's order is another. No finding survives an error.
    pub async fn run(mut self, order: Order, split_at: Vec<Key>) -> Result<Scan, ScanError> {
        let folder = self.request.folder.as_deref();
        let prefix = folder.map(|f| format!("{f}/")).unwrap_or_default();
        let records = RecordMerge::new(self.desk.metadata, &self.provider.mapping, folder);
        let list = ListRequest { prefix, split_at };
        let listing = OrderedListing::open(self.provider, list, order).await?;
        let mut join = MergeJoin::open(listing, records).await?;
        while let Some(pair) = join.next().await? {
            self.pair(pair).await?;
        }
        self.settle_objects().await?;
        self.settle_sidecars().await?;
        self.settle_records().await?;
        self.scan.provider.complete = true;
        Ok(self.scan)
    }

    fn count_record(&mut self, record: &ScannedRecord) {
        self.scan.provider.records_scanned += 1;
        self.scan.newest_record = self.scan.newest_record.max(record.created_at.time());
    }

    async fn pair(&mut self, pair: Pair) -> Result<(), ScanError> {
        match pair {
            Pair::Both { object, keyed, first } => {
                self.count_record(&keyed.record);
                if let Some(folder) = self.folder_of(&keyed.key) {
                    folder.records += 1;
                    folder.objects += 1;
                }
                if first {
                    self.count_object(&object);
                    self.classifier.saw(&object.key);
                    self.scan.shaped += 1;
                }
                self.both(&object, &keyed.record)
            }
            Pair::ObjectOnly(object) => {
                let class = self.classifier.class(&object);
                // Sidecars and this program's own are parts of something, not objects that somebody stored.
                if matches!(class, Class::Foreign | Class::Candidate) {
                    self.count_object(&object);
                }
                self.classifier.saw(&object.key);
                self.object_only(class, object).await
            }
            Pair::RecordOnly(keyed) => {
                self.count_record(&keyed.record);
                if let Some(folder) = self.folder_of(&keyed.key) {
                    folder.records += 1;
                }
                self.record_only(keyed).await
            }
            Pair::Unaddressable(record) => {
                self.count_record(&record);
                self.scan.counts.unmapped_records += 1;
                self.report(Kind::Unmapped, &Unmapped::from(&record))
            }
        }
    }

    /// The count of the folder that a key is in, if it is one that is known: no more are kept than there are.
    fn folder_of(&mut self, key: &Key) -> Option<&mut FolderView> {
        let (folder, _) = key.as_str()?.rsplit_once('/')?;
        if !self.scan.folders.contains_key(folder) {
            if !self.classifier.knows(folder) {
                return None;
            }
            self.scan.folders.insert(folder.to_owned(), FolderView::default());
        }
        self.scan.folders.get_mut(folder)
    }

    fn count_object(&mut self, object: &Listed) {
        self.scan.provider.objects_scanned += 1;
        self.desk
            .progress
            .advance(self.scan.provider.objects_scanned, &object.key);
    }

    fn both(&mut self, object: &Listed, record: &ScannedRecord) -> Result<(), ScanError> {
        if object.kind == EntryKind::Special {
            let why = "a record names it, but it is not a regular file";
            return self.fail(&object.key.to_string(), why, "STORAGE_VALIDATION_ERROR");
        }
        // A negative recorded size is as wrong as any other.
        if u64::try_from(record.size) == Ok(object.size) {
            return Ok(());
        }
        if self.is_newer_than_run(object) {
            self.scan.counts.too_recent += 1;
            return Ok(());
        }
        self.scan.counts.mismatches += 1;
        let finding = Mismatch {
            id: record.id.clone(),
            path: record.provider_path.clone(),
            recorded_size: record.size,
            actual_size: object.size,
            provider: self.provider.name.clone(),
            original_name: record.original_name.clone(),
        };
        self.report(Kind::Mismatches, &finding)
    }

    async fn object_only(&mut self, class: Class, object: Listed) -> Result<(), ScanError> {
        match class {
            Class::Reserved | Class::Sidecar { alone: false } => {}
            Class::Sidecar { alone: true } => self.lone_sidecar(object).await?,
            Class::Foreign => self.unnamed(object, false).await?,
            Class::Candidate => {
                self.scan.shaped += 1;
                if let Some(folder) = self.folder_of(&object.key) {
                    folder.objects += 1;
                }
                self.unnamed(object, true).await?;
            }
        }
        Ok(())
    }

    async fn unnamed(&mut self, object: Listed, shaped: bool) -> Result<(), ScanError> {
        let ids = uuids_of(&object);
        if ids.is_empty() {
            return self.foreign(&object);
        }
        self.objects.push(Unnamed { object, ids, shaped });
        if self.objects.len() >= ID_BATCH {
            self.settle_objects().await?;
        }
        Ok(())
    }

    async fn lone_sidecar(&mut self, sidecar: Listed) -> Result<(), ScanError> {
        self.scan.counts.sidecars_without_object += 1;
        if self.request.kinds.contains(&Kind::Sidecars) {
            self.sidecars.push(sidecar);
            if self.sidecars.len() >= ID_BATCH {
                self.settle_sidecars().await?;
            }
        }
        Ok(())
    }

    /// Whether a record has the UUID of each sidecar gathered.
    async fn settle_sidecars(&mut self) -> Result<(), ScanError> {
        let batch = std::mem::take(&mut self.sidecars);
        let ids = |sidecar: &Listed| uuids_in(sidecar.key.as_bytes());
        let all: Vec<String> = batch.iter().flat_map(ids).collect();
        if all.is_empty() {
            return Ok(());
        }
        let known = self.desk.metadata.known_ids(&all).await?;
        for sidecar in batch {
            let finding = LoneSidecar {
                provider: self.provider.name.clone(),
                key: sidecar.key.to_string(),
                size: sidecar.size,
                last_modified: sidecar.last_modified,
                etag: sidecar.etag.clone(),
                too_recent: self.is_young(self.probe.now, Some(sidecar.last_modified)),
                has_record: ids(&sidecar).iter().any(|id| known.contains(id)),
            };
            self.report(Kind::Sidecars, &finding)?;
        }
        Ok(())
    }

    fn foreign(&mut self, object: &Listed) -> Result<(), ScanError> {
        self.scan.counts.foreign += 1;
        self.report(Kind::Foreign, &self.stray(object))
    }

    /// Rules 3 and 5 for the objects gathered: whose UUID a record has is misplaced, what is young is left alone.
    async fn settle_objects(&mut self) -> Result<(), ScanError> {
        let batch = std::mem::take(&mut self.objects);
        if batch.is_empty() {
            return Ok(());
        }
        // Work before records: an upload that ends in between then shows as one or the other.
        let under_way = UnderWay::of_the_living(self.desk.metadata, self.desk.clock.now()).await?;
        let ids: Vec<String> = batch.iter().flat_map(|unnamed| unnamed.ids.clone()).collect();
        let known = self.desk.metadata.known_ids(&ids).await?;
        for Unnamed { object, ids, shaped } in batch {
            if under_way.contains(&self.provider.name, &ids, &object.key) {
                self.scan.counts.in_flight += 1;
            } else if let Some(id) = ids.into_iter().find(|id| known.contains(id)) {
                if self.is_newer_than_run(&object) {
                    self.scan.counts.too_recent += 1;
                    continue;
                }
                self.scan.elsewhere += u64::from(shaped);
                let finding = Misplaced::new(&self.provider.name, &object, id);
                self.scan.pending.push(Kind::Misplaced, &finding)?;
            } else if !shaped {
                self.foreign(&object)?;
            } else if self.is_young(self.probe.now, Some(object.last_modified)) {
                self.scan.counts.too_recent += 1;
            } else {
                self.orphaned_object(&object)?;
            }
        }
        Ok(())
    }

    /// Written since the run began: the rows were read before it, so the two are not of one moment. A `Date` header
    /// drops what is below a second.
    fn is_newer_than_run(&self, object: &Listed) -> bool {
        object.last_modified > self.probe.now + TimeDelta::seconds(1)
    }

    fn orphaned_object(&mut self, object: &Listed) -> Result<(), ScanError> {
        self.scan.counts.orphaned_objects += 1;
        self.scan.bytes_reclaimable = self.scan.bytes_reclaimable.saturating_add(object.size);
        let finding = OrphanedObject {
            provider: self.provider.name.clone(),
            key: object.key.to_string(),
            path: self.provider.mapping.path_of(&object.key).unwrap_or_default(),
            size: object.size,
            last_modified: object.last_modified,
            etag: object.etag.clone(),
        };
        self.report(Kind::OrphanedObjects, &finding)
    }

    async fn record_only(&mut self, keyed: KeyedRecord) -> Result<(), ScanError> {
        if self.is_young(self.desk.clock.now(), keyed.record.created_at.time()) {
            self.scan.counts.too_recent += 1;
            return Ok(());
        }
        self.records.push(keyed);
        if self.records.len() >= HEAD_BATCH {
            self.settle_records().await?;
        }
        Ok(())
    }

    /// Rule 6 for the records gathered: the provider must say of each that its object is not there, and the
    /// record must still be there after it said so.
    async fn settle_records(&mut self) -> Result<(), ScanError> {
        let batch = std::mem::take(&mut self.records);
        if batch.is_empty() {
            return Ok(());
        }
        let provider = self.provider;
        let mut answers = stream::iter(batch)
            .map(|keyed| async move { (provider.head(&keyed.key).await, keyed) })
            .buffered(HEADS_IN_FLIGHT);
        let mut gone = Vec::new();
        while let Some((answer, keyed)) = answers.next().await {
            if self.is_gone(answer, &keyed)? {
                gone.push(keyed.record);
            }
        }
        drop(answers);
        let ids: Vec<String> = gone.iter().map(|record| record.id.clone()).collect();
        let still = self.desk.metadata.known_ids(&ids).await?;
        for record in gone
            .iter()
            .filter(|record| still.contains(&record.id.to_lowercase()))
        {
            let finding = orphaned_record(&self.provider.name, record);
            self.scan.pending.push(Kind::OrphanedRecords, &finding)?;
        }
        Ok(())
    }

    /// Whether the provider said that a record's object does not exist.
    ///
    /// # Errors
    /// Where the provider cannot be reached, and where the object exists and is so old that the listing should
    /// have shown it: then the listing is not to be believed about anything.
    fn is_gone(
        &mut self,
        answer: Result<Option<Listed>, ProviderError>,
        keyed: &KeyedRecord,
    ) -> Result<bool, ScanError> {
        match answer {
            Ok(None) => Ok(true),
            Ok(Some(object)) if object.last_modified < self.probe.now - TimeDelta::minutes(5) => {
                Err(ScanError::ListingMissed {
                    provider: self.provider.name.clone(),
                    key: keyed.key.to_string(),
                })
            }
            // It came while we listed.
            Ok(Some(_)) => Ok(false),
            Err(error @ (ProviderError::Denied { .. } | ProviderError::Invalid { .. })) => {
                let denied = matches!(error, ProviderError::Denied { .. });
                let code = if denied {
                    "STORAGE_ERROR"
                } else {
                    "STORAGE_VALIDATION_ERROR"
                };
                self.fail(&keyed.record.provider_path, &error.to_string(), code)?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Rule 5. An age that nobody can tell is young, unless age was waived.
    fn is_young(&self, now: DateTime<Utc>, since: Option<DateTime<Utc>>) -> bool {
        younger_than(self.request.min_age, now, since)
    }

    fn stray(&self, object: &Listed) -> Stray {
        Stray {
            provider: self.provider.name.clone(),
            key: object.key.to_string(),
            size: object.size,
        }
    }

    fn report(&mut self, kind: Kind, finding: &impl serde::Serialize) -> Result<(), ScanError> {
        if self.request.kinds.contains(&kind) {
            self.scan.findings.push(kind, finding)?;
        }
        Ok(())
    }

    fn fail(&mut self, file: &str, why: &str, code: &str) -> Result<(), ScanError> {
        let error = ItemError {
            file: file.to_owned(),
            error: why.to_owned(),
            error_code: code.to_owned(),
            details: None,
        };
        self.scan.errors.add(&error);
        Ok(self.scan.findings.push(Kind::Errors, &error)?)
    }
}

/// The UUIDs that an object's key carries. A symlink or a device holds nobody's bytes, whatever it is called, and
/// nor does a sidecar.
pub fn uuids_of(object: &Listed) -> Vec<String> {
    let key = object.key.as_bytes();
    if object.kind == EntryKind::Special || key.ends_with(SIDECAR_SUFFIX) {
        return Vec::new();
    }
    uuids_in(key)
}

/// Whether something that began at `since` is younger than `min_age` at `now`; unknown and future times are.
/// A minimum of zero waives the question.
pub fn younger_than(min_age: Duration, now: DateTime<Utc>, since: Option<DateTime<Utc>>) -> bool {
    if min_age.is_zero() {
        return false;
    }
    let age = since.and_then(|since| (now - since).to_std().ok());
    age.is_none_or(|age| age < min_age)
}

fn orphaned_record(provider: &str, record: &ScannedRecord) -> OrphanedRecord {
    OrphanedRecord {
        id: record.id.clone(),
        original_name: record.original_name.clone(),
        folder: record.folder.clone(),
        provider: provider.to_owned(),
        path: record.provider_path.clone(),
        size: record.size,
        created_at: stamp_text(&record.created_at),
        updated_at: stamp_text(&record.updated_at),
    }
}
