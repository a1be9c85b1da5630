//! Smart meters with a customer port: they speak, and hear nothing.
//!
//! * `telegram.rs`: what a telegram of each country and version says at a time
//! * `run.rs`: telegrams onto lines

mod run;
mod telegram;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::dsmr::Key;
use tokio_util::sync::CancellationToken;

use super::{Direction, House, OpenLine, SimulatorError};

pub(crate) use telegram::Port;

/// Which telegrams are to be simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct PortSimulation {
    /// The country and version.
    pub standard: Standard,
    /// How many meters.
    pub meters: u32,
    /// The time from telegram to telegram of one meter.
    pub interval: Duration,
    /// The same seed gives the same meters.
    pub seed: u64,
    /// Encrypts the telegrams.
    pub key: Option<Key>,
    /// How the line misbehaves.
    pub manners: PortManners,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// Netherlands, DSMR 2.2: no checksum, gas by the hour in its old form.
    Dsmr22,
    /// Netherlands, DSMR 4: gas by the hour.
    Dsmr4,
    /// Netherlands, DSMR 5: gas and water every five minutes.
    Dsmr5,
    /// Belgium, e-MUCS.
    Belgium,
    /// Luxembourg; encrypted with a key, as it is after decryption without one.
    Luxembourg,
    /// Sweden.
    Sweden,
    /// France, TIC in its historic mode.
    Tic,
}

/// What is not as it should be; nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortManners {
    /// One byte of each tenth telegram is wrong.
    pub wrong_bytes: bool,
    /// Each tenth telegram is cut in its middle, and the next one follows.
    pub halves: bool,
    /// Random bytes come between telegrams.
    pub noise: bool,
}

/// Simulated ports whose line is open, but who do not speak yet.
#[derive(Debug)]
pub struct PortSimulator {
    ports: Vec<Port>,
    interval: Duration,
    key: Option<Key>,
    manners: PortManners,
    line: OpenLine,
}

impl PortSimulator {
    /// Makes the meters and opens their line, on a port of the system's choice if the address has
    /// port 0.
    ///
    /// # Errors
    /// When the address, the pseudo-terminal or the link is not to be had.
    pub async fn build(
        simulation: &PortSimulation,
        direction: Direction,
    ) -> Result<PortSimulator, SimulatorError> {
        let house = Arc::new(House::new(simulation.seed));
        let port = |n| Port::new(n, simulation.standard, Arc::clone(&house));
        Ok(PortSimulator {
            ports: (0..simulation.meters).map(port).collect(),
            interval: simulation.interval,
            key: simulation.key.clone(),
            manners: simulation.manners,
            line: OpenLine::open(direction).await?,
        })
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

    /// Has the meters speak until `stop`. A gateway that is not there is dialled again.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = run::run(self) => {}
            () = stop.cancelled() => {}
        }
    }
}
