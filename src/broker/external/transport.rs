//! The socket to the broker, with TLS around it for `mqtts://`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::fault::Fault;
use super::{ExternalError, ExternalSettings};

/// A byte stream both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How to reach the broker.
#[derive(Clone)]
pub(super) struct Dialler {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialler({}:{})", self.host, self.port)
    }
}

impl Dialler {
    /// Reads the certificates that are trusted, when TLS is wanted.
    ///
    /// # Errors
    /// When there are none, or the host is no name that a certificate could be for.
    pub(super) fn new(settings: &ExternalSettings) -> Result<Self, ExternalError> {
        let (host, port) = (settings.host.clone(), settings.port);
        let tls = if settings.tls {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| ExternalError::ServerName(host.clone()))?;
            Some((connector(settings.ca.as_deref())?, name))
        } else {
            None
        };
        Ok(Self { host, port, tls })
    }

    /// Opens a connection, each of its steps within ten seconds.
    pub(super) async fn dial(&self) -> Result<Box<dyn Stream>, Fault> {
        let asking = crate::mdns::lookup(&self.host, self.port);
        let found = within("asking for the address", asking).await?;
        let addresses: Vec<SocketAddr> = found.map_err(Fault::Resolve)?;
        let mut last = Fault::Resolve(std::io::Error::other("it has no address"));
        for address in addresses {
            match within("connecting", TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return self.secure(socket).await,
                Ok(Err(error)) => last = Fault::of_dialling(error),
                Err(slow) => last = slow,
            }
        }
        Err(last)
    }

    async fn secure(&self, socket: TcpStream) -> Result<Box<dyn Stream>, Fault> {
        socket.set_nodelay(true).map_err(Fault::Io)?;
        let Some((connector, name)) = &self.tls else {
            return Ok(Box::new(socket));
        };
        let handshake = connector.connect(name.clone(), socket);
        let stream = within("setting up TLS", handshake).await?.map_err(Fault::of_tls)?;
        Ok(Box::new(stream))
    }
}

/// Awaits one step of setting up a connection.
pub(super) async fn within<T>(
    doing: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    let slow = |_| Fault::Slow { doing, after: STEP };
    tokio::time::timeout(STEP, work).await.map_err(slow)
}

const STEP: Duration = Duration::from_secs(10);

fn connector(ca: Option<&Path>) -> Result<TlsConnector, ExternalError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ExternalError> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(path) => {
            let unusable = |reason: String| ExternalError::Authority { path: path.into(), reason };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable(error.to_string()))?;
            for certificate in certificates {
                store.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(unusable("it holds no certificate".to_owned()));
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(ExternalError::NoAuthorities);
            }
        }
    }
    Ok(store)
}
