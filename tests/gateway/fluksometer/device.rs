//! A Fluksometer on the other side of the wire: its session from the captures, with times of now.

use std::net::SocketAddr;
use std::path::Path;

use meterbridge::broker::{AccessSettings, Broker, BrokerSettings, Limits, Link, Message, QoS};
use meterbridge::model::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The device of both captures.
pub(crate) const DEVICE: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// A message of a session.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) retain: bool,
}

/// A session with its times moved, so that its last reading is of now.
pub(crate) fn session(name: &str) -> Vec<Said> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocols/tests/captures/flukso/mqtt")
        .join(format!("{name}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.iter().filter_map(time).max().unwrap();
    let shift = Timestamp::now().seconds() - last;
    lines
        .iter()
        .map(|line| {
            let payload = line["payload"].as_str().unwrap_or_default();
            let payload = match time(line) {
                Some(time) => payload.replacen(&time.to_string(), &(time + shift).to_string(), 1),
                None => payload.to_owned(),
            };
            let topic = line["topic"].as_str().unwrap().to_owned();
            Said { topic, payload, retain: line["retain"].as_bool().unwrap() }
        })
        .collect()
}

fn time(line: &Value) -> Option<i64> {
    let is_reading = line["topic"].as_str()?.starts_with("/sensor/");
    let payload: Value = serde_json::from_str(line["payload"].as_str()?).ok()?;
    is_reading.then(|| payload[0].as_i64()).flatten()
}

/// The documents of a session, and its readings.
pub(crate) fn parts(session: Vec<Said>) -> (Vec<Said>, Vec<Said>) {
    session.into_iter().partition(|said| said.topic.starts_with("/device/"))
}

/// A Fluksometer with its own broker. It is gone when dropped.
#[derive(Debug)]
pub(crate) struct Flm {
    pub(crate) address: SocketAddr,
    link: Link,
    _task: JoinSet<()>,
}

impl Flm {
    pub(crate) async fn start() -> Flm {
        Flm::on("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn on(address: SocketAddr) -> Flm {
        let settings = BrokerSettings {
            listen: vec![address],
            tls: None,
            limits: Limits::default(),
            access: AccessSettings { allow_anonymous: true, ..AccessSettings::default() },
            data_dir: None,
        };
        let broker = Broker::bind(settings).await.unwrap();
        let (address, link) = (broker.addresses()[0], broker.link());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let _ = broker.run(CancellationToken::new()).await;
        });
        Flm { address, link, _task: task }
    }

    pub(crate) fn say(&self, said: &[Said]) {
        for one in said {
            self.publish(&one.topic, &one.payload, one.retain);
        }
    }

    pub(crate) fn publish(&self, topic: &str, payload: &str, retain: bool) {
        let payload = payload.as_bytes();
        self.link.publish(Message { topic, payload, qos: QoS::AtLeastOnce, retain });
    }

    /// An entry with this link.
    pub(crate) fn entry(&self, name: &str) -> String {
        let address = self.address;
        format!(
            "\n  - name: {name}\n    kind: fluksometer\n    link: {{mqtt: \"mqtt://{address}\"}}\n"
        )
    }
}
