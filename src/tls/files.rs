//! PEM files: reading them, and telling what is in them instead of what should be.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use super::TlsFiles;
use super::error::{Part, Problem, TlsError};

/// A file's bytes, or why there are none.
pub(super) type Content = Result<Vec<u8>, Problem>;

/// The files as they were at one moment.
pub(super) struct Material {
    pub(super) certificate: Content,
    pub(super) key: Content,
    pub(super) client_ca: Option<Content>,
}

impl Material {
    pub(super) fn read(files: &TlsFiles) -> Self {
        Self {
            certificate: read(&files.certificate),
            key: read(&files.key),
            client_ca: files.client_ca.as_deref().map(read),
        }
    }

    /// Differs when any of the files differs.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for content in [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()] {
            let of_one = match content {
                Some(Ok(bytes)) => Sha256::digest(bytes),
                Some(Err(problem)) => Sha256::digest(problem.to_string()),
                None => Sha256::digest([]),
            };
            hash.update(of_one);
        }
        hash.finalize().into()
    }
}

/// Every certificate of a PEM file, in its order; at least one.
pub(super) fn certificates(
    part: Part,
    path: &Path,
    content: &Content,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |problem| TlsError { part, path: path.to_owned(), problem };
    let bytes = content.as_ref().map_err(|problem| failed(problem.clone()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(failed(Problem::NoCertificate(instead_of_certificate(bytes)))),
        Err(_) => Err(failed(Problem::Damaged)),
    }
}

/// The first private key of a PEM file.
pub(super) fn key(path: &Path, content: &Content) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |problem| TlsError { part: Part::Key, path: path.to_owned(), problem };
    let bytes = content.as_ref().map_err(|problem| failed(problem.clone()))?;
    if holds(bytes, "ENCRYPTED") {
        return Err(failed(Problem::Encrypted));
    }
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        PemError::NoItemsFound => failed(Problem::NoKey(instead_of_key(bytes))),
        _ => failed(Problem::Damaged),
    })
}

fn read(path: &Path) -> Content {
    let failed = |error: std::io::Error| Problem::Unreadable(explain(path, &error));
    // Asked before opening: to open a pipe would wait for its writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(Problem::Unreadable("it is not a file".to_owned()));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST { Err(Problem::TooLarge(LARGEST)) } else { Ok(bytes) }
}

/// The system's words; where it forbids, also whose the file is and who asks.
fn explain(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            // The owner of a process's own directory in /proc is the user it runs as.
            let asks = std::fs::metadata("/proc/self").map_or_else(
                |_| String::new(),
                |me| format!(", and this program runs as user {}", me.uid()),
            );
            std::fs::metadata(path).map_or_else(
                |_| format!("permission denied on the way to it{asks}"),
                |it| {
                    let (owner, group, mode) = (it.uid(), it.gid(), it.mode() & 0o7777);
                    format!("permission denied: it belongs to user {owner}, group {group}, with mode {mode:o}{asks}")
                },
            )
        }
        _ => error.to_string(),
    }
}

fn instead_of_certificate(bytes: &[u8]) -> &'static str {
    if holds(bytes, "PRIVATE KEY") {
        "it holds a private key; are certificate and key swapped?"
    } else if looks_like_der(bytes) {
        "it looks like DER; turn it into PEM (openssl x509 -inform der -in OLD -out NEW)"
    } else {
        "a PEM file is needed, with a line -----BEGIN CERTIFICATE-----"
    }
}

fn instead_of_key(bytes: &[u8]) -> &'static str {
    if holds(bytes, "CERTIFICATE") {
        "it holds a certificate; are certificate and key swapped?"
    } else if looks_like_der(bytes) {
        "it looks like DER; turn it into PEM (openssl pkey -inform der -in OLD -out NEW)"
    } else {
        "a PEM file is needed, with a line -----BEGIN PRIVATE KEY-----"
    }
}

/// Whether a line that begins a section, or a header of one, holds this word.
fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| {
        (line.starts_with(b"-----BEGIN ") || line.starts_with(b"Proc-Type:"))
            && line.windows(word.len()).any(|window| window == word.as_bytes())
    })
}

fn looks_like_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0xFF, ..])
}

/// A chain of ten large certificates is 20 kB.
const LARGEST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(certificate: &str, key: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let [certificate, key] = [("c", certificate), ("k", key)].map(|(name, text)| {
            std::fs::write(dir.path().join(name), text).unwrap();
            dir.path().join(name)
        });
        let files = TlsFiles { certificate, key, client_ca: Some(dir.path().to_owned()) };
        let without = TlsFiles { client_ca: None, ..files.clone() };
        let words = super::super::load(&without).err().map_or_else(String::new, |e| e.to_string());
        if words.is_empty() {
            return super::super::load(&files).unwrap_err().to_string();
        }
        words
    }

    #[test]
    fn each_mistake_is_named_and_no_key_is_shown() {
        let made = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let secret = key.lines().nth(1).unwrap();
        let locked = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let legacy =
            format!("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n{secret}\n");
        let cases: &[(&str, &str, &[&str])] = &[
            (&key, &certificate, &["certificate: ", "swapped", "; key: "]),
            ("", "", &["holds no certificate", "holds no private key"]),
            ("hello", &key, &["-----BEGIN CERTIFICATE-----"]),
            ("\x30\u{ff}", &key, &["it looks like DER"]),
            (&certificate, &other, &["key: ", "does not belong"]),
            (&certificate, &locked, &["passphrase"]),
            (&certificate, &legacy, &["passphrase"]),
            (&certificate, &key[..100], &["damaged"]),
            (&certificate, &key.replacen(secret, "AAAA", 1), &["not a key that can be used"]),
            (&certificate[..80], &key, &["damaged"]),
            (&certificate, &key, &["client_ca: ", "it is not a file"]),
        ];
        for (certificate, key, words) in cases {
            let told = told(certificate, key);
            for word in *words {
                assert!(told.contains(word), "{word}: {told}");
            }
            assert!(!told.contains(&secret[..8]), "{told}");
        }
    }
}
