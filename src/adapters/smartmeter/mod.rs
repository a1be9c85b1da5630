//! voelkerb's SmartMeter and PowerMeter.
//!
//! | module | has |
//! |---|---|
//! | `measured` | what links hand over to the adapter of the [fleet](super::fleet) |
//! | `meter` | one meter: from that to readings |
//! | `sensors` | which sensors it has |
//! | `counted`, `unit` | whose energy counts, and in which unit it is told |

mod counted;
mod measured;
mod meter;
mod sensors;
mod unit;

#[allow(unused_imports, reason = "the links that hand these over come next")]
pub(crate) use measured::{Energy, EnergyUnit, Frame, Line, Measured, Presence};
#[allow(unused_imports, reason = "wired with its links")]
pub(crate) use meter::Meter;
