//! A listing read in several places at once, split where the caller says that keys are.
//!
//! The folders directly below the prefix come from one request with a delimiter and are listed each by its exact
//! prefix; a folder with hints is cut into ranges that begin after a hint (`start-after`). Folders, ranges and
//! the objects between them are handed out in byte order, so that what a server orders by bytes arrives so.
//!
//! Why nothing is lost or doubled, though a server may order keys in its own way (SeaweedFS goes directory by
//! directory: `a/b` before `a b`). Hints lie directly in their folder. A range is read until a key past its end
//! appears, and then held against the next range:
//!
//! - As long as both show the same key at the seam, the next range goes on exactly where this one stopped, and
//!   together they are the one listing that would have been read without a split. This asks nothing of the order
//!   but that it is one, and that `start-after` begins somewhere in it.
//! - Where they differ (something came or went at the seam, or the order is not what it looked like), the next
//!   range is thrown away unread and this one reads on in its place.
//! - A server could also list in its own order and merely leave out what is smaller than `start-after`. That
//!   makes a difference only where its order is not that of bytes, which needs a key further down than the hints.
//!   So at the first such key, and at the first out of order, the range reads on to the folder's end and the
//!   ranges after it are thrown away. No range before it had one, and an order of components puts whatever is
//!   below `sub/` before every hint that `sub/…` is smaller than: nothing was passed over.
//!
//! Memory: a window of ranges, each a few pages ahead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Batch, Out, Page, PageQuery, PageSource, Pages, entries, one_by_one};
use crate::providers::{Key, Listed, ProviderError};

/// Pages a range may be ahead of its reader: what a range of the usual 5,000 keys holds.
const PAGES_AHEAD: usize = 5;

/// What to list, and where it may be cut.
pub(super) struct Split {
    pub(super) source: Arc<dyn PageSource>,
    /// The provider's prefix.
    pub(super) root: String,
    /// Below the provider's prefix; empty, or ends at a `/`.
    pub(super) prefix: String,
    pub(super) hints: Vec<Key>,
    /// Requests under way at once, at least two.
    pub(super) parallel: usize,
}

/// Hands the whole listing to `out`.
pub(super) async fn in_ranges(split: Split, out: Out) {
    let whole = PageQuery {
        prefix: format!("{}{}", split.root, split.prefix),
        ..PageQuery::default()
    };
    let result = match jobs(&split, &whole).await {
        Ok(Some(jobs)) => Driver::new(&split, jobs, out.clone()).run().await,
        Ok(None) => {
            let pages = Pages::new(split.source, "list", whole);
            return one_by_one(pages, split.root.len(), out).await;
        }
        Err(error) => Err(Stop::Failed(error)),
    };
    let last = match result {
        Ok(()) => Ok(Batch::End),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Unread) => return,
    };
    // Whether anybody still reads this makes no difference any more.
    let _unread = out.send(last).await;
}

enum Stop {
    Failed(ProviderError),
    /// Nobody reads any more: the listing was dropped.
    Unread,
}

/// A piece of the listing, in the order it is handed out.
#[derive(Debug)]
enum Job {
    /// Objects directly below the prefix.
    Here(Vec<Listed>),
    Range {
        query: PageQuery,
        /// The last key of the range; `None` reads to the folder's end.
        bound: Option<Key>,
    },
}

/// What to do, in byte order; `None` where this listing had better not be split.
async fn jobs(split: &Split, whole: &PageQuery) -> Result<Option<Vec<Job>>, ProviderError> {
    let mut bounds = bounds(split);
    if bounds.is_empty() {
        return Ok(None);
    }
    let query = PageQuery {
        delimited: true,
        ..whole.clone()
    };
    let mut pages = Pages::new(Arc::clone(&split.source), "list", query);
    let Some(page) = pages.next().await? else {
        return Ok(None);
    };
    // Hundreds of folders are better read in one go, a page of them at a time.
    let Some(folders) = folders(&page, &whole.prefix).filter(|_| page.next.is_none()) else {
        return Ok(None);
    };
    let mut here = entries(page, split.root.len());
    here.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    let mut here = here.into_iter().peekable();
    let mut jobs = Vec::new();
    for folder in folders {
        let relative = &folder[split.root.len()..];
        let mut before = Vec::new();
        while let Some(object) = here.next_if(|o| o.key.as_bytes() < relative.as_bytes()) {
            before.push(object);
        }
        jobs.push(Job::Here(before));
        let cuts = bounds.remove(relative).unwrap_or_default();
        jobs.extend(ranges(&split.root, &folder, &cuts));
    }
    jobs.push(Job::Here(here.collect()));
    Ok(Some(jobs))
}

/// The hints that lie directly in a folder below the prefix, by folder (ending at its `/`).
fn bounds(split: &Split) -> BTreeMap<String, BTreeSet<String>> {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in split.hints.iter().filter_map(Key::as_str) {
        let Some((folder, name)) = key
            .strip_prefix(&split.prefix)
            .and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        if !name.is_empty() && !name.contains('/') {
            folders
                .entry(format!("{}{folder}/", split.prefix))
                .or_default()
                .insert(key.to_owned());
        }
    }
    folders
}

/// The folders of a delimited page in byte order, whole; `None` where the page is not what the protocol says.
fn folders(page: &Page, prefix: &str) -> Option<BTreeSet<String>> {
    let below = |key: &[u8]| key[prefix.len()..].to_vec();
    if page.objects.iter().any(|o| below(&o.key).contains(&b'/')) {
        return None;
    }
    page.common_prefixes
        .iter()
        .map(|folder| {
            let name = below(folder);
            let (last, inner) = name.split_last()?;
            let whole = *last == b'/' && !inner.contains(&b'/');
            whole.then(|| String::from_utf8(folder.clone()).ok())?
        })
        .collect()
}

fn ranges(root: &str, folder: &str, cuts: &BTreeSet<String>) -> Vec<Job> {
    let starts = std::iter::once(None).chain(cuts.iter().map(|cut| Some(format!("{root}{cut}"))));
    let ends = cuts.iter().map(|cut| Some(Key::from(cut.as_str()))).chain([None]);
    starts
        .zip(ends)
        .map(|(start_after, bound)| Job::Range {
            query: PageQuery {
                prefix: folder.to_owned(),
                start_after,
                ..PageQuery::default()
            },
            bound,
        })
        .collect()
}

/// What a range's worker reports.
enum Step {
    Entries(Vec<Listed>),
    /// A key past the bound: the first that the reader holds.
    Crossed(Box<Reader>),
    /// A key that a range cannot judge: the first that the reader holds.
    Loose(Box<Reader>),
    /// The folder's end.
    End,
}

impl Step {
    fn first_key(&self) -> Option<&Key> {
        let entries = match self {
            Self::Entries(entries) => entries,
            Self::Crossed(reader) | Self::Loose(reader) => &reader.held,
            Self::End => return None,
        };
        entries.first().map(|entry| &entry.key)
    }
}

/// Reads a range; can be stopped at any key and sent on with another bound.
struct Reader {
    pages: Pages,
    /// Length of the provider's prefix.
    root: usize,
    /// Length of the folder, its `/` included, within a key.
    folder: usize,
    bound: Option<Key>,
    last: Option<Key>,
    held: Vec<Listed>,
}

/// Why a range's worker stops before the folder does.
type Stopped = fn(Box<Reader>) -> Step;

type Steps = mpsc::Sender<Result<Step, ProviderError>>;

impl Reader {
    /// Reports what it reads until it has no more to say, or nobody listens.
    async fn run(mut self: Box<Self>, out: Steps) {
        loop {
            if self.held.is_empty() {
                match self.pages.next().await {
                    Ok(Some(page)) => self.held = entries(page, self.root),
                    over => {
                        let _unheard = out.send(over.map(|_| Step::End)).await;
                        return;
                    }
                }
            }
            let (within, stop) = self.judge();
            let rest = self.held.split_off(within);
            let entries = std::mem::replace(&mut self.held, rest);
            self.last = entries.last().map(|e| e.key.clone()).or(self.last);
            if !entries.is_empty() && out.send(Ok(Step::Entries(entries))).await.is_err() {
                return;
            }
            if let Some(stop) = stop {
                let _unheard = out.send(Ok(stop(self))).await;
                return;
            }
        }
    }

    /// How many of the entries it holds are the range's, and what to report of the one after them.
    fn judge(&self) -> (usize, Option<Stopped>) {
        let Some(bound) = &self.bound else {
            return (self.held.len(), None);
        };
        let mut last = self.last.as_ref();
        for (at, entry) in self.held.iter().enumerate() {
            let key = &entry.key;
            let deeper = key.as_bytes()[self.folder..].contains(&b'/');
            if deeper || last.is_some_and(|last| last >= key) {
                return (at, Some(Step::Loose));
            }
            if key > bound {
                return (at, Some(Step::Crossed));
            }
            last = Some(key);
        }
        (self.held.len(), None)
    }
}

/// A range being read; dropping it ends the reading.
struct Worker {
    bound: Option<Key>,
    peeked: Option<Step>,
    steps: mpsc::Receiver<Result<Step, ProviderError>>,
    _task: JoinSet<()>,
}

impl Worker {
    fn start(reader: Box<Reader>) -> Self {
        let (out, steps) = mpsc::channel(PAGES_AHEAD);
        let bound = reader.bound.clone();
        let mut task = JoinSet::new();
        task.spawn(reader.run(out));
        Self {
            bound,
            peeked: None,
            steps,
            _task: task,
        }
    }
}

enum Running {
    Here(Vec<Listed>),
    Range(Worker),
}

/// Hands out the jobs in their order, a few of them read ahead.
struct Driver {
    source: Arc<dyn PageSource>,
    root: usize,
    ahead: usize,
    jobs: VecDeque<Job>,
    running: VecDeque<Running>,
    out: Out,
}

impl Driver {
    fn new(split: &Split, jobs: Vec<Job>, out: Out) -> Self {
        Self {
            source: Arc::clone(&split.source),
            root: split.root.len(),
            ahead: split.parallel.max(2) - 1,
            jobs: jobs.into(),
            running: VecDeque::new(),
            out,
        }
    }

    async fn run(mut self) -> Result<(), Stop> {
        loop {
            self.fill();
            match self.running.pop_front() {
                Some(Running::Here(entries)) => self.emit(entries).await?,
                Some(Running::Range(worker)) => self.drain(worker).await?,
                None => return Ok(()),
            }
        }
    }

    fn fill(&mut self) {
        while self.running.len() < self.ahead
            && let Some(job) = self.jobs.pop_front()
        {
            self.running.push_back(match job {
                Job::Here(entries) => Running::Here(entries),
                Job::Range { query, bound } => Running::Range(Worker::start(Box::new(Reader {
                    root: self.root,
                    folder: query.prefix.len() - self.root,
                    pages: Pages::new(Arc::clone(&self.source), "list", query),
                    bound,
                    last: None,
                    held: Vec::new(),
                }))),
            });
        }
    }

    async fn emit(&self, entries: Vec<Listed>) -> Result<(), Stop> {
        if entries.is_empty() {
            return Ok(());
        }
        self.out
            .send(Ok(Batch::Entries(entries)))
            .await
            .map_err(|_| Stop::Unread)
    }

    /// Hands out one range, and those it turns out to have to read itself.
    async fn drain(&mut self, mut worker: Worker) -> Result<(), Stop> {
        loop {
            self.fill();
            match self.step(&mut worker).await? {
                Step::Entries(entries) => self.emit(entries).await?,
                Step::End => {
                    self.skip_folder(worker.bound);
                    return Ok(());
                }
                Step::Loose(mut reader) => {
                    self.skip_folder(worker.bound);
                    reader.bound = None;
                    worker = Worker::start(reader);
                }
                Step::Crossed(reader) if self.seam_holds(&reader).await? => return Ok(()),
                Step::Crossed(mut reader) => {
                    reader.bound = self.skip_range();
                    worker = Worker::start(reader);
                }
            }
        }
    }

    async fn step(&self, worker: &mut Worker) -> Result<Step, Stop> {
        if let Some(step) = worker.peeked.take() {
            return Ok(step);
        }
        match worker.steps.recv().await {
            Some(step) => step.map_err(Stop::Failed),
            None => Err(Stop::Failed(
                self.source
                    .context("list")
                    .unavailable("the listing was broken off".into()),
            )),
        }
    }

    /// Whether the next range begins with the key that this one met past its end.
    async fn seam_holds(&mut self, reader: &Reader) -> Result<bool, Stop> {
        let Some(Running::Range(mut next)) = self.running.pop_front() else {
            return Ok(false);
        };
        let step = self.step(&mut next).await?;
        let holds = step.first_key() == reader.held.first().map(|entry| &entry.key);
        next.peeked = Some(step);
        self.running.push_front(Running::Range(next));
        Ok(holds)
    }

    /// Throws the next range away and says where it would have ended.
    fn skip_range(&mut self) -> Option<Key> {
        match self.running.pop_front() {
            Some(Running::Range(worker)) => worker.bound,
            _ => match self.jobs.pop_front() {
                Some(Job::Range { bound, .. }) => bound,
                _ => None,
            },
        }
    }

    /// Throws away what follows in the folder after a range with this bound.
    fn skip_folder(&mut self, mut bound: Option<Key>) {
        while bound.is_some() {
            bound = self.skip_range();
        }
    }
}
