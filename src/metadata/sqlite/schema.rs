//! Whether the database is one this program can ask.

use rusqlite::Connection;

use super::trouble::Trouble;

const COLUMNS: [&str; 12] = [
    "id",
    "original_name",
    "stored_filename",
    "folder",
    "relative_path",
    "provider_path",
    "size",
    "mime_type",
    "description",
    "uploaded_by",
    "created_at",
    "updated_at",
];

/// Only a table is taken for `storage_files`: a view or a virtual table of that name can compute what it likes for as
/// long as it likes. Extra columns are welcome.
pub(super) fn check(connection: &Connection) -> Result<(), Trouble> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM main.sqlite_schema
         WHERE type = 'table' AND name = 'storage_files' COLLATE NOCASE AND rootpage > 0",
        [],
        |row| row.get(0),
    )?;
    if tables == 0 {
        return Err(Trouble::NoTable);
    }
    check_encoding(connection)?;
    check_columns(connection)
}

/// UTF-16 would sort `provider_path` in another order than the listings it is compared with.
fn check_encoding(connection: &Connection) -> Result<(), Trouble> {
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding == "UTF-8" {
        return Ok(());
    }
    Err(Trouble::Told(format!(
        "its text is {encoding}, and only UTF-8 can be read"
    )))
}

fn check_columns(connection: &Connection) -> Result<(), Trouble> {
    let mut statement = connection.prepare("SELECT lower(name) FROM pragma_table_xinfo('storage_files')")?;
    let found: Vec<String> = statement
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    match COLUMNS
        .iter()
        .find(|column| !found.iter().any(|name| name == *column))
    {
        None => Ok(()),
        Some(missing) => Err(Trouble::Told(format!(
            "its table storage_files has no column {missing}"
        ))),
    }
}
