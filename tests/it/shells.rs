//! Completion scripts and manual pages: the checked-in ones are those of this program, and the scripts complete in
//! the real shells, on a pty, with Tab.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::TestEnv;

const STALE: &str = "is stale: run `make completions` and commit what it wrote";

fn checked_in(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn script(shell: &str) -> String {
    let output = TestEnv::empty().civic(["completions", shell]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_checked_in_completions_are_those_of_this_program() {
    for (shell, file) in [("bash", "civic.bash"), ("zsh", "_civic"), ("fish", "civic.fish")] {
        let path = checked_in("completions").join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(text == script(shell), "{} {STALE}", path.display());
    }
}

#[test]
fn the_checked_in_manual_pages_are_those_of_this_program() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    assert!(
        TestEnv::empty()
            .civic(["man", "--out", out])
            .output()
            .unwrap()
            .status
            .success()
    );
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    let man = checked_in("man");
    assert_eq!(names(&man), names(dir.path()), "man/ {STALE}");
    for name in names(&man) {
        let (old, new) = (
            fs::read(man.join(&name)).unwrap(),
            fs::read(dir.path().join(&name)).unwrap(),
        );
        assert!(old == new, "man/{} {STALE}", name.display());
    }
}

#[test]
fn an_unknown_page_or_shell_is_wrong_usage() {
    let env = TestEnv::empty();
    for args in [["man", "storage:usag"], ["completions", "tcsh"]] {
        let output = env.civic(args).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
}

/// What a line looks like once the shell has completed and run it; `civic` prints `ran:<its arguments>`.
const LINES: [(&str, &str); 8] = [
    (r"civic storage:us\t\n", "ran:<storage:usage>"),
    (r"civic storage us\t\n", "ran:<storage usage>"),
    (r"civic storage:folder:a\t\n", "ran:<storage:folder:add>"),
    (r"civic storage fo\tad\t\n", "ran:<storage folder add>"),
    (
        r"civic --output nd\t storage:cl\t --expl\t\n",
        "ran:<--output ndjson storage:cleanup --explain>",
    ),
    (r"civic --output=nd\t\n", "ran:<--output=ndjson>"),
    (
        r"civic storage:cleanup --kind misp\t\n",
        "ran:<storage:cleanup --kind misplaced>",
    ),
    (r"civic completions fi\t\n", "ran:<completions fish>"),
];

fn completes_in(shell: &str) {
    if Command::new(shell).arg("--version").output().is_err() {
        let note = format!("\nleft out: {shell} is not installed\n");
        std::io::stderr().write_all(note.as_bytes()).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("script");
    fs::write(&path, script(shell)).unwrap();
    let output = Command::new("python3")
        .arg(checked_in("tests/it/complete.py"))
        .args([shell, path.to_str().unwrap()])
        .args(LINES.map(|(typed, _)| typed))
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    for (typed, expected) in LINES {
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(shown.contains(expected), "{shell}: {typed}\n{shown}\n{errors}");
    }
}

#[test]
fn names_with_colons_complete_in_bash() {
    completes_in("bash");
}

#[test]
fn names_with_colons_complete_in_zsh() {
    completes_in("zsh");
}

#[test]
fn names_with_colons_complete_in_fish() {
    completes_in("fish");
}
