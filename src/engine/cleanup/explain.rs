//! Why one record or one object is a finding, or is none: the same questions as a run, asked of that item alone
//! and each shown with its answer.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::Serialize;

use super::classify::{Class, Classifier};
use super::elsewhere::{self, Wanted};
use super::finding::{Kind, Misplaced};
use super::scan::{uuids_of, younger_than};
use super::{CleanupRequest, Desk, ScanError};
use crate::metadata::{FileRecord, ScanScope};
use crate::providers::{EntryKind, Key, Listed, Provider, sidecar_object};

/// What kind of thing was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    Record,
    Object,
}

/// One question and what was seen.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub question: &'static str,
    pub answer: String,
}

/// The questions in the order a run asks them, up to the one that settled it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub subject: Subject,
    /// The id or key as it was asked.
    pub item: String,
    pub provider: Option<String>,
    pub steps: Vec<Step>,
    /// `orphaned-record`, `orphaned-object`, `mismatch`, `misplaced`, `foreign`, `unmapped`, `too-recent`,
    /// `reserved`, `sidecar`, `sidecar-without-object`, `in-agreement`, `absent`, `not-compared` or `error`.
    pub verdict: &'static str,
}

impl Explanation {
    fn new(subject: Subject, item: &str) -> Self {
        Self {
            subject,
            item: item.to_owned(),
            provider: None,
            steps: Vec::new(),
            verdict: "absent",
        }
    }

    fn step(&mut self, question: &'static str, answer: impl Into<String>) {
        self.steps.push(Step {
            question,
            answer: answer.into(),
        });
    }

    fn settle(mut self, verdict: &'static str) -> Self {
        self.verdict = verdict;
        self
    }
}

/// Explains a record's id, an object's key (`permits/x.pdf`, `s3:permits/x.pdf`) or a full `provider_path`. A key
/// gives one explanation for each provider that is looked at.
///
/// # Errors
/// Where the database or a provider cannot answer.
pub async fn explain(
    desk: Desk<'_>,
    request: &CleanupRequest,
    item: &str,
) -> Result<Vec<Explanation>, ScanError> {
    if let Some(record) = desk.metadata.get(item).await? {
        return Ok(vec![explain_record(desk, request, &record).await?]);
    }
    let mut all = Vec::new();
    for (provider, key) in places(request, item) {
        all.push(explain_object(desk, request, &provider, &key).await?);
    }
    if all.is_empty() {
        let mut nothing = Explanation::new(Subject::Record, item);
        nothing.step(
            "Is there a record or an object of this name?",
            "no record has this id",
        );
        all.push(nothing);
    }
    Ok(all)
}

/// Which provider and key the text may mean.
fn places(request: &CleanupRequest, item: &str) -> Vec<(Arc<Provider>, Key)> {
    let providers = &request.providers;
    let by_path = providers
        .iter()
        .find_map(|p| Some((p.clone(), p.mapping.key_of(item)?)));
    let by_name = || {
        let (name, key) = item.split_once(':')?;
        let provider = providers.iter().find(|p| p.name == name)?;
        Some((provider.clone(), Key::from(key)))
    };
    if let Some(place) = by_path.or_else(by_name) {
        return vec![place];
    }
    let key = Key::from(item);
    // An id that no record has is no key either: a key has a folder.
    if !item.contains('/') {
        return Vec::new();
    }
    providers.iter().map(|p| (p.clone(), key.clone())).collect()
}

async fn explain_record(
    desk: Desk<'_>,
    request: &CleanupRequest,
    record: &FileRecord,
) -> Result<Explanation, ScanError> {
    let mut told = Explanation::new(Subject::Record, &record.id);
    told.step(
        "Which record is it?",
        format!(
            "{:?} in folder {}, {} bytes",
            record.original_name, record.folder, record.size
        ),
    );
    let path = &record.provider_path;
    let owner = request
        .providers
        .iter()
        .find_map(|p| Some((p, p.mapping.key_of(path)?)));
    let Some((provider, key)) = owner else {
        let configured = request
            .all_roots
            .iter()
            .any(|root| path.starts_with(root.as_str()));
        told.step(
            "Which provider does its path name?",
            format!("{path}: none that is looked at"),
        );
        return Ok(told.settle(if configured { "not-compared" } else { "unmapped" }));
    };
    told.provider = Some(provider.name.clone());
    told.step(
        "Which provider does its path name?",
        format!("{path}: {}, key {key}", provider.name),
    );
    let object = match provider.head(&key).await {
        Ok(object) => object,
        Err(error) => {
            told.step("Is its object there?", format!("cannot be told: {error}"));
            return Ok(told.settle("error"));
        }
    };
    let Some(object) = object else {
        told.step("Is its object there?", "no: the provider says it does not exist");
        return explain_missing(desk, request, record, told).await;
    };
    told.step("Is its object there?", format!("yes, {} bytes", object.size));
    let equal = u64::try_from(record.size) == Ok(object.size);
    told.step("Are the sizes equal?", if equal { "yes" } else { "no" });
    Ok(told.settle(if equal { "in-agreement" } else { "mismatch" }))
}

/// A record whose object is gone.
async fn explain_missing(
    desk: Desk<'_>,
    request: &CleanupRequest,
    record: &FileRecord,
    mut told: Explanation,
) -> Result<Explanation, ScanError> {
    const ELSEWHERE: &str = "Does any other object carry its UUID?";
    let created = record.created_at.time();
    let young = younger_than(request.min_age, desk.clock.now(), created);
    told.step("Is the record old enough?", age(request, young, created));
    if young {
        return Ok(told.settle("too-recent"));
    }
    let mut wanted = Wanted::none();
    wanted.add(&record.id);
    let elsewhere = elsewhere::search(desk, &request.enabled, &request.unreachable, &wanted).await?;
    for line in elsewhere.objects.lines(Kind::Misplaced) {
        let object: Misplaced = serde_json::from_slice(&line?).map_err(std::io::Error::from)?;
        if object.id.eq_ignore_ascii_case(&record.id) {
            let (provider, key) = (object.provider, object.key);
            told.step(
                ELSEWHERE,
                format!("yes, {provider}:{key}: never deleted, nor is the record"),
            );
            return Ok(told.settle("misplaced"));
        }
    }
    for unseen in &elsewhere.warnings {
        told.step(
            ELSEWHERE,
            format!("cannot be told of {}: {}", unseen.provider, unseen.message),
        );
    }
    told.step(ELSEWHERE, "none that could be looked at");
    Ok(told.settle("orphaned-record"))
}

async fn explain_object(
    desk: Desk<'_>,
    request: &CleanupRequest,
    provider: &Provider,
    key: &Key,
) -> Result<Explanation, ScanError> {
    let mut told = Explanation::new(Subject::Object, &key.to_string());
    told.provider = Some(provider.name.clone());
    let object = match provider.head(key).await {
        Ok(Some(object)) => object,
        Ok(None) => {
            told.step("Is the object there?", "no");
            return Ok(told);
        }
        Err(error) => {
            told.step("Is the object there?", format!("cannot be told: {error}"));
            return Ok(told.settle("error"));
        }
    };
    told.step(
        "Is the object there?",
        format!("yes, {} bytes, of {}", object.size, object.last_modified),
    );
    if let Some(id) = record_naming(desk, provider, key).await? {
        told.step("Does a record name this key?", format!("yes, {id}"));
        return Ok(told.settle("in-agreement"));
    }
    told.step("Does a record name this key?", "no");
    judge_unnamed(desk, request, (provider, &object), told).await
}

async fn judge_unnamed(
    desk: Desk<'_>,
    request: &CleanupRequest,
    (provider, object): (&Provider, &Listed),
    mut told: Explanation,
) -> Result<Explanation, ScanError> {
    const CARRIES: &str = "Has any record a UUID that the key carries?";
    const SHAPE: &str = "Has the key the shape that this system gives, in a folder it knows?";
    let mut folders = desk.metadata.folders().await?;
    folders.extend(request.folders.iter().cloned());
    let shaped = match Classifier::new(folders).class(object) {
        Class::Reserved => {
            told.step(SHAPE, "it is this program's own, under a reserved name");
            return Ok(told.settle("reserved"));
        }
        Class::Sidecar { .. } => return explain_sidecar(provider, &object.key, told).await,
        Class::Foreign if object.kind == EntryKind::Special => {
            told.step(SHAPE, "it is not a regular file");
            false
        }
        Class::Foreign => {
            told.step(SHAPE, "no: never deleted");
            false
        }
        Class::Candidate => {
            told.step(SHAPE, "yes");
            true
        }
    };
    let known = desk.metadata.known_ids(&uuids_of(object)).await?;
    if let Some(id) = known.iter().next() {
        told.step(CARRIES, format!("yes, {id}: never deleted"));
        return Ok(told.settle("misplaced"));
    }
    told.step(CARRIES, "no");
    if !shaped {
        return Ok(told.settle("foreign"));
    }
    let now = provider.probe().await?.now;
    let young = younger_than(request.min_age, now, Some(object.last_modified));
    told.step(
        "Is it old enough?",
        age(request, young, Some(object.last_modified)),
    );
    Ok(told.settle(if young { "too-recent" } else { "orphaned-object" }))
}

async fn explain_sidecar(
    provider: &Provider,
    key: &Key,
    mut told: Explanation,
) -> Result<Explanation, ScanError> {
    let object = sidecar_object(key.as_bytes()).map(Key::new);
    told.step("Is it a sidecar?", "yes: it follows its object");
    let alone = match object {
        Some(object) => provider.head(&object).await?.is_none(),
        None => false,
    };
    told.step("Is its object there?", if alone { "no" } else { "yes" });
    Ok(told.settle(if alone {
        "sidecar-without-object"
    } else {
        "sidecar"
    }))
}

/// The id of a record whose path is exactly this key, at the root in use or a former one.
async fn record_naming(desk: Desk<'_>, provider: &Provider, key: &Key) -> Result<Option<String>, ScanError> {
    let Some(text) = key.as_str() else { return Ok(None) };
    for root in provider.mapping.roots() {
        let path = format!("{root}{text}");
        let mut scan = desk.metadata.scan(ScanScope::Under(path.clone()));
        // The path itself sorts before all that begin with it.
        if let Some(record) = scan.next().await.transpose()?
            && record.provider_path == path
        {
            return Ok(Some(record.id));
        }
    }
    Ok(None)
}

fn age(request: &CleanupRequest, young: bool, since: Option<DateTime<Utc>>) -> String {
    let since = since.map_or_else(|| "a time nobody can read".to_owned(), |at| at.to_string());
    let verdict = if young { "no" } else { "yes" };
    format!(
        "{verdict}: from {since}, minimum age {} s",
        request.min_age.as_secs()
    )
}
