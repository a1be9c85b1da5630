//! `broker.external.url` and other addresses of brokers and meters taken apart.

use super::broker::External;
use super::scalar::HostPort;
use super::secret::{Secret, SecretUrl};

/// Where the broker is, and who the gateway is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, and port.
    pub address: HostPort,
    /// `mqtts`.
    pub tls: bool,
    /// The user name.
    pub user: Option<String>,
    /// The password, when the URL holds one.
    pub password: Option<Secret>,
}

impl External {
    /// Takes the URL apart. User and password may be percent-encoded.
    ///
    /// # Errors
    /// What is wrong with it, never with the password.
    pub fn endpoint(&self) -> Result<Endpoint, String> {
        match &self.url {
            Some(url) => of_url(url),
            None => Err(format!("is missing: {EXAMPLE}")),
        }
    }
}

/// Takes the URL of a broker apart. User and password may be percent-encoded.
///
/// # Errors
/// What is wrong with it, never with the password.
pub fn of_url(url: &SecretUrl) -> Result<Endpoint, String> {
    let example = EXAMPLE;
    let (tls, rest) = match url.reveal().split_once("://") {
        Some(("mqtt", rest)) => (false, rest),
        Some(("mqtts", rest)) => (true, rest),
        _ => return Err(format!("\"{url}\" is no MQTT broker's address: {example}")),
    };
    let (login, host) = match rest.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, rest),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let default_port = if tls { 8883 } else { 1883 };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let address = if has_port { host.to_owned() } else { format!("{host}:{default_port}") };
    let address = address.parse().map_err(|_| {
        format!("\"{url}\" has nothing after host and port, and a port from 1 to 65535: {example}")
    })?;
    let bad = || format!("\"{url}\": user and password may hold % only as in %40 for @");
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => {
            (Some(decoded(user).ok_or_else(bad)?), Some(decoded(password).ok_or_else(bad)?))
        }
        None => (None, None),
    };
    let some = |text: &String| !text.is_empty();
    let (user, password) = (user.filter(some), password.filter(some).map(Secret::new));
    Ok(Endpoint { address, tls, user, password })
}

/// Where the local API of a Fluksometer is: host and port of its URL.
///
/// # Errors
/// What is wrong with it, never with a password.
pub fn local_api(url: &SecretUrl) -> Result<HostPort, String> {
    let wrong = || {
        format!("\"{url}\" is no address of a local API: write http://host:8080, nothing behind it")
    };
    let rest = url.reveal().strip_prefix("http://").ok_or_else(wrong)?;
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains(['@', '/', '?']) {
        return Err(wrong());
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let address = if has_port { host.to_owned() } else { format!("{host}:8080") };
    address.parse().map_err(|_| wrong())
}

const EXAMPLE: &str = "write mqtt://user@host:1883, or mqtts://user@host:8883 for TLS";

/// `text` with each `%40` read as the byte it stands for.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, String> {
        let url = SecretUrl::parse(url, &["mqtt", "mqtts", "http"]).unwrap();
        External { url: Some(url), ..External::default() }.endpoint()
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, host, port, tls, user, password) in [
            ("mqtt://nas", "nas", 1883, false, None, None),
            ("mqtts://nas/", "nas", 8883, true, None, None),
            ("mqtt://me@nas:1884", "nas", 1884, false, Some("me"), None),
            ("mqtt://me:a:b%40c@[::1]:7", "::1", 7, false, Some("me"), Some("a:b@c")),
            ("mqtts://[::1]", "::1", 8883, true, None, None),
        ] {
            let endpoint = endpoint(url).unwrap();
            assert_eq!(
                (endpoint.address.host.as_str(), endpoint.address.port),
                (host, port),
                "{url}"
            );
            assert_eq!((endpoint.tls, endpoint.user.as_deref()), (tls, user), "{url}");
            assert_eq!(endpoint.password.as_ref().map(Secret::reveal), password, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for url in [
            "http://me:hunter2@nas",
            "mqtt://me:hunter2@nas:0",
            "mqtt://me:hunter2%@nas",
            "mqtt://me:hunter2@nas/x",
        ] {
            let message = endpoint(url).unwrap_err();
            assert!(!message.contains("hunter2") && message.contains("nas"), "{message}");
        }
    }
}
