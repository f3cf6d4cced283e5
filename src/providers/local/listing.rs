//! The walk as a stream: a thread walks, a bounded channel carries its entries in batches, and the stream ends
//! only where the thread said that the walk did. A thread that died is an error, never an end.

use std::thread;

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;

use super::super::{ListRequest, Listed, Listing, ProviderError};
use super::LocalStore;
use super::fault::Fault;
use super::root::RootDir;
use super::walk::Walk;

const OPERATION: &str = "list";
/// Entries in a batch: enough that a wake-up costs nothing, few enough that memory does not show it.
const BATCH: usize = 512;
/// Batches under way.
const BATCHES: usize = 4;

pub(super) enum Message {
    Entries(Vec<Listed>),
    End,
    Failed(Fault),
}

pub(super) fn start(store: LocalStore, request: ListRequest) -> Listing {
    stream::once(async move { feed(store, request) })
        .flatten()
        .boxed()
}

fn feed(store: LocalStore, request: ListRequest) -> Listing {
    let (sender, receiver) = mpsc::channel(BATCHES);
    let walker = store.clone();
    let spawned = thread::Builder::new()
        .name("civic-list".into())
        .spawn(move || run(&walker, &request, &sender));
    match spawned {
        Ok(_) => receive(store, receiver),
        Err(e) => {
            let fault = Fault::Lost(format!("no thread to list with: {e}"));
            stream::once(async move { Err(store.provider_error(OPERATION, fault)) }).boxed()
        }
    }
}

/// The batches as entries.
pub(super) fn receive(store: LocalStore, receiver: mpsc::Receiver<Message>) -> Listing {
    let batches = stream::unfold(Some((store, receiver)), |state| async {
        let (store, mut receiver) = state?;
        let (entries, more) = match receiver.recv().await {
            Some(Message::Entries(entries)) => (entries, true),
            Some(Message::End) => return None,
            Some(Message::Failed(fault)) => return Some((failed(&store, fault), None)),
            None => {
                let fault = Fault::Lost("the listing stopped before its end".into());
                return Some((failed(&store, fault), None));
            }
        };
        let entries: Vec<Result<Listed, ProviderError>> = entries.into_iter().map(Ok).collect();
        Some((stream::iter(entries), more.then_some((store, receiver))))
    });
    batches.flatten().boxed()
}

fn failed(
    store: &LocalStore,
    fault: Fault,
) -> stream::Iter<std::vec::IntoIter<Result<Listed, ProviderError>>> {
    stream::iter(vec![Err(store.provider_error(OPERATION, fault))])
}

/// The thread's work. A send that fails means that nobody listens any more.
fn run(store: &LocalStore, request: &ListRequest, sender: &mpsc::Sender<Message>) {
    let outcome = match walk(store, request, sender) {
        Ok(()) => Message::End,
        Err(fault) => Message::Failed(fault),
    };
    let _ = sender.blocking_send(outcome);
}

fn walk(store: &LocalStore, request: &ListRequest, sender: &mpsc::Sender<Message>) -> Result<(), Fault> {
    let root = RootDir::open(&store.root)?;
    let prefix = request.prefix.as_bytes();
    if !prefix.is_empty() && !prefix.ends_with(b"/") {
        return Err(Fault::NotAKey(prefix.to_vec()));
    }
    let dir = match root.directory(prefix) {
        Err(Fault::NotFound) => return root.verify(),
        dir => dir?,
    };
    let listener = sender.clone();
    let mut walk = Walk::new(dir, prefix, Box::new(move || listener.is_closed()))?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(found) = walk.next()? {
        batch.push(found);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.blocking_send(Message::Entries(full)).is_err() {
                return Ok(());
            }
        }
    }
    if !batch.is_empty() && sender.blocking_send(Message::Entries(batch)).is_err() {
        return Ok(());
    }
    root.verify()
}
