//! Streams records in path order: one thread, one connection, one read transaction, a few batches in flight. SQLite
//! sorts in a bounded cache and a temporary file, so memory does not grow with the number of records.

use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt};
use rusqlite::{Connection, params_from_iter};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::cancel::{Cancel, CancelOnDrop};
use super::filter::Filter;
use super::rows::{SCAN_COLUMNS, scanned_record};
use super::session::Session;
use super::situation::name;
use super::trouble::Trouble;
use crate::metadata::{MetadataError, RecordScan, Result, ScanScope, ScannedRecord};

const BATCH: usize = 256;
const BATCHES_IN_FLIGHT: usize = 2;

/// What the thread says. A channel that closes without `End` is a thread that died, never the end of the records.
enum Said {
    Rows(Vec<ScannedRecord>),
    Failed(MetadataError),
    End,
}

/// Starts at the first poll. An error is the last item.
pub(super) fn scan(path: PathBuf, scope: ScanScope) -> RecordScan {
    stream::once(async move { Reader::start(path, scope) })
        .flat_map(|reader| {
            stream::unfold(Some(reader), |reader| async move {
                let mut reader = reader?;
                let batch = reader.next().await?;
                let over = batch.is_err();
                Some((batch, (!over).then_some(reader)))
            })
        })
        .flat_map(|batch| {
            let (rows, error) = match batch {
                Ok(rows) => (rows, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            stream::iter(rows.into_iter().map(Ok).chain(error.map(Err)))
        })
        .boxed()
}

struct Reader {
    said: Receiver<Said>,
    database: String,
    _cancel: CancelOnDrop,
}

impl Reader {
    fn start(path: PathBuf, scope: ScanScope) -> Self {
        let (say, said) = channel(BATCHES_IN_FLIGHT);
        let cancel = Cancel::default();
        let reader = Self {
            said,
            database: name(&path),
            _cancel: cancel.on_drop(),
        };
        tokio::task::spawn_blocking(move || {
            let last = match run(&path, &scope, &cancel, &say) {
                Ok(()) => Said::End,
                Err(error) => Said::Failed(error),
            };
            // Nobody left to tell is fine: that is what ended it.
            let _ = say.blocking_send(last);
        });
        reader
    }

    async fn next(&mut self) -> Option<Result<Vec<ScannedRecord>>> {
        match self.said.recv().await {
            Some(Said::Rows(rows)) => Some(Ok(rows)),
            Some(Said::Failed(error)) => Some(Err(error)),
            Some(Said::End) => None,
            None => {
                let reason = "the thread that read the records stopped before their end".to_owned();
                Some(Err(MetadataError::Failed {
                    database: self.database.clone(),
                    reason,
                }))
            }
        }
    }
}

fn run(path: &Path, scope: &ScanScope, cancel: &Cancel, say: &Sender<Said>) -> Result<()> {
    let session = Session::open(path)?;
    let read = || {
        session.read(|session| {
            send_all(session.connection(), scope, |rows| {
                !session.was_disturbed(path) && say.blocking_send(Said::Rows(rows)).is_ok()
            })
        })
    };
    let outcome = cancel.watch(session.connection(), read);
    // Looked at first: what a write half-way looked like may well be an error of its own.
    if session.was_disturbed(path) {
        return Err(MetadataError::Changed { database: name(path) });
    }
    outcome
        .unwrap_or(Ok(()))
        .map_err(|trouble| trouble.about(&name(path)))
}

/// Stops early where `send` says no.
fn send_all(
    connection: &Connection,
    scope: &ScanScope,
    mut send: impl FnMut(Vec<ScannedRecord>) -> bool,
) -> Result<(), Trouble> {
    let filter = Filter::of_scope(scope);
    let condition = filter.clause();
    let sql = format!(
        "SELECT {SCAN_COLUMNS} FROM main.storage_files {condition} ORDER BY provider_path COLLATE BINARY"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(&filter.values))?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next()? {
        batch.push(scanned_record(row)?);
        if batch.len() == BATCH && !send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))) {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
    Ok(())
}
