//! The local provider through object_store's trait.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use bytes::Bytes;
use object_store::path::Path as Location;
use object_store::{
    Attribute, Attributes, CopyMode, CopyOptions, Error, GetOptions, GetRange, MultipartUpload, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, RenameOptions, RenameTargetMode,
};

use super::*;

fn at(key: &str) -> Location {
    Location::parse(key).unwrap()
}

async fn get(store: &LocalStore, key: &str) -> object_store::Result<Bytes> {
    store.get(&at(key)).await?.bytes().await
}

async fn ranged(store: &LocalStore, key: &str, range: GetRange) -> object_store::Result<Bytes> {
    let options = GetOptions::new().with_range(Some(range));
    store.get_opts(&at(key), options).await?.bytes().await
}

/// No temporary file, finished or not, is left.
fn nothing_unfinished(room: &Room) -> bool {
    fs::read_dir(room.path(b".civic/tmp")).is_ok_and(|mut entries| entries.next().is_none())
}

#[tokio::test]
async fn what_is_put_is_got_whole_and_in_part() {
    let room = Room::with(&[]);
    let store = room.store();
    let bytes: Vec<u8> = (0..700_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let put = store.put(&at("permits/a"), bytes.clone().into()).await.unwrap();
    assert_eq!(get(&store, "permits/a").await.unwrap(), bytes);
    let bounded = ranged(&store, "permits/a", GetRange::Bounded(300_000..300_010))
        .await
        .unwrap();
    assert_eq!(bounded, bytes[300_000..300_010]);
    assert_eq!(
        ranged(&store, "permits/a", GetRange::Offset(699_990))
            .await
            .unwrap(),
        bytes[699_990..]
    );
    assert_eq!(
        ranged(&store, "permits/a", GetRange::Suffix(3)).await.unwrap(),
        bytes[699_997..]
    );
    assert_eq!(
        ranged(&store, "permits/a", GetRange::Bounded(699_998..u64::MAX))
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(
        ranged(&store, "permits/a", GetRange::Offset(700_000))
            .await
            .is_err()
    );
    let parts = store.get_ranges(&at("permits/a"), &[5..7, 0..1]).await.unwrap();
    assert_eq!(parts, [&bytes[5..7], &bytes[0..1]]);
    let head = ObjectStoreExt::head(&store, &at("permits/a")).await.unwrap();
    assert_eq!((head.size, head.e_tag), (700_000, put.e_tag));
    assert!(nothing_unfinished(&room));
}

#[tokio::test]
async fn conditions_are_kept() {
    let room = Room::with(&[b"a"]);
    let store = room.store();
    let etag = ObjectStoreExt::head(&store, &at("a")).await.unwrap().e_tag;
    let matching = GetOptions::new().with_if_match(etag.clone());
    store.get_opts(&at("a"), matching.clone()).await.unwrap();
    let unless = GetOptions::new().with_if_none_match(etag);
    let error = store.get_opts(&at("a"), unless).await.unwrap_err();
    assert!(matches!(error, Error::NotModified { .. }), "{error}");
    store.put(&at("a"), PutPayload::from_static(b"b")).await.unwrap();
    let error = store.get_opts(&at("a"), matching).await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
}

#[tokio::test]
async fn create_never_replaces_and_overwrite_does() {
    let room = Room::with(&[]);
    let store = room.store();
    let put = |bytes: &'static [u8], mode| {
        let options = PutOptions {
            mode,
            ..PutOptions::default()
        };
        let store = store.clone();
        async move {
            store
                .put_opts(&at("x/a"), PutPayload::from_static(bytes), options)
                .await
        }
    };
    put(b"first", PutMode::Create).await.unwrap();
    let error = put(b"second", PutMode::Create).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(get(&store, "x/a").await.unwrap(), "first");
    put(b"third", PutMode::Overwrite).await.unwrap();
    assert_eq!(get(&store, "x/a").await.unwrap(), "third");
    assert!(nothing_unfinished(&room));
}

#[tokio::test]
async fn of_many_that_create_one_key_at_once_exactly_one_succeeds() {
    let room = Room::with(&[]);
    let puts = (0..8_u8).map(|i| {
        let store = room.store();
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        async move {
            store
                .put_opts(&at("new/a"), vec![i].into(), options)
                .await
                .is_ok()
        }
    });
    let won: Vec<bool> = futures::future::join_all(puts).await;
    assert_eq!(won.iter().filter(|w| **w).count(), 1);
}

#[tokio::test]
async fn attributes_are_no_error() {
    let room = Room::with(&[]);
    let attributes = Attributes::from_iter([(Attribute::ContentType, "text/plain")]);
    let options = PutOptions {
        attributes,
        ..PutOptions::default()
    };
    room.store()
        .put_opts(&at("a"), PutPayload::new(), options)
        .await
        .unwrap();
    assert_eq!(fs::read(room.path(b"a")).unwrap(), b"");
}

#[tokio::test]
async fn what_is_absent_is_not_found_and_an_absent_root_is_not() {
    let room = Room::with(&[b"folder/a"]);
    let store = room.store();
    for key in ["gone", "folder", "no/folder", "folder/a/b"] {
        let error = get(&store, key).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        let error = store.delete(&at(key)).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
    fs::rename(room.root(), room.dir.path().join("moved")).unwrap();
    let error = get(&store, "folder/a").await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error}");
    let error = store.put(&at("a"), PutPayload::new()).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert!(!room.root().exists(), "a missing root is never made");
}

#[tokio::test]
async fn no_symlink_leads_out_of_the_root_whatever_is_asked() {
    let room = Room::with(&[b"own"]);
    let outside = Room::with(&[b"secret"]);
    room.link(outside.root(), b"out");
    room.link(outside.path(b"secret"), b"file");
    room.link(outside.path(b"new"), b"dangling");
    let store = room.store();
    for key in ["out/secret", "file", "dangling"] {
        get(&store, key).await.unwrap_err();
        store
            .put(&at(key), PutPayload::from_static(b"x"))
            .await
            .unwrap_err();
        store.delete(&at(key)).await.unwrap_err();
        store.copy(&at("own"), &at(key)).await.unwrap_err();
        store.copy(&at(key), &at("copied")).await.unwrap_err();
        store.rename(&at(key), &at("renamed")).await.unwrap_err();
        store.rename(&at("own"), &at(key)).await.unwrap_err();
        let mut upload = store.put_multipart(&at(key)).await.unwrap();
        upload.complete().await.unwrap_err();
    }
    assert_eq!(fs::read(outside.path(b"secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(outside.root()).unwrap().count(), 1);
    assert_eq!(fs::read(room.path(b"own")).unwrap(), b"own");
    assert!(fs::symlink_metadata(room.path(b"dangling")).unwrap().is_symlink());
}

#[tokio::test]
async fn special_files_are_neither_opened_nor_removed() {
    let room = Room::with(&[]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, room.path(b"pipe"), FileType::Fifo, mode, 0).unwrap();
    let store = room.store();
    get(&store, "pipe").await.unwrap_err();
    store.delete(&at("pipe")).await.unwrap_err();
    store.put(&at("pipe"), PutPayload::new()).await.unwrap_err();
    assert!(room.path(b"pipe").exists());
}

#[tokio::test]
async fn a_copy_is_a_file_of_its_own() {
    let room = Room::with(&[b"a", b"taken"]);
    let store = room.store();
    store.copy(&at("a"), &at("b/c")).await.unwrap();
    fs::write(room.path(b"a"), "changed").unwrap();
    assert_eq!(fs::read(room.path(b"b/c")).unwrap(), b"a");
    assert_eq!(fs::metadata(room.path(b"b/c")).unwrap().nlink(), 1);
    let create = CopyOptions::new().with_mode(CopyMode::Create);
    let error = store.copy_opts(&at("a"), &at("taken"), create).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
}

#[tokio::test]
async fn a_rename_moves_and_replaces_only_where_it_may() {
    let room = Room::with(&[b"a", b"taken"]);
    let store = room.store();
    let create = || RenameOptions::new().with_target_mode(RenameTargetMode::Create);
    let error = store
        .rename_opts(&at("a"), &at("taken"), create())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    store.rename_opts(&at("a"), &at("new/b"), create()).await.unwrap();
    assert_eq!(room.keys("").await, ["new/b", "taken"]);
    store.rename(&at("new/b"), &at("taken")).await.unwrap();
    assert_eq!(get(&store, "taken").await.unwrap(), "a");
    let error = store.rename(&at("gone"), &at("x")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn parts_land_in_the_order_they_were_handed_in() {
    let room = Room::with(&[]);
    let store = room.store();
    let mut upload = store.put_multipart(&at("big/a")).await.unwrap();
    let first = upload.put_part(vec![1; 70_000].into());
    let second = upload.put_part(vec![2; 10].into());
    second.await.unwrap();
    assert!(
        ObjectStoreExt::head(&store, &at("big/a")).await.is_err(),
        "nothing shows before the end"
    );
    first.await.unwrap();
    upload.complete().await.unwrap();
    let expected = [vec![1; 70_000], vec![2; 10]].concat();
    assert_eq!(get(&store, "big/a").await.unwrap(), expected);
    assert!(nothing_unfinished(&room));
}

#[tokio::test]
async fn an_upload_that_ends_early_leaves_nothing() {
    let room = Room::with(&[]);
    let store = room.store();
    let begin = || async { store.put_multipart(&at("a")).await.unwrap() };
    let mut aborted: Box<dyn MultipartUpload> = begin().await;
    aborted.put_part(vec![1; 10].into()).await.unwrap();
    aborted.abort().await.unwrap();
    let mut dropped = begin().await;
    dropped.put_part(vec![1; 10].into()).await.unwrap();
    drop(dropped);
    let mut holed = begin().await;
    drop(holed.put_part(vec![1; 10].into()));
    let error = holed.complete().await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert!(nothing_unfinished(&room));
    assert_eq!(room.keys("").await, [""; 0]);
}

#[tokio::test]
async fn a_delete_of_many_answers_for_each() {
    let room = Room::with(&[b"a", b"b"]);
    let keys = futures::stream::iter(["a", "gone", "b"].map(|k| Ok(at(k)))).boxed();
    let outcomes: Vec<_> = room.store().delete_stream(keys).collect().await;
    let ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
    assert_eq!(room.keys("").await, [""; 0]);
}

#[tokio::test]
async fn listings_show_finished_objects_and_folders_that_hold_some() {
    let room = Room::with(&[b"a", b"f/b", b"f/g/c", b"x#1", b"tab\there"]);
    room.link("a", b"link");
    fs::create_dir_all(room.path(b"empty/inside")).unwrap();
    let store = room.store();
    let _unfinished = store.put_multipart(&at("later")).await.unwrap();
    let names = |metas: Vec<object_store::ObjectMeta>| -> Vec<String> {
        metas.into_iter().map(|m| m.location.to_string()).collect()
    };
    let all = ObjectStore::list(&store, None).try_collect().await.unwrap();
    assert_eq!(names(all), ["a", "f/b", "f/g/c", "x#1"]);
    let below = ObjectStore::list(&store, Some(&at("f")))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names(below), ["f/b", "f/g/c"]);
    let after = store
        .list_with_offset(None, &at("f/b"))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(names(after), ["f/g/c", "x#1"]);
    let top = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, [at("f")]);
    assert_eq!(names(top.objects), ["a", "x#1"]);
    let folder = store.list_with_delimiter(Some(&at("f"))).await.unwrap();
    assert_eq!(folder.common_prefixes, [at("f/g")]);
    assert_eq!(names(folder.objects), ["f/b"]);
    assert!(
        store
            .list_with_delimiter(Some(&at("none")))
            .await
            .unwrap()
            .objects
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_made_gets_the_mode_and_owner_of_the_directory_above() {
    let room = Room::with(&[]);
    fs::create_dir(room.path(b"town")).unwrap();
    fs::set_permissions(room.path(b"town"), fs::Permissions::from_mode(0o2770)).unwrap();
    let may_give = rustix::process::geteuid().is_root();
    if may_give {
        std::os::unix::fs::chown(room.path(b"town"), Some(12_345), Some(23_456)).unwrap();
        fs::set_permissions(room.path(b"town"), fs::Permissions::from_mode(0o2770)).unwrap();
    }
    room.store()
        .put(&at("town/new/a"), PutPayload::new())
        .await
        .unwrap();
    let of = |key: &[u8]| fs::metadata(room.path(key)).unwrap();
    assert_eq!(of(b"town/new").mode() & 0o7777, 0o2770);
    assert_eq!(of(b"town/new/a").mode() & 0o7777, 0o660);
    let above = of(b"town");
    for made in [of(b"town/new"), of(b"town/new/a")] {
        assert_eq!((made.uid(), made.gid()), (above.uid(), above.gid()));
    }
}
