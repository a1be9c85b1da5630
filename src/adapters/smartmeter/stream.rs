//! One stream of samples: from packets to seconds, and to pieces for whoever asks for them.
//!
//! No socket and no clock in here: bytes and the time they came at are handed in. Frames are counted
//! from the start of the stream, lost ones included, so a frame's number is its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use meter_protocols::mains::{Cut, Rows, Windows, read_f32_le};
use meter_protocols::smartmeter::RATES_HZ;

use super::arrivals::{Arrivals, Messages, Moment};
use super::pieces::Pieces;
use super::setup::Setup;
use super::window::{Columns, Window};
use super::{Energy, Measured};
use crate::bus::Waveforms;
use crate::metrics::{Held, Metrics};
use crate::model::{StreamInfo, Timestamp};

/// What about a second of a stream comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Second {
    /// When it was over, by the gateway's clock.
    pub(crate) at: Timestamp,
    /// It came so late that it is no news: after a stall.
    pub(crate) late: bool,
    /// The means over whole cycles of the mains.
    pub(crate) measured: Measured,
    /// How much of it was received, 0 to 1.
    pub(crate) received: f64,
}

/// What a stream has come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Frames that came.
    pub(crate) frames: u64,
    /// Packets that came.
    pub(crate) packets: u64,
    /// Packets that the numbers of others tell of.
    pub(crate) lost_packets: u64,
    /// The frames that these had.
    pub(crate) lost_frames: u64,
    /// Samples that were no numbers.
    pub(crate) bad_samples: u64,
}

/// A stream under way.
#[derive(Debug)]
pub(crate) struct Stream {
    columns: Columns,
    /// A factor for each column, unless all are 1.
    factors: Option<Vec<f32>>,
    packet_frames: u64,
    rate_hz: f64,
    energy: bool,
    /// The number that the next packet has.
    next_packet: u32,
    /// The frame that comes next.
    next: u64,
    /// The message before, of a stream by messages.
    messages: Messages,
    /// Bytes of a frame that is not yet whole.
    partial: Vec<u8>,
    /// Some frames that were there already, and behind them what is new.
    samples: Vec<f32>,
    windows: Windows,
    /// The column that cycles are taken from.
    reference: Option<usize>,
    window: Window,
    /// Energy of windows that were too short for a reading: it goes with the next.
    carried: Option<Energy>,
    cuts: Vec<Cut>,
    seconds: Vec<Second>,
    arrivals: Arrivals,
    pieces: Pieces,
    summary: Summary,
    metrics: Metrics,
    _held: Held,
}

impl Stream {
    /// Begins with nothing received yet. `now` is when the meter said that it samples.
    pub(crate) fn begin(
        setup: &Setup,
        waveforms: Waveforms,
        metrics: &Metrics,
        now: Moment,
    ) -> Stream {
        let rate_hz = setup.rate_hz.clamp(*RATES_HZ.start(), *RATES_HZ.end());
        let columns = Columns::new(&setup.channels, rate_hz);
        let reference = columns.voltages().next();
        let info = Arc::new(StreamInfo {
            id: STREAMS.fetch_add(1, Ordering::Relaxed),
            device: setup.device,
            name: Arc::clone(&setup.name),
            start: trusted(setup.start, now.at),
            rate_hz,
            channels: Arc::clone(&setup.channels),
        });
        Stream {
            factors: setup.scales.factors(&setup.channels),
            packet_frames: setup.packet_frames,
            rate_hz,
            energy: setup.energy,
            next_packet: 0,
            next: 0,
            messages: Messages::default(),
            partial: Vec::new(),
            samples: Vec::new(),
            windows: Windows::new(rate_hz, reference.is_some()),
            reference,
            window: Window::default(),
            carried: None,
            cuts: Vec::new(),
            seconds: Vec::new(),
            arrivals: Arrivals::new(rate_hz, now.instant),
            pieces: Pieces::begin(Arc::clone(&setup.serial), info, waveforms),
            summary: Summary::default(),
            metrics: metrics.clone(),
            _held: metrics.streams.hold(),
            columns,
        }
    }

    /// Takes a numbered packet. What is missing before it is lost. Answers whether it was taken: one that
    /// is not newer than the last is passed over, and so is one that the meter cannot have filled yet.
    pub(crate) fn packet(&mut self, number: u32, payload: &[u8], now: Moment) -> bool {
        let missing = number.wrapping_sub(self.next_packet);
        if missing > u32::MAX / 2 || !self.can_be(u64::from(missing), now) {
            self.metrics.ignored_packets.increment();
            return false;
        }
        if missing > 0 {
            self.lose(u64::from(missing), self.packet_frames);
        }
        self.next_packet = number.wrapping_add(1);
        self.summary.packets += 1;
        self.metrics.stream_packets.increment();
        self.take(payload, now);
        true
    }

    /// Whether so many packets can be missing: no more than there was time for.
    fn can_be(&self, missing: u64, now: Moment) -> bool {
        let frames = missing.saturating_mul(self.packet_frames);
        self.arrivals.can_be(self.next.saturating_add(frames), now.instant)
    }

    /// Takes bytes of a stream without packets, wherever they were split.
    pub(crate) fn raw(&mut self, bytes: &[u8], now: Moment) {
        let frame = self.columns.width() * 4;
        if self.partial.is_empty() {
            let whole = bytes.len() - bytes.len() % frame;
            self.take(&bytes[..whole], now);
            self.partial.extend_from_slice(&bytes[whole..]);
            return;
        }
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let whole = all.len() - all.len() % frame;
        self.take(&all[..whole], now);
        all.drain(..whole);
        self.partial = all;
    }

    /// Takes one frame of a stream by messages. `sent`: when the meter says that it sent it, Unix
    /// seconds to the millisecond, which tells what was lost before it; `None` where its clock tells
    /// whole seconds only.
    pub(crate) fn values(&mut self, values: &[f64], sent: Option<f64>, now: Moment) {
        if values.len() != self.columns.width() {
            return;
        }
        if let Some(missing) =
            sent.and_then(|sent| self.messages.missing(sent, now.instant, self.rate_hz))
        {
            self.lose(missing, 1);
        }
        self.summary.packets += 1;
        self.metrics.stream_packets.increment();
        let bytes: Vec<u8> =
            values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect();
        self.take(&bytes, now);
    }

    /// Whether energy is integrated from powers, from now on.
    pub(crate) fn count_energy(&mut self, energy: bool) {
        self.energy = energy;
    }

    /// Whether anything but samples comes of it; see [`Columns::readable`].
    pub(crate) fn readable(&self) -> bool {
        self.columns.readable()
    }

    /// The seconds that are over, oldest first.
    pub(crate) fn take_seconds(&mut self) -> Vec<Second> {
        std::mem::take(&mut self.seconds)
    }

    /// What it has come to so far.
    #[cfg(test)]
    pub(crate) fn summary(&self) -> Summary {
        Summary { bad_samples: self.summary.bad_samples + self.window.bad(), ..self.summary }
    }

    /// Ends it. `sent`: how many frames the meter says that it has sent, by which it is known what was lost
    /// behind the last packet. Returns what the last part of a second comes to as well.
    pub(crate) fn end(mut self, sent: Option<u64>, now: Moment) -> (Summary, Vec<Second>) {
        if let Some(lost) =
            sent.and_then(|sent| sent.checked_sub(self.next)).filter(|lost| *lost > 0)
            && self.packet_frames > 0
            && self.arrivals.can_be(self.next.saturating_add(lost), now.instant)
        {
            let packets = lost.div_ceil(self.packet_frames);
            self.count_lost(packets, lost);
            self.next += lost;
            self.pieces.skip(self.next);
        }
        if let Some(cut) = self.windows.finish() {
            self.close(&cut, now);
        }
        if let Some(energy) = self.carried.take() {
            let measured = Measured { energy: Some(energy), ..Measured::default() };
            self.seconds.push(Second { at: now.at, late: false, measured, received: 0.0 });
        }
        (self.summary, std::mem::take(&mut self.seconds))
    }

    fn lose(&mut self, packets: u64, frames_each: u64) {
        let frames = packets.saturating_mul(frames_each);
        self.count_lost(packets, frames);
        self.next = self.next.saturating_add(frames);
        self.pieces.skip(self.next);
        self.samples.clear();
    }

    fn count_lost(&mut self, packets: u64, frames: u64) {
        self.summary.lost_packets += packets;
        self.summary.lost_frames += frames;
        self.metrics.stream_lost_packets.add(packets);
        self.metrics.stream_lost_frames.add(frames);
    }

    /// Takes whole frames, the first of which is the next.
    fn take(&mut self, bytes: &[u8], now: Moment) {
        let width = self.columns.width();
        let known = self.samples.len();
        read_f32_le(bytes, &mut self.samples);
        self.samples.truncate(known + (self.samples.len() - known) / width * width);
        self.scale(known);
        let (first, frames) = (self.next, ((self.samples.len() - known) / width) as u64);
        self.next += frames;
        self.summary.frames += frames;
        self.metrics.stream_frames.add(frames);
        if let Some(pace) = self.arrivals.saw(self.next, now.instant) {
            self.pieces.tell_of_pace(pace);
            self.columns.follow(pace);
        }
        self.pieces.add(first, &self.samples[known..]);
        self.measure(first, known / width, now);
        let keep = (self.columns.lag() * width).min(self.samples.len());
        self.samples.drain(..self.samples.len() - keep);
    }

    fn scale(&mut self, known: usize) {
        if let Some(factors) = &self.factors {
            for frame in self.samples[known..].chunks_exact_mut(factors.len()) {
                frame.iter_mut().zip(factors).for_each(|(sample, factor)| *sample *= factor);
            }
        }
    }

    /// Adds the frames from row `begin` on to their windows; the first of them is number `first`.
    fn measure(&mut self, first: u64, begin: usize, now: Moment) {
        let width = self.columns.width();
        let samples = std::mem::take(&mut self.samples);
        let mut cuts = std::mem::take(&mut self.cuts);
        let column = self.reference.unwrap_or(0);
        let voltages = samples[begin * width..].chunks_exact(width).map(|frame| frame[column]);
        self.windows.take(first, voltages, &mut cuts);
        let mut done = begin;
        for cut in cuts.drain(..) {
            let row = begin + cut.end.saturating_sub(first) as usize;
            let rows = Rows { samples: &samples[..row.max(done) * width], width, begin: done };
            self.window.add(&self.columns, rows);
            done = row.max(done);
            self.close(&cut, now);
        }
        self.window.add(&self.columns, Rows { samples: &samples, width, begin: done });
        (self.samples, self.cuts) = (samples, cuts);
    }

    fn close(&mut self, cut: &Cut, now: Moment) {
        let window = std::mem::take(&mut self.window);
        self.summary.bad_samples += window.bad();
        self.metrics.stream_bad_samples.add(window.bad());
        self.choose_reference(&window);
        let mut measured = window.measured(&self.columns, cut, self.energy);
        let energy = Energy::sum(self.carried.take(), measured.energy.take());
        if measured == Measured::default() {
            self.carried = energy;
            return;
        }
        measured.energy = energy;
        let frames = cut.end.saturating_sub(cut.start).max(1);
        self.seconds.push(Second {
            at: self.arrivals.due(cut.end, now).min(now.at),
            late: self.arrivals.is_late(cut.end, now.instant),
            measured,
            received: (window.frames() as f64 / frames as f64).min(1.0),
        });
    }

    /// Takes cycles from another line where this one has no voltage.
    fn choose_reference(&mut self, window: &Window) {
        let live = |column: usize| {
            window.voltage(&self.columns, column).is_some_and(|volts| volts >= LIVE_V)
        };
        if self.reference.is_some_and(|column| !live(column))
            && let Some(other) = self.columns.voltages().find(|column| live(*column))
        {
            self.reference = Some(other);
        }
    }
}

/// The meter's own start, if its clock is right, else now.
fn trusted(start: Option<f64>, now: Timestamp) -> Timestamp {
    start
        .map(|seconds| Timestamp((seconds * 1000.0).round() as i64))
        .filter(|start| start.0.abs_diff(now.0) <= TRUST_MS)
        .unwrap_or(now)
}

static STREAMS: AtomicU64 = AtomicU64::new(1);
const TRUST_MS: u64 = 60_000;
/// Below there is no mains on a line.
const LIVE_V: f64 = 15.0;

#[cfg(test)]
mod captures;
#[cfg(test)]
mod tests;
