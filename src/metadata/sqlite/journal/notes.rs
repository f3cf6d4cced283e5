//! Notes: how far long looks have come, and what processes tell each other of providers.

use rusqlite::{Connection, OptionalExtension};

use super::values::Answer;

pub(super) fn put(connection: &Connection, topic: &str, notes: &[(String, String)]) -> Answer<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO main.civic_storage_notes (topic, name, value) VALUES (?1, ?2, ?3)",
    )?;
    for (name, value) in notes {
        statement.execute([topic, name, value])?;
    }
    Ok(())
}

/// Ordered by name. None where no command of this version ever wrote.
pub(super) fn all(connection: &Connection, topic: &str) -> Answer<Vec<(String, String)>> {
    if !super::has_table(connection, "civic_storage_notes")? {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare_cached("SELECT name, value FROM main.civic_storage_notes WHERE topic = ?1 ORDER BY name")?;
    let notes = statement.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(notes.collect::<Result<_, _>>()?)
}

/// The value that has to be there.
pub(super) struct Condition {
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) expected: Option<String>,
}

/// Whether what was expected was there.
pub(super) fn put_where(
    connection: &Connection,
    condition: &Condition,
    notes: &[(String, String)],
) -> Answer<bool> {
    let read = "SELECT value FROM main.civic_storage_notes WHERE topic = ?1 AND name = ?2";
    let there: Option<String> = connection
        .query_row(read, [&condition.topic, &condition.name], |row| row.get(0))
        .optional()?;
    if there != condition.expected {
        return Ok(false);
    }
    put(connection, &condition.topic, notes)?;
    Ok(true)
}

pub(super) fn forget(connection: &Connection, topic: &str) -> Answer<()> {
    connection.execute("DELETE FROM main.civic_storage_notes WHERE topic = ?1", [topic])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_kept_by_topic_until_they_are_forgotten() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(
            all(&connection, "a").unwrap(),
            [],
            "an earlier version made no table"
        );
        connection
            .execute_batch(include_str!("../../migrations/0003_notes.sql"))
            .unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        put(&connection, "a", &[pair("2", "x"), pair("1", "y")]).unwrap();
        put(&connection, "b", &[pair("2", "other")]).unwrap();
        put(&connection, "a", &[pair("2", "z")]).unwrap();
        assert_eq!(all(&connection, "a").unwrap(), [pair("1", "y"), pair("2", "z")]);
        let swap = |expected: Option<&str>, value: &str| {
            let condition = Condition {
                topic: "a".to_owned(),
                name: "3".to_owned(),
                expected: expected.map(str::to_owned),
            };
            put_where(&connection, &condition, &[pair("3", value), pair("4", value)]).unwrap()
        };
        assert!(!swap(Some("x"), "y"), "nothing is there");
        assert!(swap(None, "x"));
        assert!(!swap(None, "y"), "something is there");
        assert!(swap(Some("x"), "y") && !swap(Some("x"), "z"));
        let after = all(&connection, "a").unwrap();
        assert_eq!(
            after[2..],
            [pair("3", "y"), pair("4", "y")],
            "all of them or none"
        );
        forget(&connection, "a").unwrap();
        assert_eq!(all(&connection, "a").unwrap(), []);
        assert_eq!(all(&connection, "b").unwrap(), [pair("2", "other")]);
    }
}
