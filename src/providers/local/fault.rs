//! What can go wrong below a root, and how that reads at the edge of the room. A path in a fault is relative to
//! the root; the edge puts the root before it.

use std::io;

use rustix::io::Errno;

use super::super::{Key, ProviderError};
use super::LocalStore;

/// Why a path could not be used.
#[derive(Debug)]
pub(super) enum Fault {
    /// The root is not there, or is no directory.
    RootMissing,
    /// Something else stands at the root's path than when it was opened.
    RootReplaced,
    /// Nothing stands at the key.
    NotFound,
    /// No file can have this key.
    NotAKey(Vec<u8>),
    /// A symlink stands at, or on the way to, the key.
    Symlink(Vec<u8>),
    /// Something stands at the key that is no regular file: a directory, FIFO, socket or device.
    NotAFile(Vec<u8>),
    /// Something stands where a new object was to be.
    Exists(Vec<u8>),
    /// A file was written to, or replaced, while it was moved.
    Changed(Vec<u8>),
    /// A directory was moved while it was walked.
    Moved(Vec<u8>),
    /// The system refused.
    System { path: Vec<u8>, errno: Errno },
    /// Reading or writing a file's bytes failed.
    File { path: Vec<u8>, error: io::Error },
    /// Sorting out of core failed.
    Spill(io::Error),
    /// The thread that did the work ended without an answer.
    Lost(String),
}

impl Fault {
    pub(super) fn system(path: &[u8], errno: Errno) -> Self {
        Self::System {
            path: path.to_vec(),
            errno,
        }
    }

    pub(super) fn file(path: &[u8], error: io::Error) -> Self {
        Self::File {
            path: path.to_vec(),
            error,
        }
    }
}

impl LocalStore {
    /// The fault as object_store knows it. Only an absent object is NotFound; an absent root never is.
    pub(super) fn store_error(
        &self,
        operation: &'static str,
        key: &[u8],
        fault: Fault,
    ) -> object_store::Error {
        let path = Key::new(key).to_string();
        let denied = matches!(
            fault,
            Fault::System {
                errno: Errno::ACCESS | Errno::PERM,
                ..
            }
        );
        let (absent, exists) = (
            matches!(fault, Fault::NotFound),
            matches!(fault, Fault::Exists(_)),
        );
        let changed = matches!(fault, Fault::Changed(_));
        let source = Box::new(self.provider_error(operation, fault));
        if absent {
            object_store::Error::NotFound { path, source }
        } else if exists {
            object_store::Error::AlreadyExists { path, source }
        } else if changed {
            object_store::Error::Precondition { path, source }
        } else if denied {
            object_store::Error::PermissionDenied { path, source }
        } else {
            generic(source)
        }
    }

    /// The fault as the rest of the program knows it.
    pub(super) fn provider_error(&self, operation: &'static str, fault: Fault) -> ProviderError {
        let provider = self.name.to_string();
        let unavailable = |reason: String| ProviderError::Unavailable {
            provider: self.name.to_string(),
            operation,
            reason,
        };
        let invalid = |reason: String| ProviderError::Invalid {
            provider: self.name.to_string(),
            operation,
            reason,
        };
        match fault {
            Fault::RootMissing => ProviderError::RootMissing {
                provider,
                root: self.root.display().to_string(),
            },
            Fault::System {
                path,
                errno: errno @ (Errno::ACCESS | Errno::PERM),
            } => ProviderError::Denied {
                provider,
                operation,
                reason: self.spoken(&path, errno),
            },
            Fault::System { path, errno } => unavailable(self.spoken(&path, errno)),
            Fault::RootReplaced => unavailable(format!("{} was replaced meanwhile", self.root.display())),
            Fault::Moved(path) => unavailable(format!("{} was moved meanwhile", self.at(&path))),
            Fault::File { path, error } => unavailable(format!("{}: {error}", self.at(&path))),
            Fault::NotAFile(path) => invalid(format!("{} is no regular file", self.at(&path))),
            Fault::Changed(path) => invalid(format!("{} was changed meanwhile", self.at(&path))),
            Fault::Exists(path) => invalid(format!("{} exists already", self.at(&path))),
            Fault::Spill(error) => unavailable(error.to_string()),
            Fault::Lost(reason) => unavailable(reason),
            Fault::NotFound => invalid("nothing is there".into()),
            Fault::NotAKey(path) => invalid(format!("no file can have the key {}", Key::new(path))),
            Fault::Symlink(path) => invalid(format!(
                "{} is a symlink, and none below the root is followed",
                self.at(&path)
            )),
        }
    }

    fn spoken(&self, path: &[u8], errno: Errno) -> String {
        format!("{}: {}", self.at(path), io::Error::from(errno))
    }

    /// The absolute path as text, odd bytes escaped.
    pub(super) fn at(&self, path: &[u8]) -> String {
        let root = self.root.display();
        match path.strip_suffix(b"/").unwrap_or(path) {
            b"" => root.to_string(),
            path => format!("{root}/{}", Key::new(path)),
        }
    }
}

/// An error of this store that object_store has no name for.
pub(super) fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic {
        store: "local",
        source,
    }
}
