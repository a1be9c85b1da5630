//! A connection to one device: it drives the [`Session`], hands frames to the adapter, and takes what
//! is asked of the device.
//!
//! Reading waits for nobody: a device whose buffer overflows restarts. What the adapter has no room
//! for waits here, and beyond that the oldest goes and is counted.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::apart::{Apart, Piece, Wish};
use super::measured::Frame;
use super::session::{Context, Session};
use super::switchboard::{Registration, Switchboard, Way};
use crate::adapters::fleet::{Arrival, Mailbox};
use crate::model::Timestamp;
use crate::transport::Conversation;

/// Speaks with one device.
#[derive(Debug)]
pub(crate) struct Ears {
    session: Session,
    switchboard: Switchboard,
    /// The place on the switchboard, once the device has said who it is.
    way: Option<Registration>,
    mailbox: Mailbox<Frame>,
    /// Frames that the adapter has had no room for.
    waiting: VecDeque<Arrival<Frame>>,
    context: Arc<Context>,
    /// Samples that come beside the connection.
    apart: Apart,
    finished: Option<String>,
}

/// What has happened while nothing was heard.
enum Event {
    Time,
    Asked(Option<super::switchboard::Ask>),
    Replaced,
    Room,
    Samples(Piece),
}

impl Ears {
    /// Ears for a connection that was just opened.
    pub(crate) fn new(
        context: Arc<Context>,
        switchboard: Switchboard,
        mailbox: Mailbox<Frame>,
    ) -> Ears {
        Ears {
            session: Session::new(Arc::clone(&context), Instant::now()),
            switchboard,
            way: None,
            mailbox,
            waiting: VecDeque::new(),
            context,
            apart: Apart::default(),
            finished: None,
        }
    }

    /// Takes out what the session has made, and answers what is to be sent.
    fn settle(&mut self) -> Vec<u8> {
        if let Some(device) = self.session.take_identified() {
            // A device that was given another name is another device here.
            self.way = None;
            let peer = &self.context.peer;
            let way = self.switchboard.register(Way::Connection, &device.serial, device.kind, peer);
            if let Some(before) = &way.in_place_of {
                self.tell_of_another(&device.serial, before);
            }
            self.way = Some(way);
        }
        while let Some(wish) = self.session.take_wish() {
            self.grant(wish);
        }
        self.hand_on_frames();
        self.finished = self.finished.take().or_else(|| self.session.take_finished());
        self.session.poll_transmit().unwrap_or_default()
    }

    /// It comes from elsewhere: one that was moved, or another of the same name.
    fn tell_of_another(&self, serial: &str, before: &str) {
        let peer = &*self.context.peer;
        let host = |peer: &str| peer.rsplit_once(':').map(|(host, _)| host.to_owned());
        if host(peer) != host(before) && self.context.told.first(format!("moved {serial}")) {
            tracing::warn!(
                serial,
                peer,
                before,
                "the meter has come by another connection; should that go on and on, two meters have given \
                 themselves the same name"
            );
        }
    }

    /// Takes the datagrams that are there, but not for ever.
    fn take_waiting(&mut self, now: Instant, at: Timestamp) {
        for _ in 0..DATAGRAMS_AT_ONCE {
            let Some(piece) = self.apart.waiting() else { return };
            self.session.piece(&piece, now, at);
        }
    }

    /// Opens and closes sockets for samples.
    fn grant(&mut self, wish: Wish) {
        // A port that is to be opened again has to be free.
        self.apart = Apart::Nowhere;
        match wish {
            Wish::Nothing => {}
            Wish::Port { host, port } => self.apart = Apart::port(host, port),
            Wish::Datagrams { port, device } => {
                let opened = Apart::datagrams(port, device);
                let port = opened.map(|(apart, port)| {
                    self.apart = apart;
                    port
                });
                let port = port.map_err(|error| error.to_string());
                self.session.datagrams_at(port, Instant::now());
            }
        }
    }

    fn hand_on_frames(&mut self) {
        while let Some(frame) = self.session.poll_frame() {
            let at = Timestamp::now();
            self.hand_on(Arrival { link: self.context.link, at, frame: Box::new(frame) });
        }
    }

    fn hand_on(&mut self, arrival: Arrival<Frame>) {
        self.waiting.push_back(arrival);
        self.pass_on();
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.context.metrics.dropped_arrivals.increment();
        }
    }

    /// As many frames as the adapter has room for.
    fn pass_on(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(place) = self.mailbox.try_reserve() else { return };
            if let Some(arrival) = self.waiting.pop_front() {
                place.send(arrival);
            }
        }
    }
}

impl Conversation for Ears {
    async fn received(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (now, at) = (Instant::now(), Timestamp::now());
        // What came before the end of a stream is not lost by it.
        self.take_waiting(now, at);
        self.session.handle_bytes(bytes, now, at);
        self.settle()
    }

    async fn quiet(&mut self) -> Vec<u8> {
        Vec::new()
    }

    async fn speak(&mut self) -> Vec<u8> {
        loop {
            let words = self.settle();
            if !words.is_empty() || self.finished.is_some() {
                return words;
            }
            let until = self.session.poll_timeout();
            let (may_ask, behind) = (self.session.has_room(), !self.waiting.is_empty());
            let event = match &mut self.way {
                Some(way) => tokio::select! {
                    () = sleep_until(until) => Event::Time,
                    ask = way.asks.recv(), if may_ask => Event::Asked(ask),
                    () = way.replaced.cancelled() => Event::Replaced,
                    Ok(_place) = self.mailbox.reserve(), if behind => Event::Room,
                    piece = self.apart.next() => Event::Samples(piece),
                },
                None => {
                    sleep_until(until).await;
                    Event::Time
                }
            };
            let now = Instant::now();
            match event {
                Event::Time => self.session.handle_timeout(now, Timestamp::now()),
                Event::Asked(Some(ask)) => self.session.ask(ask, now),
                // The sender lives on the switchboard as long as this way is in its place.
                Event::Asked(None) | Event::Replaced => {
                    let words = "the meter has come back by another connection".to_owned();
                    self.finished = Some(words);
                }
                Event::Room => self.pass_on(),
                Event::Samples(piece) => {
                    let at = Timestamp::now();
                    self.session.piece(&piece, now, at);
                    self.take_waiting(now, at);
                }
            }
        }
    }

    fn finished(&mut self) -> Option<String> {
        self.finished.take()
    }

    fn farewell(&mut self) -> Vec<u8> {
        self.session.farewell()
    }

    fn read_buffer(&self) -> usize {
        READ_BUFFER
    }
}

impl Drop for Ears {
    /// What was measured last goes the way of all before it.
    fn drop(&mut self) {
        self.session.close();
        self.hand_on_frames();
        self.pass_on();
        self.context.metrics.dropped_arrivals.add(self.waiting.len() as u64);
    }
}

/// Frames of one connection that may wait for the adapter: four minutes of a stream.
const WAITING: usize = 256;
/// A tenth of a second of the fastest stream, at 32 kHz and six channels.
const READ_BUFFER: usize = 64 * 1024;
/// More than there are in a third of a second of the fastest stream.
const DATAGRAMS_AT_ONCE: usize = 512;

#[cfg(test)]
mod tests {
    use meter_protocols::smartmeter::{Command, Kind, Measures, Packet, SampleRequest};
    use tokio::sync::{mpsc, oneshot};

    use super::super::measured::Energy;
    use super::super::session::Told;
    use super::super::settings::Roster;
    use super::super::switchboard::Ask;
    use super::*;
    use crate::adapters::fleet::LinkId;
    use crate::bus::Waveforms;
    use crate::metrics::Metrics;

    const BEGUN: &str = r#"{"error":false,"cmd":"sample","measures":"p,q","chunksize":8,"samplingrate":10,"prefix":true}"#;

    #[tokio::test]
    async fn what_was_measured_last_is_not_lost_with_the_connection() {
        let (mailbox, mut arrivals) = mpsc::channel(16);
        let context = Context {
            link: LinkId(0),
            peer: "192.0.2.7:54321".into(),
            serial_line: false,
            listens: false,
            roster: Roster::new(Vec::new(), Vec::new(), Waveforms::default()),
            waveforms: Waveforms::default(),
            metrics: Metrics::default(),
            told: Told::default(),
        };
        let mut ears = Ears::new(Arc::new(context), Switchboard::default(), mailbox);
        let hello = r#"Info:{"cmd":"info","type":"powermeter","name":"powermeter27"}"#;
        ears.received(format!("{hello}\r\n").as_bytes()).await;
        let request = SampleRequest { measures: Measures::Powers, ..SampleRequest::new(10) };
        let command = Command::sample(&request, Kind::PowerMeter).unwrap();
        let (outcome, _told) = oneshot::channel();
        ears.session.ask(Ask { command, outcome }, Instant::now());
        // The question that was out already.
        ears.received(b"Info:{\"error\":true,\"cmd\":\"getPower\"}\r\n").await;
        let mut bytes = format!("Info:{BEGUN}\r\n").into_bytes();
        for number in 0..5 {
            let payload = [3600_f32, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
            Packet { number, payload }.encode(&mut bytes);
        }
        ears.received(&bytes).await;
        drop(ears);
        let mut last = None;
        while let Ok(arrival) = arrivals.try_recv() {
            last = arrival.frame.now.or(last);
        }
        let measured = last.expect("half a second was measured");
        assert_eq!(measured.whole.active_w, Some(3600.0));
        assert_eq!(
            measured.energy,
            Some(Energy::Flowed { whole_wh: Some((0.5, 0.0)), lines_wh: [None; 3] })
        );
    }
}
