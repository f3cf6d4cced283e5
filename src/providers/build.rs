//! From an entry of `storage.yml` to a [`Provider`]. The only place that puts a store together, and what makes it
//! resilient around it.

use std::fmt;
use std::sync::Arc;

use chrono::Utc;

use super::local::LocalStore;
use super::{Lister, Mapping, Provider, ProviderError, azure, gcs, s3};
use crate::config::{Global, ProviderConfig, ProviderKind};
use crate::resilience::{Circuit, CircuitStore, Policy, Resuming, Shield};

/// Reads the provider's entry again, as it is by now; `None` where that cannot be done.
pub type Reload = Arc<dyn Fn() -> Option<ProviderKind> + Send + Sync>;

/// What a provider is used for, and what it shares with other processes.
#[derive(Clone, Default)]
pub struct Terms {
    /// Where circuits are kept; without, each process has its own.
    pub circuits: Option<Arc<dyn CircuitStore>>,
    /// Whether new files have another provider to go to when this one fails.
    pub has_target: bool,
    /// Requests under way at once, where that is to be more than storage.yml says.
    pub connections: Option<usize>,
    /// For credentials that are no good any more.
    pub reload: Option<Reload>,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("has_target", &self.has_target)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// What a remote provider is built on.
pub(super) struct Ground<'a> {
    pub(super) provider: &'a str,
    /// Empty, or ends at a `/`.
    pub(super) prefix: &'a str,
    pub(super) global: &'a Global,
    pub(super) shield: Arc<Shield>,
    pub(super) reload: Option<Reload>,
}

impl Ground<'_> {
    pub(super) fn unusable(&self, reason: String) -> ProviderError {
        unusable(self.provider, reason)
    }
}

/// Builds the provider's clients; sends nothing, so that it also works while the provider is down.
///
/// # Errors
/// [`ProviderError::Configuration`] where the entry cannot be used as it stands.
pub fn build(config: &ProviderConfig, global: &Global) -> Result<Provider, ProviderError> {
    build_on(config, global, Terms::default())
}

/// The same on these terms.
///
/// # Errors
/// As [`build`].
pub fn build_on(config: &ProviderConfig, global: &Global, terms: Terms) -> Result<Provider, ProviderError> {
    let missing = || unusable(&config.name, format!("{} is not set", missing_key(config)));
    let mapping = mapping_of(config).ok_or_else(missing)?;
    let mut policy = Policy::new(global, terms.has_target);
    policy.connections = policy.connections.max(terms.connections.unwrap_or_default());
    let circuit = Circuit::new(&config.name, policy.circuit, terms.circuits, Utc::now);
    let ground = Ground {
        provider: &config.name,
        prefix: &config.prefix,
        global,
        shield: Arc::new(Shield::new(&config.name, policy, circuit)),
        reload: terms.reload,
    };
    let (store, lister) = match &config.kind {
        ProviderKind::Local(settings) => {
            let local = LocalStore::new(&config.name, &settings.path);
            (Arc::new(local.clone()) as _, Lister::Local(local))
        }
        ProviderKind::S3(settings) => {
            let connected = s3::connect(settings, &ground)?;
            (connected.store, Lister::S3(connected.s3))
        }
        ProviderKind::Azure(settings) => {
            let connected = azure::connect(settings, &ground)?;
            (connected.store, Lister::Azure(connected.azure))
        }
        ProviderKind::Gcs(settings) => {
            let connected = gcs::connect(settings, &ground)?;
            (connected.store, Lister::Gcs(connected.gcs))
        }
    };
    let store = match &config.kind {
        ProviderKind::Local(_) => store,
        _ => Arc::new(Resuming::new(store, &ground.shield)) as _,
    };
    Ok(Provider {
        name: config.name.clone(),
        type_name: config.kind.type_name(),
        mapping,
        store,
        prefix: config.prefix.clone(),
        lister,
        held: super::conditional::Held::default(),
        shield: ground.shield,
        meter: None,
    })
}

fn unusable(provider: &str, reason: String) -> ProviderError {
    ProviderError::Configuration {
        provider: provider.to_owned(),
        reason,
    }
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
