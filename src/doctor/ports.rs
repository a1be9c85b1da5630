//! The ports that the gateway listens on.

use std::io::ErrorKind;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

use super::{Report, Running};
use crate::config::Config;
use crate::config::broker::Mode;
use crate::config::link::Link;
use crate::process::{self, Holder};

pub(super) fn examine(config: &Config, running: &Running, report: &mut Report) {
    for (key, address) in addresses(config) {
        port(&format!("{key} {address}"), address, running, report);
    }
}

/// Every address to listen on with the key it stands under; one that entries share, once.
fn addresses(config: &Config) -> Vec<(String, SocketAddr)> {
    let broker = &config.broker;
    let embedded = broker.mode == Mode::Embedded;
    let mut found: Vec<(String, SocketAddr)> = Vec::new();
    let mut add = |key: &str, addresses: &[SocketAddr]| {
        for address in addresses {
            if !found.iter().any(|(_, known)| known == address) {
                found.push((key.to_owned(), *address));
            }
        }
    };
    if embedded {
        add("broker.listen", &broker.listen.0);
    }
    if let Some(tls) = broker.tls.as_ref().filter(|_| embedded) {
        add("broker.tls.listen", &tls.listen.0);
    }
    if config.web.enabled {
        add("web.listen", &config.web.listen.0);
    }
    for (at, meter) in config.meters.iter().enumerate() {
        if let Link::Listen(listen) = &meter.link {
            add(&format!("meters[{at}].link.listen"), &listen.addresses.0);
        }
        if let Some(relay) = meter.stream.as_ref().and_then(|stream| stream.relay) {
            add(&format!("meters[{at}].stream.relay"), &[relay]);
        }
    }
    found
}

fn port(subject: &str, address: SocketAddr, running: &Running, report: &mut Report) {
    if address.port() == 0 {
        return report.fine(subject, "any free port".to_owned());
    }
    let error = match try_bind(address) {
        Ok(()) => return report.fine(subject, "free".to_owned()),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::AddrInUse => in_use(subject, address.port(), running, report),
        ErrorKind::PermissionDenied => report.problem(
            subject,
            "ports below 1024 need a right that this user lacks".to_owned(),
            "choose a higher port, or give the service CAP_NET_BIND_SERVICE",
        ),
        ErrorKind::AddrNotAvailable => report.problem(
            subject,
            "this machine has no such address".to_owned(),
            "write one that `ip address` shows, or 0.0.0.0 for all of them",
        ),
        _ => report.problem(subject, error.to_string(), "choose another address"),
    }
}

/// Takes the port for a moment without listening, so that no client ever meets this program.
fn try_bind(address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As the gateway does: connections that ended a minute ago do not hold a port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn in_use(subject: &str, port: u16, running: &Running, report: &mut Report) {
    let holders = process::listeners_on(port);
    let others: Vec<&Holder> = holders.iter().filter(|holder| !running.is(holder)).collect();
    let advice = "stop that program, or choose another port";
    if others.len() < holders.len() {
        report.fine(subject, "the running gateway listens there".to_owned());
    } else if !others.is_empty() {
        let names: Vec<String> = others.iter().map(ToString::to_string).collect();
        report.problem(subject, format!("is in use by {}", names.join(", ")), advice);
    } else if running.may_be_hidden() {
        report.fine(subject, "is in use, so far as can be seen by the running gateway".to_owned());
    } else {
        let words = "is in use by a program of another user".to_owned();
        report.problem(subject, words, format!("{advice} (`sudo ss -ltnp` names it)"));
    }
}
