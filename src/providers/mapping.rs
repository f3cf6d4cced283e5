//! `key <-> provider_path`, both ways, former roots included.

use super::Key;

/// The roots a provider's records may name, each ending at a `/`; the first is the one in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    roots: Vec<String>,
}

impl Mapping {
    /// `root` and `aliases` as a `provider_path` begins with them; a missing final `/` is added, so that a root
    /// `town` never covers `townhall/`.
    #[must_use]
    pub fn new(root: &str, aliases: &[String]) -> Self {
        let ended = |root: &str| format!("{}/", root.trim_end_matches('/'));
        let mut roots = vec![ended(root)];
        for alias in aliases.iter().map(|a| ended(a)) {
            if !roots.contains(&alias) {
                roots.push(alias);
            }
        }
        Self { roots }
    }

    /// Every root, the one in use first.
    #[must_use]
    pub fn roots(&self) -> &[String] {
        &self.roots
    }

    /// What a new record would hold for this key; `None` where the key is not text.
    #[must_use]
    pub fn path_of(&self, key: &Key) -> Option<String> {
        Some(format!("{}{}", self.roots[0], key.as_str()?))
    }

    /// The key that a record's `provider_path` names here; `None` where it is another provider's, or where no
    /// key could be what it names (an empty segment, `.` or `..`).
    #[must_use]
    pub fn key_of(&self, provider_path: &str) -> Option<Key> {
        let root = self.root_of(provider_path)?;
        let key = Key::from(&provider_path[root.len()..]);
        key.is_addressable().then_some(key)
    }

    /// The root that a path belongs to: the longest, where roots lie within each other.
    #[must_use]
    pub fn root_of(&self, provider_path: &str) -> Option<&str> {
        let under = self
            .roots
            .iter()
            .filter(|root| provider_path.starts_with(root.as_str()));
        under.max_by_key(|root| root.len()).map(String::as_str)
    }
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
