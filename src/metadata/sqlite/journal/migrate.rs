//! The program's own tables, and its indexes on `storage_files`, made by numbered migrations that only go forward. Each is one transaction and looks again
//! what is left to do once it holds the write lock, so that processes may migrate at the same time.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::super::trouble::Trouble;

/// Statements of each version, from 1.
const MIGRATIONS: [&str; NEWEST as usize] = [
    include_str!("../../migrations/0001_journal.sql"),
    include_str!("../../migrations/0002_names.sql"),
    include_str!("../../migrations/0003_notes.sql"),
    include_str!("../../migrations/0004_migrations.sql"),
    include_str!("../../migrations/0005_usage.sql"),
    include_str!("../../migrations/0006_kinds.sql"),
    include_str!("../../migrations/0007_warnings.sql"),
    include_str!("../../migrations/0008_copies.sql"),
    include_str!("../../migrations/0009_metrics.sql"),
    include_str!("../../migrations/0010_part_sums.sql"),
];

/// The version that this program makes.
pub(super) const NEWEST: u32 = 10;

/// Brings the tables to the newest version; writes nothing where they are.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Trouble> {
    while version(connection)? < NEWEST {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = version(&transaction)?;
        if let Some(statements) = MIGRATIONS.get(done as usize) {
            transaction.execute_batch(
                "CREATE TABLE IF NOT EXISTS civic_storage_migrations (
                     version INTEGER PRIMARY KEY, program TEXT NOT NULL,
                     applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            )?;
            transaction.execute_batch(statements)?;
            transaction.execute(
                "INSERT INTO civic_storage_migrations (version, program) VALUES (?1, ?2)",
                params![done + 1, env!("CARGO_PKG_VERSION")],
            )?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Whether the tables are there at all, in a version that this program can read.
pub(super) fn are_there(connection: &Connection) -> Result<bool, Trouble> {
    Ok(version(connection)? > 0)
}

/// Whether nothing is left to do.
pub(super) fn are_newest(connection: &Connection) -> Result<bool, Trouble> {
    Ok(version(connection)? == NEWEST)
}

/// How far the database was migrated.
fn version(connection: &Connection) -> Result<u32, Trouble> {
    let exists =
        "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'civic_storage_migrations'";
    if connection.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let newest = "SELECT coalesce(max(version), 0) FROM main.civic_storage_migrations";
    let (version, program): (u32, String) = connection.query_row(
        &format!(
            "SELECT ({newest}), coalesce((SELECT program FROM main.civic_storage_migrations
                                          WHERE version = ({newest})), '')"
        ),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if version > NEWEST {
        return Err(Trouble::Told(format!(
            "its civic_storage tables are of version {version}, made by civic {program}, and this is civic {}, which knows \
             version {NEWEST}; use the newer program",
            env!("CARGO_PKG_VERSION")
        )));
    }
    Ok(version)
}
