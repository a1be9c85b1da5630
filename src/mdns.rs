//! Names and services on the local network without a name server (multicast DNS).
//!
//! Hosts under `.local` are looked up here when the system does not know them; Fluksometers that no
//! entry names are found and told of; the gateway itself is announced where other machines can reach
//! it, so that the programs that know a Fluksometer find it. The crate's daemon is a thread of its
//! own, and lives no longer than it is needed. SmartMeters and PowerMeters are found in the same way.

mod found;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{HostnameResolutionEvent, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::net::lookup_host;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::found::Found;
use crate::command::directory::{Directory, Meter};
use crate::ledger::{Entry, LedgerQueue};
use crate::model::{Make, Notice, NoticeKind, Update};

/// What is looked for and announced.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Hosts that entries name, as they are written.
    pub hosts: HashSet<String>,
    /// The port of the broker, where other machines can reach it.
    pub broker: Option<u16>,
    /// The port of the web server, where other machines can reach it.
    pub web: Option<u16>,
}

/// Looks and announces; see [`run`](Watch::run).
pub struct Watch {
    settings: Settings,
    directory: Arc<Directory>,
    ledger: LedgerQueue,
}

/// The network cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS does not work here; write `mdns: never` to do without")]
pub struct MdnsError(#[from] mdns_sd::Error);

impl Watch {
    /// A watch that tells of what it finds through `ledger`, and knows from `directory` who is known.
    pub fn new(settings: Settings, directory: Arc<Directory>, ledger: LedgerQueue) -> Watch {
        Watch { settings, directory, ledger }
    }

    /// Announces the gateway and looks for meters until `stop`.
    ///
    /// # Errors
    /// When no socket for multicast can be had.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), MdnsError> {
        let daemon = ServiceDaemon::new()?;
        for service in self.services() {
            daemon.register(service?)?;
        }
        let fluksometers = daemon.browse(found::SERVICE)?;
        let (streams, updates) = (daemon.browse(found::STREAMS)?, daemon.browse(found::UPDATES)?);
        self.look([&fluksometers, &streams, &updates], &stop).await;
        // It says goodbye for what was announced.
        if let Ok(ended) = daemon.shutdown() {
            let _ = tokio::time::timeout(GOODBYE, ended.recv_async()).await;
        }
        Ok(())
    }

    async fn look(&self, events: [&Receiver<ServiceEvent>; 3], stop: &CancellationToken) {
        let mut tick = interval(Duration::from_secs(5));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut seen: HashMap<String, (Found, Instant, bool)> = HashMap::new();
        loop {
            let [fluksometers, streams, updates] = events;
            let event = async {
                tokio::select! {
                    event = fluksometers.recv_async() => event,
                    event = streams.recv_async() => event,
                    event = updates.recv_async() => event,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                event = event => match event {
                    Ok(ServiceEvent::ServiceResolved(service)) => {
                        let found = Found::of(&service);
                        let is_meter = found.is_meter(&service) && !found.is_gateway();
                        if seen.len() < MOST && is_meter {
                            seen.entry(found.host.clone()).or_insert((found, Instant::now(), false));
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                },
                _ = tick.tick() => {
                    // One that is bridged or dialled says so itself by then.
                    for (found, since, told) in seen.values_mut() {
                        if !*told && since.elapsed() > PATIENCE && !self.is_known(found) {
                            *told = true;
                            self.tell(found);
                        }
                    }
                }
            }
        }
    }

    fn is_known(&self, found: &Found) -> bool {
        if let Some(name) = &found.smartmeter {
            let heard = self.directory.all().into_iter();
            let mut serials = heard
                .filter(|meter| meter.make() == Make::Smartmeter)
                .filter_map(|meter| meter.serial().cloned());
            return found.is_named(&self.settings.hosts) || serials.any(|serial| *serial == **name);
        }
        let sensors = self.directory.all().into_iter().filter_map(|meter| match meter {
            Meter::Heard(heard) => Some(heard),
            Meter::Expected(_) => None,
        });
        let mut sensors = sensors.flat_map(|heard| {
            let ids = heard.device.sensors.iter().map(|sensor| sensor.id.to_string());
            ids.collect::<Vec<String>>()
        });
        found.is_named(&self.settings.hosts) || sensors.any(|id| found.sensors.contains(&id))
    }

    fn tell(&self, found: &Found) {
        let message = found.words();
        tracing::info!(host = found.host, "{message}");
        let serial = found.host.as_str().into();
        let notice = Notice { kind: NoticeKind::Discovered, name: None, serial, message };
        self.ledger.push_now(Entry::telling(vec![Update::Notice(Arc::new(notice))]));
    }

    fn services(&self) -> Vec<Result<ServiceInfo, mdns_sd::Error>> {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let machine = found::plain(machine.unwrap_or_default().trim()).replace('.', "-");
        let name = format!("{} {machine}", found::GATEWAY);
        let host = format!("{}-{machine}.local.", found::GATEWAY);
        let service = |kind: &str, port: u16, properties: &[(&str, &str)]| {
            ServiceInfo::new(kind, &name, &host, (), port, properties)
                .map(ServiceInfo::enable_addr_auto)
        };
        let broker = self.settings.broker.map(|port| service("_mqtt._tcp.local.", port, &[]));
        let properties = [("path", "/sensor"), ("version", "1.0")];
        let web = self.settings.web.map(|port| service(found::SERVICE, port, &properties));
        broker.into_iter().chain(web).collect()
    }
}

/// The addresses of a host: as the system knows it, and under `.local` also as the network does.
///
/// # Errors
/// When nobody knows it.
pub async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let by_system = lookup_host((host, port)).await.map(Iterator::collect::<Vec<SocketAddr>>);
    match by_system {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses),
        other if is_local(host) => match ask(host).await {
            Some(addresses) => Ok(addresses.into_iter().map(|ip| (ip, port).into()).collect()),
            None => other,
        },
        other => other,
    }
}

/// Whether the name is one of the local network alone.
pub(crate) fn is_local(host: &str) -> bool {
    host.trim_end_matches('.').to_ascii_lowercase().ends_with(".local")
}

/// Asks the network; `None`: nobody answers in time.
async fn ask(host: &str) -> Option<Vec<IpAddr>> {
    let daemon = ServiceDaemon::new().ok()?;
    let name = format!("{}.", host.trim_end_matches('.'));
    let answers = daemon.resolve_hostname(&name, Some(ANSWER.as_millis() as u64)).ok()?;
    let mut found = None;
    while let Ok(event) = answers.recv_async().await {
        match event {
            HostnameResolutionEvent::AddressesFound(_, addresses) => {
                let mut all: Vec<IpAddr> = addresses
                    .iter()
                    .map(mdns_sd::ScopedIp::to_ip_addr)
                    .filter(is_reachable)
                    .collect();
                all.sort_by_key(|address| address.is_ipv6());
                if !all.is_empty() {
                    found = Some(all);
                    break;
                }
            }
            HostnameResolutionEvent::SearchTimeout(_)
            | HostnameResolutionEvent::SearchStopped(_) => break,
            _ => {}
        }
    }
    let _ = daemon.shutdown();
    found
}

/// An address that is only good on one interface would have to come with it.
fn is_reachable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

/// How long the network may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a Fluksometer is given to show that it is known.
const PATIENCE: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_millis(500);
/// Whoever announces names without end must not fill memory.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn other_names_are_the_systems() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 1883));
        assert_eq!(lookup("127.0.0.1", 1883).await.unwrap(), [loopback]);
        assert!(is_local("flm.local") && is_local("flm.LOCAL.") && !is_local("local.example"));
    }
}
