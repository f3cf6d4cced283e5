//! What every provider promises, asked of each on a server of its own kind. What a server does with odd keys is its
//! own affair and stands here as it was found; what it lists must be what it has.

use std::collections::BTreeSet;

use bytes::Bytes;
use chrono::Utc;
use civic_storage::config::{ProviderConfig, ProviderKind};
use civic_storage::providers::{EntryKind, Key, ListRequest, Provider, ProviderError, build};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload};
use secrecy::ExposeSecret;

use super::{block_on, gcs, global, in_bucket, keys, listed, s3};

/// A provider under test, and a way past it to put what it would not.
struct Subject {
    config: ProviderConfig,
    /// Puts at a path of the server's own (the provider's prefix included); says whether it was taken.
    put: Box<dyn Fn(&str) -> bool + Sync>,
}

impl Subject {
    fn provider(&self) -> Provider {
        build(&self.config, &global()).unwrap()
    }

    /// Puts below the provider's prefix.
    fn put(&self, key: &str) -> bool {
        (self.put)(&format!("town/{key}"))
    }

    fn put_all(&self, keys: &BTreeSet<String>) {
        let keys: Vec<&String> = keys.iter().collect();
        // rclone answers 500 to one of two requests that make a directory at once: the first makes it alone.
        keys.first()
            .iter()
            .for_each(|key| assert!(self.put(key), "{key}"));
        std::thread::scope(|scope| {
            for some in keys.chunks(keys.len().div_ceil(8)) {
                scope.spawn(move || some.iter().for_each(|key| assert!(self.put(key), "{key}")));
            }
        });
    }

    fn set(&self, keys: &[&str]) {
        self.put_all(&keys.iter().map(|key| (*key).to_owned()).collect());
    }
}

const STORED: &str = "permits/Plan_0b2f6f3e-6f0a-4d5b-9a53-0f7d8c1e2a34.pdf";

fn bytes_go_in_and_come_out(subject: &Subject) {
    block_on(async {
        let provider = subject.provider();
        let key = Key::from(STORED);
        let at = provider.location(&key).unwrap();
        let before = Utc::now();
        provider
            .store
            .put(&at, PutPayload::from_static(b"hello world"))
            .await
            .unwrap();

        let whole = provider.store.get(&at).await.unwrap().bytes().await.unwrap();
        assert_eq!(whole, Bytes::from_static(b"hello world"));
        let seen = provider.head(&key).await.unwrap().unwrap();
        assert_eq!((&seen.key, seen.size, seen.kind), (&key, 11, EntryKind::Object));
        let age = seen.last_modified - before;
        assert!(age.num_seconds().abs() <= 2, "{age}");
        assert_eq!(provider.store.head(&at).await.unwrap().size, 11);

        let copy = provider.location(&Key::from("permits/copy")).unwrap();
        provider.store.copy(&at, &copy).await.unwrap();
        let copied = provider.store.get(&copy).await.unwrap().bytes().await.unwrap();
        assert_eq!(copied, whole);

        provider.store.delete(&at).await.unwrap();
        assert_eq!(provider.head(&key).await.unwrap(), None);
        assert_eq!(keys(&provider, ListRequest::default()).await, ["permits/copy"]);
    });
}

/// Bytes 6 to 10 of `hello world`, as the provider gives them.
fn a_part_of_an_object(subject: &Subject) -> object_store::Result<Bytes> {
    block_on(async {
        let provider = subject.provider();
        let at = provider.location(&Key::from(STORED)).unwrap();
        provider
            .store
            .put(&at, PutPayload::from_static(b"hello world"))
            .await
            .unwrap();
        let part = GetOptions {
            range: Some(GetRange::Bounded(6..11)),
            ..GetOptions::default()
        };
        provider.store.get_opts(&at, part).await?.bytes().await
    })
}

fn a_listing_shows_what_a_head_shows(subject: &Subject) {
    subject.set(&["a.txt", "permits/é x.pdf", "permits/b+%41#1", "public/c"]);
    block_on(async {
        let provider = subject.provider();
        let (entries, error) = listed(&provider, ListRequest::default()).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let head = provider.head(&entry.key).await.unwrap().unwrap();
            assert_eq!(
                (head.size, head.kind),
                (entry.size, entry.kind),
                "{:?}",
                entry.key
            );
            let bare = |etag: Option<String>| etag.map(|e| e.trim_matches('"').to_owned());
            assert_eq!(bare(head.etag), bare(entry.etag));
            assert_eq!(head.last_modified.timestamp(), entry.last_modified.timestamp());
        }
        let request = ListRequest {
            prefix: "permits/".into(),
            ..ListRequest::default()
        };
        assert_eq!(
            keys(&provider, request).await,
            ["permits/b+%41#1", "permits/é x.pdf"]
        );
        let request = ListRequest {
            prefix: "none/".into(),
            ..ListRequest::default()
        };
        assert_eq!(keys(&provider, request).await, [""; 0]);
    });
}

fn a_prefix_ends_at_a_slash(subject: &Subject) {
    subject.set(&["permits/a", "permits-old/b"]);
    assert!((subject.put)("townhall/permits/c"));
    assert!((subject.put)("town2"));
    block_on(async {
        let provider = subject.provider();
        let mut seen = keys(&provider, ListRequest::default()).await;
        seen.sort();
        assert_eq!(seen, ["permits-old/b", "permits/a"]);
        let request = ListRequest {
            prefix: "permits".into(),
            ..ListRequest::default()
        };
        let (_, error) = listed(&provider, request).await;
        assert!(matches!(error, Some(ProviderError::Invalid { .. })), "{error:?}");
    });
}

fn thousands_come_whole_split_or_not(subject: &Subject) {
    let mut all: BTreeSet<String> = (0..2_300).map(|n| format!("permits/{n:05}.pdf")).collect();
    all.extend(
        [
            "public/a",
            "permits/00500/deeper",
            "permits x/y",
            "root.txt",
            "permits/00600 ",
        ]
        .map(String::from),
    );
    subject.put_all(&all);
    block_on(async {
        let provider = subject.provider();
        let mut whole = keys(&provider, ListRequest::default()).await;
        whole.sort();
        assert!(whole.iter().eq(&all));
        let split_at: Vec<Key> = (1..12)
            .map(|n| Key::from(format!("permits/{:05}.pdf", n * 200).as_str()))
            .collect();
        let request = ListRequest {
            split_at,
            ..ListRequest::default()
        };
        let mut split = keys(&provider, request).await;
        split.sort();
        assert!(split.iter().eq(&all));
    });
}

fn nothing_there_is_told_from_no_answer(subject: &Subject) {
    block_on(async {
        let provider = subject.provider();
        assert!(provider.probe().await.unwrap().bare);
        assert_eq!(keys(&provider, ListRequest::default()).await, [""; 0]);
        assert_eq!(provider.head(&Key::from(STORED)).await.unwrap(), None);
    });
    subject.set(&["permits/a"]);
    block_on(async {
        let probe = subject.provider().probe().await.unwrap();
        assert!(!probe.bare);
        assert!((probe.now - Utc::now()).num_seconds().abs() <= 2);
        assert_eq!(
            subject.provider().head(&Key::from("permits")).await.unwrap(),
            None,
            "a folder is no object"
        );
    });
}

/// What every question answers of a provider that cannot be reached as configured.
fn every_question_fails(config: &ProviderConfig, as_it_should: fn(&ProviderError) -> bool) {
    block_on(async {
        let provider = build(config, &global()).unwrap();
        let (entries, error) = listed(&provider, ListRequest::default()).await;
        assert_eq!(entries, []);
        let split_at = vec![Key::from("a/b")];
        let (_, split) = listed(
            &provider,
            ListRequest {
                split_at,
                ..ListRequest::default()
            },
        )
        .await;
        let errors = [
            error.unwrap(),
            split.unwrap(),
            provider.probe().await.unwrap_err(),
            provider.head(&Key::from(STORED)).await.unwrap_err(),
        ];
        for error in errors {
            assert!(as_it_should(&error), "{error:?}");
            let text = format!("{error:?}");
            assert!(!text.contains("secret") && !text.contains("PRIVATE"), "{error:?}");
        }
    });
}

/// Keys as they are put, and how the server then lists them; `None` where it refuses them. Whole keys, prefix
/// included.
type OddKeys<'a> = [(&'a str, Option<&'a str>)];

fn odd_keys_are_listed_as_the_server_has_them(subject: &Subject, odd: &OddKeys<'_>) {
    let mut expected = BTreeSet::new();
    for (key, listed) in odd {
        assert_eq!((subject.put)(&format!("town/{key}")), listed.is_some(), "{key:?}");
        expected.extend(listed.map(str::to_owned));
    }
    let mut seen = block_on(keys(&subject.provider(), ListRequest::default()));
    seen.sort();
    assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
}

/// A key of 1,024 bytes with the prefix.
fn longest() -> String {
    format!("{}{}", format!("{}/", "d".repeat(200)).repeat(5), "n".repeat(14))
}

fn without_bucket(config: &ProviderConfig) -> ProviderConfig {
    let mut config = config.clone();
    match &mut config.kind {
        ProviderKind::S3(s3) => s3.bucket = "no-such-bucket-anywhere".into(),
        ProviderKind::Azure(azure) => azure.container_name = "no-such-bucket-anywhere".into(),
        ProviderKind::Gcs(gcs) => gcs.bucket = "no-such-bucket-anywhere".into(),
        other @ ProviderKind::Local(_) => panic!("{other:?} has no bucket"),
    }
    config
}

/// Somebody whom the server does not know: another secret, or a key whose account is another's.
fn as_a_stranger(config: &ProviderConfig) -> ProviderConfig {
    let mut config = config.clone();
    match &mut config.kind {
        ProviderKind::S3(s3) => {
            s3.credentials.as_mut().unwrap().secret_access_key = "another-secret".to_owned().into();
        }
        ProviderKind::Azure(azure) => azure.account_key = Some("c2VjcmV0".to_owned().into()),
        ProviderKind::Gcs(gcs) => {
            let key = gcs.service_account_key.as_ref().unwrap().expose_secret();
            let other = key.replace("\"civic@", "\"another@");
            assert_ne!(key, other);
            gcs.service_account_key = Some(other.into());
        }
        other @ ProviderKind::Local(_) => panic!("{other:?} has no secret"),
    }
    config
}

mod local {
    use std::path::Path;

    use civic_storage::config::LocalConfig;

    use super::*;

    /// The root is `town` in a directory where `townhall` may stand beside it.
    fn subject(dir: &Path) -> Subject {
        std::fs::create_dir(dir.join("town")).unwrap();
        let path = dir.join("town");
        let beside = dir.to_owned();
        Subject {
            config: ProviderConfig {
                prefix: String::new(),
                kind: ProviderKind::Local(LocalConfig { path }),
                ..s3("http://127.0.0.1:1", "", "")
            },
            put: Box::new(move |key| {
                let path = beside.join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "hello").is_ok()
            }),
        }
    }

    macro_rules! on_disk {
        ($($check:ident),* $(,)?) => { $(
            #[test]
            fn $check() {
                let dir = tempfile::tempdir().unwrap();
                super::$check(&subject(dir.path()));
            }
        )* };
    }

    on_disk!(
        bytes_go_in_and_come_out,
        a_listing_shows_what_a_head_shows,
        a_prefix_ends_at_a_slash,
        thousands_come_whole_split_or_not,
        nothing_there_is_told_from_no_answer,
    );

    #[test]
    fn a_range_is_that_part_of_the_object() {
        let dir = tempfile::tempdir().unwrap();
        let part = a_part_of_an_object(&subject(dir.path())).unwrap();
        assert_eq!(part, Bytes::from_static(b"world"));
    }

    #[test]
    fn a_missing_root_is_a_missing_root() {
        let dir = tempfile::tempdir().unwrap();
        let config = subject(dir.path()).config;
        std::fs::remove_dir(dir.path().join("town")).unwrap();
        every_question_fails(&config, |e| matches!(e, ProviderError::RootMissing { .. }));
    }
}

mod needs_server {
    use super::*;
    use crate::common::{Bucket, GcsBucket, TestEnv};

    fn on_gcs(bucket: GcsBucket) -> Subject {
        Subject {
            config: gcs(&bucket.endpoint, &bucket.name, &bucket.key_file()),
            put: Box::new(move |key| bucket.try_put(key, b"hello")),
        }
    }

    fn subject(bucket: Bucket) -> Subject {
        Subject {
            config: in_bucket(&bucket),
            put: Box::new(move |key| bucket.try_put(key, "hello")),
        }
    }

    /// Runs a check on a fresh bucket of each server, where there is one.
    macro_rules! on_each_server {
        ($($check:ident),* $(,)?) => { $(
            mod $check {
                use super::*;

                #[test]
                fn seaweed() {
                    let Some(bucket) = TestEnv::seaweed() else { return };
                    super::super::$check(&subject(bucket));
                }

                #[test]
                fn rclone() {
                    let Some(bucket) = TestEnv::rclone() else { return };
                    super::super::$check(&subject(bucket));
                }

                #[test]
                fn azurite() {
                    let Some(bucket) = TestEnv::azurite() else { return };
                    super::super::$check(&subject(bucket));
                }

                #[test]
                fn gcs() {
                    let Some(bucket) = TestEnv::gcs() else { return };
                    super::super::$check(&on_gcs(bucket));
                }
            }
        )* };
    }

    on_each_server!(
        bytes_go_in_and_come_out,
        a_listing_shows_what_a_head_shows,
        a_prefix_ends_at_a_slash,
        thousands_come_whole_split_or_not,
        nothing_there_is_told_from_no_answer,
        a_missing_bucket_is_a_missing_root,
        a_stranger_is_refused,
    );

    #[test]
    fn a_range_is_that_part_of_the_object() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        assert_eq!(
            a_part_of_an_object(&subject(bucket)).unwrap(),
            Bytes::from_static(b"world")
        );
    }

    #[test]
    fn a_range_is_that_part_of_the_object_on_gcs() {
        let Some(bucket) = TestEnv::gcs() else { return };
        assert_eq!(
            a_part_of_an_object(&on_gcs(bucket)).unwrap(),
            Bytes::from_static(b"world")
        );
    }

    #[test]
    fn a_range_is_that_part_of_the_object_on_azurite() {
        let Some(bucket) = TestEnv::azurite() else { return };
        assert_eq!(
            a_part_of_an_object(&subject(bucket)).unwrap(),
            Bytes::from_static(b"world")
        );
    }

    /// rclone answers a range with the part, and with the status of the whole.
    #[test]
    fn a_part_that_claims_to_be_the_whole_is_an_error() {
        let Some(bucket) = TestEnv::rclone() else { return };
        a_part_of_an_object(&subject(bucket)).unwrap_err();
    }

    #[test]
    fn odd_keys_on_seaweed() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let longest = longest();
        let odd = [
            ("a b/x", Some("a b/x")),
            ("a/b", Some("a/b")),
            ("tab\tx", Some("tab\tx")),
            ("nl\nx", Some("nl\nx")),
            ("cr\rx", Some("cr\rx")),
            ("ctl\u{1}x", Some("ctl\u{1}x")),
            ("pct%2Fx", Some("pct%2Fx")),
            ("plus+x", Some("plus+x")),
            ("<&>\"'", Some("<&>\"'")),
            ("x#1", Some("x#1")),
            ("é😀", Some("é😀")),
            ("marker/", Some("marker/")),
            (longest.as_str(), Some(longest.as_str())),
            ("double//slash", Some("double/slash")),
            ("/leading", Some("leading")),
            ("back\\slash", Some("back/slash")),
            ("dot/./x", None),
            ("up/../x", None),
        ];
        odd_keys_are_listed_as_the_server_has_them(&subject(bucket), &odd);
    }

    /// Control characters are left out: rclone shows them as they were put until it reads the directory again, and
    /// as the pictures it keeps them under (`␉`) from then on.
    #[test]
    fn odd_keys_on_rclone() {
        let Some(bucket) = TestEnv::rclone() else { return };
        let longest = longest();
        let odd = [
            ("a b/x", Some("a b/x")),
            ("a/b", Some("a/b")),
            ("pct%2Fx", Some("pct%2Fx")),
            ("plus+x", Some("plus+x")),
            ("<&>\"'", Some("<&>\"'")),
            ("x#1", Some("x#1")),
            ("é😀", Some("é😀")),
            ("back\\slash", Some("back\\slash")),
            (longest.as_str(), Some(longest.as_str())),
            ("double//slash", None),
            ("/leading", None),
            ("dot/./x", None),
            ("up/../x", None),
        ];
        odd_keys_are_listed_as_the_server_has_them(&subject(bucket), &odd);
    }

    /// What XML cannot hold is left out: Azure encodes such names, Azurite answers 500 to a listing of them.
    #[test]
    fn odd_keys_on_azurite() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let longest = longest();
        let odd = [
            ("a b/x", Some("a b/x")),
            ("a/b", Some("a/b")),
            ("tab\tx", Some("tab\tx")),
            ("nl\nx", Some("nl\nx")),
            ("cr\rx", Some("cr\rx")),
            ("pct%2Fx", Some("pct%2Fx")),
            ("plus+x", Some("plus+x")),
            ("<&>\"'", Some("<&>\"'")),
            ("x#1", Some("x#1")),
            ("é😀", Some("é😀")),
            ("marker/", Some("marker/")),
            (longest.as_str(), Some(longest.as_str())),
            ("double//slash", Some("double//slash")),
            ("/leading", Some("/leading")),
            ("back\\slash", Some("back/slash")),
            ("dot/.x/x.", Some("dot/.x/x.")),
        ];
        odd_keys_are_listed_as_the_server_has_them(&subject(bucket), &odd);
    }

    #[test]
    fn odd_keys_on_gcs() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let longest = longest();
        let taken = [
            "a b/x",
            "a/b",
            "tab\tx",
            "ctl\u{1}x",
            "del\u{7f}\u{9f}x",
            "pct%2Fx",
            "plus+x",
            "<&>\"'",
            "x#1",
            "é😀",
            "marker/",
            "double//slash",
            "/leading",
            "back\\slash",
            "dot/./x",
            "up/../x",
            "question?y=1",
            "..",
            longest.as_str(),
        ];
        let mut odd: Vec<(&str, Option<&str>)> = taken.iter().map(|key| (*key, Some(*key))).collect();
        odd.extend([("nl\nx", None), ("cr\rx", None)]);
        odd_keys_are_listed_as_the_server_has_them(&on_gcs(bucket), &odd);
    }

    #[test]
    fn seaweed_lists_directory_by_directory_and_rclone_by_bytes() {
        let names = ["f/a b", "f/a/b", "f/a-c"];
        if let Some(bucket) = TestEnv::seaweed() {
            let subject = subject(bucket);
            subject.set(&names);
            let seen = block_on(keys(&subject.provider(), ListRequest::default()));
            assert_eq!(seen, ["f/a/b", "f/a b", "f/a-c"]);
        }
        if let Some(bucket) = TestEnv::rclone() {
            let subject = subject(bucket);
            subject.set(&names);
            let seen = block_on(keys(&subject.provider(), ListRequest::default()));
            assert_eq!(seen, ["f/a b", "f/a-c", "f/a/b"]);
        }
    }
}

fn a_missing_bucket_is_a_missing_root(subject: &Subject) {
    every_question_fails(&without_bucket(&subject.config), |e| {
        matches!(e, ProviderError::RootMissing { .. })
    });
}

fn a_stranger_is_refused(subject: &Subject) {
    every_question_fails(&as_a_stranger(&subject.config), |e| {
        matches!(e, ProviderError::Denied { .. })
    });
}
