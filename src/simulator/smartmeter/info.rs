//! The info dictionary.

use serde_json::{Map, Value, json};

use super::device::SmartDevice;
use super::sampling::BUFFER;
use super::say::{date, number};

impl SmartDevice {
    /// All that the meter tells of itself.
    pub(super) fn dictionary(&self, now: f64) -> Map<String, Value> {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| {
            keys.insert(key.to_owned(), value);
        };
        let wrong = self.manners.wrong_keys;
        let smart = self.kind.is_smart();
        put("cmd", json!("info"));
        put(
            "type",
            json!(match (smart, wrong) {
                (true, false) => "smartmeter",
                (true, true) => "SmartMeter",
                (false, false) => "powermeter",
                (false, true) => "PowerMeter",
            }),
        );
        put("version", json!(self.version()));
        put("compiled", json!(if wrong { "Mar__2_2021_09:57:58" } else { "Mar  2 2021 09:57:58" }));
        put("sys_time", json!(date(now)));
        put("name", json!(self.name));
        put("ip", json!(self.ip));
        put("mqtt_server", json!(self.settings.mqtt_server));
        put("stream_server", json!(self.settings.stream_server));
        put("time_server", json!(self.settings.time_server));
        put("sampling_rate", json!(self.sampling_rate));
        put("buffer_size", json!(BUFFER));
        put("psram", json!(true));
        put("rtc", json!(!self.manners.no_rtc));
        put("state", json!(if self.is_busy() { "busy" } else { "idle" }));
        if !smart {
            put("relay", json!(self.relay));
        } else if wrong {
            put("relay", json!(1));
        }
        put("energy", self.energy_text());
        put("dailyReset", json!(self.daily_text()));
        if wrong {
            put("calV", json!(1));
            put("calI", json!(1));
        } else {
            put("calibration", self.settings.calibration.iter().map(|c| number(*c)).collect());
        }
        put("ssids", json!(self.ssids(false)));
        put("ssid", json!("energywifi"));
        put("rssi", json!(-71));
        put("bssid", json!("AA:BB:CC:DD:EE:FF"));
        if !smart {
            put("sensors", json!(false));
            put(
                "MAC",
                json!(format!(
                    "24:0A:C4:00:{:02X}:{:02X}",
                    self.place >> 8 & 0xFF,
                    self.place & 0xFF
                )),
            );
        }
        keys
    }

    /// What `energy` holds: what was stored last, as text for three lines.
    fn energy_text(&self) -> Value {
        let stored = &self.energy.stored;
        if self.kind.is_smart() {
            let lines: Vec<String> = stored.iter().map(|line| format!("{line:.4}")).collect();
            json!(format!("[{}]", lines.join(", ")))
        } else {
            number((stored[0] * 1e4).round() / 1e4)
        }
    }

    fn daily_text(&self) -> String {
        match self.settings.daily_restart {
            Some((hour, minute)) => format!("@{hour:02}:{minute:02}:00"),
            None => "None".to_owned(),
        }
    }

    /// The networks that it knows, in a text that looks like an array.
    pub(super) fn ssids(&self, after_a_change: bool) -> String {
        let names: Vec<&str> = self.settings.wifi.iter().map(String::as_str).collect();
        // A SmartMeter leaves a comma behind each.
        let end = if after_a_change && self.kind.is_smart() { ", " } else { "" };
        format!("[{}{end}]", names.join(", "))
    }
}
