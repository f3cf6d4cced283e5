//! Room for the files of an upload: reserved together with their intents; looked at, where nothing is written.

use std::path::PathBuf;

use super::check::Candidate;
use super::{Desk, FolderRules, Outcome};
use crate::engine::quota::{Watch, ended, reserve};
use crate::metadata;
use crate::metadata::journal::{JournalReader, UploadIntent};
use crate::metadata::quota::{Admission, Ledger, Limits};

/// What is known of the room that there is, from group to group.
pub(super) struct Room<'a> {
    limits: &'a Limits,
    watch: Watch,
    /// Of a dry run: as if each file that fits were stored.
    planned: Option<Ledger>,
}

impl<'a> Room<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self {
            limits,
            watch: Watch::default(),
            planned: None,
        }
    }

    /// Writes the intents down as far as there is room; of each that is not, why.
    pub(super) async fn reserve(&mut self, desk: &Desk, intents: &[UploadIntent]) -> Vec<Option<Outcome>> {
        match reserve(desk.store.as_ref(), intents, self.limits).await {
            Ok(admissions) => {
                self.watch.look(&admissions.levels);
                admissions.answers.into_iter().map(refusal).collect()
            }
            Err(error) => vec![Some(Outcome::of_database(&error)); intents.len()],
        }
    }

    /// What would become of the files, with nothing written.
    pub(super) async fn plan(
        &mut self,
        reader: &dyn JournalReader,
        folder: &FolderRules,
        candidates: Vec<Candidate>,
    ) -> Vec<(PathBuf, Outcome)> {
        let mut ledger = match self.ledger(reader, folder).await {
            Ok(ledger) => ledger,
            Err(error) => {
                let paths = candidates.into_iter().map(|candidate| candidate.path);
                return paths.map(|path| (path, Outcome::of_database(&error))).collect();
            }
        };
        let answer = |Candidate { path, size, .. }| {
            let refused = refusal(ledger.admit(&folder.name, size, true));
            (path, refused.unwrap_or(Outcome::Planned { size }))
        };
        let answers = candidates.into_iter().map(answer).collect();
        self.watch.look(&ledger.levels);
        self.planned = Some(ledger);
        answers
    }

    async fn ledger(&mut self, reader: &dyn JournalReader, folder: &FolderRules) -> metadata::Result<Ledger> {
        if let Some(ledger) = self.planned.take() {
            return Ok(ledger);
        }
        if self.limits.on([folder.name.as_str()]).is_empty() {
            return Ok(Ledger::default());
        }
        let folders = [folder.name.clone()];
        reader.levels(self.limits, &folders, &ended(reader).await?).await
    }
}

fn refusal(answer: Admission) -> Option<Outcome> {
    match answer {
        Admission::Refused(shortage) => Some(Outcome::Full(Box::new(shortage))),
        Admission::Fits | Admission::Over(_) => None,
    }
}
