//! What all frames of a stream have in common, in the words of the meters' own clients.

use std::sync::Arc;

use crate::model::{Channel, StreamInfo, WaveChannel, WaveKind};

/// Rate and channels. Streams of one shape can follow each other in one file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// Frames a second.
    pub(super) rate_hz: f64,
    /// What the samples of a frame are.
    pub(super) channels: Arc<[WaveChannel]>,
}

impl Shape {
    pub(super) fn of(stream: &StreamInfo) -> Shape {
        Shape { rate_hz: stream.rate_hz, channels: Arc::clone(&stream.channels) }
    }

    /// Bytes of one frame; at least 4, so that it can be divided by.
    pub(super) fn frame_bytes(&self) -> usize {
        self.channels.len().max(1) * SAMPLE
    }

    /// Channels with their units, for people: `v_l1 V, i_l1 mA`.
    pub(super) fn described(&self) -> String {
        let one = |channel: &WaveChannel| format!("{} {}", label(channel), unit(channel.kind));
        self.channels.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Whether the meter has one line only: a PowerMeter.
    pub(super) fn is_single(&self) -> bool {
        self.channels.iter().all(|one| one.channel == Channel::Line)
    }
}

/// The name of one sample: `v_l1`, `i_rms_l2`; a meter with one line has bare `v` and `i`.
pub(super) fn label(channel: &WaveChannel) -> String {
    let kind = match channel.kind {
        WaveKind::Voltage => "v",
        WaveKind::Current => "i",
        WaveKind::Active => "p",
        WaveKind::Reactive => "q",
        WaveKind::VoltageRms => "v_rms",
        WaveKind::CurrentRms => "i_rms",
    };
    match channel.channel {
        Channel::Line => kind.to_owned(),
        line => format!("{kind}_{line}"),
    }
}

/// The unit as files and pages write it.
pub(super) fn unit(kind: WaveKind) -> &'static str {
    match kind {
        WaveKind::Voltage | WaveKind::VoltageRms => "V",
        WaveKind::Current | WaveKind::CurrentRms => "mA",
        WaveKind::Active => "W",
        WaveKind::Reactive => "var",
    }
}

/// The quantity in words.
pub(super) fn quantity(kind: WaveKind) -> &'static str {
    match kind {
        WaveKind::Voltage => "voltage",
        WaveKind::Current => "current",
        WaveKind::Active => "active power",
        WaveKind::Reactive => "reactive power",
        WaveKind::VoltageRms => "RMS voltage",
        WaveKind::CurrentRms => "RMS current",
    }
}

/// Bytes of one sample: a 32-bit float.
pub(super) const SAMPLE: usize = 4;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{DeviceId, Make, Timestamp, Waveform};

    /// A stream of three lines, or of one; frame n of channel c has the sample 100 n + c.
    pub(in crate::streams) fn stream(id: u64, rate_hz: f64, lines: u8) -> Arc<StreamInfo> {
        let of = |channel| {
            [WaveKind::Voltage, WaveKind::Current].map(|kind| WaveChannel { channel, kind })
        };
        let channels: Vec<WaveChannel> = match lines {
            1 => of(Channel::Line).into(),
            many => (1..=many).flat_map(|line| of(Channel::L(line))).collect(),
        };
        Arc::new(StreamInfo {
            id,
            device: DeviceId::derive(Make::Smartmeter, "smartmeter001"),
            name: "mains".into(),
            start: Timestamp(1_700_000_000_000),
            rate_hz,
            channels: channels.into(),
        })
    }

    /// The frames from `first` to before `end`.
    pub(in crate::streams) fn piece(stream: &Arc<StreamInfo>, first: u64, end: u64) -> Waveform {
        let width = stream.channels.len();
        let frame = |n: u64| (0..width).map(move |c| (n * 100) as f32 + c as f32);
        let samples: Vec<f32> = (first..end).flat_map(frame).collect();
        Waveform { stream: Arc::clone(stream), first, samples: samples.into() }
    }

    #[test]
    fn channels_are_called_as_the_meters_clients_call_them() {
        let shape = Shape::of(&stream(1, 8000.0, 3));
        assert_eq!(shape.described(), "v_l1 V, i_l1 mA, v_l2 V, i_l2 mA, v_l3 V, i_l3 mA");
        assert_eq!((shape.frame_bytes(), shape.is_single()), (24, false));
        let plug = Shape::of(&stream(1, 2000.0, 1));
        assert_eq!((plug.described().as_str(), plug.is_single()), ("v V, i mA", true));
    }
}
