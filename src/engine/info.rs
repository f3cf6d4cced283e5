//! One file: its record, and whether the provider has what the record says.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::metadata::{self, FileRecord, MetadataStore};
use crate::providers::{EntryKind, Key, Listed, Provider, ProviderError};

/// The records that an operator may have meant by `target`: an id, or `folder/name`. One with exactly that id is
/// meant alone. Both folders and names may hold a `/`, so every way to divide the text is tried. Ordered by id.
///
/// # Errors
/// Where the database cannot be read.
pub async fn find(store: &dyn MetadataStore, target: &str) -> metadata::Result<Vec<FileRecord>> {
    if let Some(record) = by_id(store, target).await? {
        return Ok(vec![record]);
    }
    let mut found = BTreeMap::new();
    for (at, _) in target.match_indices('/') {
        for record in store.find_by_name(&target[..at], &target[at + 1..]).await? {
            found.insert(record.id.clone(), record);
        }
    }
    Ok(found.into_values().collect())
}

/// The same for several targets, in their order: those that are ids are looked up together.
///
/// # Errors
/// As [`find`].
pub async fn find_all(
    store: &dyn MetadataStore,
    targets: &[String],
) -> metadata::Result<Vec<Vec<FileRecord>>> {
    let by_id = store.get_many(targets).await?;
    let mut found = Vec::with_capacity(targets.len());
    for (target, record) in targets.iter().zip(by_id) {
        found.push(match record {
            Some(record) => vec![record],
            None => find(store, target).await?,
        });
    }
    Ok(found)
}

/// UUIDs are stored in lower case and pasted in either.
async fn by_id(store: &dyn MetadataStore, id: &str) -> metadata::Result<Option<FileRecord>> {
    match store.get(id).await? {
        Some(record) => Ok(Some(record)),
        None => store.get(&id.to_ascii_lowercase()).await,
    }
}

/// What stands where the record says its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectInfo {
    pub exists: bool,
    /// Below the provider's root or prefix.
    pub key: String,
    /// Bytes.
    pub size: Option<u64>,
    pub etag: Option<String>,
    pub last_modified: Option<DateTime<Utc>>,
    /// Whether the size is the recorded one; `None` where there is no object.
    pub size_matches: Option<bool>,
}

/// Asks the provider, once.
///
/// # Errors
/// Anything but a clear yes or no; [`ProviderError::Invalid`] where the record's path can name no object.
pub async fn object(provider: &Provider, record: &FileRecord) -> Result<ObjectInfo, ProviderError> {
    let path = &record.provider_path;
    let key = provider
        .mapping
        .key_of(path)
        .ok_or_else(|| ProviderError::Invalid {
            provider: provider.name.clone(),
            operation: "head",
            reason: format!("no object can be named {path}"),
        })?;
    let listed = provider.head(&key).await?;
    let object = listed.filter(|listed| listed.kind == EntryKind::Object);
    Ok(describe(&key, object, record))
}

fn describe(key: &Key, object: Option<Listed>, record: &FileRecord) -> ObjectInfo {
    let size = object.as_ref().map(|object| object.size);
    ObjectInfo {
        exists: object.is_some(),
        key: key.to_string(),
        size,
        size_matches: size.map(|size| i64::try_from(size) == Ok(record.size)),
        last_modified: object.as_ref().map(|object| object.last_modified),
        etag: object.and_then(|object| object.etag),
    }
}
