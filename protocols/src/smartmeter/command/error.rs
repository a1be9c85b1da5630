//! What is wrong with a command.

use crate::smartmeter::Kind;

/// A command that is not sent, and why. No message holds a password.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// Nobody knows it.
    #[error("a {kind} has no command {name:?}; it has {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Of whom.
        kind: Kind,
        /// What there is.
        known: String,
    },
    /// The other kind has it.
    #[error("a {kind} cannot do {command}")]
    NotFor {
        /// What.
        command: String,
        /// Who.
        kind: Kind,
    },
    /// It writes to the measuring chip's registers.
    #[error("{0} changes registers of the measuring chip and is not let through")]
    NotExposed(String),
    /// An argument is missing.
    #[error("{command} needs {key:?}: {wanted}")]
    Missing {
        /// The command.
        command: String,
        /// The argument.
        key: &'static str,
        /// What it has to be.
        wanted: String,
    },
    /// An argument is something else than it has to be.
    #[error("{key:?} of {command} is {value}; it has to be {wanted}")]
    Wrong {
        /// The command.
        command: String,
        /// The argument.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it has to be.
        wanted: String,
    },
    /// An argument that the command does not have.
    #[error("{command} has no {key:?}; it has {known}")]
    UnknownKey {
        /// The command.
        command: String,
        /// The argument.
        key: String,
        /// What there is.
        known: String,
    },
    /// A text that the meter would cut off, or refuse.
    #[error("{what} has {length} bytes and a meter keeps {limit}")]
    TooLong {
        /// What.
        what: String,
        /// Its bytes.
        length: usize,
        /// The most that there can be.
        limit: usize,
    },
    /// A name that would not work.
    #[error("the name {0:?} cannot be: {1}")]
    Name(String, &'static str),
    /// A rate that the meter cannot keep.
    #[error("{rate} samples a second cannot be: {reason}")]
    Rate {
        /// What was asked for.
        rate: u32,
        /// Why not.
        reason: String,
    },
    /// Measures that this kind does not have.
    #[error("a {kind} cannot sample {measures:?}; it can {}", known_measures(*kind))]
    Measures {
        /// What was asked for.
        measures: String,
        /// Of whom.
        kind: Kind,
    },
    /// A timed start of a SmartMeter's registers.
    #[error(
        "a SmartMeter that starts {0} at a time sends voltage and current under that name: start it without a time"
    )]
    TimedLatch(&'static str),
    /// Anything else, in words.
    #[error("{0}")]
    Invalid(String),
}

const fn known_measures(kind: Kind) -> &'static str {
    match kind {
        Kind::SmartMeter => {
            "\"v,i\" (of L1), \"v,i_L1\", \"v,i_L2\", \"v,i_L3\", \"p,q\" and \"v,i_RMS\", and all three lines \
             where \"measures\" is left out"
        }
        Kind::PowerMeter => "\"v,i\", \"p,q\", \"v,i,p,q\" and \"v,i_RMS\"",
    }
}
