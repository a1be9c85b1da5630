//! The meter's connection to a broker. The client is rumqttc's, which is not what the gateway is
//! made of.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, EventLoop, MqttOptions, Packet, QoS, SubscribeFilter};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::device::SmartDevice;
use super::run::Event;
use crate::broker::Login;
use crate::simulator::watched::Watched;

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: String,
    pub(super) retain: bool,
}

/// A broker as the meter was told of it: host, port, user and password.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    host: String,
    port: u16,
    login: (String, String),
}

impl Place {
    fn of(device: &SmartDevice) -> Option<Place> {
        let settings = &device.settings;
        (settings.mqtt_server != "-").then(|| Place {
            host: settings.mqtt_server.clone(),
            port: settings.mqtt_port,
            login: settings.mqtt_login.clone(),
        })
    }
}

/// Stays with whichever broker the meter is told, as long as this is awaited.
pub(super) async fn stay_connected(
    meter: Watched<SmartDevice>,
    login: Option<Login>,
    mut outbox: mpsc::Receiver<Message>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let place = meter.until(Place::of).await;
        let (name, retry) = meter.look(|device| (device.name.clone(), device.manners.mqtt_retry));
        let mut options = MqttOptions::new(name.clone(), place.host.clone(), place.port);
        options.set_keep_alive(Duration::from_secs(15)).set_clean_session(true);
        if !place.login.0.is_empty() {
            options.set_credentials(place.login.0.clone(), place.login.1.clone());
        } else if let Some(login) = &login {
            options.set_credentials(login.user.clone(), login.password.reveal());
        }
        let (client, connection) = AsyncClient::new(options, WAITING);
        let elsewhere =
            |device: &SmartDevice| (Place::of(device) != Some(place.clone())).then_some(());
        tokio::select! {
            () = listen(connection, &client, &name, retry, &events) => {}
            () = speak(&client, &mut outbox) => return,
            () = meter.until(elsewhere) => {}
        }
        if events.send(Event::Broker(false)).await.is_err() {
            return;
        }
    }
}

async fn listen(
    mut connection: EventLoop,
    client: &AsyncClient,
    name: &str,
    retry: Duration,
    events: &mpsc::Sender<Event>,
) {
    loop {
        let event = match connection.poll().await {
            Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => {
                let filters = ["powermeter/+".to_owned(), format!("powermeter/{name}/+")]
                    .map(|path| SubscribeFilter::new(path, QoS::AtMostOnce));
                // The queue is empty at the begin of a connection. All in one: its answer stands for both.
                let _ = client.try_subscribe_many(filters);
                continue;
            }
            // From here on it hears what is for it.
            Ok(rumqttc::Event::Incoming(Packet::SubAck(_))) => Event::Broker(true),
            Ok(rumqttc::Event::Incoming(Packet::Publish(publish))) => {
                Event::Message(publish.topic, publish.payload.to_vec())
            }
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(name, reason = %reason(&error), "not connected to the broker");
                if events.send(Event::Broker(false)).await.is_err() {
                    return;
                }
                sleep(retry).await;
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn speak(client: &AsyncClient, outbox: &mut mpsc::Receiver<Message>) {
    while let Some(message) = outbox.recv().await {
        let Message { topic, payload, retain } = message;
        if client.try_publish(topic, QoS::AtMostOnce, retain, payload).is_err() {
            tracing::debug!("a message was lost: too many wait");
        }
    }
}

/// The error in words; a login never stands in it.
fn reason(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => format!("refused: {code:?}"),
        other => other.to_string(),
    }
}

/// Messages that may wait to leave.
pub(super) const WAITING: usize = 200;
