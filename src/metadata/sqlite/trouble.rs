//! What SQLite answers, turned into what an operator can act on.

use rusqlite::ffi::{self, ErrorCode};

use crate::metadata::MetadataError;

/// Why a question got no answer, before the database's name is put to it.
#[derive(Debug)]
pub(super) enum Trouble {
    Sqlite(rusqlite::Error),
    /// A row holds what its column cannot mean.
    Row {
        id: String,
        reason: String,
    },
    NoTable,
    /// The run that wanted to write is another's business by now.
    Fenced(String),
    /// Anything else, as a sentence.
    Told(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Trouble {
    /// SQLite would have had to write, if only to its index of the WAL.
    pub(super) fn is_read_only(&self) -> bool {
        self.code() == Some(ErrorCode::ReadOnly)
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code(),
            _ => None,
        }
    }

    pub(super) fn about(self, database: &str) -> MetadataError {
        let database = database.to_owned();
        match self {
            Self::NoTable => MetadataError::NoTable { database },
            Self::Fenced(run) => MetadataError::Fenced { run },
            Self::Told(reason) => MetadataError::Failed { database, reason },
            Self::Row { id, reason } => MetadataError::Failed {
                database,
                reason: format!("the record with id {id:?} cannot be read: {reason}"),
            },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => MetadataError::Busy {
                    database,
                    reason: error.to_string(),
                },
                _ => MetadataError::Failed {
                    database,
                    reason: explain(&error),
                },
            },
        }
    }
}

fn explain(error: &rusqlite::Error) -> String {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    match (error.sqlite_error_code(), extended) {
        (_, Some(ffi::SQLITE_READONLY_ROLLBACK)) => {
            "a program that was writing to it was stopped half-way (its -journal file is there); start CivicPress once, \
             which takes the unfinished write back"
                .to_owned()
        }
        (Some(ErrorCode::ReadOnly), _) => {
            "the index of its write-ahead log has to be rebuilt, which this user may not do; start CivicPress once, which \
             does it"
                .to_owned()
        }
        (Some(ErrorCode::NotADatabase), _) => "this is not a SQLite database".to_owned(),
        (Some(ErrorCode::DatabaseCorrupt), _) => format!(
            "the database is damaged ({error}); check it with PRAGMA integrity_check and restore a backup"
        ),
        (Some(ErrorCode::DiskFull), _) => {
            format!("no space left for sorting in the temporary directory ({error}); set SQLITE_TMPDIR to another")
        }
        _ => error.to_string(),
    }
}
