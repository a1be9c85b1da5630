//! Streams that come apart from the connection: as datagrams, or from the device's own stream port.
//!
//! Source: protocol note, sections 4.4 and 4.11.

use std::net::{IpAddr, SocketAddr};

use meter_protocols::smartmeter::{
    self as protocol, Command, Conn, Info, Kind, Packet, Reorder, SampleReply, SampleRequest,
};
use tokio::time::{Duration, Instant};

use super::Session;
use super::turns::By;
use crate::adapters::smartmeter::apart::{Piece, Wish};
use crate::adapters::smartmeter::rate::{RateMeter, nominal, true_rate};
use crate::config::stream::{Over, Stream as Wanted};
use crate::model::Timestamp;

/// What comes beside the connection.
#[derive(Debug, Default)]
pub(super) struct Apart {
    wish: Option<Wish>,
    /// The port for datagrams, while it is open.
    port: Option<u16>,
    /// Datagrams of the stream under way.
    reorder: Option<Reorder>,
    /// The stream port is open, and its rate is measured.
    measuring: Option<RateMeter>,
    /// The stream under way comes from the stream port.
    raw: bool,
    /// The device's address by its own words.
    told_ip: Option<String>,
    /// It samples for nobody, by its own words.
    idle: bool,
}

impl Apart {
    /// Whether samples come, or will in a moment, apart from the connection.
    pub(super) fn is_on(&self) -> bool {
        self.reorder.is_some() || self.raw || self.measuring.is_some()
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measuring.is_some()
    }
}

impl Session {
    /// What is wished of sockets, when that has changed.
    pub(in super::super) fn take_wish(&mut self) -> Option<Wish> {
        self.apart.wish.take()
    }

    /// Samples of the device are to be received there; or the port is not to be had.
    pub(in super::super) fn datagrams_at(&mut self, port: Result<u16, String>, now: Instant) {
        match port {
            Ok(port) => {
                self.apart.port = Some(port);
                self.sampling_now(now);
            }
            Err(error) => {
                self.stream_refused(
                    &format!("the port for its datagrams is not to be had: {error}"),
                    now,
                );
            }
        }
        self.go_on(now, Timestamp::now());
    }

    /// What has come.
    pub(in super::super) fn piece(&mut self, piece: &Piece, now: Instant, at: Timestamp) {
        match piece {
            Piece::Datagram(datagram) => self.datagram(datagram, now, at),
            Piece::Open => self.port_open(now),
            Piece::Bytes(bytes) => self.port_bytes(bytes, now, at),
            Piece::Over(reason) => self.port_over(reason, now, at),
        }
        self.go_on(now, at);
    }

    /// How a stream that comes apart is begun: first the sockets, then the device.
    pub(super) fn next_apart(&mut self, wanted: &Wanted, now: Instant) -> Option<(Command, By)> {
        self.sampling_later(now);
        if wanted.over == Over::Port {
            return Some((Command::info(), By::Port));
        }
        let Some(port) = self.apart.port.take() else {
            match self.device_ip() {
                Some(device) => {
                    // The old socket goes before the new one: what came late is nobody's.
                    self.apart.wish = Some(Wish::Datagrams { port: wanted.udp_port, device });
                }
                None => self.stream_refused(
                    "its address is not known, by which its datagrams are known",
                    now,
                ),
            }
            return None;
        };
        let request = SampleRequest {
            conn: Conn::Udp(port),
            measures: super::sampling::measures(wanted.measures),
            slot: wanted.slot,
            ..SampleRequest::new(wanted.rate)
        };
        match Command::sample(&request, self.kind()) {
            Ok(command) => Some((command, By::Sample)),
            Err(error) => {
                self.stream_refused(&error.to_string(), now);
                None
            }
        }
    }

    /// The stream that has begun comes as datagrams.
    pub(super) fn expect_datagrams(&mut self) {
        self.apart.reorder = Some(Reorder::new());
    }

    /// The device has told of itself.
    pub(super) fn note_state(&mut self, info: &Info) {
        self.apart.told_ip = info.ip.clone().or(self.apart.told_ip.take());
        self.apart.idle = info.busy == Some(false);
    }

    /// The device has been asked whether it is idle, which has to be so before its port is used.
    pub(super) fn port_checked(&mut self, answered: bool, now: Instant) {
        let wanted = self.device.as_ref().and_then(|device| device.entry.stream.as_ref());
        let Some(port) = wanted.map(|wanted| wanted.port) else { return };
        match (answered && self.apart.idle, self.device_host()) {
            (true, Some(host)) => self.apart.wish = Some(Wish::Port { host, port }),
            (true, None) => self.stream_refused("its address is not known", now),
            (false, _) => {
                let reason =
                    "it does not say that it is idle: its own port is silent while it samples";
                self.stream_refused(reason, now);
            }
        }
    }

    /// Nothing is to be received apart any more.
    pub(super) fn end_apart(&mut self) -> Vec<Packet> {
        let held = self.apart.reorder.take().map(|mut reorder| {
            reorder.flush();
            std::iter::from_fn(|| reorder.next_packet()).collect()
        });
        if held.is_some() || self.apart.raw || self.apart.measuring.is_some() {
            self.apart.wish = Some(Wish::Nothing);
        }
        (self.apart.raw, self.apart.measuring) = (false, None);
        held.unwrap_or_default()
    }

    /// Nothing comes although the port is open.
    pub(super) fn watch_measuring(&mut self, now: Instant) {
        if self.apart.measuring.as_ref().is_some_and(|meter| now >= meter.last() + SILENT) {
            self.end_apart();
            self.stream_refused(
                "its own port is silent: somebody else has it, or it samples elsewhere",
                now,
            );
        }
    }

    pub(super) fn measuring_deadline(&self) -> Option<Instant> {
        self.apart.measuring.as_ref().map(|meter| meter.last() + SILENT)
    }

    fn datagram(&mut self, datagram: &[u8], now: Instant, at: Timestamp) {
        let Some(reorder) = &mut self.apart.reorder else {
            return self.context.metrics.ignored_packets.increment();
        };
        match Packet::of_datagram(datagram) {
            Ok(Some(packet)) => reorder.push(packet),
            // It has stopped: nothing fills the gaps any more.
            Ok(None) => reorder.flush(),
            Err(error) => {
                self.context.metrics.bad_frames.increment();
                return tracing::debug!(serial = self.serial(), %error, "a datagram was passed over");
            }
        }
        let packets: Vec<Packet> = std::iter::from_fn(|| reorder.next_packet()).collect();
        self.packets_apart(&packets, now, at);
    }

    fn port_open(&mut self, now: Instant) {
        let frame_bytes = self.port_channels().1.sample_bytes();
        self.apart.measuring = Some(RateMeter::new(frame_bytes, now));
    }

    fn port_bytes(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        if self.apart.raw {
            return self.bytes_apart(bytes, now, at);
        }
        let Some(meter) = &mut self.apart.measuring else { return };
        let Some(measured) = meter.push(bytes, now) else { return };
        let bytes = self.apart.measuring.take().map(RateMeter::into_bytes).unwrap_or_default();
        let (kind, layout) = self.port_channels();
        let Some(rate_hz) = true_rate(kind, measured) else {
            let reason =
                format!("on its own port come {measured:.0} samples a second, as of no meter");
            self.apart.wish = Some(Wish::Nothing);
            return self.stream_refused(&reason, now);
        };
        if rate_hz != nominal(kind) {
            tracing::warn!(
                serial = self.serial(),
                rate_hz,
                nominal = nominal(kind),
                "on its own port the meter sends at another rate than it should: the decimation of an earlier \
                 sample command is in force until it restarts"
            );
        }
        let frames = (bytes.len() / layout.sample_bytes()) as f64;
        let reply = SampleReply {
            chunk: layout.sample_bytes(),
            layout,
            rate_hz,
            framed: false,
            flow_control: false,
            conn: Conn::Tcp.name().to_owned(),
            port: None,
            slot: None,
            start: Some(at.0 as f64 / 1000.0 - frames / rate_hz),
            ntp_confidence: None,
        };
        self.stream_has_begun(&reply, Duration::ZERO, now, at);
        self.apart.raw = true;
        self.bytes_apart(&bytes, now, at);
    }

    fn port_over(&mut self, reason: &str, now: Instant, at: Timestamp) {
        self.end_stream(None, now, at);
        self.end_apart();
        self.stream_refused(reason, now);
    }

    /// What a device sends on its own port.
    fn port_channels(&self) -> (Kind, protocol::Layout) {
        let kind = self.kind();
        let lines = protocol::SampleRequest::new(1).layout(kind);
        (kind, lines.expect("every kind has a layout of all its lines"))
    }

    /// Where the device is, for a connection.
    fn device_host(&self) -> Option<String> {
        let peer = &self.context.peer;
        if self.context.serial_line {
            return self.apart.told_ip.clone();
        }
        let host = peer.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned());
        host.filter(|host| !host.is_empty()).or_else(|| self.apart.told_ip.clone())
    }

    /// The address that datagrams of the device come from.
    fn device_ip(&self) -> Option<IpAddr> {
        let peer = self.context.peer.parse::<SocketAddr>().ok().map(|peer| peer.ip());
        peer.or_else(|| self.apart.told_ip.as_deref()?.parse().ok())
    }
}

/// A port that has nothing to say for so long.
const SILENT: Duration = Duration::from_secs(5);
