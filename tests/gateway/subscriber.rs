//! An MQTT client that keeps what it receives, over MQTT 3.1.1 or 5, by a library that is not ours.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, v5};
use tokio::task::JoinSet;

use crate::record::{Record, Recorder, record, within};

/// A message as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: String,
    /// Set where the broker had kept it, not where it was published just now.
    pub(crate) retain: bool,
}

/// A connected client with a subscription that the broker has confirmed. It leaves when dropped.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) messages: Record<Message>,
    _task: JoinSet<()>,
}

impl Subscriber {
    /// MQTT 3.1.1, to everything.
    pub(crate) async fn new(broker: SocketAddr) -> Self {
        Self::to(broker, "#").await
    }

    /// MQTT 3.1.1.
    pub(crate) async fn to(broker: SocketAddr, filter: &str) -> Self {
        let (recorder, messages) = record();
        let (confirmed, mut task) = (tokio::sync::oneshot::channel(), JoinSet::new());
        let mut options = MqttOptions::new(client_id(), broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 20, 1 << 20).set_keep_alive(Duration::from_secs(60));
        let filter = filter.to_owned();
        task.spawn(async move {
            let mut confirmed = Some(confirmed.0);
            let (client, mut events) = AsyncClient::new(options, 10);
            client.subscribe(filter, QoS::AtLeastOnce).await.unwrap();
            let take = |event, confirmed: &mut _| match event {
                Event::Incoming(Packet::SubAck(_)) => tell(confirmed),
                Event::Incoming(Packet::Publish(publish)) => {
                    keep(&recorder, publish.topic, &publish.payload, publish.retain);
                }
                _ => {}
            };
            while let Ok(event) = events.poll().await {
                take(event, &mut confirmed);
            }
            // What was read before the connection ended is still to be taken.
            events.state.events.into_iter().for_each(|event| take(event, &mut confirmed));
        });
        within("a subscription over MQTT 3.1.1", confirmed.1).await.unwrap();
        Self { messages, _task: task }
    }

    /// MQTT 5.
    pub(crate) async fn v5(broker: SocketAddr, filter: &str) -> Self {
        use v5::mqttbytes::v5::Packet;
        let (recorder, messages) = record();
        let (confirmed, mut task) = (tokio::sync::oneshot::channel(), JoinSet::new());
        let mut options = v5::MqttOptions::new(client_id(), broker.ip().to_string(), broker.port());
        options.set_max_packet_size(Some(1 << 20)).set_keep_alive(Duration::from_secs(60));
        let filter = filter.to_owned();
        task.spawn(async move {
            let mut confirmed = Some(confirmed.0);
            let (client, mut events) = v5::AsyncClient::new(options, 10);
            client.subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce).await.unwrap();
            let take = |event, confirmed: &mut _| match event {
                v5::Event::Incoming(Packet::SubAck(_)) => tell(confirmed),
                v5::Event::Incoming(Packet::Publish(publish)) => {
                    let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                    keep(&recorder, topic, &publish.payload, publish.retain);
                }
                _ => {}
            };
            while let Ok(event) = events.poll().await {
                take(event, &mut confirmed);
            }
            events.state.events.into_iter().for_each(|event| take(event, &mut confirmed));
        });
        within("a subscription over MQTT 5", confirmed.1).await.unwrap();
        Self { messages, _task: task }
    }

    /// Waits for a message on `topic` with this payload.
    pub(crate) async fn until(&self, topic: &str, payload: &str) {
        let what = format!("{payload:?} on {topic}");
        let is_it = |message: &Message| message.topic == topic && message.payload == payload;
        self.messages.until(&what, |all| all.iter().any(is_it).then_some(())).await;
    }

    /// Waits for the `count`th message on `topic` and returns all of them.
    pub(crate) async fn on(&self, topic: &str, count: usize) -> Vec<String> {
        let what = format!("{count} messages on {topic}");
        self.messages
            .until(&what, |all| {
                let found: Vec<String> = all
                    .iter()
                    .filter(|message| message.topic == topic)
                    .map(|message| message.payload.clone())
                    .collect();
                (found.len() >= count).then_some(found)
            })
            .await
    }

    /// Waits until `count` packets of the meter were published whole; `state/channels` is the last
    /// message of each that every packet has.
    pub(crate) async fn packets(&self, meter: &str, count: usize) -> Vec<String> {
        self.on(&format!("powermeter/{meter}/state/channels"), count).await
    }

    /// Everything that has arrived.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.messages.all()
    }

    /// All payloads so far on a topic.
    pub(crate) fn payloads(&self, topic: &str) -> Vec<String> {
        let seen = self.seen().into_iter();
        seen.filter(|message| message.topic == topic).map(|message| message.payload).collect()
    }

    /// The last payload so far on a topic.
    pub(crate) fn last(&self, topic: &str) -> Option<String> {
        self.payloads(topic).pop()
    }

    /// Waits for an event of the counter engine of this kind about this channel.
    pub(crate) async fn event(&self, kind: &str, channel: Option<&str>) -> serde_json::Value {
        let what = format!("the event {kind} of {channel:?}");
        self.messages
            .until(&what, |all| {
                all.iter()
                    .filter(|message| message.topic == "meterbridge/bridge/event")
                    .filter_map(|message| serde_json::from_str(&message.payload).ok())
                    .find(|event: &serde_json::Value| {
                        event["kind"] == kind && event["channel"].as_str() == channel
                    })
            })
            .await
    }
}

fn keep(recorder: &Recorder<Message>, topic: String, payload: &[u8], retain: bool) {
    // History blocks are the only payloads that are no text; they are kept in hexadecimal.
    let payload = match topic.ends_with("/gz") {
        true => payload.iter().map(|byte| format!("{byte:02x}")).collect(),
        false => String::from_utf8(payload.to_vec()).expect("every other payload is text"),
    };
    recorder.push(Message { topic, payload, retain });
}

fn tell(confirmed: &mut Option<tokio::sync::oneshot::Sender<()>>) {
    if let Some(confirmed) = confirmed.take() {
        let _ = confirmed.send(());
    }
}

fn client_id() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
