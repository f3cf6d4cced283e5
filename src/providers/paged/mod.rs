//! Listings that come in pages: reads them to their end, checks each against the question and the pages before it,
//! and makes the stream of them, split into ranges where the caller says that keys are.
//!
//! Keys are given out as the provider has them and in the order it gives them; order is no promise here. How a page
//! is asked for and read is the provider's own ([`PageSource`]).

mod between;
mod ranges;

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::wire::Context;
use super::{EntryKind, Key, ListRequest, Listed, Listing, ProviderError};
use ranges::Split;

pub(super) use between::{Stretch, between};

/// More requests at once than this only make a server queue them.
const MAX_PARALLEL: usize = 8;

/// What is asked of the bucket; all of it whole keys.
#[derive(Debug, Clone, Default)]
pub(super) struct PageQuery {
    pub(super) prefix: String,
    /// Only keys after this one, in the provider's order.
    pub(super) start_after: Option<String>,
    /// Keys with a `/` after the prefix come as folders.
    pub(super) delimited: bool,
    pub(super) max_keys: Option<u16>,
}

/// One page, keys decoded and whole (prefix included).
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    pub(super) common_prefixes: Vec<Vec<u8>>,
    /// Where the next page begins; `None` on the last.
    pub(super) next: Option<String>,
}

#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: Vec<u8>,
    pub(super) size: u64,
    pub(super) last_modified: DateTime<Utc>,
    pub(super) etag: Option<String>,
}

/// Who can be asked for one page of a listing.
#[async_trait]
pub(super) trait PageSource: Debug + Send + Sync {
    /// One page, and the headers it came with. `token` is where the page before said that this one begins.
    async fn page(
        &self,
        operation: &'static str,
        query: &PageQuery,
        token: Option<&str>,
    ) -> Result<(Page, HeaderMap), ProviderError>;

    /// For errors about what came.
    fn context(&self, operation: &'static str) -> Context<'_>;

    /// How many requests may be under way at once.
    fn parallel(&self) -> usize;
}

/// Reads one listing from its first page to its last.
#[derive(Debug)]
pub(super) struct Pages {
    source: Arc<dyn PageSource>,
    operation: &'static str,
    query: PageQuery,
    token: Option<String>,
    ended: bool,
    /// Hashes of the tokens and of the pages' first keys so far: 16 bytes for every 1,000 objects.
    seen: HashSet<u64>,
}

impl Pages {
    pub(super) fn new(source: Arc<dyn PageSource>, operation: &'static str, query: PageQuery) -> Self {
        Self {
            source,
            operation,
            query,
            token: None,
            ended: false,
            seen: HashSet::new(),
        }
    }

    /// The next page, or `None` after the last. After an error nothing more may be asked of it.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, ProviderError> {
        if self.ended {
            return Ok(None);
        }
        let (page, _) = self.fetch().await?;
        Ok(Some(page))
    }

    /// Whether the last page was the last one.
    fn is_at_its_end(&self) -> bool {
        self.ended
    }

    /// Like [`Self::next`], with the headers the page came with.
    pub(super) async fn fetch(&mut self) -> Result<(Page, HeaderMap), ProviderError> {
        let source = Arc::clone(&self.source);
        let asked = source.page(self.operation, &self.query, self.token.as_deref());
        let (page, headers) = asked.await?;
        let page = self
            .accept(page)
            .map_err(|reason| source.context(self.operation).invalid(reason))?;
        Ok((page, headers))
    }

    /// Checks the page against the question and the pages before it.
    fn accept(&mut self, page: Page) -> Result<Page, String> {
        let prefix = self.query.prefix.as_bytes();
        let mut keys = page.objects.iter().map(|o| &o.key).chain(&page.common_prefixes);
        if let Some(stray) = keys.find(|key| !key.starts_with(prefix)) {
            return Err(format!(
                "the key {} is not below the prefix {} that was asked for",
                Key::new(stray.as_slice()),
                self.query.prefix
            ));
        }
        if let Some(first) = page.objects.first()
            && !self.seen.insert(hash(&first.key))
        {
            return Err("a page came twice".into());
        }
        if let Some(token) = &page.next
            && !self.seen.insert(hash(token))
        {
            return Err("the listing goes round in circles: a continuation token came twice".into());
        }
        self.token.clone_from(&page.next);
        self.ended = page.next.is_none();
        Ok(page)
    }
}

/// Of a key (`Vec<u8>`) or a token (`String`), which hash differently though their bytes be the same.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What a listing's worker hands over. The end is said, not implied: a worker that died has no end.
enum Batch {
    Entries(Vec<Listed>),
    End,
}

/// Cuts the provider's prefix off a page's keys.
fn entries(page: Page, root: usize) -> Vec<Listed> {
    let entry = |mut object: Object| Listed {
        key: Key::new(object.key.split_off(root)),
        kind: EntryKind::Object,
        size: object.size,
        last_modified: object.last_modified,
        etag: object.etag,
    };
    page.objects.into_iter().map(entry).collect()
}

/// Lists what is below `root` and the request's prefix.
pub(super) fn list(source: Arc<dyn PageSource>, root: &str, request: ListRequest) -> Listing {
    let ListRequest { prefix, split_at } = request;
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let error = source
            .context("list")
            .invalid(format!("the prefix {prefix} does not end at a `/`"));
        return stream::once(async { Err(error) }).boxed();
    }
    let split = Split {
        root: root.to_owned(),
        parallel: source.parallel().min(MAX_PARALLEL),
        source: Arc::clone(&source),
        prefix,
        hints: split_at,
    };
    streamed(source, move |out| ranges::in_ranges(split, out))
}

type Out = mpsc::Sender<Result<Batch, ProviderError>>;

/// Hands over page by page, one ahead of the reader.
async fn one_by_one(mut pages: Pages, root: usize, out: Out) {
    loop {
        let batch = match pages.next().await {
            Ok(Some(page)) => Ok(Batch::Entries(entries(page, root))),
            Ok(None) => Ok(Batch::End),
            Err(error) => Err(error),
        };
        let over = !matches!(batch, Ok(Batch::Entries(_)));
        // Nobody reads any more: the listing was dropped.
        if out.send(batch).await.is_err() || over {
            return;
        }
    }
}

/// Runs the worker beside the reader; dropping the stream aborts it.
fn streamed<W, F>(source: Arc<dyn PageSource>, work: W) -> Listing
where
    W: FnOnce(Out) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let start = async move {
        let (out, batches) = mpsc::channel(1);
        let mut worker = JoinSet::new();
        worker.spawn(work(out));
        Ok::<_, ProviderError>(stream::try_unfold(
            (batches, worker, source),
            |(mut batches, worker, source)| async move {
                match batches.recv().await {
                    Some(Ok(Batch::Entries(entries))) => Ok(Some((entries, (batches, worker, source)))),
                    Some(Ok(Batch::End)) => Ok(None),
                    Some(Err(error)) => Err(error),
                    None => Err(source
                        .context("list")
                        .unavailable("the listing was broken off".into())),
                }
            },
        ))
    };
    stream::once(start)
        .try_flatten()
        .map_ok(|entries| stream::iter(entries.into_iter().map(Ok)))
        .try_flatten()
        .boxed()
}
