use super::*;

#[tokio::test]
async fn an_object_is_found_with_size_and_time() {
    let room = Room::with(&[b"permits/a.pdf"]);
    let meta = fs::metadata(room.path(b"permits/a.pdf")).unwrap();
    let found = room.head(b"permits/a.pdf").await.unwrap().unwrap();
    assert_eq!(found.kind, EntryKind::Object);
    assert_eq!(found.size, 13);
    assert_eq!(
        found.last_modified,
        DateTime::<Utc>::from(meta.modified().unwrap())
    );
    assert_eq!(room.list("").await.unwrap(), [found]);
}

#[tokio::test]
async fn what_is_not_there_is_an_answer_and_no_error() {
    let long = [b'x'; 300];
    let room = Room::with(&[b"file"]);
    fs::create_dir(room.path(b"folder")).unwrap();
    for key in [
        &b"gone"[..],
        b"folder/gone",
        b"no/such/folder",
        b"file/below",
        b"folder",
        &long,
    ] {
        assert_eq!(room.head(key).await.unwrap(), None, "{}", Key::new(key));
    }
}

#[tokio::test]
async fn a_symlink_is_never_taken_for_absence() {
    let room = Room::with(&[b"real/a"]);
    let outside = Room::with(&[b"a"]);
    room.link(outside.root(), b"out");
    room.link("real", b"inside");
    room.link("nowhere", b"dangling");
    room.link("loop", b"loop");
    room.link(outside.path(b"a"), b"real/b");
    for key in [
        &b"out/a"[..],
        b"inside/a",
        b"dangling",
        b"dangling/a",
        b"loop",
        b"loop/a",
        b"real/b",
        b"out",
    ] {
        let error = room.head(key).await.unwrap_err();
        assert!(matches!(error, ProviderError::Invalid { .. }), "{error}");
        assert!(error.to_string().contains("is a symlink"), "{error}");
    }
}

#[tokio::test]
async fn no_key_leads_out_of_the_root() {
    let room = Room::with(&[b"a"]);
    fs::write(room.dir.path().join("secret"), "x").unwrap();
    for key in [
        &b"../secret"[..],
        b"./a",
        b"",
        b"/a",
        b"a/",
        b"x//a",
        b"a\0b",
        b"x/../../secret",
    ] {
        let error = room.head(key).await.unwrap_err();
        assert!(matches!(error, ProviderError::Invalid { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_root_that_is_gone_is_an_error_not_an_absence() {
    let room = Room::new();
    let missing = |e| matches!(e, ProviderError::RootMissing { .. });
    assert!(missing(room.head(b"a").await.unwrap_err()));
    assert!(missing(room.store().probe().await.unwrap_err()));
    assert!(missing(room.list("").await.unwrap_err()));
    assert!(missing(room.list("permits/").await.unwrap_err()));
    fs::write(room.root(), "a file").unwrap();
    assert!(missing(room.head(b"a").await.unwrap_err()));
    assert!(missing(room.store().probe().await.unwrap_err()));
    assert!(missing(room.list("").await.unwrap_err()));
}

#[test]
fn a_root_that_goes_while_it_is_open_is_noticed() {
    let room = Room::with(&[b"a"]);
    let held = RootDir::open(&room.root()).unwrap();
    held.verify().unwrap();
    fs::rename(room.root(), room.dir.path().join("moved")).unwrap();
    assert!(matches!(held.verify(), Err(Fault::RootMissing)));
    fs::create_dir(room.root()).unwrap();
    assert!(matches!(held.verify(), Err(Fault::RootReplaced)));
}

#[tokio::test]
async fn a_root_reached_through_a_symlink_is_the_operators_choice() {
    let room = Room::with(&[b"a"]);
    let link = room.dir.path().join("link");
    std::os::unix::fs::symlink(room.root(), &link).unwrap();
    let store = LocalStore::new("local", &link);
    assert!(store.head(&Key::from("a")).await.unwrap().is_some());
    let listed: Vec<_> = store.list(ListRequest::default()).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test]
async fn a_fresh_file_system_is_bare_and_anything_else_is_not() {
    let room = Room::with(&[]);
    assert!(room.store().probe().await.unwrap().bare);
    fs::create_dir(room.path(b"lost+found")).unwrap();
    assert!(room.store().probe().await.unwrap().bare);
    fs::create_dir(room.path(b"permits")).unwrap();
    assert!(!room.store().probe().await.unwrap().bare);
}

#[tokio::test]
async fn a_denied_folder_is_not_an_absent_file() {
    use std::os::unix::fs::PermissionsExt;
    if !bound_by_modes("providers::local::tests::head::a_denied_folder_is_not_an_absent_file") {
        return;
    }
    let room = Room::with(&[b"closed/a"]);
    fs::set_permissions(room.path(b"closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let found = room.head(b"closed/a").await;
    fs::set_permissions(room.path(b"closed"), fs::Permissions::from_mode(0o755)).unwrap();
    let error = found.unwrap_err();
    assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("/root/closed/a"), "{error}");
}
