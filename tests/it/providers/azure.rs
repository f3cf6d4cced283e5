//! Answers that Azure gives and Azurite does not: copies that take their time, fail or stand still, and batches in which
//! a key fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use civic_storage::config::{AzureConfig, ProviderConfig, ProviderKind};
use civic_storage::engine::objects::{MoveOutcome, move_object, purge_all};
use civic_storage::metadata::journal::Evidence;
use civic_storage::providers::{Key, Provider, ProviderError, build};
use object_store::{ObjectStoreExt, PutPayload};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::{azure, block_on, global};

const FROM: &str = "permits/a";
const TO: &str = ".trash/run/permits/a";

/// A copy as the service goes on with it, look by look; the last state stays.
type Course = Vec<&'static str>;

#[derive(Debug, Clone, Default)]
struct Blob {
    bytes: Vec<u8>,
    copy: Option<Copy>,
}

#[derive(Debug, Clone)]
struct Copy {
    id: String,
    source: String,
    course: Course,
}

#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<String, Blob>,
    /// What the next copy does after it was accepted as pending.
    course: Course,
    /// Of the copy that a HEAD shows, where it is another than the one that was begun.
    other_id: Option<String>,
    /// Answer to a batch; `None` refuses batches.
    batch: Option<String>,
    /// What was done, in order.
    log: Vec<String>,
}

/// The service; it ends when dropped.
struct FakeAzure {
    server: MockServer,
    state: Arc<Mutex<State>>,
    patience: Duration,
}

struct Answers(Arc<Mutex<State>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut state = self.0.lock().unwrap();
        let key = request.url.path().trim_start_matches("/devstoreaccount1/files/");
        let key = key.trim_start_matches("town/").to_owned();
        let query = request.url.query().unwrap_or_default();
        match request.method.as_str() {
            "HEAD" => state.head(&key),
            "GET" => {
                let bytes = state.blobs.get(&key).map(|blob| blob.bytes.clone());
                ResponseTemplate::new(200)
                    .set_body_bytes(bytes.unwrap_or_default())
                    .insert_header("etag", "\"1\"")
                    .insert_header("last-modified", "Thu, 02 Jan 2025 03:04:05 GMT")
            }
            "PUT" if query.contains("comp=copy") => state.abort(&key),
            // Conditions are not known: a trial of them is answered so, and what it put is not kept.
            "PUT" if key.starts_with(".civic/probe-") => {
                ResponseTemplate::new(201).insert_header("etag", "\"1\"")
            }
            "DELETE" if key.starts_with(".civic/probe-") => ResponseTemplate::new(400),
            "PUT" if !request.headers.contains_key("x-ms-copy-source") => ResponseTemplate::new(403),
            "PUT" => state.copy(&key, request),
            "DELETE" => state.delete(&key, request),
            _ => state.batch(),
        }
    }
}

impl State {
    fn head(&mut self, key: &str) -> ResponseTemplate {
        let other = self.other_id.clone();
        let Some(blob) = self.blobs.get_mut(key) else {
            return ResponseTemplate::new(404).insert_header("x-ms-error-code", "BlobNotFound");
        };
        let mut answer = ResponseTemplate::new(200)
            .insert_header("etag", "\"1\"")
            .insert_header("last-modified", "Thu, 02 Jan 2025 03:04:05 GMT");
        if let Some(copy) = &mut blob.copy {
            let status = match copy.course.len() {
                1 => copy.course[0],
                _ => copy.course.remove(0),
            };
            if status != "success" {
                blob.bytes.clear();
            }
            answer = answer
                .insert_header("x-ms-copy-id", other.unwrap_or_else(|| copy.id.clone()).as_str())
                .insert_header("x-ms-copy-source", copy.source.as_str())
                .insert_header("x-ms-copy-status", status);
            if status == "success" && blob.bytes.is_empty() {
                blob.bytes = b"12345678".to_vec();
            }
            self.log.push(format!("{status} {key}"));
        }
        let length = self.blobs[key].bytes.len();
        answer
            .insert_header("content-length", length.to_string().as_str())
            .set_body_bytes(vec![0; length])
    }

    fn copy(&mut self, key: &str, request: &Request) -> ResponseTemplate {
        let source = request.headers["x-ms-copy-source"].to_str().unwrap();
        self.log.push(format!("COPY {key}"));
        let copy = Copy {
            id: "copy-1".into(),
            source: source.into(),
            course: self.course.clone(),
        };
        let blob = Blob {
            bytes: Vec::new(),
            copy: Some(copy),
        };
        self.blobs.insert(key.into(), blob);
        ResponseTemplate::new(202)
            .insert_header("x-ms-copy-id", "copy-1")
            .insert_header("x-ms-copy-status", "pending")
    }

    fn abort(&mut self, key: &str) -> ResponseTemplate {
        self.log.push(format!("ABORT {key}"));
        let blob = self.blobs.get_mut(key).unwrap();
        blob.copy.as_mut().unwrap().course = vec!["aborted"];
        ResponseTemplate::new(204)
    }

    fn delete(&mut self, key: &str, request: &Request) -> ResponseTemplate {
        let only = request.headers.contains_key("if-match");
        self.log.push(format!(
            "DELETE {key}{}",
            if only { " if it is that one" } else { "" }
        ));
        match self.blobs.remove(key) {
            Some(_) => ResponseTemplate::new(202),
            None => ResponseTemplate::new(404).insert_header("x-ms-error-code", "BlobNotFound"),
        }
    }

    fn batch(&mut self) -> ResponseTemplate {
        self.log.push("BATCH".into());
        match &self.batch {
            Some(body) => {
                ResponseTemplate::new(202).set_body_raw(body.clone(), "multipart/mixed; boundary=b")
            }
            None => ResponseTemplate::new(400).insert_header("x-ms-error-code", "InvalidQueryParameterValue"),
        }
    }
}

impl FakeAzure {
    /// With a blob of 8 bytes at [`FROM`].
    async fn start(course: &[&'static str]) -> Self {
        let source = Blob {
            bytes: b"12345678".to_vec(),
            copy: None,
        };
        let state = State {
            blobs: BTreeMap::from([(FROM.to_owned(), source)]),
            course: course.to_vec(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(Answers(Arc::clone(&state)))
            .mount(&server)
            .await;
        Self {
            server,
            state,
            patience: Duration::from_secs(60),
        }
    }

    fn provider(&self) -> Provider {
        let mut global = global();
        global.upload_timeout = self.patience;
        build(&azure(&self.server.uri(), "files", "town/"), &global).unwrap()
    }

    async fn trash(&self) -> Result<MoveOutcome, ProviderError> {
        let seen = Evidence {
            size: 8,
            ..Evidence::default()
        };
        move_object(&self.provider(), &Key::from(FROM), &Key::from(TO), &seen).await
    }

    fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().blobs.keys().cloned().collect()
    }

    fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }
}

#[test]
fn the_source_stays_until_its_copy_is_done() {
    block_on(async {
        let fake = FakeAzure::start(&["pending", "pending", "success"]).await;
        assert_eq!(fake.trash().await.unwrap(), MoveOutcome::Moved);
        let log = fake.log();
        let at = |line: String| log.iter().position(|seen| *seen == line).unwrap();
        let (done, gone) = (at(format!("success {TO}")), at(format!("DELETE {FROM}")));
        assert_eq!(at(format!("COPY {TO}")), 0, "{log:?}");
        assert!(done == 3 && gone > done, "{log:?}");
        assert_eq!(fake.keys(), [TO]);
    });
}

#[test]
fn a_copy_that_failed_loses_nothing_and_leaves_nothing() {
    for course in [&["pending", "failed"][..], &["aborted"], &["nonsense"]] {
        block_on(async {
            let fake = FakeAzure::start(course).await;
            let error = fake.trash().await.unwrap_err();
            assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
            assert_eq!(fake.keys(), [FROM], "{course:?}");
            let removed = format!("DELETE {TO} if it is that one");
            assert_eq!(fake.log().last(), Some(&removed), "{course:?}");
        });
    }
}

#[test]
fn a_copy_that_stands_still_is_given_up() {
    block_on(async {
        let mut fake = FakeAzure::start(&["pending"]).await;
        fake.patience = Duration::from_millis(200);
        let error = fake.trash().await.unwrap_err().to_string();
        assert!(error.contains("given up"), "{error}");
        assert!(fake.log().contains(&format!("ABORT {TO}")));
        assert_eq!(fake.keys(), [FROM]);
    });
}

#[test]
fn another_copy_at_the_target_is_not_ours() {
    block_on(async {
        let fake = FakeAzure::start(&["success"]).await;
        fake.state.lock().unwrap().other_id = Some("copy-2".into());
        let error = fake.trash().await.unwrap_err();
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
        assert_eq!(fake.keys(), [TO, FROM]);
    });
}

/// The next run, after one that died while its copy was made, comes upon a target in any of these states.
#[test]
fn what_a_dead_run_left_of_a_copy_is_brought_to_its_end() {
    for course in [
        &["pending", "pending", "pending", "success"][..],
        &["failed"],
        &["aborted"],
    ] {
        block_on(async {
            let fake = FakeAzure::start(&["success"]).await;
            let source = format!("{}/devstoreaccount1/files/town/{FROM}?sig=x", fake.server.uri());
            let copy = Copy {
                id: "copy-0".into(),
                source,
                course: course.to_vec(),
            };
            let left = Blob {
                bytes: Vec::new(),
                copy: Some(copy),
            };
            fake.state.lock().unwrap().blobs.insert(TO.into(), left);
            assert_eq!(fake.trash().await.unwrap(), MoveOutcome::Moved, "{course:?}");
            assert_eq!(fake.keys(), [TO], "{course:?}");
            let again = fake.log().contains(&format!("COPY {TO}"));
            assert_eq!(again, course.len() == 1, "{course:?}");
        });
    }
}

fn part(at: usize, answer: &str) -> String {
    format!("--b\r\nContent-Type: application/http\r\nContent-ID: {at}\r\n\r\nHTTP/1.1 {answer}\r\n\r\n")
}

/// How each of three keys and their sidecars, six deletions, went by this answer.
fn deleted(answer: Option<String>) -> (Vec<Result<(), ProviderError>>, Vec<String>) {
    block_on(async {
        let fake = FakeAzure::start(&[]).await;
        fake.state.lock().unwrap().batch = answer;
        let keys = ["a", "b", "c"].map(Key::from);
        (purge_all(&fake.provider(), &keys).await, fake.log())
    })
}

#[test]
fn in_a_batch_that_was_taken_a_failed_key_has_failed_alone() {
    let fine = (0..6).map(|at| match at {
        2 => part(at, "409 There are snapshots\r\nx-ms-error-code: SnapshotsPresent"),
        3 | 5 => part(at, "404 Not there\r\nx-ms-error-code: BlobNotFound"),
        _ => part(at, "202 Accepted"),
    });
    let (answers, log) = deleted(Some(fine.collect::<String>() + "--b--"));
    assert_eq!(log, ["BATCH"]);
    let went: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(went, [true, false, true]);
    let text = answers[1].as_ref().unwrap_err().to_string();
    assert!(text.contains("snapshots"), "{text}");
}

#[test]
fn a_key_that_a_batch_does_not_answer_for_is_not_deleted() {
    let some = (0..5).map(|at| part(at, "202 Accepted")).collect::<String>();
    for body in [some.clone() + "--b--", some, String::new()] {
        let (answers, _) = deleted(Some(body));
        assert!(answers[2].is_err(), "{answers:?}");
    }
}

#[test]
fn where_batches_are_not_taken_keys_go_one_by_one() {
    let (answers, log) = deleted(None);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!((log[0].as_str(), log.len()), ("BATCH", 7));
}

#[test]
fn an_error_shows_no_signature() {
    let config = ProviderConfig {
        kind: ProviderKind::Azure(AzureConfig {
            account_name: "town".into(),
            container_name: "files".into(),
            connection_string: None,
            account_key: None,
            sas_token: Some("sv=2023-11-03&sig=hunter2%3D".to_owned().into()),
            endpoint: Some("http://127.0.0.1:1".into()),
            access_tier: None,
        }),
        ..azure("", "", "")
    };
    block_on(async {
        let provider = build(&config, &global()).unwrap();
        let at = provider.location(&Key::from(FROM)).unwrap();
        let there = provider.location(&Key::from(TO)).unwrap();
        let store = &provider.store;
        let errors = [
            store.put(&at, PutPayload::from_static(b"x")).await.unwrap_err(),
            store.get(&at).await.unwrap_err(),
            store.copy(&at, &there).await.unwrap_err(),
            store.delete(&at).await.unwrap_err(),
        ];
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            let error = provider.store_error("test", error);
            assert!(matches!(error, ProviderError::Unavailable { .. }), "{error:?}");
        }
        let error = provider.probe().await.unwrap_err();
        assert!(
            !format!("{error:?} {provider:?}").contains("hunter2"),
            "{error:?}"
        );
    });
}
