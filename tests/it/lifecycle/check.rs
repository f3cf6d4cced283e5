//! The check: what it says of every file, and that it changes nothing.

use serde_json::{Value, json};

use super::{Town, errors, four};
use crate::common::TestEnv;
use crate::common::deployment::{Run, days, key, uuid};

const ALL: &str = "  policies:
    - { name: old-plans, folder: plans, action: delete, max_age: 365d, except: { name: '*7.txt' } }
    - { name: permits-to-attic, folder: permits, action: archive, max_age: 12mo, warn_before: 14d, archive: { folder: attic } }
    - { name: tell, folder: public, action: warn, max_age: 30d, match: { types: [txt], min_size: 1 } }
    - { name: hold, folder: [plans], action: retain, min_age: 800d, match: { name: 'file 3*' } }
    - { name: off, folder: '*', action: delete, max_age: 1d, enabled: false }
";

fn some() -> Town {
    let town = Town::new(ALL);
    for (n, folder, age) in [
        (1, "plans", 364),
        (2, "plans", 366),
        (3, "plans", 700),
        (7, "plans", 700),
        (4, "permits", 400),
        (5, "public", 31),
        (6, "public", 29),
    ] {
        town.file(n, folder, age);
    }
    town
}

#[test]
fn a_check_tells_what_each_policy_would_do_and_changes_nothing() {
    let town = some();
    let before = town.town.env().tree();
    let run = town.run(&["--check"]);
    assert_eq!(run.code, 0, "{run:?}");
    let data = run.json()["data"].clone();
    assert_eq!(data["mode"], "check");
    assert!(data["runId"].is_string());
    let bytes = "bytes of 1".len();
    let told = |name: &str, action: &str, matched: usize| json!({ "name": name, "action": action, "matched": matched, "bytes": matched * bytes });
    assert_eq!(
        data["policies"],
        json!([
            told("old-plans", "delete", 2),
            told("permits-to-attic", "archive", 1),
            told("tell", "warn", 1),
            told("hold", "retain", 1)
        ])
    );
    assert_eq!(
        data["counts"],
        json!({ "delete": 1, "archive": 0, "warn": 2, "retain": 1 })
    );
    assert_eq!(
        data["done"],
        json!({ "delete": 0, "archive": 0, "warn": 0, "retain": 0 })
    );
    assert_eq!(data["errors"], json!([]));
    let actions: Vec<(Value, Value, Value, Value)> = data["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| {
            (
                action["id"].clone(),
                action["action"].clone(),
                action["policy"].clone(),
                action["ageDays"].clone(),
            )
        })
        .collect();
    let line =
        |n, action: &str, policy: &str, age: i64| (json!(uuid(n)), json!(action), json!(policy), json!(age));
    assert_eq!(
        actions,
        [
            line(2, "delete", "old-plans", 366),
            line(4, "warn", "permits-to-attic", 400),
            line(5, "warn", "tell", 31),
            line(3, "retain", "hold", 700),
        ]
    );
    let first = &data["actions"][0];
    assert_eq!(
        (&first["originalName"], &first["folder"], &first["size"]),
        (&json!("file 2.txt"), &json!("plans"), &json!(bytes))
    );
    assert!(first["reason"].as_str().unwrap().contains("max_age"), "{first}");
    before.assert_unchanged(&town.town.env().tree());
    // The same without the flag, and by the name that other commands have for it.
    for args in [&[][..], &["--dry-run"]] {
        assert_eq!(four(&town.run(args), "counts"), [1, 0, 2, 1]);
    }
    before.assert_unchanged(&town.town.env().tree());
}

#[test]
fn every_format_tells_the_same() {
    let town = some();
    let table = town.town.civic(&["storage:lifecycle"]).stdout;
    for said in [
        "old-plans",
        "To be deleted",
        "file 2.txt",
        "Held",
        "held until",
        "1 would be deleted, 0 would be archived, 2 would be warned of, 1 held.",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let lines = town
        .town
        .civic(&["storage:lifecycle", "--output", "ndjson"])
        .stdout;
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[..4].iter().all(|line| line["type"] == "action"));
    assert_eq!(lines[4]["counts"]["warn"], 2);
    let csv = town.town.civic(&["storage:lifecycle", "--output", "csv"]).stdout;
    assert!(
        csv.contains(&format!("action,delete,old-plans,{}", uuid(2))),
        "{csv}"
    );
}

#[test]
fn as_of_a_day_is_what_will_have_been_done_by_its_end() {
    let town = Town::new("  policies:\n    - { name: p, folder: permits, action: delete, max_age: 12mo }\n");
    town.file(1, "permits", 1);
    let set = |at: &str| {
        let sql = "UPDATE storage_files SET created_at = ?1";
        town.town.db().execute(sql, [at]).unwrap();
    };
    let deleted = |as_of: &str| {
        let run = town.run(&["--as-of", as_of]);
        assert_eq!(run.code, 0, "{run:?}");
        four(&run, "counts")[0]
    };
    set("2024-02-29 10:00:00");
    assert_eq!(
        ["2025-02-28", "2025-03-01"].map(deleted),
        [0, 1],
        "a leap day is a year old on 1 March"
    );
    assert_eq!(
        ["2025-03-01T09:59:59Z", "2025-03-01T12:00:00+02:00"].map(deleted),
        [0, 1]
    );
    set("2024-01-31T23:30:00-05:00");
    assert_eq!(
        ["2025-01-31", "2025-02-01"].map(deleted),
        [0, 1],
        "ages are told in UTC"
    );
    // Before it was made there is nothing to be said, and nothing wrong.
    assert_eq!(deleted("2023-01-01"), 0);
    for wrong in ["tomorrow", "2025-02-30", "25-2-1"] {
        assert_eq!(town.run(&["--as-of", wrong]).code, 2, "{wrong}");
    }
    assert_eq!(town.run(&["--as-of", "2025-02-01", "--apply", "--yes"]).code, 2);
}

#[test]
fn dates_that_are_none_or_of_the_future_are_told_and_never_acted_on() {
    let town = Town::new(
        "  policies:\n    - { name: p, folder: permits, action: delete, max_age: 1d }\n    - { name: h, folder: attic, action: retain, min_age: 9d }\n",
    );
    for n in 1..=6 {
        town.file(n, if n == 6 { "attic" } else { "permits" }, 100);
    }
    for (n, date) in [
        (1, Some("yesterday")),
        (2, None),
        (3, Some("2999-01-01 00:00:00")),
        (4, Some("0")),
        (6, None),
    ] {
        let sql = "UPDATE storage_files SET created_at = ?1 WHERE id = ?2";
        town.town.db().execute(sql, (date, uuid(n))).unwrap();
    }
    for run in [town.run(&[]), town.apply(&[])] {
        assert_eq!(run.code, 3, "{run:?}");
        let told = errors(&run);
        assert_eq!(
            told.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>(),
            [1, 2, 3, 4].map(uuid)
        );
        for (at, said) in [
            (0, "`yesterday`"),
            (1, "does not say"),
            (2, "in the future"),
            (3, "`0`"),
        ] {
            assert!(told[at].1.contains(said), "{told:?}");
        }
        assert_eq!(
            four(&run, "counts"),
            [1, 0, 0, 1],
            "the fifth is old, and the sixth is held"
        );
    }
    for n in [1, 2, 3, 4, 6] {
        town.assert_readable(n, "undated");
    }
    assert_eq!(town.path(5), None);
}

#[test]
fn one_folder_or_one_policy_is_looked_at_and_what_others_protect_stays_protected() {
    let town = some();
    let run = town.run(&["--folder", "public"]);
    assert_eq!(four(&run, "counts"), [0, 0, 1, 0]);
    let run = town.run(&["--policy", "old-plans"]);
    assert_eq!(
        four(&run, "counts"),
        [1, 0, 0, 0],
        "file 3 is held, though its hold is not shown"
    );
    assert_eq!(four(&town.run(&["--policy", "hold"]), "counts"), [0, 0, 0, 1]);
}

#[test]
fn what_is_not_there_is_wrong_usage_and_the_nearest_is_named() {
    let town = some();
    for (args, said) in [
        (["--policy", "old-plan"], "did you mean old-plans?"),
        (["--policy", "off"], "not enabled"),
        (["--folder", "plan"], "did you mean plans?"),
        (["--override", "max-deletes"], "did you mean max-delete?"),
        (["--max-delete", "many"], "--max-delete many"),
    ] {
        let run = town.run(&args);
        assert_eq!(run.code, 2, "{args:?}: {run:?}");
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn a_deployment_without_policies_has_nothing_to_do() {
    let env = TestEnv::fixture();
    let before = env.tree();
    let run = Run::of(&env, ["storage:lifecycle", "--json"]);
    assert_eq!(four(&run, "counts"), [0; 4]);
    assert_eq!(run.code, 0);
    before.assert_unchanged(&env.tree());
}

#[test]
fn a_record_of_no_configured_provider_is_told_and_left_alone() {
    let town = Town::new("  policies:\n    - { name: p, folder: permits, action: delete, max_age: 1d }\n");
    town.town
        .record(1, "s3://elsewhere/town", &key("permits", 1), (1, days(30)));
    for run in [town.run(&[]), town.apply(&[])] {
        assert_eq!(run.code, 3, "{run:?}");
        assert!(errors(&run)[0].1.contains("no configured provider"), "{run:?}");
    }
    assert_eq!(town.count(), 1);
}

#[test]
fn what_cannot_work_is_a_configuration_error() {
    let town = Town::new("");
    let wrong = |lifecycle: &str, said: &str| {
        town.configure(lifecycle);
        let run = town.run(&[]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    };
    let policy =
        |rest: &str| format!("  policies:\n    - {{ name: p, folder: attic, max_age: 365d, {rest} }}\n");
    wrong(
        &policy("action: archive, archive: { folder: public }"),
        "easier to read",
    );
    wrong(
        &policy("action: archive, archive: { provider: cold }"),
        "which is no provider",
    );
    wrong(
        &policy("action: archive, archive: { folder: cellar }"),
        "not under `folders`",
    );
    wrong(
        &policy("action: archive, archive: {}"),
        "neither a provider nor a folder",
    );
    wrong(
        &policy("action: delete, match: { name: '[ab].pdf' }"),
        "mean nothing here",
    );
    wrong(
        "  policies:\n    - { name: p, folder: attic, action: delete, max_age: 365 }\n",
        "has no unit",
    );
    wrong(
        &(policy("action: warn") + "  notify: { log: false }\n"),
        "leaves no way to warn",
    );
    wrong(
        &(policy("action: delete, warn_before: 1d") + "  notify: { log: false }\n"),
        "leaves no way to warn",
    );
    let vault = format!(
        "  vault: {{ type: local, enabled: false, path: {} }}\n",
        town.vault().display()
    );
    town.configure_with(&vault, &policy("action: archive, archive: { provider: vault }"));
    let run = town.run(&[]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("not enabled"), "{}", run.stderr);
    town.configure("  policies:\n    - { name: p, folder: attic, action: delete, max_age: 12m }\n");
    let run = town.run(&[]);
    assert!(
        run.code == 0 && run.stderr.contains("`m` is minutes, `mo` months"),
        "{run:?}"
    );
}
