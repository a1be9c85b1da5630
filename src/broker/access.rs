//! Who may connect, and what a client may publish, subscribe to and be sent.
//!
//! [`Access::admit`] is asked once per CONNECT. It knows the [`users`], has passwords tested off the
//! threads that serve connections, and lets the [`guard`] slow down those who guess. What it gives
//! becomes, with the client id, an [`Identity`], which the connection asks before each PUBLISH and
//! SUBSCRIBE. Rules do not change while the broker runs; users of a password file do.
//!
//! No user name that nobody has, no password and no hash is ever logged.

mod gate;
mod guard;
mod password;
mod password_file;
mod rights;
mod sets;
mod users;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use gate::{Caller, Gate, Refusal};
pub use password::{HashError, PasswordHash};
pub use password_file::{LineFault, PasswordFile, PasswordFileError};
pub use rights::{AccessRule, Who};
pub use users::User;

pub(crate) use rights::{Judgement, Screen};

use super::BrokerError;
use super::packet::{Connect, Password, Reason};
use super::stats::{BrokerStats, Throttle};
use guard::{Guard, TooManyFailures};
use rights::Rights;
use users::Users;

/// Who may connect and what for. The default lets everybody do everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Whether clients may connect without logging in.
    pub allow_anonymous: bool,
    /// Users whose password hashes are configured.
    pub users: Vec<User>,
    /// Further users, in mosquitto's format; read again when it changes.
    pub password_file: Option<PathBuf>,
    /// What clients may do. Empty: everything; else what no rule grants is refused.
    pub rules: Vec<AccessRule>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { allow_anonymous: true, users: Vec::new(), password_file: None, rules: Vec::new() }
    }
}

/// The rules at work.
#[derive(Debug)]
pub(crate) struct Access {
    allow_anonymous: bool,
    /// `None`: none are configured, and a user name means nothing.
    users: Option<Arc<Users>>,
    rules: Vec<AccessRule>,
    guard: Guard,
    stats: Arc<BrokerStats>,
    notice: Throttle,
}

/// Who wants in, and by which protocol.
#[derive(Debug, Clone, Copy)]
struct Visitor {
    peer: SocketAddr,
    by: &'static str,
}

/// Who a client has shown to be; `None` is nobody in particular.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Login(pub(crate) Option<Arc<str>>);

/// A client that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    login: Login,
    /// `None`: everything.
    rights: Option<Arc<Rights>>,
}

impl Access {
    /// Reads the password file, if one is given.
    ///
    /// # Errors
    /// [`BrokerError::Access`] if it cannot be read.
    pub(crate) fn new(
        settings: AccessSettings,
        stats: Arc<BrokerStats>,
    ) -> Result<Self, BrokerError> {
        let AccessSettings { allow_anonymous, users, password_file, rules } = settings;
        let users = match (users.is_empty(), &password_file) {
            (true, None) => None,
            _ => {
                let loaded = Users::load(users, password_file);
                Some(Arc::new(loaded.map_err(|error| BrokerError::Access(error.to_string()))?))
            }
        };
        let (guard, notice) = (Guard::default(), Throttle::default());
        Ok(Self { allow_anonymous, users, rules, guard, stats, notice })
    }

    /// Judges a CONNECT. A refusal is counted and logged, and takes its time.
    ///
    /// A user name where no users are configured is taken as anonymous; so is an empty one, which
    /// some clients send when none was typed in.
    ///
    /// # Errors
    /// The reason to refuse with: 0x8C for extended authentication, which is not offered; 0x87 for
    /// a client without a login where one is needed; 0x86 for a wrong login, whatever is wrong with
    /// it; 0x9F after too many of these.
    pub(crate) async fn admit(&self, peer: SocketAddr, connect: &Connect) -> Result<Login, Reason> {
        if connect.authentication_method.is_some() {
            return Err(Reason::BAD_AUTHENTICATION_METHOD);
        }
        let name = connect.user.as_deref().unwrap_or_default();
        let password = connect.password.as_ref().map_or(&[][..], Password::reveal);
        self.admit_as(Visitor { peer, by: "mqtt" }, name, password, self.allow_anonymous).await
    }

    /// Judges a user name and a password, wherever they come from; no name: no login.
    async fn admit_as(
        &self,
        visitor: Visitor,
        name: &str,
        password: &[u8],
        allow_anonymous: bool,
    ) -> Result<Login, Reason> {
        match self.users.as_ref().filter(|_| !name.is_empty()) {
            Some(users) => self.log_in(visitor, users, name, password).await,
            None if allow_anonymous => Ok(Login(None)),
            None => {
                BrokerStats::count(&self.stats.refused_anonymous);
                if let Some(before) = self.notice.pass() {
                    let Visitor { peer, by } = visitor;
                    tracing::warn!(%peer, by, before, "client refused: it gave no user name");
                }
                Err(Reason::NOT_AUTHORIZED)
            }
        }
    }

    /// Whether a client needs no login.
    pub(crate) fn lets_anybody_in(&self) -> bool {
        self.allow_anonymous
    }

    /// What a client may do, now that its client id is certain.
    pub(crate) fn identify(&self, login: Login, client_id: &str) -> Identity {
        let rights = (!self.rules.is_empty())
            .then(|| Arc::new(Rights::new(&self.rules, login.0.as_deref(), client_id)));
        Identity { login, rights }
    }

    async fn log_in(
        &self,
        visitor: Visitor,
        users: &Arc<Users>,
        name: &str,
        password: &[u8],
    ) -> Result<Login, Reason> {
        let unheard = |TooManyFailures| self.refuse_unheard(visitor);
        let attempt = self.guard.attempt(visitor.peer.ip(), name).await.map_err(unheard)?;
        users.refresh().await;
        // What was shown before need not be tested again, except by those who have guessed wrong.
        if !(attempt.clean && users.is_proven(name, password)) {
            self.guard.before_test(&attempt).await.map_err(unheard)?;
            let answer = Instant::now() + REFUSAL_TIME;
            if !users.is_right(name, password).await {
                self.guard.failed(&attempt);
                // The time tells nothing of which part was wrong.
                tokio::time::sleep_until(answer).await;
                return Err(self.refuse(visitor, users, name));
            }
        }
        self.guard.succeeded(&attempt);
        Ok(Login(Some(name.into())))
    }

    fn refuse(&self, visitor: Visitor, users: &Users, name: &str) -> Reason {
        let Visitor { peer, by } = visitor;
        BrokerStats::count(&self.stats.refused_logins);
        if let Some(before) = self.notice.pass() {
            // A name that nobody has may be a password in the wrong place.
            if users.is_known(name) {
                tracing::warn!(%peer, by, user = name, before, "client refused: wrong password");
            } else {
                tracing::warn!(%peer, by, before, "client refused: no such user");
            }
        }
        Reason::BAD_USER_NAME_OR_PASSWORD
    }

    fn refuse_unheard(&self, visitor: Visitor) -> Reason {
        let Visitor { peer, by } = visitor;
        BrokerStats::count(&self.stats.refused_throttled);
        if let Some(before) = self.notice.pass() {
            let why = "client refused: too many wrong logins from there, wait a minute";
            tracing::warn!(%peer, by, before, "{why}");
        }
        Reason::CONNECTION_RATE_EXCEEDED
    }
}

impl Identity {
    /// Who the client has shown to be.
    pub(crate) fn login(&self) -> &Login {
        &self.login
    }

    /// Whether the client may publish to `topic`.
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_publish(topic))
    }

    /// Whether the client may be sent a message under `topic`.
    pub(crate) fn may_read(&self, topic: &[u8]) -> bool {
        self.rights.as_ref().is_none_or(|rights| rights.may_read(topic))
    }

    /// Whether the client may subscribe to `filter` (without the `$share/…/` of a shared one), and
    /// what its deliveries must pass then.
    pub(crate) fn judge(&self, filter: &str) -> Judgement {
        self.rights.as_ref().map_or(Judgement::Granted, |rights| rights.judge(filter))
    }
}

/// A wrong login is not answered before this has passed.
const REFUSAL_TIME: Duration = Duration::from_millis(500);
