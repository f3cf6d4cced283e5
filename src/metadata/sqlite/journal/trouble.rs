//! What SQLite answers to a write, turned into what an operator can act on.

use rusqlite::ffi::ErrorCode;

use super::super::trouble::Trouble;
use super::writer::READ_ONLY;
use crate::metadata::MetadataError;

pub(super) fn explain(trouble: Trouble, database: &str) -> MetadataError {
    let reason = match &trouble {
        Trouble::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::ReadOnly) => READ_ONLY.to_owned(),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => format!(
                "it cannot be opened for writing: this user may not write to it or its directory ({error})"
            ),
            Some(ErrorCode::DiskFull) => {
                "there is no space left on its disk; nothing of this was written".to_owned()
            }
            Some(ErrorCode::SystemIoFailure) => {
                format!("writing to its disk failed; nothing of this was written ({error})")
            }
            _ => return trouble.about(database),
        },
        _ => return trouble.about(database),
    };
    MetadataError::Failed {
        database: database.to_owned(),
        reason,
    }
}
