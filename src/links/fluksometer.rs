//! From the entries of kind `fluksometer` to what their adapter wants to know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{channel_settings, meter_settings};
use crate::adapters::fleet::LinkId;
use crate::adapters::fluksometer::{LocalSensor, Plan, Source};
use crate::broker::{GuestSettings, Login};
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Kind, Meter};
use crate::config::{Config, Mdns, endpoint};
use crate::gateway::Addresses;
use crate::mdns;
use crate::model::{Channel, SensorType};

/// Entries with the same link share it. What cannot be was refused when the configuration was checked.
pub(crate) fn plan(entries: &[Meter]) -> Plan {
    let mut plan = Plan::default();
    let mut known: Vec<&Link> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Fluksometer) {
        let Some(source) = source(entry) else { continue };
        // Each entry asks for sensors of its own over HTTP.
        let is_local = matches!(source, Source::Local { .. });
        let shared = known.iter().position(|link| !is_local && **link == entry.link);
        let place = shared.unwrap_or_else(|| {
            known.push(&entry.link);
            plan.links.push(source);
            plan.links.len() - 1
        });
        let mut settings = meter_settings(entry, LinkId(place));
        if is_local {
            settings.serial = Some(serial(entry));
            settings.poll = Some(interval(entry));
        }
        plan.meters.push(settings);
    }
    plan
}

fn source(entry: &Meter) -> Option<Source> {
    match &entry.link {
        Link::Mqtt(MqttSource::Embedded) => Some(Source::Ours),
        Link::Mqtt(MqttSource::At(url)) => {
            let endpoint = endpoint::of_url(url).ok()?;
            let password = endpoint.password.unwrap_or_default();
            Some(Source::Broker(GuestSettings {
                host: endpoint.address.host,
                port: endpoint.address.port,
                tls: endpoint.tls,
                login: endpoint.user.map(|user| Login { user, password }),
                queue: (QUEUED_MESSAGES, QUEUED_BYTES),
                packet_size: LARGEST_PACKET,
            }))
        }
        Link::Http(url) => Some(Source::Local {
            address: endpoint::local_api(url).ok()?.to_string(),
            sensors: sensors(entry),
            interval: interval(entry),
            serial: Arc::from(serial(entry)),
        }),
        Link::Listen(_) | Link::Connect(_) | Link::Serial { .. } => None,
    }
}

/// The sensors that are named by their ids.
fn sensors(entry: &Meter) -> Vec<LocalSensor> {
    let sensors = entry.channels.iter().filter_map(|(key, channel)| {
        let settings = channel_settings(channel, false);
        let kind = settings.kind.unwrap_or(SensorType::Electricity);
        let channel: Channel = key.parse().ok()?;
        Some(LocalSensor { id: settings.id?, channel, kind })
    });
    sensors.collect()
}

/// Who a Fluksometer is that says nothing of itself: what is written, or its name.
fn serial(entry: &Meter) -> String {
    entry.serial_number.clone().unwrap_or_else(|| entry.name.clone())
}

/// Source: protocol note, section 10.
fn interval(entry: &Meter) -> Duration {
    entry.poll.unwrap_or(Duration::from_secs(30))
}

/// A few seconds of a house full of FLM03s.
const QUEUED_MESSAGES: usize = 20_000;
const QUEUED_BYTES: usize = 32 * 1024 * 1024;
/// A history block of 16 MiB and its topic.
const LARGEST_PACKET: usize = 16 * 1024 * 1024 + 1024;

/// What is looked for and announced on the local network; `None`: nothing.
pub(crate) fn mdns(config: &Config, addresses: &Addresses) -> Option<mdns::Settings> {
    let always = config.mdns == Mdns::Always;
    let open = |listen: &[SocketAddr]| {
        let reachable = listen.iter().find(|one| always || !one.ip().is_loopback());
        reachable.map(SocketAddr::port)
    };
    let (broker, web) = (open(&addresses.broker), open(&addresses.web));
    if config.mdns == Mdns::Never || (!always && broker.or(web).is_none()) {
        return None;
    }
    let hosts = config.meters.iter().filter_map(|entry| match &entry.link {
        Link::Connect(target) if entry.kind == Kind::Smartmeter => Some(target.host.clone()),
        _ => match source(entry)? {
            Source::Broker(settings) => Some(settings.host),
            Source::Local { address, .. } => Some(address.rsplit_once(':')?.0.to_owned()),
            Source::Ours => None,
        },
    });
    Some(mdns::Settings { hosts: hosts.collect(), broker, web })
}
