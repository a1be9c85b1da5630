//! What a PowerMeter can be told, as a thing to press.

use crate::model::{Control, ControlKind, Scope};

/// Its relay; a SmartMeter has none.
pub(crate) const CONTROLS: &[Control] = &[Control {
    key: "relay",
    name: "Relay",
    scope: Scope::Meter,
    kind: ControlKind::Relay,
    offered: true,
}];
