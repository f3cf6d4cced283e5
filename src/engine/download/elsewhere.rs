//! A file whose own provider cannot give it, fetched from a copy that is kept elsewhere, under the same comparisons.

use std::sync::Arc;

use super::{DownloadError, Wanted};
use crate::providers::{Key, Provider, ProviderError};

/// A file's bytes on another provider.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    pub provider: Arc<Provider>,
    pub key: Key,
}

impl Wanted {
    /// The same file from where a copy of it is.
    fn at_copy(&self, copy: &Elsewhere) -> Self {
        Self {
            provider: Arc::clone(&copy.provider),
            key: Some(copy.key.clone()),
            copies: Vec::new(),
            ..self.clone()
        }
    }
}

/// What came of `fetch` with the file's own provider or, where that does not answer, has lost it or has other bytes, with
/// the first copy that is good.
///
/// # Errors
/// The own provider's, where no copy is good either.
pub(super) async fn first_good<T>(
    wanted: &Wanted,
    fetch: impl AsyncFn(&Wanted) -> Result<T, DownloadError>,
) -> Result<T, DownloadError> {
    let error = match fetch(wanted).await {
        Err(error) if is_worth_a_copy(&error) => error,
        fetched => return fetched,
    };
    for copy in &wanted.copies {
        match fetch(&wanted.at_copy(copy)).await {
            Ok(fetched) => {
                let (name, from) = (&wanted.record.original_name, &copy.provider.name);
                tracing::warn!("{name} came from its copy on {from}, since {error}");
                return Ok(fetched);
            }
            Err(other) => tracing::warn!("the copy on {} is no help: {other}", copy.provider.name),
        }
    }
    Err(error)
}

fn is_worth_a_copy(error: &DownloadError) -> bool {
    match error {
        DownloadError::Missing(_) | DownloadError::Integrity(_) => true,
        DownloadError::Provider(error) => {
            error.is_outage() || matches!(error, ProviderError::RootMissing { .. })
        }
        _ => false,
    }
}
