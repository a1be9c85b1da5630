//! Samples that come, by whichever way, and the seconds that are made of them.

use meter_protocols::smartmeter::Packet;
use tokio::time::Instant;

use super::Session;
use super::sampling::On;
use super::watch::NO_DATA;
use crate::adapters::smartmeter::arrivals::Moment;
use crate::adapters::smartmeter::stream::Second;
use crate::model::Timestamp;

impl Session {
    pub(super) fn packet(&mut self, packet: &Packet, now: Instant, at: Timestamp) {
        self.context.metrics.packets.increment();
        match &mut self.sampling.on {
            Some(on) if on.framed && !self.apart.is_on() => {
                on.take_packet(packet, Moment { instant: now, at });
                self.hand_on_seconds();
            }
            _ => self.unexpected_data(now),
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        match &mut self.sampling.on {
            Some(on) if !self.apart.is_on() => {
                on.note_data(now);
                on.stream.raw(bytes, Moment { instant: now, at });
                self.hand_on_seconds();
            }
            _ => self.unexpected_data(now),
        }
    }

    /// Packets that came as datagrams, in order.
    pub(super) fn packets_apart(&mut self, packets: &[Packet], now: Instant, at: Timestamp) {
        if let Some(on) = &mut self.sampling.on {
            for packet in packets {
                self.context.metrics.packets.increment();
                on.take_packet(packet, Moment { instant: now, at });
            }
        }
        self.hand_on_seconds();
    }

    /// Bytes that came by the device's own stream port.
    pub(super) fn bytes_apart(&mut self, bytes: &[u8], now: Instant, at: Timestamp) {
        if let Some(on) = &mut self.sampling.on {
            on.note_data(now);
            on.stream.raw(bytes, Moment { instant: now, at });
        }
        self.hand_on_seconds();
    }

    /// Samples of which the start was not seen: the reply to `sample` was lost, or on a serial line they go
    /// on over a restart of the gateway. The device is stopped, so that it can be asked anew.
    fn unexpected_data(&mut self, now: Instant) {
        self.context.metrics.ignored_packets.increment();
        let recent = |then: &Instant| now.duration_since(*then) < NO_DATA;
        if self.sampling.unexpected.as_ref().is_some_and(recent) {
            return;
        }
        self.sampling.unexpected = Some(now);
        if self.device.is_some() {
            self.sampling.to_stop = true;
        } else {
            self.send(b"{\"cmd\":\"stop\"}\r\n".to_vec(), now);
            self.send(b"{\"cmd\":\"info\"}\r\n".to_vec(), now);
        }
    }

    fn hand_on_seconds(&mut self) {
        let seconds = match &mut self.sampling.on {
            Some(on) => on.stream.take_seconds(),
            None => return,
        };
        self.hand_on(seconds);
    }

    pub(super) fn hand_on(&mut self, seconds: Vec<Second>) {
        if seconds.is_empty() {
            return;
        }
        let (late, news): (Vec<Second>, Vec<Second>) =
            seconds.into_iter().partition(|one| one.late);
        let past: Vec<_> = late.into_iter().map(|one| (one.at, one.measured)).collect();
        if !past.is_empty()
            && let Some(mut frame) = self.frame()
        {
            frame.past = past;
            self.frames.push_back(frame);
        }
        for second in news {
            if let Some(mut frame) = self.frame() {
                frame.now = Some(second.measured);
                self.frames.push_back(frame);
            }
        }
    }
}

impl On {
    /// One that cannot be of this stream is no sign that samples come: a stream of nothing else dries up,
    /// and is begun anew.
    fn take_packet(&mut self, packet: &Packet, now: Moment) {
        if self.stream.packet(packet.number, &packet.payload, now) {
            self.note_data(now.instant);
        }
    }
}
