//! The demo's smart meter, behind a dongle that the gateway dials.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::SEED;
use crate::config::link::Link;
use crate::config::meter::{Channel, Kind, Meter};
use crate::simulator::{
    Direction, PortManners, PortSimulation, PortSimulator, SimulatorError, Standard,
};

/// A meter of DSMR 5 with three phases, gas and water, which waits to be dialled.
pub(super) async fn build() -> Result<PortSimulator, SimulatorError> {
    let simulation = PortSimulation {
        standard: Standard::Dsmr5,
        meters: 1,
        interval: Duration::from_secs(1),
        seed: SEED,
        key: None,
        manners: PortManners::default(),
    };
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    PortSimulator::build(&simulation, Direction::Listen(any_port)).await
}

/// The entry for the meter that waits there.
pub(super) fn entry(address: SocketAddr) -> Option<Meter> {
    let channel = |name: &str| Channel { name: Some(name.to_owned()), ..Channel::default() };
    Some(Meter {
        name: "demo-p1".to_owned(),
        kind: Kind::P1,
        link: Link::Connect(address.to_string().parse().ok()?),
        channels: [
            ("line".to_owned(), channel("Grid")),
            ("pulse1".to_owned(), channel("Gas")),
            ("pulse2".to_owned(), channel("Water")),
        ]
        .into(),
        ..Meter::default()
    })
}
