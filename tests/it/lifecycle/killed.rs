//! Killed at every step: each file can be read or is in the trash, and the next run ends what was begun.

use super::{Town, four};
use crate::delete::killed;

const ALL: &str = "  policies:
    - { name: old, folder: plans, action: delete, max_age: 100d }
    - { name: away, folder: permits, action: archive, max_age: 100d, archive: { provider: vault } }
    - { name: aside, folder: public, action: archive, max_age: 100d, archive: { folder: attic } }
    - { name: tell, folder: attic, action: delete, max_age: 100d, warn_before: 14d, match: { name: 'file 7.txt' } }
  notify: { log: false, file: warnings.ndjson }
";

/// The points of a run, and of the deletions and migrations that it consists of.
const POINTS: [&str; 21] = [
    "lifecycle.after-lease",
    "lifecycle.before-batch",
    "lifecycle.after-send",
    "lifecycle.after-record",
    "lifecycle.before-batch:2",
    "lifecycle.before-batch:3",
    "move.after-intend",
    "migrate.after-put",
    "migrate.after-duplicate",
    "move.after-copy",
    "move.after-copy:2",
    "move.after-sidecar",
    "move.after-copies",
    "move.after-switch",
    "move.after-remove",
    "move.after-removals",
    "move.after-settle",
    "delete.after-intend",
    "delete.after-move",
    "delete.after-act",
    "delete.after-settle",
];

fn seeded() -> Town {
    let town = Town::new(ALL);
    for (n, folder) in [
        (1, "plans"),
        (2, "plans"),
        (3, "permits"),
        (4, "permits"),
        (5, "public"),
        (6, "public"),
        (7, "attic"),
    ] {
        town.file(n, folder, 200);
    }
    town
}

#[test]
fn killed_anywhere_nothing_is_lost_and_the_next_run_ends_it() {
    for point in POINTS {
        let town = seeded();
        killed(&town.town, point, &["storage:lifecycle", "--apply", "--yes"]);
        for n in 3..=7 {
            town.assert_readable(n, point);
        }
        for n in [1, 2] {
            if town.path(n).is_some() && !point.starts_with("delete.") {
                town.assert_readable(n, point);
            }
        }
        let next = town.apply(&[]);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        assert_eq!(four(&town.apply(&[]), "counts"), [0; 4], "{point}: all is done");
        assert_eq!((town.path(1), town.path(2)), (None, None), "{point}");
        for (n, place) in [
            (3, "/vault/permits/"),
            (4, "/vault/permits/"),
            (5, "/storage/attic/"),
            (6, "/storage/attic/"),
        ] {
            town.assert_readable(n, point);
            assert!(town.path(n).unwrap().contains(place), "{point}");
        }
        town.assert_whole(point);
        // Whatever run did it, an undo takes it back.
        let sql = "SELECT id FROM civic_storage_runs WHERE operation = 'storage:lifecycle' ORDER BY started_at DESC, id DESC";
        let runs: Vec<String> = {
            let mut statement = town.town.db().prepare(sql).unwrap();
            let found = statement.query_map([], |row| row.get(0)).unwrap();
            found.map(Result::unwrap).collect()
        };
        for run in runs {
            let undone = town.undo(&run);
            assert_eq!(undone.code, 0, "{point}: {undone:?}");
        }
        (1..=7).for_each(|n| town.assert_readable(n, point));
        assert!(town.path(3).unwrap().contains("/storage/permits/"), "{point}");
        town.assert_whole(point);
    }
}

#[test]
fn an_undo_of_an_archive_within_a_provider_is_killed_anywhere() {
    for point in [
        "move.after-intend",
        "move.after-copy",
        "move.after-sidecar",
        "move.after-copies",
        "move.after-switch",
        "move.after-remove",
        "move.after-settle",
    ] {
        let town = seeded();
        let run = crate::delete::run_id(&town.apply(&["--policy", "aside"]));
        killed(&town.town, point, &["storage:undo", "--yes", &run]);
        (5..=6).for_each(|n| town.assert_readable(n, point));
        let next = town.undo(&run);
        assert_eq!(next.code, 0, "{point}: {next:?}");
        for n in [5, 6] {
            town.assert_readable(n, point);
            assert!(town.path(n).unwrap().contains("/storage/public/"), "{point}");
        }
        town.assert_whole(point);
    }
}
