//! A folder that is a file system of its own: whatever moves files moves them across, there and back, and a kill in
//! between loses nothing. The mount is made in a namespace of the run's own, so that no root is needed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::run::unshared;

/// A deployment whose folder `permits` is another disk; runs see it there, the test sees it at [`Self::disk`].
struct Mounted {
    town: Deployment,
    disk: TempDir,
}

/// Bytes, mode and time of every file.
type Files = BTreeMap<String, (Vec<u8>, u32, (i64, i64))>;

impl Mounted {
    /// `None`, with a line on stderr, where nobody may mount anything.
    fn new() -> Option<Self> {
        let memory = Path::new("/dev/shm");
        let disk = TempDir::with_prefix_in("civic-test-", memory)
            .or_else(|_| TempDir::with_prefix("civic-test-"))
            .unwrap();
        let town = Deployment::new();
        fs::create_dir(town.storage().join("permits")).unwrap();
        let this = Self { town, disk };
        let tried = this.inside("true").output();
        if !tried.is_ok_and(|tried| tried.status.success()) {
            let test = std::thread::current();
            let line = format!(
                "\nleft out: {} needs a mount of its own, which this system refuses\n",
                test.name().unwrap_or("a test")
            );
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        Some(this)
    }

    fn disk(&self) -> &Path {
        self.disk.path()
    }

    fn inside(&self, program: &str) -> Command {
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        let mut command = unshared(&self.town.process(), script);
        command
            .current_dir(self.town.env().root())
            .args([self.disk(), &self.town.storage().join("permits")])
            .arg(program);
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.inside(self.town.process().get_program().to_str().unwrap());
        command.args(args);
        command
    }

    fn civic(&self, args: &[&str]) -> Run {
        run(&mut self.command(args))
    }

    /// Dies at the failpoint.
    fn killed(&self, point: &str, args: &[&str]) {
        let status = self.command(args).env("CIVIC_FAILPOINT", point).status().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9),
            "{point} is never reached by {args:?}: {status}"
        );
    }

    /// A file with its sidecar and its record.
    fn file(&self, n: u32, bytes: &[u8]) -> String {
        let key = key("permits", n);
        let name = key.strip_prefix("permits/").unwrap();
        let path = self.disk().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let sidecar = self.disk().join(format!("{name}.meta.json"));
        fs::write(&sidecar, format!("sidecar of {n}")).unwrap();
        for path in [path, sidecar] {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::SystemTime::now() - days(30))
                .unwrap();
        }
        let root = self.town.storage().display().to_string();
        let size = i64::try_from(bytes.len()).unwrap();
        self.town.record(n, &root, &key, (size, days(30)))
    }

    /// What is on the other disk, unfinished files included.
    fn on_disk(&self) -> Files {
        let read = |entry: fs::DirEntry| {
            let meta = entry.metadata().unwrap();
            let times = (meta.mtime(), meta.mtime_nsec());
            let name = entry.file_name().into_string().unwrap();
            (
                name,
                (fs::read(entry.path()).unwrap(), meta.mode() & 0o777, times),
            )
        };
        let entries = fs::read_dir(self.disk()).unwrap();
        entries.map(|entry| read(entry.unwrap())).collect()
    }

    /// Names of all files in the trash, unfinished ones included.
    fn in_trash(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut open = vec![self.town.storage().join(".trash")];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else {
                    names.push(entry.file_name().into_string().unwrap());
                }
            }
        }
        names.sort();
        names
    }

    fn records(&self) -> u32 {
        let sql = "SELECT count(*) FROM storage_files";
        self.town.db().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn run_id(run: &Run) -> String {
    let json: Value = run.json();
    json["data"]["runId"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_of_another_disk_goes_to_the_trash_and_comes_back_with_its_sidecar_time_and_mode() {
    let Some(town) = Mounted::new() else { return };
    let (first, second) = (town.file(1, b"first"), town.file(2, &vec![7; 3 << 20]));
    let before = town.on_disk();
    assert_eq!(before.len(), 4);
    let deleted = town.civic(&["storage:delete", "--yes", "--json", &first, &second]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert!(town.on_disk().is_empty(), "{:?}", town.on_disk().keys());
    assert_eq!(town.in_trash().len(), 4, "{:?}", town.in_trash());
    let undone = town.civic(&["storage:undo", &run_id(&deleted), "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(town.on_disk(), before);
    assert_eq!((town.in_trash().len(), town.records()), (0, 2));
}

#[test]
fn a_file_moves_to_a_folder_on_another_disk_and_back_with_its_time_and_mode() {
    let Some(town) = Mounted::new() else { return };
    let id = town.file(1, &vec![7; 3 << 20]);
    let before = town.on_disk();
    let object = town.town.storage().join(key("public", 1));
    for point in [
        None,
        Some("across.after-place"),
        Some("move.after-switch"),
        Some("move.after-remove"),
    ] {
        let args = ["storage:move", "--json", &id, "--folder", "public"];
        if let Some(point) = point {
            town.killed(point, &args);
        }
        let moved = town.civic(&args);
        assert_eq!(moved.code, 0, "{point:?}: {moved:?}");
        assert!(
            town.on_disk().is_empty(),
            "{point:?}: {:?}",
            town.on_disk().keys()
        );
        let meta = fs::metadata(&object).unwrap();
        let (_, mode, times) = &before[object.file_name().unwrap().to_str().unwrap()];
        assert_eq!(
            (meta.mode() & 0o777, (meta.mtime(), meta.mtime_nsec())),
            (*mode, *times)
        );
        let back = town.civic(&["storage:move", "--json", &id, "--folder", "permits"]);
        assert_eq!(back.code, 0, "{point:?}: {back:?}");
        assert!(!object.exists());
        let now = town.on_disk();
        assert!(now.keys().eq(before.keys()), "{point:?}: {:?}", now.keys());
        let name = object.file_name().unwrap().to_str().unwrap();
        assert_eq!(now[name], before[name], "{point:?}");
    }
}

#[test]
fn cleanup_takes_orphans_off_another_disk_and_undo_brings_them_back() {
    let Some(town) = Mounted::new() else { return };
    for n in 1..=5 {
        town.file(n, format!("bytes of {n}").as_bytes());
    }
    let orphans = [uuid(1), uuid(2)];
    for id in &orphans {
        let sql = "DELETE FROM storage_files WHERE id = ?1";
        assert_eq!(town.town.db().execute(sql, [id]).unwrap(), 1);
    }
    let before = town.on_disk();
    let cleaned = town.civic(&["storage:cleanup", "--apply", "--yes", "--json"]);
    assert_eq!(cleaned.code, 0, "{cleaned:?}");
    assert_eq!(cleaned.json()["data"]["cleaned"]["objects"], 2, "{cleaned:?}");
    assert_eq!(town.on_disk().len(), 6);
    let undone = town.civic(&["storage:undo", &run_id(&cleaned), "--yes", "--json"]);
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(town.on_disk(), before);
}

/// Object first, then sidecar: each is copied and placed once.
const POINTS: [&str; 4] = [
    "across.after-copy:1",
    "across.after-place:1",
    "across.after-copy:2",
    "across.after-place:2",
];

#[test]
fn a_kill_between_copy_and_removal_is_ended_by_the_next_run() {
    for point in POINTS {
        let Some(town) = Mounted::new() else { return };
        let id = town.file(1, b"the bytes");
        let before = town.on_disk();
        town.killed(point, &["storage:delete", "--yes", &id]);
        let whole = town
            .on_disk()
            .values()
            .filter(|file| before.values().any(|b| b == *file))
            .count()
            + town.in_trash().len();
        assert!(
            whole >= 2,
            "{point}: {:?} {:?}",
            town.on_disk().keys(),
            town.in_trash()
        );
        let next = town.civic(&["storage:trash", "restore", &id, "--yes", "--json"]);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        assert_eq!(town.on_disk(), before, "{point}");
        assert_eq!((town.in_trash(), town.records()), (vec![], 1), "{point}");
    }
}

#[test]
fn a_kill_on_the_way_back_is_ended_by_the_next_run() {
    for point in POINTS {
        let Some(town) = Mounted::new() else { return };
        let id = town.file(1, b"the bytes");
        let before = town.on_disk();
        let deleted = town.civic(&["storage:delete", "--yes", "--json", &id]);
        let run = run_id(&deleted);
        town.killed(point, &["storage:undo", &run, "--yes"]);
        // The recovery at its start ends it: nothing is left to be undone.
        let next = town.civic(&["storage:undo", &run, "--yes", "--json"]);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        assert_eq!(town.on_disk(), before, "{point}");
        assert_eq!((town.in_trash(), town.records()), (vec![], 1), "{point}");
    }
}

#[test]
fn what_is_at_the_key_again_on_another_disk_is_not_overwritten() {
    let Some(town) = Mounted::new() else { return };
    let id = town.file(1, b"deleted");
    let deleted = town.civic(&["storage:delete", "--yes", "--json", &id]);
    let name = key("permits", 1).replace("permits/", "");
    fs::write(town.disk().join(&name), "newer").unwrap();
    let undone = town.civic(&["storage:undo", &run_id(&deleted), "--yes", "--json"]);
    assert_eq!(undone.code, 1, "{undone:?}");
    assert_eq!(fs::read(town.disk().join(&name)).unwrap(), b"newer");
    assert_eq!((town.in_trash().len(), town.records()), (2, 0));
}

#[test]
fn a_file_that_is_written_to_while_it_is_moved_across_stays() {
    let Some(town) = Mounted::new() else { return };
    let id = town.file(1, b"before");
    let path = town.disk().join(key("permits", 1).replace("permits/", ""));
    let mut child = town
        .command(&["storage:delete", "--yes", "--json", &id])
        .env("CIVIC_FAILPOINT_STOP", "across.after-copy")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    while !stopped(child.id()) {
        std::thread::yield_now();
    }
    fs::write(&path, "after").unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(fs::read(&path).unwrap(), b"after");
    assert_eq!(town.records(), 1);
    assert!(town.in_trash().is_empty(), "{:?}", town.in_trash());
}

fn stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let state = stat.rsplit(") ").next().unwrap();
    assert!(!state.starts_with('Z'), "it ended before it came there");
    state.starts_with('T')
}
