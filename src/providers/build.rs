//! From an entry of `storage.yml` to a [`Provider`]. The only place that puts a store together.

use std::sync::Arc;

use super::local::LocalStore;
use super::{Lister, Mapping, Provider, ProviderError, azure, gcs, s3};
use crate::config::{Global, ProviderConfig, ProviderKind};

/// Builds the provider's clients; sends nothing, so that it also works while the provider is down.
///
/// # Errors
/// [`ProviderError::Configuration`] where the entry cannot be used as it stands.
pub fn build(config: &ProviderConfig, global: &Global) -> Result<Provider, ProviderError> {
    let unusable = |reason: String| ProviderError::Configuration {
        provider: config.name.clone(),
        reason,
    };
    let mapping =
        mapping_of(config).ok_or_else(|| unusable(format!("{} is not set", missing_key(config))))?;
    let (store, lister) = match &config.kind {
        ProviderKind::S3(settings) => {
            let connected = s3::connect(&config.name, &config.prefix, settings, global)?;
            (connected.store, Lister::S3(connected.s3))
        }
        ProviderKind::Local(settings) => {
            let local = LocalStore::new(&config.name, &settings.path);
            (Arc::new(local.clone()) as _, Lister::Local(local))
        }
        ProviderKind::Azure(settings) => {
            let connected = azure::connect(&config.name, &config.prefix, settings, global)?;
            (connected.store, Lister::Azure(connected.azure))
        }
        ProviderKind::Gcs(settings) => {
            let connected = gcs::connect(&config.name, &config.prefix, settings, global)?;
            (connected.store, Lister::Gcs(connected.gcs))
        }
    };
    Ok(Provider {
        name: config.name.clone(),
        type_name: config.kind.type_name(),
        mapping,
        store,
        prefix: config.prefix.clone(),
        lister,
        held: super::conditional::Held::default(),
    })
}

/// Which records are this provider's, asked without building anything; `None` where the entry is too empty to
/// own any (a disabled S3 provider without a bucket).
#[must_use]
pub fn mapping_of(config: &ProviderConfig) -> Option<Mapping> {
    let root = match &config.kind {
        ProviderKind::Local(local) => local.path.to_str().filter(|p| !p.is_empty())?.to_owned(),
        ProviderKind::S3(s3) => format!("s3://{}/{}", filled(&s3.bucket)?, config.prefix),
        ProviderKind::Azure(azure) => format!(
            "azure://{}/{}/{}",
            filled(&azure.account_name)?,
            filled(&azure.container_name)?,
            config.prefix
        ),
        ProviderKind::Gcs(gcs) => format!("gs://{}/{}", filled(&gcs.bucket)?, config.prefix),
    };
    Some(Mapping::new(&root, &config.aliases))
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

const fn missing_key(config: &ProviderConfig) -> &'static str {
    match &config.kind {
        ProviderKind::Local(_) => "`path`",
        ProviderKind::S3(_) | ProviderKind::Gcs(_) => "`bucket`",
        ProviderKind::Azure(_) => "`account_name` or `container_name`",
    }
}
