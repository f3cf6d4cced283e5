//! What a provider's listing says of one object, with the key exactly as the provider has it.

use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use super::{Key, ProviderError};

/// What stands at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Bytes that can be read.
    Object,
    /// On disk only: a symlink, FIFO, socket or device. Never opened, followed or deleted.
    Special,
}

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: Key,
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// By the provider's clock.
    pub last_modified: DateTime<Utc>,
    /// As the provider spells it, quotes included; `None` for local entries.
    pub etag: Option<String>,
}

/// A listing that ends with `None` has reached its end; one that ends with an error has not, and says nothing
/// about what it did not show. Dropping the stream stops the work behind it.
pub type Listing = BoxStream<'static, Result<Listed, ProviderError>>;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Only keys that begin with this (empty, or ends at a `/`).
    pub prefix: String,
    /// Ascending keys at which the listing may be split and read in parallel; a hint, never a filter.
    pub split_at: Vec<Key>,
}
