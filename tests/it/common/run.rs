//! Plain runs of the binary on any deployment, and small changes to its records.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use rustix::fs::{Mode, OFlags};

use super::TestEnv;
use super::deployment::Run;

impl Run {
    pub fn of<A: AsRef<OsStr>>(env: &TestEnv, args: impl IntoIterator<Item = A>) -> Self {
        let output = env.civic(args).output().unwrap();
        Self {
            code: output.status.code().expect("ended by no signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl TestEnv {
    /// The database, to be changed.
    pub fn sql(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// Adds records without objects, in folder `public`, each of one byte.
    pub fn add_records(&self, count: u32) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
            INSERT INTO storage_files (id, original_name, stored_filename, folder, relative_path, provider_path, size,
                mime_type, created_at, updated_at)
            SELECT printf('00000000-0000-4000-8000-%012d', i), 'added ' || i, 'added_' || i, 'public',
                'public/added_' || i, '/srv/civicpress/storage/public/added_' || i, 1, 'text/plain',
                '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM n";
        assert_eq!(self.sql().execute(sql, [count]).unwrap(), count as usize);
    }

    /// Gives one record of the fixture another name, and tells its id.
    pub fn rename_one(&self, name: &str) -> String {
        let sql = "UPDATE storage_files SET original_name = ?1
            WHERE id = (SELECT min(id) FROM storage_files WHERE folder = 'permits') RETURNING id";
        self.sql().query_row(sql, [name], |row| row.get(0)).unwrap()
    }
}

/// bash with this script in a mount namespace of its own, in the directory and environment of this command.
pub fn unshared(civic: &Command, script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .env_clear()
        .envs(civic.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .args(["--user", "--map-root-user", "--mount", "bash", "-c", script, "-"]);
    if let Some(directory) = civic.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// Tells a figure, or what was left out, past what a test runner captures of tests that pass.
pub fn report(line: &str) {
    io::stderr().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// Whether the file system there has files without a name; says so where it has none, and part of a test is left out.
pub fn knows_nameless_files(directory: &Path) -> bool {
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let knows = rustix::fs::open(directory, flags, Mode::RUSR).is_ok();
    if !knows {
        report("left out: what a kill leaves, since this file system has no files without a name");
    }
    knows
}
