//! Malformed packets at the broker: valid ones of both versions, mutated.
//!
//! `cargo bench --bench broker_fuzz [-- WIRE SOCKET [SEED]]` decodes WIRE of them in this process
//! (10,000,000 without arguments) and sends SOCKET of them (1,000,000) through sockets to the release
//! binary. It ends with an error if anything panicked, if a client beside them was not served all
//! the time, or if the broker's memory grew in the second half of the run.

mod process;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meterbridge::broker::{Probed, probe};
use process::Process;

fn main() {
    let numbers: Vec<u64> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let wire = numbers.first().copied().unwrap_or(10_000_000);
    let socket = numbers.get(1).copied().unwrap_or(1_000_000);
    let seed = numbers.get(2).copied().unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let mut failed = at_the_wire(wire, seed);
    if socket > 0 {
        failed |= through_sockets(socket, seed);
    }
    if failed {
        std::process::exit(1);
    }
}

/// Decodes in this process; answers whether the codec panicked on any.
fn at_the_wire(count: u64, seed: u64) -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let begin = Instant::now();
    let (accepted, refused, panics) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (accepted, refused, panics) = (&accepted, &refused, &panics);
            scope.spawn(move || {
                let mut mutator = Mutator::new(seed + thread);
                for _ in 0..count / THREADS {
                    let (level, packet) = mutator.next();
                    match probe(level, &packet) {
                        Probed::Accepted => accepted.fetch_add(1, Ordering::Relaxed),
                        Probed::Refused => refused.fetch_add(1, Ordering::Relaxed),
                        Probed::Panicked => {
                            println!("level {level}, codec panicked on {packet:02x?}");
                            panics.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let panics = panics.into_inner();
    println!(
        "wire: {} accepted, {} refused, {panics} codec panics, {:.0} s",
        accepted.into_inner(),
        refused.into_inner(),
        begin.elapsed().as_secs_f64()
    );
    panics > 0
}

/// Sends to the release binary; answers whether something was wrong with it.
fn through_sockets(count: u64, seed: u64) -> bool {
    let broker = Broker::start();
    let mut witness = Witness::new(broker.port);
    let begin = Instant::now();
    let (sent, connections) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    let mut half_way = None;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sent, connections) = (&sent, &connections);
            let port = broker.port;
            scope.spawn(move || {
                let mut mutator = Mutator::new(seed + 1_000 + thread);
                while sent.load(Ordering::Relaxed) < count {
                    let number = connections.fetch_add(1, Ordering::Relaxed);
                    sent.fetch_add(converse(port, number, &mut mutator), Ordering::Relaxed);
                }
            });
        }
        while sent.load(Ordering::Relaxed) < count {
            slowest = slowest.max(witness.is_served());
            if sent.load(Ordering::Relaxed) > count / 2 {
                half_way.get_or_insert_with(|| broker.process.memory_mb());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    witness.is_served();
    let end = broker.process.memory_mb();
    let half_way = half_way.unwrap_or(end);
    let (panics, codec) = (
        broker.number("meterbridge_broker_connection_panics_total"),
        broker.number("meterbridge_broker_codec_failures_total"),
    );
    println!(
        "sockets: {} packets on {} connections in {:.0} s; a client beside them waited {:.0} ms at \
         most\n  {panics} connections panicked, the codec {codec} times; memory {half_way:.1} MB half \
         way, {end:.1} MB at the end",
        sent.into_inner(),
        connections.into_inner(),
        begin.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1000.0,
    );
    panics > 0 || codec > 0 || end > half_way * 1.25 + 2.0
}

/// One connection: a valid CONNECT as a rule, then mutated packets until the broker has enough.
/// Answers how many were sent.
fn converse(port: u16, number: u64, mutator: &mut Mutator) -> u64 {
    // A new address each time: a pair of addresses has ports for some thousand connections a minute.
    let address = Ipv4Addr::new(127, 0, (number >> 8) as u8, number as u8 | 1);
    let Ok(mut stream) = TcpStream::connect((address, port)) else { return 0 };
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out is set");
    let (level, first) = mutator.next();
    let mut bytes = if mutator.rng.u8(..) < 250 {
        // Few client ids, so that sessions are taken over and found again.
        connect(level, &format!("fuzz{}", number % 50), 0x02 * u8::from(number.is_multiple_of(3)))
    } else {
        first
    };
    let mut sent = 0;
    while sent < 8 {
        let (other, packet) = mutator.next();
        if other == level {
            bytes.extend(packet);
            sent += 1;
        }
    }
    bytes.extend([0xE0, 0]);
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut rest = [0; 4096];
    while stream.read(&mut rest).is_ok_and(|read| read > 0) {}
    sent
}

/// Makes mutated packets, the same ones from the same seed.
struct Mutator {
    rng: fastrand::Rng,
    corpus: Vec<(u8, Vec<u8>)>,
}

impl Mutator {
    fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), corpus: corpus() }
    }

    /// The protocol level and a packet.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let (level, mut packet) = self.corpus[self.rng.usize(..self.corpus.len())].clone();
        for _ in 0..self.rng.usize(1..5) {
            self.mutate(&mut packet);
        }
        // With its length right a packet gets further.
        if self.rng.u8(..) < 190 && packet.len() > 2 {
            let body = packet.split_off(2);
            packet = frame(packet[0], &body);
        }
        (level, packet)
    }

    fn mutate(&mut self, packet: &mut Vec<u8>) {
        let rng = &mut self.rng;
        if packet.is_empty() {
            packet.push(rng.u8(..));
        }
        // Of some, the head and its type stay as they are.
        let place =
            rng.usize(..packet.len()).max(if rng.bool() { 2.min(packet.len() - 1) } else { 0 });
        match rng.u8(..9) {
            0 => packet[place] ^= 1 << rng.u8(..8),
            1 => packet[place] = rng.u8(..),
            2 => packet[place] = TELLING[rng.usize(..TELLING.len())],
            3 => packet.insert(place, rng.u8(..)),
            4 => drop(packet.remove(place)),
            5 => packet.truncate(place),
            6 => {
                let end = rng.usize(place..=packet.len());
                packet.extend_from_within(place..end);
            }
            7 => packet[place] = packet[place].wrapping_add(1),
            _ => packet.extend((0..rng.usize(..12)).map(|_| rng.u8(..)).collect::<Vec<_>>()),
        }
    }
}

/// Numbers at the edges of MQTT's fields, and the identifiers of its properties.
const TELLING: [u8; 24] = [
    0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0xFF, 0xC0, 0x0B, 0x11, 0x15, 0x1F, 0x21, 0x22, 0x23, 0x26, 0x27,
    b'#', b'+', b'/', b'$', 0xED,
];

fn corpus() -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    for level in [4, 5] {
        let none: &[u8] = if level == 5 { &[0] } else { &[] };
        let user = [&[0x26][..], &text("key"), &text("value")].concat();
        let block = |properties: &[u8]| match level {
            5 => [&[properties.len() as u8], properties].concat(),
            _ => Vec::new(),
        };
        let publish = [
            &[1, 1, 2, 0, 0, 0, 9, 3][..],
            &text("text"),
            &[8],
            &text("answers"),
            &[9],
            &text("id"),
            &[0x23, 0, 1],
            &user,
        ]
        .concat();
        let a = text("sensor/one");
        let mut add = |packet: Vec<u8>| all.push((level, packet));
        add(connect(level, "client", 2));
        let properties = [&[0x11, 0, 0, 0, 9, 0x21, 0, 9, 0x22, 0, 9, 0x17, 1][..], &user].concat();
        let will = [&[0x18, 0, 0, 0, 5, 1, 1][..], &user].concat();
        let body = [
            &text("MQTT")[..],
            &[level, 0xEE, 0, 60],
            &block(&properties),
            &text("client"),
            &block(&will),
            &a,
            &text("gone"),
            &text("user"),
            &text("password"),
        ]
        .concat();
        add(frame(0x10, &body));
        add(frame(0x30, &[&a, none, b"payload"].concat()));
        add(frame(0x33, &[&a[..], &[0, 1], none, b"payload"].concat()));
        add(frame(0x3D, &[&a[..], &[0, 2], &block(&publish)[..], b"payload"].concat()));
        for first in [0x40, 0x50, 0x62, 0x70] {
            add(frame(first, &[0, 1]));
            if level == 5 {
                add(frame(first, &[0, 1, 0x10]));
                let words = [&[0x1F][..], &text("because"), &user].concat();
                add(frame(first, &[&[0, 1, 0x80][..], &block(&words)].concat()));
            }
        }
        let options: u8 = if level == 5 { 0x2D } else { 1 };
        let filters = [&a[..], &[options], &text("sensor/+/#"), &[2]].concat();
        add(frame(0x82, &[&[0, 3], none, &filters].concat()));
        let id = [&[0x0B, 0x80, 0x01][..], &user].concat();
        let shared = [&text("$share/group/sensor/#")[..], &[1]].concat();
        add(frame(0x82, &[&[0, 3][..], &block(&id), &shared].concat()));
        add(frame(0xA2, &[&[0, 4], none, &a, &text("sensor/+/#")].concat()));
        add(vec![0xC0, 0]);
        add(vec![0xE0, 0]);
        if level == 5 {
            let end = [&[0x11, 0, 0, 0, 0, 0x1F][..], &text("bye"), &user].concat();
            add(frame(0xE0, &[&[4][..], &block(&end)].concat()));
            add(frame(
                0xF0,
                &[&[0x18][..], &block(&[&[0x15][..], &text("method")].concat())].concat(),
            ));
        }
    }
    all
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        packet.push((length & 0x7F) as u8 | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn connect(level: u8, id: &str, flags: u8) -> Vec<u8> {
    let properties: &[u8] = if level == 5 { &[5, 0x11, 0, 0, 0, 60] } else { &[] };
    frame(0x10, &[&text("MQTT")[..], &[level, flags, 0, 0], properties, &text(id)].concat())
}

/// A client that must be served all the time.
struct Witness(TcpStream);

impl Witness {
    fn new(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out is set");
        stream.write_all(&connect(4, "witness", 2)).expect("the broker reads");
        stream.read_exact(&mut [0; 4]).expect("CONNACK");
        Self(stream)
    }

    /// How long the broker took to answer.
    fn is_served(&mut self) -> Duration {
        let begin = Instant::now();
        self.0.write_all(&[0xC0, 0]).expect("the broker reads");
        self.0.read_exact(&mut [0; 2]).expect("the broker answers");
        begin.elapsed()
    }
}

/// The release binary.
struct Broker {
    process: Process,
    port: u16,
    web: u16,
}

impl Broker {
    fn start() -> Broker {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let settings =
            ["broker.listen=0.0.0.0:0", "broker.allow_anonymous=true", "web.listen=127.0.0.1:0"];
        let (process, mut log) = Process::gateway(dir, &settings);
        let port = log.address("mqtt broker listens").port();
        let web = log.address("web server listens").port();
        log.drain();
        Broker { process, port, web }
    }

    /// One of the numbers at /metrics.
    fn number(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.web)).expect("the web listens");
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("the web reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("the web answers");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).expect("the number is there")
    }
}

const THREADS: u64 = 2;
