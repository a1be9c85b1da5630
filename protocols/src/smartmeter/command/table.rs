//! What is known of each command but its arguments.

use crate::smartmeter::Kind;

/// One command.
pub(super) struct Entry {
    pub(super) name: &'static str,
    only: Option<Kind>,
    /// Refused while sampling.
    pub(super) blocked: bool,
    /// How long the reply may take.
    pub(super) seconds: u64,
    /// For an extension board, or newer than the protocol note: arguments go through unread.
    pub(super) passed_through: bool,
}

impl Entry {
    /// Those that a kind understands.
    pub(super) fn all(kind: Kind) -> impl Iterator<Item = &'static Self> {
        TABLE.iter().filter(move |entry| entry.only.is_none_or(|only| only == kind))
    }

    /// The one of a name.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|entry| entry.name == name)
    }

    /// The one of a name, whatever its case, if the kind understands it.
    pub(super) fn find(name: &str, kind: Kind) -> Option<&'static Self> {
        Self::all(kind).find(|entry| entry.name.eq_ignore_ascii_case(name))
    }
}

const fn both(name: &'static str, blocked: bool, seconds: u64) -> Entry {
    Entry { name, only: None, blocked, seconds, passed_through: false }
}

const fn plug(name: &'static str, blocked: bool) -> Entry {
    let only = Some(Kind::PowerMeter);
    Entry { name, only, blocked, seconds: 5, passed_through: false }
}

const fn option(name: &'static str) -> Entry {
    let only = Some(Kind::PowerMeter);
    Entry { name, only, blocked: false, seconds: 5, passed_through: true }
}

/// Source: protocol note, section 2.5, and its last lines for how long a reply takes.
const TABLE: [Entry; 42] = [
    both("info", false, 5),
    both("getPower", true, 5),
    both("getVoltage", true, 5),
    both("getCurrent", true, 5),
    both("getEnergy", true, 5),
    both("getPeriod", true, 5),
    both("getPhaseAngle", true, 5),
    both("mdns", true, 5),
    both("addWifi", true, 5),
    both("delWifi", true, 5),
    both("calibration", true, 5),
    both("restart", false, 5),
    both("factoryReset", false, 5),
    both("basicReset", false, 5),
    both("dailyRestart", true, 5),
    both("resetEnergy", true, 5),
    both("sample", true, 10),
    both("reqSamples", false, 5),
    both("cts", false, 5),
    both("stop", false, 5),
    both("log", false, 5),
    both("clearLog", true, 5),
    both("getLog", true, 10),
    both("mqttServer", true, 30),
    both("streamServer", true, 5),
    both("timeServer", true, 10),
    both("ntp", false, 10),
    plug("switch", false),
    plug("switchTS", false),
    plug("publishInterval", true),
    option("lora"),
    option("getTemp"),
    option("getHum"),
    option("getLight"),
    option("getPIR"),
    option("getSensors"),
    option("setLED"),
    option("sensorBoardInfo"),
    option("calibrateTemp"),
    option("calibrateHum"),
    option("calibrateLight"),
    option("powerIndication"),
];
