//! One journal under everything that changes something: a run is written down, every item of it is intended, acted on and
//! settled, and what a dead process left is ended by the next one (see [`recover`]).
//!
//! Nothing here decides what is to be changed; it never deletes bytes for good unless a dead run had decided to.

mod owner;
mod recover;
mod remains;
pub(super) mod rows;
mod run;

use std::sync::Arc;

pub use owner::{Alive, is_dead};
pub use recover::{RecoveryReport, recover};
pub use run::RunHandle;

use super::Clock;
use super::marker::Claim;
use crate::metadata::MetadataError;
use crate::metadata::journal::{JournalStore, Owner, Run};

/// Where runs are written down, and by whom. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    pub store: Arc<dyn JournalStore>,
    pub clock: Arc<dyn Clock>,
    pub owner: Owner,
    /// Who asked: a user name, where one is known.
    pub actor: Option<String>,
    /// What the host is called for as long as the deployment is on it; in a container that is not its own name.
    pub host: String,
}

impl Journal {
    /// As whom this program asks for what it is about to change.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn claim(&self) -> Result<Claim, MetadataError> {
        Ok(Claim {
            installation: Some(self.store.installation().await?),
            database: self.store.location(),
            host: self.host.clone(),
        })
    }
}

/// Why a run cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Store(#[from] MetadataError),
    #[error(
        "{provider} is held by run {} ({}, process {} on {})",
        run.id, run.operation, run.owner.pid, run.owner.host
    )]
    Held { provider: String, run: Box<Run> },
    /// What is kept out of core could not be read back.
    #[error("the temporary directory failed: {0}")]
    Spill(#[from] std::io::Error),
}
