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
//! * `text.rs`: the readings of the ASCII Wh and HTTP GET formats; `ascii.rs` and `request.rs`: where
//!   such a text or request begins and ends
//!
//! Sources: the vendor papers "GEM-PKT" 2.1 (packet formats) and "GEM-CMD" 10.0, and real captures
//! where a paper is wrong (BIN48-ABS has code 06, not the printed 05).

mod ascii;
mod device_time;
mod encode;
mod format;
mod frame;
mod judge;
mod packet;
mod request;
mod skipped;
mod text;

pub use device_time::DeviceTime;
pub use format::Format;
pub use frame::{Decoder, Frame};
pub use packet::{AUX_MODULUS, ENERGY_MODULUS, PULSE_MODULUS, Packet, SECONDS_MODULUS};
pub use request::HttpRequest;
pub use skipped::{FrameError, Sample, SkipReason};
pub use text::{TextChannel, TextFormat, TextReading};
