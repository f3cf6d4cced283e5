//! The local provider: a directory, listed in key order with every name kept byte for byte.
//!
//! Every path is walked one segment at a time from the open root, and no symlink below the root is ever followed,
//! so no key leads out of it. (The root itself may be a symlink: the operator named it.) Only regular files are
//! opened.

mod fault;
mod listing;
mod place;
mod read;
mod root;
mod store;
mod upload;
mod walk;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rustix::fs::{FileType, Stat};

use super::{EntryKind, Key, ListRequest, Listed, Listing, Probe, ProviderError};
use fault::Fault;
use root::RootDir;

/// A directory as a provider. Cheap to clone; holds nothing open.
#[derive(Debug, Clone)]
pub struct LocalStore {
    name: Arc<str>,
    root: Arc<Path>,
}

impl LocalStore {
    /// `name` as `storage.yml` has it, `root` absolute. Looks at nothing.
    #[must_use]
    pub fn new(name: &str, root: &Path) -> Self {
        Self {
            name: name.into(),
            root: root.into(),
        }
    }

    /// Everything below the root (or the request's prefix) that is no directory, in byte order of the keys,
    /// reserved names included. What vanishes while the listing runs is left out; a directory that cannot be read,
    /// a root that is gone, or a prefix that leads through a symlink ends it with an error. A prefix that is not
    /// there lists nothing. `split_at` is not used: one disk is read best from one end.
    ///
    /// Of the root's own `lost+found`, which belongs to the file system and only root may read, nothing is listed
    /// where it cannot be read.
    ///
    /// The work starts with the first poll, in a thread of its own, which dropping the stream stops.
    #[must_use]
    pub fn list(&self, request: ListRequest) -> Listing {
        listing::start(self.clone(), request)
    }

    /// What stands at the key, or `None` where nothing does: no such name, a directory, or a name longer than the
    /// file system takes, which therefore cannot exist.
    ///
    /// # Errors
    /// A symlink at the key or on the way to it is [`ProviderError::Invalid`], as is a key that no file can have
    /// (an empty segment, `.`, `..`, a NUL). A root that is gone is [`ProviderError::RootMissing`].
    ///
    /// # Cancellation
    /// Safe; changes nothing.
    pub async fn head(&self, key: &Key) -> Result<Option<Listed>, ProviderError> {
        let key = key.clone();
        self.blocking("head", move |store| store.head_blocking(&key))
            .await
    }

    /// A first look: whether the root is there, and whether anything is in it. `lost+found`, which every fresh
    /// ext file system has, counts as nothing.
    ///
    /// # Errors
    /// A root that is missing or no directory is [`ProviderError::RootMissing`].
    ///
    /// # Cancellation
    /// Safe; changes nothing.
    pub async fn probe(&self) -> Result<Probe, ProviderError> {
        let bare = self
            .blocking("probe", |store| RootDir::open(&store.root)?.is_bare())
            .await?;
        Ok(Probe {
            now: Utc::now(),
            bare,
        })
    }

    /// Removes unfinished files that dead processes left.
    ///
    /// # Errors
    /// Where some may be left.
    pub async fn sweep(&self) -> Result<(), ProviderError> {
        self.blocking("sweep", |store| place::sweep(&RootDir::open(&store.root)?))
            .await
    }

    /// Removes empty directories above a key in the trash, as far as its run's own.
    ///
    /// # Errors
    /// Where they may be left.
    pub async fn tidy(&self, key: &Key) -> Result<(), ProviderError> {
        let key = key.clone();
        self.blocking("tidy", move |store| {
            place::remove_empty_above(&RootDir::open(&store.root)?, key.as_bytes());
            Ok(())
        })
        .await
    }

    fn head_blocking(&self, key: &Key) -> Result<Option<Listed>, Fault> {
        let root = RootDir::open(&self.root)?;
        match root.certain(root.stat(key.as_bytes())) {
            Ok(stat) => Ok(entry(key.clone(), &stat)),
            Err(Fault::NotFound) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Runs `work` where it may block.
    async fn blocking<T, F>(&self, operation: &'static str, work: F) -> Result<T, ProviderError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, Fault> + Send + 'static,
    {
        let store = self.clone();
        unblocked(move || work(&store))
            .await
            .map_err(|fault| self.provider_error(operation, fault))
    }
}

impl std::fmt::Display for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.root.display())
    }
}

/// Runs `work` on a thread that may block. It is finished even where nobody waits for it any more.
async fn unblocked<T, F>(work: F) -> Result<T, Fault>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Fault> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Fault::Lost(e.to_string())))
}

/// The listing's entry for what `stat` found; a directory is none.
fn entry(key: Key, stat: &Stat) -> Option<Listed> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::Object,
        FileType::Directory => return None,
        _ => EntryKind::Special,
    };
    Some(Listed {
        key,
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        last_modified: modified(stat),
        etag: None,
    })
}

/// A time that no calendar holds counts as now, which is too recent for anything to be done to its file.
fn modified(stat: &Stat) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    DateTime::from_timestamp(stat.st_mtime, nanoseconds).unwrap_or_else(Utc::now)
}

#[cfg(test)]
mod tests;
