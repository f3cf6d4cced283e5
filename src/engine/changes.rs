//! What commands that change files share: whose a record is, and what became of each item.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::cleanup::{ErrorSummary, ItemError};
use super::list::owner;
use super::ownership::TakenOver;
use crate::metadata::{FileRecord, ProviderRoots};
use crate::providers::{Key, Provider, ProviderError};

/// Every configured provider, whatever is active now.
#[derive(Debug, Default)]
pub struct Sites {
    pub roots: Vec<ProviderRoots>,
    /// By name; why it cannot be used where it cannot.
    pub providers: HashMap<String, Result<Arc<Provider>, String>>,
}

impl Sites {
    /// The provider of that name, where it can be used.
    ///
    /// # Errors
    /// Why it cannot, for an item of this name.
    pub fn named(&self, provider: &str, item: &str) -> Result<Arc<Provider>, ItemError> {
        match self.providers.get(provider) {
            Some(Ok(found)) => Ok(Arc::clone(found)),
            Some(Err(reason)) => Err(failed(item, "STORAGE_PROVIDER_UNAVAILABLE", reason)),
            None => {
                let reason = format!("storage.yml has no provider {provider}");
                Err(failed(item, "STORAGE_CONFIGURATION_ERROR", &reason))
            }
        }
    }

    /// Where the record says its bytes are.
    ///
    /// # Errors
    /// Where no configured provider's root matches its path, or the one that does cannot be used.
    pub fn of_record(&self, record: &FileRecord) -> Result<(Arc<Provider>, Key), ItemError> {
        let path = &record.provider_path;
        let unmapped = || {
            let reason = format!("no configured provider matches its path {path}; its record is kept");
            failed(&record.id, "STORAGE_CONFIGURATION_ERROR", &reason)
        };
        let name = owner(path, &self.roots).ok_or_else(unmapped)?;
        let provider = self.named(name, &record.id)?;
        let key = provider.mapping.key_of(path).ok_or_else(unmapped)?;
        Ok((provider, key))
    }

    /// From now on the provider cannot be used, for this reason.
    pub fn give_up(&mut self, provider: &str, error: &ProviderError) {
        self.providers.insert(provider.to_owned(), Err(error.to_string()));
    }

    /// All that can be used.
    #[must_use]
    pub fn usable(&self) -> Vec<Arc<Provider>> {
        self.providers.values().flatten().cloned().collect()
    }
}

/// An item that was left as it is.
#[must_use]
pub fn failed(item: &str, code: &str, reason: &str) -> ItemError {
    ItemError {
        file: item.to_owned(),
        error: reason.to_owned(),
        error_code: code.to_owned(),
    }
}

/// The same by a provider's error.
#[must_use]
pub fn failed_by(item: &str, error: &ProviderError) -> ItemError {
    let code = match error {
        ProviderError::RootMissing { .. }
        | ProviderError::Unavailable { .. }
        | ProviderError::Denied { .. } => "STORAGE_PROVIDER_UNAVAILABLE",
        ProviderError::Configuration { .. } => "STORAGE_CONFIGURATION_ERROR",
        ProviderError::Invalid { .. } => "STORAGE_ERROR",
    };
    failed(item, code, &error.to_string())
}

/// Whether the request may still be carried out after its error: then nothing may be concluded from it.
#[must_use]
pub const fn is_uncertain(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Unavailable { .. } | ProviderError::RootMissing { .. }
    )
}

/// What became of each item.
#[derive(Debug, Default)]
pub struct Changes {
    pub successful: Vec<Value>,
    pub failed: Vec<ItemError>,
    pub errors: ErrorSummary,
    /// Providers that were another installation's before.
    pub taken_over: Vec<TakenOver>,
    /// Bytes of what went through.
    pub bytes: u64,
    /// The operator stopped it between two batches.
    pub interrupted: bool,
}

impl Changes {
    pub fn succeed(&mut self, item: Value, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.successful.push(item);
    }

    pub fn fail_all(&mut self, errors: Vec<ItemError>) {
        for error in errors {
            self.fail(error);
        }
    }

    pub fn fail(&mut self, error: ItemError) {
        self.errors.add(&error);
        self.failed.push(error);
    }
}

/// Items that are worked on in one transaction.
pub const BATCH: usize = 100;
