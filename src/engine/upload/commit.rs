//! The end of each file's way: records committed in groups, outcomes told only once they are certain.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::Progress;
use super::{Desk, GROUP, Outcome, Outcomes, Places, put};
use crate::failpoint;
use crate::metadata::journal::StoredFile;
use crate::providers::Provider;

/// How a file's way ended, or that its bytes are there and wait for their record.
pub(super) enum Arrived {
    There {
        file: String,
        provider: Arc<Provider>,
        places: Places,
        stored: Box<StoredFile>,
    },
    Settled {
        file: String,
        outcome: Outcome,
    },
}

/// A file whose bytes are there.
struct Waiting {
    file: String,
    provider: Arc<Provider>,
    places: Places,
}

pub(super) struct Committer<'a> {
    desk: Option<&'a Desk>,
    progress: &'a dyn Progress,
    outcomes: &'a mut (dyn Outcomes + Send),
    completed: u64,
}

impl<'a> Committer<'a> {
    pub(super) fn new(
        desk: Option<&'a Desk>,
        progress: &'a dyn Progress,
        outcomes: &'a mut (dyn Outcomes + Send),
    ) -> Self {
        Self {
            desk,
            progress,
            outcomes,
            completed: 0,
        }
    }

    /// Until nobody tells anything any more. An outcome that cannot be kept does not stop the others from being
    /// committed: their bytes are there.
    pub(super) async fn run(&mut self, tell: mpsc::Receiver<Arrived>) -> io::Result<()> {
        let mut groups = ReceiverStream::new(tell).ready_chunks(GROUP);
        let mut kept = Ok(());
        while let Some(group) = groups.next().await {
            let (mut waiting, mut stored) = (Vec::new(), Vec::new());
            for arrived in group {
                match arrived {
                    Arrived::Settled { file, outcome } => kept = kept.and(self.tell(&file, outcome)),
                    Arrived::There {
                        file,
                        provider,
                        places,
                        stored: one,
                    } => {
                        waiting.push(Waiting {
                            file,
                            provider,
                            places,
                        });
                        stored.push(*one);
                    }
                }
            }
            if let (Some(desk), false) = (self.desk, stored.is_empty()) {
                kept = kept.and(self.commit(desk, waiting, stored).await);
            }
        }
        kept
    }

    async fn commit(
        &mut self,
        desk: &Desk,
        waiting: Vec<Waiting>,
        stored: Vec<StoredFile>,
    ) -> io::Result<()> {
        let answer = desk.store.commit_uploads(&stored).await;
        failpoint::reach("upload.after-commit");
        let (refused, failure): (HashSet<String>, _) = match answer {
            Ok(refused) => (refused.into_iter().collect(), None),
            Err(error) => (
                stored.iter().map(|one| one.record.id.clone()).collect(),
                Some(error),
            ),
        };
        let mut kept = Ok(());
        for (waiting, stored) in waiting.into_iter().zip(stored) {
            let file = waiting.file.clone();
            let outcome = if refused.contains(&stored.record.id) {
                let why = failure.as_ref().map_or_else(
                    || "the upload took longer than it gave a sign of life, and was rolled back".to_owned(),
                    ToString::to_string,
                );
                not_committed(desk, waiting, stored, why).await
            } else {
                Outcome::Stored(Box::new(stored.record))
            };
            kept = kept.and(self.tell(&file, outcome));
        }
        kept
    }

    fn tell(&mut self, file: &str, outcome: Outcome) -> io::Result<()> {
        self.completed += 1;
        self.progress.advance(self.completed, &file);
        self.outcomes.take(file, outcome)
    }
}

/// A record that was not committed: was it all the same (somebody rebuilt it from the sidecar meanwhile), the file is
/// stored. Else its bytes are taken back; but where the database does not even say which, everything stays for the
/// next run's recovery to judge.
async fn not_committed(desk: &Desk, waiting: Waiting, stored: StoredFile, why: String) -> Outcome {
    let id = &stored.record.id;
    match desk.store.get(id).await {
        Ok(Some(there)) if there.provider_path == stored.record.provider_path => {
            return Outcome::Stored(Box::new(there));
        }
        Ok(None) => {
            let Places { object, sidecar } = &waiting.places;
            let gone = put::take_back(&waiting.provider, &[sidecar, object]).await;
            if gone && let Err(error) = desk.store.withdraw_intents(std::slice::from_ref(id)).await {
                tracing::warn!("an intent is left to the next run: {error}");
            }
        }
        Ok(Some(_)) | Err(_) => tracing::warn!("{} is left to the next run", waiting.places.object),
    }
    Outcome::failed(&why, "STORAGE_ERROR")
}
