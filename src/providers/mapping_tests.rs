use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Roots of every kind of provider, none within another.
const ROOTS: [&str; 6] = [
    "/srv/town",
    "/srv/town hall/storage",
    "/srv/日本/é",
    "s3://bucket/town",
    "azure://account/container/a/b",
    "gs://bucket",
];

/// Any Unicode but what no key can be: no empty segment, no `.`, no `..`, no NUL.
fn keys() -> impl Strategy<Value = Key> {
    let segment = prop_oneof![
        "[^/\0]{1,12}",
        select(
            &[
                "a b",
                "x#1",
                "100%41",
                "new\nline",
                "\t",
                "é",
                "e\u{301}",
                "会議録",
                "😀",
                "...",
                "\\",
                "~"
            ][..]
        )
        .prop_map(String::from),
    ]
    .prop_filter("a name", |s| s != "." && s != "..");
    proptest::collection::vec(segment, 1..4).prop_map(|segments| Key::from(segments.join("/").as_str()))
}

proptest! {
    #[test]
    fn a_key_comes_back_from_its_path_byte_for_byte(key in keys(), root in 0..ROOTS.len(), alias in 0..ROOTS.len()) {
        let mapping = Mapping::new(ROOTS[root], &[ROOTS[alias].to_owned()]);
        let path = mapping.path_of(&key).unwrap();
        prop_assert_eq!(mapping.key_of(&path), Some(key.clone()));
        let aliased = format!("{}/{key}", ROOTS[alias]);
        prop_assert_eq!(mapping.key_of(&aliased), Some(key));
    }

    #[test]
    fn whatever_is_mapped_lies_under_a_root_and_maps_back(path in ".{0,30}", root in 0..ROOTS.len(), own in any::<bool>()) {
        let mapping = Mapping::new(ROOTS[root], &[]);
        let path = if own { format!("{}/{path}", ROOTS[root]) } else { path };
        if let Some(key) = mapping.key_of(&path) {
            prop_assert!(key.is_addressable());
            prop_assert_eq!(mapping.path_of(&key), Some(path));
        }
    }

    #[test]
    fn a_neighbour_that_begins_alike_is_another_providers(key in keys(), root in 0..ROOTS.len(), more in "[^/\0]{1,4}") {
        let mapping = Mapping::new(ROOTS[root], &[]);
        let path = format!("{}{more}/{key}", ROOTS[root]);
        prop_assert_eq!(mapping.key_of(&path), None);
        prop_assert_eq!(mapping.root_of(&path), None);
    }
}

#[test]
fn town_is_not_townhall() {
    let mapping = Mapping::new("/a/town", &["s3://bucket/town/".into()]);
    assert_eq!(mapping.key_of("/a/town/permits/x"), Some(Key::from("permits/x")));
    assert_eq!(mapping.key_of("/a/townhall/permits/x"), None);
    assert_eq!(mapping.key_of("s3://bucket/townhall/x"), None);
    assert_eq!(mapping.key_of("/a/town"), None);
    assert_eq!(mapping.key_of("/a/town/"), None);
}

#[test]
fn a_path_that_could_leave_the_root_names_no_key() {
    let mapping = Mapping::new("/srv", &[]);
    for path in [
        "/srv/../etc/passwd",
        "/srv/a/../../x",
        "/srv//x",
        "/srv/./x",
        "/srv/x/",
        "/srv/a\0b",
    ] {
        assert_eq!(mapping.key_of(path), None, "{path:?}");
    }
}

#[test]
fn a_key_that_is_no_text_has_no_path() {
    assert_eq!(Mapping::new("/srv", &[]).path_of(&Key::new(&b"a\xff"[..])), None);
}

#[test]
fn where_roots_lie_within_each_other_the_longest_owns_the_path() {
    let mapping = Mapping::new("/srv", &["/srv/old".into()]);
    assert_eq!(mapping.key_of("/srv/old/a"), Some(Key::from("a")));
    assert_eq!(mapping.key_of("/srv/older/a"), Some(Key::from("older/a")));
}
