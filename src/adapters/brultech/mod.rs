//! GreenEye Monitor, ECM-1240 and ECM-1220.
//!
//! Connections decode ([`Ears`]) and hand packets to the one [`Adapter`] that owns all Brultech
//! meters, whatever link they speak on: a meter is its serial number, so a GEM that sends on two
//! links is still one meter with one set of counters.

mod adapter;
mod ears;
mod entries;
mod flow;
mod meter;
mod pulses;
mod sensors;
mod settings;

pub use adapter::{Adapter, Arrival, Mailbox};
pub use ears::Ears;
pub use settings::{ChannelSettings, DEFAULT_POWER_CEILING_W, LinkId, MeterSettings};
