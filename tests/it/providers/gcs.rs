//! What only Google Cloud Storage has: keys and tokens, generations, storage classes, copies in several calls, and
//! faults in its own words; on the double that follows its published protocol.

use civic_storage::config::{ProviderConfig, ProviderKind};
use civic_storage::providers::{ProviderError, build};

use super::{gcs, global};

fn with_key(key: &str) -> ProviderConfig {
    gcs("http://127.0.0.1:1", "bucket", key)
}

#[test]
fn a_key_that_cannot_be_used_is_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.json");
    let path = file.to_str().unwrap();
    let refused = |key: &str| match build(&with_key(key), &global()) {
        Err(error @ ProviderError::Configuration { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(
        refused(path).contains("key.json cannot be read"),
        "{}",
        refused(path)
    );
    std::fs::write(&file, "hunter2").unwrap();
    assert!(
        refused(path).contains("key.json is not JSON"),
        "{}",
        refused(path)
    );
    let pem = "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----";
    let key = format!(r#"{{"private_key":"{pem}","private_key_id":"1","client_email":"a@b"}}"#);
    for text in [
        refused(&key),
        refused(r#"{"type":"authorized_user","client_secret":"hunter2"}"#),
    ] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_endpoint_or_a_bucket_that_is_none_is_refused() {
    for (endpoint, bucket) in [
        ("nonsense", "b"),
        ("ftp://host", "b"),
        ("http://127.0.0.1:1", "a/b"),
    ] {
        let mut config = with_key("/no/key");
        if let ProviderKind::Gcs(gcs) = &mut config.kind {
            gcs.endpoint = Some(endpoint.into());
            gcs.bucket = bucket.into();
        }
        let error = build(&config, &global()).unwrap_err();
        assert!(!error.to_string().contains("key"), "{error}");
    }
}

mod needs_server {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use chrono::Utc;
    use civic_storage::engine::objects::{MoveOutcome, evidence_of, move_object, purge_all};
    use civic_storage::providers::{Key, ListRequest, Provider};
    use object_store::client::ClientOptions;
    use object_store::gcp::GoogleCloudStorageBuilder;
    use object_store::path::Path;
    use object_store::{
        Attribute, Attributes, Error, GetOptions, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    };
    use serde_json::json;

    use super::super::{block_on, keys, listed};
    use super::*;
    use crate::common::{GcsBucket, Remote, TestEnv};

    fn config(bucket: &GcsBucket) -> ProviderConfig {
        gcs(&bucket.endpoint, &bucket.name, &bucket.key_file())
    }

    fn provider(bucket: &GcsBucket) -> Provider {
        build(&config(bucket), &global()).unwrap()
    }

    fn at(name: &str) -> Path {
        Path::parse(format!("town/{name}")).unwrap()
    }

    fn attributes() -> Attributes {
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::ContentType, "application/pdf".into());
        attributes.insert(Attribute::Metadata("civic-id".into()), "7".into());
        attributes
    }

    #[test]
    fn what_was_used_to_sign_is_not_in_any_debug_output() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let provider = provider(&bucket);
        block_on(provider.probe()).unwrap();
        let text = format!("{provider:?} {:?}", config(&bucket));
        for secret in ["PRIVATE", "bearer", "eyJ", "ya29"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn a_generation_is_the_etag_of_every_answer_and_of_every_condition() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let provider = provider(&bucket);
        block_on(async {
            let put = provider.store.put(&at("a"), "one".into()).await.unwrap();
            let generation = put.e_tag.unwrap();
            assert_eq!(bucket.resource("town/a")["generation"], generation);
            let seen = provider.head(&Key::from("a")).await.unwrap().unwrap();
            let (listed, _) = listed(&provider, ListRequest::default()).await;
            let got = provider.store.get(&at("a")).await.unwrap().meta;
            assert_eq!(
                [&seen.etag, &listed[0].etag, &got.e_tag],
                [&Some(generation.clone()), &seen.etag, &seen.etag]
            );
            let only = |tag: &str| GetOptions::new().with_if_match(Some(tag.to_owned()));
            let same = provider
                .store
                .get_opts(&at("a"), only(&generation))
                .await
                .unwrap();
            assert_eq!(same.bytes().await.unwrap(), Bytes::from("one"));
            provider.store.put(&at("a"), "two".into()).await.unwrap();
            let changed = provider.store.get_opts(&at("a"), only(&generation)).await;
            assert!(matches!(changed, Err(Error::Precondition { .. })), "{changed:?}");
            let now = provider.store.get(&at("a")).await.unwrap().meta.e_tag;
            let unless = GetOptions::new().with_if_none_match(now);
            let same = provider.store.get_opts(&at("a"), unless).await;
            assert!(matches!(same, Err(Error::NotModified { .. })), "{same:?}");
        });
    }

    #[test]
    fn new_objects_are_of_the_class_that_is_set_whole_or_in_parts() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let mut config = config(&bucket);
        if let ProviderKind::Gcs(gcs) = &mut config.kind {
            gcs.storage_class = Some("NEARLINE".into());
        }
        let provider = build(&config, &global()).unwrap();
        block_on(async {
            let options = PutOptions {
                attributes: attributes(),
                ..PutOptions::default()
            };
            provider
                .store
                .put_opts(&at("whole"), "x".into(), options)
                .await
                .unwrap();
            let options = PutMultipartOptions {
                attributes: attributes(),
                ..PutMultipartOptions::default()
            };
            let mut upload = provider
                .store
                .put_multipart_opts(&at("parts"), options)
                .await
                .unwrap();
            for size in [5 << 20, 3] {
                upload.put_part(vec![7; size].into()).await.unwrap();
            }
            let done = upload.complete().await.unwrap();
            assert_eq!(bucket.resource("town/parts")["generation"], done.e_tag.unwrap());
        });
        for (name, size) in [("town/whole", "1"), ("town/parts", "5242883")] {
            let stored = bucket.resource(name);
            assert_eq!(stored["storageClass"], "NEARLINE");
            assert_eq!(stored["contentType"], "application/pdf");
            assert_eq!(stored["metadata"], json!({ "civic-id": "7" }));
            assert_eq!(stored["size"], size);
        }
    }

    #[test]
    fn a_copy_goes_on_until_it_is_done_and_takes_along_what_the_object_says_of_itself() {
        let Some(bucket) = TestEnv::gcs() else { return };
        bucket.settings(&json!({ "rewriteStep": 300_000 }));
        let provider = provider(&bucket);
        let body: Vec<u8> = (0..1_000_001_u32).map(|n| n.to_le_bytes()[1]).collect();
        block_on(async {
            let mut attributes = attributes();
            attributes.insert(Attribute::StorageClass, "COLDLINE".into());
            let options = PutOptions {
                attributes,
                ..PutOptions::default()
            };
            let payload = PutPayload::from(body.clone());
            provider
                .store
                .put_opts(&at("a b"), payload, options)
                .await
                .unwrap();
            provider.store.copy(&at("a b"), &at("é/%41")).await.unwrap();
            let copied = provider.store.get(&at("é/%41")).await.unwrap();
            assert!(copied.bytes().await.unwrap() == body);
            let taken = provider.store.copy_if_not_exists(&at("a b"), &at("é/%41")).await;
            assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
            let missing = provider.store.copy(&at("none"), &at("x")).await;
            assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        });
        let copied = bucket.resource("town/é/%41");
        assert_eq!(copied["storageClass"], "COLDLINE");
        assert_eq!(copied["contentType"], "application/pdf");
        assert_eq!(copied["metadata"], json!({ "civic-id": "7" }));
        let calls = bucket.requests();
        let calls = calls.iter().filter(|one| one.contains("rewriteToken="));
        assert_eq!(calls.count(), 3, "after the first");
    }

    #[test]
    fn an_object_that_changes_while_it_is_copied_is_not_deleted() {
        let Some(bucket) = TestEnv::gcs() else { return };
        bucket.settings(&json!({ "rewriteStep": 1 }));
        bucket.faults(&json!([{ "method": "POST", "match": "rewriteToken=", "delay": 3 }]));
        let provider = provider(&bucket);
        bucket.put("town/a", b"old");
        let other = bucket.clone();
        let writer = std::thread::spawn(move || {
            while !other.requests().iter().any(|one| one.contains("rewriteToken=")) {
                std::thread::yield_now();
            }
            other.put("town/a", b"new");
        });
        block_on(async {
            let key = Key::from("a");
            let seen = evidence_of(&provider.head(&key).await.unwrap().unwrap());
            let moved = move_object(&provider, &key, &Key::from("b"), &seen).await;
            assert!(
                !matches!(moved, Ok(MoveOutcome::Moved | MoveOutcome::AlreadyThere)),
                "{moved:?}"
            );
            let left = provider.store.get(&at("a")).await.unwrap().bytes().await.unwrap();
            assert_eq!(left, Bytes::from("new"));
            assert_eq!(provider.head(&Key::from("b")).await.unwrap(), None);
        });
        writer.join().unwrap();
    }

    #[test]
    fn a_deletion_has_each_keys_own_answer() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let provider = provider(&bucket);
        for name in ["town/a", "town/b"] {
            bucket.put(name, b"x");
        }
        bucket.faults(&json!([{ "method": "DELETE", "match": "town%2Fb", "status": 403, "times": 9 }]));
        let answers = block_on(purge_all(&provider, &["a", "b", "missing"].map(Key::from)));
        let went: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(went, [true, false, true]);
        assert_eq!(block_on(keys(&provider, ListRequest::default())), ["b"]);
        let mut elsewhere = config(&bucket);
        if let ProviderKind::Gcs(gcs) = &mut elsewhere.kind {
            gcs.bucket = "no-such-bucket-anywhere".into();
        }
        let elsewhere = build(&elsewhere, &global()).unwrap();
        let answers = block_on(purge_all(&elsewhere, &["a", "b"].map(Key::from)));
        assert!(
            answers.iter().all(Result::is_err),
            "in a bucket that is not there nothing was deleted: {answers:?}"
        );
    }

    #[test]
    fn a_refusal_or_an_outage_is_never_taken_for_a_missing_object() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let provider = provider(&bucket);
        for status in [401, 403, 408, 429, 500, 503] {
            bucket.faults(&json!([{ "status": status, "times": 3 }]));
            let error = block_on(provider.head(&Key::from("a"))).unwrap_err();
            let denied = matches!(error, ProviderError::Denied { .. });
            let down = matches!(error, ProviderError::Unavailable { .. });
            assert_eq!((denied, down), (status < 404, status > 404), "{error:?}");
            let error = block_on(provider.probe()).unwrap_err();
            assert!(!matches!(error, ProviderError::RootMissing { .. }), "{error:?}");
            let error = block_on(provider.store.put(&at("a"), "x".into())).unwrap_err();
            let error = provider.store_error("upload", error);
            let denied = matches!(error, ProviderError::Denied { .. });
            assert_eq!(denied, status < 404, "{error:?}");
        }
    }

    #[test]
    fn a_listing_whose_second_page_is_cut_short_ends_with_an_error() {
        let Some(bucket) = TestEnv::gcs() else { return };
        for n in 0..1100 {
            bucket.put(&format!("town/{n:04}"), b"");
        }
        let provider = provider(&bucket);
        for fault in [
            json!({ "match": "pageToken", "cut": 500 }),
            json!({ "match": "pageToken", "status": 503 }),
        ] {
            bucket.faults(&json!([fault]));
            let (entries, error) = block_on(listed(&provider, ListRequest::default()));
            assert_eq!(entries.len(), 1000);
            assert!(
                matches!(error, Some(ProviderError::Unavailable { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_listing_is_split_by_offsets_and_comes_in_byte_order() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let all: BTreeSet<String> = ["f/a", "f/b", "f/b!", "f/b/deep", "f/é", "f a/x", "z"]
            .map(String::from)
            .into();
        for name in &all {
            bucket.put(&format!("town/{name}"), b"x");
        }
        let request = ListRequest {
            split_at: ["f/a", "f/b", "f/nothing"].map(Key::from).into(),
            ..ListRequest::default()
        };
        let seen = block_on(keys(&provider(&bucket), request));
        assert!(seen.iter().eq(&all), "{seen:?}");
        let offsets = bucket.requests();
        assert_eq!(
            offsets.iter().filter(|one| one.contains("startOffset=")).count(),
            3
        );
    }

    /// The double is worth nothing where it lets everybody in.
    #[test]
    fn only_what_the_account_signed_opens_the_double() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let signed = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&bucket.name)
            .with_base_url(&bucket.endpoint)
            .with_service_account_key(bucket.key_file())
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .build()
            .unwrap();
        let token = block_on(signed.credentials().get_credential()).unwrap();
        let [header, claims, signature]: [&str; 3] =
            token.bearer.split('.').collect::<Vec<_>>().try_into().unwrap();
        let status = |token: &str| bucket.with_token(token).object("GET", "town/a", b"").status;
        assert_eq!(status(&token.bearer), 404, "let in, and nothing there");
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("{header}.{claims}.{other}{}", &signature[1..]);
        let unsigned = format!("eyJhbGciOiJub25lIn0.{claims}.");
        let swapped = format!("{header}.{}.{signature}", &claims[..claims.len() - 2]);
        for token in [&forged, &unsigned, &swapped, "ya29.guessed", "x"] {
            assert_eq!(status(token), 401, "{token}");
        }
    }

    #[test]
    fn the_clock_is_the_providers() {
        let Some(bucket) = TestEnv::gcs() else { return };
        bucket.settings(&json!({ "clockAhead": 3600 }));
        let probe = block_on(provider(&bucket).probe()).unwrap();
        assert!((probe.now - Utc::now()).num_seconds() > 3500);
    }
}
