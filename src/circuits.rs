//! Where circuits are kept for all processes: among the notes of the metadata database. Wiring, since neither the database
//! nor [`resilience`](crate::resilience) knows the other.
//!
//! A command that only reads is told how circuits stand, and writes nothing down.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalReader, JournalStore as _};
use crate::metadata::sqlite::{SqliteJournal, SqliteStore};
use crate::resilience::{CircuitState, CircuitStore, Phase};

const TOPIC: &str = "circuit";

/// How the circuits stand that were ever written down, by provider.
pub(crate) async fn known(store: &dyn JournalReader) -> Result<Vec<(String, Phase)>, MetadataError> {
    let notes = store.notes(TOPIC).await?;
    let phase = |text: &str| {
        serde_json::from_str::<CircuitState>(text)
            .ok()
            .map(|state| state.phase)
    };
    let known = notes
        .into_iter()
        .filter_map(|(name, text)| Some((name, phase(&text)?)));
    Ok(known.collect())
}

#[derive(Debug)]
pub(crate) struct Circuits {
    pub(crate) store: SqliteStore,
    /// There once a command writes.
    pub(crate) journal: Arc<OnceLock<SqliteJournal>>,
}

#[async_trait]
impl CircuitStore for Circuits {
    async fn load(&self, provider: &str) -> Result<Option<String>, String> {
        let notes = self.store.notes(TOPIC).await.map_err(|error| error.to_string())?;
        let mine = notes.into_iter().find(|(name, _)| name == provider);
        Ok(mine.map(|(_, value)| value))
    }

    async fn swap(&self, provider: &str, expected: Option<&str>, state: &str) -> Result<bool, String> {
        let journal = self.journal.get().ok_or("this command writes nothing")?;
        let swapped = journal.swap_note(TOPIC, provider, expected, state).await;
        swapped.map_err(|error| error.to_string())
    }
}
