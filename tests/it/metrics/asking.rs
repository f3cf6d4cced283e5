//! Commands that only ask are counted as well: where commands write, and nowhere else; and nobody has to wait for it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use clap::CommandFactory;
use rustix::process::{Pid, Signal, kill_process};

use super::{series, source, upload};
use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, key};

/// A deployment in which a command has written: the id of its one file.
fn written(env: &TestEnv) -> String {
    let run = upload(env, &[source(env, "first.pdf", 1)]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// How often a command ran, and how often it failed.
fn ran(env: &TestEnv, command: &str) -> (u64, u64) {
    let series = series(env, (command, "", ""));
    let number = |name: &str| series[name].as_u64().unwrap_or(0);
    (number("count"), number("failures"))
}

/// Every command, as it is run on a deployment with the file ID, the run RUN and the provider `cold`.
const COMMANDS: [&str; 24] = [
    "storage:usage",
    "storage:quota",
    "storage:metrics",
    "storage:list",
    "storage:info ID",
    "storage:upload FILE --folder permits",
    "storage:download ID --out OUT",
    "storage:health",
    "storage:cleanup",
    "storage:verify",
    "storage:reconstruct --dry-run",
    "storage:lifecycle --check",
    "storage:runs",
    "storage:update ID --description lost",
    "storage:migrate --from local --to cold --dry-run",
    "storage:move ID --folder public --dry-run",
    "storage:delete ID --dry-run",
    "storage:trash",
    "storage:undo RUN --dry-run",
    "storage:config --schema",
    "storage:init",
    "storage:folder:add parks",
    "storage:folder:update parks --description green",
    "storage:folder:remove parks --yes",
];

#[test]
fn every_command_is_counted_well_or_not() {
    let deployment = Deployment::new();
    let env = deployment.env();
    let (hot, cold) = (deployment.storage(), env.root().join("cold"));
    fs::create_dir_all(&cold).unwrap();
    deployment.providers(&format!(
        "  local: {{ type: local, path: {} }}\n  cold: {{ type: local, path: {} }}",
        hot.display(),
        cold.display()
    ));
    let id = written(env);
    let gone = upload(env, &[source(env, "gone.txt", 1)]);
    let gone = gone.json()["data"]["successful"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(deployment.civic(&["storage:delete", &gone, "--yes"]).code, 0);
    let runs = deployment.civic(&["storage:runs", "--json"]).json();
    let run = runs["data"]["runs"][0]["id"].as_str().unwrap().to_owned();
    let (file, out) = (
        source(env, "second.txt", 1),
        env.tmp().join("out").display().to_string(),
    );
    let broken = env.root().join("broken.yml");
    fs::write(&broken, "providers: 1\n").unwrap();
    for command in COMMANDS {
        let args: Vec<&str> = command
            .split(' ')
            .map(|word| match word {
                "ID" => id.as_str(),
                "RUN" => &run,
                "FILE" => &file,
                "OUT" => &out,
                word => word,
            })
            .collect();
        let name = args[0];
        let before = ran(env, name);
        let done = deployment.civic(&args);
        // What there is already is not made again.
        assert_eq!(
            done.code == 0,
            name != "storage:init",
            "{command}: {}",
            done.stderr
        );
        let wrong = deployment.civic(&[&[name, "--config", broken.to_str().unwrap()], &args[1..]].concat());
        let failures = u64::from(done.code != 0) + u64::from(wrong.code != 0);
        // Those looks at the metrics are counted themselves.
        let looks = u64::from(name == "storage:metrics");
        let expected = (before.0 + 2 + looks, before.1 + failures);
        assert_eq!(ran(env, name), expected, "{command}: {}", wrong.stderr);
        assert!(wrong.code != 0 || command.contains("--schema"), "{command}");
    }
}

#[test]
fn no_command_is_left_out_of_that() {
    let cli = civic_storage::cli::Cli::command();
    let of_storage = |name: &&str| name.starts_with("storage:");
    let there: BTreeSet<&str> = cli
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(of_storage)
        .collect();
    let known = COMMANDS.map(|command| command.split(' ').next().unwrap());
    assert_eq!(BTreeSet::from(known), there);
}

#[test]
fn what_a_dry_run_asks_of_a_provider_is_counted_under_its_name() {
    let deployment = Deployment::new();
    let env = deployment.env();
    written(env);
    deployment.local_record(7, &key("permits", 7));
    assert_eq!(deployment.cleanup(&["--dry-run"]).count("orphanedRecords"), 1);
    for (operation, folder) in [("list", ""), ("probe", ""), ("head", "permits")] {
        let series = series(env, (operation, "local", folder));
        assert!(series["count"].as_u64() >= Some(1), "{operation}: {series}");
        assert_eq!(series["failures"], 0, "{operation}");
    }
    assert_eq!(ran(env, "storage:cleanup"), (1, 0));
}

#[test]
fn the_metrics_are_told_as_they_were_before_they_were_asked_for() {
    let deployment = Deployment::new();
    let env = deployment.env();
    written(env);
    assert_eq!(ran(env, "storage:metrics"), (0, 0));
    assert_eq!(ran(env, "storage:metrics"), (1, 0));
    assert_eq!(deployment.civic(&["storage:metrics", "--reset"]).code, 0);
    assert_eq!(
        ran(env, "storage:metrics"),
        (1, 0),
        "the reset is the first of what follows"
    );
}

/// Questions and dry runs that need no more than a database and its file ID.
const QUESTIONS: [&str; 14] = [
    "storage:usage",
    "storage:quota",
    "storage:metrics",
    "storage:list",
    "storage:info ID",
    "storage:cleanup",
    "storage:lifecycle --check",
    "storage:lifecycle --dry-run",
    "storage:runs",
    "storage:trash",
    "storage:move ID --folder public --dry-run",
    "storage:delete ID --dry-run",
    "storage:config",
    "storage:config --validate",
];

fn ask(env: &TestEnv, id: &str) {
    for question in QUESTIONS {
        let run = Run::of(
            env,
            question
                .split(' ')
                .map(|word| if word == "ID" { id } else { word }),
        );
        assert_eq!(run.code, 0, "{question}: {}", run.stderr);
    }
}

#[test]
fn where_no_command_has_written_no_byte_is_changed() {
    let deployment = Deployment::new();
    deployment.old_file(&key("permits", 1));
    let id = deployment.local_record(1, &key("permits", 1));
    // Beside CivicPress, and without it.
    let before = deployment.env().tree();
    ask(deployment.env(), &id);
    before.assert_unchanged(&deployment.env().tree());
    let fixture = TestEnv::fixture();
    let id: String = fixture
        .sql()
        .query_row(
            "SELECT id FROM storage_files WHERE original_name = 'permit-0001.pdf'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let before = fixture.tree();
    ask(&fixture, &id);
    before.assert_unchanged(&fixture.tree());
}

#[test]
fn where_commands_write_nothing_but_counts_is_changed() {
    let deployment = Deployment::new();
    let id = written(deployment.env());
    // A report of usage is kept as well, which is told elsewhere.
    let run = deployment.civic(&["storage:usage"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let before = deployment.env().but_counts();
    ask(deployment.env(), &id);
    before.assert_unchanged(&deployment.env().but_counts());
    assert_eq!(ran(deployment.env(), "storage:lifecycle"), (2, 0));
}

#[test]
fn a_database_that_nobody_has_open_is_one_file_again() {
    let env = TestEnv::fixture();
    let id = written(&env);
    let files = || -> BTreeSet<String> {
        let entries = fs::read_dir(env.system_data()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let before = files();
    assert!(!before.contains("civic.db-wal"), "{before:?}");
    ask(&env, &id);
    assert_eq!(files(), before);
    assert_eq!(ran(&env, "storage:list"), (1, 0));
}

#[test]
fn nobody_waits_for_whoever_is_writing() {
    let deployment = Deployment::new();
    let env = deployment.env();
    written(env);
    deployment.db().execute_batch("BEGIN IMMEDIATE").unwrap();
    for question in ["storage:list", "storage:config"] {
        let begun = Instant::now();
        let run = deployment.civic(&[question]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{question}");
        // Commands that write wait for two seconds.
        assert!(
            begun.elapsed() < Duration::from_millis(1800),
            "{question}: {:?}",
            begun.elapsed()
        );
    }
    deployment.db().execute_batch("ROLLBACK").unwrap();
    assert_eq!(ran(env, "storage:list"), (0, 0));
    assert_eq!(deployment.civic(&["storage:list"]).code, 0);
    assert_eq!(ran(env, "storage:list"), (1, 0));
}

/// As somebody who owns nothing here.
fn as_nobody(env: &TestEnv, args: &[&str]) -> (bool, String) {
    let output = env.process().args(args).uid(65_534).gid(65_534).output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn where_the_database_may_not_be_written_to_nothing_is_kept_and_nothing_fails() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let env = TestEnv::fixture();
    written(&env);
    for dir in env.database().ancestors().skip(1).take(3) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in [env.config(), env.database()] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    }
    // A file of somebody else's; then one's own, in a directory that is not.
    for owner in [0, 65_534] {
        chown(env.database(), Some(owner), None).unwrap();
        let before = env.tree();
        for question in ["storage:list", "storage:config", "storage:metrics"] {
            assert_eq!(
                as_nobody(&env, &[question]),
                (true, String::new()),
                "{owner}: {question}"
            );
        }
        before.assert_unchanged(&env.tree());
    }
    assert_eq!(ran(&env, "storage:list"), (0, 0));
}

#[test]
fn a_command_that_is_told_to_stop_keeps_what_it_has_counted() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    for signal in [Signal::TERM, Signal::INT] {
        let deployment = Deployment::new();
        let env = deployment.env();
        written(env);
        deployment.providers(&format!(
            "  local: {{ type: local, path: {} }}\n{}",
            deployment.storage().display(),
            Deployment::s3(&endpoint, "town", "")
        ));
        let mut child = deployment
            .process()
            .args(["storage:cleanup", "--dry-run"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It has asked, and will get no answer.
        let (mut asked, _) = silent.accept().unwrap();
        BufReader::new(&mut asked).read_line(&mut String::new()).unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(ran(env, "storage:cleanup"), (1, 1), "{signal:?}");
        assert_eq!(series(env, ("probe", "local", ""))["count"], 1, "{signal:?}");
    }
}

/// Eight processes that ask three times each. None fails, and what they say they have kept is there; on a machine that is busy
/// with other things some go without, since a question waits for nobody long.
fn crowd(env: &TestEnv) {
    const QUESTIONS: [&str; 3] = ["storage:list", "storage:quota", "storage:config"];
    let ask = |_| {
        QUESTIONS.map(|question| {
            let run = Run::of(env, [question, "-vv"]);
            assert_eq!(run.code, 0, "{question}: {}", run.stderr);
            u64::from(run.stderr.contains("metrics are kept"))
        })
    };
    let kept: Vec<[u64; 3]> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|number| scope.spawn(move || ask(number))).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (at, question) in QUESTIONS.into_iter().enumerate() {
        let kept: u64 = kept.iter().map(|of| of[at]).sum();
        assert_eq!(ran(env, question), (kept, 0), "{question}");
        assert!(kept > 4, "{question}: {kept} of 8");
    }
}

#[test]
fn questions_at_once_add_up_to_the_last_one() {
    let beside_another = Deployment::new();
    written(beside_another.env());
    crowd(beside_another.env());
    let alone = TestEnv::fixture();
    written(&alone);
    crowd(&alone);
}

#[test]
fn tables_of_another_version_are_left_as_they_are() {
    let deployment = Deployment::new();
    let env = deployment.env();
    written(env);
    let newest = "(SELECT max(version) FROM civic_storage_migrations)";
    deployment
        .db()
        .execute_batch(&format!(
            "DELETE FROM civic_storage_migrations WHERE version = {newest}"
        ))
        .unwrap();
    let rows = || -> i64 {
        let sql = "SELECT sum(count) FROM civic_storage_metrics";
        deployment.db().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let before = rows();
    assert_eq!(deployment.civic(&["storage:list"]).code, 0);
    assert_eq!(rows(), before, "an older one");
}
