//! Page after page of `ListObjectsV2`, and the stream made of them.
//!
//! Keys are given out as the provider has them and in the order it gives them; order is no promise here.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use http::{Method, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{Answer, Client};
use super::page::{self, Page};
use super::ranges::{self, Split};
use crate::providers::{EntryKind, Key, ListRequest, Listed, Listing, ProviderError};

/// More requests at once than this only make a server queue them.
const MAX_PARALLEL: usize = 8;

/// What is asked of the bucket; all of it whole keys.
#[derive(Debug, Clone, Default)]
pub(super) struct PageQuery {
    pub(super) prefix: String,
    pub(super) start_after: Option<String>,
    pub(super) delimited: bool,
    pub(super) max_keys: Option<u16>,
}

/// Reads one listing from its first page to its last.
#[derive(Debug)]
pub(super) struct Pages {
    client: Arc<Client>,
    operation: &'static str,
    query: PageQuery,
    token: Option<String>,
    ended: bool,
    /// Hashes of the tokens and of the pages' first keys so far: 16 bytes for every 1,000 objects.
    seen: HashSet<u64>,
}

impl Pages {
    pub(super) fn new(client: Arc<Client>, operation: &'static str, query: PageQuery) -> Self {
        Self {
            client,
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

    /// Like [`Self::next`], with the answer the page came in.
    pub(super) async fn fetch(&mut self) -> Result<(Page, Answer), ProviderError> {
        let client = Arc::clone(&self.client);
        let context = client.context(self.operation);
        let answer = client.send(context, Method::GET, &self.url()).await?;
        if answer.status != StatusCode::OK {
            return Err(context.failed(&answer));
        }
        let page = page::parse(&answer.body)
            .and_then(|page| self.accept(page))
            .map_err(|reason| context.invalid(reason))?;
        Ok((page, answer))
    }

    fn url(&self) -> String {
        let max_keys = self.query.max_keys.map(|n| n.to_string());
        let pairs = [
            ("list-type", Some("2")),
            ("encoding-type", Some("url")),
            ("prefix", Some(self.query.prefix.as_str())),
            ("delimiter", self.query.delimited.then_some("/")),
            ("start-after", self.query.start_after.as_deref()),
            ("max-keys", max_keys.as_deref()),
            ("continuation-token", self.token.as_deref()),
        ];
        let set: Vec<(&str, &str)> = pairs
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)))
            .collect();
        self.client.query_url(&set)
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
pub(super) enum Batch {
    Entries(Vec<Listed>),
    End,
}

/// Cuts the provider's prefix off a page's keys.
pub(super) fn entries(page: Page, root: usize) -> Vec<Listed> {
    let entry = |mut object: page::Object| Listed {
        key: Key::new(object.key.split_off(root)),
        kind: EntryKind::Object,
        size: object.size,
        last_modified: object.last_modified,
        etag: object.etag,
    };
    page.objects.into_iter().map(entry).collect()
}

/// Lists what is below `root` and the request's prefix.
pub(super) fn list(client: Arc<Client>, root: &str, request: ListRequest) -> Listing {
    let ListRequest { prefix, split_at } = request;
    if !prefix.is_empty() && !prefix.ends_with('/') {
        let error = client
            .context("list")
            .invalid(format!("the prefix {prefix} does not end at a `/`"));
        return stream::once(async { Err(error) }).boxed();
    }
    let split = Split {
        root: root.to_owned(),
        parallel: client.parallel.min(MAX_PARALLEL),
        client: Arc::clone(&client),
        prefix,
        hints: split_at,
    };
    streamed(client, move |out| ranges::in_ranges(split, out))
}

pub(super) type Out = mpsc::Sender<Result<Batch, ProviderError>>;

/// Hands over page by page, one ahead of the reader.
pub(super) async fn one_by_one(mut pages: Pages, root: usize, out: Out) {
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
fn streamed<W, F>(client: Arc<Client>, work: W) -> Listing
where
    W: FnOnce(Out) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let start = async move {
        let (out, batches) = mpsc::channel(1);
        let mut worker = JoinSet::new();
        worker.spawn(work(out));
        Ok::<_, ProviderError>(stream::try_unfold(
            (batches, worker, client),
            |(mut batches, worker, client)| async move {
                match batches.recv().await {
                    Some(Ok(Batch::Entries(entries))) => Ok(Some((entries, (batches, worker, client)))),
                    Some(Ok(Batch::End)) => Ok(None),
                    Some(Err(error)) => Err(error),
                    None => Err(client
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
