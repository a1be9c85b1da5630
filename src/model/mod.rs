//! What a meter is and what it says, whatever its make.
//!
//! Adapters turn a vendor's frames into these types; everything behind them (ledger, bus, topics,
//! and later history, sinks and discovery) knows nothing else. Quantities are spelled as the
//! topic tree spells them, values are exact thousandths, times are UTC.

mod control;
mod counter;
mod device;
mod latest;
mod quantity;
mod reading;
mod seconds;
mod total;
mod waveform;

pub use control::{Control, ControlKind, Scope};
pub use counter::{Advance, Counter, GEM_PULSES_PER_SECOND};
pub use device::{
    Channel, Device, DeviceId, Make, Model, OwnDocuments, OwnSection, Recorded, Role, Sensor,
    SensorId,
};
pub use latest::{Latest, Sum, is_clamp, summed_role};
pub use quantity::{Milli, Quantity, SensorType, Unit};
pub use reading::{
    Correction, CorrectionKind, Notice, NoticeKind, Reading, ReadingSet, Timestamp, Update, Value,
};
pub use seconds::{Elapsed, Seconds};
pub use total::Total;
pub use waveform::{StreamInfo, WaveChannel, WaveKind, Waveform};
