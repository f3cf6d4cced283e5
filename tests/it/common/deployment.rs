//! A deployment built by hand, for what the fixture does not have: other providers, other ages, other lies.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use serde_json::Value;

use super::TestEnv;

/// `storage_files` as CivicPress 0.3.1 makes it.
const SCHEMA: &str = "CREATE TABLE storage_files (id TEXT PRIMARY KEY, original_name TEXT NOT NULL, \
    stored_filename TEXT NOT NULL, folder TEXT NOT NULL, relative_path TEXT NOT NULL, \
    provider_path TEXT NOT NULL, size INTEGER NOT NULL, mime_type TEXT NOT NULL, description TEXT, \
    uploaded_by TEXT, created_at DATETIME DEFAULT CURRENT_TIMESTAMP, \
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP)";

/// A [`TestEnv`] with an empty database, an empty storage root and a storage.yml.
pub struct Deployment {
    env: TestEnv,
    db: Connection,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// stdout as the JSON envelope.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {}\n{}", self.stdout, self.stderr))
    }

    /// The `key` of every item of a list in `data`, sorted.
    pub fn items(&self, list: &str, key: &str) -> Vec<String> {
        let json = self.json();
        let items = json["data"][list]
            .as_array()
            .unwrap_or_else(|| panic!("no {list} in {json}"));
        let mut found: Vec<String> = items
            .iter()
            .map(|i| i[key].as_str().unwrap_or_default().to_owned())
            .collect();
        found.sort();
        found
    }

    pub fn count(&self, name: &str) -> u64 {
        self.json()["data"]["counts"][name]
            .as_u64()
            .unwrap_or_else(|| panic!("no count {name}: {}", self.stdout))
    }
}

/// A UUID v4 that shows its number.
pub fn uuid(n: u32) -> String {
    format!("{n:08x}-0000-4000-8000-000000000000")
}

impl Deployment {
    /// One local provider at `storage`, a folder `permits` and a folder `public`.
    pub fn new() -> Self {
        let env = TestEnv::empty();
        fs::create_dir_all(env.storage()).expect("storage");
        let db = Connection::open(env.database()).expect("a database");
        db.pragma_update(None, "journal_mode", "wal").expect("wal");
        db.execute_batch(SCHEMA).expect("schema");
        let this = Self { env, db };
        this.providers(&format!(
            "  local: {{ type: local, path: {} }}",
            this.storage().display()
        ));
        this
    }

    pub fn storage(&self) -> PathBuf {
        self.env.storage()
    }

    /// Where its files lie.
    pub const fn env(&self) -> &TestEnv {
        &self.env
    }

    /// The binary as a process that is not started yet.
    pub fn process(&self) -> std::process::Command {
        self.env.process()
    }

    pub fn db(&self) -> &Connection {
        &self.db
    }

    /// Writes storage.yml with these providers (YAML, indented by two).
    pub fn providers(&self, yaml: &str) {
        let folders = "folders:\n  permits: { path: permits, access: public, allowed_types: ['*'] }\n  \
                       public: { path: public, access: public, allowed_types: ['*'] }\n";
        let first = yaml.trim_start().split(':').next().expect("a provider");
        let text = format!("providers:\n{yaml}\nactive_provider: {first}\nretry_attempts: 0\n{folders}");
        fs::write(self.env.config(), text).expect("storage.yml");
    }

    /// Has what fails tried again. Copies into a folder that begins with them may fail on rclone: it makes and removes
    /// directories meanwhile.
    pub fn tries_again(&self) {
        let again = "retry_attempts: 3\nretry_initial_delay: 50ms";
        self.env
            .edit_config(|yaml| yaml.replace("retry_attempts: 0", again));
    }

    /// The YAML of an S3 provider named `s3` at this endpoint.
    pub fn s3(endpoint: &str, bucket: &str, prefix: &str) -> String {
        format!(
            "  s3: {{ type: s3, bucket: {bucket}, region: us-east-1, endpoint: '{endpoint}', prefix: '{prefix}', \
             credentials: {{ access_key_id: civic-test, secret_access_key: civic-test-secret }}, \
             options: {{ force_path_style: true }} }}"
        )
    }

    /// A record of this id for `key` below `root`, created `age` ago.
    pub fn record(&self, n: u32, root: &str, key: &str, (size, age): (i64, Duration)) -> String {
        let id = uuid(n);
        let (folder, stored) = key.rsplit_once('/').expect("a key with a folder");
        let at: DateTime<Utc> = (SystemTime::now() - age).into();
        let at = at.format("%Y-%m-%d %H:%M:%S").to_string();
        self.db
            .execute(
                "INSERT INTO storage_files VALUES (?1,?2,?3,?4,?5,?6,?7,'text/plain',NULL,'clerk',?8,?8)",
                params![
                    id,
                    format!("file {n}.txt"),
                    stored,
                    folder,
                    key,
                    format!("{root}/{key}"),
                    size,
                    at
                ],
            )
            .expect("a record");
        id
    }

    /// The same with the local root, a size of 1 and an age of 30 days.
    pub fn local_record(&self, n: u32, key: &str) -> String {
        self.record(n, &self.storage().display().to_string(), key, (1, days(30)))
    }

    /// A file of `size` bytes, `age` old.
    pub fn file(&self, key: &str, size: usize, age: Duration) {
        let path = self.storage().join(key);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, vec![b'x'; size]).expect("a file");
        let file = File::options().write(true).open(&path).expect("the file");
        file.set_modified(SystemTime::now() - age).expect("its time");
    }

    /// The same, of one byte and 30 days old.
    pub fn old_file(&self, key: &str) {
        self.file(key, 1, days(30));
    }

    /// Runs `civic` in this deployment with nothing of the caller's environment.
    pub fn civic(&self, args: &[&str]) -> Run {
        let output = self.env.civic(args).output().expect("civic runs");
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `storage:cleanup --json` with more arguments.
    pub fn cleanup(&self, args: &[&str]) -> Run {
        self.civic(&[&["storage:cleanup", "--json"], args].concat())
    }
}

pub const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

/// `<folder>/<base>_<uuid n>.txt`
pub fn key(folder: &str, n: u32) -> String {
    format!("{folder}/file_{}.txt", uuid(n))
}
