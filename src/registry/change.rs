//! A change on its way from whoever asked for it to the adapter that owns the meter.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

use super::record::ChannelRequest;

/// What is to change. A meter is named by its name, its serial number or its device id.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is to have another name.
    Rename {
        /// The meter.
        from: String,
        /// The name it is to have.
        to: String,
    },
    /// Its channels are to be named or read otherwise.
    Configure {
        /// The meter.
        meter: String,
        /// What is asked of its channels, by their keys.
        channels: BTreeMap<String, ChannelRequest>,
    },
    /// It is to be forgotten.
    Remove {
        /// The meter.
        meter: String,
        /// And not to be let in again.
        block: bool,
    },
    /// It is wanted.
    Adopt {
        /// Its serial number.
        serial: String,
        /// The name it is to have.
        name: Option<String>,
    },
    /// Another meter is to go on in its place.
    Replace {
        /// The meter that ends.
        meter: String,
        /// The serial number of the one that goes on.
        serial: String,
    },
    /// Meters that nobody named are to be let in, or not.
    Permit(bool),
    /// Nothing: tells which meters were heard and not let in.
    Strangers,
}

/// A change with the one who waits for it.
#[derive(Debug)]
pub struct Asked {
    /// The change.
    pub change: Change,
    /// Where its outcome goes.
    pub reply: oneshot::Sender<Result<Done, ChangeError>>,
}

/// Where the adapter takes changes.
pub type ChangesIn = mpsc::Sender<Asked>;

/// A change that holds.
#[derive(Debug)]
pub struct Done {
    /// What there is to tell of it.
    pub data: Map<String, Value>,
    /// Tells whether it is on disk. Dropped, nobody knows.
    pub kept: oneshot::Receiver<bool>,
}

/// Why nothing was changed, in words for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no such meter.
    #[error("{0}")]
    Unknown(String),
    /// Something is wrong with what was asked.
    #[error("{0}")]
    Invalid(String),
}
