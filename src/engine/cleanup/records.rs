//! One provider's records in key order: a scan per root, merged, since each root sorts by itself.

use futures::StreamExt;
use futures::stream::Peekable;

use crate::metadata::{MetadataError, MetadataStore, RecordScan, ScanScope, ScannedRecord};
use crate::providers::{Key, Mapping};

/// A record and the key it names.
#[derive(Debug, Clone)]
pub struct KeyedRecord {
    pub key: Key,
    pub record: ScannedRecord,
}

/// What the merged scan yields.
#[derive(Debug)]
pub enum RecordItem {
    Keyed(KeyedRecord),
    /// Under one of the roots, but no key could be what it names: reported as unmapped, never compared.
    Unaddressable(ScannedRecord),
}

/// Merges the scans of all roots of a mapping. Memory is bounded by what the store reads ahead.
pub struct RecordMerge {
    mapping: Mapping,
    roots: Vec<(String, Peekable<RecordScan>)>,
}

impl RecordMerge {
    /// `folder` limits it to keys of that folder.
    pub fn new(store: &dyn MetadataStore, mapping: &Mapping, folder: Option<&str>) -> Self {
        let below = folder.map(|f| format!("{f}/")).unwrap_or_default();
        let scan = |root: &String| {
            let scope = ScanScope::Under(format!("{root}{below}"));
            (root.clone(), store.scan(scope).peekable())
        };
        Self {
            mapping: mapping.clone(),
            roots: mapping.roots().iter().map(scan).collect(),
        }
    }

    /// The next record in key order.
    ///
    /// # Errors
    /// The first error of any scan; what came before it is not the whole.
    pub async fn next(&mut self) -> Result<Option<RecordItem>, MetadataError> {
        loop {
            let Some(at) = self.smallest().await else {
                return Ok(None);
            };
            let (root, scan) = &mut self.roots[at];
            let Some(record) = scan.next().await.transpose()? else {
                continue;
            };
            // A root that lies within another one of the same provider is scanned twice: the longer one has it.
            if self.mapping.root_of(&record.provider_path) != Some(root.as_str()) {
                continue;
            }
            return Ok(Some(match self.mapping.key_of(&record.provider_path) {
                Some(key) => RecordItem::Keyed(KeyedRecord { key, record }),
                None => RecordItem::Unaddressable(record),
            }));
        }
    }

    /// Which scan's head sorts first; an error sorts before everything.
    async fn smallest(&mut self) -> Option<usize> {
        let mut best: Option<(usize, Vec<u8>)> = None;
        let single = self.roots.len() == 1;
        for (at, (root, scan)) in self.roots.iter_mut().enumerate() {
            match std::pin::Pin::new(scan).peek().await {
                None => {}
                Some(Err(_)) => return Some(at),
                Some(Ok(_)) if single => return Some(at),
                Some(Ok(record)) => {
                    let rest = record
                        .provider_path
                        .as_bytes()
                        .get(root.len()..)
                        .unwrap_or_default();
                    if best.as_ref().is_none_or(|(_, least)| rest < least.as_slice()) {
                        best = Some((at, rest.to_vec()));
                    }
                }
            }
        }
        best.map(|(at, _)| at)
    }
}
