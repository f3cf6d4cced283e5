//! What a deletion sees before it writes anything down: each record with its object, or that its provider does not answer.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::Lane;
use super::judged::whole;
use crate::engine::changes::{Sites, failed, failed_by};
use crate::engine::cleanup::ItemError;
use crate::engine::objects::{Survey, evidence_of};
use crate::metadata::FileRecord;
use crate::metadata::journal::Evidence;
use crate::providers::{EntryKind, Key, Provider, ProviderError};

/// What becomes of a deletion that nobody knows the end of.
pub(super) const LATER: &str = "and the next run that changes something brings this to its end";

/// A record with its object.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) record: FileRecord,
    pub(super) provider: Arc<Provider>,
    pub(super) key: Key,
    /// What was seen, or what the record says where nothing was looked at; `None` where the object is missing.
    pub(super) evidence: Option<Evidence>,
    pub(super) looked: bool,
    /// A listing showed it, and no sidecar beside it.
    pub(super) bare: bool,
    /// Why the object cannot go now, where its provider does not answer.
    pub(super) pending: Option<ItemError>,
}

impl Target {
    /// By its record alone.
    fn unseen(record: FileRecord, provider: Arc<Provider>, key: Key) -> Option<Self> {
        let size = u64::try_from(record.size).ok()?;
        Some(Self {
            record,
            provider,
            key,
            evidence: Some(Evidence {
                size,
                ..Evidence::default()
            }),
            looked: false,
            bare: false,
            pending: None,
        })
    }

    /// The same of one whose provider does not answer.
    fn pending(record: &FileRecord, (provider, key): (Arc<Provider>, Key), why: &ItemError) -> Option<Self> {
        let reason = format!("{}; its record is deleted, {LATER}", why.error);
        Some(Self {
            pending: Some(failed(&record.id, &why.error_code, &reason)),
            ..Self::unseen(record.clone(), provider, key)?
        })
    }
}

/// What is to go for good in bulk is not looked at one by one: its record alone decides. One look at each provider says
/// whether it answers; where it does not, its records are kept. Of everything else a listing tells what it shows, and the
/// rest is asked for.
pub(super) async fn look_all(lane: &Lane<'_>, batch: &[FileRecord]) -> Vec<Result<Target, ItemError>> {
    let mut answers = HashMap::new();
    for target in batch.iter().filter_map(|record| unseen(lane, record)) {
        if !answers.contains_key(&target.provider.name) {
            let answer = target.provider.head(&target.key).await;
            answers.insert(target.provider.name.clone(), answer.err());
        }
    }
    let surveys = surveys(lane, batch).await;
    let looks = stream::iter(batch).map(async |record| match unseen(lane, record) {
        None => {
            let looked = if let Some(target) = listed(lane, &surveys, record) {
                Ok(target)
            } else {
                let _permit = lane.permits.acquire().await;
                look(lane.sites, record.clone()).await
            };
            if lane.whole {
                looked.and_then(whole)
            } else {
                looked
            }
        }
        Some(target) => match answers.get(&target.provider.name) {
            Some(Some(error)) => unasked(record, (target.provider, target.key), error),
            _ => Ok(target),
        },
    });
    looks.buffered(batch.len().max(1)).collect().await
}

/// Of each provider that has something in the batch which is to be looked at.
async fn surveys(lane: &Lane<'_>, batch: &[FileRecord]) -> HashMap<String, Survey> {
    let mut places: HashMap<String, (Arc<Provider>, Vec<Key>)> = HashMap::new();
    for record in batch.iter().filter(|record| unseen(lane, record).is_none()) {
        if let Ok((provider, key)) = lane.sites.of_record(record) {
            let name = provider.name.clone();
            places.entry(name).or_insert((provider, Vec::new())).1.push(key);
        }
    }
    let mut surveys = HashMap::new();
    for (name, (provider, keys)) in places {
        surveys.insert(name, Survey::of(&provider, keys.iter()).await);
    }
    surveys
}

/// The record's object where a listing showed it.
fn listed(lane: &Lane<'_>, surveys: &HashMap<String, Survey>, record: &FileRecord) -> Option<Target> {
    let (provider, key) = lane.sites.of_record(record).ok()?;
    let survey = surveys.get(&provider.name)?;
    let found = survey.object(&key)?;
    Some(Target {
        evidence: Some(evidence_of(found)),
        bare: survey.is_bare(&key),
        looked: true,
        record: record.clone(),
        provider,
        key,
        pending: None,
    })
}

/// The record's object as the record tells it, where the provider deletes in bulk.
fn unseen(lane: &Lane<'_>, record: &FileRecord) -> Option<Target> {
    let (provider, key) = lane.sites.of_record(record).ok()?;
    let in_bulk = lane.purge && provider.type_name != "local";
    in_bulk
        .then(|| Target::unseen(record.clone(), provider, key))
        .flatten()
}

/// One whose provider had an error for an answer.
fn unasked(
    record: &FileRecord,
    place: (Arc<Provider>, Key),
    error: &ProviderError,
) -> Result<Target, ItemError> {
    let why = failed_by(&record.id, error);
    let pending = error.is_outage().then(|| Target::pending(record, place, &why));
    pending.flatten().ok_or(why)
}

pub(super) async fn look(sites: &Sites, record: FileRecord) -> Result<Target, ItemError> {
    let (provider, key) = match sites.of_record(&record) {
        Ok(place) => place,
        Err(why) => {
            let pending = sites
                .silent(&record)
                .and_then(|place| Target::pending(&record, place, &why));
            return pending.ok_or(why);
        }
    };
    let found = match provider.head(&key).await {
        Ok(found) => found,
        Err(error) => return unasked(&record, (provider, key), &error),
    };
    if found
        .as_ref()
        .is_some_and(|found| found.kind != EntryKind::Object)
    {
        let reason = format!("what stands at {key} is no file; its record is kept");
        return Err(failed(&record.id, "STORAGE_ERROR", &reason));
    }
    Ok(Target {
        record,
        provider,
        key,
        evidence: found.as_ref().map(evidence_of),
        looked: true,
        bare: false,
        pending: None,
    })
}
