//! What a meter is and what it says, whatever its make.
//!
//! Adapters turn a vendor's frames into these types; everything behind them (ledger, bus, topics,
//! and later history, sinks and discovery) knows nothing else. Quantities are spelled as the
//! topic tree spells them, values are exact thousandths, times are UTC.

mod channel;
mod control;
mod counter;
mod device;
mod identity;
mod latest;
mod milli;
mod quantity;
mod reading;
mod seconds;
mod spelled;
mod total;
mod waveform;

pub use channel::{Channel, Role};
pub use control::{Control, ControlKind, Scope};
pub use counter::{Advance, Counter, GEM_PULSES_PER_SECOND};
pub use device::{Device, Make, Model, OwnDocuments, OwnSection, Recorded, Sensor};
pub use identity::{DeviceId, SensorId};
pub use latest::{Latest, Sum, is_clamp, summed_role};
pub use milli::Milli;
pub use quantity::{Quantity, SensorType, Unit};
pub use reading::{
    Correction, CorrectionKind, Notice, NoticeKind, Reading, ReadingSet, Timestamp, Update, Value,
};
pub use seconds::{Elapsed, Seconds};
pub use total::Total;
pub use waveform::{StreamInfo, WaveChannel, WaveKind, Waveform};
