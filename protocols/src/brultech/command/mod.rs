//! Commands of Brultech meters, typed, and the bytes they are.
//!
//! An argument is checked when it is made, so a command that exists can be sent. `gem.rs` and
//! `ecm.rs` hold the commands of the two makes, `number.rs` and `argument.rs` what they take.

mod argument;
mod ecm;
mod gem;
mod number;

pub use argument::{BadKeepAliveText, Channels, ClockTime, KeepAliveText};
pub use ecm::EcmCommand;
pub use gem::{GemCommand, PerChannel};
pub use number::{
    AuxOptions, BufferSize, Channel, ChunkPause, ChunkSize, Compensation, CtRange, CtType,
    EcmChannel, EcmInterval, GemInterval, KeepAliveInterval, LineFrequency, MaxChannels,
    OutOfRange, PacketFormat, Phase, Processor, PtRange, PtType, PulseInput, TemperatureInput,
    TemperatureUnit,
};
