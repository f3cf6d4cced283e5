//! What every test stands on: a deployment of its own in a temp directory, and the real binary run without anything of
//! the developer's environment. Never touches a network address but loopback.

mod bucket;
pub mod deployment;
pub mod fake_s3;
mod gcs;
pub mod proxy;
mod remote;
pub mod run;
mod tree;
mod world;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use assert_cmd::Command;
use tempfile::TempDir;

pub use bucket::{ACCOUNT, ACCOUNT_KEY, Bucket, Service};
pub use gcs::GcsBucket;
pub use remote::Remote;
pub use tree::{ButCounts, Tree};
pub use world::World;

/// Where the fixture's storage was when CivicPress made it; its records still say so.
pub const OLD_ROOT: &str = "/srv/civicpress/storage";

/// A deployment in a temp directory, gone when dropped.
///
/// ```ignore
/// let env = TestEnv::fixture();
/// env.civic(["storage:usage"]).assert().success();
/// ```
#[derive(Debug)]
pub struct TestEnv {
    dir: TempDir,
}

impl TestEnv {
    /// An empty deployment: no `storage.yml`, no database, no storage.
    pub fn empty() -> Self {
        let env = Self {
            dir: tempfile::Builder::new().prefix("civic-test-").tempdir().unwrap(),
        };
        for dir in [env.system_data(), env.home(), env.tmp()] {
            fs::create_dir_all(dir).unwrap();
        }
        env
    }

    /// A copy of the deployment that CivicPress made, its storage moved to [`TestEnv::storage`], the old root an alias.
    pub fn fixture() -> Self {
        let env = Self::empty();
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/civicpress-local.tar.gz");
        let status = Process::new("tar")
            .args([
                "--extract",
                "--gzip",
                "--strip-components=1",
                "--no-same-owner",
                "--file",
            ])
            .arg(archive)
            .arg("--directory")
            .arg(env.root())
            .status()
            .expect("tar is installed");
        assert!(status.success(), "the fixture unpacks");
        let storage = env.storage();
        env.edit_config(|yaml| {
            let moved = yaml.replace(OLD_ROOT, storage.to_str().unwrap());
            let local = format!("  local:\n    aliases: [{OLD_ROOT}]\n");
            moved.replacen("  local:\n", &local, 1)
        });
        env
    }

    /// The deployment's root; `.civicrc` is here.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("town")
    }

    pub fn system_data(&self) -> PathBuf {
        self.root().join(".system-data")
    }

    /// Root of the local provider.
    pub fn storage(&self) -> PathBuf {
        self.root().join("storage")
    }

    pub fn database(&self) -> PathBuf {
        self.system_data().join("civic.db")
    }

    pub fn config(&self) -> PathBuf {
        self.system_data().join("storage.yml")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// `TMPDIR` of the binary; outside of the deployment.
    pub fn tmp(&self) -> PathBuf {
        self.dir.path().join("tmp")
    }

    /// Rewrites `storage.yml`.
    pub fn edit_config(&self, edit: impl FnOnce(String) -> String) {
        let yaml = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), edit(yaml)).unwrap();
    }

    /// The binary, ready to run in the deployment's root with nothing of the caller's environment. System data and
    /// database are named by environment, so that a test can still give the flags or remove the variables.
    pub fn civic<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::from_std(self.process());
        command.args(args);
        command
    }

    /// The same as a plain [`Process`], for tests that need pipes or a process that keeps running.
    pub fn process(&self) -> Process {
        let mut process = Process::new(assert_cmd::cargo::cargo_bin!("civic"));
        process
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.tmp())
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "America/New_York")
            .env("LC_ALL", "C.UTF-8")
            .env("CIVIC_SYSTEM_DATA", self.system_data())
            .env(
                "CIVIC_DATABASE_URL",
                format!("sqlite:{}", self.database().display()),
            )
            .current_dir(self.root());
        process
    }

    /// Every entry of the deployment as it is now, to be compared with a later look.
    pub fn tree(&self) -> Tree {
        Tree::of(&self.root())
    }

    /// The same, for where commands write: a question that is asked there may add to the counts.
    pub fn but_counts(&self) -> ButCounts {
        ButCounts::of(&self.root(), &self.database())
    }

    /// A fresh bucket on SeaweedFS; `None`, with a line on stderr, where `CIVIC_TEST_SEAWEED` names no server.
    pub fn seaweed() -> Option<Bucket> {
        Bucket::fresh(Service::S3, "CIVIC_TEST_SEAWEED")
    }

    /// A fresh bucket on `rclone serve s3`; `None`, with a line on stderr, where `CIVIC_TEST_RCLONE` names no server.
    pub fn rclone() -> Option<Bucket> {
        Bucket::fresh(Service::S3, "CIVIC_TEST_RCLONE")
    }

    /// A fresh container on Azurite; `None`, with a line on stderr, where `CIVIC_TEST_AZURITE` names no server.
    pub fn azurite() -> Option<Bucket> {
        Bucket::fresh(Service::Azure, "CIVIC_TEST_AZURITE")
    }

    /// A fresh bucket on the double of Google Cloud Storage; `None`, with a line on stderr, where `CIVIC_TEST_GCS`
    /// names no server.
    pub fn gcs() -> Option<GcsBucket> {
        GcsBucket::fresh()
    }
}
