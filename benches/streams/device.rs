//! A meter that dials in and sends samples, as cheaply as can be.

use std::f64::consts::{PI, SQRT_2};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Which meter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 8 kHz, voltage and current of three lines.
    SmartMeter,
    /// 2 kHz, voltage and current.
    PowerMeter,
}

/// A meter that has dialled in.
pub(crate) struct Device {
    kind: Kind,
    /// Whoever sends has it whole: nothing gets into the middle of a packet.
    stream: Arc<Mutex<TcpStream>>,
    sampling: Arc<AtomicBool>,
    /// The network stands still.
    stalled: Arc<AtomicBool>,
    /// Whole cycles of samples, and a packet more, so that a packet is always one piece of it.
    table: Vec<u8>,
    cycle: usize,
    packet: Vec<u8>,
    packets: u64,
}

impl Kind {
    pub(crate) fn name(self, number: usize) -> String {
        match self {
            Kind::SmartMeter => format!("smartmeter{number:03}"),
            Kind::PowerMeter => format!("powermeter{number:02}"),
        }
    }

    pub(crate) fn rate(self) -> u64 {
        match self {
            Kind::SmartMeter => 8000,
            Kind::PowerMeter => 2000,
        }
    }

    fn lines(self) -> usize {
        match self {
            Kind::SmartMeter => 3,
            Kind::PowerMeter => 1,
        }
    }

    fn frame_bytes(self) -> usize {
        self.lines() * 8
    }

    /// Frames in a packet of at most 1024 bytes.
    fn packet_frames(self) -> usize {
        1024 / self.frame_bytes()
    }

    fn info(self, number: usize, state: &str) -> String {
        let (kind, version) = match self {
            Kind::SmartMeter => ("smartmeter", "2.2"),
            Kind::PowerMeter => ("powermeter", "2.3"),
        };
        let name = self.name(number);
        format!(
            "Info:{{\"cmd\":\"info\",\"type\":\"{kind}\",\"version\":\"{version}\",\
             \"name\":\"{name}\",\"ip\":\"127.0.0.1\",\"rtc\":true,\"state\":\"{state}\"}}\r\n"
        )
    }

    fn sample_reply(self) -> String {
        let (measures, unit) = match self {
            Kind::SmartMeter => ("v,i,v,i,v,i", "V,mA,V,mA,V,mA"),
            Kind::PowerMeter => ("v,i", "V,mA"),
        };
        let chunk = self.packet_frames() * self.frame_bytes();
        format!(
            "Info:{{\"error\":false,\"cmd\":\"sample\",\"measures\":\"{measures}\",\
             \"chunksize\":{chunk},\"samplingrate\":{},\"conn_type\":\"TCP\",\
             \"measurements\":{},\"prefix\":true,\"flowCtr\":false,\"unit\":\"{unit}\",\
             \"startTs\":\"0.000\"}}\r\n",
            self.rate(),
            self.lines() * 2,
        )
    }

    /// Frame `n`: 230 V and 4 A, with harmonics, each line a third of a cycle behind.
    fn frame(self, n: usize) -> Vec<u8> {
        let w = 2.0 * PI * 50.0 * n as f64 / self.rate() as f64;
        let samples = (0..self.lines()).flat_map(|line| {
            let w = w - 2.0 * PI / 3.0 * line as f64;
            let x = w - 12.0_f64.to_radians();
            let current = x.sin() + 0.2 * (3.0 * x).sin();
            [SQRT_2 * 230.0 * w.sin(), SQRT_2 * 4000.0 * current]
        });
        samples.flat_map(|sample| (sample as f32).to_le_bytes()).collect()
    }
}

impl Device {
    /// Dials in, and answers what is asked from then on.
    pub(crate) fn dial(gateway: SocketAddr, kind: Kind, number: usize) -> Device {
        let mut stream = TcpStream::connect(gateway).expect("the gateway takes meters");
        stream.set_nodelay(true).expect("small packets go at once");
        stream.write_all(kind.info(number, "idle").as_bytes()).expect("the gateway reads");
        let sampling = Arc::new(AtomicBool::new(false));
        let own = stream.try_clone().expect("a second handle");
        let stream = Arc::new(Mutex::new(stream));
        let (replies, flag) = (Arc::clone(&stream), Arc::clone(&sampling));
        let stalled = Arc::new(AtomicBool::new(false));
        let still = Arc::clone(&stalled);
        std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || obey(own, &replies, kind, number, (&flag, &still)))
            .expect("a thread for each meter");
        let cycle = kind.rate() as usize / 50;
        let frames = cycle + kind.packet_frames();
        let table = (0..frames).flat_map(|n| kind.frame(n)).collect();
        Device { kind, stream, sampling, stalled, table, cycle, packet: Vec::new(), packets: 0 }
    }

    pub(crate) fn is_sampling(&self) -> bool {
        self.sampling.load(Ordering::Acquire)
    }

    /// The network stands still, or not any more.
    pub(crate) fn stall(&self, still: bool) {
        self.stalled.store(still, Ordering::Release);
    }

    /// Sends every packet that is due `passed` after the start, each by itself. Returns how long the last
    /// to wait for room has waited.
    pub(crate) fn send(&mut self, passed: Duration) -> Duration {
        let frames = self.kind.packet_frames() as f64;
        // A packet leaves when the next one has begun.
        let due = (passed.as_secs_f64() * self.kind.rate() as f64 / frames) as u64;
        let mut worst = Duration::ZERO;
        while self.packets + 1 < due {
            let length = self.kind.packet_frames() * self.kind.frame_bytes();
            let first = self.packets as usize * self.kind.packet_frames() % self.cycle;
            let begin = first * self.kind.frame_bytes();
            self.packet.clear();
            self.packet.extend_from_slice(b"Data:");
            self.packet.extend_from_slice(&(length as u16).to_le_bytes());
            self.packet.extend_from_slice(&(self.packets as u32).to_le_bytes());
            self.packet.extend_from_slice(&self.table[begin..begin + length]);
            let now = Instant::now();
            let mut stream = self.stream.lock().expect("nobody panics with it");
            stream.write_all(&self.packet).expect("the gateway reads");
            drop(stream);
            worst = worst.max(now.elapsed());
            self.packets += 1;
        }
        worst
    }

    /// Packets and frames sent.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.packets, self.packets * self.kind.packet_frames() as u64)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.packets * (11 + self.kind.packet_frames() * self.kind.frame_bytes()) as u64
    }
}

/// Answers what the gateway asks.
fn obey(
    stream: TcpStream,
    replies: &Mutex<TcpStream>,
    kind: Kind,
    number: usize,
    (sampling, stalled): (&AtomicBool, &AtomicBool),
) {
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let state = if sampling.load(Ordering::Acquire) { "busy" } else { "idle" };
        let reply = if line.starts_with('!') {
            continue;
        } else if line.starts_with('?') {
            "Info:Setup done\r\n".to_owned()
        } else if line.contains("\"sample\"") {
            kind.sample_reply()
        } else if line.contains("\"info\"") {
            kind.info(number, state) + "Info:{\"error\":false}\r\n"
        } else {
            let name = line.split('"').nth(3).unwrap_or_default();
            format!("Info:{{\"error\":true,\"cmd\":\"{name}\",\"msg\":\"not in this bench\"}}\r\n")
        };
        while stalled.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut replies = replies.lock().expect("nobody panics with it");
        if replies.write_all(reply.as_bytes()).is_err() {
            return;
        }
        drop(replies);
        // The stream begins behind the reply.
        if line.contains("\"sample\"") {
            sampling.store(true, Ordering::Release);
        }
    }
}
