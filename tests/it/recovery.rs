//! What a dead process leaves is ended by the next one: steps finished or given up, uploads put aside, whatever point it
//! died at and however often recovery itself dies. Rows and bytes are compared from outside.

use std::collections::BTreeMap;
use std::fs;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::Poll;

use chrono::{DateTime, Utc};
use civic_storage::config::{LoadRequest, load};
use civic_storage::engine::journal::{Journal, JournalError, RecoveryReport, recover};
use civic_storage::engine::objects::{evidence_of, move_object, put_back, trash_key};
use civic_storage::engine::{Clock, SystemClock};
use civic_storage::metadata::journal::{
    Action, JournalReader, JournalStore, NewStep, Owner, RecordChange, RunQuery, RunStatus, Settlement, Step,
    StepQuery, StepState, UploadIntent,
};
use civic_storage::metadata::quota::Limits;
use civic_storage::metadata::sqlite::SqliteJournal;
use civic_storage::metadata::{FileRecord, MetadataError, MetadataStore};
use civic_storage::providers::{Key, Provider, build};
use serde_json::json;

use crate::common::deployment::{Deployment, days, key, uuid};

struct Town {
    deployment: Deployment,
    store: Arc<SqliteJournal>,
    provider: Arc<Provider>,
}

/// Every file under the storage root but the marker, with its content, and every row.
type State = (BTreeMap<String, String>, BTreeMap<String, FileRecord>);

impl Town {
    /// One file with its sidecar and record.
    fn new() -> Self {
        let deployment = Deployment::new();
        deployment.old_file(&key("permits", 1));
        fs::write(
            deployment
                .storage()
                .join(format!("{}.meta.json", key("permits", 1))),
            "{}",
        )
        .unwrap();
        deployment.local_record(1, &key("permits", 1));
        let loaded = load(&LoadRequest {
            system_data: Some(deployment.env().system_data()),
            config_file: None,
            database: None,
            cwd: deployment.env().root(),
            env: [].into_iter().collect(),
        })
        .unwrap();
        let provider = build(&loaded.config.providers[0], &loaded.config.global).unwrap();
        Self {
            store: Arc::new(SqliteJournal::open(&deployment.env().database()).unwrap()),
            provider: Arc::new(provider),
            deployment,
        }
    }

    fn journal(&self) -> Journal {
        Journal {
            store: Arc::clone(&self.store) as Arc<dyn JournalStore>,
            clock: Arc::new(SystemClock),
            owner: Owner::of_this_process(),
            actor: None,
            host: "hall".to_owned(),
        }
    }

    /// The journal of a process that is gone: its id has been given to another.
    fn of_the_dead(&self) -> Journal {
        let mut journal = self.journal();
        journal.owner.process.push('1');
        journal
    }

    async fn recover(&self) -> RecoveryReport {
        recover(&self.journal(), &[Arc::clone(&self.provider)])
            .await
            .unwrap()
    }

    async fn record(&self) -> FileRecord {
        self.store.get(&uuid(1)).await.unwrap().unwrap()
    }

    /// A step that takes the one file to the trash of `run`, as seen now.
    async fn removal(&self, run: &str) -> NewStep {
        let record = self.record().await;
        let key = Key::from(record.relative_path.as_str());
        let found = self.provider.head(&key).await.unwrap().unwrap();
        let to = trash_key(&self.provider, run, &key).unwrap();
        NewStep {
            action: Action::Trash,
            provider: "local".to_owned(),
            key: Some(record.relative_path.clone()),
            to_key: Some(to.to_string()),
            to_provider: None,
            evidence: Some(evidence_of(&found)),
            file_id: Some(record.id.clone()),
            before: Some(record.clone()),
            after: None,
            change: Some(RecordChange::Remove {
                expected: Box::new(record),
            }),
            undoes: None,
        }
    }

    /// A run of a dead process that wrote this one step down; its id.
    async fn died_after(&self, step: impl AsyncFn(&str) -> NewStep) -> String {
        let run = self.of_the_dead().begin("storage:test", json!({})).await.unwrap();
        let step = step(run.id()).await;
        run.intend(vec![step]).await.unwrap();
        run.id().to_owned()
    }

    async fn only_step(&self, run: &str) -> Step {
        let query = StepQuery {
            run_id: Some(run.to_owned()),
            ..StepQuery::default()
        };
        let mut steps = self.store.steps(&query).await.unwrap();
        assert_eq!(steps.len(), 1);
        steps.remove(0)
    }

    async fn act(&self, step: &NewStep) {
        let (from, to) = (step.key.as_deref().unwrap(), step.to_key.as_deref().unwrap());
        let evidence = step.evidence.as_ref().unwrap();
        move_object(&self.provider, &Key::from(from), &Key::from(to), evidence)
            .await
            .unwrap();
    }

    async fn state(&self) -> State {
        let mut records = BTreeMap::new();
        for number in 1..5 {
            if let Some(record) = self.store.get(&uuid(number)).await.unwrap() {
                records.insert(record.id.clone(), record);
            }
        }
        let root = self.deployment.storage();
        let mut files = BTreeMap::new();
        let mut open = vec![root.clone()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else if !path.ends_with(".civic/installation.json") {
                    let name = path.strip_prefix(&root).unwrap().display().to_string();
                    files.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        (files, records)
    }

    async fn files(&self) -> Vec<String> {
        self.state().await.0.into_keys().collect()
    }

    /// Leaves the one file deleted by a run that was finished; its id.
    async fn deleted(&self) -> String {
        let run = self.journal().begin("storage:delete", json!({})).await.unwrap();
        let step = self.removal(run.id()).await;
        run.intend(vec![step.clone()]).await.unwrap();
        self.act(&step).await;
        let settled = Settlement {
            number: 1,
            state: StepState::Settled,
            error: None,
            change: None,
        };
        assert_eq!(run.settle(vec![settled]).await.unwrap(), [true]);
        run.finish(RunStatus::Done, json!({})).await.unwrap();
        run.id().to_owned()
    }

    /// The step that brings the deleted file back.
    async fn restore(&self, deleted: &str) -> NewStep {
        let step = self.only_step(deleted).await;
        NewStep {
            action: Action::Restore,
            provider: step.provider,
            key: step.to_key,
            to_key: step.key,
            to_provider: None,
            evidence: step.evidence,
            file_id: step.file_id,
            before: None,
            after: step.before,
            change: None,
            undoes: Some((deleted.to_owned(), 1)),
        }
    }
}

fn in_trash(run: &str) -> [String; 2] {
    let key = key("permits", 1);
    [
        format!(".trash/{run}/{key}"),
        format!(".trash/{run}/{key}.meta.trash"),
    ]
}

fn in_place() -> [String; 2] {
    let key = key("permits", 1);
    [key.clone(), format!("{key}.meta.json")]
}

fn sql(town: &Town, sql: &str) {
    assert_eq!(town.deployment.db().execute(sql, []).unwrap(), 1, "{sql}");
}

#[tokio::test]
async fn where_nothing_died_nothing_is_written() {
    let town = Town::new();
    town.deleted().await;
    let runs = town.store.runs(&RunQuery::newest(9)).await.unwrap();
    assert_eq!(town.recover().await, RecoveryReport::default());
    assert_eq!(town.store.runs(&RunQuery::newest(9)).await.unwrap(), runs);
}

#[tokio::test]
async fn a_deletion_is_finished_whether_or_not_its_object_had_been_moved() {
    for moved in [false, true] {
        let town = Town::new();
        let run = town
            .died_after(async |run| {
                let step = town.removal(run).await;
                if moved {
                    town.act(&step).await;
                }
                step
            })
            .await;
        let report = town.recover().await;
        assert_eq!((report.runs, report.finished, report.given_up), (1, 1, 0));
        assert_eq!(town.files().await, in_trash(&run));
        assert_eq!(town.store.get(&uuid(1)).await.unwrap(), None);
        assert_eq!(town.only_step(&run).await.state, StepState::Settled);
        let ended = town.store.run(&run).await.unwrap().unwrap();
        assert_eq!(ended.status, RunStatus::Interrupted);
        assert_eq!(town.recover().await, RecoveryReport::default(), "once is enough");
    }
}

#[tokio::test]
async fn a_deletion_whose_object_has_changed_or_gone_is_given_up_and_its_row_put_back() {
    for gone in [false, true] {
        let town = Town::new();
        let before = town.record().await;
        let run = town.died_after(async |run| town.removal(run).await).await;
        let path = town.deployment.storage().join(key("permits", 1));
        if gone {
            fs::remove_file(&path).unwrap();
        } else {
            fs::write(&path, "rewritten").unwrap();
        }
        let report = town.recover().await;
        assert_eq!((report.finished, report.given_up), (0, 1));
        assert_eq!(town.record().await, before);
        let step = town.only_step(&run).await;
        assert_eq!(step.state, StepState::Failed);
        assert!(step.error.is_some());
        assert_eq!(path.exists(), !gone);
    }
}

#[tokio::test]
async fn a_deletion_whose_row_somebody_put_back_gives_the_object_back_too() {
    let town = Town::new();
    let before = town.record().await;
    town.died_after(async |run| {
        let step = town.removal(run).await;
        town.act(&step).await;
        step
    })
    .await;
    town.deployment.local_record(1, &key("permits", 1));
    town.recover().await;
    assert_eq!(town.files().await, in_place());
    assert_eq!(town.record().await.provider_path, before.provider_path);
}

#[tokio::test]
async fn a_purge_is_finished_and_touches_nothing_that_changed() {
    for changed in [false, true] {
        let town = Town::new();
        let before = town.record().await;
        let purge = async |run: &str| NewStep {
            action: Action::Purge,
            to_key: None,
            ..town.removal(run).await
        };
        town.died_after(purge).await;
        if changed {
            town.deployment.file(&key("permits", 1), 9, days(1));
        }
        town.recover().await;
        let (files, records) = town.state().await;
        if changed {
            assert_eq!(files.into_keys().collect::<Vec<_>>(), in_place());
            assert_eq!(records[&uuid(1)], before);
        } else {
            assert!(files.is_empty() && records.is_empty());
        }
    }
}

fn intent(journal: &Journal, number: u32) -> UploadIntent {
    UploadIntent {
        copies: Vec::new(),
        file_id: uuid(number),
        run_id: "20261123T120000-00000000".to_owned(),
        provider: "local".to_owned(),
        key: key("permits", number),
        size: 1,
        owner: journal.owner.clone(),
        renewed_at: Utc::now(),
    }
}

#[tokio::test]
async fn an_upload_that_died_leaves_nothing_in_place_and_loses_nothing() {
    let town = Town::new();
    let dead = town.of_the_dead();
    let intents: Vec<_> = (1..=3).map(|number| intent(&dead, number)).collect();
    town.store
        .intend_uploads(&intents, &Limits::default(), &[])
        .await
        .unwrap();
    town.deployment.old_file(&key("permits", 2));
    let before = town.record().await;

    let report = town.recover().await;
    assert_eq!((report.trashed, report.withdrawn), (1, 2), "{report:?}");
    assert_eq!(town.store.intents().await.unwrap(), []);
    assert_eq!(
        town.record().await,
        before,
        "the record of an upload that had come through"
    );
    let recovery = &town.store.runs(&RunQuery::newest(1)).await.unwrap()[0];
    assert_eq!(recovery.operation, "storage:recover");
    let [object, sidecar] = in_place();
    let trashed = format!(".trash/{}/{}", recovery.id, key("permits", 2));
    assert_eq!(town.files().await, [trashed, object, sidecar]);
    let step = town.only_step(&recovery.id).await;
    assert_eq!((step.state, step.file_id), (StepState::Settled, Some(uuid(2))));
}

#[tokio::test]
async fn a_living_upload_is_left_alone() {
    let town = Town::new();
    let living = town.journal();
    let run = living.begin("storage:upload", json!({})).await.unwrap();
    let intent = UploadIntent {
        run_id: run.id().to_owned(),
        ..intent(&living, 2)
    };
    town.store
        .intend_uploads(std::slice::from_ref(&intent), &Limits::default(), &[])
        .await
        .unwrap();
    town.deployment.old_file(&key("permits", 2));
    assert_eq!(town.recover().await, RecoveryReport::default());
    let left = town.store.intents().await.unwrap();
    assert_eq!((left.len(), &left[0].file_id), (1, &intent.file_id));
    assert!(town.deployment.storage().join(key("permits", 2)).exists());
}

#[tokio::test]
async fn an_undo_is_finished_whether_or_not_its_object_had_been_moved() {
    for moved in [false, true] {
        let town = Town::new();
        let before = town.state().await;
        let deleted = town.deleted().await;
        town.died_after(async |_| {
            let step = town.restore(&deleted).await;
            if moved {
                let (from, to) = (step.key.as_deref().unwrap(), step.to_key.as_deref().unwrap());
                let evidence = step.evidence.as_ref().unwrap();
                put_back(&town.provider, &Key::from(from), &Key::from(to), evidence)
                    .await
                    .unwrap();
            }
            step
        })
        .await;
        assert_eq!(town.recover().await.finished, 1);
        assert_eq!(town.state().await, before);
        assert_eq!(town.only_step(&deleted).await.state, StepState::Undone);
    }
}

#[tokio::test]
async fn an_undo_whose_id_is_in_use_again_leaves_the_bytes_in_the_trash() {
    let town = Town::new();
    let deleted = town.deleted().await;
    town.died_after(async |_| town.restore(&deleted).await).await;
    town.deployment.local_record(1, "public/another.txt");
    assert_eq!(town.recover().await.given_up, 1);
    assert_eq!(town.files().await, in_trash(&deleted));
    assert_eq!(town.record().await.relative_path, "public/another.txt");
    assert_eq!(town.only_step(&deleted).await.state, StepState::Settled);
}

/// A step that moves the one file to another folder.
async fn relocation(town: &Town, run: &str) -> NewStep {
    let step = town.removal(run).await;
    let before = step.before.clone().unwrap();
    let to = key("public", 1);
    let after = FileRecord {
        folder: "public".to_owned(),
        relative_path: to.clone(),
        provider_path: before.provider_path.replace("permits", "public"),
        ..before
    };
    NewStep {
        action: Action::Move,
        to_key: Some(to),
        after: Some(after),
        change: None,
        ..step
    }
}

#[tokio::test]
async fn a_move_is_finished_and_what_was_edited_meanwhile_stays_edited() {
    for moved in [false, true] {
        let town = Town::new();
        town.died_after(async |run| {
            let step = relocation(&town, run).await;
            if moved {
                town.act(&step).await;
            }
            step
        })
        .await;
        sql(&town, "UPDATE storage_files SET description = 'edited'");
        assert_eq!(town.recover().await.finished, 1);
        let record = town.record().await;
        assert_eq!(record.description.as_deref(), Some("edited"));
        assert_eq!(record.relative_path, key("public", 1));
        let sidecar = format!("{}.meta.json", key("public", 1));
        assert_eq!(town.files().await, [key("public", 1), sidecar]);
    }
}

#[tokio::test]
async fn a_move_whose_record_went_elsewhere_gives_the_object_back() {
    let town = Town::new();
    town.died_after(async |run| {
        let step = relocation(&town, run).await;
        town.act(&step).await;
        step
    })
    .await;
    sql(&town, "UPDATE storage_files SET folder = 'third'");
    assert_eq!(town.recover().await.given_up, 1);
    assert_eq!(town.files().await, in_place());
    assert_eq!(town.record().await.folder, "third");
}

#[tokio::test]
async fn a_provider_that_is_held_or_not_there_is_left_for_later() {
    let town = Town::new();
    let run = town.died_after(async |run| town.removal(run).await).await;
    let holder = town.journal().begin("storage:cleanup", json!({})).await.unwrap();
    holder.lease("local").await.unwrap();
    let report = town.recover().await;
    assert_eq!((report.finished, report.left.len()), (0, 1));
    assert!(report.left[0].contains(holder.id()), "{report:?}");
    let told = town.store.runs(&RunQuery::newest(99)).await.unwrap().len();
    assert_eq!(town.recover().await.left.len(), 1);
    let unknown = recover(&town.journal(), &[]).await.unwrap();
    assert_eq!(unknown.left.len(), 1);
    assert_eq!(
        town.store.runs(&RunQuery::newest(99)).await.unwrap().len(),
        told,
        "what could do nothing is no history"
    );
    assert_eq!(town.only_step(&run).await.state, StepState::Intended);
    assert_eq!(town.files().await, in_place());

    holder.finish(RunStatus::Done, json!({})).await.unwrap();
    assert_eq!(town.recover().await.finished, 1);
    assert_eq!(town.files().await, in_trash(&run));
}

/// Polls the future so many times and then drops it, as death would. Whether it had ended by then.
async fn cut_short(future: impl Future, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn recovery_that_dies_anywhere_is_recovered_from() {
    let mut polls = 1;
    loop {
        let town = Town::new();
        let run = town.died_after(async |run| town.removal(run).await).await;
        let dead = town.of_the_dead();
        town.store
            .intend_uploads(&[intent(&dead, 2)], &Limits::default(), &[])
            .await
            .unwrap();
        town.deployment.old_file(&key("permits", 2));

        let providers = [Arc::clone(&town.provider)];
        let ended = cut_short(recover(&dead, &providers), polls).await;
        town.recover().await;

        let files = town.files().await;
        assert!(
            in_trash(&run).iter().all(|file| files.contains(file)),
            "{polls}: {files:?}"
        );
        assert_eq!(files.len(), 3, "{polls}: {files:?}");
        let aside = files.iter().find(|file| file.ends_with(&key("permits", 2)));
        assert!(aside.is_some_and(|file| file.starts_with(".trash/")), "{polls}");
        assert!(town.state().await.1.is_empty());
        assert_eq!(town.store.intents().await.unwrap(), []);
        assert_eq!(town.store.unfinished_runs().await.unwrap(), []);
        let steps = town.store.steps(&StepQuery::default()).await.unwrap();
        assert!(
            steps.iter().all(|step| step.state != StepState::Intended),
            "{polls}"
        );
        if ended {
            break;
        }
        polls += 1;
    }
    assert!(polls > 10, "it was cut short at {polls} places only");
}

#[tokio::test]
async fn two_recoveries_at_once_do_what_one_does() {
    for _ in 0..5 {
        let town = Town::new();
        let run = town.died_after(async |run| town.removal(run).await).await;
        let (one, other) = tokio::join!(town.recover(), town.recover());
        assert_eq!(one.finished + other.finished + one.given_up + other.given_up, 1);
        assert_eq!(town.files().await, in_trash(&run));
        assert_eq!(town.only_step(&run).await.state, StepState::Settled);
    }
}

/// Time that a test sets.
#[derive(Debug)]
struct Later(i64);

impl Clock for Later {
    fn now(&self) -> DateTime<Utc> {
        Utc::now() + chrono::TimeDelta::seconds(self.0)
    }
}

#[tokio::test]
async fn a_holder_that_slept_past_its_lease_does_nothing_when_it_wakes() {
    let town = Town::new();
    let sleeper = town.journal().begin("storage:cleanup", json!({})).await.unwrap();
    sleeper.lease("local").await.unwrap();
    let step = town.removal(sleeper.id()).await;

    let mut later = town.journal();
    later.clock = Arc::new(Later(700));
    let next = later.begin("storage:cleanup", json!({})).await.unwrap();
    next.lease("local").await.unwrap();
    recover(&later, &[Arc::clone(&town.provider)]).await.unwrap();

    let before = town.state().await;
    let fenced = |error: JournalError| matches!(error, JournalError::Store(MetadataError::Fenced { .. }));
    assert!(fenced(sleeper.check().await.unwrap_err()));
    assert!(fenced(sleeper.intend(vec![step]).await.unwrap_err()));
    assert!(fenced(
        sleeper.finish(RunStatus::Done, json!({})).await.unwrap_err()
    ));
    assert_eq!(town.state().await, before);
    assert!(next.check().await.is_ok());
}

#[tokio::test]
async fn a_run_that_is_dropped_stands_as_running_and_one_that_holds_says_who_it_is() {
    let town = Town::new();
    let run = town.journal().begin("storage:delete", json!({})).await.unwrap();
    run.lease("local").await.unwrap();
    let id = run.id().to_owned();
    drop(run);
    assert_eq!(
        town.store.run(&id).await.unwrap().unwrap().status,
        RunStatus::Running
    );
    let other = town.journal().begin("storage:cleanup", json!({})).await.unwrap();
    let held = other.lease("local").await.unwrap_err();
    assert!(matches!(&held, JournalError::Held { provider, run } if provider == "local" && run.id == id));
    assert!(held.to_string().contains(&id));
}

/// The real program, killed while it cleans up and killed again while it recovers from that.
fn cleanup(town: &Deployment, failpoint: Option<&str>) -> Option<i32> {
    let mut process = town.process();
    process.args([
        "storage:cleanup",
        "--apply",
        "--yes",
        "--min-age",
        "1h",
        "--silent",
    ]);
    if let Some(point) = failpoint {
        process.env("CIVIC_FAILPOINT", point);
    }
    process.stdout(Stdio::null()).stderr(Stdio::null());
    process.status().unwrap().code()
}

#[test]
fn a_recovery_that_is_killed_at_any_of_its_steps_is_taken_up_by_the_next_command() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for point in [
        "recover.after-end",
        "recover.after-intent",
        "recover.after-withdrawal",
        "recover.after-act",
        "recover.after-act:2",
        "recover.after-settle",
        "recover.after-settle:2",
    ] {
        let town = Town::new();
        town.deployment.old_file(&key("permits", 3));
        let deployment = &town.deployment;
        assert_eq!(cleanup(deployment, Some("cleanup.after-intend")), None, "{point}");
        runtime.block_on(async {
            let intent = intent(&town.of_the_dead(), 2);
            town.store
                .intend_uploads(&[intent], &Limits::default(), &[])
                .await
                .unwrap();
        });
        deployment.old_file(&key("permits", 2));

        assert_eq!(
            cleanup(deployment, Some(point)),
            None,
            "{point}: it was not killed"
        );
        assert_eq!(cleanup(deployment, None), Some(0), "{point}");

        let (files, records) = runtime.block_on(town.state());
        assert_eq!(records.len(), 1, "{point}");
        for number in [2, 3] {
            let mut kept = files
                .keys()
                .filter(|file| file.ends_with(&key("permits", number)));
            let file = kept
                .next()
                .unwrap_or_else(|| panic!("{point}: file {number} is lost"));
            assert!(file.starts_with(".trash/"), "{point}: {file}");
            assert_eq!(kept.next(), None, "{point}");
        }
        assert!(in_place().iter().all(|file| files.contains_key(file)), "{point}");
        runtime.block_on(async {
            assert_eq!(town.store.intents().await.unwrap(), [], "{point}");
            assert_eq!(town.store.unfinished_runs().await.unwrap(), [], "{point}");
            let steps = town.store.steps(&StepQuery::default()).await.unwrap();
            assert!(
                steps.iter().all(|step| step.state == StepState::Settled),
                "{point}: {steps:?}"
            );
        });
    }
}
