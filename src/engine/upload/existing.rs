//! Whether a file is stored already: same folder, name, size and content.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};

use super::check::Candidate;
use super::put::PutError;
use super::{Desk, Outcome, UploadRequest, put};
use crate::engine::hash::hex;
use crate::metadata::{FileRecord, MetadataStore};
use crate::providers::{Key, Provider, ProviderError};

/// The record that has the candidate's content, if one has. A record whose object is gone has no content.
pub(super) async fn find(
    request: &UploadRequest,
    desk: Option<&Desk>,
    metadata: &dyn MetadataStore,
    candidate: &Candidate,
) -> Result<Option<FileRecord>, Outcome> {
    let named = metadata
        .find_by_original_name(&request.folder.name, &candidate.name)
        .await
        .map_err(|error| Outcome::of_database(&error))?;
    let alike = |record: &FileRecord| u64::try_from(record.size) == Ok(candidate.size);
    let mut own: Option<String> = None;
    for record in named.into_iter().filter(alike) {
        let Some((provider, key)) = place(&request.providers, &record) else {
            continue;
        };
        let ours = match &own {
            Some(known) => known,
            None => own.insert(hash(candidate).await?),
        };
        let theirs = content(desk, provider, &key, &record).await?;
        if theirs.as_ref() == Some(ours) {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The provider and key that a record names.
fn place<'p>(providers: &'p [Arc<Provider>], record: &FileRecord) -> Option<(&'p Arc<Provider>, Key)> {
    let under = |provider: &&Arc<Provider>| provider.mapping.root_of(&record.provider_path).map(str::len);
    let provider = providers
        .iter()
        .filter(|p| under(p).is_some())
        .max_by_key(under)?;
    Some((provider, provider.mapping.key_of(&record.provider_path)?))
}

async fn hash(candidate: &Candidate) -> Result<String, Outcome> {
    let unreadable =
        |error: std::io::Error| Outcome::failed(&format!("it cannot be read: {error}"), "STORAGE_ERROR");
    let path = candidate.path.clone();
    let hashing = tokio::task::spawn_blocking(move || put::hash_of(&std::fs::File::open(path)?));
    hashing
        .await
        .unwrap_or_else(|lost| Err(std::io::Error::other(lost)))
        .map_err(unreadable)
}

/// The SHA-256 of what the record's object holds: as it was written down, else read back. `None` where the object is
/// gone or has another size than the record.
async fn content(
    desk: Option<&Desk>,
    provider: &Provider,
    key: &Key,
    record: &FileRecord,
) -> Result<Option<String>, Outcome> {
    let failed = |error: ProviderError| {
        let why = format!("whether it is stored already cannot be told: {error}");
        Outcome::undelivered(&why, &PutError::Provider(error))
    };
    let head = provider.head(key).await.map_err(failed)?;
    if head.is_none_or(|found| i64::try_from(found.size) != Ok(record.size)) {
        return Ok(None);
    }
    if let Some(desk) = desk
        && let Some(known) = desk
            .store
            .checksum(&record.id)
            .await
            .map_err(|e| Outcome::of_database(&e))?
    {
        return Ok(Some(known));
    }
    read_back(provider, key).await.map_err(failed)
}

async fn read_back(provider: &Provider, key: &Key) -> Result<Option<String>, ProviderError> {
    let location = provider.location(key)?;
    let mut bytes = match provider.store.get(&location).await {
        Ok(got) => got.into_stream(),
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(provider.store_error("download", error)),
    };
    let mut hash = Sha256::new();
    while let Some(piece) = bytes
        .try_next()
        .await
        .map_err(|error| provider.store_error("download", error))?
    {
        hash.update(&piece);
    }
    Ok(Some(hex(hash.finalize())))
}
