//! TLS for listeners: certificate, key and client authority out of PEM files.
//!
//! [`load`] reads the files and finds everything that would keep clients out before a port opens:
//! a file that cannot be read, text that is not PEM, a key of another certificate. [`Credentials`]
//! holds what was loaded and takes in renewed files while the listener goes on. TLS 1.2 and 1.3,
//! by rustls; nothing else here knows MQTT or HTTP.

mod error;
mod files;
mod renewal;
mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};

pub use error::{Part, Problem, TlsError, TlsErrors};
pub use renewal::Credentials;
pub use validity::Validity;

use files::Material;

/// The files that a listener with TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, then those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
    /// Authorities one of which must have signed a client's certificate, PEM; `None`: clients are
    /// not asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Files that fit together.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub(crate) config: Arc<ServerConfig>,
    /// When each certificate is valid, the server's own first.
    validities: Vec<(Part, PathBuf, Validity)>,
}

/// Something that works now and keeps clients out, today or soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// The file it is about.
    pub part: Part,
    /// Its path.
    pub path: PathBuf,
    /// What a person should know.
    pub message: String,
}

/// Reads and checks the files.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn load(files: &TlsFiles) -> Result<Loaded, TlsErrors> {
    judge(files, &Material::read(files))
}

impl Loaded {
    /// Certificates that have expired, are not valid yet, or expire within two weeks.
    #[must_use]
    pub fn concerns(&self, now: Timestamp) -> Vec<Concern> {
        let concern = |(part, path, validity): &(Part, PathBuf, Validity)| {
            let message = validity.concern(now)?;
            Some(Concern { part: *part, path: path.clone(), message })
        };
        self.validities.iter().filter_map(concern).collect()
    }

    /// When the server's certificate ends, if that could be read.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.validities.first().map(|(_, _, validity)| validity.until)
    }
}

/// Makes of the files' contents what a listener needs.
fn judge(files: &TlsFiles, material: &Material) -> Result<Loaded, TlsErrors> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = files::certificates(Part::Certificate, &files.certificate, &material.certificate);
    let key = files::key(&files.key, &material.key);
    let clients = match (&files.client_ca, &material.client_ca) {
        (Some(path), Some(read)) => client_verifier(path, read, &provider).map(Some),
        _ => Ok(None),
    };
    let (chain, key, (clients, authorities)) = match (chain, key, clients) {
        (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients.unzip()),
        (chain, key, clients) => {
            let errors = [chain.err(), key.err(), clients.err()];
            return Err(TlsErrors(errors.into_iter().flatten().collect()));
        }
    };
    let mut validities = validities(Part::Certificate, &files.certificate, &chain);
    if let (Some(path), Some(authorities)) = (&files.client_ca, &authorities) {
        validities.extend(self::validities(Part::ClientCa, path, authorities));
    }
    let certified = certified(files, chain, key, &provider).map_err(TlsErrors::one)?;
    let config = server_config(provider, clients, certified).map_err(|source| {
        let (part, path) = (Part::Certificate, files.certificate.clone());
        TlsErrors::one(TlsError { part, path, problem: Problem::Unusable(error::words(&source)) })
    })?;
    Ok(Loaded { config: Arc::new(config), validities })
}

fn server_config(
    provider: Arc<CryptoProvider>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    certified: CertifiedKey,
) -> Result<ServerConfig, rustls::Error> {
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    Ok(builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
}

/// The chain with its key, once it is sure that they belong together.
fn certified(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let of_key = |problem| TlsError { part: Part::Key, path: files.key.clone(), problem };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|source| of_key(Problem::KeyUnusable(error::words(&source))))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // Unknown: this kind of key cannot tell its public half. Clients will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(of_key(Problem::OtherCertificate(files.certificate.clone())))
        }
        Err(source) => {
            let (part, path) = (Part::Certificate, files.certificate.clone());
            Err(TlsError { part, path, problem: Problem::Unusable(error::words(&source)) })
        }
    }
}

type Clients = (Arc<dyn ClientCertVerifier>, Vec<CertificateDer<'static>>);

fn client_verifier(
    path: &std::path::Path,
    read: &files::Content,
    provider: &Arc<CryptoProvider>,
) -> Result<Clients, TlsError> {
    let unusable = |text: String| {
        let problem = Problem::Unusable(text);
        TlsError { part: Part::ClientCa, path: path.to_owned(), problem }
    };
    let authorities = files::certificates(Part::ClientCa, path, read)?;
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        roots.add(authority.clone()).map_err(|source| unusable(error::words(&source)))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|source| unusable(source.to_string()))?;
    Ok((verifier, authorities))
}

fn validities(
    part: Part,
    path: &std::path::Path,
    chain: &[CertificateDer<'_>],
) -> Vec<(Part, PathBuf, Validity)> {
    let of_one = |der: &CertificateDer<'_>| Some((part, path.to_owned(), Validity::of(der)?));
    chain.iter().filter_map(of_one).collect()
}
