//! Password files in mosquitto's format: a line `name:hash` for each user, `#` before a comment.
//!
//! Source: mosquitto_passwd(1), mosquitto.conf(5) under `password_file`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::password::{HashError, PasswordHash};

/// What a password file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PasswordFile {
    /// The users in the order of the file, each name once.
    pub users: Vec<(String, PasswordHash)>,
    /// What cannot be used, in the order of the file.
    pub faults: Vec<LineFault>,
}

/// A line that cannot be used. Shows nothing of the line but a user's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} {fault}")]
pub struct LineFault {
    /// Counted from 1.
    pub line: usize,
    fault: String,
}

/// A password file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("password file {path} cannot be read: {reason}")]
pub struct PasswordFileError {
    path: PathBuf,
    reason: String,
}

impl PasswordFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not there, may not be read, is too large or is no text; with what to do about it.
    pub fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let failed = |reason| PasswordFileError { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(explain(path, &error)))?;
        if bytes.len() as u64 > LARGEST {
            return Err(failed(format!("it is larger than {} MiB", LARGEST >> 20)));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            failed(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))
        })?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            match read_line(text) {
                Err(fault) => file.faults.push(LineFault { line, fault }),
                Ok((name, hash)) => match lines.get(name) {
                    Some(first) => {
                        let fault = format!("names {name:?} again (first in line {first})");
                        file.faults.push(LineFault { line, fault });
                    }
                    None => {
                        lines.insert(name, line);
                        file.users.push((name.to_owned(), hash));
                    }
                },
            }
        }
        file
    }
}

fn read_line(text: &str) -> Result<(&str, PasswordHash), String> {
    let Some((name, hash)) = text.split_once(':') else {
        return Err("has no \":\" between name and hash".to_owned());
    };
    if name.is_empty() {
        return Err("has no name before its \":\"".to_owned());
    }
    // Not `{name:?}` before it is certain that there is a hash behind it.
    hash.parse().map(|hash| (name, hash)).map_err(|error| match error {
        HashError::Unknown => format!(
            "({name:?}) has no hash behind its \":\": make one with mosquitto_passwd, or turn \
             the passwords of a whole file into hashes with mosquitto_passwd -U"
        ),
        error => format!("({name:?}): the text behind the \":\" {error}"),
    })
}

/// Why a file cannot be read, and what to do about it.
fn explain(path: &Path, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return error.to_string();
    }
    // The owner of its own directory in /proc is whom a process acts as.
    let me =
        std::fs::metadata("/proc/self").map_or_else(|_| "?".to_owned(), |me| me.uid().to_string());
    match std::fs::metadata(path) {
        Ok(file) => format!(
            "it belongs to user {} and group {} with mode {:04o}, and the gateway runs as user \
             {me}: give it to that user (chown {me}) or let the group read it (chmod 640)",
            file.uid(),
            file.gid(),
            file.mode() & 0o7777,
        ),
        Err(_) => format!("user {me}, whom the gateway runs as, may not enter its directory"),
    }
}

const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$6$AtEq/yI7bePoP0yG$FUJmhNHxmDrzErAfEI7nx/xAPOL/XsnosTvUq5Ir067XoE8jF+f5erSTxiX2oipczDhD75hT5ksTudLPoXjznQ==";

    #[test]
    fn each_line_is_a_user_a_comment_or_a_fault() {
        let text = format!(
            "# users\n\nha:{HASH}\r\n we ird:{HASH}\nha:{HASH}\nclear:hunter2\nhunter2\n:{HASH}\ncut:{}\n",
            &HASH[..60]
        );
        let file = PasswordFile::parse(&text);
        let names: Vec<&str> = file.users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ha", "we ird"]);
        let faults: Vec<String> = file.faults.iter().map(ToString::to_string).collect();
        let expected = [
            "line 5 names \"ha\" again (first in line 3)",
            "line 6 (\"clear\") has no hash behind its \":\"",
            "line 7 has no \":\"",
            "line 8 has no name",
            "line 9 (\"cut\"): the text behind the \":\" is not a whole $6$ hash",
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.starts_with(expected), "{fault}");
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let missing = PasswordFile::read(&dir.path().join("nowhere")).unwrap_err().to_string();
        assert!(missing.contains("nowhere cannot be read: No such file"), "{missing}");
        assert!(PasswordFile::read(dir.path()).is_err());
        let text = dir.path().join("text");
        std::fs::write(&text, b"ha:\xff").unwrap();
        let error = PasswordFile::read(&text).unwrap_err().to_string();
        assert!(error.contains("byte 3 is not UTF-8"), "{error}");
        let denied = explain(&text, &io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("mode 0") && denied.contains("chmod 640"), "{denied}");
    }
}
