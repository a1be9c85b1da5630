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

use crate::model::{Control, ControlKind, Scope};

/// What a PowerMeter can be told.
pub(crate) const CONTROLS: &[Control] = &[Control {
    key: "relay",
    name: "Relay",
    scope: Scope::Meter,
    kind: ControlKind::Relay,
    offered: true,
}];
