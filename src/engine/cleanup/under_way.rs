//! Work under way, as intents and open steps tell: what an upload has put so far, or a deletion is carrying to the trash,
//! is nobody's orphan.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::engine::journal::is_dead;
use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalReader, Run, Step, StepQuery, StepState, UploadIntent};
use crate::providers::Key;

/// Ids and keys that somebody works on.
#[derive(Debug, Default)]
pub struct UnderWay {
    ids: HashSet<String>,
    keys: HashSet<(String, Key)>,
}

impl UnderWay {
    /// What living processes work on; what a process left behind when it died is not among it.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn of_the_living(store: &dyn JournalReader, now: DateTime<Utc>) -> Result<Self, MetadataError> {
        // Work before runs: what is written down has its run written down before it.
        let intents = store.intents().await?;
        let steps = open_steps(store).await?;
        let unfinished = store.unfinished_runs().await?;
        let living = unfinished.iter().filter(|run| !is_dead(*run, now));
        let living: HashSet<&str> = living.map(|run: &Run| run.id.as_str()).collect();
        let mut all = Self::default();
        all.uploads(intents.iter().filter(|intent| !is_dead(*intent, now)));
        all.steps(steps.iter().filter(|step| living.contains(step.run_id.as_str())));
        Ok(all)
    }

    /// What anybody but this run works on, or worked on when he died.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub async fn beside(store: &dyn JournalReader, run_id: &str) -> Result<Self, MetadataError> {
        let mut all = Self::default();
        all.uploads(&store.intents().await?);
        let steps = open_steps(store).await?;
        all.steps(steps.iter().filter(|step| step.run_id != run_id));
        Ok(all)
    }

    /// Whether somebody claims any of the ids, wherever, or the key on this provider.
    pub fn contains(&self, provider: &str, ids: &[String], key: &Key) -> bool {
        ids.iter().any(|id| self.ids.contains(id)) || self.keys.contains(&(provider.to_owned(), key.clone()))
    }

    fn uploads<'a>(&mut self, intents: impl IntoIterator<Item = &'a UploadIntent>) {
        for intent in intents {
            self.ids.insert(intent.file_id.to_lowercase());
            self.key(&intent.provider, &intent.key);
        }
    }

    fn steps<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) {
        for step in steps {
            self.ids.extend(step.file_id.as_ref().map(|id| id.to_lowercase()));
            let to_provider = step.to_provider.as_ref().unwrap_or(&step.provider);
            for (provider, key) in [(&step.provider, &step.key), (to_provider, &step.to_key)] {
                if let Some(key) = key {
                    self.key(provider, key);
                }
            }
        }
    }

    fn key(&mut self, provider: &str, key: &str) {
        self.keys.insert((provider.to_owned(), Key::from(key)));
    }
}

/// As many as the batches of all runs at work.
async fn open_steps(store: &dyn JournalReader) -> Result<Vec<Step>, MetadataError> {
    let open = StepQuery {
        states: vec![StepState::Intended],
        ..StepQuery::default()
    };
    store.steps(&open).await
}
