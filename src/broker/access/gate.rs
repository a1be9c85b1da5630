//! The broker's users and rules for those who come over HTTP: the same names, passwords, pauses
//! and rights as MQTT clients have.

use std::net::SocketAddr;
use std::sync::Arc;

use super::rights::Judgement;
use super::{Access, AccessSettings, Identity, Visitor};
use crate::broker::packet::Reason;
use crate::broker::{BrokerError, BrokerStats};

/// Judges requests; clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate {
    access: Arc<Access>,
    anonymous: bool,
}

/// Who may come in has come in.
#[derive(Debug, Clone)]
pub struct Caller(Identity);

/// Why somebody may not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No user name was given.
    #[error("a login is needed: a user of broker.users, by HTTP basic authentication")]
    LoginNeeded,
    /// It is no user, or not the password.
    #[error("wrong user name or password")]
    WrongLogin,
    /// Too many wrong ones before.
    #[error("too many wrong logins: wait a minute")]
    TooManyFailures,
}

impl Gate {
    /// A gate of its own, where no broker runs here.
    ///
    /// # Errors
    /// [`BrokerError::Access`] if the password file cannot be read.
    pub fn new(settings: AccessSettings, anonymous: bool) -> Result<Gate, BrokerError> {
        let access = Access::new(settings, Arc::<BrokerStats>::default())?;
        Ok(Gate::of(Arc::new(access), anonymous))
    }

    pub(in crate::broker) fn of(access: Arc<Access>, anonymous: bool) -> Gate {
        Gate { access, anonymous }
    }

    /// Whether one may come without a login.
    pub fn is_open(&self) -> bool {
        self.anonymous
    }

    /// Judges a login, or that there is none. Takes its time when it is wrong.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(
        &self,
        peer: SocketAddr,
        login: Option<(&str, &[u8])>,
    ) -> Result<Caller, Refusal> {
        let (name, password) = login.unwrap_or_default();
        let visitor = Visitor { peer, by: "http" };
        let admitted = self.access.admit_as(visitor, name, password, self.anonymous).await;
        let login = admitted.map_err(|reason| match reason {
            Reason::CONNECTION_RATE_EXCEEDED => Refusal::TooManyFailures,
            Reason::NOT_AUTHORIZED => Refusal::LoginNeeded,
            _ => Refusal::WrongLogin,
        })?;
        Ok(Caller(self.access.identify(login, CLIENT_ID)))
    }
}

impl Caller {
    /// The user who came, if one logged in.
    pub fn user(&self) -> Option<&str> {
        self.0.login().0.as_deref()
    }

    /// Whether the caller may publish to `topic`.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.0.may_publish(topic)
    }

    /// Whether the caller may read all of `filter`.
    pub fn may_read(&self, filter: &str) -> bool {
        matches!(self.0.judge(filter), Judgement::Granted)
    }
}

/// What stands for `%c` in the access list.
const CLIENT_ID: &str = "http";
