//! The way to the stream server: the meter dials, again and again while nobody is there.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::device::{Role, SmartDevice};
use super::run::{Event, Life, spawn};

/// The way to the stream server.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    target: Option<(String, u16)>,
    under_way: bool,
    connection: Option<u64>,
    next: f64,
}

impl Life {
    /// The stream server has taken the connection, or is not there.
    pub(super) fn dialled(&mut self, stream: Option<TcpStream>, now: f64) {
        self.dialling.under_way = false;
        self.dialling.next = now + self.redial();
        if let Some(stream) = stream {
            let peer = stream.peer_addr().ok();
            self.dialling.connection = self.connected(stream, peer, Role::Commands);
        }
    }

    /// A connection is over: if it was that to the stream server, that is dialled again after a while.
    pub(super) fn no_longer_dialled(&mut self, connection: u64, now: f64) {
        if self.dialling.connection == Some(connection) {
            self.dialling.connection = None;
            self.dialling.next = now + self.redial();
        }
    }

    fn redial(&self) -> f64 {
        self.meter.look(|device| device.manners.redial.as_secs_f64())
    }

    /// Dials the stream server when it is time to, and says when it is again.
    pub(super) fn dial(&mut self, now: f64) -> f64 {
        let (target, is_busy) =
            self.meter.look(|device| (device.stream_target(), device.is_sampling()));
        if target != self.dialling.target {
            self.dialling.target.clone_from(&target);
            self.dialling.next = now;
        }
        let Some((host, port)) = target else { return f64::INFINITY };
        if self.dialling.under_way || self.dialling.connection.is_some() || is_busy {
            return f64::INFINITY;
        }
        if self.dialling.next > now {
            return self.dialling.next;
        }
        self.dialling.under_way = true;
        let events = self.events.clone();
        spawn(&mut self.group, "dialling", async move {
            let stream = timeout(DIAL, TcpStream::connect((host.as_str(), port))).await;
            if !matches!(stream, Ok(Ok(_))) {
                tracing::debug!(host, port, "the stream server is not there");
            }
            // If nobody hears it, the meter is off.
            let _ = events.send(Event::Dialled(stream.ok().and_then(Result::ok))).await;
        });
        f64::INFINITY
    }
}

impl SmartDevice {
    /// The stream server that it was told of.
    fn stream_target(&self) -> Option<(String, u16)> {
        let port = self.settings.stream_port.unwrap_or(self.manners.stream_port);
        (self.settings.stream_server != "-").then(|| (self.settings.stream_server.clone(), port))
    }
}

/// How long a stream server is waited for; a real meter waits for less.
const DIAL: Duration = Duration::from_secs(2);
