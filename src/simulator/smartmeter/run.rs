//! Meters at work: each has one loop, which serves its ports, its broker and its stream server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::device::{Out, Role, SmartDevice};
use super::dialling::Dialling;
use super::mqtt::{self, Message};
use super::wire::{Backlog, Pace, carry, carry_serial};
use super::{Port, SmartKind, SmartSimulator, Station};
use crate::broker::Login;
use crate::simulator::watched::Watched;
use crate::task::Group;

/// What comes from outside.
#[derive(Debug)]
pub(super) enum Event {
    Bytes(u64, Vec<u8>),
    Closed(u64),
    /// The stream server has taken the connection, or is not there.
    Dialled(Option<TcpStream>),
    /// Connected with the broker, or no longer.
    Broker(bool),
    Message(String, Vec<u8>),
}

pub(super) async fn run(simulator: SmartSimulator, stop: CancellationToken) {
    let SmartSimulator { meters, login } = simulator;
    let addresses = meters.iter().filter_map(|station| station.commands.as_ref());
    for port in addresses {
        tracing::info!(address = %port.address, "a simulated meter waits");
    }
    let mut group = Group::default();
    for station in meters {
        let name = station.meter.look(|device| device.name.clone());
        let (login, stop) = (login.clone(), stop.clone());
        group.spawn(name, async move {
            tokio::select! {
                () = work(station, login) => {}
                () = stop.cancelled() => {}
            }
            Ok::<(), Infallible>(())
        });
    }
    while group.ended().await.is_some() {}
}

/// One meter, from start to start.
async fn work(station: Station, login: Option<Login>) {
    let Station { meter, poked, mut commands, mut stream, terminal } = station;
    let (events, mut inbox) = mpsc::channel(WAITING);
    let mut lasting = Group::default();
    let serial = terminal.map(|terminal| {
        let backlog = Arc::new(Backlog::default());
        let pace = meter.look(|device| Pace::of(&device.manners));
        let carried = carry_serial(terminal, SERIAL, Arc::clone(&backlog), pace, events.clone());
        spawn(&mut lasting, "serial line", carried);
        backlog
    });
    let clock = Clock::new();
    loop {
        let mut life = Life {
            meter: meter.clone(),
            clock: clock.clone(),
            events: events.clone(),
            group: Group::default(),
            wires: BTreeMap::new(),
            next_id: SERIAL + 1,
            udp: None,
            outbox: None,
            dialling: Dialling::default(),
        };
        life.start(&login, serial.clone());
        let doors = (Port::take(&mut commands).await, Port::take(&mut stream).await);
        life.last(doors, &mut inbox, &poked).await;
        // All connections die with it.
        drop(life);
        while inbox.try_recv().is_ok() {}
        let boot = meter.look(|device| device.manners.boot);
        sleep(boot).await;
    }
}

/// Everything that a restart ends.
pub(super) struct Life {
    pub(super) meter: Watched<SmartDevice>,
    clock: Clock,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) group: Group,
    wires: BTreeMap<u64, Arc<Backlog>>,
    next_id: u64,
    udp: Option<UdpSocket>,
    outbox: Option<mpsc::Sender<Message>>,
    pub(super) dialling: Dialling,
}

/// Where the meter listens for commands, and for readers of its stream.
type Doors = (Option<TcpListener>, Option<TcpListener>);

impl Life {
    fn start(&mut self, login: &Option<Login>, serial: Option<Arc<Backlog>>) {
        let now = self.clock.now();
        self.meter.update(|device| {
            device.boot(now);
            if serial.is_some() {
                device.connected(SERIAL, Role::Serial, None, now);
            }
        });
        self.wires.extend(serial.map(|backlog| (SERIAL, backlog)));
        let (outbox, messages) = mpsc::channel(mqtt::WAITING);
        self.outbox = Some(outbox);
        let (meter, events) = (self.meter.clone(), self.events.clone());
        let client = mqtt::stay_connected(meter, login.clone(), messages, events);
        spawn(&mut self.group, "mqtt", client);
    }

    /// Works until the meter restarts.
    async fn last(&mut self, doors: Doors, inbox: &mut mpsc::Receiver<Event>, poked: &Notify) {
        let kind = self.meter.look(|device| device.kind);
        let look = Duration::from_millis(if kind == SmartKind::SmartMeter { 100 } else { 1000 });
        let mut next_look = Instant::now();
        loop {
            let mut poked = std::pin::pin!(poked.notified());
            poked.as_mut().enable();
            let Some(deadline) = self.advance() else { return };
            tokio::select! {
                Some(event) = inbox.recv() => {
                    self.take(event);
                    // What has come already is taken in one go.
                    while let Ok(event) = inbox.try_recv() {
                        self.take(event);
                    }
                }
                (stream, peer) = accept(&doors.0, next_look) => {
                    next_look = Instant::now() + look;
                    self.connected(stream, Some(peer), Role::Commands);
                }
                (stream, peer) = accept(&doors.1, next_look) => {
                    next_look = Instant::now() + look;
                    self.connected(stream, Some(peer), Role::Reader);
                }
                Some(_) = self.group.ended() => {}
                () = sleep_until(deadline) => {}
                () = poked => {}
            }
        }
    }

    /// Does what is due, and says when there is more; `None`: the meter restarts.
    fn advance(&mut self) -> Option<Instant> {
        let now = self.clock.now();
        let sink = self.meter.look(SmartDevice::sink);
        let behind = sink.and_then(|id| self.wires.get(&id)).map_or(0, |backlog| backlog.len());
        let (out, deadline, restarts) = self.meter.update(|device| {
            device.tick(now, ROOM.saturating_sub(behind));
            (std::mem::take(&mut device.out), device.deadline(now), device.restarts())
        });
        for out in out {
            self.deliver(out);
        }
        if restarts {
            self.meter.update(SmartDevice::switch_off);
            return None;
        }
        let dial = self.dial(now);
        Some(self.clock.instant(deadline.min(dial)))
    }

    fn deliver(&mut self, out: Out) {
        match out {
            Out::Bytes(id, bytes) => {
                if let Some(backlog) = self.wires.get(&id) {
                    backlog.push(&bytes);
                }
            }
            Out::Close(id) => {
                if let Some(backlog) = self.wires.remove(&id) {
                    backlog.close();
                }
            }
            Out::Datagram(to, bytes) => self.send_to(to, &bytes),
            Out::Publish { topic, payload, retain } => {
                if let Some(outbox) = &self.outbox {
                    // More than can wait is lost, as QoS 0 may be.
                    let _ = outbox.try_send(Message { topic, payload, retain });
                }
            }
        }
    }

    fn send_to(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.udp.is_none() {
            self.udp = udp(to);
        }
        if let Some(socket) = &self.udp {
            // What does not leave is lost, as datagrams may be.
            let _ = socket.send_to(bytes, to);
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Bytes(id, bytes) => {
                self.meter.update(|device| device.received(id, &bytes, now));
            }
            Event::Closed(id) => {
                self.wires.remove(&id);
                self.no_longer_dialled(id, now);
                self.meter.update(|device| device.closed(id, now));
            }
            Event::Dialled(stream) => self.dialled(stream, now),
            Event::Broker(true) => self.meter.update(|device| {
                if !device.on_mqtt {
                    device.mqtt_connected(now);
                }
            }),
            Event::Broker(false) => self.meter.update(|device| device.mqtt_lost(now)),
            Event::Message(topic, payload) => self.meter.update(|device| {
                if device.manners.noise {
                    device.log_mqtt(&topic, &payload, now);
                }
                device.mqtt_received(&topic, &payload, now);
            }),
        }
    }

    /// A connection begins, if there is room; else it ends without a byte.
    pub(super) fn connected(
        &mut self,
        stream: TcpStream,
        peer: Option<SocketAddr>,
        role: Role,
    ) -> Option<u64> {
        let (id, now) = (self.next_id, self.clock.now());
        self.next_id += 1;
        let (is_taken, pace) = self
            .meter
            .update(|device| (device.connected(id, role, peer, now), Pace::of(&device.manners)));
        if !is_taken {
            return None;
        }
        let backlog = Arc::new(Backlog::default());
        self.wires.insert(id, Arc::clone(&backlog));
        let carried = carry(stream, id, backlog, pace, self.events.clone());
        spawn(&mut self.group, &format!("connection {id}"), carried);
        Some(id)
    }
}

impl Port {
    /// The listener, opened again after a restart; its address was ours a moment ago.
    async fn take(port: &mut Option<Port>) -> Option<TcpListener> {
        let port = port.as_mut()?;
        if let Some(listener) = port.listener.take() {
            return Some(listener);
        }
        loop {
            match TcpListener::bind(port.address).await {
                Ok(listener) => return Some(listener),
                Err(error) => {
                    tracing::warn!(address = %port.address, %error, "the meter cannot listen");
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn accept(listener: &Option<TcpListener>, look: Instant) -> (TcpStream, SocketAddr) {
    let Some(listener) = listener else { return std::future::pending().await };
    sleep_until(look).await;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A socket that can reach an address, and never waits.
fn udp(to: SocketAddr) -> Option<UdpSocket> {
    let own = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(own).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

pub(super) fn spawn(
    group: &mut Group,
    name: &str,
    task: impl Future<Output = ()> + Send + 'static,
) {
    group.spawn(name, async move {
        task.await;
        Ok::<(), Infallible>(())
    });
}

/// The serial line, among connections.
const SERIAL: u64 = 0;
/// Bytes that a reader is behind before the meter keeps what is for him.
const ROOM: usize = 262_144;
/// Events that wait.
const WAITING: usize = 256;
