//! A meter that samples what the test wants, and the consumers under test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meterbridge::bus::{Wave, Waveforms, Whose};
use meterbridge::metrics::Metrics;
use meterbridge::model::{
    Channel, DeviceId, Make, StreamInfo, Timestamp, WaveChannel, WaveKind, Waveform,
};
use meterbridge::streams::{Plan, RecordSettings, Recorders, Settings};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const SERIAL: &str = "smartmeter001";
/// 2026-11-21 21:00:00 UTC.
pub(crate) const START: Timestamp = Timestamp(1_795_294_800_000);

/// Relay and recorder of one entry, which run.
pub(crate) struct Stage {
    pub(crate) waveforms: Waveforms,
    pub(crate) metrics: Metrics,
    pub(crate) relay: SocketAddr,
    pub(crate) recorders: Recorders,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    /// With a relay, and a recorder if that is wanted. The meter is known by its name only.
    pub(crate) async fn open(record: Option<RecordSettings>) -> Stage {
        let settings = Settings {
            name: "mains".into(),
            whose: Whose::Name("mains".into()),
            relay: Some("127.0.0.1:0".parse().unwrap()),
            record,
        };
        let plan = Plan::open(vec![settings]).await.unwrap();
        let relay = plan.addresses()[0];
        let (waveforms, metrics) = (Waveforms::default(), Metrics::default());
        let (relays, mut recorders) = plan.begin(&waveforms, &metrics);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for relay in relays {
            let stop = stop.clone();
            tasks.spawn(async move {
                let Ok(()) = Arc::new(relay).run(stop).await;
            });
        }
        for recorder in recorders.take() {
            tasks.spawn(async move { Arc::new(recorder).run().await.unwrap() });
        }
        Stage { waveforms, metrics, relay, recorders, stop, tasks }
    }

    pub(crate) fn send(&self, wave: &Wave) {
        self.waveforms.send(SERIAL, wave);
    }

    /// Frames of the stream, in pieces of a tenth of a second.
    pub(crate) fn play(&self, stream: &Arc<StreamInfo>, first: u64, end: u64) {
        let step = (stream.rate_hz / 10.0) as u64;
        let mut at = first;
        while at < end {
            let next = (at + step).min(end);
            self.send(&piece(stream, at, next));
            at = next;
        }
    }

    /// Waits until so many readers are there and want samples.
    pub(crate) async fn readers(&self, count: u64) {
        let fits = || self.metrics.relay_readers.get() == count && self.waveforms.wanted(SERIAL);
        until("readers", fits).await;
    }

    /// Ends recorder and relay as the gateway does.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        self.recorders.end();
        within("the end", async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.unwrap();
            }
        })
        .await;
    }
}

/// Lets other tasks go on until something is so that has no event.
pub(crate) async fn until(what: &str, fits: impl Fn() -> bool) {
    within(what, async {
        while !fits() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(60), future).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub(crate) fn stream(id: u64, rate_hz: f64, lines: u8) -> Arc<StreamInfo> {
    later(id, rate_hz, lines, 0)
}

/// A stream that starts so many milliseconds later.
pub(crate) fn later(id: u64, rate_hz: f64, lines: u8, ms: i64) -> Arc<StreamInfo> {
    let of =
        |channel| [WaveKind::Voltage, WaveKind::Current].map(|kind| WaveChannel { channel, kind });
    let channels: Vec<WaveChannel> = match lines {
        1 => of(Channel::Line).into(),
        many => (1..=many).flat_map(|line| of(Channel::L(line))).collect(),
    };
    Arc::new(StreamInfo {
        id,
        device: DeviceId::derive(Make::Smartmeter, SERIAL),
        name: "mains".into(),
        start: Timestamp(START.0 + ms),
        rate_hz,
        channels: channels.into(),
    })
}

/// Sines of 50 Hz: line c has 230 V and (c + 1) × 1500 mA, as their RMS.
pub(crate) fn piece(stream: &Arc<StreamInfo>, first: u64, end: u64) -> Wave {
    let width = stream.channels.len();
    let samples = (first..end).flat_map(|frame| (0..width).map(move |channel| (frame, channel)));
    let samples = samples.map(|(frame, channel)| sample(frame, channel, stream.rate_hz));
    let samples = samples.collect::<Vec<f32>>().into();
    Wave::Piece(Arc::new(Waveform { stream: Arc::clone(stream), first, samples }))
}

pub(crate) fn sample(frame: u64, channel: usize, rate_hz: f64) -> f32 {
    let line = (channel / 2) as f64;
    let angle = std::f64::consts::TAU * (50.0 * frame as f64 / rate_hz - line / 3.0);
    // A sine is zero now and then; a sample that is measured never is here, and so a gap is seen.
    (rms(channel) * std::f64::consts::SQRT_2 * angle.sin() + 1e-3) as f32
}

pub(crate) fn rms(channel: usize) -> f64 {
    if channel.is_multiple_of(2) { 230.0 } else { 1500.0 * (channel / 2 + 1) as f64 }
}

/// Frames that carry their own number, and a different one in the second channel.
pub(crate) fn numbered(stream: &Arc<StreamInfo>, first: u64, end: u64) -> Wave {
    let samples = (first..end).flat_map(|frame| [frame as f32 + 1.0, -(frame as f32) - 1.0]);
    let samples = samples.collect::<Vec<f32>>().into();
    Wave::Piece(Arc::new(Waveform { stream: Arc::clone(stream), first, samples }))
}

pub(crate) fn settings(directory: &Path) -> RecordSettings {
    RecordSettings {
        always: true,
        directory: directory.to_owned(),
        rotate: Duration::from_secs(3600),
        rotate_size: 2_000_000_000,
        keep_free: 0,
        size: 0,
    }
}

/// A recording as a reader of WAV files finds it.
#[derive(Debug)]
pub(crate) struct Wav {
    pub(crate) rate: u32,
    pub(crate) channels: usize,
    pub(crate) samples: Vec<f32>,
}

impl Wav {
    /// Only what the head counts is read.
    pub(crate) fn read(path: &Path) -> Wav {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut chunks = BTreeMap::new();
        let mut at = 12;
        while at + 8 <= bytes.len() {
            let (id, length) = (&bytes[at..at + 4], u32_at(at + 4) as usize);
            let end = (at + 8 + length).min(bytes.len());
            chunks.insert(id.to_vec(), (at + 8, end));
            at = end + length % 2;
        }
        let (format, _) = chunks[&b"fmt "[..]];
        let (begin, end) = chunks[&b"data"[..]];
        let samples = bytes[begin..end].chunks_exact(4);
        Wav {
            rate: u32_at(format + 4),
            channels: usize::from(bytes[format + 2]),
            samples: samples.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect(),
        }
    }

    pub(crate) fn rms(&self, channel: usize) -> f64 {
        let of = || self.samples.iter().skip(channel).step_by(self.channels);
        let squares: f64 = of().map(|sample| f64::from(*sample).powi(2)).sum();
        (squares / of().count() as f64).sqrt()
    }
}

/// The recordings of a directory, oldest first.
pub(crate) fn recordings(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "wav")).collect();
    paths.sort();
    paths
}

/// What lies beside a recording.
pub(crate) fn side(recording: &Path) -> serde_json::Value {
    let text = std::fs::read(recording.with_extension("json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}
