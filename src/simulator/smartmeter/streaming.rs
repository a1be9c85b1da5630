//! A stream from its begin to its end, and who gets it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::device::{Out, Role, SmartDevice};
use super::layout::Layout;
use super::sampling::{Request, Sampling, Sink, chunk};
use super::wave::Wave;

impl SmartDevice {
    /// Sends what is due of the stream.
    pub(super) fn stream(&mut self, now: f64, room: usize) {
        let Some(sampling) = &mut self.sampling else { return };
        if sampling.request.sink == Sink::Mqtt {
            self.stream_over_mqtt(now);
            return;
        }
        let before = sampling.sent();
        let pieces = sampling.take(now, room, &self.manners);
        self.samples_sent += sampling.sent() - before;
        self.send(pieces);
    }

    pub(super) fn send(&mut self, pieces: Vec<Vec<u8>>) {
        let Some(sink) = self.sampling.as_ref().map(|sampling| sampling.request.sink) else {
            return;
        };
        for bytes in pieces {
            match sink {
                Sink::Connection(id) | Sink::Reader(id) => {
                    self.out.push_back(Out::Bytes(id, bytes))
                }
                Sink::Datagrams(to, _) => self.out.push_back(Out::Datagram(to, bytes)),
                Sink::Mqtt => {}
            }
        }
    }

    /// Where datagrams go, if the stream is of such.
    fn datagrams_to(&self) -> Option<SocketAddr> {
        match self.sampling.as_ref()?.request.sink {
            Sink::Datagrams(to, _) => Some(to),
            _ => None,
        }
    }

    /// The connection whose backlog counts for the stream.
    pub(super) fn sink(&self) -> Option<u64> {
        match self.sampling.as_ref()?.request.sink {
            Sink::Connection(id) | Sink::Reader(id) => Some(id),
            _ => None,
        }
    }

    /// Begins to sample at a time.
    pub(super) fn begin_sampling(&mut self, request: Request, start: f64) {
        let (layout, rate) = (request.layout.clone(), request.rate);
        let wave = Wave::new(Arc::clone(&self.mains), layout, rate, start, self.relay);
        self.sampling_rate = rate;
        self.sampling = Some(Sampling::new(request, start, wave));
        self.publish("state/sample", "on", false);
    }

    /// Ends the stream; `flush`: what is left goes to its sink first. A reader is sent away.
    pub(super) fn end_sampling(&mut self, now: f64, flush: bool) -> Option<Sampling> {
        if flush && let Some(sampling) = &mut self.sampling {
            let before = sampling.sent();
            let rest = sampling.rest(now, &self.manners);
            self.samples_sent += sampling.sent() - before;
            self.send(rest);
            if let Some(to) = self.datagrams_to()
                && self.manners.shuffle
            {
                self.out.push_back(Out::Datagram(to, Vec::new()));
            }
        }
        let ended = self.sampling.take()?;
        if let Sink::Reader(id) = ended.request.sink {
            self.connections.remove(&id);
            self.out.push_back(Out::Close(id));
        }
        self.next_publish = now + self.settings.publish.unwrap_or(5.0);
        self.publish("state/sample", "off", false);
        Some(ended)
    }

    /// Whoever waits at the stream port is served once the meter is idle.
    pub(super) fn let_reader_in(&mut self, now: f64) {
        if self.is_busy() {
            return;
        }
        let readers = self.connections.iter().filter(|(_, other)| other.role == Role::Reader);
        let Some(id) = readers.map(|(id, _)| *id).next() else { return };
        let layout = Layout::all(self.kind);
        let rate = if self.kind.is_smart() { 8000 } else { 4000 };
        let request = Request {
            sink: Sink::Reader(id),
            chunk: chunk(self.kind, rate, layout.bytes(), 1024),
            one_second: self.manners.no_rtc && self.kind.is_smart(),
            layout,
            rate,
            prefix: false,
            flow_control: false,
            slot: None,
            serial: false,
        };
        self.begin_sampling(request, now);
    }
}
