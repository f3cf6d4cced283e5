//! `storage:runs`: the history, in every format, and a database that has none.

use chrono::{DateTime, TimeDelta, Utc};
use civic_storage::metadata::MetadataStore;
use civic_storage::metadata::journal::{
    Action, JournalStore, NewRun, NewStep, Owner, RecordChange, RunStatus, Settlement, StepState,
};
use civic_storage::metadata::sqlite::SqliteJournal;
use serde_json::json;

use crate::common::TestEnv;
use crate::common::deployment::{Deployment, Run, key, uuid};

#[test]
fn a_database_that_no_command_wrote_to_has_no_runs_and_gets_no_tables() {
    let env = TestEnv::fixture();
    let before = env.tree();
    let run = Run::of(&env, ["storage:runs"]);
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (0, "no run was found\n", "")
    );
    let json = Run::of(&env, ["storage:runs", "--json"]).json();
    assert_eq!(json["data"], json!({ "runs": [] }));
    let unknown = Run::of(&env, ["storage:runs", "20261123T120000-00000000"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .stderr
            .contains("there is no run 20261123T120000-00000000")
    );
    assert_eq!(env.tree(), before);
}

fn new_run(id: &str, operation: &str, now: DateTime<Utc>) -> NewRun {
    NewRun {
        id: id.to_owned(),
        operation: operation.to_owned(),
        actor: Some("clerk".to_owned()),
        owner: Owner {
            host: "hall".to_owned(),
            pid: 7,
            process: String::new(),
        },
        request: json!({ "ids": ["a"] }),
        now,
    }
}

/// A run that ended with one file taken away, one whose process has been silent for an hour, and one under way.
fn seeded() -> Deployment {
    let deployment = Deployment::new();
    deployment.local_record(1, &key("permits", 1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteJournal::open(&deployment.env().database()).unwrap();
        let noon: DateTime<Utc> = "2026-01-02T12:00:00Z".parse().unwrap();
        store
            .begin_run(&new_run("done", "storage:delete", noon))
            .await
            .unwrap();
        let record = store.get(&uuid(1)).await.unwrap().unwrap();
        let step = NewStep {
            action: Action::Trash,
            provider: "local".to_owned(),
            key: Some(record.relative_path.clone()),
            to_key: None,
            to_provider: None,
            evidence: None,
            file_id: Some(record.id.clone()),
            before: Some(record.clone()),
            after: None,
            change: Some(RecordChange::Remove {
                expected: Box::new(record),
            }),
            undoes: None,
        };
        store.intend_steps("done", vec![step], noon).await.unwrap();
        let settled = Settlement {
            number: 1,
            state: StepState::Settled,
            error: None,
            change: None,
        };
        store.settle_steps("done", &[settled], noon).await.unwrap();
        store
            .finish_run("done", RunStatus::Done, &json!({ "deleted": 1 }), noon)
            .await
            .unwrap();
        let silent = noon + TimeDelta::hours(1);
        store
            .begin_run(&new_run("silent", "storage:cleanup", silent))
            .await
            .unwrap();
        store
            .begin_run(&new_run("living", "storage:upload", Utc::now()))
            .await
            .unwrap();
    });
    deployment
}

#[test]
fn runs_are_told_newest_first_and_a_dead_one_is_interrupted() {
    let deployment = seeded();
    let json = deployment.civic(&["storage:runs", "--json"]).json();
    let runs = json["data"]["runs"].as_array().unwrap();
    let told: Vec<_> = runs
        .iter()
        .map(|run| (run["id"].as_str().unwrap(), run["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("living", "running"), ("silent", "interrupted"), ("done", "done")]
    );
    assert_eq!(runs[2]["steps"], json!({ "settled": 1 }));
    assert_eq!(runs[2]["owner"]["host"], "hall");
    assert_eq!(runs[2]["startedAt"], "2026-01-02T12:00:00Z");

    let csv = deployment
        .civic(&["storage:runs", "--output", "csv", "--limit", "3"])
        .stdout;
    assert!(
        csv.ends_with(
            "silent,storage:cleanup,interrupted,2026-01-02T13:00:00Z,,clerk,hall,7,-\n\
         done,storage:delete,done,2026-01-02T12:00:00Z,2026-01-02T12:00:00Z,clerk,hall,7,1 settled\n"
        ),
        "{csv}"
    );
    let table = deployment.civic(&["storage:runs"]).stdout;
    assert!(
        table.contains("done    storage:delete   done         2026-01-02 12:00  clerk  1 settled\n"),
        "{table}"
    );
    assert!(table.ends_with("\n3 runs\n"));
    let ndjson = deployment
        .civic(&["storage:runs", "--output", "ndjson", "--limit", "1"])
        .stdout;
    assert_eq!(ndjson.lines().count(), 2, "{ndjson}");
}

#[test]
fn one_run_is_told_with_its_steps() {
    let deployment = seeded();
    let json = deployment.civic(&["storage:runs", "done", "--json"]).json();
    let data = &json["data"];
    assert_eq!(data["run"]["summary"], json!({ "deleted": 1 }));
    assert_eq!(data["steps"][0]["action"], "trash");
    assert_eq!(data["steps"][0]["state"], "settled");
    assert_eq!(data["steps"][0]["before"]["id"], uuid(1));
    let table = deployment.civic(&["storage:runs", "done"]).stdout;
    assert!(table.contains("Process    7 on hall\n"), "{table}");
    let step = format!("1  trash   settled  local     {}", key("permits", 1));
    assert!(table.contains(&step), "{table}");
    let csv = deployment
        .civic(&["storage:runs", "done", "--output", "csv"])
        .stdout;
    assert!(
        csv.contains(&format!("done,1,trash,settled,local,{}", key("permits", 1))),
        "{csv}"
    );
}
