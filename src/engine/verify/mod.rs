//! Verification: records against their objects: whether each is there, of the recorded size, and on request of the content
//! that was stored.
//!
//! It changes nothing but the notes of how far it came. What a provider did not answer is an error and no finding, and
//! what changed while it was looked at is looked at again.

mod look;
mod notes;

use std::io;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::look::Seen;
use self::notes::{Notes, OPEN, SETTLED};
use super::changes::Sites;
use super::cleanup::ErrorSummary;
use super::gather::{GatherError, gather, some};
use super::{Clock, Interrupt, Progress};
use crate::failpoint::reach;
use crate::metadata::journal::{JournalReader, JournalStore};
use crate::metadata::{FileRecord, ScanScope, ScannedRecord};
use crate::spill::Spool;

pub use look::silent;
pub use notes::{Left, left};

/// Records between two notes: of objects that are asked for, and of such that are read.
const ASKED: usize = 256;
const READ: usize = 64;
/// So long no note is waited for, however large the objects are.
const NOTED: Duration = Duration::from_secs(60);

/// What to look at, and how closely.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
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
    /// It kept notes to the end, so that it could be resumed.
    pub noted: bool,
}

impl Verified {
    /// Of the records that need not be looked at again: without those with a finding, and those that could not be looked at.
    fn settled(&self) -> Tally {
        Tally {
            checked: self.tally.checked - self.tally.findings() - self.errors.total_errors,
            missing: 0,
            size_mismatches: 0,
            checksum_mismatches: 0,
            ..self.tally
        }
    }
}

/// Where a verification begins.
#[derive(Debug)]
pub enum Start {
    /// At the first record.
    Anew,
    /// The same, while another one that was asked the same is at work, and keeps the notes.
    Beside,
    /// Where another one has stopped.
    After(Box<Left>),
}

/// What a verification works with.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    pub store: &'a dyn JournalReader,
    /// Who takes the notes; without one nothing can be resumed.
    pub notes: Option<&'a dyn JournalStore>,
    pub clock: &'a dyn Clock,
    pub sites: &'a Sites,
    pub progress: &'a dyn Progress,
    pub interrupt: &'a Interrupt,
    /// Objects looked at side by side.
    pub concurrency: usize,
}

/// Looks at every record that was asked for; after one that has stopped at those that it left over, and once more at
/// those with a finding and those that it could not look at, so that the report is of now and of all.
///
/// # Errors
/// Where the database or the temporary directory fails. What a provider does not answer is the record's error.
///
/// # Cancellation
/// Safe; what was noted by then is where the next one may go on.
pub async fn run(around: Around<'_>, request: &VerifyRequest, start: Start) -> Result<Verified, GatherError> {
    let notes = match (around.notes, &start) {
        (None, _) | (_, Start::Beside) => None,
        (Some(store), Start::Anew) => Notes::take((store, around.clock), request, None).await?,
        (Some(store), Start::After(left)) => Notes::take((store, around.clock), request, Some(left)).await?,
    };
    let mut walk = Walk {
        around,
        request,
        verified: Verified::default(),
        notes,
        noted: Instant::now(),
        before: String::new(),
        last: String::new(),
        records: Vec::new(),
    };
    let mut again = Vec::new();
    if let Start::After(left) = start {
        walk.verified.resumed = true;
        (walk.before, walk.verified.tally, again) = left.into_parts();
        walk.last.clone_from(&walk.before);
    }
    let ids = ids(around, request, &walk.before, &again).await?;
    let total = walk.verified.tally.checked + ids.len();
    around.progress.start("Verifying", Some(total));
    let looked = walk.look_at_all(&ids).await;
    around.progress.finish();
    looked?;
    Ok(walk.verified)
}

/// A verification under way.
struct Walk<'a> {
    around: Around<'a>,
    request: &'a VerifyRequest,
    verified: Verified,
    notes: Option<Notes<'a>>,
    /// When the last note was taken.
    noted: Instant,
    /// Records up to this id were looked at before; which of them come up are looked at again.
    before: String,
    /// The last id that was looked at.
    last: String,
    /// What became of records since the last note.
    records: Vec<(String, String)>,
}

impl Walk<'_> {
    async fn look_at_all(&mut self, ids: &Spool) -> Result<(), GatherError> {
        let size = if self.request.checksum { READ } else { ASKED };
        let mut ids = ids.iter();
        loop {
            let batch = some(&mut ids, size)?;
            if batch.is_empty() {
                return self.end().await;
            }
            if self.around.interrupt.is_requested() || !self.look_at(&batch).await? {
                self.verified.interrupted = true;
                return self.note(false).await;
            }
            self.note(true).await?;
            reach("verify.after-batch");
        }
    }

    /// Looks at a batch; `false` where it was interrupted on the way.
    async fn look_at(&mut self, ids: &[String]) -> Result<bool, GatherError> {
        let (around, request) = (self.around, self.request);
        let records = around.store.get_many(ids).await?.into_iter().flatten();
        let looks = records.map(|record| async move {
            let seen = look::settled(around, request, record.clone()).await;
            (record, seen)
        });
        let mut looks = stream::iter(looks).buffered(around.concurrency.max(1));
        while let Some((record, seen)) = looks.next().await {
            match seen? {
                // Whatever comes after it is looked at again.
                Seen::Interrupted => return Ok(false),
                seen => self.count(record, seen)?,
            }
            if self.noted.elapsed() >= NOTED {
                self.note(true).await?;
            }
        }
        Ok(true)
    }

    fn count(&mut self, record: FileRecord, seen: Seen) -> Result<(), GatherError> {
        let is_gone = matches!(seen, Seen::Gone);
        let is_open = self.tell(seen)?;
        if !is_gone {
            self.verified.tally.checked += 1;
            let checked = self.verified.tally.checked;
            self.around.progress.advance(checked, &record.original_name);
        }
        // What is looked at again comes before all others and is no position.
        let is_again = record.id <= self.before;
        if is_open || is_again {
            let what = if is_open { OPEN } else { SETTLED };
            self.records.push((record.id.clone(), what.to_owned()));
        }
        if record.id > self.last {
            self.last = record.id;
        }
        Ok(())
    }

    /// Adds what was seen to the report; whether it has to be looked at again by one that goes on from here.
    fn tell(&mut self, seen: Seen) -> Result<bool, GatherError> {
        let verified = &mut self.verified;
        match seen {
            Seen::Gone | Seen::Interrupted => return Ok(false),
            Seen::There { bytes, compared } => {
                verified.tally.bytes += bytes;
                match compared {
                    Some(true) => verified.tally.verified += 1,
                    Some(false) => verified.tally.without_checksum += 1,
                    None => {}
                }
                return Ok(false);
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
            }
            Seen::Unanswered(error) => {
                verified.errors.add(&error);
                verified
                    .failed
                    .push(&serde_json::to_vec(&error).map_err(io::Error::other)?)?;
            }
        }
        Ok(true)
    }

    /// Notes how far it came, and whether it goes on from there itself.
    async fn note(&mut self, goes_on: bool) -> Result<(), GatherError> {
        self.noted = Instant::now();
        let records = std::mem::take(&mut self.records);
        let Some(notes) = &mut self.notes else {
            return Ok(());
        };
        let settled = self.verified.settled();
        self.verified.noted = notes.write((&self.last, &settled), records, goes_on).await?;
        if !self.verified.noted {
            tracing::warn!(
                "another verification has taken the notes over: this one can no longer be resumed"
            );
            self.notes = None;
        }
        Ok(())
    }

    async fn end(&self) -> Result<(), GatherError> {
        match &self.notes {
            Some(notes) => Ok(notes.forget().await?),
            None => Ok(()),
        }
    }
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
