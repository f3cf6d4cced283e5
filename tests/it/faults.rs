//! Machines that fail: what may not be written, what somebody holds, what has no room. Each command says so once and by
//! name, nothing is half done, and once the machine is well again the same command does its work.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cleanup_odd::unprivileged;
use crate::common::deployment::{Deployment, Run, days, key, uuid};
use crate::common::run::unshared;
use crate::delete::{self, run_id, state};

/// Files 1 and 2 in order, file 3 deleted, an orphan; and what every changing command would do there.
fn town() -> (Deployment, Vec<Vec<String>>) {
    let town = delete::deployment(3);
    let run = run_id(&town.civic(&["storage:delete", "--yes", "--json", &uuid(3)]));
    town.file(&key("permits", 11), 10, days(30));
    let source = town.env().tmp().join("new.txt");
    fs::write(&source, "new").unwrap();
    let source = source.display().to_string();
    let id = uuid(1);
    let commands = [
        &["storage:upload", "--folder", "permits", &source][..],
        &["storage:delete", &id],
        &["storage:delete", "--purge", &id],
        &["storage:cleanup", "--apply", "--min-age", "0"],
        &["storage:undo", &run],
        &["storage:move", &id, "--folder", "public"],
        &["storage:update", &id, "--description", "new"],
        &["storage:trash", "empty", "--older-than", "0"],
    ];
    let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    (town, commands.iter().map(owned).collect())
}

fn ran(mut process: Command, words: &[String]) -> Run {
    let output = process.args(words).args(["--yes", "--json"]).output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Every command in a town of its own, as somebody whom modes bind: with the fault, and without it.
fn each(fault: impl Fn(&Deployment) -> Mended, judge: impl Fn(&[String], &Run)) {
    let (_, commands) = town();
    for at in 0..commands.len() {
        let (town, commands) = town();
        let words = &commands[at];
        let (nobody, again) = (unprivileged(&town), unprivileged(&town));
        let (before, mended) = (state(&town), fault(&town));
        let run = ran(nobody, words);
        drop(mended);
        judge(words, &run);
        // A changed record stands whatever becomes of its sidecar, which follows as soon as it can.
        if !(words[0] == "storage:update" && run.stdout.contains("its record was changed")) {
            assert_eq!(state(&town), before, "{words:?}: {}", run.stdout);
        }
        let well = ran(again, words);
        assert_eq!(well.code, 0, "{words:?}, mended: {} {}", well.stdout, well.stderr);
    }
}

/// The one error names the database and says what is wrong with it; no work was begun.
#[track_caller]
fn assert_blames_the_database(words: &[String], run: &Run, why: &str) {
    assert_eq!(run.code, 1, "{words:?}: {}", run.stdout);
    let json = run.json();
    let said = json["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("civic.db") && said.contains(why),
        "{words:?}: {said}"
    );
    assert!(json.get("data").is_none(), "{words:?}: {json}");
    assert_eq!(
        run.stderr.matches("error:").count(),
        1,
        "{words:?}: {}",
        run.stderr
    );
}

/// Modes that are put back when it is dropped.
struct Mended(Vec<(PathBuf, fs::Permissions)>);

impl Drop for Mended {
    fn drop(&mut self) {
        for (path, mode) in self.0.drain(..) {
            let _ = fs::set_permissions(path, mode);
        }
    }
}

fn read_only(paths: impl IntoIterator<Item = PathBuf>) -> Mended {
    let mut kept = Vec::new();
    for path in paths {
        let Ok(meta) = fs::metadata(&path) else { continue };
        kept.push((path.clone(), meta.permissions()));
        let mode = meta.permissions().mode() & !0o222;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    Mended(kept)
}

fn database_files(town: &Deployment) -> Vec<PathBuf> {
    let database = town.env().database().display().to_string();
    ["", "-wal", "-shm"]
        .iter()
        .map(|end| PathBuf::from(format!("{database}{end}")))
        .collect()
}

const READ_ONLY: &str = "it may not be written to";
const NO_ROOM: &str = "no space left";

#[test]
fn a_database_that_may_not_be_written() {
    each(
        |town| read_only(database_files(town)),
        |words, run| assert_blames_the_database(words, run, READ_ONLY),
    );
}

#[test]
fn a_directory_of_the_database_that_may_not_be_written() {
    each(
        |town| read_only([database_files(town), vec![town.env().system_data()]].concat()),
        |words, run| assert_blames_the_database(words, run, READ_ONLY),
    );
}

#[test]
fn a_storage_that_may_not_be_written() {
    each(
        |town| read_only(directories(&town.storage())),
        |words, run| {
            assert_eq!(run.code, 5, "{words:?}: {}", run.stdout);
            let said = run.stdout.contains("Permission denied") && run.stdout.contains("/storage/");
            assert!(said, "{words:?}: {}", run.stdout);
        },
    );
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned()];
    for entry in fs::read_dir(root).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            all.extend(directories(&entry.path()));
        }
    }
    all
}

#[test]
fn a_database_that_somebody_holds() {
    let held = |at: usize| {
        let (town, commands) = town();
        let (words, before) = (&commands[at], state(&town));
        town.db().execute_batch("BEGIN IMMEDIATE").unwrap();
        let run = ran(town.process(), words);
        town.db().execute_batch("ROLLBACK").unwrap();
        assert_blames_the_database(words, &run, "locked by another program");
        assert_eq!(state(&town), before, "{words:?}");
        let well = ran(town.process(), words);
        assert_eq!(well.code, 0, "{words:?}, let go: {}", well.stdout);
    };
    let (_, commands) = town();
    // Side by side, since each waits its time for the other to let go.
    std::thread::scope(|scope| {
        for at in 0..commands.len() {
            scope.spawn(move || held(at));
        }
    });
}

/// Runs the command with a file system of its own mounted on the directory, what was there copied onto it and the rest
/// of it filled; then again with room. Gives both runs and the whole deployment as it was after the first.
fn without_room(town: &Deployment, directory: &Path, words: &[String]) -> Option<(Run, Run, PathBuf)> {
    const SCRIPT: &str = r#"
        root=$1 directory=$2 out=$3; shift 3
        cp -a "$directory/." "$out.before/"
        mount -t tmpfs -o size=6m none "$directory" || exit 125
        cp -a "$out.before/." "$directory/"
        mkdir -p "$directory/.civic"
        dd if=/dev/zero of="$directory/.civic/filler" bs=4k status=none 2>"$out.dd"
        "$@" >"$out.stdout" 2>"$out.stderr"; echo $? >"$out.code"
        rm "$directory/.civic/filler"
        cp -a "$root/." "$out/"
        "$@" >"$out.stdout.2" 2>"$out.stderr.2"; echo $? >"$out.code.2""#;
    let out = town.env().tmp().join("out");
    for made in ["", ".before"] {
        fs::create_dir(format!("{}{made}", out.display())).unwrap();
    }
    let civic = town.process();
    let status = unshared(&civic, SCRIPT)
        .current_dir(town.env().root())
        .args([&town.env().root(), directory, &out])
        .arg(civic.get_program())
        .args(words)
        .args(["--yes", "--json"])
        .status();
    let read = |name: &str| fs::read_to_string(format!("{}.{name}", out.display()));
    if !status.is_ok_and(|status| status.success()) && read("code").is_err() {
        let line = b"\nleft out: a disk without room needs a mount of its own, which this system refuses\n";
        std::io::stderr().write_all(line).unwrap();
        return None;
    }
    assert!(read("dd").unwrap().contains("No space left"), "it was filled");
    let run = |end: &str| Run {
        code: read(&format!("code{end}")).unwrap().trim().parse().unwrap(),
        stdout: read(&format!("stdout{end}")).unwrap(),
        stderr: read(&format!("stderr{end}")).unwrap(),
    };
    Some((run(""), run(".2"), out))
}

#[test]
fn a_storage_without_room() {
    let (_, commands) = town();
    let mut failed = 0;
    for at in 0..commands.len() {
        let (town, commands) = town();
        let (words, before) = (&commands[at], state(&town));
        let Some((full, room, after)) = without_room(&town, &town.storage(), words) else {
            return;
        };
        // What takes nothing but names may find room for them.
        if full.code == 0 {
            continue;
        }
        failed += 1;
        assert_eq!(full.code, 5, "{words:?}: {}", full.stdout);
        assert!(
            full.stdout.contains("No space left"),
            "{words:?}: {}",
            full.stdout
        );
        assert_eq!(delete::files(&after.join("storage")), before.0, "{words:?}");
        assert_eq!(room.code, 0, "{words:?}, with room: {}", room.stdout);
    }
    assert!(
        failed >= 3,
        "an upload, a move and an update want room, and only {failed} did"
    );
}

#[test]
fn a_database_without_room() {
    let (_, commands) = town();
    for at in 0..commands.len() {
        let (town, commands) = town();
        let (words, before) = (&commands[at], state(&town));
        let Some((full, room, after)) = without_room(&town, &town.env().system_data(), words) else {
            return;
        };
        assert_blames_the_database(words, &full, NO_ROOM);
        let rows = rusqlite::Connection::open(after.join(".system-data/civic.db")).unwrap();
        let after = (delete::files(&after.join("storage")), delete::rows(&rows));
        assert_eq!(after, before, "{words:?}");
        assert_eq!(room.code, 0, "{words:?}, with room: {}", room.stdout);
    }
}
