//! The meter as a client of a broker: what it publishes, and what it hears.

use serde_json::{Value, json};

use super::commands::Asker;
use super::device::{Out, SmartDevice};
use super::sampling::Sink;
use super::say::{Level, cents, date, number, object, stamp};

impl SmartDevice {
    /// Publishes under the meter's own name; what is too large is dropped without a word.
    pub(super) fn publish(&mut self, leaf: &str, payload: &str, retain: bool) {
        if self.on_mqtt {
            let topic = format!("powermeter/{}/{leaf}", self.topic_name);
            self.publish_at(topic, payload.to_owned(), retain);
        }
    }

    fn publish_at(&mut self, topic: String, payload: String, retain: bool) {
        let largest = if self.manners.details { 2 * LARGEST } else { LARGEST };
        if OVERHEAD + topic.len() + payload.len() <= largest {
            self.out.push_back(Out::Publish { topic, payload, retain });
        }
    }

    /// It is on a broker.
    pub(super) fn mqtt_connected(&mut self, now: f64) {
        self.topic_name.clone_from(&self.name);
        self.on_mqtt = true;
        self.next_publish = now + self.settings.publish.unwrap_or(f64::INFINITY);
        if !self.kind.is_smart() {
            let relay = if self.relay { "true" } else { "false" };
            self.publish("state/switch", relay, true);
        }
    }

    /// The broker is lost.
    pub(super) fn mqtt_lost(&mut self, now: f64) {
        self.on_mqtt = false;
        let streams = |sampling: &super::sampling::Sampling| sampling.request.sink == Sink::Mqtt;
        if self.sampling.as_ref().is_some_and(streams) {
            self.end_sampling(now, false);
        }
    }

    /// The message that comes by itself while the meter is idle.
    pub(super) fn publish_due(&mut self, now: f64) {
        if !self.on_mqtt || now < self.next_publish {
            return;
        }
        let Some(every) = self.settings.publish else { return };
        self.next_publish = (self.next_publish + every).max(now);
        if self.sampling.is_none() {
            let payload = self.measurement(now);
            self.publish("state/sample", &payload, false);
        }
    }

    fn measurement(&self, now: f64) -> String {
        let levels = self.levels(now);
        let sum = |value: fn(&super::LineLevel) -> f64| levels.iter().map(value).sum::<f64>();
        let energy: f64 = self.energy.stored.iter().sum();
        let smart = self.kind.is_smart();
        let ts = if self.manners.no_time { 0 } else { now as i64 };
        let power = sum(|line| line.active_w);
        let in_kwh = smart || self.manners.old_firmware;
        let energy = if in_kwh { energy / 1000.0 } else { energy };
        // A SmartMeter counts what flows in the neutral wire as well.
        let neutral = if smart { NEUTRAL_A } else { 0.0 };
        let mut keys = object([
            ("power", cents(if smart { power } else { power.max(0.0) })),
            ("energy", cents(energy)),
            ("current", cents(sum(|line| line.current_a) + neutral)),
            ("volt", cents(sum(|line| line.voltage_v) / levels.len() as f64)),
            ("ts", if smart { json!(ts.to_string()) } else { json!(ts) }),
        ]);
        if !smart {
            keys.insert("inUse".to_owned(), json!(power > 2.0));
        } else if self.manners.details {
            let mut each = |name: &str, values: Vec<f64>| {
                for (line, value) in values.into_iter().enumerate() {
                    keys.insert(format!("{name}_l{}", line + 1), cents(value));
                }
            };
            each("v", levels.iter().map(|line| line.voltage_v).collect());
            each("i", levels.iter().map(|line| line.current_a).collect());
            each("p", levels.iter().map(|line| line.active_w).collect());
            each("e", self.energy.stored.iter().map(|line| line / 1000.0).collect());
        }
        Value::Object(keys).to_string()
    }

    /// A message came; the last level of its topic decides.
    pub(super) fn mqtt_received(&mut self, topic: &str, payload: &[u8], now: f64) {
        let mut levels = topic.split('/');
        let is_mine = match (levels.next(), levels.next(), levels.next(), levels.next()) {
            (Some("powermeter"), Some(_), None, None) => true,
            (Some("powermeter"), Some(name), Some(_), None) => name == self.topic_name,
            _ => false,
        };
        if !is_mine || OVERHEAD + topic.len() + payload.len() > LARGEST {
            return;
        }
        let text = String::from_utf8_lossy(payload).into_owned();
        self.hear(format!("{topic} {text}"));
        let smart = self.kind.is_smart();
        match topic.rsplit('/').next().unwrap_or_default() {
            "cmd" if serde_json::from_str::<Value>(&text).is_ok() => {
                self.obey(&text, Asker::Mqtt, now);
            }
            "cmd" if !smart => self.publish("state/info", "Parse error", false),
            "sample" => self.give_sample(&text, now),
            "state" => self.tell_state(now),
            "switch" if !smart => match text.as_str() {
                "on" | "true" => self.switch(true, now),
                "off" | "false" => self.switch(false, now),
                _ => {}
            },
            "switchTS" if !smart => self.switch_at(topic, &text, now),
            _ => {}
        }
    }

    fn give_sample(&mut self, which: &str, now: f64) {
        let levels = self.levels(now);
        let values = |value: fn(&super::LineLevel) -> f64| levels.iter().map(value).collect();
        let smart = self.kind.is_smart();
        let (values, unit): (Vec<f64>, &str) = match which {
            "v" => (values(|line| line.voltage_v), "V"),
            "i" => (values(|line| line.current_a * 1000.0), "mA"),
            "q" => (values(|line| line.reactive_var), "var"),
            "s" => (values(super::LineLevel::apparent_va), "VA"),
            "e" => {
                let mut energy = self.read_energy(now);
                energy.iter_mut().for_each(|line| *line /= 1000.0);
                if smart {
                    energy[0] -= 1.0;
                }
                (energy, "kWh")
            }
            _ => (values(|line| line.active_w), "W"),
        };
        let ts = json!(date(now));
        if smart {
            let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            let keys =
                object([("value", json!(texts.join(","))), ("unit", json!(unit)), ("ts", ts)]);
            self.publish("state/info", &Value::Object(keys).to_string(), false);
        } else {
            let keys = object([("value", number(values[0])), ("unit", json!(unit)), ("ts", ts)]);
            self.publish("state/sample", &Value::Object(keys).to_string(), false);
        }
    }

    fn tell_state(&mut self, now: f64) {
        let word = if self.is_busy() { "sampling" } else { "idle" };
        let mut keys = object([]);
        if !self.kind.is_smart() {
            keys.insert("relay".to_owned(), json!(if self.relay { "on" } else { "off" }));
        }
        keys.insert("sampleState".to_owned(), json!(word));
        keys.insert("ts".to_owned(), json!(now as i64));
        self.publish("state/info", &Value::Object(keys).to_string(), false);
    }

    fn switch_at(&mut self, topic: &str, text: &str, now: f64) {
        let Ok((word, at)) = serde_json::from_str::<(String, f64)>(text) else { return };
        if now - at > 60.0 {
            let message = format!("Switch message too old: {}", date(at));
            self.publish("state/info", &message, false);
            self.publish_at(topic.to_owned(), "-".to_owned(), true);
            return;
        }
        self.publish("state/info", &format!("Handle switch cmd at: {}", date(at)), false);
        self.switch(word == "on" || word == "true", now);
        self.publish("state/switch", "-", true);
    }

    /// Each sample is a message of its own.
    pub(super) fn stream_over_mqtt(&mut self, now: f64) {
        let smart = self.kind.is_smart();
        while let Some(sampling) = &mut self.sampling
            && let Some(values) = sampling.values(now)
        {
            let unit = sampling.request.layout.unit;
            self.samples_sent += 1;
            let ts = if smart { json!(stamp(now)) } else { json!(now as i64) };
            let values: Value = values.into_iter().map(number).collect();
            let keys = object([("unit", json!(unit)), ("ts", ts), ("values", values)]);
            self.publish("state/info", &Value::Object(keys).to_string(), false);
        }
    }

    /// What the log says of traffic, so that a reader has lines to step over.
    pub(super) fn log_mqtt(&mut self, topic: &str, payload: &[u8], now: f64) {
        let text = format!("MQTT [{topic}]: {}", String::from_utf8_lossy(payload));
        self.log(Level::Info, &text, now);
    }
}

/// Of a message, beside topic and payload.
const OVERHEAD: usize = 7;
/// Bytes of the largest message.
const LARGEST: usize = 256;
/// RMS current of the neutral wire, A.
const NEUTRAL_A: f64 = 0.11;
