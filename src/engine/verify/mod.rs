//! Verification: records against their objects: whether each is there, of the recorded size, and on request of the content
//! that was stored.
//!
//! It changes nothing but the notes of how far it came. What a provider did not answer is an error and no finding, and
//! what changed while it was looked at is looked at again.

mod look;

use std::io;

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::look::Seen;
use super::changes::Sites;
use super::cleanup::ErrorSummary;
use super::gather::{GatherError, gather, some};
use super::{Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::journal::{JournalReader, JournalStore};
use crate::metadata::{MetadataError, ScanScope, ScannedRecord};
use crate::spill::Spool;

pub use look::silent;

/// Where the notes are kept.
const TOPIC: &str = "verify";
/// The name of the note that says how far; every other is the id of a record with a finding.
const POSITION: &str = "";
/// Records between two notes: of objects that are asked for, and of such that are read.
const ASKED: usize = 256;
const READ: usize = 64;

/// What to look at, and how closely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyRequest {
    /// Read every object, and hold its SHA-256 against the one that is kept.
    pub checksum: bool,
    /// Only records of this folder.
    pub folder: Option<String>,
    /// Only records whose bytes are in this provider.
    pub provider: Option<String>,
    /// The share of the records that is drawn, from 0 to 1; all where it is `None`.
    pub sample: Option<f64>,
    /// What the draw depends on: the same seed draws the same records.
    pub seed: String,
}

/// How far a verification came.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Records looked at.
    pub checked: u64,
    /// Of them, those whose content is what was stored.
    pub verified: u64,
    /// Those whose content was read, and nothing is kept to compare it with.
    pub without_checksum: u64,
    /// Read for it.
    pub bytes: u64,
    pub missing: u64,
    pub size_mismatches: u64,
    pub checksum_mismatches: u64,
}

impl Tally {
    #[must_use]
    pub const fn findings(&self) -> u64 {
        self.missing + self.size_mismatches + self.checksum_mismatches
    }
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    Missing,
    SizeMismatch,
    ChecksumMismatch,
}

/// A record whose object is not what it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub id: String,
    pub original_name: String,
    pub folder: String,
    pub provider: String,
    pub path: String,
    pub finding: Wrong,
    pub recorded_size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual_sha256: Option<String>,
}

/// What a verification came to; findings and errors lie out of core.
#[derive(Debug, Default)]
pub struct Verified {
    pub tally: Tally,
    pub findings: Spool,
    pub failed: Spool,
    pub errors: ErrorSummary,
    /// It went on where another one had stopped.
    pub resumed: bool,
    /// The operator stopped it.
    pub interrupted: bool,
}

/// The note of how far it came.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    request: VerifyRequest,
    /// The last id that was looked at.
    last: String,
    tally: Tally,
}

/// What a verification works with.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    pub store: &'a dyn JournalReader,
    /// Who takes the notes; without one nothing can be resumed.
    pub notes: Option<&'a dyn JournalStore>,
    pub sites: &'a Sites,
    pub progress: &'a dyn Progress,
    pub interrupt: &'a Interrupt,
    /// Objects looked at side by side.
    pub concurrency: usize,
}

/// What an interrupted verification was asked for, where one is there to be resumed.
///
/// # Errors
/// Where the database cannot be read.
pub async fn unfinished(store: &dyn JournalReader) -> Result<Option<VerifyRequest>, MetadataError> {
    Ok(position(&store.notes(TOPIC).await?).map(|position| position.request))
}

fn position(notes: &[(String, String)]) -> Option<Position> {
    let (_, value) = notes.iter().find(|(name, _)| name == POSITION)?;
    serde_json::from_str(value).ok()
}

/// Looks at every record that was asked for; with `resume` at those that the last verification left over, and at its
/// findings once more.
///
/// # Errors
/// Where the database or the temporary directory fails. What a provider does not answer is the record's error.
///
/// # Cancellation
/// Safe; what was noted by then is where the next one may go on.
pub async fn run(around: Around<'_>, request: &VerifyRequest, resume: bool) -> Result<Verified, GatherError> {
    let mut verified = Verified::default();
    let notes = around.store.notes(TOPIC).await?;
    let mut after = String::new();
    let mut again = Vec::new();
    if let Some(position) = position(&notes).filter(|_| resume) {
        verified.resumed = true;
        // What was found is found anew, so that the report is of now.
        verified.tally = Tally {
            checked: position.tally.checked - position.tally.findings(),
            missing: 0,
            size_mismatches: 0,
            checksum_mismatches: 0,
            ..position.tally
        };
        after = position.last;
        again.extend(
            notes
                .into_iter()
                .map(|(name, _)| name)
                .filter(|name| name != POSITION),
        );
    } else if let Some(notes) = around.notes {
        notes.forget_notes(TOPIC).await?;
    }
    let ids = ids(around, request, &after, &again).await?;
    let total = verified.tally.checked + ids.len();
    around.progress.start("Verifying", Some(total));
    let looked = look_at_all(around, request, &ids, (after, &mut verified)).await;
    around.progress.finish();
    looked?;
    if let Some(notes) = around.notes.filter(|_| !verified.interrupted) {
        notes.forget_notes(TOPIC).await?;
    }
    Ok(verified)
}

async fn look_at_all(
    around: Around<'_>,
    request: &VerifyRequest,
    ids: &Spool,
    (mut last, verified): (String, &mut Verified),
) -> Result<(), GatherError> {
    let size = if request.checksum { READ } else { ASKED };
    let mut ids = ids.iter();
    loop {
        let batch = some(&mut ids, size)?;
        if batch.is_empty() {
            return Ok(());
        }
        if around.interrupt.is_requested() {
            verified.interrupted = true;
            return Ok(());
        }
        let found = look_at(around, request, &batch, verified).await?;
        if verified.interrupted {
            return Ok(());
        }
        // Ids of findings that are looked at again come before all others and are no position.
        last = batch.into_iter().chain([last]).max().unwrap_or_default();
        note(around, request, &last, (found, &verified.tally)).await?;
        reach("verify.after-batch");
    }
}

async fn note(
    around: Around<'_>,
    request: &VerifyRequest,
    last: &str,
    (found, tally): (Vec<String>, &Tally),
) -> Result<(), GatherError> {
    let Some(notes) = around.notes else { return Ok(()) };
    let position = Position {
        request: request.clone(),
        last: last.to_owned(),
        tally: tally.clone(),
    };
    let position = serde_json::to_string(&position).map_err(io::Error::other)?;
    let mut lines: Vec<(String, String)> = found.into_iter().map(|id| (id, String::new())).collect();
    lines.push((POSITION.to_owned(), position));
    Ok(notes.note(TOPIC, &lines).await?)
}

/// Ids of the records to look at, in order: read at once and kept, since a look takes long and would hold a snapshot of
/// the database for all of that time.
async fn ids(
    around: Around<'_>,
    request: &VerifyRequest,
    after: &str,
    again: &[String],
) -> Result<Spool, GatherError> {
    let (mut mine, mut all) = (Vec::new(), Vec::new());
    for site in &around.sites.roots {
        all.extend(site.roots.iter().cloned());
        if request
            .provider
            .as_ref()
            .is_none_or(|name| *name == site.provider)
        {
            mine.extend(site.roots.iter().cloned().map(ScanScope::Under));
        }
    }
    if request.provider.is_none() {
        mine.push(ScanScope::Outside(all));
    }
    let is_asked = |record: &ScannedRecord| {
        let folder = request.folder.as_ref();
        let asked = folder.is_none_or(|folder| *folder == record.folder);
        asked && record.id.as_str() > after && is_drawn(request, &record.id)
    };
    gather(around.store, mine, again, is_asked).await
}

/// Whether the record is of the sample.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share needs no more digits than there are"
)]
fn is_drawn(request: &VerifyRequest, id: &str) -> bool {
    let Some(share) = request.sample else { return true };
    let digest = Sha256::new()
        .chain_update(&request.seed)
        .chain_update(id)
        .finalize();
    let mut first = [0; 4];
    first.copy_from_slice(&digest[..4]);
    f64::from(u32::from_be_bytes(first)) < share * (u64::from(u32::MAX) + 1) as f64
}

/// Looks at a batch, and gives the ids of its findings.
async fn look_at(
    around: Around<'_>,
    request: &VerifyRequest,
    ids: &[String],
    verified: &mut Verified,
) -> Result<Vec<String>, GatherError> {
    let records = around.store.get_many(ids).await?.into_iter().flatten();
    let looks = records.map(|record| async move {
        let seen = look::settled(around, request, record.clone()).await;
        (record, seen)
    });
    let mut looks = stream::iter(looks).buffered(around.concurrency.max(1));
    let mut found = Vec::new();
    while let Some((record, seen)) = looks.next().await {
        match seen? {
            Seen::Interrupted => {
                verified.interrupted = true;
                continue;
            }
            Seen::Gone => continue,
            Seen::There { bytes, compared } => {
                verified.tally.bytes += bytes;
                match compared {
                    Some(true) => verified.tally.verified += 1,
                    Some(false) => verified.tally.without_checksum += 1,
                    None => {}
                }
            }
            Seen::Wrong(finding) => {
                match finding.finding {
                    Wrong::Missing => verified.tally.missing += 1,
                    Wrong::SizeMismatch => verified.tally.size_mismatches += 1,
                    Wrong::ChecksumMismatch => verified.tally.checksum_mismatches += 1,
                }
                verified
                    .findings
                    .push(&serde_json::to_vec(&finding).map_err(io::Error::other)?)?;
                found.push(record.id.clone());
            }
            Seen::Unanswered(error) => {
                verified.errors.add(&error);
                verified
                    .failed
                    .push(&serde_json::to_vec(&error).map_err(io::Error::other)?)?;
            }
        }
        verified.tally.checked += 1;
        around
            .progress
            .advance(verified.tally.checked, &record.original_name);
    }
    Ok(found)
}
