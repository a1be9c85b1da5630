//! A client that does as Home Assistant does: subscribes to components first and to whole devices
//! last, then says that it is there; and what it would have made of all that it was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::record::{Record, record, within};
use crate::rules::{Entity, Taken, judge, replay, template};
use crate::subscriber::Message;

pub(crate) const PREFIX: &str = "homeassistant";

/// A connected Home Assistant. It leaves when dropped.
#[derive(Debug)]
pub(crate) struct Assistant {
    pub(crate) messages: Record<Message>,
    client: AsyncClient,
    acknowledged: tokio::sync::Mutex<mpsc::Receiver<()>>,
    _task: JoinSet<()>,
}

impl Assistant {
    /// Connects, subscribes to everything in Home Assistant's order, and says nothing yet.
    pub(crate) async fn connect(broker: SocketAddr) -> Assistant {
        let id = format!("assistant-{}", fastrand::u64(..));
        let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 20, 1 << 20).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 100);
        let (recorder, messages) = record();
        let (acknowledged, acknowledgements) = mpsc::channel(100);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::Publish(publish)) => recorder.push(Message {
                        topic: publish.topic,
                        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                        retain: publish.retain,
                    }),
                    Event::Incoming(Packet::SubAck(_) | Packet::PubAck(_)) => {
                        // Nobody waits for the last ones.
                        let _ = acknowledged.send(()).await;
                    }
                    _ => {}
                }
            }
        });
        let acknowledged = tokio::sync::Mutex::new(acknowledgements);
        let assistant = Assistant { messages, client, acknowledged, _task: task };
        for platform in ["sensor", "button", "number", "select"] {
            assistant.subscribe(&format!("{PREFIX}/{platform}/+/+/config")).await;
        }
        assistant.subscribe(&format!("{PREFIX}/device/+/config")).await;
        assistant.subscribe("powermeter/#").await;
        assistant.subscribe("meterbridge/#").await;
        assistant
    }

    async fn subscribe(&self, filter: &str) {
        self.client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
        self.acknowledged().await;
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
        self.acknowledged().await;
    }

    async fn acknowledged(&self) {
        let mut acknowledged = self.acknowledged.lock().await;
        within("an acknowledgement", acknowledged.recv()).await.unwrap();
    }

    /// Says that it is there.
    pub(crate) async fn birth(&self) {
        self.publish(&format!("{PREFIX}/status"), "online", false).await;
    }

    /// Waits until there is something on this topic that fits, and returns it.
    pub(crate) async fn until(&self, topic: &str, fits: impl Fn(&str) -> bool) -> String {
        let find = |all: &[Message]| {
            let mut on = all.iter().filter(|message| message.topic == topic);
            on.find(|message| fits(&message.payload)).map(|message| message.payload.clone())
        };
        self.messages.until(topic, find).await
    }

    /// The discovery messages so far, in the order they came.
    pub(crate) fn discovery(&self) -> Vec<replay::Event> {
        let is_it = |message: &Message| is_discovery(&message.topic);
        let all = self.messages.all().into_iter().filter(is_it);
        all.map(|Message { topic, payload, .. }| replay::Event::Published { topic, payload })
            .collect()
    }

    /// Waits until every entity of these devices is there, available, and shows a number.
    pub(crate) async fn all_well(&self, devices: usize) -> View {
        let what = "every entity is there, available and shows a number";
        self.messages
            .until(what, |all| {
                // Announcements come in hundreds; what they come to is looked at after them.
                if all.last().is_none_or(|last| is_discovery(&last.topic)) {
                    return None;
                }
                let view = View::of(all);
                // Seen only when the test fails.
                eprintln!(
                    "{} devices, {} faults: {:?}",
                    view.devices(),
                    view.faults.len(),
                    view.faults.first()
                );
                (view.devices() >= devices && view.faults.is_empty()).then_some(view)
            })
            .await
    }
}

pub(crate) fn is_discovery(topic: &str) -> bool {
    topic.starts_with(PREFIX) && topic.ends_with("/config")
}

/// What Home Assistant shows after these messages.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// By unique id.
    pub(crate) entities: BTreeMap<String, Entity>,
    /// What the sensors show, by unique id.
    pub(crate) numbers: BTreeMap<String, f64>,
    /// Entities that are not available, or sensors that show no number.
    pub(crate) faults: Vec<String>,
}

impl View {
    pub(crate) fn of(messages: &[Message]) -> View {
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for message in messages {
            last.insert(&message.topic, &message.payload);
        }
        let mut view = View::default();
        for (topic, payload) in last.iter().filter(|(topic, _)| is_discovery(topic)) {
            let taken = judge(PREFIX, topic, payload);
            let taken = taken.unwrap_or_else(|complaints| panic!("{topic}: {complaints:#?}"));
            if let Taken::Entities { entities, .. } = taken {
                for entity in entities {
                    let id = entity.config["unique_id"].as_str().unwrap().to_owned();
                    assert!(
                        view.entities.insert(id.clone(), entity).is_none(),
                        "{id} is there twice"
                    );
                }
            }
        }
        for (id, entity) in view.entities.clone() {
            view.look(&id, &entity, &last);
        }
        view
    }

    fn look(&mut self, id: &str, entity: &Entity, last: &BTreeMap<&str, &str>) {
        let availability = entity.config["availability"].as_array().unwrap();
        for entry in availability {
            let topic = entry["topic"].as_str().unwrap();
            if last.get(topic) != Some(&"online") {
                self.faults.push(format!("{id} is not available: {topic}"));
            }
        }
        if entity.platform != "sensor" {
            return;
        }
        let state = entity.config["state_topic"].as_str().unwrap();
        let template = entity.config["value_template"].as_str().unwrap();
        assert_eq!(template::value(template, "{}"), Ok(String::new()), "{id} without its key");
        let shown = last.get(state).map(|payload| template::value(template, payload));
        match shown.map(|shown| shown.map(|text| text.parse::<f64>())) {
            Some(Ok(Ok(number))) if number.is_finite() => {
                self.numbers.insert(id.to_owned(), number);
            }
            // It takes two readings of a gas or water meter, which come every five minutes.
            Some(Ok(Err(_))) if id.ends_with("_flow") => {}
            other => self.faults.push(format!("{id} shows {other:?}")),
        }
    }

    /// How many devices have entities.
    pub(crate) fn devices(&self) -> usize {
        let mut nodes: Vec<&str> = self.entities.values().map(|one| &*one.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }
}
