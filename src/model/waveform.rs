//! Samples of voltage and current as a meter took them, some thousand a second.

use std::sync::Arc;

use super::{Channel, DeviceId, Timestamp};

/// A piece of a stream: neighbouring frames, each with one sample of every channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Waveform {
    /// The stream that it is of; the same for all its pieces.
    pub stream: Arc<StreamInfo>,
    /// The number of its first frame, from 0 at the start of the stream. What was lost on the way is
    /// counted, so a gap shows as a step: nothing stands in for it.
    pub first: u64,
    /// Shape (frames, channels), row-major, in the channels' units, with the factors of the
    /// configuration applied.
    pub samples: Arc<[f32]>,
}

/// What all pieces of a stream have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// Counts the streams of this process: a meter that starts again has another.
    pub id: u64,
    /// The meter.
    pub device: DeviceId,
    /// Its `<name>`, as it was at the start.
    pub name: Arc<str>,
    /// The time of frame 0. Frame n is n / `rate_hz` seconds later.
    pub start: Timestamp,
    /// Frames a second.
    pub rate_hz: f64,
    /// What the samples of a frame are, in their order.
    pub channels: Arc<[WaveChannel]>,
}

/// What one sample of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaveChannel {
    /// A phase, or `line` for the only one.
    pub channel: Channel,
    /// What is sampled.
    pub kind: WaveKind,
}

/// What is sampled, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaveKind {
    /// Momentary voltage, V.
    Voltage,
    /// Momentary current, mA.
    Current,
    /// Active power, W.
    Active,
    /// Reactive power, var.
    Reactive,
    /// RMS voltage, V.
    VoltageRms,
    /// RMS current, mA.
    CurrentRms,
}

impl Waveform {
    /// How many frames it has.
    pub fn frames(&self) -> u64 {
        let channels = self.stream.channels.len().max(1);
        (self.samples.len() / channels) as u64
    }

    /// The number of the frame behind its last.
    pub fn end(&self) -> u64 {
        self.first + self.frames()
    }
}

impl StreamInfo {
    /// The time of a frame.
    pub fn time(&self, frame: u64) -> Timestamp {
        let after = frame as f64 / self.rate_hz * 1000.0;
        Timestamp(self.start.0.saturating_add(after.round() as i64))
    }
}
