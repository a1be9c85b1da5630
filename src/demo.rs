//! The gateway with a simulated meter of each family, each over its real protocol on loopback, and
//! what to look at.

mod advice;
mod fluksometers;
mod port;
mod smartmeters;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use meter_protocols::brultech::Format;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::link::{Link, Listen};
use crate::config::meter::{Channel, Meter};
use crate::config::scalar;
use crate::gateway::{Gateway, GatewayError};
use crate::model::Role;
use crate::simulator::{self, Direction, Simulation, SimulatorError};
use crate::task::Group;

use advice::advice;
use fluksometers::Fluksometers;
use smartmeters::Smartmeters;

/// Why the demo cannot begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The gateway.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// A simulated meter.
    #[error(transparent)]
    Simulator(#[from] SimulatorError),
}

/// Runs the gateway of `config` with some more meters, which are simulated, until `shutdown`.
/// `print` gets what a user should try, once everything runs.
///
/// # Errors
/// As [`Gateway::build`] and [`Gateway::run`]; when a simulated meter has no port.
pub async fn run(
    mut config: Config,
    shutdown: CancellationToken,
    print: impl FnOnce(&str),
) -> Result<(), DemoError> {
    let fluksometers = Fluksometers::build(&config).await?;
    config.meters.extend(fluksometers.entries());
    let port = port::build().await?;
    config.meters.extend(port.address().and_then(port::entry));
    let smartmeters = Smartmeters::build(&config).await?;
    config.meters.extend(smartmeters.entries());
    config.meters.push(gem());
    let gateway = Gateway::build(&config).await?;
    let addresses = gateway.addresses().clone();
    let mut simulators = Group::default();
    if let Some(address) = addresses.meters.last() {
        let simulation = Simulation {
            format: Format::Bin48NetTime,
            meters: 1,
            interval: Duration::from_secs(2),
            seed: SEED,
        };
        let direction = Direction::Connect(address.to_string());
        let simulator = simulator::run(simulation, direction, shutdown.clone());
        simulators.spawn("simulated gem", simulator);
    }
    spawn(&mut simulators, "simulated p1", port.run(shutdown.clone()));
    fluksometers.spawn(&mut simulators, &addresses, &shutdown).await?;
    smartmeters.spawn(&mut simulators, &addresses, &shutdown).await?;
    print(&advice(&addresses));
    let ended = gateway.run(shutdown).await;
    simulators.finish(Duration::from_secs(6)).await;
    Ok(ended?)
}

/// Has a simulated meter work until it is stopped.
fn spawn(group: &mut Group, name: &str, work: impl Future<Output = ()> + Send + 'static) {
    group.spawn(name, async move {
        work.await;
        Ok::<(), Infallible>(())
    });
}

/// The demo's own entry: any free port, so that it never meets a configured one.
fn gem() -> Meter {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let channel =
        |name: &str, role| Channel { name: Some(name.into()), role, ..Channel::default() };
    Meter {
        name: "demo-gem".to_owned(),
        link: Link::Listen(Listen::at(scalar::Addresses(vec![any_port]))),
        channels: [
            ("ch1".to_owned(), channel("Grid", Role::Grid)),
            ("ch2".to_owned(), channel("Solar", Role::Solar)),
            ("ch3".to_owned(), channel("Kitchen", Role::Load)),
            ("t1".to_owned(), channel("Living room", Role::Load)),
            ("t2".to_owned(), channel("Cellar", Role::Load)),
        ]
        .into(),
        ..Meter::default()
    }
}

/// All meters are in the same house.
const SEED: u64 = 1;
