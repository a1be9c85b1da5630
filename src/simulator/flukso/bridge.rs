//! The broker on a Fluksometer as it reports to another one: all that is published on the device
//! goes out, and requests for its history come in.
//!
//! Source: mosquitto.conf, `topic # out` and `topic /d/device/<id>/# in`. The client is rumqttc's,
//! which is not what the gateway is made of.

use std::time::Duration;

use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::live::{Live, Message};
use super::orders::{Clock, Orders};
use super::run::Outlet;
use crate::broker::Login;
use crate::config::scalar::HostPort;
use crate::simulator::watched::Watched;
use crate::transport::Backoff;

/// What comes from the other broker.
#[derive(Debug)]
enum News {
    Connected,
    Lost,
    Message { topic: String, payload: Vec<u8>, retained: bool },
}

/// Reports to the broker at `to`, whatever happens to the connection.
pub(super) async fn report(
    meter: Watched<Live>,
    to: HostPort,
    login: Option<Login>,
    orders: Orders,
) {
    let id = meter.look(|live| live.meter.id.clone());
    let mut options = MqttOptions::new(format!("flukso-{}", &id[..6]), to.host, to.port);
    options.set_keep_alive(Duration::from_secs(60)).set_clean_session(true);
    options.set_max_packet_size(LARGEST, LARGEST);
    if let Some(login) = login {
        options.set_credentials(login.user, login.password.reveal());
    }
    let (client, events) = AsyncClient::new(options, WAITING);
    let (news, inbox) = mpsc::channel(WAITING);
    tokio::select! {
        () = listen(events, &id, news) => {}
        () = speak(meter, client, inbox, orders) => {}
    }
}

/// Keeps the connection going. What the meter cannot take in at once is lost, as QoS 0 may be.
async fn listen(mut events: EventLoop, device: &str, news: mpsc::Sender<News>) {
    let mut pause = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        let event = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                pause.reset();
                tracing::info!(device, "the bridge is connected");
                News::Connected
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => News::Message {
                topic: publish.topic,
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            },
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(device, reason = %reason(&error), "the bridge is not connected");
                let _ = news.try_send(News::Lost);
                sleep(pause.next_pause()).await;
                continue;
            }
        };
        if news.try_send(event).is_err() {
            tracing::warn!(device, "a message for the meter was lost: it has too many to answer");
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

async fn speak(
    meter: Watched<Live>,
    client: AsyncClient,
    mut inbox: mpsc::Receiver<News>,
    mut orders: Orders,
) {
    let (mut connected, mut clock) = (false, Clock::new());
    // What it says when it is switched on waits for the first connection.
    let mut first = Some(meter.update(Live::start));
    let outlet = Outlet::Bridge(client.clone());
    loop {
        tokio::select! {
            news = inbox.recv() => match news {
                Some(News::Connected) => {
                    connected = true;
                    subscribe(&meter, &client).await;
                    // Every connection begins with all that is retained.
                    let mut messages = meter.look(Live::retained);
                    let start = first.take().into_iter().flatten();
                    messages.extend(start.filter(|message| !message.retain));
                    outlet.send(messages).await;
                }
                Some(News::Lost) => connected = false,
                Some(News::Message { topic, payload, retained }) => {
                    orders.take(&meter, &topic, &payload, retained);
                }
                None => return,
            },
            block = orders.next() => if connected {
                outlet.send(block.into_iter().collect()).await;
            },
            () = clock.second() => {
                let messages = orders.tick(&meter);
                if connected {
                    outlet.send(messages).await;
                }
            }
        }
    }
}

async fn subscribe(meter: &Watched<Live>, client: &AsyncClient) {
    let id = meter.look(|live| live.meter.id.clone());
    for filter in [format!("/d/device/{id}/tmpo/sync"), "/query/+/tmpo".to_owned()] {
        // It fails only when the other half has gone, and then all ends.
        let _ = client.subscribe(filter, QoS::AtMostOnce).await;
    }
}

/// Publishes one message.
pub(super) async fn publish(client: &AsyncClient, message: Message) {
    let qos = if message.acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    // As above.
    let _ = client.publish(message.topic, qos, message.retain, message.payload).await;
}

/// Of one message, in bytes.
const LARGEST: usize = 16 << 20;
/// Messages that may wait on either way.
const WAITING: usize = 100;
