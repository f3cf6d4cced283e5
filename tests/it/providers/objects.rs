//! Moving objects into the trash, back, between keys and away, on every kind of provider, from every state that a
//! crash can leave.

use std::collections::BTreeMap;

use bytes::Bytes;
use civic_storage::config::{LocalConfig, ProviderConfig, ProviderKind};
use civic_storage::engine::objects::{
    MoveOutcome, PurgeOutcome, evidence_of, move_object, purge, purge_all, put_back, sidecar_key, trash_key,
};
use civic_storage::metadata::journal::Evidence;
use civic_storage::providers::{Key, ListRequest, Provider, ProviderError, build, with_sha256};
use object_store::{ObjectStoreExt, PutPayload};
use tempfile::TempDir;
use wiremock::matchers::{method, path_regex, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{block_on, global, keys, s3};

const KEY: &str = "permits/Plan_0b2f6f3e-6f0a-4d5b-9a53-0f7d8c1e2a34.pdf";
const RUN: &str = "7d1c9e2a-0000-4000-8000-000000000000";

async fn put(provider: &Provider, key: &Key, body: &str) {
    let at = provider.location(key).unwrap();
    let payload = PutPayload::from(body.to_owned());
    provider.store.put(&at, payload).await.unwrap();
}

/// Every object, reserved ones included, and its bytes.
async fn contents(provider: &Provider) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for key in keys(provider, ListRequest::default()).await {
        let at = provider.location(&Key::from(key.as_str())).unwrap();
        let bytes = provider.store.get(&at).await.unwrap().bytes().await.unwrap();
        found.insert(key, String::from_utf8(bytes.to_vec()).unwrap());
    }
    found
}

/// An object with its sidecar, and what was seen of it.
async fn stored(provider: &Provider) -> (Key, Key, Evidence) {
    let key = Key::from(KEY);
    put(provider, &key, "the plan").await;
    put(provider, &sidecar_key(&key), "{}").await;
    let evidence = evidence_of(&provider.head(&key).await.unwrap().unwrap());
    (key.clone(), trash_key(provider, RUN, &key).unwrap(), evidence)
}

fn pairs(pairs: &[(String, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, body)| (key.clone(), (*body).to_owned()))
        .collect()
}

fn in_place() -> BTreeMap<String, String> {
    pairs(&[(KEY.into(), "the plan"), (format!("{KEY}.meta.json"), "{}")])
}

fn in_trash() -> BTreeMap<String, String> {
    let trashed = format!(".trash/{RUN}/{KEY}");
    pairs(&[
        (trashed.clone(), "the plan"),
        (format!("{trashed}.meta.trash"), "{}"),
    ])
}

fn to_the_trash_and_back(provider: &Provider) {
    block_on(async {
        let (key, trashed, seen) = stored(provider).await;
        let away = async || move_object(provider, &key, &trashed, &seen).await.unwrap();
        let back = async || put_back(provider, &trashed, &key, &seen).await.unwrap();
        assert_eq!(away().await, MoveOutcome::Moved);
        assert_eq!(contents(provider).await, in_trash());
        assert_eq!(away().await, MoveOutcome::AlreadyThere);
        assert_eq!(contents(provider).await, in_trash());
        assert_eq!(back().await, MoveOutcome::Moved);
        assert_eq!(contents(provider).await, in_place());
        assert_eq!(back().await, MoveOutcome::AlreadyThere);
        assert_eq!(contents(provider).await, in_place());
    });
}

fn what_a_crash_left_half_done_is_finished(provider: &Provider) {
    block_on(async {
        let (key, trashed, seen) = stored(provider).await;
        put(provider, &trashed, "the plan").await;
        let again = move_object(provider, &key, &trashed, &seen).await.unwrap();
        assert_eq!(again, MoveOutcome::Moved, "copied and not deleted");
        assert_eq!(contents(provider).await, in_trash());

        put(provider, &sidecar_key(&key), "{}").await;
        provider
            .store
            .delete(&provider.location(&sidecar_key(&trashed)).unwrap())
            .await
            .unwrap();
        let again = move_object(provider, &key, &trashed, &seen).await.unwrap();
        assert_eq!(
            again,
            MoveOutcome::AlreadyThere,
            "the sidecar was still to be moved"
        );
        assert_eq!(contents(provider).await, in_trash());
    });
}

fn what_was_changed_or_taken_is_left_alone(provider: &Provider) {
    block_on(async {
        let (key, trashed, seen) = stored(provider).await;
        put(provider, &key, "the newer plan").await;
        let all = contents(provider).await;
        let outcome = move_object(provider, &key, &trashed, &seen).await.unwrap();
        assert_eq!(outcome, MoveOutcome::Changed);
        assert_eq!(purge(provider, &key, &seen).await.unwrap(), PurgeOutcome::Changed);
        assert_eq!(contents(provider).await, all);

        let seen = evidence_of(&provider.head(&key).await.unwrap().unwrap());
        put(provider, &trashed, "of another").await;
        let all = contents(provider).await;
        let outcome = move_object(provider, &key, &trashed, &seen).await.unwrap();
        assert_eq!(outcome, MoveOutcome::TargetTaken);
        put(provider, &trashed, "the other plan").await;
        let all_now = contents(provider).await;
        let outcome = move_object(provider, &key, &trashed, &seen).await.unwrap();
        assert_eq!(outcome, MoveOutcome::TargetTaken, "of the same size");
        assert_eq!(contents(provider).await, all_now);
        assert_ne!(all, all_now);

        let nowhere = Key::from("permits/none");
        let outcome = move_object(provider, &nowhere, &Key::from("permits/other"), &seen).await;
        assert_eq!(outcome.unwrap(), MoveOutcome::Missing);
    });
}

fn between_keys_the_sidecar_goes_along(provider: &Provider) {
    block_on(async {
        let (key, _, seen) = stored(provider).await;
        let target = Key::from("public/é plan.pdf");
        let outcome = move_object(provider, &key, &target, &seen).await.unwrap();
        assert_eq!(outcome, MoveOutcome::Moved);
        let there = pairs(&[
            ("public/é plan.pdf".into(), "the plan"),
            ("public/é plan.pdf.meta.json".into(), "{}"),
        ]);
        assert_eq!(contents(provider).await, there);
    });
}

fn purged_is_gone_with_its_sidecar(provider: &Provider) {
    block_on(async {
        let (key, _, seen) = stored(provider).await;
        assert_eq!(purge(provider, &key, &seen).await.unwrap(), PurgeOutcome::Purged);
        assert_eq!(contents(provider).await, BTreeMap::new());
        assert_eq!(
            purge(provider, &key, &seen).await.unwrap(),
            PurgeOutcome::AlreadyGone
        );

        let (key, trashed, seen) = stored(provider).await;
        move_object(provider, &key, &trashed, &seen).await.unwrap();
        let others: Vec<Key> = (0..1100)
            .map(|n| Key::from(format!("public/{n}").as_str()))
            .collect();
        put(provider, &others[7], "seven").await;
        put(provider, &others[1099], "last").await;
        put(provider, &Key::from("public/1100"), "stays").await;
        let all: Vec<Key> = others.into_iter().chain([trashed]).collect();
        let answers = purge_all(provider, &all).await;
        assert_eq!(answers.len(), 1101);
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(
            contents(provider).await,
            pairs(&[("public/1100".into(), "stays")])
        );
    });
}

fn local(dir: &TempDir) -> Provider {
    let config = ProviderConfig {
        name: "town".into(),
        enabled: true,
        prefix: String::new(),
        aliases: Vec::new(),
        kind: ProviderKind::Local(LocalConfig {
            path: dir.path().to_owned(),
        }),
    };
    build(&config, &global()).unwrap()
}

macro_rules! on_a_directory {
    ($($check:ident),* $(,)?) => { mod on_a_directory { $(
        #[test]
        fn $check() {
            let dir = tempfile::tempdir().unwrap();
            super::$check(&super::local(&dir));
        }
    )* } };
}

on_a_directory!(
    to_the_trash_and_back,
    what_a_crash_left_half_done_is_finished,
    what_was_changed_or_taken_is_left_alone,
    between_keys_the_sidecar_goes_along,
    purged_is_gone_with_its_sidecar,
);

#[test]
fn on_a_directory_a_run_leaves_no_empty_directories_in_the_trash() {
    let dir = tempfile::tempdir().unwrap();
    let provider = local(&dir);
    block_on(async {
        let (key, trashed, seen) = stored(&provider).await;
        move_object(&provider, &key, &trashed, &seen).await.unwrap();
        put_back(&provider, &trashed, &key, &seen).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path().join(".trash")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(dir.path().join("permits").is_dir());
    });
}

#[test]
fn on_a_directory_the_time_comes_back_too() {
    let dir = tempfile::tempdir().unwrap();
    let provider = local(&dir);
    block_on(async {
        let (key, trashed, seen) = stored(&provider).await;
        move_object(&provider, &key, &trashed, &seen).await.unwrap();
        put_back(&provider, &trashed, &key, &seen).await.unwrap();
        assert_eq!(evidence_of(&provider.head(&key).await.unwrap().unwrap()), seen);
    });
}

#[test]
fn a_name_with_room_for_its_sidecar_alone_keeps_room_in_the_trash() {
    let dir = tempfile::tempdir().unwrap();
    let provider = local(&dir);
    let key = Key::from(format!("permits/{}", "x".repeat(245)).as_str());
    block_on(async {
        put(&provider, &key, "long").await;
        put(&provider, &sidecar_key(&key), "{}").await;
        let before = contents(&provider).await;
        let seen = evidence_of(&provider.head(&key).await.unwrap().unwrap());
        let trashed = trash_key(&provider, RUN, &key).unwrap();
        move_object(&provider, &key, &trashed, &seen).await.unwrap();
        let names = keys(&provider, ListRequest::default()).await;
        assert_eq!(names.len(), 2);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with(".trash/") && !name.contains(".json")),
            "{names:?}"
        );
        put_back(&provider, &trashed, &key, &seen).await.unwrap();
        assert_eq!(contents(&provider).await, before);
    });
}

#[test]
fn what_is_in_the_trash_is_not_put_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::from(format!(".trash/{RUN}/{KEY}").as_str());
    assert!(matches!(
        trash_key(&local(&dir), RUN, &key),
        Err(ProviderError::Invalid { .. })
    ));
}

/// A bucket in which every HEAD finds an object of this size.
async fn bucket_of_size(server: &MockServer, size: &str) {
    let found = ResponseTemplate::new(200)
        .insert_header("Content-Length", size)
        .insert_header("ETag", "\"e\"")
        .insert_header("Last-Modified", "Mon, 23 Nov 2026 18:00:00 GMT");
    Mock::given(method("HEAD"))
        .and(wiremock::matchers::path(format!("/bucket/town/{KEY}")))
        .respond_with(found)
        .mount(server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(404))
        .with_priority(9)
        .mount(server)
        .await;
    let empty = "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>";
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_string(empty))
        .mount(server)
        .await;
}

async fn writes(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    let methods = requests.iter().map(|request| request.method.to_string());
    methods
        .filter(|method| !matches!(method.as_str(), "GET" | "HEAD"))
        .collect()
}

fn provider(server: &MockServer) -> Provider {
    build(&s3(&server.uri(), "bucket", "town/"), &global()).unwrap()
}

#[test]
fn a_copy_that_cannot_be_seen_deletes_nothing() {
    block_on(async {
        let server = MockServer::start().await;
        bucket_of_size(&server, "8").await;
        let copied = "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>";
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(200).set_body_string(copied))
            .mount(&server)
            .await;
        let seen = Evidence {
            size: 8,
            ..Evidence::default()
        };
        let outcome = move_object(&provider(&server), &Key::from(KEY), &Key::from("to"), &seen).await;
        assert!(
            matches!(outcome, Err(ProviderError::Invalid { .. })),
            "{outcome:?}"
        );
        assert_eq!(writes(&server).await, ["PUT"]);
    });
}

/// A service that copies parts, but for the one that answers so, and ends the upload with this body.
async fn copies_in_parts(server: &MockServer, second: ResponseTemplate, end: &str) {
    Mock::given(method("HEAD"))
        .and(path_regex("/to$"))
        .respond_with(ResponseTemplate::new(404))
        .mount(server)
        .await;
    bucket_of_size(server, "5368709121").await;
    let answer = |body: &str| ResponseTemplate::new(200).set_body_string(body.to_owned());
    let part = answer("<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>");
    let begun =
        answer("<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>");
    let asked = |verb: &str, name: &str, value: &str| Mock::given(method(verb)).and(query_param(name, value));
    asked("POST", "uploads", "")
        .respond_with(begun)
        .mount(server)
        .await;
    asked("PUT", "partNumber", "2")
        .respond_with(second)
        .mount(server)
        .await;
    Mock::given(method("PUT")).respond_with(part).mount(server).await;
    asked("POST", "uploadId", "7")
        .respond_with(answer(end))
        .mount(server)
        .await;
    asked("DELETE", "uploadId", "7")
        .respond_with(ResponseTemplate::new(204))
        .mount(server)
        .await;
}

#[test]
fn a_copy_in_parts_that_fails_is_given_up_and_deletes_nothing() {
    const DONE: &str = "<CompleteMultipartUploadResult><ETag>\"e-11\"</ETag></CompleteMultipartUploadResult>";
    let part =
        || ResponseTemplate::new(200).set_body_string("<CopyPartResult><ETag>\"e\"</ETag></CopyPartResult>");
    let error = "<Error><Code>InternalError</Code></Error>";
    for (second, end, ends) in [
        (ResponseTemplate::new(500), DONE, 1),
        (ResponseTemplate::new(412), DONE, 1),
        // An error that came after the head of the answer was sent: of a part, and of the end.
        (ResponseTemplate::new(200).set_body_string(error), DONE, 1),
        (part(), error, 2),
    ] {
        block_on(async {
            let server = MockServer::start().await;
            copies_in_parts(&server, second, end).await;
            let outcome = provider(&server)
                .duplicate_in_parts(&Key::from(KEY), &Key::from("to"), None)
                .await;
            assert!(
                matches!(outcome, Err(ProviderError::Unavailable { .. })),
                "{outcome:?}"
            );
            let writes = writes(&server).await;
            let of = |verb: &str| writes.iter().filter(|write| *write == verb).count();
            assert_eq!(
                (of("POST"), of("DELETE"), writes.last().unwrap().as_str()),
                (ends, 1, "DELETE"),
                "{writes:?}"
            );
        });
    }
    block_on(async {
        let server = MockServer::start().await;
        copies_in_parts(&server, part(), DONE).await;
        let copied = provider(&server)
            .duplicate_in_parts(&Key::from(KEY), &Key::from("to"), None)
            .await;
        assert!(copied.unwrap());
        let writes = writes(&server).await;
        let parts = writes.iter().filter(|write| *write == "PUT").count();
        assert_eq!(
            (parts, writes.len()),
            (11, 13),
            "five gigabytes and a byte, in parts of 512 MiB: {writes:?}"
        );
    });
}

#[test]
fn in_a_bulk_answer_of_200_a_failed_key_has_failed_alone() {
    block_on(async {
        let server = MockServer::start().await;
        let failed = "<DeleteResult><Deleted><Key>town/a</Key></Deleted><Error><Key>town/b</Key>\
                      <Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
        Mock::given(method("POST"))
            .and(query_param("delete", ""))
            .respond_with(ResponseTemplate::new(200).set_body_string(failed))
            .mount(&server)
            .await;
        let asked = ["a", "b", "c"].map(Key::from);
        let answers = purge_all(&provider(&server), &asked).await;
        let went: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(went, [true, false, true]);
        let text = answers[1].as_ref().unwrap_err().to_string();
        assert!(text.contains("AccessDenied"), "{text}");
    });
}

#[test]
fn a_bulk_request_that_fails_as_a_whole_fails_every_key() {
    block_on(async {
        let server = MockServer::start().await;
        let gone = "<Error><Code>NoSuchBucket</Code></Error>";
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(404).set_body_string(gone))
            .mount(&server)
            .await;
        let asked = ["a", "b"].map(Key::from);
        let answers = purge_all(&provider(&server), &asked).await;
        assert!(answers.iter().all(Result::is_err), "{answers:?}");
    });
}

mod needs_server {
    use crate::common::TestEnv;
    use crate::providers::{gcs, global, in_bucket};

    macro_rules! on_each_server {
        ($($check:ident),* $(,)?) => { $(
            mod $check {
                use super::*;

                #[test]
                fn seaweed() {
                    let Some(bucket) = TestEnv::seaweed() else { return };
                    super::super::$check(&super::super::build(&in_bucket(&bucket), &global()).unwrap());
                }

                #[test]
                fn rclone() {
                    let Some(bucket) = TestEnv::rclone() else { return };
                    super::super::$check(&super::super::build(&in_bucket(&bucket), &global()).unwrap());
                }

                #[test]
                fn azurite() {
                    let Some(bucket) = TestEnv::azurite() else { return };
                    super::super::$check(&super::super::build(&in_bucket(&bucket), &global()).unwrap());
                }

                #[test]
                fn gcs() {
                    let Some(bucket) = TestEnv::gcs() else { return };
                    let config = super::gcs(&bucket.endpoint, &bucket.name, &bucket.key_file());
                    super::super::$check(&super::super::build(&config, &global()).unwrap());
                }
            }
        )* };
    }

    /// As what is larger than one request takes is copied, here in parts of five megabytes.
    #[test]
    fn in_parts_a_copy_is_every_byte_and_all_that_the_object_says_of_itself() {
        use super::*;
        use object_store::{Attribute, Attributes, PutOptions};
        let Some(bucket) = TestEnv::seaweed() else { return };
        let provider = build(&in_bucket(&bucket), &global()).unwrap();
        let content: Vec<u8> = (0..12_000_003_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        block_on(async {
            let key = Key::from(KEY);
            let trashed = trash_key(&provider, RUN, &key).unwrap();
            let missing = provider.duplicate_in_parts(&key, &trashed, None).await.unwrap();
            assert!(!missing, "nothing is there to be copied");
            let attributes: Attributes = [
                (Attribute::ContentType, "application/pdf"),
                (
                    Attribute::Metadata("civic-original-name".into()),
                    "Proc%C3%A8s.pdf",
                ),
            ]
            .into_iter()
            .map(|(name, value)| (name, object_store::AttributeValue::from(value)))
            .collect();
            let options = PutOptions {
                attributes: attributes.clone(),
                ..PutOptions::default()
            };
            let at = provider.location(&key).unwrap();
            provider
                .store
                .put_opts(&at, content.clone().into(), options)
                .await
                .unwrap();
            assert!(
                provider
                    .duplicate_in_parts(&key, &trashed, Some(5 << 20))
                    .await
                    .unwrap()
            );
            let copy = provider
                .store
                .get(&provider.location(&trashed).unwrap())
                .await
                .unwrap();
            assert!(
                copy.meta.e_tag.as_ref().unwrap().contains("-3"),
                "{:?}",
                copy.meta
            );
            assert_eq!(copy.attributes, attributes);
            assert!(copy.bytes().await.unwrap() == content);
        });
        assert_eq!(bucket.send("GET", "?uploads=", b""), 200);
    }

    #[test]
    fn a_copy_in_parts_whose_last_answer_is_lost_is_made() {
        use super::*;
        use crate::common::Bucket;
        use crate::common::proxy::{Fault, Proxy};
        let Some(bucket) = TestEnv::seaweed() else { return };
        let proxy = Proxy::before(&bucket.endpoint);
        let way = Bucket {
            endpoint: proxy.endpoint(),
            ..bucket.clone()
        };
        let provider = build(&in_bucket(&way), &global()).unwrap();
        let (from, to) = (Key::from(KEY), Key::from("to"));
        let is_end = |line: &str| line.starts_with("POST ") && line.contains("uploadId=");
        proxy.inject((0, 1000), Fault::DropAnswer, is_end);
        block_on(async {
            put(&provider, &from, &"x".repeat(6 << 20)).await;
            assert!(
                provider
                    .duplicate_in_parts(&from, &to, Some(5 << 20))
                    .await
                    .unwrap()
            );
            assert!(proxy.count(is_end) > 0);
            let copy = provider.head(&to).await.unwrap().unwrap();
            assert_eq!(copy.size, 6 << 20);
        });
    }

    on_each_server!(
        to_the_trash_and_back,
        what_a_crash_left_half_done_is_finished,
        what_was_changed_or_taken_is_left_alone,
        between_keys_the_sidecar_goes_along,
        purged_is_gone_with_its_sidecar,
    );
}

/// It is wrong on purpose: one that was computed would be another.
#[test]
fn of_bytes_whose_sha256_is_known_that_one_is_sent() {
    block_on(async {
        let server = MockServer::start().await;
        let taken = ResponseTemplate::new(200).insert_header("etag", "\"e\"");
        Mock::given(method("PUT"))
            .respond_with(taken)
            .mount(&server)
            .await;
        let provider = provider(&server);
        let at = provider.location(&Key::from(KEY)).unwrap();
        let bytes = Bytes::from_static(b"the plan");
        let put = provider.store.put(&at, bytes.clone().into());
        with_sha256(bytes.clone(), [7; 32], put).await.unwrap();
        provider.store.put(&at, bytes.into()).await.unwrap();
        let sent = server.received_requests().await.unwrap();
        let sums = sent
            .iter()
            .map(|request| request.headers["x-amz-checksum-sha256"].clone());
        assert_eq!(
            sums.collect::<Vec<_>>(),
            [
                "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
                "qrjwb+zRwEHpo9WoYRT55SK1RpGNuFA6BF/kpCOzZCo="
            ]
        );
    });
}
