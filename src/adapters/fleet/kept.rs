//! The counter state of a meter as it lies on disk: one byte that says how to read it, then the state.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::Make;
use crate::store::MeterRow;

/// What an earlier packet left of a meter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kept<S> {
    /// The counters go on from here.
    Same(S),
    /// Another meter's: the totals go on from here, the counters begin with the next packet.
    Handed(S),
}

/// The state of a meter for the disk; `None` where it cannot be written, which is logged.
pub(super) fn row<S: Serialize>(
    make: Make,
    serial: &str,
    name: &str,
    state: &S,
) -> Option<MeterRow> {
    let state = postcard::to_extend(state, vec![SAME])
        .map_err(|error| tracing::error!(%error, "counter state cannot be written"))
        .ok()?;
    let (serial, name) = (serial.to_owned(), name.to_owned());
    Some(MeterRow { make, serial, name, state })
}

/// Hands the state on disk to another meter, which goes on with the totals.
pub(super) fn hand_over(row: MeterRow, serial: &str, name: &str) -> MeterRow {
    let mut state = row.state;
    // Handed on twice before the first packet, it stays what it is.
    if let Some(version) = state.first_mut().filter(|version| **version == SAME) {
        *version = HANDED;
    }
    MeterRow { serial: serial.to_owned(), name: name.to_owned(), state, ..row }
}

/// Reads what is on disk; `None` where that makes no sense, which is logged.
pub(super) fn read<S: DeserializeOwned>(row: &MeterRow) -> Option<Kept<S>> {
    let state = |bytes| postcard::from_bytes(bytes).map_err(|error| error.to_string());
    let kept = match row.state.split_first() {
        Some((&SAME, bytes)) => state(bytes).map(Kept::Same),
        Some((&HANDED, bytes)) => state(bytes).map(Kept::Handed),
        Some((version, _)) => Err(format!("it has version {version}")),
        None => Err("it is empty".to_owned()),
    };
    kept.map_err(|error| {
        tracing::error!(
            serial = row.serial,
            error,
            "the kept counter state cannot be read: totals begin at the meter's counters again"
        );
    })
    .ok()
}

/// The meter's own. Raised, past `HANDED`, when a make's state changes its shape.
const SAME: u8 = 1;
/// The same shape, but of the meter before it.
const HANDED: u8 = 2;
