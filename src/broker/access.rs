//! Who may connect. For now one rule: anonymous clients are let in or they are not.
//!
//! Users, password files and access lists come here: `Access::admit` is asked once per CONNECT and
//! gives an `Identity`, which the connection asks before each PUBLISH and SUBSCRIBE.

use std::net::SocketAddr;

use super::packet::{Connect, Reason};

/// The rules.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    allow_anonymous: bool,
}

/// A client that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Identity;

impl Access {
    pub(crate) fn new(allow_anonymous: bool) -> Self {
        Self { allow_anonymous }
    }

    /// Judges a CONNECT. A user name is taken as anonymous, since no users are configured.
    ///
    /// # Errors
    /// The reason to refuse with.
    pub(crate) fn admit(&self, _peer: SocketAddr, connect: &Connect) -> Result<Identity, Reason> {
        if connect.authentication_method.is_some() {
            return Err(Reason::BAD_AUTHENTICATION_METHOD);
        }
        if self.allow_anonymous { Ok(Identity) } else { Err(Reason::NOT_AUTHORIZED) }
    }
}

impl Identity {
    /// Whether the client may publish to `topic`.
    pub(crate) fn may_publish(&self, _topic: &str) -> bool {
        true
    }

    /// Whether the client may subscribe to `filter`.
    pub(crate) fn may_subscribe(&self, _filter: &str) -> bool {
        true
    }
}
