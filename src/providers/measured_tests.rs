use std::collections::BTreeSet;
use std::fs;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;

use super::super::{EntryKind, Key as ObjectKey, ListRequest, Listed, Provider, UnfinishedUpload, build};
use super::*;
use crate::config::{
    AzureConfig, Global, LocalConfig, ProviderConfig, ProviderKind, S3Config, S3Credentials,
};

#[test]
fn the_folder_of_a_key_is_that_of_its_file() {
    for (key, expected) in [
        ("permits/a.pdf", "permits"),
        ("archive/permits/a.pdf", "archive/permits"),
        (".trash/20261123T120000-00000000/permits/a.pdf", "permits"),
        (".civic/marker.json", ""),
        ("a.pdf", ""),
        ("", ""),
        ("permits/", "permits"),
    ] {
        assert_eq!(folder(key), expected, "{key}");
    }
}

/// A store in memory whose keys are below `town/`, and where it is counted.
fn store() -> (Measured, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let store = Measured {
        inner: Arc::new(InMemory::new()),
        meter: Meter {
            metrics: Arc::clone(&metrics),
            provider: "cloud".to_owned(),
            prefix: "town/".to_owned(),
        },
    };
    (store, metrics)
}

#[tokio::test]
async fn what_is_done_is_counted_and_an_answer_is_no_failure() {
    let (store, metrics) = store();
    let at = Path::from("town/permits/a");
    store.put(&at, "12345".into()).await.unwrap();
    store.get(&at).await.unwrap().bytes().await.unwrap();
    store.get(&Path::from("town/permits/b")).await.unwrap_err();
    store.head(&at).await.unwrap();
    store.copy(&at, &Path::from("town/public/a")).await.unwrap();
    store.delete(&at).await.unwrap();
    let mut upload = store.put_multipart(&at).await.unwrap();
    upload.put_part("123".into()).await.unwrap();
    upload.complete().await.unwrap();
    drop(store.put_multipart(&at).await.unwrap());
    let counted: Vec<_> = metrics
        .take()
        .into_iter()
        .map(|(key, series)| {
            assert_eq!((key.provider.as_str(), key.folder.as_str()), ("cloud", "permits"));
            (key.operation, series.count, series.failures, series.bytes)
        })
        .collect();
    let row = |operation: &str, count, failures, bytes| (operation.to_owned(), count, failures, bytes);
    assert_eq!(
        counted,
        [
            row("copy", 1, 0, 0),
            row("delete", 1, 0, 0),
            row("get", 2, 0, 5),
            row("head", 1, 0, 0),
            row("put", 3, 1, 8),
        ]
    );
}

/// What each public method of [`Provider`] is counted as, by type of provider; nothing where it asks nothing of it. A
/// method that is added has to be added here, and is called below.
const METHODS: [(&str, [&[&str]; 3]); 21] = [
    // local, s3, azure
    ("list", [&["list"]; 3]),
    ("list_between", [&[], &["list"], &[]]),
    ("head", [&["head"]; 3]),
    ("probe", [&["probe"]; 3]),
    ("unfinished_uploads", [&[], &["uploads"], &["uploads"]]),
    ("abort_upload", [&[], &["abort"], &["abort"]]),
    ("settle_upload", [&[], &[], &["settle"]]),
    ("duplicate", [&["copy"]; 3]),
    ("duplicate_in_parts", [&[], &["copy"], &[]]),
    ("settle_copy", [&[], &[], &["settle"]]),
    ("delete_seen", [&["delete"], &["put"], &["put"]]),
    ("deletes_on_condition", [&[], &["put"], &["put"]]),
    ("collect", [&["list"]; 3]),
    ("sweep", [&["sweep"], &[], &[]]),
    ("tidy", [&["tidy"], &[], &[]]),
    ("measured", [&[]; 3]),
    ("copies_at_most", [&[]; 3]),
    ("location", [&[]; 3]),
    ("outlook", [&[]; 3]),
    ("circuit", [&[]; 3]),
    ("store_error", [&[]; 3]),
];

async fn call(provider: &Provider, method: &str) {
    let (from, to) = (ObjectKey::from("permits/a"), ObjectKey::from("permits/b"));
    match method {
        "list" => drop(
            provider
                .list(ListRequest::default())
                .try_collect::<Vec<_>>()
                .await,
        ),
        "list_between" => drop(provider.list_between("permits/", (&from, &to), (2, 1)).await),
        "head" => drop(provider.head(&from).await),
        "probe" => drop(provider.probe().await),
        "unfinished_uploads" => drop(provider.unfinished_uploads().try_collect::<Vec<_>>().await),
        "abort_upload" => drop(provider.abort_upload(&upload(from)).await),
        "settle_upload" => drop(provider.settle_upload(&from).await),
        "duplicate" => {
            let at = |key| provider.location(key).unwrap();
            drop(provider.duplicate(&at(&from), &at(&to)).await);
        }
        "duplicate_in_parts" => drop(provider.duplicate_in_parts(&from, &to, None).await),
        "settle_copy" => drop(provider.settle_copy(&from, &to).await),
        "delete_seen" => drop(provider.delete_seen(&from, &seen(&from)).await),
        "deletes_on_condition" => drop(provider.deletes_on_condition().await),
        "collect" => provider.collect(".civic/probe-").await,
        "sweep" => provider.sweep().await,
        "tidy" => provider.tidy(&ObjectKey::from(".trash/run/permits/a")).await,
        "measured" => drop(provider.clone().measured(&Arc::default())),
        "copies_at_most" => drop(provider.copies_at_most()),
        "location" => drop(provider.location(&from)),
        "outlook" => drop(provider.outlook().await),
        "circuit" => drop(provider.circuit().await),
        "store_error" => drop(provider.store_error(
            "put",
            Error::NotImplemented {
                operation: String::new(),
                implementer: String::new(),
            },
        )),
        other => panic!("{other} is called nowhere"),
    }
}

fn upload(key: ObjectKey) -> UnfinishedUpload {
    UnfinishedUpload {
        key,
        id: "1".to_owned(),
        begun: None,
    }
}

fn seen(key: &ObjectKey) -> Listed {
    Listed {
        key: key.clone(),
        kind: EntryKind::Object,
        size: 1,
        last_modified: chrono::DateTime::UNIX_EPOCH,
        etag: Some("\"1\"".to_owned()),
    }
}

/// Nothing listens at port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

fn kinds(root: &std::path::Path) -> [ProviderKind; 3] {
    let s3 = S3Config {
        bucket: "town".to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(NOWHERE.to_owned()),
        credentials: Some(S3Credentials {
            access_key_id: "somebody".to_owned(),
            secret_access_key: "opensesame".to_owned().into(),
            session_token: None,
        }),
        force_path_style: true,
        use_accelerate_endpoint: false,
    };
    let azure = AzureConfig {
        account_name: "town".to_owned(),
        container_name: "files".to_owned(),
        connection_string: None,
        account_key: Some("b3BlbnNlc2FtZQ==".to_owned().into()),
        sas_token: None,
        endpoint: Some(NOWHERE.to_owned()),
        access_tier: None,
    };
    let local = LocalConfig {
        path: root.to_owned(),
    };
    [
        ProviderKind::Local(local),
        ProviderKind::S3(s3),
        ProviderKind::Azure(azure),
    ]
}

/// The names of what is counted when this method of such a provider is called; whether any of it failed.
async fn counted(kind: ProviderKind, method: &str) -> (BTreeSet<String>, bool) {
    let config = ProviderConfig {
        name: "town".to_owned(),
        enabled: true,
        kind,
        prefix: String::new(),
        aliases: Vec::new(),
    };
    let global = Global {
        retry_attempts: 0,
        ..Global::default()
    };
    let metrics = Arc::new(Metrics::default());
    let provider = build(&config, &global).unwrap().measured(&metrics);
    call(&provider, method).await;
    let counted = metrics.take();
    assert!(counted.keys().all(|key| key.provider == "town"), "{counted:?}");
    let failed = counted.values().any(|series| series.failures > 0);
    (counted.into_keys().map(|key| key.operation).collect(), failed)
}

#[tokio::test]
async fn every_method_of_a_provider_is_counted() {
    let room = tempfile::tempdir().unwrap();
    fs::create_dir(room.path().join("permits")).unwrap();
    for (method, expected) in METHODS {
        fs::write(room.path().join("permits/a"), "a").unwrap();
        for (kind, expected) in kinds(room.path()).into_iter().zip(expected) {
            let (type_name, is_local) = (kind.type_name(), matches!(kind, ProviderKind::Local(_)));
            let (names, failed) = counted(kind, method).await;
            assert!(
                names.iter().eq(expected.iter()),
                "{type_name} {method}: {names:?}"
            );
            let expected = !is_local && !names.is_empty();
            assert_eq!(
                failed, expected,
                "{type_name} {method}: failed where nobody listens"
            );
        }
    }
}

/// The names after these words, in what follows `head` as far as the end of its block, in whatever file of this room.
fn methods(head: &str, words: &[&str]) -> BTreeSet<String> {
    let room = concat!(env!("CARGO_MANIFEST_DIR"), "/src/providers");
    let files = fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path());
    let sources = files
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap());
    let mut found = BTreeSet::new();
    for source in sources {
        for block in source.split(head).skip(1) {
            let lines = block.lines().take_while(|line| *line != "}");
            found.extend(lines.filter_map(|line| {
                let line = line.strip_prefix("    ")?;
                let rest = words.iter().find_map(|word| line.strip_prefix(word))?;
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
                Some(rest[..end].to_owned())
            }));
        }
    }
    found
}

#[test]
fn no_method_of_a_provider_is_left_out_of_the_test() {
    let there = methods(
        "\nimpl Provider {\n",
        &["pub fn ", "pub async fn ", "pub const fn "],
    );
    let known: BTreeSet<String> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, there);
}

#[tokio::test]
async fn every_method_of_a_store_is_counted() {
    let mut left = methods("\nimpl ObjectStore for Measured {\n", &["fn ", "async fn "]);
    assert!(left.len() >= 10, "{left:?}");
    let (store, metrics) = store();
    let [a, b] = ["town/permits/a", "town/permits/b"].map(Path::from);
    let permits = Path::from("town/permits");
    let mut counted = |method: &str, operation: &str| {
        let names: Vec<_> = metrics
            .take()
            .into_keys()
            .map(|key| (key.operation, key.folder))
            .collect();
        assert_eq!(names, [(operation.to_owned(), "permits".to_owned())], "{method}");
        assert!(left.remove(method), "{method}");
    };
    store
        .put_opts(&a, "1".into(), PutOptions::default())
        .await
        .unwrap();
    counted("put_opts", "put");
    let mut parts = store
        .put_multipart_opts(&b, PutMultipartOptions::default())
        .await
        .unwrap();
    parts.put_part("1".into()).await.unwrap();
    parts.complete().await.unwrap();
    counted("put_multipart_opts", "put");
    let found = store.get_opts(&a, GetOptions::default()).await.unwrap();
    found.bytes().await.unwrap();
    counted("get_opts", "get");
    #[expect(clippy::single_range_in_vec_init, reason = "it is one range")]
    store.get_ranges(&a, &[0..1]).await.unwrap();
    counted("get_ranges", "get");
    store.list(Some(&permits)).try_collect::<Vec<_>>().await.unwrap();
    counted("list", "list");
    store
        .list_with_offset(Some(&permits), &a)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    counted("list_with_offset", "list");
    store.list_with_delimiter(Some(&permits)).await.unwrap();
    counted("list_with_delimiter", "list");
    store.copy_opts(&a, &b, CopyOptions::default()).await.unwrap();
    counted("copy_opts", "copy");
    store.rename_opts(&a, &b, RenameOptions::default()).await.unwrap();
    counted("rename_opts", "rename");
    let gone = store.delete_stream(futures::stream::iter([Ok(b)]).boxed());
    gone.try_collect::<Vec<_>>().await.unwrap();
    counted("delete_stream", "delete");
    assert!(left.is_empty(), "these are called nowhere: {left:?}");
}

#[tokio::test]
async fn an_upload_in_parts_that_is_given_up_is_counted_as_that() {
    let (store, metrics) = store();
    let mut parts = store.put_multipart(&Path::from("town/permits/a")).await.unwrap();
    parts.abort().await.unwrap();
    drop(parts);
    let counted = metrics.take();
    let counted: Vec<_> = counted
        .iter()
        .map(|(key, series)| (key.operation.as_str(), series.failures))
        .collect();
    assert_eq!(counted, [("abort", 0), ("put", 1)]);
}
