//! One sensor of a simulated Fluksometer, and a device's list of them as it grows.

use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::source::{Clamp, Kube, Source};

/// One sensor that is enabled.
#[derive(Debug, Clone)]
pub(super) struct Sensor {
    /// 32 hex digits.
    pub(super) id: String,
    /// What it measures.
    pub(super) source: Source,
    /// How often its slot was given to something else.
    pub(super) rid: u32,
    /// Whether the device keeps its history.
    pub(super) recorded: bool,
    /// Units of its gauge and its counter.
    pub(super) units: (&'static str, &'static str),
    /// Its section as it stands in the blocks.
    pub(super) cfg: String,
    /// Its radio packet is acknowledged: QoS 1.
    pub(super) acknowledged: bool,
}

impl Sensor {
    /// `counter` or `gauge`: which of its topics is recorded.
    pub(super) fn data_type(&self) -> &'static str {
        data_type(self.source)
    }
}

/// Which of a sensor's topics is recorded.
pub(super) fn data_type(source: Source) -> &'static str {
    let counts = match source {
        Source::Kube(kube) => kube.counts(),
        Source::Clamp(_, clamp) => {
            matches!(clamp, Clamp::Pplus | Clamp::Pminus | Clamp::Q(_))
        }
        _ => true,
    };
    if counts { "counter" } else { "gauge" }
}

/// The numbered sections of a device's sensors, as they stand in its document.
#[derive(Debug, Default)]
pub(super) struct Sections {
    serial: String,
    /// Newer daemons write the unit into blocks.
    writes_unit: bool,
    pub(super) document: Map<String, Json>,
    pub(super) sensors: Vec<Sensor>,
}

impl Sections {
    pub(super) fn new(serial: &str, writes_unit: bool) -> Sections {
        Sections { serial: serial.to_owned(), writes_unit, ..Sections::default() }
    }

    /// The id that the factory gave to a slot.
    pub(super) fn id(&self, slot: u32) -> String {
        hex(&format!("simulated/{}/{slot}", self.serial))
    }

    /// A section of the document; `section` is an object that begins with the `id`.
    pub(super) fn write(&mut self, slot: u32, section: Json) {
        self.document.insert(slot.to_string(), section);
    }

    /// A section and the enabled sensor that it describes.
    pub(super) fn add(
        &mut self,
        slot: u32,
        section: Json,
        source: Source,
        units: (&'static str, &'static str),
    ) {
        let mut cfg = section.as_object().cloned().unwrap_or_default();
        cfg.shift_remove("enable");
        let recorded = cfg.shift_remove("tmpo").is_none_or(|tmpo| tmpo != 0);
        if self.writes_unit {
            let unit = if data_type(source) == "counter" { units.1 } else { units.0 };
            cfg.insert("unit".to_owned(), unit.into());
        }
        self.sensors.push(Sensor {
            id: self.id(slot),
            source,
            rid: cfg.get("rid").and_then(Json::as_u64).unwrap_or_default() as u32,
            recorded,
            units,
            cfg: Json::Object(cfg).to_string(),
            acknowledged: matches!(source, Source::Kube(Kube::Battery | Kube::Error)),
        });
        self.write(slot, section);
    }

    /// The slots up to `last` that nothing was ever given to.
    pub(super) fn provision(&mut self, last: u32) {
        for slot in 1..=last {
            if !self.document.contains_key(&slot.to_string()) {
                let section = serde_json::json!({"id": self.id(slot)});
                self.write(slot, section);
            }
        }
    }
}

/// 32 hex digits that are always the same for a text.
pub(super) fn hex(text: &str) -> String {
    Sha256::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
