//! From what a meter says of a stream, and what is configured of the meter, to the stream's setup.

use std::sync::Arc;

use meter_protocols::smartmeter::{Quantity, SampleReply, StreamChannel};

use super::settings::EntrySettings;
use super::stream::{Scales, Setup};
use crate::model::{Channel, DeviceId, Make, WaveChannel, WaveKind};

impl Setup {
    /// `serial`: the name that the device has given itself. `energy`: powers are integrated.
    pub(super) fn new(
        serial: &Arc<str>,
        entry: &EntrySettings,
        reply: &SampleReply,
        energy: bool,
    ) -> Setup {
        let scale = |channel| entry.scales.get(&channel).copied().unwrap_or((1.0, 1.0));
        let derived = || DeviceId::derive(Make::Smartmeter, serial);
        Setup {
            serial: Arc::clone(serial),
            device: entry.id.unwrap_or_else(derived),
            name: Arc::clone(if entry.name.is_empty() { serial } else { &entry.name }),
            channels: reply.layout.channels.iter().map(wave_channel).collect(),
            rate_hz: reply.rate_hz,
            packet_frames: reply.frames_per_packet(),
            start: reply.start,
            scales: Scales {
                lines: [1, 2, 3].map(|line| scale(Channel::L(line))),
                line: scale(Channel::Line),
            },
            energy,
        }
    }
}

/// A channel of a stream in the gateway's terms.
fn wave_channel(channel: &StreamChannel) -> WaveChannel {
    WaveChannel {
        channel: if channel.line == 0 { Channel::Line } else { Channel::L(channel.line) },
        kind: match channel.what {
            Quantity::Voltage => WaveKind::Voltage,
            Quantity::Current => WaveKind::Current,
            Quantity::Active => WaveKind::Active,
            Quantity::Reactive => WaveKind::Reactive,
            Quantity::VoltageRms => WaveKind::VoltageRms,
            Quantity::CurrentRms => WaveKind::CurrentRms,
        },
    }
}
