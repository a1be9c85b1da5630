//! The last line: what the samples of one input come to, and what was lost of them.

use meter_protocols::smartmeter::{
    Kind, Layout, Packet, Reorder, SampleReply, Sequence, StopSummary, Verdict,
};
use serde_json::{Map, Value, json};

use super::statistics::Statistics;
use super::{SmartmeterOptions, guess};

/// How samples came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Framed,
    Raw,
    Udp,
}

/// Samples of one layout, in one or more recordings.
pub(super) struct Summary {
    pub(super) framing: Framing,
    pub(super) log_lines: u64,
    pub(super) json_lines: u64,
    options: SmartmeterOptions,
    layout: Option<Layout>,
    rate_hz: Option<f64>,
    chunk: usize,
    start: Option<String>,
    recordings: u64,
    statistics: Option<Statistics>,
    sequence: Sequence,
    /// Samples of the recordings before this one, lost ones counted.
    before: u64,
    packets: u64,
    lost_samples: u64,
    missing: Vec<u32>,
    lost_ranges: Vec<[u64; 2]>,
    reorder: Reorder,
    arrived: Vec<u32>,
    repeated: Vec<u32>,
    /// What came before it was known what it is.
    held: Held,
    notes: Vec<String>,
}

#[derive(Default)]
struct Held {
    packets: Vec<Packet>,
    raw: Vec<u8>,
    bytes: usize,
}

impl Summary {
    pub(super) fn new(options: &SmartmeterOptions) -> Self {
        Self {
            framing: Framing::Framed,
            log_lines: 0,
            json_lines: 0,
            options: options.clone(),
            layout: None,
            rate_hz: None,
            chunk: 0,
            start: None,
            recordings: 0,
            statistics: None,
            sequence: Sequence::joining(1),
            before: 0,
            packets: 0,
            lost_samples: 0,
            missing: Vec::new(),
            lost_ranges: Vec::new(),
            reorder: Reorder::new(),
            arrived: Vec::new(),
            repeated: Vec::new(),
            held: Held::default(),
            notes: Vec::new(),
        }
    }

    /// Whether a reply announces samples that cannot be summed up with those before.
    pub(super) fn is_of_another(&self, reply: &SampleReply) -> bool {
        let is_other =
            |layout: &Layout| *layout != reply.layout || self.rate_hz != Some(reply.rate_hz);
        let has_samples = self.statistics.as_ref().is_some_and(|one| one.samples() > 0);
        has_samples && self.layout.as_ref().is_some_and(is_other)
    }

    /// Everything from zero.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::new(&self.options);
    }

    /// Sampling begins.
    pub(super) fn started(&mut self, reply: SampleReply, start: Option<&str>) {
        self.settle();
        self.recordings += 1;
        self.before += self.sequence.position();
        self.sequence = Sequence::new(reply.frames_per_packet());
        self.chunk = reply.chunk;
        self.rate_hz = Some(reply.rate_hz);
        if self.start.is_none() {
            self.start = start.map(str::to_owned);
        }
        if !reply.framed {
            self.framing = Framing::Raw;
        }
        if self.layout.as_ref() != Some(&reply.layout) {
            self.statistics = Some(Statistics::new(&reply.layout));
        }
        self.layout = Some(reply.layout);
    }

    /// Sampling has ended: what is missing then was lost behind the last packet.
    pub(super) fn stopped(&mut self, stopped: &StopSummary) {
        self.settle();
        if self.framing == Framing::Raw {
            return;
        }
        let begin = self.before + self.sequence.position();
        let lost = self.sequence.finish(stopped.samples);
        self.lost(begin, lost);
    }

    /// A packet in its order.
    pub(super) fn packet(&mut self, packet: Packet) {
        if self.layout.is_none() {
            self.held.bytes += packet.payload.len();
            self.chunk = self.chunk.max(packet.payload.len());
            self.held.packets.push(packet);
            if self.held.bytes >= HELD {
                self.settle();
            }
            return;
        }
        let Some((layout, statistics)) = self.layout.as_ref().zip(self.statistics.as_mut()) else {
            return;
        };
        let frames = (packet.payload.len() / layout.sample_bytes()) as u64;
        let begin = self.before + self.sequence.position();
        let verdict = self.sequence.take(packet.number, frames);
        if verdict == Verdict::Old {
            self.notes.push(format!("packet {} came again and is left out", packet.number));
            return;
        }
        self.packets += 1;
        statistics.add(&packet.payload);
        if let Verdict::Gap { packets, frames } = verdict {
            let numbers = (1..=packets).rev().map(|back| packet.number.wrapping_sub(back));
            let room = MOST_LISTED.saturating_sub(self.missing.len());
            self.missing.extend(numbers.take(room));
            self.lost(begin, frames);
        }
    }

    /// A datagram, in whatever order.
    pub(super) fn datagram(&mut self, packet: Packet) {
        let number = packet.number;
        if self.arrived.len() < MOST_LISTED {
            self.arrived.push(number);
        }
        let repeated = self.reorder.repeated();
        self.reorder.push(packet);
        if self.reorder.repeated() > repeated && self.repeated.len() < MOST_LISTED {
            self.repeated.push(number);
        }
        self.take_ordered();
    }

    fn take_ordered(&mut self) {
        while let Some(packet) = self.reorder.next_packet() {
            self.packet(packet);
        }
    }

    /// Samples without packets.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.framing = Framing::Raw;
        match &mut self.statistics {
            Some(statistics) => statistics.add(bytes),
            None => {
                self.held.raw.extend_from_slice(bytes);
                if self.held.raw.len() >= HELD {
                    self.settle();
                }
            }
        }
    }

    /// What is held is taken for what it looks like.
    pub(super) fn settle(&mut self) {
        self.reorder.flush();
        self.take_ordered();
        if self.layout.is_some() || (self.held.packets.is_empty() && self.held.raw.is_empty()) {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let packets = held.packets.iter().flat_map(|packet| &packet.payload);
        let bytes: Vec<u8> = held.raw.iter().chain(packets).copied().collect();
        let layout = self.layout_of(&bytes);
        self.rate_hz = Some(self.rate_of(&bytes, &layout));
        let frames = self.chunk / layout.sample_bytes();
        self.sequence = Sequence::joining(frames.max(1) as u64);
        self.statistics = Some(Statistics::new(&layout));
        self.layout = Some(layout);
        self.recordings = 1;
        for packet in held.packets {
            self.packet(packet);
        }
        if !held.raw.is_empty() {
            self.raw(&held.raw);
        }
    }

    fn layout_of(&mut self, bytes: &[u8]) -> Layout {
        if let Some(layout) = &self.options.layout {
            return layout.clone();
        }
        let kind = self.options.kind;
        let guessed = guess::layout(bytes, self.chunk, kind);
        let layout = guessed.clone().unwrap_or_else(|| default_layout(kind));
        let channels = layout.channels.len();
        self.notes.push(match guessed {
            Some(_) => format!(
                "no reply tells what the samples are: taken for {} of {channels} channels, since their voltages \
                 look like the mains' then; --measures says otherwise",
                layout.measures()
            ),
            None => format!(
                "no reply tells what the samples are, and in no way do they look like the mains: taken for {} of \
                 {channels} channels; --measures says otherwise",
                layout.measures()
            ),
        });
        layout
    }

    fn rate_of(&mut self, bytes: &[u8], layout: &Layout) -> f64 {
        if let Some(rate) = self.options.rate_hz {
            return rate;
        }
        let guessed = guess::rate_hz(bytes, layout);
        let rate = guessed.unwrap_or(if layout.lines().len() == 3 { 8000.0 } else { 4000.0 });
        self.notes.push(match guessed {
            Some(_) => format!(
                "no reply tells the rate: taken for {rate} samples a second by the frequency of the mains; --rate \
                 says otherwise"
            ),
            None => format!(
                "no reply tells the rate: taken for {rate} samples a second, a meter's own; --rate says otherwise"
            ),
        });
        rate
    }

    fn lost(&mut self, begin: u64, frames: u64) {
        if frames == 0 {
            return;
        }
        self.lost_samples += frames;
        let end = begin + frames;
        let has_room = self.lost_ranges.len() < MOST_LISTED;
        match self.lost_ranges.last_mut() {
            Some(last) if last[1] == begin => last[1] = end,
            _ if has_room => self.lost_ranges.push([begin, end]),
            _ => {}
        }
    }

    /// What had to be assumed since the last time.
    pub(super) fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        let Some(statistics) = &self.statistics else {
            put("samples", json!(0));
            put("log_lines", json!(self.log_lines));
            put("json_lines", json!(self.json_lines));
            return Value::Object(all);
        };
        put("rate_hz", self.rate_hz.map_or(Value::Null, whole));
        statistics.write(&mut all);
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        put(
            "framing",
            json!(match self.framing {
                Framing::Framed => "framed",
                Framing::Raw => "raw",
                Framing::Udp => "udp",
            }),
        );
        if self.framing == Framing::Raw {
            if statistics.rest() > 0 {
                put("bytes_behind_last_sample", json!(statistics.rest()));
            }
        } else {
            put("packets", json!(self.packets));
            put("missing_packets", json!(self.missing));
            put("chunk", json!(self.chunk));
        }
        if self.lost_samples > 0 {
            put("lost_samples", json!(self.lost_samples));
            put("lost_sample_ranges", json!(self.lost_ranges));
            put("total_samples", json!(statistics.samples() + self.lost_samples));
        }
        if self.framing == Framing::Udp {
            put("arrived_order", json!(self.arrived));
            put("duplicate_packets", json!(self.repeated));
        }
        if let Some(start) = &self.start {
            put("start_ts", json!(start));
        }
        if self.recordings > 1 {
            put("recordings", json!(self.recordings));
        }
        put("log_lines", json!(self.log_lines));
        put("json_lines", json!(self.json_lines));
        Value::Object(all)
    }
}

/// What port 54322 gives.
fn default_layout(kind: Option<Kind>) -> Layout {
    let measures = if kind == Some(Kind::SmartMeter) { "v,i,v,i,v,i" } else { "v,i" };
    Layout::of_measures(kind, measures).unwrap_or(Layout { channels: Vec::new() })
}

/// A number without a fraction where it has none.
fn whole(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 1e9 {
        true => json!(number as i64),
        false => json!(number),
    }
}

/// Bytes of samples that are looked at before it is said what they are.
const HELD: usize = 64 * 1024;
/// Numbers that a list holds at most.
const MOST_LISTED: usize = 100_000;
