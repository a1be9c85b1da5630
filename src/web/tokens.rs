//! The tokens by which programs of Flukso's cloud ask for one sensor's history.
//!
//! Each is derived from the sensor's id and a secret of this installation, so none has to be kept,
//! and none can be guessed from the ids, which are no secrets.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::SensorId;

/// Makes tokens; the same ones as long as `data_dir` is the same.
#[derive(Clone)]
pub struct Tokens {
    secret: [u8; 32],
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// The secret cannot be read or made.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file is there and holds something else.
    #[error(
        "{0} does not hold 32 bytes: it is damaged; take it away, and sensors get other tokens"
    )]
    Damaged(PathBuf),
    /// The file cannot be read or written.
    #[error("{path} cannot be used; it must be readable and its directory writable")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Tokens {
    /// Reads the secret in `data_dir`, or makes one there.
    ///
    /// # Errors
    /// When it cannot be read or written, or is damaged.
    pub fn load(data_dir: &Path) -> Result<Tokens, TokensError> {
        let path = data_dir.join(FILE);
        let failed = |source| TokensError::File { path: path.clone(), source };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return make(data_dir).map_err(failed);
            }
            Err(error) => return Err(failed(error)),
        };
        let secret = bytes.try_into().map_err(|_| TokensError::Damaged(path.clone()))?;
        Ok(Tokens { secret })
    }

    /// The token of a sensor: 32 lower-case hexadecimal digits.
    pub fn of(&self, sensor: SensorId) -> String {
        self.derive(&sensor.to_string())
    }

    /// The token for all sensors: what Flukso calls the master token of an account.
    pub fn master(&self) -> String {
        self.derive("master")
    }

    fn derive(&self, what: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.secret);
        digest.update(what);
        let digest = digest.finalize();
        let mut text = String::with_capacity(32);
        for byte in digest.iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Written under another name first, so that the file is whole or not there.
fn make(data_dir: &Path) -> io::Result<Tokens> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    let draft = data_dir.join(format!("{FILE}.new"));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&draft, data_dir.join(FILE))?;
    Ok(Tokens { secret })
}

const FILE: &str = "tokens.key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, Make, Quantity};

    #[test]
    fn tokens_stay_and_differ() {
        let dir = tempfile::tempdir().unwrap();
        let sensor = |n| SensorId::derive(Make::Brultech, "1", Channel::Ch(n), Quantity::PPlus);
        let tokens = Tokens::load(dir.path()).unwrap();
        let token = tokens.of(sensor(1));
        assert!(token.len() == 32 && token.parse::<SensorId>().is_ok(), "{token}");
        assert_ne!(tokens.of(sensor(2)), token);
        assert!(tokens.master() != token && tokens.master().len() == 32);
        assert_eq!(Tokens::load(dir.path()).unwrap().of(sensor(1)), token);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Tokens::load(other.path()).unwrap().of(sensor(1)), token);
        fs::write(dir.path().join(FILE), "short").unwrap();
        assert!(matches!(Tokens::load(dir.path()), Err(TokensError::Damaged(_))));
    }
}
