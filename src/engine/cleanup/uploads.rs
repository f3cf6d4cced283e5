//! Uploads under way, as their intents tell: what they have put so far is nobody's orphan.

use std::collections::HashSet;

use crate::metadata::journal::UploadIntent;
use crate::providers::Key;

/// Ids and keys that uploads have claimed.
#[derive(Debug, Default)]
pub struct Uploads {
    ids: HashSet<String>,
    keys: HashSet<(String, Key)>,
}

impl Uploads {
    pub fn of<'a>(intents: impl IntoIterator<Item = &'a UploadIntent>) -> Self {
        let mut uploads = Self::default();
        for intent in intents {
            uploads.ids.insert(intent.file_id.to_lowercase());
            uploads
                .keys
                .insert((intent.provider.clone(), Key::from(intent.key.as_str())));
        }
        uploads
    }

    /// Whether one of them claims any of the ids, wherever, or the key on this provider.
    pub fn contains(&self, provider: &str, ids: &[String], key: &Key) -> bool {
        ids.iter().any(|id| self.ids.contains(id)) || self.keys.contains(&(provider.to_owned(), key.clone()))
    }
}
