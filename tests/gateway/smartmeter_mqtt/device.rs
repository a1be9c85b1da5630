//! A device as an MQTT client: it obeys what it hears, and counts what it was told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::record::{Record, Recorder, record, within};

/// The two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Smart,
    Plug,
}

/// A connected device. It leaves when dropped.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) client: AsyncClient,
    /// Everything that it obeyed: the last level of the topic and the payload.
    pub(super) obeyed: Record<(String, String)>,
    relay: Arc<Mutex<bool>>,
    base: String,
    _task: JoinSet<()>,
}

struct Firmware {
    name: String,
    base: String,
    kind: Kind,
    client: AsyncClient,
    obeyed: Recorder<(String, String)>,
    relay: Arc<Mutex<bool>>,
}

impl Device {
    pub(super) async fn start(broker: SocketAddr, name: &str, kind: Kind) -> Device {
        Device::below(broker, "powermeter", name, kind).await
    }

    /// With topics below another first level.
    pub(super) async fn below(broker: SocketAddr, base: &str, name: &str, kind: Kind) -> Device {
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_clean_session(true).set_keep_alive(Duration::from_secs(15));
        let (client, mut events) = AsyncClient::new(options, 100);
        let (recorder, obeyed) = record();
        let relay = Arc::new(Mutex::new(true));
        let firmware = Firmware {
            name: name.to_owned(),
            base: base.to_owned(),
            kind,
            client: client.clone(),
            obeyed: recorder,
            relay: Arc::clone(&relay),
        };
        for filter in [format!("{base}/+"), format!("{base}/{name}/+")] {
            client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        }
        let (there, confirmed) = tokio::sync::oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (mut waiting, mut there) = (2, Some(there));
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        waiting -= 1;
                        if let Some(there) = there.take_if(|_| waiting == 0) {
                            let _ = there.send(());
                        }
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        firmware.obey(&publish.topic, &publish.payload).await;
                    }
                    _ => {}
                }
            }
        });
        within("the device's subscriptions", confirmed).await.unwrap();
        let (name, base) = (name.to_owned(), base.to_owned());
        Device { name, client, obeyed, relay, base, _task: task }
    }

    /// Publishes below its own name.
    pub(super) async fn say(&self, topic: &str, payload: &str) {
        self.publish(topic, payload, false).await;
    }

    pub(super) async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        let topic = format!("{}/{}/{topic}", self.base, self.name);
        self.client.publish(topic, QoS::AtMostOnce, retain, payload).await.unwrap();
    }

    /// What a SmartMeter says every five seconds.
    pub(super) async fn measure(&self, power: f64, kwh: f64) {
        let ts = meterbridge::model::Timestamp::now().seconds();
        let payload = format!(
            r#"{{"power":{power},"energy":{kwh},"current":5.07,"volt":230.27,"ts":"{ts}"}}"#
        );
        self.say("state/sample", &payload).await;
    }

    /// What a PowerMeter says every five seconds.
    pub(super) async fn measure_plug(&self, power: f64, energy: f64) {
        let ts = meterbridge::model::Timestamp::now().seconds();
        let payload = format!(
            r#"{{"power":{power},"inUse":true,"current":4,"energy":{energy},"volt":230.1,"ts":{ts}}}"#
        );
        self.say("state/sample", &payload).await;
    }

    pub(super) fn relay(&self) -> bool {
        *self.relay.lock()
    }

    /// How often it obeyed on topics that end so.
    pub(super) fn count(&self, leaf: &str) -> usize {
        self.obeyed.all().iter().filter(|(one, _)| one == leaf).count()
    }
}

impl Firmware {
    async fn obey(&self, topic: &str, payload: &[u8]) {
        let leaf = topic.rsplit('/').next().unwrap().to_owned();
        let text = String::from_utf8(payload.to_vec()).unwrap();
        if 7 + topic.len() + payload.len() >= 256 {
            return;
        }
        match &*leaf {
            "cmd" => self.command(&text).await,
            "state" => {
                let relay = if *self.relay.lock() { "on" } else { "off" };
                let state =
                    json!({"relay": relay, "sampleState": "idle", "ts": "03/08/2021 11:42:34.848"});
                self.info(state).await;
            }
            "sample" => {
                let answer = json!({"value": "230.10,231.40,229.30", "unit": "V", "ts": ""});
                self.info(answer).await;
            }
            "switch" if self.kind == Kind::Plug => match &*text {
                "on" | "true" => self.switch(true).await,
                "off" | "false" => self.switch(false).await,
                _ => {}
            },
            "switchTS" if self.kind == Kind::Plug => self.switch_in_time(topic, &text).await,
            _ => return,
        }
        self.obeyed.push((leaf, text));
    }

    async fn command(&self, text: &str) {
        let Ok(command) = serde_json::from_str::<Value>(text) else {
            return self.publish("state/info", "Parse error", false).await;
        };
        let cmd = command["cmd"].as_str().unwrap_or_default().to_owned();
        match &*cmd {
            "info" => self.info(json!({"error": false})).await,
            "switch" => {
                let value = &command["payload"]["value"];
                let before = *self.relay.lock();
                let closed = match value {
                    Value::Bool(value) => *value,
                    Value::Number(value) if value.as_i64() == Some(-1) => !before,
                    Value::Number(value) => value.as_i64() == Some(1),
                    _ => false,
                };
                self.info(json!({"error": false, "cmd": cmd, "msg": "Switching: "})).await;
                self.switch(closed).await;
            }
            "long" | "getLog" => {
                self.info(json!({"error": false, "cmd": cmd, "msg": "x".repeat(300)})).await;
            }
            "poll" | "record" | "switchTS" => {
                self.info(json!({"error": true, "cmd": cmd, "msg": "unknown command"})).await;
            }
            _ => self.info(json!({"error": false, "cmd": cmd, "msg": "done"})).await,
        }
    }

    async fn switch_in_time(&self, topic: &str, text: &str) {
        let Ok((word, at)) = serde_json::from_str::<(String, i64)>(text) else { return };
        if meterbridge::model::Timestamp::now().seconds() - at > 60 {
            self.publish("state/info", "Switch message too old: 11/22/2026", false).await;
            return self.client.try_publish(topic, QoS::AtMostOnce, true, "-").unwrap();
        }
        self.publish("state/info", "Handle switch cmd at: 11/22/2026", false).await;
        self.switch(word == "on").await;
        self.publish("state/switch", "-", true).await;
    }

    async fn switch(&self, closed: bool) {
        *self.relay.lock() = closed;
        self.publish("state/switch", &closed.to_string(), true).await;
    }

    async fn info(&self, value: Value) {
        self.publish("state/info", &value.to_string(), false).await;
    }

    async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        let topic = format!("{}/{}/{topic}", self.base, self.name);
        if 7 + topic.len() + payload.len() > 256 {
            return;
        }
        // From inside of the loop that empties the queue.
        self.client.try_publish(topic, QoS::AtMostOnce, retain, payload).unwrap();
    }
}
