//! What can be wrong with the journal's file, in words that somebody can act on.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::database::SCHEMA_VERSION;

/// The journal's file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The directory is not there and cannot be made.
    #[error("data_dir {path} cannot be used; it must be there or be made, and be writable")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be opened, or its tables cannot be made.
    #[error("the history's file {path} cannot be used; it and its directory must be writable")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file was written by a later version of this program.
    #[error(
        "the history's file {path} has schema version {found}, this program knows {SCHEMA_VERSION}: \
         it was written by a newer meterbridge; use that one, or another data_dir"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
    },
    /// What is in the file makes no sense.
    #[error(
        "the history's file {path} is damaged: {fault}; stop the gateway and restore the file from a \
         backup, or save what can be read with: sqlite3 {path} .recover | sqlite3 new.db, or move it \
         and what begins with its name away to begin with an empty one (the history is lost then)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        fault: String,
    },
    /// Nobody has registered a cursor of this name.
    #[error("the journal has no cursor {name:?}")]
    NoCursor {
        /// The name asked for.
        name: String,
    },
    /// A statement failed.
    #[error("the history's file {path} failed")]
    Statement {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// Names the file, and tells damage from other failures.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> JournalError {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                JournalError::Damaged { path, fault: source.to_string() }
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => {
                JournalError::Open { path, source }
            }
            _ => JournalError::Statement { path, source },
        }
    }
}
