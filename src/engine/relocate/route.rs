//! The bytes' part of a move: from one key to another, of one provider or of two, each part of it safe to be done again by
//! whoever comes after.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use crate::engine::hash::hex;
use crate::engine::objects::{
    MoveOutcome, duplicate, evidence_of, look, move_object, put_back, remove, same_bytes, sidecar_key,
    still_holds, trash_place,
};
use crate::engine::sidecar;
use crate::engine::upload::put::{PutError, Target, Way, send};
use crate::engine::upload::{attributes, source::Source};
use crate::failpoint::reach;
use crate::metadata::FileRecord;
use crate::metadata::journal::{Copy, Evidence};
use crate::providers::{Deletion, EntryKind, Key, Listed, Provider, ProviderError};

/// From where to where, and what was seen there.
#[derive(Debug)]
pub(in crate::engine) struct Route<'a> {
    pub(in crate::engine) provider: &'a Arc<Provider>,
    pub(in crate::engine) from: &'a Key,
    /// Whose the new key is.
    pub(in crate::engine) target: &'a Arc<Provider>,
    pub(in crate::engine) to: &'a Key,
    pub(in crate::engine) evidence: &'a Evidence,
    pub(in crate::engine) trash: Trash,
    pub(in crate::engine) backups: Backups,
}

/// Which of the two keys is the place of a copy that a backup provider keeps of the file: no migration takes that away. At
/// the new key it becomes the file where it has the same bytes; at the old one it stays, and is a copy again.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Backups {
    old: bool,
    new: bool,
}

impl Backups {
    /// By what is written down of the file's copies.
    pub(in crate::engine) fn of(
        copies: &[Copy],
        (provider, from): (&Provider, &Key),
        (target, to): (&Provider, &Key),
    ) -> Self {
        Self {
            old: is_among(copies, provider, from),
            new: is_among(copies, target, to),
        }
    }

    pub(in crate::engine) const fn is_at_target(self) -> bool {
        self.new
    }
}

/// Whether a copy is written down as being there.
pub(in crate::engine) fn is_among(copies: &[Copy], provider: &Provider, key: &Key) -> bool {
    let mut places = copies.iter();
    places.any(|copy| copy.provider == provider.name && copy.key.as_bytes() == key.as_bytes())
}

/// What the trash has to do with it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Trash {
    /// Where the original goes; away where there is no such place.
    original: Option<Key>,
    /// Where, at the target, the bytes may wait that are being brought back.
    waiting: Option<Key>,
}

impl Trash {
    /// Of a migration from a key to another, and of the run that it undoes.
    pub(in crate::engine) fn of_migration(
        (run_id, from): (&str, &Key),
        to: &Key,
        undoes: Option<&(String, u64)>,
    ) -> Self {
        Self {
            original: Some(trash_place(run_id, from)),
            waiting: undoes.map(|(run, _)| trash_place(run, to)),
        }
    }
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
    /// At the old key alone, from where they are to be carried to another provider.
    NotYet,
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
            (None, None) => self.rescue().await,
            (None, Some(target)) if self.has_arrived(&target) => Ok(Copied::There),
            (None, Some(_)) => Ok(Copied::TargetTaken),
            (Some(source), _) if !still_holds(self.evidence, &source) => Ok(Copied::Changed),
            (Some(source), None) => match self.waiting().await? {
                Some(waiting) => self.take_out(waiting).await,
                None if self.crosses() => Ok(Copied::NotYet),
                None => self.copy_now(&source).await,
            },
            (Some(_), Some(target)) => {
                let same = self.has_arrived(&target) && self.is_same().await?;
                Ok(if same { Copied::Before } else { Copied::TargetTaken })
            }
        }
    }

    /// Reads the object at the old key and puts it at the new one, in parts where it is large; [`Route::copy`] said that
    /// it is to be done.
    ///
    /// # Errors
    /// Where a provider does not answer clearly, or the bytes are not those of which the SHA-256 is given.
    ///
    /// # Cancellation
    /// Nothing comes to the new key before all of it has arrived.
    pub(in crate::engine) async fn stream(
        &self,
        (way, sha256): (&Way, Option<&str>),
        record: &FileRecord,
    ) -> Result<Copied, PutError> {
        let Some(source) = Source::of_object(self.provider, self.from)
            .await
            .map_err(PutError::Source)?
        else {
            return Ok(Copied::Missing);
        };
        let (attributes, _) = attributes(record);
        let target = Target {
            provider: self.target,
            location: &self.target.location(self.to)?,
            attributes,
            expected: sha256,
        };
        send(target, way, source, self.evidence.size).await?;
        reach("migrate.after-put");
        let there = self.target.head(self.to).await?;
        if !there.is_some_and(|there| self.has_arrived(&there)) {
            return Err(PutError::Provider(ProviderError::Invalid {
                provider: self.target.name.clone(),
                operation: "migrate",
                reason: format!("what was put at {} is not what is there", self.to),
            }));
        }
        Ok(self.seen_again(self.evidence).await?)
    }

    /// Holds what the provider itself has copied against the SHA-256 that is kept of the file, or else against the old key.
    ///
    /// # Errors
    /// Where it is not the same, or the provider does not answer clearly.
    ///
    /// # Cancellation
    /// Reads only.
    pub(in crate::engine) async fn compare(&self, sha256: Option<&str>) -> Result<(), PutError> {
        let Some(kept) = sha256 else {
            return if self.is_same().await? {
                Ok(())
            } else {
                Err(PutError::Changed)
            };
        };
        let failed = |error| PutError::Provider(self.target.store_error("read", error));
        let location = self.target.location(self.to)?;
        let got = self.target.store.get(&location).await.map_err(failed)?;
        let mut pieces = got.into_stream();
        let mut hash = Sha256::new();
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            hash.update(&piece);
        }
        match hex(hash.finalize()) {
            found if found == kept => Ok(()),
            found => Err(PutError::Damaged {
                found,
                kept: kept.to_owned(),
            }),
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
        self.seen_again(&evidence_of(source)).await
    }

    /// What was copied was the same before and after, or the copy goes again.
    async fn seen_again(&self, source: &Evidence) -> Result<Copied, ProviderError> {
        match self.provider.head(self.from).await? {
            Some(now) if still_holds(source, &now) => Ok(Copied::Now),
            Some(_) => {
                remove(self.target, self.to).await?;
                Ok(Copied::Changed)
            }
            // Somebody deleted it at this very moment; what was copied is what was seen.
            None => Ok(Copied::Now),
        }
    }

    /// The place in the trash of the target where the bytes are that are to come back.
    async fn waiting(&self) -> Result<Option<&Key>, ProviderError> {
        let Some(waiting) = &self.trash.waiting else {
            return Ok(None);
        };
        let found = self.target.head(waiting).await?;
        Ok(found
            .is_some_and(|found| self.has_arrived(&found))
            .then_some(waiting))
    }

    /// Bytes that wait in the trash come to the new key, where they are those that the old one has.
    async fn take_out(&self, waiting: &Key) -> Result<Copied, ProviderError> {
        if !same_bytes((self.provider, self.from), (self.target, waiting)).await? {
            return Ok(Copied::Changed);
        }
        self.put_back(waiting).await
    }

    async fn put_back(&self, waiting: &Key) -> Result<Copied, ProviderError> {
        Ok(
            match put_back(self.target, waiting, self.to, self.evidence).await? {
                MoveOutcome::Moved | MoveOutcome::AlreadyThere => Copied::Now,
                MoveOutcome::Changed | MoveOutcome::Missing => Copied::Changed,
                MoveOutcome::TargetTaken => Copied::TargetTaken,
            },
        )
    }

    /// Neither key has it: what is in the trash is all that there is.
    async fn rescue(&self) -> Result<Copied, ProviderError> {
        if let Some(waiting) = self.waiting().await? {
            return self.put_back(waiting).await;
        }
        if let Some(trash) = &self.trash.original {
            put_back(self.provider, trash, self.from, self.evidence).await?;
        }
        Ok(Copied::Missing)
    }

    /// Writes the sidecar of the row beside the new key: where there is one beside the old, and where files of the other
    /// provider have one.
    ///
    /// # Errors
    /// Where it could not be written.
    pub(in crate::engine) async fn tell(&self, record: &FileRecord) -> Result<(), ProviderError> {
        let mut found = sidecar::read(self.provider, self.from).await?;
        if found.is_none() && self.crosses() {
            // One that came back from the trash.
            found = sidecar::read(self.target, self.to).await?;
        }
        let has_one = || self.target.type_name == "local" || !attributes(record).1;
        if found.is_none() && !(self.crosses() && has_one()) {
            return Ok(());
        }
        sidecar::write(self.target, self.to, record, found.as_deref()).await
    }

    /// Takes the old key away, its sidecar too, where the row names the new one; or to the trash.
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
        if let Some(source) = &source {
            let as_seen = self.has_arrived(&target) && still_holds(self.evidence, source);
            // The same file by two names may have been written to by either.
            if !as_seen && !self.is_same().await? {
                return Ok(Removed::Different);
            }
        }
        if let (Some(trash), Some(source), true) = (&self.trash.original, &source, self.backups.old) {
            return self.keep_source(trash, source).await;
        }
        if let Some(trash) = &self.trash.original {
            // Where it is there already, its sidecar follows.
            let seen = source.as_ref().map_or_else(|| self.evidence.clone(), evidence_of);
            return Ok(match move_object(self.provider, self.from, trash, &seen).await? {
                MoveOutcome::Moved | MoveOutcome::AlreadyThere | MoveOutcome::Missing => Removed::Gone,
                MoveOutcome::Changed | MoveOutcome::TargetTaken => Removed::Different,
            });
        }
        if let Some(source) = &source
            && self.provider.delete_seen(self.from, source).await? == Deletion::Changed
        {
            return Ok(Removed::Different);
        }
        remove(self.provider, &sidecar_key(self.from)).await?;
        Ok(Removed::Gone)
    }

    /// What is at the old key stays, as the copy that it is, and is in the trash as well: what the step says of the trash
    /// holds for it as for any other.
    async fn keep_source(&self, trash: &Key, source: &Listed) -> Result<Removed, ProviderError> {
        let outcome = match self.provider.head(trash).await? {
            Some(there) if there.size == source.size => MoveOutcome::AlreadyThere,
            Some(_) => MoveOutcome::TargetTaken,
            None => duplicate(self.provider, self.from, trash, source).await?,
        };
        if !matches!(outcome, MoveOutcome::Moved | MoveOutcome::AlreadyThere) {
            return Ok(Removed::Different);
        }
        // A copy has no sidecar.
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
        let whole = match (self.look().await?, &self.trash.waiting) {
            ((_, None), _) => true,
            // It was there before, and stays; only the sidecar is of the file that it was to be.
            (_, None) if self.backups.new => true,
            // What came out of the trash waits there again.
            ((_, Some(target)), Some(waiting)) => {
                move_object(self.target, self.to, waiting, &evidence_of(&target)).await?;
                return Ok(());
            }
            ((None, Some(_)), None) if self.crosses() => {
                tracing::warn!(
                    provider = self.target.name,
                    "{} is all that is left of it, and stays where it is; its record does not name it",
                    self.to
                );
                return Ok(());
            }
            ((None, Some(_)), None) => {
                let back = put_back(self.provider, self.to, self.from, self.evidence).await?;
                matches!(back, MoveOutcome::Moved | MoveOutcome::AlreadyThere)
            }
            ((Some(source), Some(target)), None) => {
                let same = source.size == target.size && self.is_same().await?;
                if same {
                    remove(self.target, self.to).await?;
                }
                same
            }
        };
        if whole {
            return remove(self.target, &sidecar_key(self.to)).await;
        }
        self.tell_different();
        Ok(())
    }

    /// Whether an object is at the new key.
    ///
    /// # Errors
    /// Where the provider does not answer clearly.
    pub(in crate::engine) async fn is_there(&self) -> Result<bool, ProviderError> {
        let target = self.target.head(self.to).await?;
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

    /// Whether the old key and the new one are those of two providers.
    fn crosses(&self) -> bool {
        self.provider.name != self.target.name
    }

    async fn is_same(&self) -> Result<bool, ProviderError> {
        same_bytes((self.provider, self.from), (self.target, self.to)).await
    }

    async fn look(&self) -> Result<(Option<Listed>, Option<Listed>), ProviderError> {
        if self.crosses() {
            let (source, mut target) =
                futures::try_join!(self.provider.head(self.from), self.target.head(self.to))?;
            // An upload that died while it was given up may have left something that is no file.
            let is_odd = target.as_ref().is_some_and(|target| !self.has_arrived(target));
            if is_odd && self.target.settle_upload(self.to).await? {
                target = self.target.head(self.to).await?;
            }
            return Ok((source, target));
        }
        look(self.provider, self.from, self.to).await
    }
}
