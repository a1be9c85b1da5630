//! Simulated Fluksometers at work: with a broker of their own, or as bridges to another one.

use std::convert::Infallible;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::AsyncClient;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::live::{Live, Message};
use super::manners::FluksoManners;
use super::orders::{Clock, Orders};
use super::{FluksoSimulator, Way, bridge, own_broker, rest};
use crate::broker::{Broker, FilterError, Link, QoS};
use crate::simulator::watched::Watched;
use crate::task::Group;
use crate::transport::Backoff;

pub(super) async fn run(simulator: FluksoSimulator, stop: CancellationToken) {
    let FluksoSimulator { meters, manners, mut way, rest } = simulator;
    let mut web = Group::default();
    if let Some((listener, _)) = rest {
        let asked = rest::Asked { meters: meters.clone(), manners: manners.clone() };
        let server = axum::serve(listener, rest::routes(asked));
        let server = server.with_graceful_shutdown(stop.clone().cancelled_owned());
        web.spawn("local api", server.into_future());
    }
    loop {
        let (mut group, life) = (Group::default(), stop.child_token());
        switch_on(&mut group, &meters, &manners, &mut way, &life).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(manners.restarts.unwrap_or(Duration::MAX)) => {
                tracing::info!("the meters are switched off and on again");
            }
        }
        life.cancel();
        group.finish(GRACE).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(OFF) => {}
        }
    }
    web.finish(GRACE).await;
}

/// Starts everything that a restart of the meters ends.
async fn switch_on(
    group: &mut Group,
    meters: &[Watched<Live>],
    manners: &FluksoManners,
    way: &mut Way,
    life: &CancellationToken,
) {
    match way {
        Way::Own { broker, address } => {
            let broker = match broker.take() {
                Some(broker) => *broker,
                None => bound_again(*address).await,
            };
            tracing::info!(%address, meters = meters.len(), "simulated Fluksometers wait");
            // They listen before anybody can ask them: a question is heard once or not at all.
            for (place, meter) in meters.iter().enumerate() {
                let work = own(meter.clone(), broker.link(), Orders::new(meter, manners));
                group.spawn(format!("meter {place}"), until(life.clone(), work));
            }
            group.spawn("broker of the meters", broker.run(life.clone()));
        }
        Way::Bridge { to, login } => {
            for (place, meter) in meters.iter().enumerate() {
                let orders = Orders::new(meter, manners);
                let work = bridge::report(meter.clone(), to.clone(), login.clone(), orders);
                let work = async move {
                    work.await;
                    Ok::<(), Infallible>(())
                };
                group.spawn(format!("meter {place}"), until(life.clone(), work));
            }
        }
    }
}

/// The address was ours a moment ago; if somebody has it now, he may give it back.
async fn bound_again(address: SocketAddr) -> Broker {
    let mut pause = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match Broker::bind(own_broker(address)).await {
            Ok(broker) => return broker,
            Err(error) => tracing::warn!(%error, "the meters cannot be switched on"),
        }
        sleep(pause.next_pause()).await;
    }
}

async fn until<E>(
    life: CancellationToken,
    work: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    tokio::select! {
        () = life.cancelled() => Ok(()),
        ended = work => ended,
    }
}

/// A meter on the broker of its own. It is subscribed once this returns, before its work begins.
fn own(
    meter: Watched<Live>,
    link: Link,
    mut orders: Orders,
) -> impl Future<Output = Result<(), FilterError>> {
    let id = meter.look(|live| live.meter.id.clone());
    let sync = link.subscribe(&format!("/d/device/{id}/tmpo/sync"));
    let query = link.subscribe("/query/+/tmpo");
    async move {
        let (mut sync, mut query) = (sync?, query?);
        let (outlet, mut clock) = (Outlet::Own(link), Clock::new());
        outlet.send(meter.update(Live::start)).await;
        loop {
            let received = tokio::select! {
                received = sync.recv() => received,
                received = query.recv() => received,
                block = orders.next() => {
                    outlet.send(block.into_iter().collect()).await;
                    continue;
                }
                () = clock.second() => {
                    let messages = orders.tick(&meter);
                    outlet.send(messages).await;
                    continue;
                }
            };
            let Some(received) = received else { return Ok(()) };
            orders.take(&meter, &received.topic, &received.payload, received.retained);
        }
    }
}

/// Where messages go.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To the broker in this process.
    Own(Link),
    /// To a broker elsewhere.
    Bridge(AsyncClient),
}

impl Outlet {
    pub(super) async fn send(&self, messages: Vec<Message>) {
        match self {
            Outlet::Own(link) => {
                let borrowed = messages.iter().map(|message| crate::broker::Message {
                    topic: &message.topic,
                    payload: &message.payload,
                    qos: if message.acknowledged { QoS::AtLeastOnce } else { QoS::AtMostOnce },
                    retain: message.retain,
                });
                // A client that cannot keep up with a few messages a second loses some.
                let _ = link.publish_all(borrowed);
            }
            Outlet::Bridge(client) => {
                for message in messages {
                    bridge::publish(client, message).await;
                }
            }
        }
    }
}

/// For the end of tasks.
const GRACE: Duration = Duration::from_secs(5);
/// How long a meter that is switched off and on again is off.
const OFF: Duration = Duration::from_secs(2);
