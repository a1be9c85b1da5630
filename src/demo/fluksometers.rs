//! The demo's Fluksometers: an FLM02 whose own broker the gateway dials, and an FLM03 that reports to
//! the gateway's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::config::broker::Mode;
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Kind, Meter};
use crate::config::scalar::HostPort;
use crate::config::secret::SecretUrl;
use crate::gateway::Addresses;
use crate::simulator::{
    FluksoManners, FluksoSimulation, FluksoSimulator, FluksoWay, Generation, SimulatorError,
    flukso_id,
};
use crate::task::Group;

/// Simulated Fluksometers before the gateway is there.
#[derive(Debug)]
pub(super) struct Fluksometers {
    second: FluksoSimulator,
    /// `None`: it is to report to the gateway's broker, which has no address yet.
    third: Option<FluksoSimulator>,
}

impl Fluksometers {
    /// Opens the ports of those who have some.
    pub(super) async fn build(config: &Config) -> Result<Fluksometers, SimulatorError> {
        let second = own(Generation::Flm02).await?;
        let third = match may_report(config) {
            true => None,
            false => Some(own(Generation::Flm03).await?),
        };
        Ok(Fluksometers { second, third })
    }

    /// What the configuration says of them.
    pub(super) fn entries(&self) -> Vec<Meter> {
        let second = dialled("demo-flm02", Generation::Flm02, &self.second);
        let third = match &self.third {
            Some(third) => dialled("demo-flm03", Generation::Flm03, third),
            None => {
                let link = Link::Mqtt(MqttSource::Embedded);
                Some(entry("demo-flm03", Generation::Flm03, link))
            }
        };
        second.into_iter().chain(third).collect()
    }

    /// Has them speak until `stop`.
    pub(super) async fn spawn(
        self,
        group: &mut Group,
        gateway: &Addresses,
        stop: &CancellationToken,
    ) -> Result<(), SimulatorError> {
        let third = match (self.third, gateway.broker.first()) {
            (Some(third), _) => Some(third),
            (None, Some(broker)) => {
                let way = FluksoWay::Bridge { to: reachable(*broker), login: None };
                let simulation = simulation(Generation::Flm03);
                let manners = FluksoManners::default();
                Some(FluksoSimulator::build(&simulation, way, None, manners).await?)
            }
            (None, None) => None,
        };
        for simulator in [Some(self.second), third].into_iter().flatten() {
            super::spawn(group, "simulated fluksometer", simulator.run(stop.clone()));
        }
        Ok(())
    }
}

/// Whether a meter can report to the gateway's broker without a login.
pub(super) fn may_report(config: &Config) -> bool {
    let broker = &config.broker;
    broker.mode == Mode::Embedded
        && !broker.listen.0.is_empty()
        && config.anonymous_allowed()
        && broker.acl.is_empty()
}

/// An address that listens everywhere cannot be dialled.
pub(super) fn reachable(address: SocketAddr) -> HostPort {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        // A socket for IPv6 takes IPv4 as well, as far as the system does not say otherwise.
        IpAddr::V6(ip) if ip.is_unspecified() => "::1".to_owned(),
        ip => ip.to_string(),
    };
    HostPort { host, port: address.port() }
}

async fn own(generation: Generation) -> Result<FluksoSimulator, SimulatorError> {
    let way = FluksoWay::Own(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    FluksoSimulator::build(&simulation(generation), way, None, FluksoManners::default()).await
}

fn simulation(generation: Generation) -> FluksoSimulation {
    FluksoSimulation {
        generation,
        meters: 1,
        interval: Duration::from_secs(1),
        seed: super::SEED,
        past: PAST,
    }
}

fn dialled(name: &str, generation: Generation, simulator: &FluksoSimulator) -> Option<Meter> {
    let url = format!("mqtt://{}", simulator.address()?);
    let url = SecretUrl::parse(&url, &["mqtt"]).ok()?;
    Some(entry(name, generation, Link::Mqtt(MqttSource::At(url))))
}

fn entry(name: &str, generation: Generation, link: Link) -> Meter {
    Meter {
        name: name.to_owned(),
        kind: Kind::Fluksometer,
        link,
        serial_number: Some(flukso_id(generation, 0)),
        ..Meter::default()
    }
}

/// The history that they bring along.
const PAST: Duration = Duration::from_secs(86_400);
