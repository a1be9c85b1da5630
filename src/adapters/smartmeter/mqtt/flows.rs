//! Streams that come as messages, one sample each: from the first message to the end of sampling.

use std::collections::HashMap;
use std::sync::Arc;

use meter_protocols::smartmeter::mqtt::StreamSample;
use meter_protocols::smartmeter::{Command, Conn, Kind, Layout, SampleRequest};
use tokio::time::{Duration, Instant};

use super::Moment;
use crate::adapters::smartmeter::session::{measures, wave_channel};
use crate::adapters::smartmeter::{EntrySettings, Scales, Second, Setup, Stream};
use crate::bus::Waveforms;
use crate::config::meter::EnergySource;
use crate::config::stream::{Over, Start};
use crate::metrics::Metrics;
use crate::model::{Channel, DeviceId, Make};

/// The streams of all devices.
#[derive(Debug)]
pub(super) struct Flows {
    waveforms: Waveforms,
    metrics: Metrics,
    all: HashMap<Arc<str>, Flow>,
}

/// That of one device.
#[derive(Debug, Default)]
struct Flow {
    /// As it was asked for; else from how fast messages come.
    rate_hz: Option<f64>,
    /// When the first message came.
    first: Option<Instant>,
    last: Option<Instant>,
    on: Option<(Layout, Stream)>,
    /// When it was asked for, by the entry.
    tried: Option<Instant>,
}

impl Flows {
    pub(super) fn new(waveforms: Waveforms, metrics: Metrics) -> Flows {
        Flows { waveforms, metrics, all: HashMap::new() }
    }

    /// A `sample` command goes to the device.
    pub(super) fn expect(&mut self, name: &Arc<str>, rate_hz: f64) {
        let flow = self.all.entry(Arc::clone(name)).or_default();
        (flow.rate_hz, flow.first) = (Some(rate_hz), None);
    }

    /// The command that the entry wants sent, if it is time for one.
    pub(super) fn wanted(
        &mut self,
        name: &Arc<str>,
        kind: Kind,
        entry: &EntrySettings,
        now: Instant,
    ) -> Option<Command> {
        let wanted = entry.stream.as_ref()?;
        if wanted.over != Over::Mqtt || wanted.start != Start::Always {
            return None;
        }
        let flow = self.all.entry(Arc::clone(name)).or_default();
        let is_due = flow.tried.is_none_or(|tried| now.duration_since(tried) >= AGAIN);
        if flow.on.is_some() || !is_due {
            return None;
        }
        flow.tried = Some(now);
        let request = SampleRequest {
            conn: Conn::Mqtt,
            measures: measures(wanted.measures),
            ..SampleRequest::new(wanted.rate)
        };
        let made = Command::sample(&request, kind);
        made.inspect_err(|error| {
            tracing::warn!(device = &**name, %error, "the meter cannot sample as its entry wants");
        })
        .ok()
    }

    /// A sample came. Answers the seconds that are over.
    pub(super) fn take(
        &mut self,
        (name, kind): (&Arc<str>, Kind),
        sample: &StreamSample,
        entry: &EntrySettings,
        Moment { now, at }: Moment,
    ) -> Vec<Second> {
        let flow = self.all.entry(Arc::clone(name)).or_default();
        flow.last = Some(now);
        let known = flow.on.as_ref().map(|(layout, _)| layout);
        let Some(layout) = sample.layout(Some(kind), known) else { return Vec::new() };
        let fits = known == Some(&layout);
        let mut seconds = Vec::new();
        if !fits {
            if let Some((_, stream)) = flow.on.take() {
                seconds = stream.end(None, at).1;
            }
            let Some(rate_hz) = flow.rate(now) else { return seconds };
            let setup = setup(name, &layout, rate_hz, entry);
            let stream = Stream::begin(&setup, self.waveforms.clone(), &self.metrics, at);
            tracing::info!(
                device = &**name,
                rate_hz,
                measures = layout.measures(),
                "samples are taken"
            );
            flow.on = Some((layout, stream));
        }
        let Some((_, stream)) = &mut flow.on else { return seconds };
        let values: Vec<f64> = sample.values.iter().map(|value| f64::from(*value)).collect();
        // A plug tells whole seconds, which say nothing of what is missing.
        let sent = sample.ts.filter(|_| kind == Kind::SmartMeter);
        stream.values(&values, sent, at);
        seconds.extend(stream.take_seconds());
        seconds
    }

    /// Sampling is over.
    pub(super) fn end(&mut self, name: &str, Moment { at, .. }: Moment) -> Vec<Second> {
        let Some(flow) = self.all.get_mut(name) else { return Vec::new() };
        (flow.first, flow.rate_hz) = (None, None);
        let Some((_, stream)) = flow.on.take() else { return Vec::new() };
        let (summary, seconds) = stream.end(None, at);
        tracing::info!(
            device = name,
            frames = summary.frames,
            lost = summary.lost_frames,
            "the samples have ended"
        );
        seconds
    }

    /// Ends a stream of which nothing comes any more.
    pub(super) fn end_silent(&mut self, name: &str, moment: Moment) -> Vec<Second> {
        let last = self.all.get(name).filter(|flow| flow.on.is_some()).and_then(|flow| flow.last);
        match last {
            Some(last) if moment.now.duration_since(last) >= OVER => self.end(name, moment),
            _ => Vec::new(),
        }
    }

    /// Devices that sample because their entry wants it.
    pub(super) fn begun(&self) -> impl Iterator<Item = &Arc<str>> {
        let begun = |(_, flow): &(&Arc<str>, &Flow)| flow.on.is_some() && flow.tried.is_some();
        self.all.iter().filter(begun).map(|(name, _)| name)
    }
}

impl Flow {
    /// Samples a second; `None` until the second message, where nobody here has asked for them.
    fn rate(&mut self, now: Instant) -> Option<f64> {
        if let Some(rate_hz) = self.rate_hz {
            return Some(rate_hz);
        }
        let first = *self.first.get_or_insert(now);
        let waited = now.duration_since(first).as_secs_f64();
        (waited > 0.0).then(|| (1.0 / waited).round().clamp(1.0, FASTEST_HZ))
    }
}

fn setup(name: &Arc<str>, layout: &Layout, rate_hz: f64, entry: &EntrySettings) -> Setup {
    let scale = |channel| entry.scales.get(&channel).copied().unwrap_or((1.0, 1.0));
    let derived = || DeviceId::derive(Make::Smartmeter, name);
    Setup {
        serial: Arc::clone(name),
        device: entry.id.unwrap_or_else(derived),
        name: if entry.name.is_empty() { Arc::clone(name) } else { Arc::clone(&entry.name) },
        channels: layout.channels.iter().map(wave_channel).collect(),
        rate_hz,
        packet_frames: 1,
        start: None,
        scales: Scales {
            lines: [1, 2, 3].map(|line| scale(Channel::L(line))),
            line: scale(Channel::Line),
        },
        // Its own count goes on meanwhile, and is told when it is idle again.
        energy: entry.energy == EnergySource::Integrated,
    }
}

/// Source: protocol note, section 4.12.
const FASTEST_HZ: f64 = 10.0;
/// A stream that says nothing for so long is over.
const OVER: Duration = Duration::from_secs(10);
/// How often a meter is asked to sample that does not.
const AGAIN: Duration = Duration::from_secs(30);
