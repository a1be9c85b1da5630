//! The ports that were taken.

use std::net::SocketAddr;

/// Where the gateway can be reached; ports are real, also where 0 was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The MQTT broker.
    pub broker: Vec<SocketAddr>,
    /// The MQTT broker with TLS.
    pub broker_tls: Vec<SocketAddr>,
    /// The web server.
    pub web: Vec<SocketAddr>,
    /// The ports that meters dial, in the order of the configuration.
    pub meters: Vec<SocketAddr>,
    /// The ports that samples are read from, in the order of the configuration.
    pub relays: Vec<SocketAddr>,
}

impl Addresses {
    /// Says where everything listens.
    pub(super) fn log(&self) {
        for address in &self.broker {
            tracing::info!(%address, "mqtt broker listens");
        }
        for address in &self.broker_tls {
            tracing::info!(%address, "mqtt broker listens with tls");
        }
        for address in &self.web {
            tracing::info!(url = format!("http://{address}/"), "web server listens");
        }
        for address in &self.meters {
            tracing::info!(%address, "meters may dial in");
        }
        for address in &self.relays {
            tracing::info!(%address, "samples may be read");
        }
    }
}
