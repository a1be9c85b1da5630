//! What simulated lines say, byte by byte and at which time.

use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::{Decoder, Format, Frame, Packet};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::line::Line;
use super::{Direction, Heard, Manners, PASSWORD, SimulatedMeter, Simulation, Watched};

mod ecm;
mod gem;
mod manners;
mod running;

/// A line under test, with a clock of its own.
struct Bench {
    line: Line,
    meters: Vec<SimulatedMeter>,
    heard: Watched<Heard>,
    now: Instant,
}

impl Bench {
    fn new(format: Format, meters: u32, manners: Manners) -> Bench {
        let interval = Duration::from_secs(5);
        let simulation = Simulation { format, meters, interval, seed: 1 };
        let poked = Arc::new(Notify::new());
        let meters = super::meters(&simulation, &manners, false, &poked);
        let (heard, now) = (Watched::new(Heard::default(), poked), Instant::now());
        let line = Line::new(meters.clone(), manners, heard.clone(), now);
        Bench { line, meters, heard, now }
    }

    /// A GEM that sends nothing by itself.
    fn quiet_gem() -> Bench {
        let mut bench = Bench::new(Format::Bin48NetTime, 1, Manners::default());
        bench.meters[0].change(|state| state.real_time = false);
        assert_eq!(bench.written(), b"");
        bench
    }

    /// What leaves now.
    fn written(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(more) = self.line.transmit(self.now) {
            bytes.extend(more);
        }
        bytes
    }

    /// What is answered at once.
    fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.line.received(bytes, self.now);
        self.written()
    }

    fn ask(&mut self, command: &str) -> String {
        String::from_utf8(self.say(command.as_bytes())).unwrap()
    }

    /// Lets time pass, stopping wherever the line wants to do something; what leaves meanwhile.
    fn wait(&mut self, time: Duration) -> Vec<u8> {
        let end = self.now + time;
        let mut bytes = self.written();
        while let Some(at) = self.line.deadline().filter(|at| *at <= end) {
            assert!(at > self.now, "it would spin");
            self.now = at;
            if self.line.is_over(at) {
                break;
            }
            bytes.extend(self.written());
        }
        self.now = end;
        bytes
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The packets in `bytes`, and all that is between them.
fn taken_apart(bytes: &[u8]) -> (Vec<Packet>, Vec<u8>) {
    let mut decoder = Decoder::new();
    decoder.keep_between(4096);
    decoder.push(bytes);
    decoder.idle();
    let mut packets = Vec::new();
    while let Some(frame) = decoder.next_frame() {
        if let Ok(Frame::Packet(packet)) = frame {
            packets.push(packet);
        }
    }
    (packets, decoder.take_between())
}
