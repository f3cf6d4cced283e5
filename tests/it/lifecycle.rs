//! `storage:lifecycle`: what policies say, what `--apply` does, and what it never does.

mod apply;
mod archive;
mod check;
mod killed;
mod scheduled;
mod warnings;
mod year;

use std::fs;
use std::path::PathBuf;

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::delete::rows;

/// Two providers on disk, `local` (active) and `vault`, folders that are `permits` and `plans` (authenticated),
/// `public`, and `attic` (private).
pub struct Town {
    pub town: Deployment,
}

impl Town {
    /// With these policies, and what else stands under `lifecycle`.
    pub fn new(lifecycle: &str) -> Self {
        let this = Self {
            town: Deployment::new(),
        };
        fs::create_dir_all(this.vault()).unwrap();
        this.configure(lifecycle);
        this
    }

    pub fn configure(&self, lifecycle: &str) {
        let vault = format!("  vault: {{ type: local, path: {} }}\n", self.vault().display());
        self.configure_with(&vault, lifecycle);
    }

    /// The same with these providers beside the local one.
    pub fn configure_with(&self, providers: &str, lifecycle: &str) {
        let yaml = format!(
            "providers:\n  local: {{ type: local, path: {} }}\n{providers}active_provider: local\n\
             folders:\n  permits: {{ access: authenticated, allowed_types: ['*'] }}\n  \
             plans: {{ access: authenticated, allowed_types: ['*'] }}\n  \
             public: {{ access: public, allowed_types: ['*'] }}\n  \
             attic: {{ access: private, allowed_types: ['*'] }}\nlifecycle:\n{lifecycle}",
            self.town.storage().display()
        );
        fs::write(self.town.env().config(), yaml).unwrap();
    }

    pub fn vault(&self) -> PathBuf {
        self.town.env().root().join("vault")
    }

    /// A file of the local provider, so many days old, with a sidecar as CivicPress writes it.
    pub fn file(&self, n: u32, folder: &str, age: u64) -> String {
        let at = key(folder, n);
        let bytes = content(n);
        let path = self.town.storage().join(&at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        fs::write(self.town.storage().join(at.clone() + ".meta.json"), "{}").unwrap();
        let root = self.town.storage().display().to_string();
        let size = i64::try_from(bytes.len()).unwrap();
        self.town.record(n, &root, &at, (size, days(age)))
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.town
            .civic(&[&["storage:lifecycle", "--json"], args].concat())
    }

    pub fn apply(&self, args: &[&str]) -> Run {
        self.run(&[&["--apply", "--yes"], args].concat())
    }

    /// The same as if so many days had gone by.
    pub fn apply_after(&self, days: u64, args: &[&str]) -> Run {
        // The clock of the disk is still the machine's own.
        let own = [
            "storage:lifecycle",
            "--json",
            "--apply",
            "--yes",
            "--override",
            "clock-skew",
        ];
        self.after(days, &[&own[..], args].concat())
    }

    pub fn after(&self, days: u64, args: &[&str]) -> Run {
        let output = self.process_after(days).args(args).output().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn process_after(&self, days: u64) -> std::process::Command {
        let mut process = self.town.process();
        process.env("CIVIC_CLOCK_AHEAD", (days * 86_400).to_string());
        process
    }

    pub fn undo(&self, run: &str) -> Run {
        self.town.civic(&["storage:undo", "--yes", "--json", run])
    }

    pub fn path(&self, n: u32) -> Option<String> {
        let sql = "SELECT provider_path FROM storage_files WHERE id = ?1";
        self.town.db().query_row(sql, [uuid(n)], |row| row.get(0)).ok()
    }

    pub fn count(&self) -> usize {
        rows(self.town.db()).len()
    }

    /// The file can be read where its row says, and holds what it held.
    #[track_caller]
    pub fn assert_readable(&self, n: u32, context: &str) {
        let path = self
            .path(n)
            .unwrap_or_else(|| panic!("{context}: {n} has no record"));
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{context}: {path}: {error}"));
        assert_eq!(bytes, content(n), "{context}: {path}");
    }

    /// A comparison of both providers finds nothing, and nobody has anything left to do.
    #[track_caller]
    pub fn assert_whole(&self, context: &str) {
        assert_eq!(crate::change::unsettled(&self.town), 0, "{context}");
        let look = self
            .town
            .cleanup(&["--min-age", "0", "--kind", "orphaned-objects,sidecars"]);
        let left = [
            "orphanedObjects",
            "orphanedRecords",
            "mismatches",
            "misplaced",
            "sidecarsWithoutObject",
            "foreign",
        ]
        .map(|count| look.count(count));
        assert_eq!(left, [0; 6], "{context}: {}", look.stdout);
    }
}

pub fn content(n: u32) -> Vec<u8> {
    format!("bytes of {n}").into_bytes()
}

/// `delete`, `archive`, `warn`, `retain` of `counts` or `done`.
pub fn four(run: &Run, of: &str) -> [u64; 4] {
    let json = run.json();
    ["delete", "archive", "warn", "retain"].map(|kind| {
        json["data"][of][kind]
            .as_u64()
            .unwrap_or_else(|| panic!("no {of}.{kind}: {json}"))
    })
}

/// What `errors` says, sorted by file.
pub fn errors(run: &Run) -> Vec<(String, String)> {
    let json = run.json();
    let mut errors: Vec<_> = json["data"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let text = |key: &str| error[key].as_str().unwrap().to_owned();
            (text("file"), text("error"))
        })
        .collect();
    errors.sort();
    errors
}
