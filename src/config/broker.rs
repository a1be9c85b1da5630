//! The keys under `broker:`: listeners, logins, permissions, limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::scalar::Addresses;
use super::secret::{Secret, SecretUrl};
use crate::broker::Limits;
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
    /// What one client, and all together, may use; each count is above 0.
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
