//! Values that a column should not hold, but SQLite lets it: read where they mean something, named where they do not.

use futures::StreamExt;
use rusqlite::Connection;

use super::{Town, all, many};
use crate::metadata::contract::id;
use crate::metadata::{ListQuery, MetadataError, MetadataStore, ScanScope, Stamp};

fn with(sql: &str) -> Town {
    let town = Town::with("WAL", &many(3));
    let writer = Connection::open(town.path()).unwrap();
    writer
        .execute(&format!("UPDATE storage_files SET {sql} WHERE id = ?1"), [id(1)])
        .unwrap();
    town
}

#[tokio::test]
async fn a_row_that_cannot_be_understood_is_an_error_that_names_it() {
    for (sql, expected) in [
        (
            "provider_path = x'2f73'",
            "its provider_path is raw bytes, not text",
        ),
        (
            "provider_path = CAST(x'2fff' AS TEXT)",
            "its provider_path is not UTF-8",
        ),
        ("size = 'many'", "its size is text, not a whole number"),
        ("size = 1.5", "its size is a fraction, not a whole number"),
        ("size = x'00'", "its size is raw bytes, not a whole number"),
    ] {
        let town = with(sql);
        let store = town.store();
        let named = |error: MetadataError| {
            let text = error.to_string();
            assert!(text.contains(&id(1)) && text.ends_with(expected), "{sql}: {text}");
        };
        named(all(&store).await.unwrap_err());
        named(store.get(&id(1)).await.unwrap_err());
        if sql.starts_with("size") {
            named(store.usage(&[]).await.unwrap_err());
        }
    }
}

#[tokio::test]
async fn a_path_that_nobody_can_place_fails_every_scan() {
    for scope in [
        ScanScope::Under("/srv/permits/".to_owned()),
        ScanScope::Under("s3://elsewhere/".to_owned()),
        ScanScope::Outside(vec!["/srv/".to_owned()]),
    ] {
        let town = with("provider_path = x'2f7372762f7065726d6974732f61'");
        let items: Vec<_> = town.store().scan(scope).collect().await;
        assert!(
            items.last().unwrap().is_err(),
            "an object of this record's must not become an orphan"
        );
    }
}

#[tokio::test]
async fn text_for_people_is_shown_whatever_its_type() {
    for (sql, expected) in [
        ("original_name = x'c3a9'", "é"),
        ("original_name = x'61ff'", "a\u{fffd}"),
        ("original_name = 42", "42"),
        ("original_name = 'a' || char(0) || 'b'", "a\0b"),
    ] {
        let town = with(sql);
        let records = all(&town.store()).await.unwrap();
        assert_eq!(records[1].original_name, expected, "{sql}");
    }
}

#[tokio::test]
async fn times_are_read_or_kept_as_written() {
    let unreadable = |text: &str| Stamp::Unreadable(Some(text.to_owned()));
    let spelled = |text: &str| Stamp::Spelled {
        at: "2026-11-23T18:38:39Z".parse().unwrap(),
        text: text.to_owned(),
    };
    for (sql, expected) in [
        ("created_at = NULL", Stamp::Unreadable(None)),
        ("created_at = 'soon'", unreadable("soon")),
        ("created_at = ''", unreadable("")),
        (
            "created_at = '2026-11-23T19:38:39.000+01:00'",
            spelled("2026-11-23T19:38:39.000+01:00"),
        ),
        ("created_at = 1795459119000", spelled("1795459119000")),
        ("created_at = 2461368.27", unreadable("2461368.27")),
    ] {
        let town = with(sql);
        let store = town.store();
        assert_eq!(all(&store).await.unwrap()[1].created_at, expected, "{sql}");
        let page = store
            .list(&ListQuery {
                limit: 9,
                ..ListQuery::default()
            })
            .await
            .unwrap();
        assert_eq!(page.records.len(), 3, "{sql}");
    }
}

#[tokio::test]
async fn an_id_that_is_not_stored_as_text_is_still_known() {
    let town = with("id = CAST(id AS BLOB)");
    assert_eq!(town.store().known_ids(&[id(1), id(2)]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_unusual_id_that_comes_later_is_noticed() {
    let town = Town::with("WAL", &many(3));
    let writer = town.writer("WAL");
    let store = town.store();
    assert!(store.known_ids(&[id(7)]).await.unwrap().is_empty());
    let mixed = id(7).replacen('b', "B", 1);
    writer
        .execute("UPDATE storage_files SET id = ?1 WHERE id = ?2", [mixed, id(1)])
        .unwrap();
    assert_eq!(store.known_ids(&[id(7)]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn collations_of_the_schema_change_no_answer() {
    let town = Town::new();
    let table = super::TABLE.replace("TEXT NOT NULL", "TEXT COLLATE NOCASE NOT NULL");
    let writer = Connection::open(town.path()).unwrap();
    writer.execute_batch(&table).unwrap();
    let mut seeds = many(3);
    seeds[0].provider_path = "/srv/B".to_owned();
    seeds[1].provider_path = "/srv/a".to_owned();
    seeds[2].provider_path = "/SRV/c".to_owned();
    super::insert(&writer, &seeds);
    let under = town.store().scan(ScanScope::Under("/srv/".to_owned()));
    let paths: Vec<_> = under.map(|record| record.unwrap().provider_path).collect().await;
    assert_eq!(paths, ["/srv/B", "/srv/a"]);
}
