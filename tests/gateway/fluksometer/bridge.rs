//! A client that publishes to the gateway's broker as a Fluksometer's bridge does, and echoes what it
//! hears as `topic # both` does where nobody keeps it from going round.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::task::JoinSet;

use super::device::Said;
use crate::record::within;

/// The bridge; it leaves without a word when dropped.
#[derive(Debug)]
pub(crate) struct Bridge {
    client: AsyncClient,
    _task: JoinSet<()>,
}

impl Bridge {
    /// One that only publishes.
    pub(crate) async fn out(broker: SocketAddr) -> Bridge {
        Bridge::start(broker, false).await
    }

    /// One that also publishes everything it hears a second time, retained as `/device` is.
    pub(crate) async fn both(broker: SocketAddr) -> Bridge {
        Bridge::start(broker, true).await
    }

    async fn start(broker: SocketAddr, echoes: bool) -> Bridge {
        let id = format!("flukso-{:08x}", fastrand::u32(..));
        let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
        options.set_max_packet_size(1 << 22, 1 << 22).set_keep_alive(Duration::from_secs(60));
        let (client, mut events) = AsyncClient::new(options, 1000);
        let (connected, there) = tokio::sync::oneshot::channel();
        let (mut task, echo) = (JoinSet::new(), client.clone());
        task.spawn(async move {
            let (mut connected, mut heard) = (Some(connected), HashSet::new());
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::ConnAck(_)) if echoes => {
                        echo.try_subscribe("#", QoS::AtMostOnce).unwrap();
                    }
                    Event::Incoming(Packet::ConnAck(_) | Packet::SubAck(_)) => {
                        if let Some(connected) = connected.take() {
                            let _ = connected.send(());
                        }
                    }
                    // Once: otherwise it would hear itself for ever.
                    Event::Incoming(Packet::Publish(one))
                        if heard.insert((one.topic.clone(), one.payload.clone())) =>
                    {
                        let retain = one.retain || one.topic.starts_with("/device/");
                        let (topic, payload) = (one.topic, one.payload.to_vec());
                        let _ = echo.try_publish(topic, QoS::AtMostOnce, retain, payload);
                    }
                    _ => {}
                }
            }
        });
        within("a bridge to the gateway", there).await.unwrap();
        Bridge { client, _task: task }
    }

    pub(crate) async fn say(&self, said: &[Said]) {
        for one in said {
            self.publish(&one.topic, &one.payload, one.retain).await;
        }
    }

    pub(crate) async fn publish(&self, topic: &str, payload: &str, retain: bool) {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await.unwrap();
    }
}
