//! `meterbridge health`: asks the running gateway whether it is well.
//!
//! For the container's HEALTHCHECK, which starts a process every few seconds: no runtime, no HTTP
//! library, one request over a plain socket.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::config::{Config, scalar::HostPort};

/// Why the gateway is not well, or could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The configuration has no web server to ask.
    #[error("the web server is off (web.enabled: false): give the URL to ask")]
    NoWebServer,
    /// The URL is not one that can be asked.
    #[error("\"{0}\" is not a URL to ask: write http://HOST:PORT")]
    Url(String),
    /// Nobody answers there.
    #[error("{url}: {source}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why there is no answer.
        source: std::io::Error,
    },
    /// Somebody answers, but not as a gateway does.
    #[error("{0}: the answer is not HTTP")]
    NotHttp(String),
    /// The gateway says that it is not well.
    #[error("{url}: not well: {status}")]
    NotWell {
        /// What was asked.
        url: String,
        /// The status line and the beginning of the body.
        status: String,
    },
}

/// Where the gateway of this configuration answers.
///
/// # Errors
/// [`HealthError::NoWebServer`] if it has no web server.
pub fn url(config: &Config) -> Result<String, HealthError> {
    Ok(format!("{}/healthz", base_url(config)?))
}

/// Where the web server of this configuration is found from this machine, without a `/` at the end.
///
/// # Errors
/// [`HealthError::NoWebServer`] if it has no web server.
pub(crate) fn base_url(config: &Config) -> Result<String, HealthError> {
    let address = match config.web.listen.0.first() {
        Some(address) if config.web.enabled => *address,
        _ => return Err(HealthError::NoWebServer),
    };
    // Listening everywhere means being there on loopback as well.
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    Ok(format!("http://{address}{}", config.web.base_path.trim_end_matches('/')))
}

/// Asks, and waits for the answer for [`DEADLINE`] at most. Returns what to tell the user.
///
/// # Errors
/// When there is no answer, or one that is not 200.
pub fn ask(url: &str) -> Result<String, HealthError> {
    let target = Target::parse(url).ok_or_else(|| HealthError::Url(url.to_owned()))?;
    let unreachable = |source| HealthError::Unreachable { url: url.to_owned(), source };
    let answer = target.exchange(target.to_string().as_bytes(), Instant::now() + DEADLINE);
    let answer = answer.map_err(unreachable)?;
    let text = String::from_utf8_lossy(&answer);
    let mut words = text.split_whitespace();
    let (Some(protocol), Some(status)) = (words.next(), words.next()) else {
        return Err(HealthError::NotHttp(url.to_owned()));
    };
    if !protocol.starts_with("HTTP/1.") {
        return Err(HealthError::NotHttp(url.to_owned()));
    }
    if status == "200" {
        return Ok(format!("{url}: well"));
    }
    let first = text.lines().next().unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim());
    let status: String =
        format!("{first} {body}").chars().filter(|c| !c.is_control()).take(300).collect();
    Err(HealthError::NotWell { url: url.to_owned(), status: status.trim().to_owned() })
}

/// The parts of an `http://` URL.
pub(crate) struct Target {
    host: HostPort,
    path: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (host, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/healthz"),
        };
        if path.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let host = host.parse().or_else(|_| format!("{host}:80").parse::<HostPort>()).ok()?;
        let path = if path == "/" { "/healthz" } else { path };
        Some(Self { host, path: path.to_owned() })
    }

    /// Host and port, as the header `Host` has them.
    pub(crate) fn host(&self) -> &HostPort {
        &self.host
    }

    /// The path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Sends a request over a connection of its own, and reads to its end.
    pub(crate) fn exchange(&self, request: &[u8], deadline: Instant) -> std::io::Result<Vec<u8>> {
        let mut stream = self.connect(deadline)?;
        stream.set_write_timeout(Some(left(deadline)?))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while answer.len() < LARGEST_ANSWER {
            // Set anew each time: a server that sends a byte a second must not keep us.
            stream.set_read_timeout(Some(left(deadline)?))?;
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(std::io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    }

    fn connect(&self, deadline: Instant) -> std::io::Result<TcpStream> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in (self.host.host.as_str(), self.host.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The request.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.path, self.host)
    }
}

fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(std::io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// How long [`ask`] waits in all.
pub const DEADLINE: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer to one request; returns the request.
    fn answering(answer: &'static str) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, server)
    }

    #[test]
    fn a_gateway_that_is_well() {
        let (address, server) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        assert!(ask(&format!("http://{address}/x/healthz")).unwrap().ends_with("well"));
        let request = server.join().unwrap();
        assert!(request.starts_with(&format!("GET /x/healthz HTTP/1.1\r\nHost: {address}\r\n")));
    }

    #[test]
    fn a_gateway_that_is_not() {
        let (address, _) = answering("HTTP/1.1 503 Service Unavailable\r\n\r\ndisk is full");
        let message = ask(&format!("http://{address}")).unwrap_err().to_string();
        assert!(message.contains("503") && message.contains("disk is full"), "{message}");
        let (address, _) = answering("SSH-2.0-OpenSSH_9.2\r\n");
        let error = ask(&format!("http://{address}/")).unwrap_err();
        assert!(matches!(error, HealthError::NotHttp(_)), "{error}");
    }

    #[test]
    fn nobody_there() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(&format!("http://{address}")).unwrap_err();
        assert!(matches!(error, HealthError::Unreachable { .. }), "{error}");
        for url in ["", "https://nas", "http://", "http://nas/a b", "nas:8080"] {
            assert!(matches!(ask(url), Err(HealthError::Url(_))), "{url}");
        }
    }

    #[test]
    fn the_url_follows_the_configuration() {
        let mut config = Config::default();
        assert_eq!(url(&config).unwrap(), "http://127.0.0.1:8080/healthz");
        config.web.listen.0 = vec!["[::]:81".parse().unwrap()];
        config.web.base_path = "/energy/".to_owned();
        assert_eq!(url(&config).unwrap(), "http://[::1]:81/energy/healthz");
        config.web.enabled = false;
        assert!(matches!(url(&config), Err(HealthError::NoWebServer)));
    }
}
