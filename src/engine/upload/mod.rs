//! Upload: files from disk become objects with records, one or many, and no crash leaves a record without its bytes.
//!
//! For each file: judged, then an intent written down, then the object put, then its sidecar, then record and checksum
//! committed as the intent goes. Intents and records are written in groups, bytes travel side by side in between. One
//! file that fails never stops the others: what it left is removed, its intent withdrawn. Where even that fails the
//! intent stays, and the next run's recovery finishes it.

mod check;
mod commit;
mod existing;
mod failover;
mod judge;
mod name;
pub(super) mod put;
mod record;
mod room;
pub(super) mod source;
mod sources;
mod transfer;

use std::io;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use self::check::Candidate;
use self::commit::{Arrived, Committer};
use self::judge::{AHEAD, Judged, Spoilt, spoilt_by};
use self::put::PutError;
use self::room::Room;
use self::transfer::{Line, Place, Places, Planned, transfer};
use super::changes::failed;
use super::cleanup::ItemError;
use super::quota::no_room;
use super::{Clock, Interrupt, Progress, tell_queue};
use crate::failpoint;
use crate::metadata::journal::{JournalReader, JournalStore, Owner};
use crate::metadata::quota::{Limits, Shortage};
use crate::metadata::{FileRecord, MetadataError};
use crate::providers::Provider;

pub(super) use check::takes;
pub use check::{EXECUTABLE, FolderRules, Refusal};
pub use failover::{Switch, Targets};
pub(super) use name::{divide, mime_type};
pub use put::Way;
pub(super) use record::attributes;
pub use sources::Sources;

/// Intents written in one transaction, and records committed in one: as many as are ready, up to this.
const GROUP: usize = 128;

/// What to store, and how.
#[derive(Debug, Clone)]
pub struct UploadRequest {
    pub targets: Arc<Targets>,
    /// All providers that can be asked, for content that is stored already.
    pub providers: Vec<Arc<Provider>>,
    /// Each file goes to these as well.
    pub backups: Vec<Arc<Provider>>,
    pub folder: FolderRules,
    pub limits: Limits,
    pub description: Option<String>,
    pub uploaded_by: Option<String>,
    /// A file of the same name, size and content in the folder is not stored again.
    pub skip_existing: bool,
    /// All files are stored, or none. Holds all their records until the end.
    pub atomic: bool,
    /// Files under way at once.
    pub concurrency: usize,
    /// Bytes above which a file goes in parts.
    pub stream_threshold: u64,
    /// Bytes of a part.
    pub part_size: u64,
}

/// Who writes, and where it is written down; `None` is a dry run.
#[derive(Debug, Clone)]
pub struct Desk {
    pub store: Arc<dyn JournalStore>,
    pub run_id: String,
    pub owner: Owner,
}

/// What an upload works with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub metadata: &'a dyn JournalReader,
    pub clock: &'a dyn Clock,
    pub progress: &'a dyn Progress,
    pub interrupt: &'a Interrupt,
}

/// What became of one file.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Its record is committed.
    Stored(Box<FileRecord>),
    /// Stored before, as this record.
    Skipped(Box<FileRecord>),
    /// Would be stored.
    Planned { size: u64 },
    Failed {
        error: String,
        code: &'static str,
        /// What a program may want to know besides.
        details: Option<Value>,
    },
    /// There is no room for it.
    Full(Box<Shortage>),
}

/// Takes each outcome as soon as it is certain.
pub trait Outcomes {
    /// # Errors
    /// Where the outcome cannot be kept; the upload ends then.
    fn take(&mut self, file: &str, outcome: Outcome) -> io::Result<()>;

    /// A file that is stored has no copy where it should have one.
    fn lacks(&mut self, missing: ItemError);
}

/// Why an upload could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] io::Error),
}

impl Outcome {
    fn failed(error: &(impl ToString + ?Sized), code: &'static str) -> Self {
        Self::Failed {
            error: error.to_string(),
            code,
            details: None,
        }
    }

    /// Of a file that was not delivered, told in these words.
    fn undelivered(why: &str, error: &PutError) -> Self {
        Self::Failed {
            error: why.to_owned(),
            code: error.code(),
            details: error.details(),
        }
    }

    fn of_database(error: &MetadataError) -> Self {
        Self::failed(error, "STORAGE_ERROR")
    }

    /// The error of a file that failed.
    #[must_use]
    pub fn error(&self, file: &str) -> Option<ItemError> {
        match self {
            Self::Failed { error, code, details } => Some(ItemError {
                details: details.clone(),
                ..failed(file, code, error)
            }),
            Self::Full(shortage) => Some(no_room(file, shortage)),
            Self::Stored(_) | Self::Skipped(_) | Self::Planned { .. } => None,
        }
    }
}

/// Stores the files, `desk` aside: without one, only says what would be stored. Once interrupted it begins no more
/// files; those in one request are finished, those in parts rolled back.
///
/// # Errors
/// Where outcomes cannot be kept. Everything else is the outcome of a file.
///
/// # Cancellation
/// Leaves intents, which the next run's recovery finishes.
pub async fn run(
    request: &UploadRequest,
    desk: Option<&Desk>,
    around: Surroundings<'_>,
    sources: Sources,
    outcomes: &mut (dyn Outcomes + Send),
) -> Result<(), UploadError> {
    around.progress.start("Uploading", Some(sources.len()));
    tell_queue("uploads", sources.len(), request.concurrency);
    let (told, listen) = mpsc::channel(GROUP);
    let mut committer = Committer::new(desk, around.progress, outcomes);
    let (spoilt, expected) = (Spoilt::default(), sources.len());
    let sources = if request.atomic {
        judge::all(sources, request.folder.clone(), spoilt.clone()).await?
    } else {
        sources
    };
    let judged = judge::each(sources, request.folder.clone(), around.interrupt.clone());
    let send = dispatch(request, desk, around, judged, (told, spoilt.clone()));
    let commit = async {
        if request.atomic {
            committer.run_together(listen, &spoilt, expected).await
        } else {
            committer.run(listen).await
        }
    };
    let (begun, ended) = tokio::join!(send, commit);
    around.progress.finish();
    begun?;
    Ok(ended?)
}

type Told = mpsc::Sender<Arrived>;

/// Writes intents in groups and starts the transfers; ends when all have told how they ended.
async fn dispatch(
    request: &UploadRequest,
    desk: Option<&Desk>,
    around: Surroundings<'_>,
    judged: mpsc::Receiver<Judged>,
    (told, spoilt): (Told, Spoilt),
) -> io::Result<()> {
    let line = Arc::new(Line {
        request: request.clone(),
        way: Way::new(request.stream_threshold, request.part_size, around.interrupt),
        permits: Arc::new(Semaphore::new(request.concurrency.max(1))),
        told,
    });
    let told = &line.told;
    request.targets.begin().await;
    let mut room = Room::new(&request.limits);
    let mut groups = ReceiverStream::new(judged).ready_chunks(GROUP.min(AHEAD));
    while let Some(group) = groups.next().await {
        let mut fit = Vec::new();
        for judged in group {
            match judged {
                Judged::Fit(candidate) => fit.push(candidate),
                Judged::Unfit(path, why) => tell(told, &path, Outcome::failed(&why, why.code())).await,
                Judged::Lost(error) => return Err(error),
            }
        }
        if around.interrupt.is_requested() {
            break;
        }
        if let Some(first) = spoilt.get() {
            for candidate in fit {
                tell(told, &candidate.path, spoilt_by(first)).await;
            }
            continue;
        }
        let fit = fresh(request, desk, around, fit, told).await;
        let Some(desk) = desk else {
            for (path, outcome) in room.plan(around.metadata, &request.folder, fit).await {
                tell(told, &path, outcome).await;
            }
            continue;
        };
        let planned = intend(request, desk, around.clock, fit, (told, &mut room)).await;
        failpoint::reach("upload.after-intent");
        begin(&line, desk, planned).await;
    }
    // Every transfer gives its permit back when it has told how it ended.
    let all = u32::try_from(request.concurrency.max(1)).unwrap_or(u32::MAX);
    let _ = line.permits.acquire_many(all).await;
    Ok(())
}

async fn tell(told: &Told, path: &std::path::Path, outcome: Outcome) {
    let arrived = Arrived::Settled {
        file: path.display().to_string(),
        outcome,
    };
    // The committer ends only after everybody who tells it anything.
    let _ = told.send(arrived).await;
}

/// Those that are not stored already.
async fn fresh(
    request: &UploadRequest,
    desk: Option<&Desk>,
    around: Surroundings<'_>,
    candidates: Vec<Candidate>,
    told: &Told,
) -> Vec<Candidate> {
    if !request.skip_existing {
        return candidates;
    }
    let look = |candidate: Candidate| async move {
        let found = existing::find(request, desk, around.metadata, &candidate).await;
        (candidate, found)
    };
    let mut looked = stream::iter(candidates)
        .map(look)
        .buffered(request.concurrency.max(1));
    let mut fresh = Vec::new();
    while let Some((candidate, found)) = looked.next().await {
        match found {
            Ok(None) => fresh.push(candidate),
            Ok(Some(record)) => tell(told, &candidate.path, Outcome::Skipped(Box::new(record))).await,
            Err(outcome) => tell(told, &candidate.path, outcome).await,
        }
    }
    fresh
}

/// Gives each its record and writes the intents down, all in one transaction, as far as there is room.
async fn intend(
    request: &UploadRequest,
    desk: &Desk,
    clock: &dyn Clock,
    candidates: Vec<Candidate>,
    (told, room): (&Told, &mut Room<'_>),
) -> Vec<Planned> {
    let (now, target) = (clock.now(), request.targets.choose().await);
    let (mut planned, mut intents) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let Some(place) = Place::new(request, target, &candidate, now) else {
            let why = "no object can have its path";
            let outcome = Outcome::failed(why, "STORAGE_VALIDATION_ERROR");
            tell(told, &candidate.path, outcome).await;
            continue;
        };
        intents.push(place.intent(request, desk, now));
        planned.push(Planned { candidate, place });
    }
    if intents.is_empty() {
        return planned;
    }
    let mut admitted = Vec::with_capacity(planned.len());
    for (file, refused) in planned.into_iter().zip(room.reserve(desk, &intents).await) {
        match refused {
            Some(outcome) => tell(told, &file.candidate.path, outcome).await,
            None => admitted.push(file),
        }
    }
    admitted
}

/// Starts a transfer for each, as permits come free; what an interrupt left unbegun is withdrawn.
async fn begin(line: &Arc<Line>, desk: &Desk, planned: Vec<Planned>) {
    let mut unbegun = Vec::new();
    for file in planned {
        let permit = tokio::select! {
            biased;
            () = line.way.interrupted() => None,
            permit = Arc::clone(&line.permits).acquire_owned() => permit.ok(),
        };
        let Some(permit) = permit else {
            unbegun.push(file.place.record.id);
            continue;
        };
        let (line, desk) = (Arc::clone(line), desk.clone());
        tokio::spawn(async move {
            let arrived = transfer(&line, &desk, file).await;
            let _ = line.told.send(arrived).await;
            // Before the permit: whoever has all of them is to be the last who can tell anything.
            drop(line);
            drop(permit);
        });
    }
    if !unbegun.is_empty()
        && let Err(error) = desk.store.withdraw_intents(&unbegun).await
    {
        tracing::warn!("{} intents are left to the next run: {error}", unbegun.len());
    }
}
