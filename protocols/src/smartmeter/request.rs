//! What a meter is asked to sample, and whether it can.

use serde_json::{Map, Value};

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
