//! The end of each file's way: records committed in groups, outcomes told only once they are certain.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use object_store::path::Path;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::super::Progress;
use super::{Desk, GROUP, Outcome, Outcomes, Places, Spoilt, put, spoilt_by};
use crate::engine::cleanup::ItemError;
use crate::failpoint;
use crate::metadata::journal::StoredFile;
use crate::providers::Provider;

/// How a file's way ended, or that its bytes are there and wait for their record.
pub(super) enum Arrived {
    There {
        file: String,
        provider: Arc<Provider>,
        places: Places,
        /// Where copies are.
        copied: Vec<(Arc<Provider>, Path)>,
        /// Copies that there should be and are not.
        missing: Vec<ItemError>,
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
    copied: Vec<(Arc<Provider>, Path)>,
    missing: Vec<ItemError>,
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
                        copied,
                        missing,
                        stored: one,
                    } => {
                        waiting.push(Waiting {
                            file,
                            provider,
                            places,
                            copied,
                            missing,
                        });
                        stored.push(*one);
                    }
                }
            }
            if let (Some(desk), false) = (self.desk, stored.is_empty()) {
                kept = kept.and(self.commit(desk, (waiting, stored), false).await);
            }
        }
        kept
    }

    /// Holds what arrives until nobody tells anything any more. Are all of the expected files there then, their records
    /// are committed in one transaction; else all bytes are taken back. The first that fails is told to `spoilt`.
    pub(super) async fn run_together(
        &mut self,
        mut tell: mpsc::Receiver<Arrived>,
        spoilt: &Spoilt,
        expected: u64,
    ) -> io::Result<()> {
        let (mut waiting, mut stored, mut kept) = (Vec::new(), Vec::new(), Ok(()));
        while let Some(arrived) = tell.recv().await {
            match arrived {
                Arrived::Settled { file, outcome } => {
                    if matches!(outcome, Outcome::Failed { .. } | Outcome::Full(_)) {
                        spoilt.get_or_init(|| file.clone());
                    }
                    kept = kept.and(self.tell(&file, outcome));
                }
                Arrived::There {
                    file,
                    provider,
                    places,
                    copied,
                    missing,
                    stored: one,
                } => {
                    waiting.push(Waiting {
                        file,
                        provider,
                        places,
                        copied,
                        missing,
                    });
                    stored.push(*one);
                    let arrived = self.completed + stored.len() as u64;
                    self.progress.advance(arrived, &"waiting for the others");
                }
            }
        }
        let Some(desk) = self.desk.filter(|_| !stored.is_empty()) else {
            return kept;
        };
        let why = match spoilt.get() {
            Some(first) => Some(spoilt_by(first)),
            None if self.completed + (stored.len() as u64) < expected => Some(Outcome::failed(
                "nothing is stored, since the upload was interrupted: --atomic stores all or none",
                "STORAGE_ERROR",
            )),
            None => None,
        };
        kept.and(match why {
            None => self.commit(desk, (waiting, stored), true).await,
            Some(why) => self.take_back(desk, (waiting, stored), &why).await,
        })
    }

    async fn take_back(
        &mut self,
        desk: &Desk,
        (waiting, stored): (Vec<Waiting>, Vec<StoredFile>),
        why: &Outcome,
    ) -> io::Result<()> {
        let mut kept = Ok(());
        for (waiting, stored) in waiting.into_iter().zip(stored) {
            withdraw(desk, &waiting, &stored.record.id).await;
            kept = kept.and(self.tell(&waiting.file, why.clone()));
        }
        kept
    }

    async fn commit(
        &mut self,
        desk: &Desk,
        (waiting, stored): (Vec<Waiting>, Vec<StoredFile>),
        together: bool,
    ) -> io::Result<()> {
        failpoint::reach("upload.before-commit");
        let answer = desk.store.commit_uploads(&stored, together).await;
        failpoint::reach("upload.after-commit");
        let (refused, failure): (HashSet<String>, _) = match answer {
            Ok(refused) => (refused.into_iter().collect(), None),
            Err(error) => (
                stored.iter().map(|one| one.record.id.clone()).collect(),
                Some(error),
            ),
        };
        let mut kept = Ok(());
        for (mut waiting, stored) in waiting.into_iter().zip(stored) {
            let file = waiting.file.clone();
            let missing = std::mem::take(&mut waiting.missing);
            let outcome = if refused.contains(&stored.record.id) {
                let why = failure.as_ref().map_or_else(
                    || "the upload took longer than it gave a sign of life, and was rolled back".to_owned(),
                    ToString::to_string,
                );
                not_committed(desk, waiting, stored, why).await
            } else {
                Outcome::Stored(Box::new(stored.record))
            };
            if matches!(outcome, Outcome::Stored(_)) {
                for missing in missing {
                    self.outcomes.lacks(missing);
                }
            }
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
        Ok(None) => withdraw(desk, &waiting, id).await,
        Ok(Some(_)) | Err(_) => tracing::warn!("{} is left to the next run", waiting.places.object),
    }
    Outcome::failed(&why, "STORAGE_ERROR")
}

/// Takes the bytes back, then the intent.
async fn withdraw(desk: &Desk, waiting: &Waiting, id: &String) {
    let Places { object, sidecar } = &waiting.places;
    for (provider, copy) in &waiting.copied {
        put::take_back(provider, &[copy]).await;
    }
    let gone = put::take_back(&waiting.provider, &[sidecar, object]).await;
    if gone && let Err(error) = desk.store.withdraw_intents(std::slice::from_ref(id)).await {
        tracing::warn!("an intent is left to the next run: {error}");
    }
}
