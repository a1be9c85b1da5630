//! The file of journal and histories: whether a gateway would take it.
//!
//! Only its first bytes are looked at. SQLite would make files of its own beside it, which belonged to
//! whoever asks the doctor, and the gateway could not use it afterwards.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::Report;
use crate::journal::database::{SCHEMA_VERSION, file};
use crate::journal::{DAMAGED_ADVICE, NEWER_ADVICE};

pub(super) fn examine(data_dir: &Path, report: &mut Report) {
    let path = file(data_dir);
    let subject = path.display().to_string();
    let mut head = [0; HEAD];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    match read {
        Ok(()) if !head.starts_with(MAGIC) => {
            let words = "is damaged: it is no database any more".to_owned();
            report.problem(subject, words, DAMAGED_ADVICE);
        }
        Ok(()) => {
            let version = i64::from(version(&head));
            if version > SCHEMA_VERSION {
                let words = format!(
                    "has schema version {version}, this program knows {SCHEMA_VERSION}: it was written \
                     by a newer meterbridge"
                );
                report.problem(subject, words, NEWER_ADVICE);
            }
        }
        // Shorter than a head is a new file at most: SQLite begins it anew.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && path_is_empty(&path) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            report.problem(
                subject,
                "is damaged: it ends in its first bytes".into(),
                DAMAGED_ADVICE,
            );
        }
        // Not there, or not to be read, which is said of the whole directory.
        Err(_) => {}
    }
}

fn path_is_empty(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

/// `PRAGMA user_version`.
fn version(head: &[u8; HEAD]) -> i32 {
    let [a, b, c, d] = [head[60], head[61], head[62], head[63]];
    i32::from_be_bytes([a, b, c, d])
}

/// What the file format (sqlite.org/fileformat2.html, 1.3) begins with.
const HEAD: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Settings};
    use crate::metrics::Metrics;

    fn found(data_dir: &Path) -> String {
        let mut report = Report::default();
        examine(data_dir, &mut report);
        report.to_string()
    }

    #[test]
    fn what_a_gateway_would_refuse_is_told_and_nothing_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        assert!(found(dir.path()).starts_with("no problems"));
        drop(Journal::open(dir.path(), Settings::default(), Metrics::default()).unwrap());
        assert!(found(dir.path()).starts_with("no problems"));
        let connection = rusqlite::Connection::open(file(dir.path())).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        assert!(found(dir.path()).contains("schema version 99"));
        std::fs::write(file(dir.path()), [7; 4096]).unwrap();
        assert!(found(dir.path()).contains("sqlite3"));
        std::fs::write(file(dir.path()), [7; 10]).unwrap();
        assert!(found(dir.path()).contains("first bytes"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
