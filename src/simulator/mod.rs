//! Simulated meters that speak their real protocol over real sockets and pseudo-terminals.
//!
//! What a simulated meter has counted is a function of the time ([`House`]): it goes on where it
//! should be after the simulator was restarted, as a real meter would. It answers the commands of
//! its kind, keeps its settings while it runs, and misbehaves as [`Manners`] say.
//!
//! * `brultech/`: the meters; `house.rs`: what they measure
//! * `flukso/`: Fluksometers, which are reached in other ways and have a history
//! * `p1/`: customer ports of smart meters, which only speak
//! * `smartmeter/`: SmartMeters and PowerMeters, which answer and stream
//! * `line.rs`: what leaves a line and when, without any input or output; `run.rs` does these
//! * `watched.rs`, `heard.rs`: what a test sees of a running simulator

mod brultech;
mod flukso;
mod heard;
mod house;
mod line;
mod manners;
mod p1;
mod run;
mod smartmeter;
mod terminal;
#[cfg(test)]
mod tests;
mod watched;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::Format;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use brultech::{CHANNELS, Counts, Ecm, Gem, Kind, PASSWORD, Settings, SimulatedMeter, State};
pub use flukso::{
    FluksoManners, FluksoSimulation, FluksoSimulator, FluksoWay, Fluksometer, Generation, Live,
    flukso_id,
};
pub use heard::Heard;
pub use house::House;
pub use manners::Manners;
pub use p1::{PortManners, PortSimulation, PortSimulator, Standard};
pub use smartmeter::{
    LineLevel, Mains, SmartDevice, SmartKind, SmartManners, SmartSimulation, SmartSimulator,
    SmartWays,
};
pub use watched::Watched;

use crate::broker::BrokerError;
use terminal::Terminal;

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The format of the packets, which also says the kind of meter.
    pub format: Format,
    /// How many meters.
    pub meters: u32,
    /// The time from packet to packet of one meter. Below a second the meter's own clock runs
    /// ahead by a second a packet, so that each carries a power.
    pub interval: Duration,
    /// The same seed gives the same meters.
    pub seed: u64,
}

/// Who opens the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Direction {
    /// Each meter dials the gateway and keeps the connection.
    Connect(String),
    /// The gateway dials; all meters speak on each connection.
    Listen(SocketAddr),
    /// All meters speak on one pseudo-terminal, with a link to it at the path if there is one.
    Serial(Option<PathBuf>),
}

/// The line is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// Another program has the address, or it is not this machine's.
    #[error("cannot listen on {address}; choose another --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The broker of a Fluksometer does not find its port free.
    #[error("a simulated meter has no port; choose another --listen")]
    Broker(#[from] BrokerError),
    /// The local API of a Fluksometer does not.
    #[error("cannot listen on {address}; choose another --rest")]
    Rest {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no pseudo-terminal.
    #[error("cannot open a pseudo-terminal; /dev/pts must be mounted")]
    Terminal(#[source] std::io::Error),
    /// Something else is where the link should be, or its directory cannot be written to.
    #[error("cannot make the link {}", path.display())]
    Link {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Simulated meters whose line is open, but who do not speak yet.
#[derive(Debug)]
pub struct Simulator {
    meters: Vec<SimulatedMeter>,
    manners: Manners,
    heard: Watched<Heard>,
    poked: Arc<Notify>,
    line: OpenLine,
}

/// The line as it is open.
#[derive(Debug)]
enum OpenLine {
    Connect(String),
    Listen(TcpListener, SocketAddr),
    Serial(Terminal),
}

impl Simulator {
    /// Makes the meters and opens their line, on a port of the system's choice if the address has
    /// port 0.
    ///
    /// # Errors
    /// When the address, the pseudo-terminal or the link is not to be had.
    pub async fn build(
        simulation: &Simulation,
        direction: Direction,
        manners: Manners,
    ) -> Result<Simulator, SimulatorError> {
        Simulator::of(&[simulation], direction, manners).await
    }

    /// As [`Simulator::build`], with meters of several kinds on one line.
    ///
    /// # Errors
    /// As [`Simulator::build`].
    pub async fn of(
        simulations: &[&Simulation],
        direction: Direction,
        manners: Manners,
    ) -> Result<Simulator, SimulatorError> {
        let line = OpenLine::open(direction).await?;
        let poked = Arc::new(Notify::new());
        let alone = matches!(line, OpenLine::Connect(_));
        let meters = simulations
            .iter()
            .flat_map(|simulation| meters(simulation, &manners, alone, &poked))
            .collect();
        let heard = Watched::new(Heard::default(), Arc::clone(&poked));
        Ok(Simulator { meters, manners, heard, poked, line })
    }

    /// The meters, in their order: look at their state and change it, now and while they speak.
    pub fn meters(&self) -> Vec<SimulatedMeter> {
        self.meters.clone()
    }

    /// What the meters are told.
    pub fn heard(&self) -> Watched<Heard> {
        self.heard.clone()
    }

    /// Where the gateway can dial, if it is to.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.line {
            OpenLine::Listen(_, address) => Some(*address),
            _ => None,
        }
    }

    /// The serial port to open, if it is one: the link where there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.line {
            OpenLine::Serial(terminal) => Some(terminal.path()),
            _ => None,
        }
    }

    /// Has the meters speak until `stop`. The line is closed and the pseudo-terminal gone then: an
    /// adapter that is pulled out. A gateway that is not there is dialled again.
    pub async fn run(self, stop: CancellationToken) {
        run::run(self, stop).await;
    }
}

impl OpenLine {
    async fn open(direction: Direction) -> Result<OpenLine, SimulatorError> {
        match direction {
            Direction::Connect(address) => Ok(OpenLine::Connect(address)),
            Direction::Listen(address) => {
                let failed = |source| SimulatorError::Listen { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Ok(OpenLine::Listen(listener, address))
            }
            Direction::Serial(link) => {
                let mut terminal = Terminal::open().map_err(SimulatorError::Terminal)?;
                if let Some(path) = link {
                    let failed = |source| SimulatorError::Link { path: path.clone(), source };
                    terminal.link(path.clone()).map_err(failed)?;
                }
                Ok(OpenLine::Serial(terminal))
            }
        }
    }
}

/// Simulates until `stop`.
///
/// # Errors
/// When the line is not to be had. A gateway that is not there is dialled again.
pub async fn run(
    simulation: Simulation,
    direction: Direction,
    stop: CancellationToken,
) -> Result<(), SimulatorError> {
    let simulator = Simulator::build(&simulation, direction, Manners::default()).await?;
    simulator.run(stop).await;
    Ok(())
}

/// The meters of a simulation; `alone`: each has a line of its own.
fn meters(
    simulation: &Simulation,
    manners: &Manners,
    alone: bool,
    poked: &Arc<Notify>,
) -> Vec<SimulatedMeter> {
    let house = Arc::new(House::new(simulation.seed));
    let meter = |n| {
        let house = Arc::clone(&house);
        let mut state = brultech::meter(n, simulation.format, house, simulation.interval);
        match &mut state.kind {
            Kind::Gem(gem) => gem.misbehave(manners),
            Kind::Ecm(ecm) if alone => ecm.unit = Some(0xFC),
            Kind::Ecm(_) => {}
        }
        Watched::new(state, Arc::clone(poked))
    };
    (0..simulation.meters).map(meter).collect()
}
