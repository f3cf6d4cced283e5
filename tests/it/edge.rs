//! The edge of the program: spellings, usage errors, exit codes, streams, formats, colour. Commands serve as examples.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run};

const USAGE_TOTAL: &str = "Total: 19.17 MB in 66 files";

#[test]
fn both_spellings_of_a_command_give_the_same_answer() {
    let env = TestEnv::fixture();
    let one = Run::of(&env, ["storage:usage"]);
    assert_eq!(one.code, 0, "{}", one.stderr);
    assert!(one.stdout.contains(USAGE_TOTAL), "{}", one.stdout);
    for words in [
        vec!["storage", "usage"],
        vec!["storage", "--no-progress", "usage"],
        vec!["--color", "never", "storage", "usage"],
    ] {
        assert_eq!(Run::of(&env, &words).stdout, one.stdout, "{words:?}");
    }
}

#[test]
fn a_group_alone_lists_its_commands() {
    let env = TestEnv::empty();
    for args in [
        vec!["storage"],
        vec!["storage", "--help"],
        vec!["help", "storage"],
    ] {
        let run = Run::of(&env, &args);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{args:?}");
        assert!(run.stdout.contains("storage:usage"), "{}", run.stdout);
        assert!(!run.stdout.contains("completions"), "{}", run.stdout);
    }
}

#[test]
fn help_and_version_go_to_stdout_and_need_no_deployment() {
    let env = TestEnv::empty();
    let version = Run::of(&env, ["--version"]);
    assert_eq!(version.code, 0);
    assert_eq!(version.stdout, concat!("civic ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = Run::of(&env, ["storage", "info", "--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.contains("civic storage:info"), "{}", help.stdout);
}

#[test]
fn an_unknown_command_is_wrong_usage_and_the_nearest_is_named() {
    let env = TestEnv::empty();
    for (args, nearest) in [
        (vec!["storage:usge"], "storage:usage"),
        (vec!["storage", "lst"], "storage:list"),
        (vec!["usage"], "storage:usage"),
        (vec!["storage", "infos"], "storage:info"),
    ] {
        let run = Run::of(&env, &args);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            run.stderr.contains(&format!("did you mean `{nearest}`")),
            "{args:?}: {}",
            run.stderr
        );
    }
}

#[test]
fn wrong_usage_exits_2_and_says_so_on_stderr() {
    let env = TestEnv::fixture();
    for args in [
        vec![],
        vec!["--json"],
        vec!["storage:usage", "--nonsense"],
        vec!["storage", "--nonsense"],
        vec!["storage:usage", "--by", "colour"],
        vec!["storage:list", "--page", "0"],
        vec!["storage:info"],
        vec!["storage:usage", "--json", "--output", "csv"],
    ] {
        let run = Run::of(&env, &args);
        assert_eq!(run.code, 2, "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn wrong_usage_with_json_is_still_json() {
    let env = TestEnv::fixture();
    for args in [
        ["--json", "storage:usage", "--nonsense"].as_slice(),
        &["storage:usge", "--output", "json"],
        &["--output=json", "storage:list", "--limit", "many"],
        &["--json"],
        &["storage:usage", "--json", "--output", "csv"],
    ] {
        let run = Run::of(&env, args);
        let answer: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}"));
        assert_eq!(
            (run.code, &answer["success"]),
            (2, &Value::Bool(false)),
            "{args:?}"
        );
        assert_eq!(answer["error"]["code"], "STORAGE_VALIDATION_ERROR", "{args:?}");
        assert!(answer["error"]["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
    let line = Run::of(&env, ["storage:usge", "--output", "ndjson"]);
    let answer: Value = serde_json::from_str(&line.stdout).unwrap();
    assert_eq!(answer["type"], "error");
}

#[test]
fn a_deployment_that_is_not_there_is_a_configuration_error() {
    let env = TestEnv::empty();
    let run = Run::of(&env, ["storage:usage", "--json"]);
    assert_eq!(run.code, 2);
    assert_eq!(run.json()["error"]["code"], "STORAGE_CONFIGURATION_ERROR");

    let env = TestEnv::fixture();
    let run = Run::of(&env, ["storage:usage", "--database", "sqlite:nowhere.db"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("nowhere.db"), "{}", run.stderr);
    assert!(
        !env.root().join("nowhere.db").exists(),
        "a question makes no database"
    );
}

#[test]
fn an_answer_longer_than_a_pipe_arrives_whole() {
    let env = TestEnv::fixture();
    env.add_records(2_000);
    let mut child = env
        .process()
        .args(["storage:list", "--limit", "10000", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.len() > 256 * 1024, "{}", text.len());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["data"]["files"].as_array().unwrap().len(), 2_066);
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_quietly() {
    let env = TestEnv::fixture();
    env.add_records(2_000);
    for format in ["table", "json", "ndjson", "csv"] {
        let mut child = env
            .process()
            .args(["storage:list", "--limit", "10000", "--output", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), stderr.as_ref()), (Some(0), ""), "{format}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let env = TestEnv::fixture();
    for args in [
        vec!["storage:usage"],
        vec!["storage:usage", "--json"],
        vec!["--help"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = env
            .process()
            .args(&args)
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            stderr.contains("error: the answer could not be written: "),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn silent_leaves_errors_and_what_programs_read() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| format!("{yaml}\nnonsense_key: 1\n"));
    assert!(Run::of(&env, ["storage:usage"]).stderr.starts_with("warning: "));
    let silent = Run::of(&env, ["storage:usage", "--silent"]);
    assert_eq!(
        (silent.code, silent.stdout.as_str(), silent.stderr.as_str()),
        (0, "", "")
    );
    let json = Run::of(&env, ["storage:usage", "--silent", "--json"]);
    assert_eq!(
        (&json.json()["success"], json.stderr.as_str()),
        (&Value::Bool(true), "")
    );
    let failed = Run::of(&env, ["storage:info", "nothing", "--silent"]);
    assert_eq!((failed.code, failed.stdout.as_str()), (1, ""));
    assert!(failed.stderr.starts_with("error: "), "{}", failed.stderr);
}

#[test]
fn log_lines_can_be_json() {
    let env = TestEnv::fixture();
    env.edit_config(|yaml| format!("{yaml}\nnonsense_key: 1\n"));
    let run = Run::of(&env, ["storage:usage", "--log-format", "json"]);
    let line: Value = serde_json::from_str(run.stderr.lines().next().unwrap()).unwrap();
    assert_eq!(line["level"], "WARN");
    assert!(
        line["message"].as_str().unwrap().contains("nonsense_key"),
        "{line}"
    );
}

#[test]
fn progress_as_json_says_how_far_each_stretch_came() {
    let env = TestEnv::fixture();
    let run = Run::of(&env, ["storage:cleanup", "--progress", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines: Vec<Value> = run
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    assert!(!lines.is_empty(), "the end of a stretch is always told");
    for line in &lines {
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["completed", "current", "percentage", "total"]);
    }
    assert!(
        lines.iter().any(|line| line["completed"].as_u64() > Some(0)),
        "{lines:?}"
    );
    for flag in ["--no-progress", "--silent"] {
        let none = Run::of(&env, ["storage:cleanup", "--progress", "json", flag]);
        assert_eq!(none.stderr, "", "{flag}");
    }
}

#[test]
fn a_short_run_without_a_terminal_shows_no_progress() {
    let env = TestEnv::fixture();
    assert_eq!(Run::of(&env, ["storage:cleanup"]).stderr, "");
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let env = TestEnv::fixture();
    let colored = |text: &str| text.contains("\x1b[");
    assert!(colored(&terminal(&env, &[], "storage:usage")));
    assert!(!colored(&terminal(&env, &[("NO_COLOR", "1")], "storage:usage")));
    assert!(
        colored(&terminal(&env, &[("NO_COLOR", "")], "storage:usage")),
        "empty is not set"
    );
    assert!(!colored(&terminal(&env, &[("TERM", "dumb")], "storage:usage")));
    assert!(!colored(&terminal(&env, &[], "storage:usage --color never")));
    assert!(!colored(&Run::of(&env, ["storage:usage"]).stdout));
    assert!(colored(
        &Run::of(&env, ["storage:usage", "--color", "always"]).stdout
    ));
    assert!(colored(&Run::of(&env, ["--color=always", "--help"]).stdout));
}

#[test]
fn eighty_columns_are_enough() {
    let env = TestEnv::fixture();
    env.rename_one(
        "会議録 of a meeting whose minutes have a name that goes on and on and on, and then some.pdf",
    );
    for line in [
        "storage:usage --by folder,provider,type",
        "storage:list --limit 100",
    ] {
        let text = terminal(&env, &[("NO_COLOR", "1")], line);
        for row in text.lines() {
            assert!(unicode_width::UnicodeWidthStr::width(row) <= 80, "{line}: {row}");
        }
    }
}

#[test]
fn a_hostile_name_reaches_no_terminal_and_no_table() {
    let env = TestEnv::fixture();
    let name = "gpj.\u{202e}exe\x1b]0;owned\x07\u{9b}2J\nforged  row";
    env.rename_one(name);
    let unsafe_in =
        |text: &str| text.chars().any(|c| "\u{202e}\x07\u{9b}".contains(c)) || text.contains("\x1b]");
    for args in [
        "storage:list --search gpj",
        "storage:list --search gpj --json",
        "storage:list --search gpj --output csv",
    ] {
        assert!(!unsafe_in(&terminal(&env, &[], args)), "{args}");
    }
    let table = Run::of(&env, ["storage:list", "--search", "gpj"]);
    assert!(!unsafe_in(&table.stdout));
    assert!(
        table
            .stdout
            .contains("gpj.\\u{202e}exe\\x1b]0;owned\\x07\\u{9b}2J\\nforged  row"),
        "{}",
        table.stdout
    );
    let json = Run::of(&env, ["storage:list", "--search", "gpj", "--json"]);
    assert_eq!(
        json.json()["data"]["files"][0]["originalName"],
        name,
        "a program gets the name itself"
    );
    let missing = Run::of(&env, ["storage:info", name]);
    assert!(!unsafe_in(&missing.stderr), "{}", missing.stderr);
}

/// What a terminal of 80 columns gets.
pub(crate) fn terminal(env: &TestEnv, variables: &[(&str, &str)], line: &str) -> String {
    let civic = env.process();
    let mut script = Process::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("stty cols 80 rows 24; exec \"$PROGRAM\" {line}"))
        .arg("/dev/null")
        .env_clear()
        .envs(civic.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("SHELL", "/bin/sh")
        .env("PROGRAM", civic.get_program())
        .envs(variables.iter().copied())
        .current_dir(env.root())
        .stdin(Stdio::null());
    let output = script.output().expect("script (util-linux) is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.replace("\r\n", "\n")
}

#[test]
fn a_missing_argument_had_no_name_in_json() {
    let run = Deployment::new().civic(&["storage:info", "--json"]);
    assert_eq!(run.code, 2);
    let message = run.json()["error"]["message"].to_string();
    assert!(message.contains("<ID_OR_FILE>"), "{message}");
}

#[test]
fn several_problems_of_a_configuration_ran_into_one_line() {
    let deployment = Deployment::new();
    std::fs::write(
        deployment.env().config(),
        "global: { retry_attempts: -1, chunk_size: x }\n",
    )
    .expect("a file");
    let run = deployment.civic(&["storage:usage"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.lines().count() >= 2 && !run.stderr.contains("\\n"),
        "{}",
        run.stderr
    );
}
