//! Who may reach the listeners, and whether two of them want the same port.

use std::net::{IpAddr, SocketAddr};

use super::Check;
use crate::config::broker::Mode;
use crate::config::link::{Link, Listen};
use crate::config::scalar::Addresses;

/// A listener of the configuration.
struct Listener {
    /// The key that gives its address, written `meters.0.link.listen`.
    key: String,
    address: SocketAddr,
}

impl Check<'_> {
    pub(super) fn listeners(&mut self) {
        self.open_broker();
        self.no_address();
        let listeners = self.all_listeners();
        for (at, second) in listeners.iter().enumerate() {
            let taken = listeners[..at].iter().find(|first| overlap(first.address, second.address));
            if let Some(first) = taken {
                // Told where the user wrote it, not where the default stands.
                let (told, other) =
                    if self.given(&second.key) { (second, first) } else { (first, second) };
                let message = format!(
                    "{} is taken by {} ({}): choose another port",
                    told.address,
                    other.address,
                    self.elsewhere(&other.key)
                );
                self.report(&told.key, message);
            }
        }
    }

    /// A broker that other machines can reach and that asks nobody who they are has to be meant.
    fn open_broker(&mut self) {
        let broker = &self.config.broker;
        let guarded = !broker.users.is_empty() || broker.password_file.is_some();
        if broker.mode == Mode::External || broker.allow_anonymous.is_some() || guarded {
            return;
        }
        let tls = broker.tls.as_ref().map(|tls| &tls.listen);
        let listeners = [("broker.listen", Some(&broker.listen)), ("broker.tls.listen", tls)];
        for (key, addresses) in listeners {
            let open = addresses.and_then(|all| all.0.iter().find(|one| !one.ip().is_loopback()));
            if let Some(open) = open {
                let message = format!(
                    "{open} can be reached by other machines, and nobody needs a login: \
                     write broker.allow_anonymous: true if that is meant, \
                     or listen on 127.0.0.1:{} for this machine only",
                    open.port()
                );
                self.report(key, message);
            }
        }
    }

    fn no_address(&mut self) {
        let broker = &self.config.broker;
        let embedded = broker.mode == Mode::Embedded;
        if embedded && broker.listen.0.is_empty() && broker.tls.is_none() {
            self.report(
                "broker.listen",
                "is an empty list: write an address such as 127.0.0.1:1883",
            );
        }
        if self.config.web.enabled && self.config.web.listen.0.is_empty() {
            let message =
                "is an empty list: write an address such as 127.0.0.1:8080, or web.enabled: false";
            self.report("web.listen", message);
        }
        if broker.tls.as_ref().is_some_and(|tls| tls.listen.0.is_empty()) {
            self.report("broker.tls.listen", "is missing: write an address such as 0.0.0.0:8883");
        }
    }

    /// Every listener once; a link that several meters share is one.
    fn all_listeners(&self) -> Vec<Listener> {
        let mut all = Vec::new();
        let mut add = |key: &str, addresses: &Addresses| {
            for address in &addresses.0 {
                all.push(Listener { key: key.to_owned(), address: *address });
            }
        };
        let config = self.config;
        if config.broker.mode == Mode::Embedded {
            add("broker.listen", &config.broker.listen);
            if let Some(tls) = &config.broker.tls {
                add("broker.tls.listen", &tls.listen);
            }
        }
        if config.web.enabled {
            add("web.listen", &config.web.listen);
        }
        let mut links: Vec<&Link> = Vec::new();
        for (at, meter) in config.meters.iter().enumerate() {
            if let Some(relay) = meter.stream.as_ref().and_then(|stream| stream.relay) {
                add(&format!("meters.{at}.stream.relay"), &Addresses(vec![relay]));
            }
            let Link::Listen(Listen { addresses, .. }) = &meter.link else {
                continue;
            };
            if !links.iter().any(|link| link.same_place(&meter.link)) {
                links.push(&meter.link);
                add(&format!("meters.{at}.link.listen"), addresses);
            }
        }
        all
    }
}

/// Whether two listeners cannot be there at the same time. `[::]` takes IPv4 in as well.
fn overlap(one: SocketAddr, two: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    let (a, b) = (one.ip(), two.ip());
    one.port() == two.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_port_on_different_interfaces_is_fine() {
        let overlap = |one: &str, two: &str| overlap(one.parse().unwrap(), two.parse().unwrap());
        assert!(overlap("127.0.0.1:80", "127.0.0.1:80"));
        assert!(overlap("127.0.0.1:80", "0.0.0.0:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!overlap("127.0.0.1:0", "127.0.0.1:0"));
    }
}
