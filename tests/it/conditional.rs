//! Deletions on condition: what is written to a key in the very moment between the last look at it and its deletion stays,
//! on every service that holds to conditions.

use serde_json::json;

use crate::change::unsettled;
use crate::cleanup_apply::Stopped;
use crate::common::deployment::{key, uuid};
use crate::common::{Remote, TestEnv, World};
use crate::delete::{killed, run_id};

const AT: &str = "delete.before-request";

/// Files 1 and 2 with their records, in the bucket.
fn world(bucket: impl Remote + Sync + 'static) -> (World, String) {
    let root = bucket.root();
    let world = World::on(bucket);
    for n in [1, 2] {
        world.object(&key("permits", n));
        world.record(n, &key("permits", n));
    }
    (world, root)
}

/// Of the same size, so that nothing but the condition tells.
const NEWER: [u8; 10] = [b'n'; 10];

fn what_comes_to_the_key_stays<B: Remote + Sync + 'static>(bucket: impl Fn() -> Option<B>) {
    let id = uuid(1);
    for command in [
        &["storage:delete", "--yes", "--json", &id][..],
        &["storage:move", "--json", "--folder", "public", &id],
    ] {
        let Some(bucket) = bucket() else { return };
        let (world, root) = world(bucket);
        let path = format!("{root}/town/{}", key("permits", 1));
        let stopped = Stopped::command(world.town(), AT, command);
        world.object_of(&key("permits", 1), &NEWER);
        let run = stopped.go_on();
        assert_eq!(
            world.bytes(&path).as_deref(),
            Some(&NEWER[..]),
            "{command:?}: {run:?}"
        );
        // The deletion is given up; the move has come to its new place by then, and both are left.
        let told = run.code != 0 || run.stderr.contains("different bytes");
        assert!(told, "{command:?}: {run:?}");
        assert_eq!(unsettled(world.town()), 0, "{command:?}");
        world.assert_whole();
        // And one that nobody disturbs goes.
        let other = world.town().civic(&["storage:delete", "--yes", &uuid(2)]);
        assert_eq!(other.code, 0, "{other:?}");
        assert_eq!(world.bytes(&format!("{root}/town/{}", key("permits", 2))), None);
    }
}

mod needs_server {
    use super::*;

    #[test]
    fn what_comes_to_the_key_right_before_its_deletion_stays_on_seaweedfs() {
        what_comes_to_the_key_stays(TestEnv::seaweed);
    }

    #[test]
    fn what_comes_to_the_key_right_before_its_deletion_stays_on_azurite() {
        what_comes_to_the_key_stays(TestEnv::azurite);
    }

    #[test]
    fn what_comes_to_the_key_right_before_its_deletion_stays_on_gcs() {
        what_comes_to_the_key_stays(TestEnv::gcs);
    }

    #[test]
    fn where_conditions_are_not_held_to_deletions_go_on_without_and_the_trial_leaves_nothing() {
        let Some(bucket) = TestEnv::rclone() else { return };
        let (world, root) = world(bucket);
        let run = world
            .town()
            .civic(&["storage:delete", "--yes", "--json", "-vv", &uuid(1)]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(
            run.stderr.contains("conditional deletions: Ok(false)"),
            "{}",
            run.stderr
        );
        assert_eq!(world.bytes(&format!("{root}/town/{}", key("permits", 1))), None);
        let look = world.town().cleanup(&["--min-age", "0"]);
        assert_eq!(look.count("foreign"), 0, "{}", look.stdout);
    }

    #[test]
    fn a_trial_leaves_nothing_behind_on_gcs() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let names = bucket.clone();
        let (world, _) = world(bucket);
        let run = world.town().civic(&["storage:delete", "--yes", "-vv", &uuid(1)]);
        assert_eq!(run.code, 0, "{run:?}");
        assert!(
            run.stderr.contains("conditional deletions: Ok(true)"),
            "{}",
            run.stderr
        );
        let left = names.names();
        assert!(left.iter().all(|name| !name.contains("/probe-")), "{left:?}");
    }

    #[test]
    fn what_a_killed_trial_left_is_removed_by_one_an_hour_later_and_not_while_it_may_go_on() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let asked = bucket.clone();
        let trials = || {
            let names = asked.names();
            names.iter().filter(|name| name.contains("/probe-")).count()
        };
        let (world, _) = world(bucket);
        let delete = ["storage:delete", "--yes", &uuid(1)];
        killed(world.town(), "conditional.after-put", &delete);
        assert_eq!(trials(), 1);
        // The kill's own work is taken up, and tries again.
        assert_eq!(world.town().civic(&["storage:delete", "--yes", &uuid(2)]).code, 0);
        assert_eq!(trials(), 1, "somebody may be at it");
        asked.settings(&json!({ "clockAhead": 7200 }));
        world.object(&key("permits", 3));
        world.record(3, &key("permits", 3));
        let run = world.town().civic(&["storage:delete", "--yes", &uuid(3)]);
        assert_eq!((run.code, trials()), (0, 0), "{run:?}");
    }

    #[test]
    fn a_file_and_its_sidecar_go_to_the_trash_and_no_request_is_made_that_the_deletion_itself_answers() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let asked = bucket.clone();
        let (world, root) = world(bucket);
        let about_files = || {
            let all = asked.requests();
            all.iter().filter(|one| one.contains("permits")).count()
        };
        let before = about_files();
        assert_eq!(world.town().civic(&["storage:delete", "--yes", &uuid(1)]).code, 0);
        assert_eq!(
            about_files() - before,
            6,
            "a look, a copy of the generation that another look tells, a look at the copy, one for a sidecar, a deletion"
        );
        let sidecar = format!("{}.meta.json", key("permits", 2));
        world.object_of(&sidecar, b"{}");
        let run = world
            .town()
            .civic(&["storage:delete", "--yes", "--json", &uuid(2)]);
        assert_eq!(run.code, 0, "{run:?}");
        let at = |key: &str| world.bytes(&format!("{root}/town/{key}"));
        let trashed = format!(".trash/{}/{}", run_id(&run), key("permits", 2));
        assert_eq!(at(&trashed).as_deref(), Some(&[b'x'; 10][..]));
        assert_eq!(at(&format!("{trashed}.meta.trash")).as_deref(), Some(&b"{}"[..]));
        assert_eq!((at(&key("permits", 2)), at(&sidecar)), (None, None));
    }

    #[test]
    fn a_copy_that_finds_nothing_is_not_believed_while_a_look_finds_the_object() {
        let Some(bucket) = TestEnv::gcs() else { return };
        let asked = bucket.clone();
        let (world, root) = world(bucket);
        asked.faults(&json!([{ "method": "POST", "match": "permits", "status": 404, "times": 1 }]));
        let run = world
            .town()
            .civic(&["storage:delete", "--yes", "--json", &uuid(1)]);
        assert_eq!(run.code, 0, "{run:?}");
        let trashed = format!(".trash/{}/{}", run_id(&run), key("permits", 1));
        let at = |key: &str| world.bytes(&format!("{root}/town/{key}"));
        assert!(at(&trashed).is_some(), "{run:?}");
        assert_eq!(at(&key("permits", 1)), None, "it is nowhere but in the trash");
    }
}
