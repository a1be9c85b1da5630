//! Why a connection to the broker could not be made or has ended, in words that say what to do.

use std::io;
use std::time::Duration;

use tokio_rustls::rustls;

/// The end of one attempt, or of one connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(
        "the host name is not known ({0}): is it spelled right in broker.external.url, and does \
         this machine reach its name server?"
    )]
    Resolve(io::Error),
    #[error(
        "nothing listens there: is the broker running, and is the port of broker.external.url \
         right (mqtt:// mostly 1883, mqtts:// mostly 8883)?"
    )]
    Refused,
    #[error("it cannot be reached ({0}): check the network and the host in broker.external.url")]
    Unreachable(io::Error),
    #[error(
        "no answer within {} s while {doing}: is that an MQTT broker, and is mqtt:// or mqtts:// \
         right for this port?",
        .after.as_secs()
    )]
    Slow {
        /// What was waited for.
        doing: &'static str,
        /// For how long.
        after: Duration,
    },
    #[error("the TLS connection cannot be set up ({source}): {advice}")]
    Tls {
        /// What to do about it.
        advice: &'static str,
        /// What the handshake said.
        source: io::Error,
    },
    #[error(
        "the broker refuses the login ({0}): check the user in broker.external.url and \
             broker.external.password, and that the broker knows both"
    )]
    Login(String),
    #[error("the broker does not speak MQTT {0}: try broker.external.version: {1}")]
    Version(&'static str, u8),
    #[error("the broker refuses the connection: {0}")]
    Rejected(String),
    #[error(
        "the broker closed the connection instead of answering: does this port want mqtts://, or \
         the broker another broker.external.version than {version}?"
    )]
    ClosedEarly {
        /// What was tried.
        version: u8,
    },
    #[error("the connection was closed by the other side")]
    Closed,
    #[error("the broker ended the connection: {0}")]
    Ended(String),
    #[error(
        "another client connected with the client id \"{0}\": give each gateway a broker.external.client_id of its own"
    )]
    TakenOver(String),
    #[error("nothing was heard from the broker for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the connection failed: {0}")]
    Io(io::Error),
    #[error("the broker sent what is not MQTT ({0})")]
    Malformed(String),
    #[error("a fault of the gateway itself: {0}")]
    Panic(String),
}

impl Fault {
    /// What went wrong with a socket that was open.
    pub(super) fn of_io(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }

    /// What went wrong before a socket was open.
    pub(super) fn of_dialling(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            _ => Self::Unreachable(error),
        }
    }

    /// What went wrong in the TLS handshake.
    pub(super) fn of_tls(source: io::Error) -> Self {
        use rustls::{CertificateError, Error, InvalidMessage};
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let advice = match inner {
            Some(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => {
                "nobody trusted here has signed its certificate; name the authority's file in \
                 broker.external.ca"
            }
            Some(Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => "its certificate has expired; renew it, or check this machine's clock",
            Some(Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => "its certificate is not valid yet; check this machine's clock",
            Some(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => "its certificate is for another name; write that name in broker.external.url",
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
                "the other side does not speak TLS; write mqtt://, or the port for TLS (8883)"
            }
            Some(Error::AlertReceived(_)) => {
                "the broker refuses this side; does it want a client certificate?"
            }
            _ => "is that port the broker's TLS port, and its certificate in order?",
        };
        Self::Tls { advice, source }
    }
}
