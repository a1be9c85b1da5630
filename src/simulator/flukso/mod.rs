//! Simulated Fluksometers: broker, documents, readings, history and local API, as an FLM02 and an
//! FLM03 have them.
//!
//! Written from the description of the device and apart from the gateway's own side of the wire, so
//! that a misreading on either side shows; the history's blocks as well.
//!
//! * `value.rs`, `source.rs`: what is measured, a function of the time, and how it is written
//! * `sensor.rs`, `flm02.rs`, `flm03.rs`, `meter.rs`: a device as it is made, and its documents
//! * `live.rs`, `recent.rs`, `waves.rs`: a device at work, without any input or output
//! * `blocks.rs`, `orders.rs`: its history, and who is still to get some
//! * `run.rs`, `bridge.rs`, `rest.rs`: the ways to it

mod blocks;
mod bridge;
mod flm02;
mod flm03;
mod live;
mod manners;
mod meter;
mod orders;
mod recent;
mod rest;
mod run;
mod sensor;
mod source;
#[cfg(test)]
mod tests;
mod value;
mod waves;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use live::Live;
pub use manners::FluksoManners;
pub use meter::Fluksometer;

use super::SimulatorError;
use super::house::House;
use super::watched::Watched;
use crate::broker::{Broker, BrokerSettings, Limits, Login};
use crate::config::scalar::HostPort;

/// The generations of Fluksometers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// FLM02B.
    Flm02,
    /// FLM03E.
    Flm03,
}

/// Which Fluksometers to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct FluksoSimulation {
    /// Their generation.
    pub generation: Generation,
    /// How many.
    pub meters: u32,
    /// The time from reading to reading, in whole seconds and at least one.
    pub interval: Duration,
    /// The same seed gives the same house around them.
    pub seed: u64,
    /// How much history they have at least when they start; what a device has begins at a multiple
    /// of 65,536 s.
    pub past: Duration,
}

/// How others reach them.
#[derive(Debug, Clone)]
pub enum FluksoWay {
    /// At a broker of their own, on which others subscribe; anonymous, as on the device.
    Own(SocketAddr),
    /// They report to a broker elsewhere.
    Bridge {
        /// Where it is.
        to: HostPort,
        /// For a broker that wants one.
        login: Option<Login>,
    },
}

/// Simulated Fluksometers whose ports are open, but who do not speak yet.
#[derive(Debug)]
pub struct FluksoSimulator {
    meters: Vec<Watched<Live>>,
    manners: FluksoManners,
    way: Way,
    rest: Option<(TcpListener, SocketAddr)>,
}

/// The way as it is open.
#[derive(Debug)]
enum Way {
    Own { broker: Option<Box<Broker>>, address: SocketAddr },
    Bridge { to: HostPort, login: Option<Login> },
}

impl FluksoSimulator {
    /// Makes the meters and opens their ports; `rest`: where their local API is, if anywhere.
    ///
    /// # Errors
    /// When an address is not to be had.
    pub async fn build(
        simulation: &FluksoSimulation,
        way: FluksoWay,
        rest: Option<SocketAddr>,
        manners: FluksoManners,
    ) -> Result<FluksoSimulator, SimulatorError> {
        let way = match way {
            FluksoWay::Bridge { to, login } => Way::Bridge { to, login },
            FluksoWay::Own(address) => {
                let broker = Broker::bind(own_broker(address)).await?;
                let address = broker.addresses().first().copied().unwrap_or(address);
                Way::Own { broker: Some(Box::new(broker)), address }
            }
        };
        let rest = match rest {
            None => None,
            Some(address) => {
                let failed = |source| SimulatorError::Rest { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Some((listener, address))
            }
        };
        let meters = meters(simulation, &manners);
        Ok(FluksoSimulator { meters, manners, way, rest })
    }

    /// The meters, in their order.
    pub fn meters(&self) -> Vec<Watched<Live>> {
        self.meters.clone()
    }

    /// Where their broker is, if they have one of their own.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.way {
            Way::Own { address, .. } => Some(*address),
            Way::Bridge { .. } => None,
        }
    }

    /// Where their local API is, if they have one.
    pub fn rest_address(&self) -> Option<SocketAddr> {
        self.rest.as_ref().map(|(_, address)| *address)
    }

    /// Has the meters speak until `stop`. A broker that is not there is dialled again.
    pub async fn run(self, stop: CancellationToken) {
        run::run(self, stop).await;
    }
}

/// The device id of Fluksometer `n` of a simulation.
pub fn flukso_id(generation: Generation, n: u32) -> String {
    sensor::hex(&format!("simulated/{}", meter::serial(generation, n)))
}

fn meters(simulation: &FluksoSimulation, manners: &FluksoManners) -> Vec<Watched<Live>> {
    let house = Arc::new(House::new(simulation.seed));
    let (now, poked) = (manners.now(), Arc::new(Notify::new()));
    let step = simulation.interval.as_secs().max(1) as i64;
    let past = (now, simulation.past.as_secs() as i64);
    let meter = |n| {
        let house = Arc::clone(&house);
        let meter = Fluksometer::new(n, simulation.generation, house, step, past);
        Watched::new(Live::new(Arc::new(meter), manners.clone(), now), Arc::clone(&poked))
    };
    (0..simulation.meters).map(meter).collect()
}

/// A broker as on the device: everybody may do everything, and nothing outlives it.
fn own_broker(address: SocketAddr) -> BrokerSettings {
    let limits = Limits { packet_size: 16 << 20, ..Limits::default() };
    BrokerSettings { listen: vec![address], limits, ..BrokerSettings::default() }
}
