//! What a meter said at one moment, and the stream of such updates that the bus carries.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Channel, Device, DeviceId, Make, Milli, Sensor};

/// A moment in UTC, in milliseconds since 1970.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The gateway's clock. 0 when that clock stands before 1970.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as i64)
    }

    /// Whole seconds since 1970, as topics carry them.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time from `earlier` to here; zero when the clock went back in between.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

/// A value in the unit that its sensor states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// What is now: power, voltage, temperature.
    Gauge(Milli),
    /// A running total that never falls: energy, pulses, volume.
    Counter(Milli),
}

/// One value of one sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The sensor's place in [`Device::sensors`] of the set it belongs to.
    pub sensor: u16,
    /// What it read.
    pub value: Value,
}

/// Everything that one frame of one meter said, kept together.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingSet {
    /// The meter as it was when it said so.
    pub device: Arc<Device>,
    /// When it was true, by the gateway's clock.
    pub at: Timestamp,
    /// What a bare pulse input has counted since the meter was first seen, by input (0 = pulse1).
    pub pulses: [Option<u64>; 4],
    /// The readings, in the order of the device's sensors; for one sensor the counter comes first.
    pub readings: Vec<Reading>,
}

impl ReadingSet {
    /// Whether it has only what a meter behind the meter said, at a time of its own, and nothing of the
    /// meter itself.
    pub fn is_of_attached(&self) -> bool {
        let is_attached = |sensor: &Sensor| matches!(sensor.channel, Channel::Pulse(_));
        self.device.make == Make::P1 && self.iter().all(|(sensor, _)| is_attached(sensor))
    }

    /// The readings with the sensors they belong to.
    pub fn iter(&self) -> impl Iterator<Item = (&Sensor, Value)> {
        let sensors = &self.device.sensors;
        self.readings.iter().filter_map(|reading| {
            sensors.get(usize::from(reading.sensor)).map(|sensor| (sensor, reading.value))
        })
    }
}

/// A counter that did something else than count on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The meter's name.
    pub name: Arc<str>,
    /// The meter's serial number.
    pub serial: Arc<str>,
    /// The input, if it concerns one.
    pub channel: Option<Channel>,
    /// Which of the meter's counters: `absolute`, `polarized`, `aux`, `pulses`, `seconds`.
    pub counter: &'static str,
    /// What happened.
    pub kind: CorrectionKind,
    /// The counter before, in its own unit.
    pub before: u64,
    /// The counter now.
    pub after: u64,
}

/// What a counter did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CorrectionKind {
    /// It ran over its width and was carried on.
    Wrapped,
    /// It started again: nothing was counted for this interval.
    Reset,
    /// It rose by more than the power ceiling allows: nothing was counted.
    Jumped,
    /// It came back from a value that was wrong: counting went on from where it was before.
    Recovered,
}

impl CorrectionKind {
    /// The word on the event topic and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CorrectionKind::Wrapped => "wrapped",
            CorrectionKind::Reset => "reset",
            CorrectionKind::Jumped => "jumped",
            CorrectionKind::Recovered => "recovered",
        }
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(channel) = self.channel {
            write!(f, "{channel} ")?;
        }
        let (kind, before, after) = (self.kind.as_str(), self.before, self.after);
        write!(f, "{} counter {kind}: {before} before, {after} now", self.counter)
    }
}

/// What the bus carries.
#[derive(Debug, Clone)]
pub enum Update {
    /// A meter said something.
    Readings(Arc<ReadingSet>),
    /// A meter said something about a time that is over: for histories, and nothing live.
    Backlog(Arc<ReadingSet>),
    /// The meter of this name can be heard, or no longer.
    Availability {
        /// The `<name>` in `powermeter/<name>/…`.
        name: Arc<str>,
        /// Whether it can be heard.
        online: bool,
    },
    /// The relay of a meter is closed or open, by what the meter itself says.
    Relay {
        /// The `<name>` in `powermeter/<name>/…`.
        name: Arc<str>,
        /// Whether it is closed.
        closed: bool,
    },
    /// A counter was corrected.
    Correction(Arc<Correction>),
    /// A meter goes by another name from now on.
    Renamed {
        /// The `<name>` that it had.
        from: Arc<str>,
        /// The `<name>` that it has.
        to: Arc<str>,
    },
    /// What a meter is made of has changed, without a word of the meter.
    Described(Arc<Device>),
    /// A meter is not wanted any more: what is retained of it goes.
    Forgotten {
        /// The `<name>` in `powermeter/<name>/…`.
        name: Arc<str>,
        /// Its identity.
        device: DeviceId,
    },
    /// Something happened to what is known of a meter.
    Notice(Arc<Notice>),
}

/// Something that happens once, for `meterbridge/bridge/event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// The meter's name, where it has one.
    pub name: Option<Arc<str>>,
    /// The meter's serial number.
    pub serial: Arc<str>,
    /// The same in words.
    pub message: String,
}

/// What happened to what is known of a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// A meter that no entry names was let in, or accepted by its owner.
    Adopted,
    /// It goes by another name.
    Renamed,
    /// Its channels are named or read otherwise.
    Configured,
    /// It is not known any more.
    Removed,
    /// It goes on where another meter has ended.
    Replaced,
    /// It was heard and not let in.
    Blocked,
    /// A meter was found on the network that no entry names.
    Discovered,
    /// A change made on request gave way to a later one in the configuration.
    Overruled,
}

impl NoticeKind {
    /// The word on the event topic.
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeKind::Adopted => "adopted",
            NoticeKind::Renamed => "renamed",
            NoticeKind::Configured => "configured",
            NoticeKind::Removed => "removed",
            NoticeKind::Replaced => "replaced",
            NoticeKind::Blocked => "blocked",
            NoticeKind::Discovered => "discovered",
            NoticeKind::Overruled => "overruled",
        }
    }
}
