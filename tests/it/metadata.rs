//! The metadata room against a database that CivicPress made.

use civic_storage::metadata::sqlite::SqliteStore;
use civic_storage::metadata::{ListQuery, MetadataStore, ProviderRoots, ScanScope, UsageDimension};
use futures::StreamExt;

use crate::common::{OLD_ROOT, TestEnv};

#[tokio::test]
async fn the_real_deployment_is_read_through_its_wal_and_left_as_it_was() {
    let env = TestEnv::fixture();
    let before = env.tree();
    let store = SqliteStore::open(&env.database()).unwrap();

    let records: Vec<_> = store
        .scan(ScanScope::Under(String::new()))
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(records.len(), 66, "64 in the file and 2 that only the WAL has");
    assert!(records.is_sorted_by(|a, b| a.provider_path.as_bytes() <= b.provider_path.as_bytes()));

    let local = ProviderRoots {
        provider: "local".to_owned(),
        roots: vec![format!("{OLD_ROOT}/")],
    };
    let usage = store.usage(&[local]).await.unwrap();
    assert_eq!(
        usage
            .iter()
            .map(|row| (row.files, row.bytes))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (66, 20_096_182)
    );
    assert!(usage.iter().all(|row| row.provider.as_deref() == Some("local")));

    let page = store
        .list(&ListQuery {
            limit: 5,
            ..ListQuery::default()
        })
        .await
        .unwrap();
    assert_eq!((page.records.len(), page.total), (5, 66));
    for record in page.records {
        assert_eq!(store.get(&record.id).await.unwrap(), Some(record));
    }
    store.usage_by(UsageDimension::Month, None).await.unwrap();

    drop(store);
    assert_eq!(env.tree(), before);
}
