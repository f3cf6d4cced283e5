//! The notes of a verification: how far it came, and which records are to be looked at again. They are kept by what was
//! asked: one that asks something else, as a nightly sample does, leaves them alone; of two that ask the same, one keeps them.
//!
//! Every write expects the position as it was written last, so that one whose notes were taken over, since it had been silent
//! for too long, writes nothing into those of the other, and knows.

use std::io;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Clock;
use super::super::gather::GatherError;
use super::super::journal::{Alive, is_dead};
use super::{Tally, VerifyRequest};
use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalReader, JournalStore, Owner};

/// The name of the note that says how far; every other is the id of a record.
const POSITION: &str = "";
/// What a record's note says: look at it again, for what was found or because it could not be looked at; no need to.
pub(super) const OPEN: &str = "open";
pub(super) const SETTLED: &str = "settled";

/// The note of how far it came.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    /// What decides which records a sample draws.
    seed: String,
    /// The last id that was looked at.
    last: String,
    /// Of the records that need not be looked at again.
    settled: Tally,
    /// Who goes on from here; `None` once it was told to stop.
    at_work: Option<Work>,
}

/// Who keeps the notes, as of the last one.
#[derive(Debug, Serialize, Deserialize)]
struct Work {
    owner: Owner,
    seen: DateTime<Utc>,
}

impl Alive for Work {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn seen(&self) -> DateTime<Utc> {
        self.seen
    }
}

/// What a verification left that has not come to its end.
#[derive(Debug)]
pub struct Left {
    position: Position,
    /// The same as the database has it.
    text: String,
    /// Records that are to be looked at again.
    open: Vec<String>,
}

impl Left {
    /// The seed of its request.
    #[must_use]
    pub fn seed(&self) -> &str {
        &self.position.seed
    }

    /// Who is still at it.
    #[must_use]
    pub fn worker(&self, now: DateTime<Utc>) -> Option<&Owner> {
        let work = self.position.at_work.as_ref()?;
        (!is_dead(work, now)).then_some(&work.owner)
    }

    /// How far it came, what was settled by then, and what was not.
    pub(super) fn into_parts(self) -> (String, Tally, Vec<String>) {
        (self.position.last, self.position.settled, self.open)
    }
}

/// Where the notes of all that ask this are. Which records a sample draws is no part of the question.
fn topic(request: &VerifyRequest) -> String {
    let question = json!([request.checksum, request.folder, request.provider, request.sample]);
    format!("verify {question}")
}

/// What a verification left that was asked the same.
///
/// # Errors
/// Where the database cannot be read.
pub async fn left(store: &dyn JournalReader, request: &VerifyRequest) -> Result<Option<Left>, MetadataError> {
    let mut notes = store.notes(&topic(request)).await?;
    let Some(at) = notes.iter().position(|(name, _)| name == POSITION) else {
        return Ok(None);
    };
    let (_, text) = notes.remove(at);
    let open = notes.into_iter().filter(|(_, value)| value == OPEN);
    let open = open.map(|(id, _)| id).collect();
    Ok(serde_json::from_str(&text)
        .ok()
        .map(|position| Left { position, text, open }))
}

/// The notes that this verification keeps.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    store: &'a dyn JournalStore,
    clock: &'a dyn Clock,
    request: &'a VerifyRequest,
    owner: Owner,
    /// The position as it was written last.
    written: Option<String>,
}

impl<'a> Notes<'a> {
    /// Takes what was left, or begins anew without it; `None` where another verification was faster.
    pub(super) async fn take(
        (store, clock): (&'a dyn JournalStore, &'a dyn Clock),
        request: &'a VerifyRequest,
        left: Option<&Left>,
    ) -> Result<Option<Self>, GatherError> {
        let mut notes = Self {
            store,
            clock,
            request,
            owner: Owner::of_this_process(),
            written: left.map(|left| left.text.clone()),
        };
        let none = Tally::default();
        let (last, settled) = match left {
            Some(left) => (left.position.last.as_str(), &left.position.settled),
            None => ("", &none),
        };
        if left.is_none() {
            notes.forget().await?;
        }
        let taken = notes.write((last, settled), Vec::new(), true).await?;
        Ok(taken.then_some(notes))
    }

    /// Notes how far it came, with what became of records on the way, and whether it goes on from there itself; `false`, and
    /// nothing noted, where another verification has taken the notes over.
    pub(super) async fn write(
        &mut self,
        (last, settled): (&str, &Tally),
        mut notes: Vec<(String, String)>,
        goes_on: bool,
    ) -> Result<bool, GatherError> {
        let position = Position {
            seed: self.request.seed.clone(),
            last: last.to_owned(),
            settled: *settled,
            at_work: goes_on.then(|| Work {
                owner: self.owner.clone(),
                seen: self.clock.now(),
            }),
        };
        let text = serde_json::to_string(&position).map_err(io::Error::other)?;
        notes.push((POSITION.to_owned(), text.clone()));
        let expected = self.written.as_deref();
        let is_mine = self
            .store
            .note_where(&topic(self.request), POSITION, expected, &notes)
            .await?;
        self.written = Some(text);
        Ok(is_mine)
    }

    /// Nothing is left to go on with.
    pub(super) async fn forget(&self) -> Result<(), MetadataError> {
        self.store.forget_notes(&topic(self.request)).await
    }
}
