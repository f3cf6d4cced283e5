//! The questions asked again of each item, right before it is touched. The order keeps an upload that ends meanwhile
//! from being taken for an orphan: first the object, then the intents, then the records.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::super::finding::{LoneSidecar, OrphanedObject, OrphanedRecord, stamp_text};
use super::super::under_way::UnderWay;
use super::IN_FLIGHT;
use super::session::{ApplyError, Work};
use crate::engine::objects::still_holds;
use crate::metadata::FileRecord;
use crate::metadata::journal::Evidence;
use crate::providers::{Key, Listed, Provider, sidecar_object, stored_shape, uuids_in};

/// An object that is still what was judged, and still nobody's.
#[derive(Debug)]
pub struct Candidate {
    pub provider: Arc<Provider>,
    pub key: Key,
    pub object: Listed,
}

impl Candidate {
    /// The UUID in its key.
    pub fn id(&self) -> Option<String> {
        stored_shape(self.key.as_bytes()).map(|shape| shape.id.to_owned())
    }

    /// Whether it is a sidecar by itself.
    pub fn is_sidecar(&self) -> bool {
        sidecar_object(self.key.as_bytes()).is_some()
    }

    fn paths(&self) -> Vec<String> {
        let key = self.key.as_str().unwrap_or_default();
        let roots = self.provider.mapping.roots().iter();
        roots.map(|root| format!("{root}{key}")).collect()
    }
}

/// The objects of a batch that may go.
///
/// # Errors
/// Where the database or the temporary directory fails; a provider's error is the item's.
pub async fn objects(work: &mut Work<'_>, items: Vec<OrphanedObject>) -> Result<Vec<Candidate>, ApplyError> {
    let asked = items.len() as u64;
    let mut failed = 0;
    let located = items.into_iter().filter_map(|item| {
        let provider = work.provider(&item.provider)?;
        Some((provider, Key::from(item.key.as_str()), item))
    });
    let answers: Vec<_> = stream::iter(located.collect::<Vec<_>>())
        .map(|(provider, key, item)| async move { (provider.head(&key).await, provider, key, item) })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let mut same = Vec::new();
    for (answer, provider, key, item) in answers {
        match answer {
            Ok(Some(object)) if still_holds(&evidence(&item), &object) => same.push(Candidate {
                provider,
                key,
                object,
            }),
            Ok(_) => {}
            Err(error) => {
                failed += 1;
                work.failed(&item.path, &error)?;
            }
        }
    }
    let claimed = claimed(work, &same.iter().collect::<Vec<_>>()).await?;
    same.retain(|candidate| !claimed.contains(&candidate.key));
    work.outcome.skipped.objects += asked - failed - same.len() as u64;
    Ok(same)
}

/// The sidecars of a batch that may go: the same as was found, their object not there, and no record's.
///
/// # Errors
/// As [`objects`].
pub async fn sidecars(work: &mut Work<'_>, items: Vec<LoneSidecar>) -> Result<Vec<Candidate>, ApplyError> {
    let located = items.into_iter().filter_map(|item| {
        let provider = work.provider(&item.provider)?;
        let key = Key::from(item.key.as_str());
        let object = Key::new(sidecar_object(key.as_bytes())?);
        Some((provider, key, object, item))
    });
    let answers: Vec<_> = stream::iter(located.collect::<Vec<_>>())
        .map(|(provider, key, object, item)| async move {
            let heads = futures::try_join!(provider.head(&key), provider.head(&object));
            (heads, provider, key, item)
        })
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let asked = answers.len() as u64;
    let (mut same, mut failed) = (Vec::new(), 0);
    for (heads, provider, key, item) in answers {
        let seen = Evidence {
            size: item.size,
            etag: item.etag.clone(),
            last_modified: Some(item.last_modified),
        };
        match heads {
            Ok((Some(object), None)) if still_holds(&seen, &object) => same.push(Candidate {
                provider,
                key,
                object,
            }),
            Ok(_) => {}
            Err(error) => {
                failed += 1;
                work.failed(&item.key, &error)?;
            }
        }
    }
    let claimed = claimed(work, &same.iter().collect::<Vec<_>>()).await?;
    same.retain(|candidate| !claimed.contains(&candidate.key));
    work.outcome.skipped.sidecars += asked - failed - same.len() as u64;
    Ok(same)
}

fn evidence(item: &OrphanedObject) -> Evidence {
    Evidence {
        size: item.size,
        etag: item.etag.clone(),
        last_modified: Some(item.last_modified),
    }
}

/// Keys among these that somebody has by now: somebody's work under way, or a record by UUID or by path.
///
/// # Errors
/// Where the database fails.
pub async fn claimed(work: &Work<'_>, candidates: &[&Candidate]) -> Result<HashSet<Key>, ApplyError> {
    if candidates.is_empty() {
        return Ok(HashSet::new());
    }
    let store = work.desk.metadata;
    let under_way = UnderWay::beside(store, work.run.id()).await?;
    let ids: Vec<String> = candidates
        .iter()
        .flat_map(|candidate| uuids_in(candidate.key.as_bytes()))
        .collect();
    let known = store.known_ids(&ids).await?;
    let paths: Vec<String> = candidates
        .iter()
        .flat_map(|candidate| candidate.paths())
        .collect();
    let named = store.known_paths(&paths).await?;
    let claimed = candidates.iter().filter(|candidate| {
        let ids = uuids_in(candidate.key.as_bytes());
        ids.is_empty()
            || ids.iter().any(|id| known.contains(id))
            || under_way.contains(&candidate.provider.name, &ids, &candidate.key)
            || candidate.paths().iter().any(|path| named.contains(path))
    });
    Ok(claimed.map(|candidate| candidate.key.clone()).collect())
}

/// Whether the row is still the one that was judged.
pub fn is_same_record(item: &OrphanedRecord, row: &FileRecord) -> bool {
    row.provider_path == item.path
        && row.size == item.size
        && row.original_name == item.original_name
        && row.folder == item.folder
        && stamp_text(&row.created_at) == item.created_at
        && stamp_text(&row.updated_at) == item.updated_at
}
