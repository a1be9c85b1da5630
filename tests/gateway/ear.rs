//! An MQTT client that keeps every byte it receives, and can ask a Fluksometer for its history.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::task::JoinSet;

use crate::record::{Record, record, within};

/// A message as it arrived; not every payload is text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// It was kept by the broker.
    pub(crate) retained: bool,
}

impl Heard {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A connected client that hears everything. It leaves when dropped.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) heard: Record<Heard>,
    client: AsyncClient,
    _task: JoinSet<()>,
}

impl Ear {
    pub(crate) async fn at(broker: SocketAddr) -> Ear {
        let id = format!("ear-{}", fastrand::u64(..));
        let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(16 << 20, 1 << 20).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 10);
        client.subscribe("#", QoS::AtLeastOnce).await.unwrap();
        let (recorder, heard) = record();
        let (confirmed, mut task) = (tokio::sync::oneshot::channel(), JoinSet::new());
        task.spawn(async move {
            let mut confirmed = Some(confirmed.0);
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::SubAck(_)) => {
                        if let Some(confirmed) = confirmed.take() {
                            let _ = confirmed.send(());
                        }
                    }
                    Event::Incoming(Packet::Publish(publish)) => recorder.push(Heard {
                        topic: publish.topic,
                        payload: publish.payload.to_vec(),
                        retained: publish.retain,
                    }),
                    _ => {}
                }
            }
        });
        within("a subscription", confirmed.1).await.unwrap();
        Ear { heard, client, _task: task }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    /// The last message so far on a topic that ends so.
    pub(crate) fn last(&self, end: &str) -> Option<Heard> {
        self.heard.all().into_iter().rev().find(|heard| heard.topic.ends_with(end))
    }

    /// Waits for a message that fits.
    pub(crate) async fn until(&self, what: &str, fits: impl Fn(&Heard) -> bool) -> Heard {
        self.heard.until(what, |all| all.iter().find(|heard| fits(heard)).cloned()).await
    }
}
