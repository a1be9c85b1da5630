//! What has to be known of a broker elsewhere before it is dialled.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::secret::Secret;

/// What the connection needs to know.
#[derive(Debug, Clone)]
pub struct ExternalSettings {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Who may have signed the broker's certificate, PEM; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// User and password.
    pub login: Option<Login>,
    /// Stays the same over restarts, and is this gateway's alone.
    pub client_id: String,
    /// Which MQTT.
    pub version: ProtocolVersion,
    /// Published, retained, when the gateway is gone without a word.
    pub will: Option<Will>,
    /// Where it is said that the outbox is full.
    pub event_topic: String,
    /// Messages that are not retained, in the outbox.
    pub outbox_messages: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// Messages that may wait to be sent live, and for each subscription.
    pub queued_messages: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Largest packet in either direction.
    pub packet_size: usize,
    /// Messages under way without an acknowledgement.
    pub inflight: u16,
    /// The shortest and the longest pause before the next attempt to connect.
    pub pauses: (Duration, Duration),
    /// Where the outbox is kept.
    pub data_dir: PathBuf,
}

/// A user of the broker.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password; empty: none.
    pub password: Secret,
}

/// See [`ExternalSettings::will`].
#[derive(Debug, Clone)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Any text.
    pub payload: String,
}

/// See [`ExternalSettings::version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.
    V5,
}

impl ProtocolVersion {
    /// As the protocol and the configuration number it: 4 or 5.
    pub fn number(self) -> u8 {
        match self {
            Self::V3 => 4,
            Self::V5 => 5,
        }
    }
}
