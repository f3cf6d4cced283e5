//! What commands that change files share: whose a record is, and what became of each item.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::Interrupt;
use super::cleanup::{ErrorSummary, ItemError};
use super::list::owner;
use super::ownership::TakenOver;
use super::quota;
use crate::metadata::{FileRecord, ProviderRoots};
use crate::providers::{Key, Provider, ProviderError};
use crate::spill::Spool;

/// Every configured provider, whatever is active now.
#[derive(Debug, Default)]
pub struct Sites {
    pub roots: Vec<ProviderRoots>,
    /// By name; why it cannot be used where it cannot.
    pub providers: HashMap<String, Result<Arc<Provider>, Unusable>>,
}

/// Why a provider cannot be used.
#[derive(Debug, Clone)]
pub struct Unusable {
    pub reason: String,
    /// The code of an item's error.
    pub code: &'static str,
    /// The provider, where it is known and only does not answer now.
    silent: Option<Arc<Provider>>,
    unbuilt: bool,
}

impl Unusable {
    /// Its configuration cannot be used.
    #[must_use]
    pub const fn unbuilt(reason: String) -> Self {
        Self {
            reason,
            code: "STORAGE_PROVIDER_UNAVAILABLE",
            silent: None,
            unbuilt: true,
        }
    }

    /// Whether nobody has asked it, since it is switched off or cannot be built.
    #[must_use]
    pub const fn is_unbuilt(&self) -> bool {
        self.unbuilt
    }
}

impl Sites {
    /// The provider of that name, where it can be used.
    ///
    /// # Errors
    /// Why it cannot, for an item of this name.
    pub fn named(&self, provider: &str, item: &str) -> Result<Arc<Provider>, ItemError> {
        match self.providers.get(provider) {
            Some(Ok(found)) => Ok(Arc::clone(found)),
            Some(Err(why)) => Err(ItemError {
                details: Some(json!({ "provider": provider, "retryable": why.silent.is_some() })),
                ..failed(item, why.code, &why.reason)
            }),
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

    /// The provider of that name, whether it answers or not.
    #[must_use]
    pub fn known(&self, provider: &str) -> Option<Arc<Provider>> {
        match self.providers.get(provider)? {
            Ok(provider) => Some(Arc::clone(provider)),
            Err(why) => why.silent.clone(),
        }
    }

    /// The same of a provider that is known and does not answer now.
    #[must_use]
    pub fn silent(&self, record: &FileRecord) -> Option<(Arc<Provider>, Key)> {
        let name = owner(&record.provider_path, &self.roots)?;
        let provider = self.providers.get(name)?.as_ref().err()?.silent.as_ref()?;
        let key = provider.mapping.key_of(&record.provider_path)?;
        Some((Arc::clone(provider), key))
    }

    /// From now on the provider cannot be used, for this reason.
    pub fn give_up(&mut self, provider: &str, error: &ProviderError) {
        let known = self.providers.get(provider).and_then(|site| site.as_ref().ok());
        let why = Unusable {
            reason: error.to_string(),
            code: error.code(),
            silent: known.filter(|_| error.is_outage()).cloned(),
            unbuilt: false,
        };
        self.providers.insert(provider.to_owned(), Err(why));
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
        details: None,
    }
}

/// The same by a provider's error.
#[must_use]
pub fn failed_by(item: &str, error: &ProviderError) -> ItemError {
    ItemError {
        details: Some(details_of(error)),
        ..failed(item, error.code(), &error.to_string())
    }
}

/// What programs may want to know of a provider's error: whose it is, of what, and whether the same may work later.
#[must_use]
pub fn details_of(error: &ProviderError) -> Value {
    let (provider, operation) = error.about();
    json!({ "provider": provider, "operation": operation, "retryable": error.is_outage() })
}

/// Whether the request may still be carried out after its error: then nothing may be concluded from it.
#[must_use]
pub const fn is_uncertain(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Unavailable { .. }
            | ProviderError::TimedOut { .. }
            | ProviderError::RootMissing { .. }
    )
}

/// How many copies of files, and of how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Copies {
    pub total: u64,
    pub bytes: u64,
}

impl Copies {
    pub const fn add(&mut self, bytes: u64) {
        self.total += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// ` and 2 copies`; nothing where there are none.
    #[must_use]
    pub fn told(self) -> String {
        match self.total {
            0 => String::new(),
            1 => " and 1 copy".to_owned(),
            many => format!(" and {many} copies"),
        }
    }
}

/// What became of each item; the items lie out of core.
#[derive(Debug, Default)]
pub struct Changes {
    successful: Spool,
    failed: Spool,
    first_failed: Option<ItemError>,
    pub errors: ErrorSummary,
    /// Bytes of files for which there was no room.
    pub wanted: u64,
    /// Providers that were another installation's before.
    pub taken_over: Vec<TakenOver>,
    /// Bytes of what went through.
    pub bytes: u64,
    /// Copies on backup providers that went along, which are no files of their own.
    pub copies: Copies,
    /// The operator stopped it between two batches.
    pub interrupted: bool,
    lost: Option<io::Error>,
}

impl Changes {
    pub fn succeed(&mut self, item: &impl Serialize, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let kept = keep(&mut self.successful, item);
        self.note(kept);
    }

    /// A copy of a file went through.
    pub const fn succeed_with_copy(&mut self, bytes: u64) {
        self.copies.add(bytes);
    }

    pub fn fail_all(&mut self, errors: Vec<ItemError>) {
        for error in errors {
            self.fail(error);
        }
    }

    pub fn fail(&mut self, error: ItemError) {
        self.errors.add(&error);
        self.wanted = self.wanted.saturating_add(quota::wanted(&error));
        let kept = keep(&mut self.failed, &error);
        self.note(kept);
        self.first_failed.get_or_insert(error);
    }

    /// What is done is done: an item that cannot be kept for the report ends the work, not the item.
    fn note(&mut self, kept: io::Result<()>) {
        if let Err(error) = kept {
            self.lost.get_or_insert(error);
        }
    }

    /// Whether no further batch is to be begun: the operator said so, or there is no room for the report.
    pub fn stops(&mut self, interrupt: &Interrupt) -> bool {
        self.interrupted |= interrupt.is_requested();
        self.interrupted || self.lost.is_some()
    }

    /// Why the report does not name all items, and the work was not brought to its end.
    #[must_use]
    pub const fn lost(&self) -> Option<&io::Error> {
        self.lost.as_ref()
    }

    /// Items that went through, as JSON.
    #[must_use]
    pub const fn successful(&self) -> &Spool {
        &self.successful
    }

    /// Items that did not, each an [`ItemError`] as JSON.
    #[must_use]
    pub const fn failed(&self) -> &Spool {
        &self.failed
    }

    #[must_use]
    pub const fn first_failed(&self) -> Option<&ItemError> {
        self.first_failed.as_ref()
    }
}

fn keep(list: &mut Spool, item: &impl Serialize) -> io::Result<()> {
    list.push(&serde_json::to_vec(item)?)
}

/// Items that are worked on in one transaction.
pub const BATCH: usize = 100;
