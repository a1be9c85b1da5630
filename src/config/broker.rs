//! The keys under `broker:`: listeners, logins, permissions, limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scalar::Addresses;
use super::secret::{Secret, SecretUrl};
use crate::tls::TlsFiles;

/// The broker inside the gateway, or the one elsewhere that the gateway uses instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Whether the gateway is the broker or uses one.
    pub mode: Mode,
    /// Where MQTT 3.1.1 and MQTT 5 are served.
    pub listen: Addresses,
    /// A further listener with TLS.
    pub tls: Option<Tls>,
    /// MQTT over WebSocket at `/mqtt` of the web port.
    pub websocket: bool,
    /// Whether clients may come without a login. `None`: only while every listener is on
    /// loopback; see [`Config::anonymous_allowed`](super::Config::anonymous_allowed).
    pub allow_anonymous: Option<bool>,
    /// Logins.
    pub users: Vec<User>,
    /// A file of logins in Mosquitto's format.
    pub password_file: Option<PathBuf>,
    /// What clients may read and write; empty: everything.
    pub acl: Vec<Permission>,
    /// What one client, and all together, may use.
    pub limits: Limits,
    /// The broker elsewhere, for [`Mode::External`].
    pub external: Option<External>,
}

/// See [`Broker::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The gateway is the broker.
    #[default]
    Embedded,
    /// The gateway is a client of the broker in [`Broker::external`].
    External,
}

/// See [`Broker::tls`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Where MQTT over TLS is served.
    pub listen: Addresses,
    /// The server's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whose certificates a client has to show; `None`: none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// One login.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// The name the client gives.
    pub name: String,
    /// The hash of its password (`$argon2id$…`; `$7$…` and `$6$…` as well), as `meterbridge passwd` prints it.
    pub password_hash: Secret,
}

/// One entry of the access list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permission {
    /// Whom it is for; `*` is every login, `None` clients without one.
    pub user: Option<String>,
    /// Filters that may be subscribed to.
    pub read: Vec<String>,
    /// Filters that may be published to.
    pub write: Vec<String>,
    /// Filters that may be neither, whatever else grants them.
    pub deny: Vec<String>,
}

/// Bounds of the broker, each of them a number above 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Clients at a time.
    pub connections: usize,
    /// Clients at a time from one address.
    pub connections_per_address: usize,
    /// How long a connection may take until its CONNECT is there.
    #[serde(with = "super::duration")]
    pub connect_timeout: Duration,
    /// The longest keep-alive a client may ask for.
    #[serde(with = "super::duration")]
    pub keep_alive: Duration,
    /// The largest packet, in bytes.
    pub packet_size: usize,
    /// Unacknowledged messages per client; announced as receive maximum.
    pub inflight: u16,
    /// Messages waiting for one client.
    pub queued_messages: usize,
    /// Bytes waiting for one client.
    pub queued_bytes: usize,
    /// Messages waiting for all clients whose sessions are kept.
    pub total_queued_messages: usize,
    /// Bytes waiting for them.
    pub total_queued_bytes: usize,
    /// Retained messages in all.
    pub retained_messages: usize,
}

/// See [`Broker::external`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct External {
    /// `mqtt://user@host:port` or `mqtts://…`.
    pub url: Option<SecretUrl>,
    /// The password, when the URL holds none.
    pub password: Option<Secret>,
    /// The client id; it must stay the same, the session hangs on it.
    pub client_id: String,
    /// 5, or 4 for MQTT 3.1.1.
    pub version: u8,
    /// Who may have signed the broker's certificate, PEM; `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Messages that may wait for the broker on disk; of retained topics the latest always does.
    pub outbox_messages: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
}

impl Broker {
    /// Whether clients may come without a login: as configured, else while every listener of this
    /// section is out of reach for other machines.
    pub(super) fn anonymous_allowed(&self) -> bool {
        self.allow_anonymous.unwrap_or_else(|| {
            self.listen.on_loopback()
                && self.tls.as_ref().is_none_or(|tls| tls.listen.on_loopback())
        })
    }
}

impl Tls {
    /// The files to read.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
        }
    }
}

impl Limits {
    /// The bounds that are counts, with their keys.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("packet_size", self.packet_size),
            ("inflight", usize::from(self.inflight)),
            ("queued_messages", self.queued_messages),
            ("queued_bytes", self.queued_bytes),
            ("total_queued_messages", self.total_queued_messages),
            ("total_queued_bytes", self.total_queued_bytes),
            ("retained_messages", self.retained_messages),
        ])
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self {
            mode: Mode::Embedded,
            listen: Addresses(vec![([127, 0, 0, 1], 1883).into()]),
            tls: None,
            websocket: true,
            allow_anonymous: None,
            users: Vec::new(),
            password_file: None,
            acl: Vec::new(),
            limits: Limits::default(),
            external: None,
        }
    }
}

/// As the broker has them.
impl Default for Limits {
    fn default() -> Self {
        let crate::broker::Limits {
            connections,
            connections_per_address,
            connect_timeout,
            keep_alive,
            packet_size,
            inflight,
            queued_messages,
            queued_bytes,
            total_queued_messages,
            total_queued_bytes,
            retained_messages,
        } = crate::broker::Limits::default();
        Self {
            connections,
            connections_per_address,
            connect_timeout,
            keep_alive,
            packet_size,
            inflight,
            queued_messages,
            queued_bytes,
            total_queued_messages,
            total_queued_bytes,
            retained_messages,
        }
    }
}

impl Default for External {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            client_id: "meterbridge".to_owned(),
            version: 5,
            ca: None,
            outbox_messages: 100_000,
            outbox_bytes: 67_108_864,
        }
    }
}
