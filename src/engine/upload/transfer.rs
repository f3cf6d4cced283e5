//! One file on its way: its bytes and its sidecar to one provider, or to the next where that one is down; or everything
//! back as it was.
//!
//! A file that goes elsewhere does so under another id, with an intent of its own: nobody can tell what the first provider
//! made of it, so the first intent stays until it is known that nothing is left there.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use object_store::path::Path;
use tokio::sync::{Semaphore, mpsc};

use super::check::Candidate;
use super::commit::Arrived;
use super::put::{self, PutError, Sent, Target, Way};
use super::record::{self, attributes};
use super::source::Source;
use super::{Desk, Outcome, UploadRequest};
use crate::engine::cleanup::ItemError;
use crate::engine::sidecar;
use crate::failpoint;
use crate::metadata::FileRecord;
use crate::metadata::journal::{Copy, StoredFile, UploadIntent};
use crate::metadata::quota::Limits;
use crate::providers::{Key, Provider, ProviderError};

/// What the transfers of one upload share.
pub(super) struct Line {
    pub(super) request: UploadRequest,
    pub(super) way: Way,
    pub(super) permits: Arc<Semaphore>,
    pub(super) told: mpsc::Sender<Arrived>,
}

/// A file with its record, on its way to a provider.
pub(super) struct Planned {
    pub(super) candidate: Candidate,
    pub(super) place: Place,
}

/// Where a file is to be, and as what.
pub(super) struct Place {
    /// Which of the targets.
    target: usize,
    key: Key,
    pub(super) record: FileRecord,
}

impl Place {
    /// `None` where no path can name it.
    pub(super) fn new(
        request: &UploadRequest,
        target: usize,
        candidate: &Candidate,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let provider = request.targets.provider(target);
        let (key, record) = record::new((request, provider), &candidate.name, candidate.size, now)?;
        Some(Self { target, key, record })
    }

    pub(super) fn intent(&self, request: &UploadRequest, desk: &Desk, now: DateTime<Utc>) -> UploadIntent {
        UploadIntent {
            file_id: self.record.id.clone(),
            run_id: desk.run_id.clone(),
            provider: request.targets.provider(self.target).name.clone(),
            key: self.record.relative_path.clone(),
            size: u64::try_from(self.record.size).unwrap_or_default(),
            owner: desk.owner.clone(),
            renewed_at: now,
            copies: self.backups(request).map(|other| other.name.clone()).collect(),
        }
    }

    /// Every provider that keeps backups, and is not where the file itself is to be.
    fn backups<'a>(&self, request: &'a UploadRequest) -> impl Iterator<Item = &'a Arc<Provider>> {
        let own = &request.targets.provider(self.target).name;
        request.backups.iter().filter(move |other| other.name != *own)
    }
}

/// Sends a file to the first provider that takes it.
pub(super) async fn transfer(line: &Line, desk: &Desk, planned: Planned) -> Arrived {
    let Planned { candidate, mut place } = planned;
    let path = candidate.path.clone();
    let (mut left, mut reasons) = (Vec::new(), Vec::new());
    let arrived = loop {
        let error = match deliver(line, &candidate, &place).await {
            Ok(delivered) => {
                let backed_up = back_up(line, &candidate, &place).await;
                break there(line, &path, (place, delivered), backed_up);
            }
            Err(error) => error,
        };
        let next = line.request.targets.after(place.target, &error).await;
        let next = match next {
            Some(target) => replan((line, desk), (&place, target), &candidate).await,
            None => None,
        };
        let provider = Arc::clone(line.request.targets.provider(place.target));
        reasons.push(error.to_string());
        let failed = Failed {
            provider,
            key: place.key.clone(),
            id: std::mem::take(&mut place.record.id),
            may_still_arrive: matches!(error, PutError::Provider(ProviderError::TimedOut { .. })),
        };
        left.push(failed);
        match next {
            Some(next) => place = next,
            None => break failed_for(&path, &reasons, &error),
        }
    };
    for failed in left {
        forget(desk, failed).await;
    }
    arrived
}

/// The same file for another provider, written down; `None` where that cannot be done. The room that it had reserved goes
/// with it: one file is never in the way of others twice.
async fn replan(
    (line, desk): (&Line, &Desk),
    (before, target): (&Place, usize),
    candidate: &Candidate,
) -> Option<Place> {
    let now = line.request.targets.now();
    let place = Place::new(&line.request, target, candidate, now)?;
    let intent = place.intent(&line.request, desk, now);
    let left = UploadIntent {
        size: 0,
        ..before.intent(&line.request, desk, now)
    };
    let written = desk
        .store
        .intend_uploads(&[left, intent], &Limits::default(), &[])
        .await;
    match written {
        Ok(_) => {
            failpoint::reach("upload.after-second-intent");
            Some(place)
        }
        Err(error) => {
            tracing::warn!("{} goes to no other provider: {error}", candidate.path.display());
            None
        }
    }
}

/// Copies that were made, and those that were not.
#[derive(Default)]
struct BackedUp {
    copies: Vec<(Arc<Provider>, Places, Copy)>,
    missing: Vec<ItemError>,
}

/// Sends the same bytes to every provider that keeps backups, which is none of those that have the file. One that fails
/// fails loudly, and takes nothing away from the file.
async fn back_up(line: &Line, candidate: &Candidate, place: &Place) -> BackedUp {
    let mut made = BackedUp::default();
    let primary = line.request.targets.provider(place.target);
    if place.target > 0
        && line
            .request
            .backups
            .iter()
            .any(|other| other.name == primary.name)
    {
        let active = &line.request.targets.active().name;
        made.missing.push(ItemError {
            file: candidate.path.display().to_string(),
            error: format!(
                "no copy on {}: it took the file itself, since {active} is down",
                primary.name
            ),
            error_code: "STORAGE_PROVIDER_UNAVAILABLE".to_owned(),
            details: None,
        });
    }
    for provider in place.backups(&line.request) {
        match copy(line, provider, candidate, place).await {
            Ok(places) => {
                let copy = Copy {
                    provider: provider.name.clone(),
                    key: place.record.relative_path.clone(),
                };
                made.copies.push((Arc::clone(provider), places, copy));
            }
            Err(error) => {
                tracing::error!(
                    "{} has no copy on {}: {error}",
                    candidate.path.display(),
                    provider.name
                );
                made.missing.push(ItemError {
                    file: candidate.path.display().to_string(),
                    error: format!("no copy on {}: {error}", provider.name),
                    error_code: error.code().to_owned(),
                    details: error.details(),
                });
            }
        }
    }
    failpoint::reach("upload.after-copies");
    made
}

async fn copy(
    line: &Line,
    provider: &Arc<Provider>,
    candidate: &Candidate,
    place: &Place,
) -> Result<Places, PutError> {
    let places = Places::of(provider, &place.key)?;
    let target = Target {
        provider,
        location: &places.object,
        attributes: attributes(&place.record).0,
        expected: None,
    };
    let source = Source::of_file(candidate.again().map_err(PutError::Read)?);
    let sent = put::send(target, &line.way, source, candidate.size).await;
    if sent.is_err() {
        put::take_back(provider, &[&places.object]).await;
    }
    sent.map(|_| places)
}

fn there(
    line: &Line,
    path: &std::path::Path,
    (place, (places, sent)): (Place, (Places, Sent)),
    backed_up: BackedUp,
) -> Arrived {
    let (mut copies, mut places_of_copies) = (Vec::new(), Vec::new());
    for (provider, places, copy) in backed_up.copies {
        places_of_copies.push((provider, places.object));
        copies.push(copy);
    }
    Arrived::There {
        file: path.display().to_string(),
        places,
        copied: places_of_copies,
        missing: backed_up.missing,
        provider: Arc::clone(line.request.targets.provider(place.target)),
        stored: Box::new(StoredFile {
            record: place.record,
            sha256: sent.sha256,
            parts: sent.parts,
            copies,
        }),
    }
}

/// One error that has each provider's reason.
fn failed_for(path: &std::path::Path, reasons: &[String], last: &PutError) -> Arrived {
    let why = match reasons {
        [one] => one.clone(),
        many => format!("no provider took it: {}", many.join("; ")),
    };
    Arrived::Settled {
        file: path.display().to_string(),
        outcome: Outcome::undelivered(&why, last),
    }
}

async fn deliver(line: &Line, candidate: &Candidate, place: &Place) -> Result<(Places, Sent), PutError> {
    let provider = line.request.targets.provider(place.target);
    let places = Places::of(provider, &place.key)?;
    let local = provider.type_name == "local";
    let (attributes, fits) = attributes(&place.record);
    let target = Target {
        provider,
        location: &places.object,
        attributes,
        expected: None,
    };
    let source = Source::of_file(candidate.again().map_err(PutError::Read)?);
    let sent = put::send(target, &line.way, source, candidate.size).await?;
    failpoint::reach("upload.after-put");
    if local || !fits {
        let sidecar = sidecar::render(&place.record, None).map_err(|error| PutError::Read(error.into()))?;
        put::small(provider, &places.sidecar, sidecar).await?;
        failpoint::reach("upload.after-sidecar");
    }
    Ok((places, sent))
}

/// A file that a provider did not take.
struct Failed {
    provider: Arc<Provider>,
    key: Key,
    id: String,
    /// It was sent, and nobody knows whether the provider is at it yet.
    may_still_arrive: bool,
}

/// Takes back what a provider may have of a file that it did not take, and the intent with it. Where it does not answer,
/// or may still be at it, the intent stays, and the next run's recovery ends it.
async fn forget(desk: &Desk, failed: Failed) {
    let gone = match Places::of(&failed.provider, &failed.key) {
        Ok(places) => put::take_back(&failed.provider, &[&places.sidecar, &places.object]).await,
        // No request can have named it.
        Err(_) => true,
    };
    if gone
        && !failed.may_still_arrive
        && let Err(error) = desk.store.withdraw_intents(&[failed.id]).await
    {
        tracing::warn!("an intent is left to the next run: {error}");
    }
}

/// Where a file and its sidecar go.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) object: Path,
    pub(super) sidecar: Path,
}

impl Places {
    fn of(provider: &Provider, key: &Key) -> Result<Self, ProviderError> {
        let sidecar = [key.as_bytes(), crate::providers::SIDECAR_SUFFIX].concat();
        Ok(Self {
            object: provider.location(key)?,
            sidecar: provider.location(&Key::new(sidecar))?,
        })
    }
}
