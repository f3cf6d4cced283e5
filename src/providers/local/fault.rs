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
    /// A directory was moved while it was walked.
    Moved(Vec<u8>),
    /// The system refused.
    System { path: Vec<u8>, errno: Errno },
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
}

impl LocalStore {
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
