//! A stream: samples as they are taken, and the packets in which they leave.
//!
//! A sample is a function of its number, so what waits in the meter's buffer is two numbers only.

use std::net::SocketAddr;

use meter_protocols::smartmeter::Packet;

use super::SmartKind;
use super::layout::Layout;
use super::manners::SmartManners;
use super::wave::Wave;

/// Where the samples go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// To a command connection, in frames or raw.
    Connection(u64),
    /// To a reader at the stream port.
    Reader(u64),
    /// As datagrams, for as long as the connection lives that asked for them.
    Datagrams(SocketAddr, u64),
    /// One message a sample.
    Mqtt,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) sink: Sink,
    pub(super) layout: Layout,
    pub(super) rate: u32,
    pub(super) chunk: usize,
    pub(super) prefix: bool,
    /// Nothing leaves before it is allowed.
    pub(super) flow_control: bool,
    /// Of so many seconds, the one in which data leaves.
    pub(super) slot: Option<(u32, u32)>,
    /// On a serial line, where frames have a line end.
    pub(super) serial: bool,
    /// The stream dries up after the samples of a second.
    pub(super) one_second: bool,
}

/// A stream under way.
#[derive(Debug)]
pub(super) struct Sampling {
    pub(super) request: Request,
    /// The time of sample 0, seconds since 1970.
    pub(super) start: f64,
    pub(super) sending: bool,
    wave: Wave,
    sent: u64,
    packet: u32,
    /// A datagram that leaves behind the next one.
    held: Option<Vec<u8>>,
}

/// Bytes in the meter for samples that wait; with more it restarts.
pub(super) const BUFFER: usize = 3_670_016;

impl Sampling {
    pub(super) fn new(request: Request, start: f64, wave: Wave) -> Sampling {
        let sending = !request.flow_control;
        Sampling { request, start, sending, wave, sent: 0, packet: 0, held: None }
    }

    /// Samples taken up to now.
    pub(super) fn taken(&self, now: f64) -> u64 {
        let rate = f64::from(self.request.rate);
        // A little more than nothing, for a time that is a float.
        let taken = ((now - self.start) * rate + 1e-4).max(0.0) as u64;
        if self.request.one_second { taken.min(u64::from(self.request.rate)) } else { taken }
    }

    /// Samples handed to the network.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn overflows(&self, now: f64) -> bool {
        self.waiting(now) as usize * self.request.layout.bytes() > BUFFER
    }

    fn waiting(&self, now: f64) -> u64 {
        self.taken(now).saturating_sub(self.sent)
    }

    pub(super) fn switch(&mut self, closed: bool, now: f64) {
        let sample = self.taken(now);
        self.wave.switch(sample, closed);
    }

    /// Samples of one packet.
    pub(super) fn samples(&self) -> u64 {
        (self.request.chunk / self.request.layout.bytes()).max(1) as u64
    }

    /// The packets that leave now, as long as there is room: one piece of bytes each over UDP, else
    /// all in one. The newest packet waits.
    pub(super) fn take(&mut self, now: f64, room: usize, manners: &SmartManners) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let turn = self.request.slot.is_none_or(|(k, n)| now as u64 % u64::from(n) == u64::from(k));
        if !self.sending || !turn {
            return out;
        }
        let mut left = room;
        while self.waiting(now) > self.samples() && left >= self.request.chunk {
            left -= self.request.chunk;
            let samples = self.samples();
            self.send(samples, manners, &mut out);
        }
        out
    }

    /// All that is left, as at the end.
    pub(super) fn rest(&mut self, now: f64, manners: &SmartManners) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while self.waiting(now) > 0 {
            let samples = self.samples().min(self.waiting(now));
            self.send(samples, manners, &mut out);
        }
        out.extend(self.held.take());
        out
    }

    /// One frame of so many samples, and the rest streams freely from then on; `None` while there
    /// are not as many.
    pub(super) fn requested(
        &mut self,
        samples: u64,
        now: f64,
        manners: &SmartManners,
    ) -> Option<Vec<Vec<u8>>> {
        if self.waiting(now) < samples {
            return None;
        }
        self.sending = true;
        let mut out = Vec::new();
        self.send(samples, manners, &mut out);
        Some(out)
    }

    fn send(&mut self, samples: u64, manners: &SmartManners, out: &mut Vec<Vec<u8>>) {
        let (number, first) = (self.packet, self.sent);
        self.packet = self.packet.wrapping_add(1);
        self.sent += samples;
        let every =
            |every: Option<u32>| every.is_some_and(|every| number % every.max(1) == every / 2);
        if every(manners.loss) {
            return;
        }
        let length = samples as usize * self.request.layout.bytes();
        let is_datagram = matches!(self.request.sink, Sink::Datagrams(..));
        let mut own = Vec::new();
        let bytes = match out.first_mut() {
            Some(first) if !is_datagram => first,
            _ => &mut own,
        };
        let begin = bytes.len();
        if self.request.prefix {
            Packet::encode_head(number, length as u16, bytes);
        }
        self.wave.fill(bytes, first, samples);
        if self.request.prefix && self.request.serial {
            bytes.extend_from_slice(b"\r\n");
        }
        if every(manners.short_writes) && !is_datagram {
            bytes.truncate(begin + (bytes.len() - begin) / 2);
        }
        if is_datagram {
            self.datagram(own, number, manners.shuffle, out);
        } else if !own.is_empty() {
            out.push(own);
        }
    }

    fn datagram(&mut self, bytes: Vec<u8>, number: u32, shuffle: bool, out: &mut Vec<Vec<u8>>) {
        if shuffle && number % 7 == 5 && self.held.is_none() {
            self.held = Some(bytes);
            return;
        }
        if shuffle && number % 10 == 9 {
            out.push(bytes.clone());
        }
        out.push(bytes);
        out.extend(self.held.take());
    }

    /// The values of the next sample that waits, as MQTT has them.
    pub(super) fn values(&mut self, now: f64) -> Option<Vec<f64>> {
        if self.waiting(now) == 0 {
            return None;
        }
        let mut bytes = Vec::new();
        self.wave.fill(&mut bytes, self.sent, 1);
        self.sent += 1;
        let float = |four: &[u8]| <[u8; 4]>::try_from(four).map_or(0.0, f32::from_le_bytes);
        Some(bytes.chunks(4).map(|four| f64::from(float(four))).collect())
    }

    /// When a packet can leave next.
    pub(super) fn next(&self, now: f64) -> f64 {
        let wait = match self.request.sink {
            Sink::Mqtt => 1,
            _ => self.samples() + 1,
        };
        let due = self.start + (self.sent + wait) as f64 / f64::from(self.request.rate);
        // What leaves often leaves together, which spares the simulator much work.
        due.max(now + 0.02)
    }
}

/// Bytes of a packet, as the firmware reckons: a tenth of a second, at most 1,024.
pub(super) fn chunk(kind: SmartKind, rate: u32, sample: usize, limit: usize) -> usize {
    let tenth = (f64::from(rate) * 0.1 * sample as f64) as usize;
    let power = tenth.clamp(sample, 1024.max(sample)).next_power_of_two().min(1024).min(limit);
    match kind {
        SmartKind::SmartMeter => (power / sample * sample).max(sample),
        SmartKind::PowerMeter => power.max(sample),
    }
}
