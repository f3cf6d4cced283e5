use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const V4: &str = "0b2f6f3e-6f0a-4d5b-9a53-0f7d8c1e2a34";

/// The rule as CivicPress states it, tried at every place: slow, and plain enough to be believed.
fn model(key: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8(key.to_vec()).ok()?;
    let segments: Vec<&str> = text.split('/').collect();
    let (name, folders) = segments.split_last()?;
    if folders.is_empty() || folders.iter().any(|s| ["", ".", ".."].contains(s)) {
        return None;
    }
    let base = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let ext = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let at = name.char_indices().map(|(i, _)| i).find(|&i| {
        let parts = (
            name.get(..i),
            name.get(i..=i),
            name.get(i + 1..i + 37),
            name.get(i + 37..),
        );
        let (Some(before), Some("_" | "."), Some(id), Some(after)) = parts else {
            return false;
        };
        let id_ok = uuid::Uuid::try_parse(id).is_ok_and(|u| {
            u.get_version_num() == 4 && u.get_variant() == uuid::Variant::RFC4122 && u.to_string() == id
        });
        let after_ok = after.is_empty() || (after.starts_with('.') && after.chars().all(ext));
        before.chars().all(base) && id_ok && after_ok
    })?;
    Some((folders.join("/"), name[at + 1..at + 37].to_owned()))
}

fn ids() -> impl Strategy<Value = String> {
    const WRONG: [&str; 6] = [
        "0B2F6F3E-6F0A-4D5B-9A53-0F7D8C1E2A34",
        "0b2f6f3e-6f0a-1d5b-9a53-0f7d8c1e2a34",
        "0b2f6f3e-6f0a-4d5b-ca53-0f7d8c1e2a34",
        "0b2f6f3e6f0a4d5b9a530f7d8c1e2a34",
        "0b2f6f3e-6f0a-4d5b-9a53-0f7d8c1e2a3",
        "",
    ];
    let random = any::<u128>().prop_map(|n| uuid::Builder::from_random_bytes(n.to_be_bytes()).into_uuid());
    prop_oneof![6 => random.prop_map(|u| u.to_string()), 1 => select(&WRONG[..]).prop_map(String::from)]
}

/// Keys that have the shape, nearly have it, or are anything.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    let folder = prop_oneof![
        4 => "[a-z]{1,5}(/[a-z é]{1,4})?",
        1 => select(&["", ".", "..", "a/", "/a", "a/../b", "会議"][..]).prop_map(String::from),
    ];
    let base =
        prop_oneof![4 => "[A-Za-z0-9_-]{0,12}", 1 => ".{0,6}", 1 => ids().prop_map(|id| format!("a_{id}"))];
    let ext = prop_oneof![3 => "(\\.[A-Za-z0-9]{1,4}){0,3}", 1 => ".{0,5}", 1 => ids().prop_map(|id| format!("_{id}"))];
    let shaped = (folder, base, select(&["_", ".", "-", ""][..]), ids(), ext);
    prop_oneof![
        9 => shaped.prop_map(|(folder, base, dot, id, ext)| format!("{folder}/{base}{dot}{id}{ext}").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..80),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_shape_is_what_the_plain_rule_says(key in keys()) {
        let found = stored_shape(&key).map(|s| (s.folder.to_owned(), s.id.to_owned()));
        prop_assert_eq!(found, model(&key));
    }

    #[test]
    fn a_sidecar_belongs_to_the_object_it_is_named_after(key in keys()) {
        let sidecar = [&key, SIDECAR_SUFFIX].concat();
        let owner = stored_shape(&key).map(|_| &key[..]);
        prop_assert_eq!(sidecar_object(&sidecar), owner);
    }

    #[test]
    fn keys_keep_their_bytes_and_their_order(a in keys(), b in keys()) {
        let key = Key::new(a.clone());
        prop_assert_eq!(key.as_bytes(), &a[..]);
        prop_assert_eq!(key.cmp(&Key::new(b.clone())), a.cmp(&b));
    }

    #[test]
    fn any_bytes_can_be_shown(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let shown = Key::new(bytes.clone()).to_string();
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert_eq!(shown, text);
        } else {
            prop_assert!(shown.contains("\\x"));
        }
    }
}

#[test]
fn both_shapes_are_read_and_near_misses_are_not() {
    let of = |key: &str| stored_shape(key.as_bytes()).map(|s| (s.folder.to_owned(), s.id.to_owned()));
    let permit = |folder: &str| Some((folder.to_owned(), V4.to_owned()));
    assert_eq!(of(&format!("permits/Plan_{V4}.pdf")), permit("permits"));
    assert_eq!(of(&format!("permits/Plan.{V4}.tar.gz")), permit("permits"));
    assert_eq!(of(&format!("a/b/_{V4}")), permit("a/b"));
    for foreign in [
        format!("Plan_{V4}.pdf"),
        format!("permits/{V4}.pdf"),
        format!("permits/Plan-{V4}.pdf"),
        format!("permits/Pl an_{V4}.pdf"),
        format!("permits/Plan_{V4}pdf"),
        format!("permits/Plan_{V4}.p_f"),
        format!("permits/Plan_{}.pdf", V4.to_uppercase()),
        format!("permits/../Plan_{V4}.pdf"),
        format!("permits//Plan_{V4}.pdf"),
    ] {
        assert_eq!(of(&foreign), None, "{foreign}");
    }
}

#[test]
fn of_two_ids_in_a_name_the_last_is_the_files() {
    let other = "11111111-2222-4333-8444-555555555555";
    let key = format!("permits/copy_of_{other}_{V4}.pdf");
    assert_eq!(stored_shape(key.as_bytes()).map(|s| s.id), Some(V4));
}

#[test]
fn reserved_areas_end_at_their_slash() {
    for ours in [".civic/marker", ".civic/tmp/x", ".trash/run/a"] {
        assert!(is_reserved(ours.as_bytes()), "{ours}");
    }
    for theirs in [".civicpress/x", ".civic", ".trash2/a", "a/.civic/b", ".trashed"] {
        assert!(!is_reserved(theirs.as_bytes()), "{theirs}");
    }
}

#[test]
fn every_uuid_of_a_key_is_found_the_last_first() {
    let other = "11111111-2222-1333-0444-555555555555";
    let key = format!("{other}/x{V4}{}_{V4}.pdf", V4.to_uppercase());
    assert_eq!(uuids_in(key.as_bytes()), [V4, V4, V4, other]);
    assert!(uuids_in(b"permits/0b2f6f3e-6f0a-4d5b-9a53-0f7d8c1e2a3").is_empty());
    assert!(uuids_in("é".repeat(40).as_bytes()).is_empty());
}
