//! Simulated SmartMeters and PowerMeters: command channel, streams, MQTT, as their firmware does it.
//!
//! Written from the description of the wire and apart from the gateway's own side of it, so that a
//! misreading on either side shows.
//!
//! * `mains.rs`: what is on the lines, a function of the time; `wave.rs`: the samples of it
//! * `layout.rs`, `sampling.rs`: what a stream has in it, and how it leaves in packets
//! * `device.rs`: a meter at work, without any input or output; `listening.rs`: its connections;
//!   `streaming.rs`: a stream from begin to end
//! * `commands.rs`, `change.rs`, `sample.rs`: what it answers; `settings.rs`: what it keeps; `info.rs`,
//!   `talk.rs`, `say.rs`: the lines that it writes; `topics.rs`: the same over MQTT
//! * `run.rs`, `wire.rs`, `dialling.rs`, `mqtt.rs`: the ways to it; `clock.rs`: its time

mod change;
mod clock;
mod commands;
mod device;
mod dialling;
mod info;
mod layout;
mod listening;
mod mains;
mod manners;
mod mqtt;
mod run;
mod sample;
mod sampling;
mod say;
mod settings;
mod streaming;
mod talk;
mod topics;
mod wave;
mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use device::SmartDevice;
pub use mains::{LineLevel, Mains};
pub use manners::SmartManners;

use super::SimulatorError;
use super::house::House;
use super::terminal::Terminal;
use super::watched::Watched;
use crate::broker::Login;
use crate::config::scalar::HostPort;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmartKind {
    /// Three lines, no relay.
    SmartMeter,
    /// One line and a relay.
    PowerMeter,
}

/// Which meters are to be simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct SmartSimulation {
    /// SmartMeters or PowerMeters.
    pub kind: SmartKind,
    /// How many.
    pub meters: u32,
    /// The time from one `state/sample` over MQTT to the next.
    pub interval: Duration,
    /// The same seed gives the same house around them.
    pub seed: u64,
    /// Voltages, currents and angles never change: 4 A, 0.95 A and 0.12 A. Else they follow the
    /// house, whose powers change by the minute.
    pub steady: bool,
}

/// How the meters are reached. All of it combines, but for the serial line, which is for one meter.
#[derive(Debug, Clone, Default)]
pub struct SmartWays {
    /// Each meter listens for commands at a port of its own, and for readers of its stream at
    /// another. With a port the first meter has it and the next for its stream, the second meter the
    /// two after those, and so on; with port 0 the system chooses.
    pub listen: Option<SocketAddr>,
    /// Each meter dials this stream server.
    pub connect: Option<HostPort>,
    /// Each meter is a client of this broker.
    pub mqtt: Option<HostPort>,
    /// For a broker that wants one. A SmartMeter has none in reality.
    pub login: Option<Login>,
    /// The meter speaks on a pseudo-terminal, with a link to it at the path if there is one.
    pub serial: Option<Option<PathBuf>>,
}

/// Simulated meters whose ports are open, but who do not speak yet.
#[derive(Debug)]
pub struct SmartSimulator {
    meters: Vec<Station>,
    login: Option<Login>,
}

/// A meter and its ports.
#[derive(Debug)]
struct Station {
    meter: Watched<SmartDevice>,
    poked: Arc<Notify>,
    commands: Option<Port>,
    stream: Option<Port>,
    terminal: Option<Terminal>,
}

/// A port that is kept, also while the meter starts anew.
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    listener: Option<TcpListener>,
}

impl SmartSimulator {
    /// Makes the meters and opens their ports.
    ///
    /// # Errors
    /// When an address, the pseudo-terminal or its link is not to be had.
    pub async fn build(
        simulation: &SmartSimulation,
        ways: SmartWays,
        manners: SmartManners,
    ) -> Result<SmartSimulator, SimulatorError> {
        let house = House::new(simulation.seed);
        let mut meters = Vec::new();
        for n in 0..simulation.meters {
            let mains = match simulation.steady {
                true => Mains::steady(simulation.kind),
                false => Mains::of_house(simulation.kind, &house, n),
            };
            let device = SmartDevice::new(simulation, n, mains, &ways, manners.clone());
            let poked = Arc::new(Notify::new());
            let address = |second| ways.listen.map(|first| nth(first, 2 * n + second));
            meters.push(Station {
                meter: Watched::new(device, Arc::clone(&poked)),
                poked,
                commands: Port::maybe(address(0)).await?,
                stream: Port::maybe(address(1)).await?,
                terminal: ways.serial.clone().filter(|_| n == 0).map(terminal).transpose()?,
            });
        }
        Ok(SmartSimulator { meters, login: ways.login })
    }

    /// The meters, in their order: look at their state and change it, now and while they speak.
    pub fn meters(&self) -> Vec<Watched<SmartDevice>> {
        self.meters.iter().map(|station| station.meter.clone()).collect()
    }

    /// Where the first meter takes commands, if it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses().first().copied()
    }

    /// Where the meters take commands, if they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let ports = self.meters.iter().filter_map(|station| station.commands.as_ref());
        ports.map(|port| port.address).collect()
    }

    /// Where the meters have their streams, if they listen.
    pub fn stream_addresses(&self) -> Vec<SocketAddr> {
        let ports = self.meters.iter().filter_map(|station| station.stream.as_ref());
        ports.map(|port| port.address).collect()
    }

    /// The serial port to open, if there is one: the link where there is one.
    pub fn path(&self) -> Option<&Path> {
        self.meters.first()?.terminal.as_ref().map(Terminal::path)
    }

    /// Has the meters work until `stop`. Brokers and servers that are not there are dialled again.
    pub async fn run(self, stop: CancellationToken) {
        run::run(self, stop).await;
    }
}

impl Port {
    async fn maybe(address: Option<SocketAddr>) -> Result<Option<Port>, SimulatorError> {
        let Some(address) = address else { return Ok(None) };
        let failed = |source| SimulatorError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Some(Port { address, listener: Some(listener) }))
    }
}

fn terminal(link: Option<PathBuf>) -> Result<Terminal, SimulatorError> {
    let mut terminal = Terminal::open().map_err(SimulatorError::Terminal)?;
    if let Some(path) = link {
        let failed = |source| SimulatorError::Link { path: path.clone(), source };
        terminal.link(path.clone()).map_err(failed)?;
    }
    Ok(terminal)
}

/// The address `n` ports behind the first; the system chooses again where it chooses the first.
fn nth(first: SocketAddr, n: u32) -> SocketAddr {
    let step = u16::try_from(n).unwrap_or(u16::MAX);
    let port = if first.port() == 0 { 0 } else { first.port().saturating_add(step) };
    SocketAddr::new(first.ip(), port)
}

impl SmartKind {
    /// Lines that are measured.
    pub(super) fn lines(self) -> usize {
        match self {
            SmartKind::SmartMeter => 3,
            SmartKind::PowerMeter => 1,
        }
    }

    /// The name of meter `n` as people name them, `smartmeter001` and `powermeter01` being the first.
    pub fn name(self, n: u32) -> String {
        match self {
            SmartKind::SmartMeter => format!("smartmeter{:03}", n + 1),
            SmartKind::PowerMeter => format!("powermeter{:02}", n + 1),
        }
    }

    fn is_smart(self) -> bool {
        self == SmartKind::SmartMeter
    }
}
