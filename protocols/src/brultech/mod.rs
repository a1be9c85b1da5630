//! Brultech ECM-1220, ECM-1240 and GreenEye Monitor (GEM).
//!
//! One [`Decoder`] per link takes the bytes of a serial line or TCP connection and gives [`Frame`]s:
//! binary packets of every format in any mixture, the two text formats that carry whole readings,
//! and the HTTP requests of the remaining formats, which a meter wants answered. What lies between
//! frames comes out as [`FrameError`]s that say why and how much.
//!
//! * `format.rs`: the seven binary layouts, their codes and lengths
//! * `packet.rs`: [`Packet`], its meaning, and reading it from bytes; `encode.rs` writes it
//! * `frame.rs`: the decoder; `judge.rs`: what it makes of the bytes before it, good or bad
//! * `skipped.rs`: what the decoder tells of bytes that belong to no frame
//! * `command/`: commands and their bytes; `settings/`: the settings lists; `line/`: [`Line`], which
//!   asks and waits on one link, and keeps late answers from the next command
//! * `text.rs`: the readings of the ASCII Wh and HTTP GET formats; `ascii.rs` and `request.rs`: where
//!   such a text or request begins and ends
//!
//! Sources: the vendor papers "GEM-PKT" 2.1 (packet formats) and "GEM-CMD" 10.0, and real captures
//! where a paper is wrong (BIN48-ABS has code 06, not the printed 05).

mod ascii;
mod command;
mod device_time;
mod encode;
mod format;
mod frame;
mod judge;
mod line;
mod packet;
mod request;
mod settings;
mod skipped;
mod text;

pub use command::{
    AuxOptions, BadKeepAliveText, BufferSize, Channel, Channels, ChunkPause, ChunkSize, ClockTime,
    Compensation, CtRange, CtType, EcmChannel, EcmCommand, EcmInterval, GemCommand, GemInterval,
    KeepAliveInterval, KeepAliveText, LineFrequency, MaxChannels, OutOfRange, PacketFormat,
    PerChannel, Phase, Processor, PtRange, PtType, PulseInput, TemperatureInput, TemperatureUnit,
};
pub use device_time::DeviceTime;
pub use format::Format;
pub use frame::{Decoder, Frame};
pub use line::{ExchangeError, GemValues, Line, Owed, Reply, Request, Step, Timing};
pub use packet::{AUX_MODULUS, ENERGY_MODULUS, PULSE_MODULUS, Packet, SECONDS_MODULUS};
pub use request::HttpRequest;
pub use settings::{ChannelOptions, EcmSettings, GemSettings};
pub use skipped::{FrameError, Sample, SkipReason};
pub use text::{TextChannel, TextFormat, TextReading};
