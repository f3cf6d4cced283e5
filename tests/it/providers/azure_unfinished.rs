//! Uploads in blocks that are given up on Azurite: their blocks go, and nothing else ever does.

mod needs_server {
    use civic_storage::providers::{Key, Provider, UnfinishedUpload, build};
    use futures::TryStreamExt;
    use object_store::{Attribute, Attributes, MultipartUpload, ObjectStoreExt, PutOptions, PutPayload};

    use super::super::{block_on, global, in_bucket};
    use crate::common::deployment::{key, uuid};
    use crate::common::{Bucket, TestEnv};

    fn provider(bucket: &Bucket) -> Provider {
        build(&in_bucket(bucket), &global()).unwrap()
    }

    /// An upload in blocks to a key, of which one has come.
    async fn begun(provider: &Provider, key: &str) -> Box<dyn MultipartUpload> {
        let at = provider.location(&Key::from(key)).unwrap();
        let mut upload = provider.store.put_multipart(&at).await.unwrap();
        upload.put_part("a block".into()).await.unwrap();
        upload
    }

    async fn put(provider: &Provider, key: &str, bytes: &str, mark: bool) {
        let at = provider.location(&Key::from(key)).unwrap();
        let mut attributes = Attributes::new();
        if mark {
            attributes.insert(Attribute::Metadata("civic_discarded".into()), "true".into());
        }
        let options = PutOptions {
            attributes,
            ..PutOptions::default()
        };
        let payload = PutPayload::from(bytes.to_owned());
        provider.store.put_opts(&at, payload, options).await.unwrap();
    }

    async fn unfinished(provider: &Provider) -> Vec<UnfinishedUpload> {
        provider.unfinished_uploads().try_collect().await.unwrap()
    }

    fn at(key: &str) -> String {
        format!("town/{key}")
    }

    #[test]
    fn an_upload_in_blocks_that_is_given_up_leaves_none() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let (key, provider) = (key("permits", 1), provider(&bucket));
        block_on(async {
            let mut upload = begun(&provider, &key).await;
            assert_eq!(bucket.names(), [at(&key)]);
            upload.abort().await.unwrap();
            assert_eq!(bucket.names(), [""; 0]);
            // Nothing was begun: nothing is made to be deleted.
            let at = provider.location(&Key::from(key.as_str())).unwrap();
            let mut upload = provider.store.put_multipart(&at).await.unwrap();
            upload.abort().await.unwrap();
            assert_eq!(bucket.names(), [""; 0]);
        });
    }

    #[test]
    fn a_blob_that_somebody_committed_stays_empty_or_not_and_is_no_unfinished_upload() {
        for bytes in ["", "a file"] {
            let Some(bucket) = TestEnv::azurite() else { return };
            let (key, provider) = (key("permits", 1), provider(&bucket));
            block_on(async {
                let mut upload = begun(&provider, &key).await;
                let seen = unfinished(&provider).await;
                assert_eq!(seen.len(), 1, "{seen:?}");
                put(&provider, &key, bytes, false).await;
                upload.put_part("a later block".into()).await.unwrap();
                let before = provider.head(&Key::from(key.as_str())).await.unwrap();
                assert_eq!(unfinished(&provider).await, []);
                assert!(!provider.abort_upload(&seen[0]).await.unwrap());
                assert!(!provider.settle_upload(&seen[0].key).await.unwrap());
                upload.abort().await.unwrap();
                assert_eq!(provider.head(&seen[0].key).await.unwrap(), before);
                assert_eq!(bucket.get(&at(&key)).unwrap(), bytes.as_bytes());
            });
        }
    }

    #[test]
    fn an_upload_is_ended_where_it_is_the_one_that_was_seen() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let (key, provider) = (key("permits", 1), provider(&bucket));
        block_on(async {
            let mut first = begun(&provider, &key).await;
            let seen = unfinished(&provider).await;
            assert_eq!(seen[0].key.as_bytes(), key.as_bytes());
            assert!(seen[0].begun.is_some(), "Azurite tells it");
            first.abort().await.unwrap();
            assert!(!provider.abort_upload(&seen[0]).await.unwrap(), "it is gone");
            let _second = begun(&provider, &key).await;
            assert!(!provider.abort_upload(&seen[0]).await.unwrap(), "another");
            let seen = unfinished(&provider).await;
            assert!(provider.abort_upload(&seen[0]).await.unwrap());
            assert_eq!(bucket.names(), [""; 0]);
        });
    }

    #[test]
    fn what_an_end_that_died_left_is_told_from_files_and_ended() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let provider = provider(&bucket);
        let [empty, left, full] = [1, 2, 3].map(|n| key("permits", n));
        let trashed = format!(".trash/run/{left}");
        block_on(async {
            put(&provider, &empty, "", false).await;
            put(&provider, &left, "", true).await;
            put(&provider, &full, "a file", true).await;
            put(&provider, &trashed, "", true).await;
            let seen = unfinished(&provider).await;
            assert_eq!(seen.len(), 1, "{seen:?}");
            assert_eq!(seen[0].key.as_bytes(), left.as_bytes());
            for key in [&empty, &full] {
                let upload = UnfinishedUpload {
                    key: Key::from(key.as_str()),
                    ..seen[0].clone()
                };
                assert!(!provider.abort_upload(&upload).await.unwrap(), "{key}");
                assert!(!provider.settle_upload(&upload.key).await.unwrap(), "{key}");
            }
            assert!(provider.abort_upload(&seen[0]).await.unwrap());
            assert_eq!(bucket.names(), [&trashed, &empty, &full].map(|key| at(key)));
        });
    }

    #[test]
    fn what_is_under_keys_of_others_is_not_looked_at() {
        let Some(bucket) = TestEnv::azurite() else { return };
        let provider = provider(&bucket);
        block_on(async {
            let _others = begun(&provider, "permits/film.mkv").await;
            let _elsewhere = begun(&provider, &format!(".trash/run/permits/a_{}.pdf", uuid(1))).await;
            assert_eq!(unfinished(&provider).await, []);
            assert_eq!(bucket.names().len(), 2);
        });
    }
}
