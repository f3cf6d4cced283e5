//! A short stretch of a listing, from one key to another: a page or two where a question for every key would cost more.

use std::sync::Arc;

use super::{PageQuery, PageSource, Pages, entries};
use crate::providers::{Key, Listed, ProviderError};

/// Entries that a page may have.
const PAGE: usize = 1000;

/// Keys below a prefix, the first and the last of them included.
#[derive(Debug, Clone, Copy)]
pub(in crate::providers) struct Stretch<'a> {
    pub(in crate::providers) prefix: &'a str,
    pub(in crate::providers) first: &'a str,
    pub(in crate::providers) last: &'a Key,
    /// Entries that are looked for there.
    pub(in crate::providers) expected: usize,
}

/// Everything that a listing shows of the stretch; `None` where that takes more than the pages, or where the keys do not
/// ascend, so that nobody can tell where it ends.
pub(in crate::providers) async fn between(
    source: Arc<dyn PageSource>,
    root: &str,
    stretch: Stretch<'_>,
    pages: usize,
) -> Result<Option<Vec<Listed>>, ProviderError> {
    // The key without its last character comes right before it.
    let mut before = stretch.first.to_owned();
    before.pop();
    let query = PageQuery {
        prefix: format!("{root}{}", stretch.prefix),
        start_after: Some(format!("{root}{before}")),
        delimited: false,
        max_keys: u16::try_from(stretch.expected.min(PAGE)).ok(),
    };
    let mut source = Pages::new(source, "list", query);
    let mut seen: Vec<Listed> = Vec::new();
    for _ in 0..pages {
        let Some(page) = source.next().await? else {
            return Ok(Some(seen));
        };
        seen.extend(entries(page, root.len()));
        if !seen.is_sorted_by(|one, next| one.key < next.key) {
            return Ok(None);
        }
        if seen.last().is_some_and(|entry| entry.key > *stretch.last) {
            seen.retain(|entry| entry.key <= *stretch.last);
            return Ok(Some(seen));
        }
    }
    Ok(source.is_at_its_end().then_some(seen))
}
