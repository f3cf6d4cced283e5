//! Archiving: to another provider, another folder, or both; readable all the while, home again by an undo.

use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Town, content, errors, four};
use crate::common::deployment::{Deployment, days, key, uuid};
use crate::delete::{rows, run_id};

fn policy(to: &str) -> String {
    format!(
        "  policies:\n    - {{ name: a, folder: permits, action: archive, max_age: 365d, archive: {{ {to} }} }}\n"
    )
}

fn due(to: &str) -> Town {
    let town = Town::new(&policy(to));
    for n in 1..=3 {
        town.file(n, "permits", 400);
    }
    town.file(4, "permits", 300);
    town
}

/// There and back, and where each of the first three files is meanwhile.
fn there_and_back(to: &str, place: impl Fn(&Town, u32) -> String, crosses: bool) {
    let town = due(to);
    let before = rows(town.town.db());
    let check = town.run(&[]);
    assert_eq!(four(&check, "counts"), [0, 3, 0, 0], "{check:?}");
    assert_eq!(
        check.stderr.contains("CivicPress reads only"),
        crosses,
        "{}",
        check.stderr
    );
    assert_eq!(
        check.json()["data"]["notices"].as_array().unwrap().len(),
        usize::from(crosses)
    );
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")), (0, [0, 3, 0, 0]), "{run:?}");
    for n in 1..=4 {
        town.assert_readable(n, to);
    }
    for n in 1..=3 {
        let path = town.path(n).unwrap();
        assert_eq!(path, place(&town, n));
        let told: Value = serde_json::from_slice(&fs::read(path.clone() + ".meta.json").unwrap()).unwrap();
        assert_eq!(told["provider_path"], path);
        let trashed = format!(".trash/{}/{}", run_id(&run), key("permits", n));
        assert_eq!(
            fs::read(town.town.storage().join(trashed)).unwrap(),
            content(n),
            "the original"
        );
    }
    town.assert_whole("archived");
    let again = town.apply(&[]);
    assert_eq!((again.code, four(&again, "counts")), (0, [0; 4]), "{again:?}");
    let undone = town.undo(&run_id(&run));
    assert_eq!(undone.code, 0, "{undone:?}");
    assert_eq!(rows(town.town.db()), before);
    town.assert_readable(1, "home");
    town.assert_whole("home");
}

#[test]
fn files_are_archived_to_another_provider_and_come_home() {
    let place = |town: &Town, n| format!("{}/{}", town.vault().display(), key("permits", n));
    there_and_back("provider: vault", place, true);
}

#[test]
fn files_are_archived_to_another_folder_and_come_home() {
    let place = |town: &Town, n| format!("{}/{}", town.town.storage().display(), key("attic", n));
    there_and_back("folder: attic", place, false);
}

#[test]
fn files_are_archived_to_another_folder_of_another_provider_and_come_home() {
    let place = |town: &Town, n| format!("{}/{}", town.vault().display(), key("attic", n));
    there_and_back("provider: vault, folder: attic", place, true);
}

#[test]
fn what_is_archived_from_every_folder_is_archived_once() {
    let town = Town::new(
        "  policies:\n    - { name: a, folder: '*', action: archive, max_age: 10d, archive: { folder: attic } }\n    - { name: b, folder: '*', action: archive, max_age: 20d, archive: { provider: vault } }\n",
    );
    for (n, age) in [(1, 15), (2, 25), (3, 5)] {
        town.file(n, "permits", age);
    }
    assert_eq!(four(&town.apply(&[]), "done")[1], 2);
    assert!(town.path(1).unwrap().contains("/storage/attic/"));
    assert!(town.path(2).unwrap().contains("/vault/permits/"));
    assert_eq!(four(&town.apply(&[]), "counts"), [0; 4]);
    // Five days on, the first is in the attic and goes on to the vault, and never back.
    assert_eq!(four(&town.apply_after(6, &[]), "done")[1], 2);
    assert!(town.path(1).unwrap().contains("/vault/attic/"));
    assert_eq!(four(&town.apply_after(6, &[]), "counts"), [0; 4]);
    town.assert_whole("tiered");
}

#[test]
fn bytes_that_are_not_those_that_were_uploaded_are_not_archived() {
    for to in ["provider: vault", "folder: attic"] {
        let town = due(to);
        // What a lifecycle knows from the uploads of this program.
        assert_eq!(
            town.run(&["--apply", "--yes", "--policy", "a", "--folder", "public"])
                .code,
            0
        );
        for n in 1..=3 {
            let kept: [u8; 32] = if n == 2 {
                [7; 32]
            } else {
                Sha256::digest(content(n)).into()
            };
            let hex: Vec<String> = kept.iter().map(|byte| format!("{byte:02x}")).collect();
            let sql = "INSERT INTO civic_storage_checksums VALUES (?1, ?2)";
            town.town.db().execute(sql, [uuid(n), hex.concat()]).unwrap();
        }
        let run = town.apply(&[]);
        assert_eq!((run.code, four(&run, "done")[1]), (3, 2), "{to}: {run:?}");
        let told = errors(&run);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, uuid(2));
        let place = town.path(2).unwrap();
        assert!(
            place.ends_with(&format!("storage/{}", key("permits", 2))),
            "{to}: it is where it was: {place}"
        );
        town.assert_readable(2, to);
        town.assert_whole(to);
    }
}

#[test]
fn a_folder_that_storage_yml_does_not_have_is_not_archived_to_where_more_can_read() {
    let town = Town::new(
        "  policies:\n    - { name: a, folder: '*', action: archive, max_age: 10d, except: { name: none }, archive: { folder: attic } }\n",
    );
    town.file(1, "forgotten", 30);
    assert_eq!(four(&town.apply(&[]), "done")[1], 1, "nobody reads the attic");
    assert!(town.path(1).unwrap().contains("/attic/"));
}

#[test]
fn a_place_that_is_taken_and_a_type_that_the_folder_refuses_keep_the_file() {
    let town = due("folder: attic");
    let taken = town.town.storage().join(key("attic", 1));
    fs::create_dir_all(taken.parent().unwrap()).unwrap();
    fs::write(&taken, "somebody else's").unwrap();
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[1]), (3, 2), "{run:?}");
    assert!(errors(&run)[0].1.contains("nothing is overwritten"), "{run:?}");
    town.assert_readable(1, "taken");
    assert_eq!(fs::read(&taken).unwrap(), b"somebody else's");
    let town = due("folder: attic");
    town.town.env().edit_config(|yaml| {
        yaml.replace(
            "attic: { access: private, allowed_types: ['*'] }",
            "attic: { access: private, allowed_types: [pdf] }",
        )
    });
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[1]), (1, 0), "{run:?}");
    (1..=4).for_each(|n| town.assert_readable(n, "refused"));
}

#[test]
fn names_of_every_kind_are_archived_and_come_home() {
    let town = Town::new(&policy("provider: vault, folder: attic"));
    let root = town.town.storage().display().to_string();
    for (n, base) in [(1, "é ü_"), (2, "#?%_"), (3, "日本_"), (4, "a'b\"_")] {
        let at = format!("permits/{base}{}.txt", uuid(n));
        let path = town.town.storage().join(&at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content(n)).unwrap();
        town.town.record(
            n,
            &root,
            &at,
            (i64::try_from(content(n).len()).unwrap(), days(400)),
        );
    }
    let before = rows(town.town.db());
    let run = town.apply(&[]);
    assert_eq!((run.code, four(&run, "done")[1]), (0, 4), "{run:?}");
    (1..=4).for_each(|n| town.assert_readable(n, "odd names"));
    assert_eq!(town.undo(&run_id(&run)).code, 0);
    assert_eq!(rows(town.town.db()), before);
    (1..=4).for_each(|n| town.assert_readable(n, "odd names, home"));
    assert_eq!(crate::change::unsettled(&town.town), 0);
}

#[test]
fn an_archive_that_does_not_answer_stops_everything() {
    let town = due("provider: vault");
    let nobody = Deployment::s3("http://127.0.0.1:1", "town", "") + "\n";
    town.configure_with(&nobody, &policy("provider: s3"));
    town.town
        .env()
        .edit_config(|yaml| format!("retry_attempts: 0\n{yaml}"));
    let run = town.apply(&[]);
    assert_eq!(run.code, 5, "{run:?}");
    (1..=4).for_each(|n| town.assert_readable(n, "no bucket"));
    let check = town.run(&[]);
    assert_eq!((check.code, four(&check, "counts")[1]), (0, 3), "{check:?}");
    assert!(
        check.stderr.contains("--apply would do nothing"),
        "{}",
        check.stderr
    );
}

mod needs_server {
    use super::*;
    use crate::common::{Remote, TestEnv};

    /// Files go to a bucket, are looked at from outside, and come home.
    fn to_and_from(bucket: &impl Remote) {
        let town = due("provider: vault");
        let yaml = bucket.provider_yaml(bucket.kind(), "town") + "\n";
        let cold = format!("provider: {}, folder: attic", bucket.kind());
        town.configure_with(&yaml, &policy(&cold));
        let before = rows(town.town.db());
        let run = town.apply(&[]);
        assert_eq!((run.code, four(&run, "done")[1]), (0, 3), "{run:?}");
        for n in 1..=3 {
            let path = town.path(n).unwrap();
            assert_eq!(path, format!("{}/town/{}", bucket.root(), key("attic", n)));
            assert_eq!(bucket.get(&format!("town/{}", key("attic", n))), Some(content(n)));
            let out = town.town.env().tmp().join(format!("{n}.txt"));
            let got = town
                .town
                .civic(&["storage:download", &uuid(n), "--out", out.to_str().unwrap()]);
            assert_eq!(got.code, 0, "{got:?}");
            assert_eq!(fs::read(out).unwrap(), content(n));
        }
        town.assert_whole("in the bucket");
        assert_eq!(four(&town.apply(&[]), "counts"), [0; 4]);
        let undone = town.undo(&run_id(&run));
        assert_eq!(undone.code, 0, "{undone:?}");
        assert_eq!(rows(town.town.db()), before);
        (1..=4).for_each(|n| town.assert_readable(n, "home"));
        town.assert_whole("home");
    }

    #[test]
    fn files_are_archived_to_seaweedfs_and_come_home() {
        if let Some(bucket) = TestEnv::seaweed() {
            to_and_from(&bucket);
        }
    }

    #[test]
    fn files_are_archived_to_gcs_and_come_home() {
        if let Some(bucket) = TestEnv::gcs() {
            to_and_from(&bucket);
        }
    }

    #[test]
    fn files_are_archived_to_azurite_and_come_home() {
        if let Some(bucket) = TestEnv::azurite() {
            to_and_from(&bucket);
        }
    }

    #[test]
    fn files_of_a_bucket_are_archived_to_another_folder_of_it_and_come_home() {
        let Some(bucket) = TestEnv::seaweed() else { return };
        let town = Town::new(&policy("folder: attic"));
        let yaml = bucket.provider_yaml(bucket.kind(), "town") + "\n";
        town.configure_with(&yaml, &policy("folder: attic"));
        let root = format!("{}/town", bucket.root());
        for n in 1..=3 {
            Remote::put(&bucket, &format!("town/{}", key("permits", n)), &content(n));
            let size = i64::try_from(content(n).len()).unwrap();
            town.town.record(n, &root, &key("permits", n), (size, days(400)));
        }
        let before = rows(town.town.db());
        let run = town.apply(&[]);
        assert_eq!((run.code, four(&run, "done")[1]), (0, 3), "{run:?}");
        assert_eq!(bucket.get(&format!("town/{}", key("attic", 2))), Some(content(2)));
        assert_eq!(bucket.get(&format!("town/{}", key("permits", 2))), None);
        assert_eq!(town.undo(&run_id(&run)).code, 0);
        assert_eq!(rows(town.town.db()), before);
        assert_eq!(
            bucket.get(&format!("town/{}", key("permits", 2))),
            Some(content(2))
        );
        town.assert_whole("home");
    }
}
