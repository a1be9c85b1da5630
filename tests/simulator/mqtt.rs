//! Meters at a broker: what they publish, and what they do when they are told.

use std::time::Duration;

use meterbridge::broker::{Broker, BrokerSettings, Link, QoS, Received, Subscription};
use meterbridge::simulator::{SmartKind, SmartManners, SmartSimulation, SmartWays};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{Running, running, simulation};

struct Place {
    link: Link,
    all: Subscription,
    meters: Running,
    _broker: JoinSet<()>,
}

async fn place(kind: SmartKind, manners: SmartManners) -> Place {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let broker =
        Broker::bind(BrokerSettings { listen, ..BrokerSettings::default() }).await.unwrap();
    let to = broker.addresses()[0].to_string().parse().unwrap();
    let link = broker.link();
    let all = link.subscribe("powermeter/#").unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        broker.run(CancellationToken::new()).await.unwrap();
    });
    let simulation =
        SmartSimulation { interval: Duration::from_millis(200), ..simulation(kind, 1) };
    let ways = SmartWays { mqtt: Some(to), ..SmartWays::default() };
    let meters = running(&simulation, ways, manners).await;
    meters.meter().until(|device| device.on_broker().then_some(())).await;
    Place { link, all, meters, _broker: tasks }
}

impl Place {
    async fn next(&mut self, topic: &str) -> String {
        loop {
            let received = timeout(Duration::from_secs(20), self.all.recv()).await;
            let Received { topic: found, payload, .. } = received.unwrap().unwrap();
            if *found == *topic {
                return String::from_utf8(payload.to_vec()).unwrap();
            }
        }
    }

    async fn json(&mut self, topic: &str) -> Value {
        loop {
            if let Ok(value) = serde_json::from_str(&self.next(topic).await) {
                return value;
            }
        }
    }

    fn tell(&self, topic: &str, payload: &str) {
        let message = meterbridge::broker::Message {
            topic,
            payload: payload.as_bytes(),
            qos: QoS::AtMostOnce,
            retain: false,
        };
        self.link.publish(message);
    }
}

#[tokio::test]
async fn a_smartmeter_publishes_kwh_and_a_text_for_the_time() {
    let mut place = place(SmartKind::SmartMeter, SmartManners::default()).await;
    let sample = place.json("powermeter/smartmeter001/state/sample").await;
    let keys: Vec<&str> = sample.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["power", "energy", "current", "volt", "ts"]);
    assert_eq!((&sample["energy"], &sample["volt"]), (&json!(19.76), &json!(230.27)));
    assert!(sample["ts"].is_string(), "{sample}");
    place.tell("powermeter/smartmeter001/sample", "v");
    let value = place.json("powermeter/smartmeter001/state/info").await;
    assert_eq!(value["value"], "230.10,231.40,229.30");
    // The dictionary is for somebody else.
    place.tell("powermeter/smartmeter001/cmd", r#"{"cmd":"info"}"#);
    assert_eq!(place.json("powermeter/smartmeter001/state/info").await, json!({"error": false}));
    // Too long for the library: no answer, but the next one comes.
    place.tell(
        "powermeter/smartmeter001/cmd",
        r#"{"cmd":"sample","payload":{"type":"MQTT","rate":10,"measures":"v,i_RMS"}}"#,
    );
    assert_eq!(place.next("powermeter/smartmeter001/state/sample").await, "on");
    let values = place.json("powermeter/smartmeter001/state/info").await;
    assert_eq!(values["values"][0].as_f64().unwrap().round(), 230.0, "{values}");
}

#[tokio::test]
async fn a_powermeter_switches_at_its_topics_and_at_those_for_all() {
    let mut place = place(SmartKind::PowerMeter, SmartManners::default()).await;
    assert_eq!(place.next("powermeter/powermeter01/state/switch").await, "true");
    let sample = place.json("powermeter/powermeter01/state/sample").await;
    assert_eq!((&sample["energy"], &sample["inUse"]), (&json!(10149.57), &json!(true)));
    place.tell("powermeter/switch", "off");
    assert_eq!(place.next("powermeter/powermeter01/state/switch").await, "false");
    assert_eq!(place.json("powermeter/powermeter01/state/sample").await["power"], 0);
    place.tell("powermeter/powermeter01/cmd", r#"{"cmd":"switch","payload":{"value":-1}}"#);
    assert_eq!(place.next("powermeter/powermeter01/state/switch").await, "true");
    assert_eq!(place.json("powermeter/powermeter01/state/info").await["cmd"], "switch");
    place.tell("powermeter/powermeter01/cmd", "nonsense");
    assert_eq!(place.next("powermeter/powermeter01/state/info").await, "Parse error");
    assert!(place.meters.meter().look(|device| device.heard.len() == 3));
}
