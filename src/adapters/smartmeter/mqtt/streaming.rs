//! Streams by messages: one sample a message, up to ten a second.
//!
//! A message has neither number nor measures: what its values are is told by their units, and what is
//! missing before it by the time that it was sent.
//!
//! Source: protocol note, sections 4.1 and 4.12.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::smartmeter::mqtt::StreamSample;
use meter_protocols::smartmeter::{Command, Conn, Kind, Layout, SampleReply, SampleRequest};
use tokio::time::{Duration, Instant};

use crate::adapters::smartmeter::session::measures;
use crate::adapters::smartmeter::{EntrySettings, Frame, Moment, Presence, Second, Setup, Stream};
use crate::bus::Waveforms;
use crate::config::meter::EnergySource;
use crate::config::stream::{Over, Start, Stream as Wanted};
use crate::metrics::Metrics;
use crate::model::{Model, Timestamp};

/// The streams of all devices on the broker.
#[derive(Debug)]
pub(super) struct Streaming {
    waveforms: Waveforms,
    metrics: Metrics,
    streams: HashMap<Arc<str>, Under>,
    /// When a device that should sample is asked next, and how often it was in vain.
    tries: HashMap<Arc<str>, (Instant, u32)>,
    /// Samples a second, as they were asked for last.
    rates: HashMap<Arc<str>, f64>,
}

/// A stream under way.
#[derive(Debug)]
struct Under {
    stream: Stream,
    kind: Kind,
    units: String,
    last: Instant,
    /// Its entry has it sample.
    by_entry: bool,
    /// The time of sending is exact.
    to_the_millisecond: bool,
}

impl Streaming {
    pub(super) fn new(waveforms: Waveforms, metrics: Metrics) -> Streaming {
        Streaming {
            waveforms,
            metrics,
            streams: HashMap::new(),
            tries: HashMap::new(),
            rates: HashMap::new(),
        }
    }

    /// The device was told to sample at this rate.
    pub(super) fn expect(&mut self, name: &Arc<str>, rate_hz: f64) {
        self.rates.insert(Arc::clone(name), rate_hz);
    }

    /// Devices that sample because their entries want it.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Arc<str>> {
        self.streams.iter().filter(|(_, under)| under.by_entry).map(|(name, _)| name)
    }

    /// Takes one message.
    pub(super) fn take(
        &mut self,
        name: &Arc<str>,
        kind: Kind,
        entry: &EntrySettings,
        sample: &StreamSample,
        now: Instant,
    ) -> Vec<Frame> {
        let at = Timestamp::now();
        let mut frames = Vec::new();
        if self.streams.get(name).is_some_and(|under| under.units != sample.units) {
            frames = self.end(name);
        }
        if !self.streams.contains_key(name) {
            let Some(under) = self.begin(name, kind, entry, sample, now, at) else {
                self.metrics.ignored_packets.increment();
                return frames;
            };
            self.tries.remove(name);
            self.streams.insert(Arc::clone(name), under);
        }
        let Some(under) = self.streams.get_mut(name) else { return frames };
        under.last = now;
        let values: Vec<f64> = sample.values.iter().map(|value| f64::from(*value)).collect();
        let sent = sample.ts.filter(|_| under.to_the_millisecond);
        under.stream.values(&values, sent, Moment { instant: now, at });
        frames.extend(under.stream.take_seconds().into_iter().map(|one| frame(name, kind, one)));
        frames
    }

    /// The device has said that it does not sample any more, or is gone.
    pub(super) fn end(&mut self, name: &str) -> Vec<Frame> {
        let Some((name, under)) = self.streams.remove_entry(name) else { return Vec::new() };
        let (summary, seconds) =
            under.stream.end(None, Moment { instant: Instant::now(), at: Timestamp::now() });
        let (frames, lost) = (summary.frames, summary.lost_frames);
        tracing::info!(serial = &*name, frames, lost, "no more samples come by messages");
        seconds.into_iter().map(|one| frame(&name, under.kind, one)).collect()
    }

    /// Ends the streams of which nothing is heard any more.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Frame> {
        let is_silent = |under: &Under| now.duration_since(under.last) >= SILENT;
        let silent = self.streams.iter().filter(|(_, under)| is_silent(under));
        let silent: Vec<Arc<str>> = silent.map(|(name, _)| Arc::clone(name)).collect();
        silent.iter().flat_map(|name| self.end(name)).collect()
    }

    /// The command that a device is to be sent now so that it samples, if it is to.
    pub(super) fn due(
        &mut self,
        name: &Arc<str>,
        kind: Kind,
        entry: &EntrySettings,
        now: Instant,
    ) -> Option<Command> {
        let wanted = wanted(entry).filter(|wanted| wanted.start == Start::Always)?;
        if self.streams.contains_key(name) {
            return None;
        }
        let (next, tries) = self.tries.get(name).copied().unwrap_or((now, 0));
        if now < next {
            return None;
        }
        self.tries.insert(Arc::clone(name), (now + AGAIN, tries + 1));
        if tries == TOLD_AFTER {
            tracing::warn!(
                serial = &**name,
                "the meter was asked to sample by messages and none has come; it is asked again and again"
            );
        }
        let request = SampleRequest {
            conn: Conn::Mqtt,
            measures: measures(wanted.measures),
            ..SampleRequest::new(wanted.rate)
        };
        let made = Command::sample(&request, kind);
        if let Err(error) = &made
            && tries == 0
        {
            tracing::warn!(serial = &**name, %error, "the meter cannot sample so");
        }
        made.ok()
    }

    fn begin(
        &self,
        name: &Arc<str>,
        kind: Kind,
        entry: &EntrySettings,
        sample: &StreamSample,
        now: Instant,
        at: Timestamp,
    ) -> Option<Under> {
        let told = wanted(entry).and_then(|wanted| {
            let measures = measures(wanted.measures);
            SampleRequest { measures, ..SampleRequest::new(wanted.rate) }.layout(kind)
        });
        let layout: Layout = sample.layout(Some(kind), told.as_ref())?;
        let asked = self.rates.get(name).copied().filter(|rate| *rate > 0.0);
        let (measures, rate_hz) = (layout.measures(), asked.unwrap_or_else(|| rate(entry)));
        let reply = SampleReply {
            chunk: layout.sample_bytes(),
            layout,
            rate_hz,
            framed: true,
            flow_control: false,
            conn: Conn::Mqtt.name().to_owned(),
            port: None,
            slot: None,
            start: sample.ts,
            ntp_confidence: None,
        };
        // Both kinds tell their own total over MQTT.
        let setup = Setup::new(name, entry, &reply, entry.energy == EnergySource::Integrated);
        let stream = Stream::begin(
            &setup,
            self.waveforms.clone(),
            &self.metrics,
            Moment { instant: now, at },
        );
        tracing::info!(serial = &**name, rate_hz, measures, "samples come by messages");
        if !stream.readable() {
            tracing::warn!(
                serial = &**name,
                "voltage and current sampled so seldom tell nothing of the mains: no readings are made of them; \
                 v,i_RMS or p,q give some"
            );
        }
        let (units, to_the_millisecond) = (sample.units.clone(), kind == Kind::SmartMeter);
        let by_entry = wanted(entry).is_some_and(|wanted| wanted.start == Start::Always);
        Some(Under { stream, kind, units, last: now, by_entry, to_the_millisecond })
    }
}

/// What the entry wants by messages.
fn wanted(entry: &EntrySettings) -> Option<&Wanted> {
    entry.stream.as_ref().filter(|wanted| wanted.over == Over::Mqtt)
}

/// How many come a second: no message tells.
fn rate(entry: &EntrySettings) -> f64 {
    wanted(entry).map_or(MOST_HZ, |wanted| f64::from(wanted.rate))
}

fn frame(name: &Arc<str>, kind: Kind, second: Second) -> Frame {
    let (now, past) = match second.late {
        true => (None, vec![(second.at, second.measured)]),
        false => (Some(second.measured), Vec::new()),
    };
    Frame {
        serial: Arc::clone(name),
        model: match kind {
            Kind::SmartMeter => Model::Smartmeter,
            Kind::PowerMeter => Model::Powermeter,
        },
        presence: Presence::Here,
        on_our_broker: true,
        message_unit: None,
        now,
        past,
        relay: None,
    }
}

/// Nothing for so long: the stream is over.
const SILENT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(30);
const TOLD_AFTER: u32 = 3;
const MOST_HZ: f64 = 10.0;
