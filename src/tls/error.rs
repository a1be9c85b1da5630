//! What can be wrong with the files of a listener with TLS.

use std::fmt;
use std::path::PathBuf;

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The server's certificate chain.
    Certificate,
    /// Its private key.
    Key,
    /// The authorities of client certificates.
    ClientCa,
}

/// A file that cannot be used. Its message starts with the path.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsError {
    /// Which of the files.
    pub part: Part,
    /// Its path.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// Everything that is wrong with the files; at least one thing.
#[derive(Debug)]
pub struct TlsErrors(pub Vec<TlsError>);

/// Why a file cannot be used. No message holds anything of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Larger than any such file is.
    #[error("is larger than {0} bytes: this is not a PEM file")]
    TooLarge(u64),
    /// No PEM section of the kind that is needed.
    #[error("holds no certificate: {0}")]
    NoCertificate(&'static str),
    /// No PEM section of the kind that is needed.
    #[error("holds no private key: {0}")]
    NoKey(&'static str),
    /// A section begins and does not end, or holds no base64.
    #[error("is damaged: a PEM section does not end, or holds something that is not base64")]
    Damaged,
    /// The key asks for a passphrase.
    #[error(
        "is protected by a passphrase, which nobody can type at a start: write it without one \
         (openssl pkey -in OLD -out NEW), readable by this program alone"
    )]
    Encrypted,
    /// The key is of a kind that cannot be used.
    #[error(
        "is not a key that can be used: {0}; write an RSA (2048 bits or more), P-256, P-384 or Ed25519 key"
    )]
    KeyUnusable(String),
    /// The certificate cannot be used.
    #[error("is not a certificate that can be used: {0}")]
    Unusable(String),
    /// The key belongs to another certificate.
    #[error("does not belong to the first certificate in {}: write the key it was made with, and the server's own certificate first", .0.display())]
    OtherCertificate(PathBuf),
}

impl Part {
    /// Its key in the configuration.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }
}

/// rustls' words, without its surprise at what is everyday here.
pub(super) fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(text) => text.clone(),
        error => error.to_string(),
    }
}

impl TlsErrors {
    pub(super) fn one(error: TlsError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for TlsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let before = if at > 0 { "; " } else { "" };
            write!(f, "{before}{}: {error}", error.part.key())?;
        }
        Ok(())
    }
}

impl std::error::Error for TlsErrors {}
