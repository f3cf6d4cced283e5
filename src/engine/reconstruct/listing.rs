//! What the providers have, by the id that a file has everywhere: its object, and those that are copies of it.

use std::io;
use std::iter::Peekable;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::{ReconstructError, ReconstructRequest, Seen};
use crate::engine::Progress;
use crate::providers::{
    EntryKind, Key, ListRequest, Listed, Provider, is_reserved, sidecar_object, stored_shape,
};
use crate::spill::{SortedRuns, Sorter};

/// Bytes that sorting the listings may take.
const BUDGET: usize = 4 << 20;

/// What ends a key in the sorted listing; no key of ours holds such bytes.
const OBJECT: u8 = 0;
const SIDECAR: u8 = 1;

/// An object of this system's shape, and whether a sidecar was listed beside it.
pub(super) struct Found {
    pub(super) provider: Arc<Provider>,
    pub(super) object: Listed,
    pub(super) has_sidecar: bool,
    /// Too young for anybody to say that its record is lost.
    pub(super) is_recent: bool,
}

/// A line of the sorted listing. The provider is the place of one in the request.
#[derive(Serialize, Deserialize)]
enum Line {
    Object {
        provider: usize,
        size: u64,
        last_modified: DateTime<Utc>,
        is_recent: bool,
    },
    Sidecar,
}

/// All objects of one id.
pub(super) struct Group {
    pub(super) id: String,
    /// In the order of the request's providers.
    pub(super) objects: Vec<Found>,
}

/// Lists all providers, in their order.
///
/// # Errors
/// A listing that does not reach its end, a temporary directory that fails.
pub(super) async fn list<'a>(
    request: &'a ReconstructRequest,
    progress: &dyn Progress,
    seen: &mut Seen,
) -> Result<Groups<'a>, ReconstructError> {
    let mut sorted = Sorter::new(BUDGET);
    for (place, provider) in request.providers.iter().enumerate() {
        progress.start(&format!("Reading {}", provider.name), None);
        let listed = one(request, (place, provider), &mut sorted, seen).await;
        progress.finish();
        listed?;
    }
    Ok(Groups {
        request,
        lines: sorted.finish()?.peekable(),
    })
}

async fn one(
    request: &ReconstructRequest,
    (place, provider): (usize, &Provider),
    sorted: &mut Sorter,
    seen: &mut Seen,
) -> Result<(), ReconstructError> {
    let now = provider.probe().await?.now;
    let prefix = request.folder.as_ref().map(|folder| format!("{folder}/"));
    let mut listing = provider.list(ListRequest {
        prefix: prefix.unwrap_or_default(),
        ..ListRequest::default()
    });
    while let Some(entry) = listing.try_next().await? {
        let key = entry.key.as_bytes();
        let object = match (sidecar_object(key), stored_shape(key)) {
            _ if is_reserved(key) => continue,
            (Some(object), _) if entry.kind == EntryKind::Object => Some(object),
            (None, Some(_)) if entry.kind == EntryKind::Object => None,
            _ => {
                seen.foreign += 1;
                continue;
            }
        };
        let Some(shape) = stored_shape(object.unwrap_or(key)) else {
            continue;
        };
        // A time to come is no age.
        let age = (now - entry.last_modified).to_std().unwrap_or_default();
        let (line, side) = match object {
            Some(_) => (Line::Sidecar, SIDECAR),
            None => (
                Line::Object {
                    provider: place,
                    size: entry.size,
                    last_modified: entry.last_modified,
                    is_recent: age < request.min_age,
                },
                OBJECT,
            ),
        };
        let line = serde_json::to_vec(&line).map_err(io::Error::from)?;
        let rank = u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes();
        // A listing may show a sidecar before its object.
        let by = [shape.id.as_bytes(), &rank, object.unwrap_or(key), &[side]];
        sorted.push(&by.concat(), &line)?;
    }
    Ok(())
}

/// The groups, one after the other.
pub(super) struct Groups<'a> {
    request: &'a ReconstructRequest,
    lines: Peekable<SortedRuns>,
}

/// Bytes of an id, as [`stored_shape`] knows it.
const ID: usize = 36;
const RANK: usize = size_of::<u32>();

impl Groups<'_> {
    /// The next group that has an object: a sidecar alone tells of an object that is gone, and no record is made of it.
    ///
    /// # Errors
    /// Where the temporary directory fails.
    pub(super) fn next(&mut self) -> io::Result<Option<Group>> {
        while let Some(first) = self.lines.next().transpose()? {
            let id = first.0[..ID].to_vec();
            let mut objects = Vec::new();
            self.add(&mut objects, &first)?;
            let of_it = |line: &io::Result<(Vec<u8>, Vec<u8>)>| {
                line.as_ref().is_ok_and(|(by, _)| by.starts_with(&id))
            };
            while let Some(line) = self.lines.next_if(of_it).transpose()? {
                self.add(&mut objects, &line)?;
            }
            if !objects.is_empty() {
                let id = String::from_utf8_lossy(&id).into_owned();
                return Ok(Some(Group { id, objects }));
            }
        }
        Ok(None)
    }

    fn add(&mut self, objects: &mut Vec<Found>, (by, line): &(Vec<u8>, Vec<u8>)) -> io::Result<()> {
        let Line::Object {
            provider,
            size,
            last_modified,
            is_recent,
        } = serde_json::from_slice(line)?
        else {
            return Ok(());
        };
        let (object, _) = by.split_at(by.len() - 1);
        let sidecar = [object, &[SIDECAR]].concat();
        let next = self.lines.peek().and_then(|next| next.as_ref().ok());
        objects.push(Found {
            provider: Arc::clone(&self.request.providers[provider]),
            object: Listed {
                key: Key::new(&object[ID + RANK..]),
                kind: EntryKind::Object,
                size,
                last_modified,
                etag: None,
            },
            has_sidecar: next.is_some_and(|(next, _)| *next == sidecar),
            is_recent,
        });
        Ok(())
    }
}
