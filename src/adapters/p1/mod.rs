//! Smart meters behind their customer port: P1 (DSMR and its kin) and TIC.
//!
//! A connection decodes ([`Ears`]) and hands on what a telegram comes to in the gateway's units
//! ([`Measured`]), whatever the country. The adapter of their [fleet](super::fleet) owns the meters;
//! `meter.rs` makes readings of them. The port is one-way: nothing is ever said to such a meter.

mod ears;
mod mbus;
mod measured;
mod meter;
mod sensors;

pub use ears::Ears;
pub use measured::{Measured, MeasuredMBus, MeasuredPhase};
pub(crate) use meter::Meter;
