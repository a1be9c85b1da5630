//! The gateway with a simulated meter over a real socket, and what to look at.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use meter_protocols::brultech::Format;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::link::{Link, Listen};
use crate::config::meter::{Channel, Meter};
use crate::config::scalar;
use crate::gateway::{Addresses, Gateway, GatewayError};
use crate::model::Role;
use crate::simulator::{self, Direction, Simulation};
use crate::task::Group;

/// Runs the gateway of `config` with one more meter, which is simulated, until `shutdown`.
/// `print` gets what a user should try, once everything runs.
///
/// # Errors
/// As [`Gateway::build`] and [`Gateway::run`].
pub async fn run(
    mut config: Config,
    shutdown: CancellationToken,
    print: impl FnOnce(&str),
) -> Result<(), GatewayError> {
    config.meters.push(meter());
    let gateway = Gateway::build(&config).await?;
    let addresses = gateway.addresses().clone();
    let mut simulators = Group::default();
    if let Some(address) = addresses.meters.last() {
        let simulation = Simulation {
            format: Format::Bin48NetTime,
            meters: 1,
            interval: Duration::from_secs(2),
            seed: 1,
        };
        let direction = Direction::Connect(address.to_string());
        let simulator = simulator::run(simulation, direction, shutdown.clone());
        simulators.spawn("simulator", simulator);
    }
    print(&advice(&addresses));
    let ended = gateway.run(shutdown).await;
    simulators.finish(Duration::from_secs(1)).await;
    ended
}

/// The demo's own entry: any free port, so that it never meets a configured one.
fn meter() -> Meter {
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

/// What to open and what to type.
fn advice(addresses: &Addresses) -> String {
    let mut text = String::from("\nThe demo runs: a gateway and one simulated GreenEye Monitor.\n");
    // Writing to a String cannot fail.
    if let Some(broker) = addresses.broker.first() {
        let (host, port) = (broker.ip(), broker.port());
        let to = if port == 1883 { format!("-h {host}") } else { format!("-h {host} -p {port}") };
        let _ = write!(
            text,
            "\nIn another terminal (package mosquitto-clients):\n  \
             mosquitto_sub {to} -t '/sensor/#' -v                 every gauge and counter\n  \
             mosquitto_sub {to} -t 'powermeter/demo-gem/#' -v     the meter by its name\n  \
             mosquitto_sub {to} -V 5 -t 'meterbridge/bridge/#' -v the gateway, over MQTT 5\n  \
             mosquitto_pub {to} -t powermeter/demo-gem/cmd -m '{{\"cmd\":\"info\"}}'\n  \
             {:51} a command; the reply is on powermeter/demo-gem/state/info\n",
            ""
        );
    }
    if let Some(web) = addresses.web.first() {
        let _ = write!(
            text,
            "\nIn a browser: http://{web}/\nNumbers of the gateway: http://{web}/metrics\n\
             A command over HTTP:\n  \
             curl -d '{{\"cmd\":\"get\",\"setting\":\"all\"}}' http://{web}/api/meters/demo-gem/command\n"
        );
    }
    text.push_str("\nCtrl-C stops it.\n");
    text
}
