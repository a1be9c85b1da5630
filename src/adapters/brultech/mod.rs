//! GreenEye Monitor, ECM-1240 and ECM-1220.
//!
//! Connections decode ([`Ears`]) and hand packets to the one adapter of their [fleet](super::fleet)
//! that owns all Brultech meters, whatever link they speak on: a meter is its serial number, so
//! a GEM that sends on two links is still one meter with one set of counters.
//!
//! The other way, the [`Operator`] takes commands for meters. It finds the connection on the
//! [`Switchboard`], makes typed requests of what was said (`requests/`) and asks them one after the
//! other (`call.rs`); the connection's voice (`voice.rs`) says them on the line and hears the
//! answers. Pollers (`poll.rs`) go the same way and wait for the same turns.

mod call;
mod controls;
mod ears;
mod exchange;
mod flow;
mod identity;
mod meter;
mod operator;
mod poll;
mod pulses;
mod requests;
mod sensors;
mod settings;
mod switchboard;
mod voice;

pub use controls::controls;
pub use ears::Ears;
pub use identity::Unit;
pub(crate) use meter::Meter;
pub use operator::Operator;
pub use settings::LinkSettings;
pub use switchboard::Switchboard;
