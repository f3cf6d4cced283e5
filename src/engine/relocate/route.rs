//! The bytes' part of a move: from one key to another, each part of it safe to be done again by whoever comes after.

use crate::engine::objects::{
    MoveOutcome, duplicate, evidence_of, look, put_back, remove, same_bytes, sidecar_key, still_holds,
};
use crate::engine::sidecar;
use crate::metadata::FileRecord;
use crate::metadata::journal::Evidence;
use crate::providers::{EntryKind, Key, Listed, Provider, ProviderError};

/// From where to where, and what was seen there.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Route<'a> {
    pub(in crate::engine) provider: &'a Provider,
    pub(in crate::engine) from: &'a Key,
    pub(in crate::engine) to: &'a Key,
    pub(in crate::engine) evidence: &'a Evidence,
}

/// Where the bytes are after [`Route::copy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Copied {
    /// At both keys, since now.
    Now,
    /// At both keys, since before.
    Before,
    /// At the new key alone.
    There,
    /// Something else stands at the old key than was seen.
    Changed,
    /// Neither here nor there.
    Missing,
    /// Other bytes stand at the new key: left alone.
    TargetTaken,
}

/// What became of the old key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Removed {
    Gone,
    /// The two keys hold different bytes by now: both left alone.
    Different,
    /// Nothing is at the new key: left alone.
    NoTarget,
}

impl Route<'_> {
    /// Brings the bytes to the new key as well.
    ///
    /// # Errors
    /// Where the provider does not answer clearly or cannot copy the object.
    ///
    /// # Cancellation
    /// Safe: the same call finds what is there.
    pub(in crate::engine) async fn copy(&self) -> Result<Copied, ProviderError> {
        let (source, target) = self.look().await?;
        match (source, target) {
            (None, None) => Ok(Copied::Missing),
            (None, Some(target)) if self.has_arrived(&target) => Ok(Copied::There),
            (None, Some(_)) => Ok(Copied::TargetTaken),
            (Some(source), _) if !still_holds(self.evidence, &source) => Ok(Copied::Changed),
            (Some(source), None) => self.copy_now(&source).await,
            (Some(_), Some(target)) => {
                let same = self.has_arrived(&target) && same_bytes(self.provider, self.from, self.to).await?;
                Ok(if same { Copied::Before } else { Copied::TargetTaken })
            }
        }
    }

    /// A copy of what was seen: the source is the same before and after, or the copy goes again.
    async fn copy_now(&self, source: &Listed) -> Result<Copied, ProviderError> {
        match duplicate(self.provider, self.from, self.to, source).await? {
            MoveOutcome::Moved | MoveOutcome::AlreadyThere => {}
            MoveOutcome::Changed => return Ok(Copied::Changed),
            MoveOutcome::Missing => return Ok(Copied::Missing),
            MoveOutcome::TargetTaken => return Ok(Copied::TargetTaken),
        }
        match self.provider.head(self.from).await? {
            Some(now) if still_holds(&evidence_of(source), &now) => Ok(Copied::Now),
            Some(_) => {
                remove(self.provider, self.to).await?;
                Ok(Copied::Changed)
            }
            // Somebody deleted it at this very moment; what was copied is what was seen.
            None => Ok(Copied::Now),
        }
    }

    /// Writes the sidecar of the row beside the new key, where there is one beside the old.
    ///
    /// # Errors
    /// Where it could not be written.
    pub(in crate::engine) async fn tell(&self, record: &FileRecord) -> Result<(), ProviderError> {
        match sidecar::read(self.provider, self.from).await? {
            Some(found) => sidecar::write(self.provider, self.to, record, Some(&found)).await,
            None => Ok(()),
        }
    }

    /// Takes the old key away, its sidecar too, where the row names the new one.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    ///
    /// # Cancellation
    /// Safe: the same call goes on.
    pub(in crate::engine) async fn remove_source(&self) -> Result<Removed, ProviderError> {
        let (source, target) = self.look().await?;
        let Some(target) = target.filter(|target| target.kind == EntryKind::Object) else {
            return Ok(Removed::NoTarget);
        };
        if let Some(source) = source {
            let as_seen = self.has_arrived(&target) && still_holds(self.evidence, &source);
            // The same file by two names may have been written to by either.
            if !as_seen && !same_bytes(self.provider, self.from, self.to).await? {
                return Ok(Removed::Different);
            }
            remove(self.provider, self.from).await?;
        }
        remove(self.provider, &sidecar_key(self.from)).await?;
        Ok(Removed::Gone)
    }

    /// Takes the new key away, where the row does not name it: the same bytes are at the old one, or go back there.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    ///
    /// # Cancellation
    /// Safe: the same call goes on.
    pub(in crate::engine) async fn take_back(&self) -> Result<(), ProviderError> {
        let whole = match self.look().await? {
            (_, None) => true,
            (None, Some(_)) => {
                let back = put_back(self.provider, self.to, self.from, self.evidence).await?;
                matches!(back, MoveOutcome::Moved | MoveOutcome::AlreadyThere)
            }
            (Some(source), Some(target)) => {
                let same =
                    source.size == target.size && same_bytes(self.provider, self.from, self.to).await?;
                if same {
                    remove(self.provider, self.to).await?;
                }
                same
            }
        };
        if whole {
            return remove(self.provider, &sidecar_key(self.to)).await;
        }
        self.tell_different();
        Ok(())
    }

    /// Whether an object is at the new key.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    pub(in crate::engine) async fn is_there(&self) -> Result<bool, ProviderError> {
        let target = self.provider.head(self.to).await?;
        Ok(target.is_some_and(|target| target.kind == EntryKind::Object))
    }

    /// Says that the two keys were left as they are.
    pub(in crate::engine) fn tell_different(&self) {
        tracing::warn!(
            provider = self.provider.name,
            "{} and {} hold different bytes by now; both were left as they are",
            self.from,
            self.to
        );
    }

    fn has_arrived(&self, target: &Listed) -> bool {
        target.kind == EntryKind::Object && target.size == self.evidence.size
    }

    async fn look(&self) -> Result<(Option<Listed>, Option<Listed>), ProviderError> {
        look(self.provider, self.from, self.to).await
    }
}
