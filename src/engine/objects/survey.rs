//! What a page or two of a listing tell of many objects at once, where the provider can begin one in the middle: a question
//! for each of them, and another for its sidecar, costs many times as much.
//!
//! What a listing does not show may be there all the same: of that nothing is said here, and the caller asks for it by name.

use std::collections::{BTreeMap, BTreeSet};

use super::sidecar_key;
use crate::providers::{EntryKind, Key, Listed, Provider};

/// Objects of one folder for which a listing is cheaper than the questions.
const WORTH: usize = 16;
/// Of how many entries of a listing one may be asked for: more, and the questions are cheaper.
const SPARSE: usize = 10;
/// Entries of a page.
const PAGE: usize = 1000;

/// What was listed, by key.
#[derive(Debug, Default)]
pub struct Survey(BTreeMap<Key, Listed>);

impl Survey {
    /// Lists where these keys are. Best effort: what cannot be listed is not known.
    pub async fn of<'a>(provider: &Provider, keys: impl Iterator<Item = &'a Key>) -> Self {
        let mut folders: BTreeMap<&str, BTreeSet<&Key>> = BTreeMap::new();
        for key in keys {
            if let Some(text) = key.as_str() {
                let folder = text.rfind('/').map_or("", |end| &text[..=end]);
                folders.entry(folder).or_default().insert(key);
            }
        }
        let mut seen = Self::default();
        for (folder, keys) in folders {
            if keys.len() >= WORTH {
                seen.add(provider, folder, &keys).await;
            }
        }
        seen
    }

    async fn add(&mut self, provider: &Provider, folder: &str, keys: &BTreeSet<&Key>) {
        let last = keys.iter().map(|key| sidecar_key(key)).max();
        let (Some(first), Some(last)) = (keys.first(), last) else {
            return;
        };
        // A few others are among them, or sidecars, or they take another page.
        let expected = keys.len() + keys.len() / 8 + WORTH;
        let pages = 1 + keys.len() * SPARSE / PAGE;
        match provider
            .list_between(folder, (first, &last), (expected, pages))
            .await
        {
            Ok(Some(listed)) => {
                let entries = listed.into_iter().map(|entry| (entry.key.clone(), entry));
                self.0.extend(entries);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!("{error}; each object is asked for by itself"),
        }
    }

    /// The object at the key, where one was listed.
    #[must_use]
    pub fn object(&self, key: &Key) -> Option<&Listed> {
        self.0.get(key).filter(|entry| entry.kind == EntryKind::Object)
    }

    /// Whether the object was listed, and no sidecar with it.
    #[must_use]
    pub fn is_bare(&self, key: &Key) -> bool {
        self.0.contains_key(key) && !self.0.contains_key(&sidecar_key(key))
    }
}
