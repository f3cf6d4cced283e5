//! A page of the records, each with the provider that has its bytes.

use crate::metadata::{self, FileRecord, ListQuery, MetadataStore, ProviderRoots};

/// A record and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    pub record: FileRecord,
    /// `None` where no configured provider's root matches.
    pub provider: Option<String>,
}

/// A page of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePage {
    pub files: Vec<ListedFile>,
    /// Files on all pages.
    pub total: u64,
}

/// Reads one page.
///
/// # Errors
/// Where the database cannot be read.
pub async fn list(
    store: &dyn MetadataStore,
    query: &ListQuery,
    roots: &[ProviderRoots],
) -> metadata::Result<FilePage> {
    let page = store.list(query).await?;
    let listed = |record: FileRecord| ListedFile {
        provider: owner(&record.provider_path, roots).map(str::to_owned),
        record,
    };
    Ok(FilePage {
        files: page.records.into_iter().map(listed).collect(),
        total: page.total,
    })
}

/// The provider whose root the path is under; under several, the one with the longest root.
#[must_use]
pub fn owner<'r>(provider_path: &str, roots: &'r [ProviderRoots]) -> Option<&'r str> {
    let matching = roots.iter().flat_map(|provider| {
        let under = provider
            .roots
            .iter()
            .filter(|root| provider_path.starts_with(root.as_str()));
        under.map(|root| (root.len(), provider.provider.as_str()))
    });
    matching.max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::owner;
    use crate::metadata::ProviderRoots;

    #[test]
    fn the_longest_root_owns_a_path_and_no_root_owns_a_longer_name() {
        let of = |provider: &str, roots: &[&str]| ProviderRoots {
            provider: provider.into(),
            roots: roots.iter().map(ToString::to_string).collect(),
        };
        let roots = [of("outer", &["/a/", "/b/"]), of("inner", &["/a/in/"])];
        assert_eq!(owner("/a/x", &roots), Some("outer"));
        assert_eq!(owner("/a/in/x", &roots), Some("inner"));
        assert_eq!(owner("/ab/x", &roots), None);
    }
}
