//! What every test of the local provider builds on.

mod head;
mod listing;
mod odd;
mod store;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;

use super::*;

/// A root of its own, gone after the test.
pub(super) struct Room {
    dir: TempDir,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A root with these files, each holding its own key.
    pub(super) fn with(keys: &[&[u8]]) -> Self {
        let room = Self::new();
        fs::create_dir(room.root()).unwrap();
        for key in keys {
            room.file(key);
        }
        room
    }

    pub(super) fn path(&self, key: &[u8]) -> PathBuf {
        self.root().join(std::ffi::OsStr::from_bytes(key))
    }

    pub(super) fn file(&self, key: &[u8]) -> PathBuf {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, key).unwrap();
        path
    }

    pub(super) fn link(&self, target: impl AsRef<Path>, key: &[u8]) {
        std::os::unix::fs::symlink(target, self.path(key)).unwrap();
    }

    pub(super) fn store(&self) -> LocalStore {
        LocalStore::new("local", &self.root())
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Listed>, ProviderError> {
        let request = ListRequest {
            prefix: prefix.into(),
            ..ListRequest::default()
        };
        self.store().list(request).try_collect().await
    }

    pub(super) async fn keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.list(prefix).await.unwrap();
        listed.iter().map(|l| l.key.to_string()).collect()
    }

    pub(super) async fn head(&self, key: &[u8]) -> Result<Option<Listed>, ProviderError> {
        self.store().head(&Key::new(key)).await
    }
}

/// Whether this process is one that modes bind. As root it runs the named test again, in a process that gave root
/// up, and says no; the caller then has nothing left to do.
pub(super) fn bound_by_modes(test: &str) -> bool {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    // The binary may lie where only root can look: hand it over open.
    let binary = fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let output = std::process::Command::new("/proc/self/fd/0")
        .args(["--exact", test, "--nocapture"])
        .stdin(binary)
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    false
}
