//! Commands for meters: what is asked, and what comes of it.
//!
//! Whoever takes commands in (MQTT, HTTP) makes a [`Command`] of what was said. What only the meter
//! itself can answer goes as a [`Job`] to the adapter of its make, which answers each job exactly
//! once, at the latest when its own deadline has passed.
//!
//! | module | has |
//! |---|---|
//! | [`grammar`] | JSON to a [`Command`], and what comes of it to JSON |
//! | [`directory`] | every meter by name, with its latest values |
//! | [`answers`] | what the latest values answer without asking the meter |
//! | `values`, `portrait` | the numbers of such an answer; the answer to `info` |
//! | [`router`] | the way of a request: from MQTT or HTTP to its reply |
//! | [`desk`] | what one request comes to |
//! | `lane`, `outbox` | the queue of each meter; where replies go |
//! | [`client`] | `meterbridge command` |

pub mod answers;
pub mod client;
pub mod desk;
pub mod directory;
pub mod grammar;
mod lane;
mod outbox;
mod portrait;
pub mod router;
mod values;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// A command as it was said: `{"cmd":"set","setting":"interval","value":5}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The `cmd`.
    pub name: String,
    /// All other keys but `id`.
    pub arguments: Map<String, Value>,
}

/// The keys of a reply that follow `error` and `cmd`.
pub type Answer = Map<String, Value>;

/// A command on its way to a meter.
#[derive(Debug)]
pub struct Job {
    /// The meter's own serial number, as its make writes it.
    pub serial: Arc<str>,
    /// What to do.
    pub command: Command,
    /// Where the outcome goes. Dropped unanswered, it reads as a fault of the gateway.
    pub reply: oneshot::Sender<Result<Answer, CommandError>>,
}

/// Where an adapter takes jobs. While it is full, the commands of a meter wait in its lane.
pub type Jobs = mpsc::Sender<Job>;

/// Why a command was not done, in words for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No meter of this make knows the command.
    #[error("unknown command {0:?}")]
    Unknown(String),
    /// Something is wrong with what was sent; nothing went to the meter.
    #[error("{0}")]
    Invalid(String),
    /// The meter cannot be heard.
    #[error("the meter is offline")]
    Offline,
    /// The meter cannot be reached with commands, though it is heard.
    #[error("{0}")]
    Unreachable(String),
    /// The meter was asked and said nothing.
    #[error("the meter did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The meter was asked and refused, or said something else.
    #[error("{0}")]
    Refused(String),
    /// Too many commands wait already.
    #[error("too many commands wait already; try again later")]
    Busy,
    /// The gateway is stopping or has a fault.
    #[error("the gateway could not do it")]
    Lost,
}
