//! The demo's SmartMeter, which the gateway dials and whose samples it takes, and a PowerMeter that
//! publishes to the gateway's broker.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fluksometers::{may_report, reachable};
use crate::config::Config;
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Channel, Kind, Meter};
use crate::config::stream::Stream;
use crate::gateway::Addresses;
use crate::simulator::{
    SimulatorError, SmartKind, SmartManners, SmartSimulation, SmartSimulator, SmartWays,
};
use crate::task::Group;

/// The name of the SmartMeter, and of its entry.
pub(super) const SMARTMETER: &str = "demo-smartmeter";
/// The name of the PowerMeter, and of its entry.
pub(super) const POWERMETER: &str = "demo-powermeter";

/// The meters before the gateway is there.
#[derive(Debug)]
pub(super) struct Smartmeters {
    smartmeter: SmartSimulator,
    /// `None`: it is to publish to the gateway's broker, which has no address yet.
    powermeter: Option<SmartSimulator>,
}

impl Smartmeters {
    /// Opens the ports of those who have some.
    pub(super) async fn build(config: &Config) -> Result<Smartmeters, SimulatorError> {
        let smartmeter = build(SmartKind::SmartMeter, listening()).await?;
        let powermeter = match may_report(config) {
            true => None,
            false => Some(build(SmartKind::PowerMeter, listening()).await?),
        };
        Ok(Smartmeters { smartmeter, powermeter })
    }

    /// What the configuration says of them.
    pub(super) fn entries(&self) -> Vec<Meter> {
        let dialled = |simulator: &SmartSimulator| {
            Some(Link::Connect(simulator.address()?.to_string().parse().ok()?))
        };
        let smartmeter = dialled(&self.smartmeter).map(|link| Meter {
            stream: Some(Stream { rate: RATE, relay: Some(any_port()), ..Stream::default() }),
            channels: [("l1", "Phase 1"), ("l2", "Phase 2"), ("l3", "Phase 3")]
                .map(|(key, name)| {
                    let name = Some(name.to_owned());
                    (key.to_owned(), Channel { name, ..Channel::default() })
                })
                .into(),
            ..entry(SMARTMETER, link)
        });
        let powermeter = match &self.powermeter {
            Some(powermeter) => dialled(powermeter),
            None => Some(Link::Mqtt(MqttSource::Embedded)),
        };
        let powermeter = powermeter.map(|link| entry(POWERMETER, link));
        smartmeter.into_iter().chain(powermeter).collect()
    }

    /// Has them work until `stop`.
    pub(super) async fn spawn(
        self,
        group: &mut Group,
        gateway: &Addresses,
        stop: &CancellationToken,
    ) -> Result<(), SimulatorError> {
        let powermeter = match (self.powermeter, gateway.broker.first()) {
            (Some(powermeter), _) => Some(powermeter),
            (None, Some(broker)) => {
                let ways = SmartWays { mqtt: Some(reachable(*broker)), ..SmartWays::default() };
                Some(build(SmartKind::PowerMeter, ways).await?)
            }
            (None, None) => None,
        };
        for simulator in [Some(self.smartmeter), powermeter].into_iter().flatten() {
            super::spawn(group, "simulated smartmeter", simulator.run(stop.clone()));
        }
        Ok(())
    }
}

/// A meter that has the name of its entry, as those have that were named once and for all.
async fn build(kind: SmartKind, ways: SmartWays) -> Result<SmartSimulator, SimulatorError> {
    let simulation =
        SmartSimulation { kind, meters: 1, interval: EVERY, seed: super::SEED, steady: false };
    let simulator = SmartSimulator::build(&simulation, ways, SmartManners::default()).await?;
    let name = match kind {
        SmartKind::SmartMeter => SMARTMETER,
        SmartKind::PowerMeter => POWERMETER,
    };
    for meter in simulator.meters() {
        meter.change(|device| {
            device.name = name.to_owned();
            device.topic_name = name.to_owned();
        });
    }
    Ok(simulator)
}

fn listening() -> SmartWays {
    SmartWays { listen: Some(any_port()), ..SmartWays::default() }
}

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn entry(name: &str, link: Link) -> Meter {
    Meter {
        name: name.to_owned(),
        kind: Kind::Smartmeter,
        link,
        serial_number: Some(name.to_owned()),
        ..Meter::default()
    }
}

/// Samples a second: enough for all that is reckoned from them, and light on a small computer.
pub(super) const RATE: u32 = 1000;
/// From one measurement over MQTT to the next.
const EVERY: Duration = Duration::from_secs(2);
