//! Notes of how far long looks have come.

use rusqlite::Connection;

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
    let there =
        "SELECT count(*) FROM main.sqlite_master WHERE type = 'table' AND name = 'civic_storage_notes'";
    if connection.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare_cached("SELECT name, value FROM main.civic_storage_notes WHERE topic = ?1 ORDER BY name")?;
    let notes = statement.query_map([topic], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(notes.collect::<Result<_, _>>()?)
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
        forget(&connection, "a").unwrap();
        assert_eq!(all(&connection, "a").unwrap(), []);
        assert_eq!(all(&connection, "b").unwrap(), [pair("2", "other")]);
    }
}
