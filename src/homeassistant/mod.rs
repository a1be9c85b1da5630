//! Meters in Home Assistant by themselves: discovery over MQTT.
//!
//! Everything follows from [`Device`](crate::model::Device) and its sensors; a new make of meter
//! needs no edit here.
//!
//! | module | has |
//! |---|---|
//! | [`document`] | a device as it is announced, and the two forms of doing so |
//! | `classes` | the tables: which entities a sensor is |
//! | `describe`, `controls`, `bridge` | meters, what they can be told, and the gateway as documents |
//! | `energy` | what belongs into the Energy dashboard |
//! | [`announcer`] | when what is announced, moved or taken back; no sockets, no clock |
//! | `heard` | what each meter has said since the start |
//! | `kept` | what of it outlives the process |
//! | [`office`] | the task that listens, keeps and publishes |
//!
//! The announcer's rules are Home Assistant's own (2026.11): whoever clears a discovery topic has
//! deleted the device; a changed form has to be told on the old topics before the new ones, and the
//! old ones may be cleared only when Home Assistant has said that it is there, since it subscribes
//! to whole devices last.

pub mod announcer;
pub mod document;
pub mod office;

mod bridge;
mod classes;
mod controls;
mod describe;
mod energy;
mod heard;
mod kept;

pub use announcer::{Announcer, OfferError};
pub use document::Platform;
pub use kept::{Change, Kept, Out, Stored};
pub use office::{Offers, Office, run};

use std::time::Duration;

/// The id of the gateway as a device.
pub const BRIDGE: &str = "meterbridge_bridge";

/// How devices are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One message for a whole device.
    Device,
    /// One message for each of its entities, for programs that know no other.
    Component,
}

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How to announce; `None`: not at all, and what is out is taken back.
    pub form: Option<Form>,
    /// The topic that Home Assistant looks under.
    pub prefix: String,
    /// How long a meter may be silent before its power is worth nothing.
    pub silence: Duration,
}

impl Settings {
    /// A power value lives for as long as any ordinary meter may be silent, and a lost packet.
    pub const SILENCE: Duration = Duration::from_secs(300);
}
