//! SmartMeter and PowerMeter (voelkerb): two ESP32 meters that share one protocol.
//!
//! One [`Decoder`] per connection takes the bytes of a command channel and gives [`Frame`]s: JSON messages,
//! log lines, packets of samples. [`Message::read`] takes a message apart and undoes what firmware gets
//! wrong; [`Command`] is what a meter is asked, checked before it goes out.
//!
//! * `frame.rs`: the decoder; `judge.rs`: what it makes of bytes, `raw.rs`: where samples have no frames;
//!   `skipped.rs`: what it tells of bytes that are no frame
//! * `packet.rs`: [`Packet`]; `sequence.rs`: what was lost of them, and their order
//! * `log.rs`: [`LogLine`]
//! * `command/`: [`Command`]; `reply.rs`: [`Message`], [`Reply`]; `info.rs`: [`Info`]
//! * `request.rs`: [`SampleRequest`]; `sample.rs`: [`SampleReply`], [`StopSummary`]; `layout.rs`: [`Layout`]
//! * `mqtt.rs`: what a meter publishes on a broker
//! * `values.rs`: [`Values`]; `kind.rs`: [`Kind`]
//!
//! Source: the firmware of github.com/voelkerb/smartMeter and powermeter (2.2 and 2.3), and the project's
//! protocol note, whose sections are cited. Where the vendor's README says something else, the firmware
//! has it.

mod command;
mod frame;
mod info;
mod judge;
mod kind;
mod layout;
mod log;
pub mod mqtt;
mod packet;
mod raw;
mod reply;
mod request;
mod sample;
mod sequence;
mod skipped;
mod values;

pub use command::{Command, CommandError, MqttServer, Switch, TimedSwitch};
pub use frame::{Decoder, Frame};
pub use info::Info;
pub use kind::{Kind, Version};
pub use layout::{Layout, Quantity, StreamChannel};
pub use log::{LogLevel, LogLine, Quality};
pub use packet::{BadDatagram, Packet, values as floats};
pub use reply::{Message, Reply, line, mask};
pub use request::{BUFFER, Conn, Measures, SMART_RATES, SampleRequest};
pub use sample::{RATES_HZ, SampleReply, StopSummary, chunk_size};
pub use sequence::{Reorder, Sequence, Verdict};
pub use skipped::{Beginning, FrameError, SkipReason};
pub use values::Values;
