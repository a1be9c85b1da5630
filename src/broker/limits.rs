//! The broker's limits, in one place: the configuration reads them as they are here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::duration;

/// Bounds of everything a client can make the broker hold.
///
/// Also what stands under `broker.limits` of the configuration, key for key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections from one IP address.
    pub connections_per_address: usize,
    /// Time from accepting a connection to the end of its CONNECT packet.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// Longest keep-alive a client may ask for.
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    /// Largest packet taken, in bytes.
    pub packet_size: usize,
    /// Incoming QoS 1 and 2 messages a client may have open, announced as receive maximum.
    pub inflight: u16,
    /// Messages that may wait for one client.
    pub queued_messages: usize,
    /// Memory that messages waiting for one client may take, in bytes.
    pub queued_bytes: usize,
    /// Messages that may wait for all clients with kept sessions together.
    pub total_queued_messages: usize,
    /// Memory that these may take, in bytes; a message counts once for each client.
    pub total_queued_bytes: usize,
    /// Topics with a retained message.
    pub retained_messages: usize,
    /// Memory that retained messages may take, in bytes.
    pub retained_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            connections_per_address: 200,
            connect_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(65_535),
            packet_size: 2 * 1024 * 1024,
            inflight: 100,
            queued_messages: 100_000,
            queued_bytes: 64 * 1024 * 1024,
            total_queued_messages: 1_000_000,
            total_queued_bytes: 256 * 1024 * 1024,
            retained_messages: 200_000,
            retained_bytes: 256 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// The bounds that are counts, with their keys.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 10] {
        [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("packet_size", self.packet_size),
            ("inflight", usize::from(self.inflight)),
            ("queued_messages", self.queued_messages),
            ("queued_bytes", self.queued_bytes),
            ("total_queued_messages", self.total_queued_messages),
            ("total_queued_bytes", self.total_queued_bytes),
            ("retained_messages", self.retained_messages),
            ("retained_bytes", self.retained_bytes),
        ]
    }
}
