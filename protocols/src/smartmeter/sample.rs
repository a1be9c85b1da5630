//! Sampling: what is asked for, what a meter answers, and how it ends.

use serde_json::{Map, Value};

use super::values::{boolean, number};
use super::{CommandError, Kind, Layout};

/// What a meter is asked to sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRequest {
    /// Where the samples go.
    pub conn: Conn,
    /// Samples a second.
    pub rate: u32,
    /// What is sampled.
    pub measures: Measures,
    /// In numbered packets.
    pub framed: bool,
    /// Nothing is sent until `cts` allows it.
    pub flow_control: bool,
    /// `(k, n)`: data is sent only in seconds where Unix time mod n is k.
    pub slot: Option<(u32, u32)>,
    /// The start in Unix seconds, half a second to 20 s ahead by the meter's clock.
    pub start: Option<f64>,
    /// How exact a PowerMeter's clock has to be first, ms.
    pub ntp_confidence: Option<u32>,
}

/// Where samples go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conn {
    /// To the connection that asked.
    Tcp,
    /// To this port of the host that asked.
    Udp(u16),
    /// To the serial line.
    Serial,
    /// To `state/info`, a message a sample.
    Mqtt,
}

/// What is sampled, as a meter is asked for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Measures {
    /// Voltage and current of every line: no `measures` are sent.
    #[default]
    All,
    /// Voltage and current of a SmartMeter's line, 1 to 3.
    Line(u8),
    /// Active and reactive power, of every line.
    Powers,
    /// RMS of voltage and current, of every line.
    Rms,
    /// Voltage, current and both powers; a PowerMeter only.
    Everything,
}

impl SampleRequest {
    /// Voltage and current of every line, in packets on the connection that asks.
    #[must_use]
    pub const fn new(rate: u32) -> Self {
        Self {
            conn: Conn::Tcp,
            rate,
            measures: Measures::All,
            framed: true,
            flow_control: false,
            slot: None,
            start: None,
            ntp_confidence: None,
        }
    }

    /// The layout that comes of it.
    #[must_use]
    pub fn layout(&self, kind: Kind) -> Option<Layout> {
        Layout::of_measures(Some(kind), self.measures.echo(kind)?)
    }

    /// Whether a meter of this kind can do it.
    ///
    /// # Errors
    /// [`CommandError`] says what it cannot.
    ///
    /// Source: protocol note, sections 4.1 to 4.6.
    pub fn check(&self, kind: Kind) -> Result<(), CommandError> {
        let layout = self
            .layout(kind)
            .ok_or(CommandError::Measures { measures: self.measures.text().to_owned(), kind })?;
        self.check_rate(kind)?;
        if self.conn == Conn::Udp(0) {
            return Err(CommandError::Invalid(
                "a port for UDP is a number from 1 to 65535, not 0".into(),
            ));
        }
        if let Some(start) = self.start {
            if !start.is_finite() || start <= 0.0 {
                let reason = format!("the time {start} is no time in Unix seconds");
                return Err(CommandError::Invalid(reason));
            }
            if kind == Kind::SmartMeter && self.is_latched(kind) {
                return Err(CommandError::TimedLatch(self.measures.text()));
            }
        }
        if self.ntp_confidence.is_some() && kind == Kind::SmartMeter {
            return Err(CommandError::NotFor { command: "sample with ntpConf".into(), kind });
        }
        self.slot.map_or(Ok(()), |slot| self.check_slot(slot, &layout))
    }

    fn check_rate(&self, kind: Kind) -> Result<(), CommandError> {
        let refused = |reason: String| Err(CommandError::Rate { rate: self.rate, reason });
        if self.conn == Conn::Mqtt && !(1..=MOST_MQTT).contains(&self.rate) {
            return refused(format!("over MQTT 1 to {MOST_MQTT} samples a second are possible"));
        }
        match kind {
            _ if self.is_latched(kind) && !(1..=MOST_LATCHED).contains(&self.rate) => {
                let measures = self.measures.text();
                refused(format!("of {measures}, a {kind} takes 1 to {MOST_LATCHED} a second"))
            }
            Kind::SmartMeter if self.is_latched(kind) => Ok(()),
            Kind::SmartMeter if UNEVEN.contains(&self.rate) => {
                refused(format!("a {kind} spaces so many unevenly; {} do", nearest(self.rate)))
            }
            Kind::SmartMeter if self.rate == 0 || !32_000_u32.is_multiple_of(self.rate) => {
                let near = nearest(self.rate);
                refused(format!("a {kind} takes what divides 32000, for instance {near}"))
            }
            Kind::PowerMeter if !(1..=8000).contains(&self.rate) => {
                refused(format!("a {kind} takes 1 to 8000 a second"))
            }
            _ => Ok(()),
        }
    }

    /// Between its slots a meter keeps what it samples; when its memory is full it restarts.
    fn check_slot(&self, (slot, of): (u32, u32), layout: &Layout) -> Result<(), CommandError> {
        if slot >= of {
            return Err(CommandError::Invalid(format!(
                "the slot [{slot},{of}] is none: the first number counts from 0 and is less than the second"
            )));
        }
        let held = u64::from(of) * u64::from(self.rate) * layout.sample_bytes() as u64;
        if held > BUFFER {
            let seconds = BUFFER / (u64::from(self.rate) * layout.sample_bytes() as u64).max(1);
            return Err(CommandError::Invalid(format!(
                "the slot [{slot},{of}] is too rare: at this rate a meter keeps {seconds} s, and restarts when \
                 its memory is full"
            )));
        }
        Ok(())
    }

    /// Whether values are those of the measuring chip's registers, that is not momentary ones.
    const fn is_latched(&self, kind: Kind) -> bool {
        matches!((kind, self.measures), (Kind::SmartMeter, Measures::Powers | Measures::Rms))
    }

    /// What stands in the command's `payload`.
    pub(super) fn payload(&self) -> Map<String, Value> {
        let mut payload = Map::new();
        let mut put = |key: &str, value: Value| payload.insert(key.to_owned(), value);
        put("type", self.conn.name().into());
        put("rate", self.rate.into());
        if let Some(measures) = self.measures.sent() {
            put("measures", measures.into());
        }
        put("prefix", self.framed.into());
        put("flowCtr", self.flow_control.into());
        if let Some((slot, of)) = self.slot {
            put("slot", vec![slot, of].into());
        }
        if let Some(start) = self.start {
            put("time", start.into());
        }
        if let Conn::Udp(port) = self.conn {
            put("port", port.into());
        }
        if let Some(confidence) = self.ntp_confidence {
            put("ntpConf", confidence.into());
        }
        payload
    }
}

impl Conn {
    /// `TCP`, `UDP`, `Serial` or `MQTT`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp(_) => "UDP",
            Self::Serial => "Serial",
            Self::Mqtt => "MQTT",
        }
    }

    /// The way of its name, and of a port for UDP.
    #[must_use]
    pub fn of_name(name: &str, port: u16) -> Option<Self> {
        [Self::Tcp, Self::Udp(port), Self::Serial, Self::Mqtt]
            .into_iter()
            .find(|conn| conn.name().eq_ignore_ascii_case(name))
    }
}

impl Measures {
    /// What a user asks for by this text, as the firmware of this kind understands it: `v,i` of a
    /// SmartMeter is L1 alone.
    #[must_use]
    pub fn of_text(kind: Kind, text: &str) -> Option<Self> {
        Some(match (kind, text) {
            (Kind::SmartMeter, "v,i,v,i,v,i") | (Kind::PowerMeter, "v,i") => Self::All,
            (Kind::SmartMeter, "v,i" | "v,i_L1") => Self::Line(1),
            (Kind::SmartMeter, "v,i_L2") => Self::Line(2),
            (Kind::SmartMeter, "v,i_L3") => Self::Line(3),
            (_, "p,q") => Self::Powers,
            (_, "v,i_RMS") => Self::Rms,
            (Kind::PowerMeter, "v,i,p,q") => Self::Everything,
            _ => return None,
        })
    }

    /// What is sent for it.
    const fn sent(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            _ => Some(self.text()),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::All => "v,i",
            Self::Line(1) => "v,i_L1",
            Self::Line(2) => "v,i_L2",
            Self::Line(_) => "v,i_L3",
            Self::Powers => "p,q",
            Self::Rms => "v,i_RMS",
            Self::Everything => "v,i,p,q",
        }
    }

    /// What the reply says for it; `None` where this kind has no such measures.
    const fn echo(self, kind: Kind) -> Option<&'static str> {
        match (kind, self) {
            (Kind::SmartMeter, Self::All) => Some("v,i,v,i,v,i"),
            (Kind::SmartMeter, Self::Powers) => Some("p,p,p,q,q,q"),
            (Kind::SmartMeter, Self::Rms) => Some("v,v,v,i,i,i_RMS"),
            (Kind::SmartMeter, Self::Line(1..=3)) => Some(self.text()),
            (Kind::SmartMeter, _) | (Kind::PowerMeter, Self::Line(_)) => None,
            (Kind::PowerMeter, _) => Some(self.text()),
        }
    }
}

/// What a meter is going to send: the successful answer to `sample`. Layout, rate and sizes are taken
/// from here, not from what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleReply {
    /// What each sample holds.
    pub layout: Layout,
    /// Samples a second.
    pub rate_hz: f64,
    /// Bytes of samples in a packet.
    pub chunk: usize,
    /// In numbered packets.
    pub framed: bool,
    /// Nothing comes until `cts` allows it.
    pub flow_control: bool,
    /// Where they go, as the meter writes it: `TCP`.
    pub conn: String,
    /// The port that datagrams go to.
    pub port: Option<u16>,
    /// The seconds in which data is sent.
    pub slot: Option<(u32, u32)>,
    /// The time of the first sample in Unix seconds; `None` before the meter's clock was set.
    pub start: Option<f64>,
    /// How exact a PowerMeter's clock is, ms.
    pub ntp_confidence: Option<f64>,
}

impl SampleReply {
    /// The reply in a message. `None`: it is none, or an error.
    ///
    /// `asked` fills in what the reply to a timed start may lack. A PowerMeter calls its successful timed
    /// start an error: it has `startTs`, where one that failed has not.
    #[must_use]
    pub fn read(value: &Value, kind: Option<Kind>, asked: Option<&SampleRequest>) -> Option<Self> {
        let keys = value.as_object().filter(|keys| !is_error(keys))?;
        // As the README has it, a reply lacks its `cmd`.
        let is_sample = match keys.get("cmd") {
            Some(cmd) => cmd == "sample",
            None => keys.contains_key("measures") && keys.contains_key("samplingrate"),
        };
        if !is_sample {
            return None;
        }
        let text = |key: &str| keys.get(key).and_then(Value::as_str);
        let layout = (text("measures").and_then(|measures| Layout::of_measures(kind, measures)))
            .or_else(|| text("unit").and_then(|units| Layout::of_units(kind, units)))
            .or_else(|| asked.zip(kind).and_then(|(asked, kind)| asked.layout(kind)))?;
        let rate = keys.get("samplingrate").and_then(number).filter(|rate| *rate > 0.0);
        let rate_hz = rate.or(asked.map(|asked| f64::from(asked.rate)))?;
        let chunk = whole(keys.get("chunksize")).filter(|chunk| *chunk > 0);
        let flag = |key: &str| keys.get(key).and_then(boolean);
        Some(Self {
            chunk: chunk.unwrap_or_else(|| chunk_size(rate_hz, layout.sample_bytes())),
            rate_hz,
            framed: flag("prefix").or(asked.map(|asked| asked.framed)).unwrap_or(true),
            flow_control: flag("flowCtr")
                .or(asked.map(|asked| asked.flow_control))
                .unwrap_or(false),
            conn: text("conn_type")
                .or(asked.map(|asked| asked.conn.name()))
                .unwrap_or("TCP")
                .to_owned(),
            port: whole(keys.get("port")).and_then(|port| u16::try_from(port).ok()),
            slot: keys.get("slot").and_then(slot),
            start: keys.get("startTs").and_then(number).filter(|start| *start > 0.0),
            ntp_confidence: keys.get("ntpConfidence").and_then(number),
            layout,
        })
    }

    /// Samples in a packet, for [`super::Sequence`].
    #[must_use]
    pub fn frames_per_packet(&self) -> u64 {
        (self.chunk / self.layout.sample_bytes().max(1)).max(1) as u64
    }
}

/// Whether the reply to `sample` says that nothing was started.
pub(super) fn is_error(keys: &Map<String, Value>) -> bool {
    keys.get("error").and_then(boolean) == Some(true) && !keys.contains_key("startTs")
}

fn slot(value: &Value) -> Option<(u32, u32)> {
    let [slot, of] = value.as_array()?.as_slice() else { return None };
    let number = |value: &Value| value.as_u64().and_then(|one| u32::try_from(one).ok());
    number(slot).zip(number(of))
}

fn whole(value: Option<&Value>) -> Option<usize> {
    let number = number(value?)?;
    (number.fract() == 0.0 && (0.0..1e9).contains(&number)).then_some(number as usize)
}

/// Bytes of samples in a packet on TCP: a tenth of a second, rounded up to a power of two, at most 1024,
/// in whole samples.
///
/// Source: protocol note, section 4.3.
#[must_use]
pub fn chunk_size(rate_hz: f64, sample_bytes: usize) -> usize {
    let sample_bytes = sample_bytes.max(1);
    let tenth = (0.1 * rate_hz * sample_bytes as f64) as usize;
    let rounded = tenth.clamp(sample_bytes, 1024).next_power_of_two().min(1024);
    (rounded / sample_bytes * sample_bytes).max(sample_bytes)
}

/// What a meter says when sampling has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StopSummary {
    /// Samples taken.
    pub samples: u64,
    /// Samples handed to the network.
    pub sent_samples: Option<u64>,
    /// How long, ms.
    pub duration_ms: Option<f64>,
    /// The first sample's time in Unix seconds.
    pub start: Option<f64>,
    /// The last one's.
    pub stop: Option<f64>,
    /// Samples a second, on average.
    pub average_rate_hz: Option<f64>,
}

impl StopSummary {
    /// The summary in the reply to `stop`, whatever the order of its keys. `None`: it is none, as where
    /// the meter was idle.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let keys = value.as_object()?;
        let is_stop = match keys.get("cmd") {
            Some(cmd) => cmd == "stop",
            None => keys.contains_key("stop_ts"),
        };
        if !is_stop {
            return None;
        }
        let of = |key: &str| keys.get(key).and_then(number);
        let count = |key: &str| whole(keys.get(key)).map(|count| count as u64);
        Some(Self {
            samples: count("samples")?,
            sent_samples: count("sent_samples"),
            duration_ms: of("sample_duration"),
            start: of("start_ts"),
            stop: of("stop_ts"),
            average_rate_hz: of("avg_rate"),
        })
    }
}

/// The good rate of a SmartMeter that is nearest to this one.
fn nearest(rate: u32) -> u32 {
    let distance = |good: &u32| good.abs_diff(rate);
    SMART_RATES.into_iter().min_by_key(distance).unwrap_or(4000)
}

/// Rates that a SmartMeter takes and spaces evenly.
pub const SMART_RATES: [u32; 30] = [
    1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 40, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 500, 800,
    1000, 1600, 2000, 4000, 8000, 16_000, 32_000,
];
/// Rates that it takes and does not space evenly.
const UNEVEN: [u32; 3] = [256, 1280, 6400];
/// Values of a SmartMeter's registers, a second.
const MOST_LATCHED: u32 = 50;
/// Messages a second over MQTT (protocol note, section 4.12).
const MOST_MQTT: u32 = 10;
/// What a meter holds of samples before it restarts, in bytes.
pub const BUFFER: u64 = 3_670_016;
