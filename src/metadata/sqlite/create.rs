//! A new database for an installation that has none. Never touches one that exists.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::situation::failed;
use crate::metadata::Result;

/// Exactly as CivicPress makes it, so that either program can come first.
///
/// # Source
/// `sqlite_schema` of a database made by CivicPress 0.3.1.
const STORAGE_FILES: &str = "CREATE TABLE storage_files (
    id TEXT PRIMARY KEY, -- UUID
    original_name TEXT NOT NULL,
    stored_filename TEXT NOT NULL,
    folder TEXT NOT NULL,
    relative_path TEXT NOT NULL,
    provider_path TEXT NOT NULL,
    size INTEGER NOT NULL,
    mime_type TEXT NOT NULL,
    description TEXT,
    uploaded_by TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    updated_at DATETIME DEFAULT CURRENT_TIMESTAMP
  )";

/// Makes a database with an empty `storage_files`, in WAL mode as CivicPress has it. It is made under another name and
/// put in place in one step, so that nobody ever sees half of it.
///
/// # Errors
/// [`MetadataError::Failed`](crate::metadata::MetadataError::Failed) where something stands at `path` already, or
/// the directory may not be written.
pub fn create(path: &Path) -> Result<()> {
    let told = |error: io::Error| failed(path, format!("it cannot be made: {error}"));
    let dir = path.parent().unwrap_or(Path::new("/"));
    let temp = tempfile::Builder::new()
        .prefix(".civic.db.")
        .tempdir_in(dir)
        .map_err(told)?;
    let unfinished = temp.path().join("civic.db");
    fill(&unfinished).map_err(|error| failed(path, format!("it cannot be made: {error}")))?;
    std::fs::File::open(&unfinished)
        .and_then(|file| file.sync_all())
        .map_err(told)?;
    // A hard link, unlike a rename, never replaces what is there.
    std::fs::hard_link(&unfinished, path).map_err(told)?;
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(told)
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch(STORAGE_FILES)?;
    connection.close().map_err(|(_, error)| error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataStore;
    use crate::metadata::sqlite::SqliteStore;

    #[tokio::test]
    async fn a_new_database_can_be_asked_and_is_never_made_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("civic.db");
        create(&path).unwrap();
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.count_in_folder("public").await.unwrap(), 0);
        let before = std::fs::read(&path).unwrap();
        let error = create(&path).unwrap_err().to_string();
        assert!(error.contains("it cannot be made: File exists"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(
            std::fs::read_dir(dir.path())
                .unwrap()
                .filter(|e| { e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.') })
                .count(),
            0,
            "nothing is left beside it"
        );
    }
}
