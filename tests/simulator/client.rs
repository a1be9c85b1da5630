//! A client of a meter, and a meter for it.

use std::net::SocketAddr;
use std::time::Duration;

use meterbridge::simulator::{
    SmartDevice, SmartKind, SmartManners, SmartSimulation, SmartSimulator, SmartWays, Watched,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Meters at work, as long as this is kept.
pub(crate) struct Running {
    pub(crate) meters: Vec<Watched<SmartDevice>>,
    pub(crate) commands: Vec<SocketAddr>,
    pub(crate) streams: Vec<SocketAddr>,
    _tasks: JoinSet<()>,
}

pub(crate) fn simulation(kind: SmartKind, meters: u32) -> SmartSimulation {
    SmartSimulation { kind, meters, interval: Duration::from_secs(5), seed: 1, steady: true }
}

/// One meter that listens on loopback.
pub(crate) async fn listening(kind: SmartKind, manners: SmartManners) -> Running {
    let ways = SmartWays { listen: "127.0.0.1:0".parse().ok(), ..SmartWays::default() };
    running(&simulation(kind, 1), ways, manners).await
}

pub(crate) async fn running(
    simulation: &SmartSimulation,
    ways: SmartWays,
    manners: SmartManners,
) -> Running {
    let simulator = SmartSimulator::build(simulation, ways, manners).await.unwrap();
    let (meters, commands, streams) =
        (simulator.meters(), simulator.addresses(), simulator.stream_addresses());
    let mut tasks = JoinSet::new();
    tasks.spawn(simulator.run(CancellationToken::new()));
    Running { meters, commands, streams, _tasks: tasks }
}

impl Running {
    pub(crate) async fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.commands[0]).await.unwrap())
    }

    pub(crate) fn meter(&self) -> &Watched<SmartDevice> {
        &self.meters[0]
    }
}

/// What a meter says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// `{…}`, as text.
    Json(String),
    /// `[X]…`, with the level's letter and what stands behind the time.
    Log(char, String),
    /// Any other line behind `Info:`.
    Text(String),
    Data(u32, Vec<u8>),
    Closed,
}

pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Bytes that were no beginning of anything.
    pub(crate) skipped: usize,
}

impl Client {
    pub(crate) fn new(stream: TcpStream) -> Client {
        Client { stream, buffer: Vec::new(), skipped: 0 }
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next thing that it says.
    pub(crate) async fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.split() {
                return said;
            }
            if !self.fill().await {
                return Said::Closed;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 65_536];
        let read = timeout(Duration::from_secs(20), self.stream.read(&mut bytes)).await;
        match read.unwrap_or_else(|_| panic!("nothing came; there is {:?}", self.text())) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.buffer.extend_from_slice(&bytes[..length]);
                true
            }
        }
    }

    /// So many bytes as they come, of a stream without frames.
    pub(crate) async fn raw(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.fill().await, "closed after {} bytes", self.buffer.len());
        }
        self.buffer.drain(..length).collect()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    fn split(&mut self) -> Option<Said> {
        while self.buffer.len() >= 5
            && !self.buffer.starts_with(b"Info:")
            && !self.buffer.starts_with(b"Data:")
        {
            self.buffer.remove(0);
            self.skipped += 1;
        }
        if self.buffer.starts_with(b"Data:") {
            let head = self.buffer.get(5..11)?;
            let length = usize::from(u16::from_le_bytes([head[0], head[1]]));
            let number = u32::from_le_bytes([head[2], head[3], head[4], head[5]]);
            let payload = self.buffer.get(11..11 + length)?.to_vec();
            self.buffer.drain(..11 + length);
            return Some(Said::Data(number, payload));
        }
        let end = self.buffer.windows(2).position(|two| two == b"\r\n");
        let is_log = self.buffer.starts_with(b"Info:[");
        // A log line that was too long has lost its end.
        let (line, length) = match end {
            _ if is_log && self.buffer.len() >= 529 && end.is_none_or(|end| end >= 529) => {
                (529, 529)
            }
            Some(end) => (end, end + 2),
            None => return None,
        };
        let text = String::from_utf8_lossy(&self.buffer[5..line]).into_owned();
        self.buffer.drain(..length);
        Some(match text.as_bytes().first() {
            Some(b'{') => Said::Json(text),
            Some(b'[') => {
                let letter = text.chars().nth(1).unwrap_or(' ');
                Said::Log(letter, text.get(19..).unwrap_or_default().to_owned())
            }
            _ => Said::Text(text),
        })
    }

    /// The next reply, stepping over log lines and data.
    pub(crate) async fn reply(&mut self) -> Value {
        loop {
            match self.next().await {
                Said::Json(text) => return serde_json::from_str(&text).unwrap(),
                Said::Closed => panic!("closed"),
                _ => {}
            }
        }
    }

    pub(crate) async fn ask(&mut self, line: &str) -> Value {
        self.send(line).await;
        self.reply().await
    }

    /// The next packet, stepping over lines.
    pub(crate) async fn packet(&mut self) -> (u32, Vec<u8>) {
        loop {
            match self.next().await {
                Said::Data(number, payload) => return (number, payload),
                Said::Closed => panic!("closed"),
                _ => {}
            }
        }
    }
}

/// Shape (samples, channels) of a payload.
pub(crate) fn samples(bytes: &[u8], channels: usize) -> Vec<Vec<f64>> {
    let float = |four: &[u8]| f64::from(f32::from_le_bytes(four.try_into().unwrap()));
    bytes.chunks(4 * channels).map(|row| row.chunks(4).map(float).collect()).collect()
}

pub(crate) fn rms(rows: &[Vec<f64>], channel: usize) -> f64 {
    let sum: f64 = rows.iter().map(|row| row[channel] * row[channel]).sum();
    (sum / rows.len() as f64).sqrt()
}

/// Mean of V × mA, in W.
pub(crate) fn power(rows: &[Vec<f64>], voltage: usize, current: usize) -> f64 {
    let sum: f64 = rows.iter().map(|row| row[voltage] * row[current]).sum();
    sum / rows.len() as f64 / 1000.0
}
