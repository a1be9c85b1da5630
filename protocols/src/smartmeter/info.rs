//! The info dictionary: who a meter is, and how it is set.

use serde_json::{Map, Value};

use super::reply::{names_of, number_of};
use super::values::boolean;
use super::{Kind, Values, Version};

/// What a meter says of itself, when a connection is made and when it is asked.
///
/// Everything but the name may be missing. Times in texts are the meter's local ones and never used.
///
/// Source: protocol note, section 2.6.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The name that the meter has given itself, also its MQTT name.
    pub name: String,
    /// Which meter; `None` where `type` is missing or says something else.
    pub kind: Option<Kind>,
    /// Its firmware, as it writes it.
    pub version: Option<String>,
    /// When the firmware was built.
    pub compiled: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// The broker that it uses.
    pub mqtt_server: Option<String>,
    /// The host that it connects to.
    pub stream_server: Option<String>,
    /// Where it takes its time from.
    pub time_server: Option<String>,
    /// Samples a second, as last used.
    pub sampling_rate: Option<f64>,
    /// Whether it has a clock chip. Without one a SmartMeter stops sampling after a second.
    pub rtc: Option<bool>,
    /// It samples, for whomever.
    pub busy: Option<bool>,
    /// Whether the relay is closed; a PowerMeter only.
    pub relay: Option<bool>,
    /// Energy in Wh, by any firmware.
    pub energy_wh: Option<Values>,
    /// Factors: v1, i1, v2, i2, v3, i3, or v and i.
    pub calibration: Vec<f64>,
    /// Networks that it knows.
    pub ssids: Vec<String>,
    /// The network that it is in.
    pub ssid: Option<String>,
    /// How well it hears it, dBm.
    pub rssi_dbm: Option<f64>,
    /// A PowerMeter's hardware address.
    pub mac: Option<String>,
    /// Everything, as the meter wrote it.
    pub keys: Map<String, Value>,
}

impl Info {
    /// The dictionary in a message; `None`: it is none. A reply to `info` over MQTT is none.
    #[must_use]
    pub fn read(value: &Value) -> Option<Self> {
        let keys = value.as_object()?;
        let text = |key: &str| keys.get(key).and_then(Value::as_str);
        let set =
            |key: &str| text(key).filter(|text| !matches!(*text, "-" | "")).map(str::to_owned);
        if text("cmd") != Some("info") || keys.contains_key("error") {
            return None;
        }
        let kind = text("type").and_then(Kind::of_type);
        // The README shows a relay of a SmartMeter, which has none.
        let relay = keys.get("relay").filter(|_| kind != Some(Kind::SmartMeter));
        Some(Self {
            name: text("name").filter(|name| !name.is_empty())?.to_owned(),
            kind,
            version: set("version"),
            compiled: set("compiled"),
            ip: set("ip"),
            mqtt_server: set("mqtt_server"),
            stream_server: set("stream_server"),
            time_server: set("time_server"),
            sampling_rate: number_of(keys, "sampling_rate"),
            rtc: keys.get("rtc").and_then(boolean),
            busy: text("state").map(|state| state == "busy"),
            relay: relay.and_then(boolean),
            energy_wh: keys.get("energy").and_then(Values::read),
            calibration: calibration(keys),
            ssids: text("ssids").map(names_of).unwrap_or_default(),
            ssid: set("ssid"),
            rssi_dbm: number_of(keys, "rssi"),
            mac: set("MAC"),
            keys: keys.clone(),
        })
    }

    /// The kind by its `type`, else by its name.
    #[must_use]
    pub fn likely_kind(&self) -> Option<Kind> {
        self.kind.or_else(|| Kind::of_name(&self.name))
    }

    /// Its firmware, where its text begins with a number.
    #[must_use]
    pub fn firmware(&self) -> Option<Version> {
        self.version.as_deref().and_then(Version::of_text)
    }

    /// Whether its messages on a broker tell energy in Wh, and not in kWh. `None` where that is not known.
    #[must_use]
    pub fn energy_unit_is_wh(&self) -> Option<bool> {
        super::mqtt::energy_unit_is_wh(self.likely_kind()?, self.firmware())
    }
}

/// The factors: a list, or two keys as the README has them.
fn calibration(keys: &Map<String, Value>) -> Vec<f64> {
    let list = keys.get("calibration").and_then(Value::as_array);
    match list {
        Some(factors) => factors.iter().filter_map(Value::as_f64).collect(),
        None => ["calV", "calI"].iter().filter_map(|key| number_of(keys, key)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_smartmeter_writes_its_energy_as_a_text() {
        let info = Info::read(&json!({
            "cmd": "info", "type": "smartmeter", "version": "2.2", "name": "smartmeter001",
            "mqtt_server": "-", "sampling_rate": 8000, "rtc": true, "state": "busy",
            "energy": "[10149.5684, 5101.2324, 4509.2102]", "ssids": "[energywifi, Test, ]",
        }));
        let info = info.unwrap();
        assert_eq!((info.kind, info.busy), (Some(Kind::SmartMeter), Some(true)));
        assert_eq!(info.mqtt_server, None);
        let energy = Values::Lines([Some(10149.5684), Some(5101.2324), Some(4509.2102)]);
        assert_eq!(info.energy_wh, Some(energy));
        assert_eq!(info.ssids, ["energywifi", "Test"]);
        assert_eq!(info.energy_unit_is_wh(), Some(false));
    }

    #[test]
    fn all_but_the_name_may_be_missing() {
        let info = Info::read(&json!({"cmd": "info", "name": "PowerMeter27"})).unwrap();
        assert_eq!((info.kind, info.likely_kind()), (None, Some(Kind::PowerMeter)));
        assert_eq!(info.energy_unit_is_wh(), None);
        assert_eq!(Info::read(&json!({"cmd": "info"})), None);
        assert_eq!(Info::read(&json!({"error": false, "cmd": "info", "name": "x"})), None);
        let readme = json!({
            "cmd": "info", "type": "SmartMeter", "name": "x", "relay": 1, "calV": 1, "calI": 0.98,
        });
        let readme = Info::read(&readme).unwrap();
        assert_eq!((readme.kind, readme.relay), (Some(Kind::SmartMeter), None));
        assert_eq!(readme.calibration, [1.0, 0.98]);
        let old = json!({"cmd": "info", "type": "PowerMeter", "name": "x", "version": "1.3"});
        assert_eq!(Info::read(&old).unwrap().energy_unit_is_wh(), Some(false));
    }
}
