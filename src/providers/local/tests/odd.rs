//! Names and things that no well-behaved program would leave in a storage directory.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn every_name_the_disk_takes_comes_out_byte_for_byte() {
    let long = [b'n'; 255];
    let keys: [&[u8]; 9] = [
        b"new\nline",
        b"tab\there",
        b"x#1",
        b"x#123",
        b"caf\xc3\xa9",
        b"not\xff\xfeutf8/\x80",
        b"100%~ {[`",
        b"\\..",
        &long,
    ];
    let room = Room::with(&keys);
    let listed = room.list("").await.unwrap();
    let mut expected: Vec<_> = keys.map(Key::new).into();
    expected.sort();
    assert_eq!(listed.iter().map(|l| l.key.clone()).collect::<Vec<_>>(), expected);
    for entry in listed {
        assert_eq!(room.head(entry.key.as_bytes()).await.unwrap(), Some(entry));
    }
}

#[tokio::test]
async fn what_is_no_file_is_listed_as_special_and_never_followed_or_opened() {
    let room = Room::with(&[b"file", b"folder/a"]);
    let outside = Room::with(&[b"secret"]);
    room.link("nowhere", b"dangling");
    room.link("loop", b"loop");
    room.link(outside.root(), b"out");
    room.link("folder", b"inside");
    room.link(".", b"itself");
    let fifo = FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, room.path(b"pipe"), fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(room.path(b"socket")).unwrap();

    let listed = room.list("").await.unwrap();
    let of = |kind| -> Vec<_> {
        let those = listed.iter().filter(|l| l.kind == kind);
        those.map(|l| l.key.to_string()).collect()
    };
    assert_eq!(of(EntryKind::Object), ["file", "folder/a"]);
    assert_eq!(
        of(EntryKind::Special),
        ["dangling", "inside", "itself", "loop", "out", "pipe", "socket"]
    );
    assert_eq!(
        room.head(b"pipe").await.unwrap().unwrap().kind,
        EntryKind::Special
    );
}

#[tokio::test]
async fn a_folder_that_is_a_symlink_cannot_be_listed_as_if_it_were_empty() {
    let room = Room::with(&[b"real/a"]);
    room.link("real", b"permits");
    let error = room.list("permits/").await.unwrap_err();
    assert!(
        error.to_string().contains("/root/permits is a symlink"),
        "{error}"
    );
}

#[tokio::test]
async fn an_unreadable_directory_ends_the_listing_and_is_named() {
    let test = "providers::local::tests::odd::an_unreadable_directory_ends_the_listing_and_is_named";
    if !bound_by_modes(test) {
        return;
    }
    // Not readable, and readable without the right to look at what it holds.
    for mode in [0o000, 0o300, 0o400] {
        let room = Room::with(&[b"a", b"closed/b", b"d"]);
        fs::set_permissions(room.path(b"closed"), fs::Permissions::from_mode(mode)).unwrap();
        let outcome = room.list("").await;
        fs::set_permissions(room.path(b"closed"), fs::Permissions::from_mode(0o755)).unwrap();
        let error = outcome.unwrap_err();
        assert!(matches!(error, ProviderError::Denied { .. }), "{error}");
        assert!(error.to_string().contains("/root/closed"), "{error}");
    }
}

#[tokio::test]
async fn the_file_systems_own_lost_and_found_stops_nothing() {
    let test = "providers::local::tests::odd::the_file_systems_own_lost_and_found_stops_nothing";
    if !bound_by_modes(test) {
        return;
    }
    let room = Room::with(&[b"a", b"lost+found/x", b"z", b"sub/lost+found/y"]);
    fs::set_permissions(room.path(b"lost+found"), fs::Permissions::from_mode(0o000)).unwrap();
    let below = room.path(b"sub/lost+found");
    let top = room.keys("").await;
    fs::set_permissions(&below, fs::Permissions::from_mode(0o000)).unwrap();
    let nested = room.list("").await;
    fs::set_permissions(&below, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(room.path(b"lost+found"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(top, ["a", "sub/lost+found/y", "z"]);
    assert!(matches!(nested, Err(ProviderError::Denied { .. })), "{nested:?}");
}
