//! Names, links, serial numbers and channels of the meters.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use meter_protocols::dsmr;

use super::Check;
use super::meter_faults::{channel_faults, name_fault, serial_fault};
use crate::adapters::brultech::Unit;
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Channel, Kind, Meter, Timeout};
use crate::transport::path_fault;

impl Check<'_> {
    pub(super) fn meters(&mut self) {
        let meters = &self.config.meters;
        let mut names = HashMap::new();
        let mut ids = HashMap::new();
        for (at, meter) in meters.iter().enumerate() {
            let key = format!("meters.{at}");
            self.required(&key);
            if let Some(first) = self.name(&key, meter, at, &mut names) {
                self.name_used(&key, &meter.name, first);
            }
            self.serial_number(&key, meter);
            self.spans_and_powers(&key, meter);
            self.way(&key, meter);
            self.link(&key, meter);
            self.polling(&key, meter);
            self.fluksometer(&key, meter);
            self.smartmeter(&key, meter);
            self.key(&key, meter);
            if let Some(id) = meter.id {
                self.id_used(&format!("{key}.id"), id, &mut ids);
            }
            for (channel, settings) in &meter.channels {
                self.channel(&format!("{key}.channels.{channel}"), channel, settings, meter.kind);
                if let Some(id) = settings.id {
                    self.id_used(&format!("{key}.channels.{channel}.id"), id, &mut ids);
                }
            }
        }
        self.shared_links();
    }

    fn required(&mut self, key: &str) {
        for (name, hint) in [
            ("name", "write the name it is to have in its topics, such as house"),
            ("kind", "write one of brultech, smartmeter, fluksometer, p1"),
            (
                "link",
                "write how it is reached, such as {listen: 0.0.0.0:8083} or {connect: 192.0.2.7:5000}",
            ),
        ] {
            let key = format!("{key}.{name}");
            if !self.given(&key) {
                self.report(&key, format!("is missing: {hint}"));
            }
        }
    }

    /// Checks a name; `Some` with the entry that has it already.
    fn name<'a>(
        &mut self,
        key: &str,
        meter: &'a Meter,
        at: usize,
        names: &mut HashMap<&'a str, usize>,
    ) -> Option<usize> {
        let name = meter.name.as_str();
        let key = format!("{key}.name");
        if !self.given(&key) {
            return None;
        }
        if let Some(message) = name_fault(name) {
            self.report(&key, message);
        }
        let first = *names.entry(name).or_insert(at);
        (first != at).then_some(first)
    }

    fn name_used(&mut self, key: &str, name: &str, first: usize) {
        let first = self.elsewhere(&format!("meters.{first}.name"));
        self.report(
            &format!("{key}.name"),
            format!("\"{name}\" is used twice (first at {first}); names must be unique"),
        );
    }

    fn serial_number(&mut self, key: &str, meter: &Meter) {
        let Some(serial) = &meter.serial_number else {
            return;
        };
        let key = format!("{key}.serial_number");
        if serial.trim().is_empty() {
            self.report(
                &key,
                "is empty: write the number, or leave the key out for the first meter on the link",
            );
        } else if let Some(message) = serial_fault(meter.kind, serial) {
            self.report(&key, message);
        }
    }

    fn spans_and_powers(&mut self, key: &str, meter: &Meter) {
        let second = Duration::from_secs(1);
        if matches!(meter.timeout, Timeout::After(span) if span < second) {
            self.report(&format!("{key}.timeout"), "is too short: write at least 1s, or auto");
        }
        if meter.poll.is_some_and(|span| span < second) {
            self.report(&format!("{key}.poll"), "is too short: write at least 1s");
        }
        if meter.power_ceiling.watts <= 0.0 {
            let message = format!(
                "{} is not above 0: write what the connection can carry, such as 250kW",
                meter.power_ceiling
            );
            self.report(&format!("{key}.power_ceiling"), message);
        }
    }

    /// Whether the make of meter can be reached that way at all.
    fn way(&mut self, key: &str, meter: &Meter) {
        let ways: &[&str] = match meter.kind {
            Kind::Brultech | Kind::P1 => &["listen", "connect", "serial"],
            Kind::Smartmeter => &["listen", "connect", "serial", "mqtt"],
            Kind::Fluksometer => &["mqtt", "http"],
        };
        let way = meter.link.way();
        let way_key = format!("{key}.link.{way}");
        if !ways.contains(&way) && self.given(&way_key) && self.given(&format!("{key}.kind")) {
            let message = format!(
                "a {} meter is not reached that way: write {}",
                meter.kind,
                ways.join(" or ")
            );
            self.report(&way_key, message);
        }
    }

    fn link(&mut self, key: &str, meter: &Meter) {
        let listen = match &meter.link {
            Link::Listen(listen) => listen,
            Link::Serial { device, baud } => return self.serial(key, device, *baud),
            Link::Connect(target) if target.port == 0 && meter.kind != Kind::Smartmeter => {
                return self.no_port(key, &target.host);
            }
            _ => return,
        };
        if listen.addresses.0.is_empty() && self.given(&format!("{key}.link.listen")) {
            self.report(
                &format!("{key}.link.listen"),
                "is empty: write an address such as 0.0.0.0:8083",
            );
        }
        if listen.connections == 0 {
            self.report(
                &format!("{key}.link.connections"),
                "0 would let no meter in: write at least 1",
            );
        }
    }

    /// Only a SmartMeter has a port that is always the same.
    fn no_port(&mut self, key: &str, host: &str) {
        let message = format!("\"{host}\" has no port: write HOST:PORT, such as 192.0.2.7:5000");
        self.report(&format!("{key}.link.connect"), message);
    }

    fn serial(&mut self, key: &str, device: &Path, baud: Option<u32>) {
        if let Some(fault) = path_fault(device) {
            let message = format!("\"{}\" {fault}", device.display());
            self.report(&format!("{key}.link.serial"), message);
        }
        if let Some(baud) = baud.filter(|baud| !BAUD.contains(baud)) {
            let message = format!(
                "{baud} is not a speed of a serial line: write bits per second, such as 19200 or 115200"
            );
            self.report(&format!("{key}.link.baud"), message);
        }
    }

    /// Who is asked, and over what.
    fn polling(&mut self, key: &str, meter: &Meter) {
        for (at, unit) in meter.units.iter().enumerate() {
            if let Err(message) = unit.parse::<Unit>() {
                self.report(&format!("{key}.units.{at}"), message);
            }
        }
        let brultech = meter.kind == Kind::Brultech;
        for (name, given) in [("poll", meter.poll.is_some()), ("units", !meter.units.is_empty())] {
            let polled = matches!(meter.kind, Kind::Fluksometer | Kind::Smartmeter);
            let asked = name == "poll" && polled;
            if given && !brultech && !asked && self.given(&format!("{key}.kind")) {
                let message = match (name, meter.kind) {
                    ("units", Kind::Smartmeter) => {
                        "is for Brultech meters that share a line: leave units out".to_owned()
                    }
                    (_, kind) => {
                        format!("a {kind} meter is not asked for its readings: leave {name} out")
                    }
                };
                self.report(&format!("{key}.{name}"), message);
            }
        }
    }

    /// What opens the telegrams of a port that encrypts. Nothing of it is ever told.
    fn key(&mut self, key: &str, meter: &Meter) {
        let Some(secret) = &meter.key else {
            return;
        };
        let key = format!("{key}.key");
        if meter.kind != Kind::P1 {
            let message =
                format!("a {} meter encrypts nothing: it is for p1, leave it out", meter.kind);
            self.report(&key, message);
        } else if let Err(error) = secret.reveal().parse::<dsmr::Key>() {
            self.report(&key, error.to_string());
        }
    }

    fn id_used<'a, I: std::hash::Hash + Eq + std::fmt::Display + 'a>(
        &mut self,
        key: &str,
        id: I,
        ids: &mut HashMap<I, String>,
    ) {
        if let Some(first) = ids.get(&id) {
            let message = format!(
                "{id} is used twice (first at {}); ids must be unique",
                self.elsewhere(first)
            );
            self.report(key, message);
        } else {
            ids.insert(id, key.to_owned());
        }
    }

    fn channel(&mut self, key: &str, name: &str, channel: &Channel, kind: Kind) {
        let scaled = self.given(&format!("{key}.multiplier"));
        for (part, message) in channel_faults(kind, name, channel, scaled) {
            match part {
                Some(part) => self.report(&format!("{key}.{part}"), message),
                None => self.report(key, message),
            }
        }
    }

    /// Entries that share a link have to agree on it, and be told apart.
    fn shared_links(&mut self) {
        let meters = &self.config.meters;
        let mut links: Vec<(&Link, Kind, usize)> = Vec::new();
        let mut claims = BTreeMap::new();
        for (at, meter) in meters.iter().enumerate() {
            if meter.link == Link::default() {
                continue;
            }
            // Every make has its own topics on a broker.
            let is_broker = matches!(meter.link, Link::Mqtt(MqttSource::Embedded));
            let shared = links.iter().position(|(link, kind, _)| {
                link.same_place(&meter.link) && (!is_broker || *kind == meter.kind)
            });
            let Some(shared) = shared else {
                links.push((&meter.link, meter.kind, at));
                claims.insert((links.len() - 1, meter.serial_number.as_deref()), at);
                continue;
            };
            let (link, kind, first) = links[shared];
            let way = format!("meters.{first}.link.{}", link.way());
            if !link.agrees(&meter.link, meter.kind.baud()) {
                let message = format!(
                    "shares its {} with {}, but with other options: write the same ones",
                    link.way(),
                    self.elsewhere(&way)
                );
                self.report(&format!("meters.{at}.link"), message);
            }
            let polled = meters[first].poll;
            if polled != meter.poll {
                let message = format!(
                    "shares its link with {}, which is polled otherwise: write the same interval in \
                     both, or in neither",
                    self.elsewhere(&way)
                );
                self.report(&format!("meters.{at}.poll"), message);
            }
            if kind != meter.kind {
                let message = format!(
                    "{} shares its link with a {kind} meter ({}): one link speaks one protocol",
                    meter.kind,
                    self.elsewhere(&way)
                );
                self.report(&format!("meters.{at}.kind"), message);
            }
            let serial = meter.serial_number.as_deref();
            if let Some(first) = claims.insert((shared, serial), at) {
                self.claimed_twice(at, first, serial);
            }
        }
    }

    fn claimed_twice(&mut self, at: usize, first: usize, serial: Option<&str>) {
        let key = format!("meters.{at}.serial_number");
        let message = match serial {
            Some(serial) => {
                let first = self.elsewhere(&format!("meters.{first}.serial_number"));
                format!("\"{serial}\" is claimed twice on the same link (first at {first})")
            }
            None => {
                let first = self.elsewhere(&format!("meters.{first}.link"));
                format!(
                    "is missing: two entries share a link without one (the other is {first}), so nobody could tell which meter is which"
                )
            }
        };
        self.report(&key, message);
    }
}

/// From the slowest that drivers know to the fastest that adapters do.
const BAUD: RangeInclusive<u32> = 50..=12_000_000;
