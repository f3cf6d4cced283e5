//! A listing in byte order, whatever order the provider gives.
//!
//! Nobody promises an order: S3 itself lists by bytes, SeaweedFS directory by directory, others as they like. So
//! the order is checked while it is read, and a listing that breaks it is read again through an out-of-core sort.

use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use super::ScanError;
use crate::providers::{EntryKind, Key, ListRequest, Listed, Listing, Provider};
use crate::spill::Sorter;

/// Bytes that a sort holds before it writes a run.
const SORT_BUDGET: usize = 12 << 20;

/// How to read a provider's listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it comes; the first key out of order ends the comparison with [`ScanError::Unordered`].
    AsListed,
    /// To its end first, sorted out of core.
    Sorted,
}

/// A listing and the last key it gave.
pub struct OrderedListing {
    listing: BoxStream<'static, Result<Listed, ScanError>>,
    last: Option<Key>,
    order: Order,
}

impl OrderedListing {
    /// With [`Order::Sorted`] the whole listing is read before this returns.
    ///
    /// # Errors
    /// Any error of the listing or of the temporary directory.
    pub async fn open(provider: &Provider, request: ListRequest, order: Order) -> Result<Self, ScanError> {
        let listing = provider.list(request);
        let listing = match order {
            Order::AsListed => listing.map(|entry| entry.map_err(ScanError::from)).boxed(),
            Order::Sorted => sorted(listing).await?,
        };
        Ok(Self {
            listing,
            last: None,
            order,
        })
    }

    /// The next entry, its key above all before it.
    ///
    /// # Errors
    /// Any error of the listing; [`ScanError::Unordered`] where the order broke.
    pub async fn next(&mut self) -> Result<Option<Listed>, ScanError> {
        loop {
            let Some(entry) = self.listing.next().await.transpose()? else {
                return Ok(None);
            };
            match self
                .last
                .as_ref()
                .map_or(std::cmp::Ordering::Greater, |last| entry.key.cmp(last))
            {
                std::cmp::Ordering::Greater => {
                    self.last = Some(entry.key.clone());
                    return Ok(Some(entry));
                }
                // The same key twice is the same object, seen while the listing shifted under it.
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Less if self.order == Order::AsListed => {
                    return Err(ScanError::Unordered);
                }
                std::cmp::Ordering::Less => unreachable!("a sorted listing is sorted"),
            }
        }
    }
}

async fn sorted(mut listing: Listing) -> Result<BoxStream<'static, Result<Listed, ScanError>>, ScanError> {
    let mut sorter = Sorter::new(SORT_BUDGET);
    while let Some(entry) = listing.next().await.transpose()? {
        sorter.push(entry.key.as_bytes(), &encode(&entry)?)?;
    }
    let runs = sorter.finish()?;
    let entries = runs.map(|pair| {
        let (key, payload) = pair?;
        decode(key, &payload)
    });
    Ok(stream::iter(entries).boxed())
}

/// All of an entry but its key.
type Payload = (bool, u64, i64, u32, Option<String>);

fn encode(entry: &Listed) -> Result<Vec<u8>, ScanError> {
    let at = entry.last_modified;
    let special = entry.kind == EntryKind::Special;
    let payload: Payload = (
        special,
        entry.size,
        at.timestamp(),
        at.timestamp_subsec_nanos(),
        entry.etag.clone(),
    );
    Ok(serde_json::to_vec(&payload).map_err(std::io::Error::from)?)
}

fn decode(key: Vec<u8>, payload: &[u8]) -> Result<Listed, ScanError> {
    let (special, size, seconds, nanos, etag): Payload =
        serde_json::from_slice(payload).map_err(std::io::Error::from)?;
    let last_modified = chrono::DateTime::from_timestamp(seconds, nanos)
        .ok_or_else(|| std::io::Error::other("a time that was written cannot be read back"))?;
    let kind = if special {
        EntryKind::Special
    } else {
        EntryKind::Object
    };
    Ok(Listed {
        key: Key::new(key),
        kind,
        size,
        last_modified,
        etag,
    })
}
