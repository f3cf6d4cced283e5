//! What dead runs left for recovery to end.

use std::collections::{BTreeSet, HashSet};

use super::{Journal, is_dead};
use crate::metadata::MetadataError;
use crate::metadata::journal::{Action, Run, Step, StepQuery, StepState, UploadIntent};

/// What dead runs left.
pub(super) struct Remains {
    pub dead: Vec<Run>,
    pub intents: Vec<UploadIntent>,
    pub steps: Vec<Step>,
}

impl Remains {
    /// Runs are read last: one that had begun before its intent was written has either ended by now or is found.
    pub async fn find(journal: &Journal) -> Result<Self, MetadataError> {
        let intents = journal.store.intents().await?;
        let query = StepQuery {
            states: vec![StepState::Intended],
            ..StepQuery::default()
        };
        let steps = journal.store.steps(&query).await?;
        let now = journal.clock.now();
        let unfinished = journal.store.unfinished_runs().await?;
        let (dead, living): (Vec<Run>, Vec<Run>) = unfinished.into_iter().partition(|run| is_dead(run, now));
        let living: HashSet<String> = living.into_iter().map(|run| run.id).collect();
        Ok(Self {
            dead,
            intents: intents
                .into_iter()
                .filter(|intent| !living.contains(&intent.run_id) || is_dead(intent, now))
                .collect(),
            steps: steps
                .into_iter()
                .filter(|step| !living.contains(&step.run_id))
                .collect(),
        })
    }

    /// A run may have ended between the looks at its steps and at the runs: what a second look does not show was settled
    /// by then, and nobody is to be kept from a provider for it.
    pub fn confirm(&mut self, again: &Self) {
        let steps: HashSet<(&str, u64)> = again
            .steps
            .iter()
            .map(|step| (step.run_id.as_str(), step.number))
            .collect();
        let intents: HashSet<&str> = again.intents.iter().map(|i| i.file_id.as_str()).collect();
        self.steps
            .retain(|step| steps.contains(&(step.run_id.as_str(), step.number)));
        self.intents
            .retain(|intent| intents.contains(intent.file_id.as_str()));
    }

    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.intents.is_empty() && self.steps.is_empty()
    }

    pub fn providers(&self) -> BTreeSet<&str> {
        let of_steps = self
            .steps
            .iter()
            .filter(|step| step.action != Action::Record || rewrites(step))
            .flat_map(|step| [Some(&step.provider), step.to_provider.as_ref()])
            .flatten()
            .map(String::as_str);
        let of_intents = self.intents.iter().map(|intent| intent.provider.as_str());
        of_steps.chain(of_intents).collect()
    }

    /// Providers that may have a copy of a file whose upload was never ended.
    pub fn backups(&self) -> BTreeSet<&str> {
        let copies = self.intents.iter().flat_map(|intent| &intent.copies);
        copies.map(String::as_str).collect()
    }
}

/// Whether the step changes what a row says and leaves bytes alone: then there is a sidecar to be written anew.
pub(super) const fn rewrites(step: &Step) -> bool {
    matches!(step.action, Action::Record) && step.before.is_some() && step.after.is_some()
}
