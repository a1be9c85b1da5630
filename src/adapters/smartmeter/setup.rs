//! From what a meter says of a stream, and what is configured of the meter, to the stream's setup.

use std::sync::Arc;

use meter_protocols::smartmeter::{Quantity, SampleReply, StreamChannel};

use super::settings::EntrySettings;
use crate::model::{Channel, DeviceId, Make, WaveChannel, WaveKind};

/// What a stream is, before its first sample.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The name that the device has given itself.
    pub(crate) serial: Arc<str>,
    /// The meter.
    pub(crate) device: DeviceId,
    /// The name that the gateway gives it.
    pub(crate) name: Arc<str>,
    /// What a frame has, in order.
    pub(crate) channels: Arc<[WaveChannel]>,
    /// Frames a second, above 0.
    pub(crate) rate_hz: f64,
    /// Frames in a packet that is not the last: so many are lost with one.
    pub(crate) packet_frames: u64,
    /// The meter's own time of frame 0, Unix seconds.
    pub(crate) start: Option<f64>,
    /// The factors of the configuration.
    pub(crate) scales: Scales,
    /// The meter counts no energy, so powers are integrated.
    pub(crate) energy: bool,
}

/// Factors of voltages and currents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scales {
    /// Of `l1` to `l3`.
    pub(crate) lines: [(f64, f64); 3],
    /// Of `line`: the only one of a PowerMeter.
    pub(crate) line: (f64, f64),
}

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

impl Scales {
    fn of(&self, channel: Channel) -> (f64, f64) {
        match channel {
            Channel::L(line @ 1..=3) => self.lines[usize::from(line) - 1],
            _ => self.line,
        }
    }

    /// A factor for each channel; `None` where all are 1.
    pub(super) fn factors(&self, channels: &[WaveChannel]) -> Option<Vec<f32>> {
        let factor = |one: &WaveChannel| {
            let (v, i) = self.of(one.channel);
            match one.kind {
                WaveKind::Voltage | WaveKind::VoltageRms => v as f32,
                WaveKind::Current | WaveKind::CurrentRms => i as f32,
                WaveKind::Active | WaveKind::Reactive => (v * i) as f32,
            }
        };
        let factors: Vec<f32> = channels.iter().map(factor).collect();
        factors.iter().any(|factor| *factor != 1.0).then_some(factors)
    }
}

impl Default for Scales {
    fn default() -> Scales {
        Scales { lines: [(1.0, 1.0); 3], line: (1.0, 1.0) }
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
