//! A Fluksometer, SmartMeter or PowerMeter that was found on the network.

use std::collections::HashSet;

use mdns_sd::ResolvedService;
use meter_protocols::smartmeter;

/// What it announces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Its host name, without the dot at its end.
    pub(super) host: String,
    /// Its addresses.
    addresses: Vec<String>,
    /// The ids of its sensors in use.
    pub(super) sensors: HashSet<String>,
    /// It is a SmartMeter or PowerMeter: the name that it has given itself.
    pub(super) smartmeter: Option<String>,
}

impl Found {
    pub(super) fn of(service: &ResolvedService) -> Found {
        let ids = service.txt_properties.iter().filter(|one| one.key().starts_with("id"));
        let mut addresses: Vec<String> =
            service.addresses.iter().map(|address| address.to_ip_addr().to_string()).collect();
        addresses.sort();
        let host = plain(service.host.trim_end_matches('.'));
        Found {
            smartmeter: smartmeter_name(&service.ty_domain, &host),
            host,
            addresses,
            sensors: ids.map(|one| one.val_str().to_owned()).collect(),
        }
    }

    /// Whether it is anything that the gateway can read.
    pub(super) fn is_meter(&self, service: &ResolvedService) -> bool {
        self.smartmeter.is_some() || service.ty_domain.eq_ignore_ascii_case(SERVICE)
    }

    /// Whether it is a gateway that is announced as a Fluksometer is.
    pub(super) fn is_gateway(&self) -> bool {
        self.host.starts_with(GATEWAY)
    }

    /// Whether an entry names it, by its name or an address.
    pub(super) fn is_named(&self, hosts: &HashSet<String>) -> bool {
        let short = self.host.trim_end_matches(".local");
        hosts.iter().any(|host| {
            let host = host.trim_end_matches('.');
            host.eq_ignore_ascii_case(&self.host)
                || host.eq_ignore_ascii_case(short)
                || self.addresses.iter().any(|address| address == host)
        })
    }

    /// What is to be done about it.
    pub(super) fn words(&self) -> String {
        let host = &self.host;
        if let Some(name) = &self.smartmeter {
            return format!(
                "a smartmeter was found that no entry names; to read it, write under meters: \
                 {{name: {name}, kind: smartmeter, link: {{connect: {host}}}}}"
            );
        }
        format!(
            "a fluksometer was found that no entry names; to read it, write under meters: \
             {{name: fluksometer, kind: fluksometer, link: {{mqtt: \"mqtt://{host}:1883\"}}}}"
        )
    }
}

/// Many devices can be updated over the network, and announce that: only those count that are called as
/// such meters are when new.
fn smartmeter_name(service: &str, host: &str) -> Option<String> {
    let name = host.strip_suffix(".local").unwrap_or(host);
    let is_one = service.eq_ignore_ascii_case(STREAMS)
        || (service.eq_ignore_ascii_case(UPDATES) && smartmeter::Kind::of_name(name).is_some());
    (is_one && !name.is_empty()).then(|| name.replace('.', "_"))
}

/// What is announced is anybody's text.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .filter(|one| one.is_ascii_alphanumeric() || "-_.".contains(*one))
        .take(253)
        .collect()
}

/// What a Fluksometer announces its local API as.
///
/// Source: protocol note, section 2.
pub(super) const SERVICE: &str = "_flukso._tcp.local.";
/// What a SmartMeter announces its stream port as, and its updates.
///
/// Source: protocol note of the SmartMeter, section 1.
pub(super) const STREAMS: &str = "_elec._tcp.local.";
pub(super) const UPDATES: &str = "_arduino._tcp.local.";
/// What the gateway calls itself.
pub(super) const GATEWAY: &str = "meterbridge";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_named_by_name_or_address_is_known() {
        let found = Found {
            host: "flukso-0f1e2d.local".into(),
            addresses: vec!["192.0.2.7".into()],
            ..Found::default()
        };
        let named = |host: &str| found.is_named(&HashSet::from([host.to_owned()]));
        assert!(named("flukso-0f1e2d.local") && named("Flukso-0F1E2D") && named("192.0.2.7"));
        assert!(!named("192.0.2.70") && !named("flukso") && !found.is_gateway());
        assert!(found.words().contains("mqtt://flukso-0f1e2d.local:1883"));
        assert_eq!(plain("a\nb\"c.local"), "abc.local");
    }

    #[test]
    fn not_everything_that_can_be_updated_is_a_meter() {
        let name = |service, host| smartmeter_name(service, host);
        assert_eq!(name(STREAMS, "kitchen.local").as_deref(), Some("kitchen"));
        assert_eq!(name(UPDATES, "powermeter27.local").as_deref(), Some("powermeter27"));
        assert_eq!(name(UPDATES, "lamp.local"), None);
        let found = Found {
            host: "powermeter27.local".into(),
            smartmeter: Some("powermeter27".into()),
            ..Found::default()
        };
        assert!(found.words().contains("link: {connect: powermeter27.local}"));
    }
}
