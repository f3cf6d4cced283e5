//! Moving one object, with its sidecar, inside a provider: into the trash, back, between keys, or away for good.
//!
//! Everything here may be called again with the same arguments, whatever became of the call before: recovery does.
//! An object is touched only while it is what the caller saw ([`Evidence`]), and no bytes go before the same bytes
//! are known to be at their new place. Nothing at a target is ever overwritten. Rows are the caller's.

mod bulk;
mod rename;
mod survey;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::metadata::journal::Evidence;
use crate::providers::{Deletion, EntryKind, Key, Listed, Provider, ProviderError, SIDECAR_SUFFIX};

use rename::rename;

pub use bulk::purge_all;
pub use survey::Survey;

/// Suffix of a sidecar in the trash: CivicPress's reconstruction collects every `*.meta.json` that it finds.
const TRASHED_SUFFIX: &[u8] = b".meta.trash";
/// The same where a name has room for no more than it had before.
const TRASHED_SHORT: &[u8] = b".meta.trsh";
/// Bytes of a name, on every file system that matters.
const NAME_MAX: usize = 255;
const TRASH: &str = ".trash/";

/// What became of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    Moved,
    /// It was at its target before, and nothing of it at the source.
    AlreadyThere,
    /// Something else stands at the source than was seen: left alone.
    Changed,
    /// Neither at the source nor at the target.
    Missing,
    /// Other bytes stand at the target: left alone, like the source.
    TargetTaken,
}

/// What became of a deletion for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeOutcome {
    Purged,
    AlreadyGone,
    /// Something else stands at the key than was seen: left alone.
    Changed,
}

/// Where a run puts what stood at the key: `.trash/<run>/<key>`.
///
/// # Errors
/// [`ProviderError::Invalid`] for a key that is not text, or that is in the trash already.
pub fn trash_key(provider: &Provider, run_id: &str, key: &Key) -> Result<Key, ProviderError> {
    match key.as_str() {
        Some(text) if !text.starts_with(TRASH) => Ok(trash_place(run_id, key)),
        _ => Err(invalid(
            provider,
            "trash",
            format!("{key} cannot go to the trash"),
        )),
    }
}

/// The same for a key that is known to be one that can go there.
pub(super) fn trash_place(run_id: &str, key: &Key) -> Key {
    Key::new([TRASH.as_bytes(), run_id.as_bytes(), b"/", key.as_bytes()].concat())
}

/// Where the sidecar of an object is, in the trash or out of it.
#[must_use]
pub fn sidecar_key(key: &Key) -> Key {
    let bytes = key.as_bytes();
    let name = bytes.rsplit(|b| *b == b'/').next().unwrap_or(bytes);
    let suffix = match bytes.starts_with(TRASH.as_bytes()) {
        false => SIDECAR_SUFFIX,
        true if name.len() + TRASHED_SUFFIX.len() > NAME_MAX => TRASHED_SHORT,
        true => TRASHED_SUFFIX,
    };
    Key::new([bytes, suffix].concat())
}

/// What is to be remembered of an object before it is touched.
#[must_use]
pub fn evidence_of(listed: &Listed) -> Evidence {
    Evidence {
        size: listed.size,
        etag: listed.etag.clone(),
        last_modified: Some(listed.last_modified),
    }
}

/// Whether the object is still what was seen. A HEAD tells whole seconds where a listing tells less; what was
/// not written down is not compared.
#[must_use]
pub fn still_holds(evidence: &Evidence, found: &Listed) -> bool {
    let bare = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
    let same_etag = match (&evidence.etag, &found.etag) {
        (Some(seen), Some(now)) => bare(seen) == bare(now),
        _ => true,
    };
    let same_time = evidence.last_modified.is_none_or(|seen| {
        let now = found.last_modified;
        let whole = seen.timestamp_subsec_nanos() == 0 || now.timestamp_subsec_nanos() == 0;
        if whole {
            seen.timestamp() == now.timestamp()
        } else {
            seen.timestamp_micros() == now.timestamp_micros()
        }
    });
    found.kind == EntryKind::Object && evidence.size == found.size && same_etag && same_time
}

/// Moves an object from a key to a free one, its sidecar with it, while it is what was seen.
///
/// # Errors
/// Where the provider does not answer clearly. Whatever was
/// done by then, the same call finishes it.
///
/// # Cancellation
/// Safe: at worst the object is at both keys, and the same call finishes it.
pub async fn move_object(
    provider: &Provider,
    from: &Key,
    to: &Key,
    evidence: &Evidence,
) -> Result<MoveOutcome, ProviderError> {
    let outcome = move_bytes(provider, from, to, evidence).await?;
    if matches!(outcome, MoveOutcome::Moved | MoveOutcome::AlreadyThere) {
        move_sidecar(provider, from, to).await?;
        provider.tidy(from).await;
    }
    Ok(outcome)
}

/// The same to a place that nobody has used before, of an object that was seen a moment ago. Where a provider deletes on
/// condition, the deletion itself is the second look: it is refused where something else stands at the key by then. A `bare`
/// one was seen to have no sidecar.
///
/// # Errors
/// As [`move_object`], which may be called after it.
///
/// # Cancellation
/// As [`move_object`].
pub async fn move_to_new_place(
    provider: &Provider,
    (from, to): (&Key, &Key),
    (evidence, bare): (&Evidence, bool),
) -> Result<MoveOutcome, ProviderError> {
    let (Some(last_modified), Some(etag), true) = (
        evidence.last_modified,
        &evidence.etag,
        provider.deletes_on_condition().await?,
    ) else {
        return move_object(provider, from, to, evidence).await;
    };
    let seen = Listed {
        key: from.clone(),
        kind: EntryKind::Object,
        size: evidence.size,
        last_modified,
        etag: Some(etag.clone()),
    };
    let sidecar = async {
        if bare {
            Ok(None)
        } else {
            provider.head(&sidecar_key(from)).await
        }
    };
    // Both come to their end: a copy that nobody waits for may be made all the same.
    let (outcome, found) = futures::join!(copy(provider, from, to, &seen), sidecar);
    match outcome? {
        MoveOutcome::Moved if found?.is_some() => move_sidecar(provider, from, to).await?,
        // Whether the object is gone, or all of the bucket, a look tells.
        MoveOutcome::Missing => return move_object(provider, from, to, evidence).await,
        outcome => return Ok(outcome),
    }
    Ok(MoveOutcome::Moved)
}

/// Brings an object back from the trash to its key. Its time and ETag may have changed on the way there; its
/// place, which is one run's alone, says that it is the right one, and its size is compared.
///
/// # Errors
/// As [`move_object`].
///
/// # Cancellation
/// As [`move_object`].
pub async fn put_back(
    provider: &Provider,
    trashed: &Key,
    to: &Key,
    evidence: &Evidence,
) -> Result<MoveOutcome, ProviderError> {
    let size_only = Evidence {
        size: evidence.size,
        etag: None,
        last_modified: None,
    };
    move_object(provider, trashed, to, &size_only).await
}

/// Deletes an object and its sidecar for good, while it is what was seen.
///
/// # Errors
/// Where the provider does not answer clearly.
///
/// # Cancellation
/// Safe: the same call finishes it.
pub async fn purge(
    provider: &Provider,
    key: &Key,
    evidence: &Evidence,
) -> Result<PurgeOutcome, ProviderError> {
    let outcome = match provider.head(key).await? {
        None => PurgeOutcome::AlreadyGone,
        Some(found) if !still_holds(evidence, &found) => return Ok(PurgeOutcome::Changed),
        Some(found) => match provider.delete_seen(key, &found).await? {
            Deletion::Deleted => PurgeOutcome::Purged,
            Deletion::Absent => PurgeOutcome::AlreadyGone,
            Deletion::Changed => return Ok(PurgeOutcome::Changed),
        },
    };
    remove(provider, &sidecar_key(key)).await?;
    provider.tidy(key).await;
    Ok(outcome)
}

pub(super) async fn remove(provider: &Provider, key: &Key) -> Result<(), ProviderError> {
    let at = provider.location(key)?;
    match provider.store.delete(&at).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(provider.store_error("delete", error)),
    }
}

/// What stands at both keys, once a copy from one to the other that a dead run began is at its end.
pub(super) async fn look(
    provider: &Provider,
    from: &Key,
    to: &Key,
) -> Result<(Option<Listed>, Option<Listed>), ProviderError> {
    let (source, mut target) = futures::try_join!(provider.head(from), provider.head(to))?;
    if source.is_some() && target.is_some() && provider.settle_copy(from, to).await? {
        target = provider.head(to).await?;
    }
    Ok((source, target))
}

async fn move_bytes(
    provider: &Provider,
    from: &Key,
    to: &Key,
    evidence: &Evidence,
) -> Result<MoveOutcome, ProviderError> {
    match look(provider, from, to).await? {
        (None, None) => Ok(MoveOutcome::Missing),
        (None, Some(target)) if target.kind == EntryKind::Object && target.size == evidence.size => {
            Ok(MoveOutcome::AlreadyThere)
        }
        (None, Some(_)) => Ok(MoveOutcome::TargetTaken),
        (Some(source), _) if !still_holds(evidence, &source) => Ok(MoveOutcome::Changed),
        (Some(source), None) if provider.type_name == "local" => {
            rename(provider, from, to, &source, evidence).await
        }
        (Some(source), None) => copy(provider, from, to, &source).await,
        (Some(source), Some(target)) => {
            // A call before this one may have copied and not deleted; only equal bytes say so.
            if source.size != target.size || !same_bytes((provider, from), (provider, to)).await? {
                return Ok(MoveOutcome::TargetTaken);
            }
            delete_source(provider, from, &source).await
        }
    }
}

/// A copy, looked at, then the deletion of the source. The copy is of what was seen, since the source is the same
/// before and after.
async fn copy(
    provider: &Provider,
    from: &Key,
    to: &Key,
    source: &Listed,
) -> Result<MoveOutcome, ProviderError> {
    let copied = duplicate(provider, from, to, source).await?;
    if copied != MoveOutcome::Moved {
        return Ok(copied);
    }
    let outcome = delete_source(provider, from, source).await?;
    if outcome == MoveOutcome::Changed {
        // What was copied is not known to be either version, and the key has the newer one.
        remove(provider, to).await?;
    }
    Ok(outcome)
}

/// The bytes of `from` at `to` as well, looked at; the caller saw that nothing stood there. [`MoveOutcome::Moved`] where
/// they are.
pub(super) async fn duplicate(
    provider: &Provider,
    from: &Key,
    to: &Key,
    source: &Listed,
) -> Result<MoveOutcome, ProviderError> {
    if provider.copies_at_most().is_some_and(|most| source.size > most) {
        if !provider.duplicate_in_parts(from, to, None).await? {
            return Ok(MoveOutcome::Missing);
        }
        return arrived(provider, from, to, source).await;
    }
    let (source_at, target_at) = (provider.location(from)?, provider.location(to)?);
    match provider.duplicate(&source_at, &target_at).await {
        Ok(()) => {}
        Err(object_store::Error::NotFound { .. }) => return Ok(MoveOutcome::Missing),
        Err(object_store::Error::AlreadyExists { .. }) => return Ok(MoveOutcome::TargetTaken),
        Err(error) => return Err(provider.store_error("copy", error)),
    }
    arrived(provider, from, to, source).await
}

async fn arrived(
    provider: &Provider,
    from: &Key,
    to: &Key,
    source: &Listed,
) -> Result<MoveOutcome, ProviderError> {
    let there = provider.head(to).await?;
    if there.is_none_or(|found| found.size != source.size) {
        let reason = format!("the copy of {from} at {to} is not what was copied; nothing was deleted");
        return Err(invalid(provider, "copy", reason));
    }
    Ok(MoveOutcome::Moved)
}

/// Deletes what has been copied, after one more look at it where the deletion itself is none.
async fn delete_source(
    provider: &Provider,
    from: &Key,
    source: &Listed,
) -> Result<MoveOutcome, ProviderError> {
    if source.etag.is_none() || !provider.deletes_on_condition().await? {
        match provider.head(from).await? {
            Some(found) if still_holds(&evidence_of(source), &found) => {}
            Some(_) => return Ok(MoveOutcome::Changed),
            None => return Ok(MoveOutcome::Moved),
        }
    }
    Ok(match provider.delete_seen(from, source).await? {
        Deletion::Deleted | Deletion::Absent => MoveOutcome::Moved,
        Deletion::Changed => MoveOutcome::Changed,
    })
}

/// The sidecar is derived from the row: where one stands at the target already, that one stays, and so does ours.
async fn move_sidecar(provider: &Provider, from: &Key, to: &Key) -> Result<(), ProviderError> {
    let (from, to) = (sidecar_key(from), sidecar_key(to));
    let Some(found) = provider.head(&from).await? else {
        return Ok(());
    };
    match move_bytes(provider, &from, &to, &evidence_of(&found)).await? {
        MoveOutcome::Moved | MoveOutcome::AlreadyThere | MoveOutcome::Missing => Ok(()),
        MoveOutcome::Changed | MoveOutcome::TargetTaken => {
            tracing::warn!(
                provider = provider.name,
                "the sidecar {from} was left where it is"
            );
            Ok(())
        }
    }
}

/// Whether the same bytes are at both keys, read from both.
pub(super) async fn same_bytes(
    one: (&Provider, &Key),
    other: (&Provider, &Key),
) -> Result<bool, ProviderError> {
    let open = async |(provider, key): (&Provider, &Key)| {
        let at = provider.location(key)?;
        let found = provider.store.get(&at).await;
        found
            .map(object_store::GetResult::into_stream)
            .map_err(|error| provider.store_error("read", error))
    };
    let (mut left, mut right) = (open(one).await?, open(other).await?);
    let (mut a, mut b) = (Bytes::new(), Bytes::new());
    loop {
        let fill_a = async {
            let filled = fill(&mut left, &mut a).await;
            filled.map_err(|error| one.0.store_error("read", error))
        };
        let fill_b = async {
            let filled = fill(&mut right, &mut b).await;
            filled.map_err(|error| other.0.store_error("read", error))
        };
        futures::try_join!(fill_a, fill_b)?;
        let shared = a.len().min(b.len());
        if shared == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a.split_to(shared) != b.split_to(shared) {
            return Ok(false);
        }
    }
}

/// Reads on where nothing is left; nothing after that is the end.
async fn fill<S>(from: &mut S, into: &mut Bytes) -> object_store::Result<()>
where
    S: Stream<Item = object_store::Result<Bytes>> + Unpin,
{
    while into.is_empty() {
        match from.try_next().await? {
            Some(more) => *into = more,
            None => break,
        }
    }
    Ok(())
}

fn invalid(provider: &Provider, operation: &'static str, reason: String) -> ProviderError {
    ProviderError::Invalid {
        provider: provider.name.clone(),
        operation,
        reason,
    }
}
