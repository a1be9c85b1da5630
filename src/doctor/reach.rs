//! What the gateway dials: meters' modules, and the broker elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Report, Running};
use crate::config::Config;
use crate::config::broker::Mode;
use crate::config::endpoint;
use crate::config::link::{Link, MqttSource};
use crate::config::scalar::HostPort;
use crate::links::COMMAND_PORT;
use crate::mdns;
use crate::process;

/// What came of a look at one target.
enum Outcome {
    /// The running gateway is connected; no second connection was made, since modules mostly have
    /// room for one.
    Connected,
    Answers,
    No(String),
}

pub(super) fn examine(config: &Config, running: &Running, report: &mut Report) {
    let targets = targets(config);
    if targets.is_empty() {
        return;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let words = format!("could not be looked at: {error}");
            return report.problem("connections", words, "raise the limit of open files");
        }
    };
    for (subject, target) in targets {
        match runtime.block_on(look(&target, running)) {
            Outcome::Connected => {
                report.fine(subject, "the running gateway is connected".to_owned())
            }
            Outcome::Answers => report.fine(subject, "answers".to_owned()),
            Outcome::No(words) => report.problem(
                subject,
                words,
                "is it switched on, in this network, does it listen there (a serial module: set as a TCP server), and is the address right?",
            ),
        }
    }
    // A name server that does not answer must not keep the process.
    runtime.shutdown_background();
}

/// Each target once, with the key it stands under.
fn targets(config: &Config) -> Vec<(String, HostPort)> {
    let mut found: Vec<(String, HostPort)> = Vec::new();
    let mut add = |key: String, target: HostPort| {
        if !found.iter().any(|(_, known)| *known == target) {
            found.push((format!("{key} {target}"), target));
        }
    };
    let external = config.broker.external.as_ref().filter(|_| config.broker.mode == Mode::External);
    // The address alone is shown: the URL may hold a login.
    if let Some(Ok(endpoint)) = external.map(|external| external.endpoint()) {
        add("broker.external".to_owned(), endpoint.address);
    }
    for (at, meter) in config.meters.iter().enumerate() {
        match &meter.link {
            Link::Connect(target) => {
                add(format!("meters[{at}].link.connect"), target.or_port(COMMAND_PORT));
            }
            Link::Mqtt(MqttSource::At(url)) => {
                if let Ok(endpoint) = endpoint::of_url(url) {
                    add(format!("meters[{at}].link.mqtt"), endpoint.address);
                }
            }
            Link::Http(url) => {
                if let Ok(address) = endpoint::local_api(url) {
                    add(format!("meters[{at}].link.http"), address);
                }
            }
            Link::Mqtt(MqttSource::Embedded) | Link::Listen(_) | Link::Serial { .. } => {}
        }
    }
    found
}

async fn look(target: &HostPort, running: &Running) -> Outcome {
    let asking = mdns::lookup(&target.host, target.port);
    let addresses: Vec<SocketAddr> = match timeout(PATIENCE, asking).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return Outcome::No(format!("the name is not found: {error}")),
        Err(_) => return Outcome::No("the name server does not answer".to_owned()),
    };
    let ours = |address: &SocketAddr| {
        process::connected_to(*address).iter().any(|holder| running.is(holder))
    };
    if addresses.iter().any(ours) {
        return Outcome::Connected;
    }
    match timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Outcome::Answers,
        Ok(Err(error)) => Outcome::No(format!("cannot be reached: {error}")),
        Err(_) => Outcome::No(format!("does not answer within {} s", PATIENCE.as_secs())),
    }
}

const PATIENCE: Duration = Duration::from_secs(2);
