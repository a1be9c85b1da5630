//! Commands that change what a meter keeps.

use serde_json::{Value, json};

use super::commands::{failed, text};
use super::device::SmartDevice;
use super::say::{Level, date};

type Reply = (bool, Vec<(&'static str, Value)>);

impl SmartDevice {
    /// On a SmartMeter `error` says the opposite.
    pub(super) fn add_wifi(&mut self, value: &Value) -> Reply {
        let (Some(ssid), Some(password)) = (text(value, "ssid"), text(value, "pwd")) else {
            return failed("Required: SSID and PWD");
        };
        let smart = self.kind.is_smart();
        let wifi = &mut self.settings.wifi;
        if wifi.iter().any(|known| known == ssid) {
            let message = format!("Wifi AP {ssid} already in list");
            return (true, vec![("msg", json!(message)), ("ssids", json!(self.ssids(true)))]);
        }
        if wifi.len() >= 5 {
            let keys = vec![("msg", json!("Cannot add more Wifis, limit is 5"))];
            return (!smart, keys);
        }
        wifi.push(ssid.to_owned());
        let message = format!("New Ap, SSID: {ssid}, PW: {password}");
        let keys = vec![
            ("ssid", json!(ssid)),
            ("pwd", json!(password)),
            ("msg", json!(message)),
            ("ssids", json!(self.ssids(true))),
        ];
        (smart, keys)
    }

    pub(super) fn delete_wifi(&mut self, value: &Value) -> Reply {
        let Some(ssid) = text(value, "ssid") else { return failed("Required: SSID") };
        let before = self.settings.wifi.len();
        self.settings.wifi.retain(|known| known != ssid);
        let removed = self.settings.wifi.len() < before;
        let message = match removed {
            true => format!("Removed SSID: {ssid}"),
            false => format!("SSID {ssid} not found"),
        };
        (!removed, vec![("msg", json!(message)), ("ssids", json!(self.ssids(true)))])
    }

    pub(super) fn rename(&mut self, value: &Value, now: f64) -> Reply {
        let name = match text(value, "name") {
            Some(name) if !name.is_empty() && name.len() <= 24 => name.to_owned(),
            _ => return failed("MDNS name too long, only string of size 25 allowed"),
        };
        self.log(Level::Info, &format!("MDNS Name: {name}"), now);
        // Topics keep the old name until the meter connects anew.
        self.name.clone_from(&name);
        let message = format!("Set MDNS name to: {name}");
        (false, vec![("msg", json!(message)), ("mdns_name", json!(name))])
    }

    pub(super) fn set_broker(&mut self, value: &Value) -> Reply {
        let Some(server) = text(value, "server").map(str::to_owned) else {
            return failed("Required: server");
        };
        if server.len() > 16 {
            return failed("MQTTServer address too long, only string of size 17 allowed");
        }
        let settings = &mut self.settings;
        settings.mqtt_server.clone_from(&server);
        settings.mqtt_port = self.manners.mqtt_port;
        let message = json!(format!("Set MQTTServer address to: {server}"));
        if self.kind.is_smart() {
            return (false, vec![("msg", message), ("mqtt_server", json!(server))]);
        }
        if let Some(port) = value.pointer("/payload/port").and_then(Value::as_u64) {
            settings.mqtt_port = u16::try_from(port).unwrap_or(settings.mqtt_port);
        }
        let word = |key| text(value, key).unwrap_or_default().to_owned();
        settings.mqtt_login = (word("user"), word("pwd"));
        let keys = vec![
            ("msg", message),
            ("user", json!(settings.mqtt_login.0)),
            ("pwd", json!(settings.mqtt_login.1)),
            ("mqtt_server", json!(server)),
            ("connected", json!(false)),
        ];
        (false, keys)
    }

    pub(super) fn set_stream_server(&mut self, value: &Value) -> Reply {
        let Some(server) = text(value, "server").map(str::to_owned) else {
            return failed("Required: server");
        };
        if server.len() > 16 {
            return failed("StreamServer address too long, only string of size 17 allowed");
        }
        self.settings.stream_server.clone_from(&server);
        self.settings.stream_port = None;
        let message = format!("Set StreamServer address to: {server}");
        (false, vec![("msg", json!(message)), ("stream_server", json!(server))])
    }

    pub(super) fn set_time_server(&mut self, value: &Value, now: f64) -> Reply {
        let Some(server) = text(value, "server").map(str::to_owned) else {
            return failed("Required: server");
        };
        if server.len() > 24 {
            return failed("TimeServer address too long, only string of size 25 allowed");
        }
        self.log(Level::Info, "NTP synced with conf: 11", now);
        self.settings.time_server.clone_from(&server);
        let message = format!("Set TimeServer address to: {server}");
        (false, vec![("msg", json!(message)), ("time_server", json!(server))])
    }

    pub(super) fn calibrate(&mut self, value: &Value) -> Reply {
        let number = |key: &str| value.get(key).and_then(Value::as_f64);
        let smart = self.kind.is_smart();
        let (names, given): (&[&str], Vec<f64>) = match smart {
            true => {
                let given = value.get("cal").and_then(Value::as_array).into_iter().flatten();
                (&["v1", "i1", "v2", "i2", "v3", "i3"], given.filter_map(Value::as_f64).collect())
            }
            false => {
                (&["V", "I"], [number("calV"), number("calI")].into_iter().flatten().collect())
            }
        };
        if given.len() < names.len() {
            return failed(match smart {
                true => "Need at least 6 cal constants",
                false => "Not a valid calibration command",
            });
        }
        let wrong = given.iter().position(|factor| !(0.5..=2.0).contains(&factor.abs()));
        if let Some(wrong) = wrong {
            let which = if smart { wrong.to_string() } else { names[wrong].to_owned() };
            return failed(format!(
                "Calibration parameter {which}: {:.2} not allowed [0.5-2.0]",
                given[wrong]
            ));
        }
        self.settings.calibration = given[..names.len()].to_vec();
        let message = match smart {
            true => {
                let pairs = names.iter().zip(&given);
                let pairs: Vec<String> =
                    pairs.map(|(name, cal)| format!("{name}:{cal:.2}")).collect();
                format!("Calibration set: {}", pairs.join(", "))
            }
            false => format!("Calibration set v: {:.4} , i: {:.4}", given[0], given[1]),
        };
        (false, vec![("msg", json!(message))])
    }

    pub(super) fn set_daily_restart(&mut self, value: &Value) -> Reply {
        let number = |key: &str| value.get(key).and_then(Value::as_i64);
        let (Some(hour), Some(minute)) = (number("hour"), number("minute")) else {
            return failed("Required: hour and minute");
        };
        if !(-1..=23).contains(&hour) || !(-1..=59).contains(&minute) {
            return failed(format!("Not a valid time: {hour}:{minute}"));
        }
        self.settings.daily_restart = (hour >= 0).then_some((hour, minute));
        let message = match hour {
            -1 => "Disabled daily restart".to_owned(),
            _ => format!("Set daily restart to: {hour:02}:{minute:02}:00"),
        };
        (false, vec![("msg", json!(message))])
    }

    pub(super) fn reset_energy(&mut self, value: &Value, now: f64) -> Reply {
        let lines = self.kind.lines();
        let energy = match value.get("energy") {
            None => vec![0.0; lines],
            Some(Value::Array(energy)) => energy.iter().filter_map(Value::as_f64).collect(),
            Some(one) => one.as_f64().into_iter().collect(),
        };
        if energy.len() != lines {
            return failed(format!("Need {lines} energy values"));
        }
        let since = value.get("ts").and_then(Value::as_f64).unwrap_or(now);
        let texts: Vec<String> = energy.iter().map(|line| format!("{line:.2}")).collect();
        let text = match self.kind.is_smart() {
            true => format!("[{}]", texts.join(", ")),
            false => texts.join(""),
        };
        self.energy.stored = energy;
        self.energy.at = now;
        self.energy.since = since;
        (false, vec![("msg", json!(format!("Energy reset to {text}, @{}", date(since))))])
    }

    pub(super) fn set_publish_interval(&mut self, value: &Value, now: f64) -> Reply {
        let Some(seconds) = value.get("intv").and_then(Value::as_f64) else {
            return failed("Required: intv");
        };
        if seconds == -1.0 {
            self.settings.publish = None;
            self.next_publish = f64::INFINITY;
            return (false, vec![("msg", json!("Disabled energy data broadcast"))]);
        }
        if !(0.01..=3600.0).contains(&seconds) {
            return failed(format!("Not a valid interval: {seconds:.2}"));
        }
        self.settings.publish = Some(seconds);
        self.next_publish = now + seconds;
        (false, vec![("msg", json!(format!("Broadcast energy data each: {seconds:.2}")))])
    }
}
