//! The broker beside mosquitto: the same load on both, in turns, on the same machine.
//!
//! `cargo bench --bench broker [-- ROUNDS]` runs the release binary and mosquitto as processes of
//! their own. Payloads of 64 bytes over 1,000 topics, unthrottled, by one pair of clients and by
//! four; then memory: at rest, with 50,000 retained messages, and after a flood. Load and brokers
//! share the machine, so ratios count, and the median of the rounds is shown. Without mosquitto on
//! the machine only ours is measured.

mod process;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use process::Process;

/// One load. Messages are in all, shared by the pairs.
struct Load {
    name: &'static str,
    pairs: usize,
    qos: u8,
    messages: usize,
}

const LOADS: [Load; 4] = [
    Load { name: "QoS 0, 1 -> 1", pairs: 1, qos: 0, messages: 1_600_000 },
    Load { name: "QoS 0, 4 -> 4", pairs: 4, qos: 0, messages: 1_600_000 },
    Load { name: "QoS 1, 1 -> 1", pairs: 1, qos: 1, messages: 400_000 },
    Load { name: "QoS 1, 4 -> 4", pairs: 4, qos: 1, messages: 400_000 },
];
const TOPICS: usize = 1_000;
const PAYLOAD: [u8; 64] = [b'x'; 64];
/// QoS 1 messages a publisher has open at most. Packet ids are the numbers of the topics.
const WINDOW: usize = 500;
/// Sent with one write.
const CHUNK: usize = 100;
const RETAINED: usize = 50_000;
/// Nothing has come for so long: what is missing is lost.
const SILENCE: Duration = Duration::from_secs(5);

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(3);
    let peer = Command::new("mosquitto").arg("-h").output().is_ok();
    if !peer {
        println!("mosquitto is not installed: nothing to compare with");
    }
    println!(
        "{:16} {:>12} {:>6} {:>12} {:>6} {:>7}",
        "", "ours /s", "lost", "mosquitto /s", "lost", "ratio"
    );
    for load in &LOADS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(run(load, &Broker::ours()));
            if peer {
                theirs.push(run(load, &Broker::mosquitto()));
            }
        }
        let ((rate, lost), (peer_rate, peer_lost)) = (median(ours), median(theirs));
        let ratio = rate / peer_rate;
        println!(
            "{:16} {rate:>12.0} {lost:>6} {peer_rate:>12.0} {peer_lost:>6} {ratio:>7.2}",
            load.name
        );
    }
    memory("ours", Broker::ours);
    if peer {
        memory("mosquitto", Broker::mosquitto);
    }
}

/// The rate in the middle, and all that was lost.
fn median(mut results: Vec<(f64, usize)>) -> (f64, usize) {
    results.sort_by(|one, other| one.0.total_cmp(&other.0));
    let lost = results.iter().map(|result| result.1).sum();
    (results.get(results.len() / 2).map_or(f64::NAN, |result| result.0), lost)
}

fn memory(name: &str, start: fn() -> Broker) {
    let broker = start();
    let idle = broker.process.memory_mb();
    let mut client = connect(broker.port, "retainer");
    for number in 0..RETAINED {
        let topic = format!("/sensor/{number:032}/gauge");
        client.write_all(&publish(&topic, 0, 0, true)).expect("the broker reads");
    }
    // Its answer shows that all before it has been dealt with.
    client.write_all(&[0xC0, 0]).expect("the broker reads");
    client.read_exact(&mut [0; 2]).expect("PINGRESP");
    let retained = broker.process.memory_mb();
    drop((client, broker));
    let broker = start();
    run(&LOADS[1], &broker);
    let at_once = broker.process.memory_mb();
    std::thread::sleep(Duration::from_secs(5));
    println!(
        "{name}: {idle:.1} MB at rest, {retained:.1} MB with {RETAINED} retained, after a flood \
         {at_once:.1} MB and 5 s later {:.1} MB",
        broker.process.memory_mb()
    );
}

/// Messages per second from the first published to the last received, and how many never came.
fn run(load: &Load, broker: &Broker) -> (f64, usize) {
    let each = load.messages / load.pairs;
    let subscribers: Vec<TcpStream> =
        (0..load.pairs).map(|pair| subscribe(broker.port, pair, load.qos)).collect();
    let publishers: Vec<TcpStream> =
        (0..load.pairs).map(|pair| connect(broker.port, &format!("pub{pair}"))).collect();
    let begin = Instant::now();
    let (received, end) = std::thread::scope(|scope| {
        let receiving: Vec<_> = subscribers
            .into_iter()
            .map(|stream| scope.spawn(move || receive(stream, each, load.qos)))
            .collect();
        for (pair, stream) in publishers.into_iter().enumerate() {
            scope.spawn(move || send(stream, pair, each, load.qos));
        }
        let results = receiving.into_iter().map(|thread| thread.join().expect("no panic"));
        results.fold((0, begin), |(sum, end), (count, last)| (sum + count, end.max(last)))
    });
    let rate = received as f64 / end.duration_since(begin).as_secs_f64();
    (rate, load.messages - received)
}

fn send(mut stream: TcpStream, pair: usize, count: usize, qos: u8) {
    let packets: Vec<Vec<u8>> = (0..TOPICS)
        .map(|number| publish(&topic(pair, number), qos, number as u16 + 1, false))
        .collect();
    let chunks: Vec<Vec<u8>> = packets.chunks(CHUNK).map(|chunk| chunk.concat()).collect();
    let (mut open, mut answers) = (0, [0; 4 * WINDOW]);
    let mut held = 0;
    for chunk in chunks.iter().cycle().take(count / CHUNK) {
        stream.write_all(chunk).expect("the broker reads");
        open += CHUNK;
        while qos == 1 && open + CHUNK > WINDOW {
            let read = stream.read(&mut answers).expect("the broker answers");
            assert_ne!(read, 0, "the broker closed the connection");
            // Every answer is a PUBACK of four bytes.
            open -= (held + read) / 4;
            held = (held + read) % 4;
        }
    }
    // Closing with answers unread would reset the connection, and what was sent with it.
    stream.write_all(&[0xE0, 0]).expect("the broker reads");
    while stream.read(&mut answers).is_ok_and(|read| read > 0) {}
}

/// Counts until all has come, or nothing comes any more.
fn receive(mut stream: TcpStream, count: usize, qos: u8) -> (usize, Instant) {
    stream.set_read_timeout(Some(SILENCE)).expect("a time-out is set");
    let (mut buffer, mut held) = (vec![0; 256 * 1024], 0);
    let (mut received, mut last) = (0, Instant::now());
    let mut answers = Vec::new();
    while received < count {
        let read = match stream.read(&mut buffer[held..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        last = Instant::now();
        let (mut begin, end) = (0, held + read);
        // All packets here are shorter than 128 bytes, so that their length takes one byte.
        while begin + 2 <= end && begin + 2 + usize::from(buffer[begin + 1]) <= end {
            let packet = &buffer[begin..begin + 2 + usize::from(buffer[begin + 1])];
            received += usize::from(packet[0] >> 4 == 3);
            if qos == 1 {
                let id = 4 + usize::from(packet[3]);
                answers.extend([0x40, 2, packet[id], packet[id + 1]]);
            }
            begin += packet.len();
        }
        buffer.copy_within(begin..end, 0);
        held = end - begin;
        if !answers.is_empty() {
            stream.write_all(&answers).expect("the broker reads");
            answers.clear();
        }
    }
    (received, last)
}

fn topic(pair: usize, number: usize) -> String {
    format!("load/{pair}/{number:03}/gauge")
}

fn publish(topic: &str, qos: u8, id: u16, retain: bool) -> Vec<u8> {
    let id = if qos == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
    let length = [(2 + topic.len() + id.len() + PAYLOAD.len()) as u8];
    let first = [0x30 | (qos << 1) | u8::from(retain)];
    let topic_length = (topic.len() as u16).to_be_bytes();
    [&first, &length[..], &topic_length, topic.as_bytes(), &id, &PAYLOAD].concat()
}

fn connect(port: u16, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the broker listens");
    stream.set_nodelay(true).expect("an option is set");
    let length = [12 + id.len() as u8];
    let begin = b"\x00\x04MQTT\x04\x02\x00\x00\x00";
    let packet = [&[0x10], &length[..], begin, &[id.len() as u8], id.as_bytes()].concat();
    stream.write_all(&packet).expect("the broker reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("CONNACK");
    assert_eq!(answer, [0x20, 2, 0, 0]);
    stream
}

fn subscribe(port: u16, pair: usize, qos: u8) -> TcpStream {
    let mut stream = connect(port, &format!("sub{pair}"));
    let filter = format!("load/{pair}/#");
    let length = filter.len() as u8;
    let packet = [&[0x82, length + 5, 0, 1, 0, length], filter.as_bytes(), &[qos]].concat();
    stream.write_all(&packet).expect("the broker reads");
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).expect("SUBACK");
    assert_eq!(answer, [0x90, 3, 0, 1, qos]);
    stream
}

/// A broker's process.
struct Broker {
    process: Process,
    port: u16,
}

impl Broker {
    fn ours() -> Broker {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let settings = ["broker.listen=127.0.0.1:0", "web.listen=127.0.0.1:0"];
        let (process, mut log) = Process::gateway(dir, &settings);
        let port = log.address("mqtt broker listens").port();
        log.drain();
        Broker { process, port }
    }

    /// As it comes, except that it may queue and send without limit: it would lose messages
    /// otherwise, and wait for each round trip after twenty.
    fn mosquitto() -> Broker {
        let (dir, port) = (tempfile::tempdir().expect("a scratch directory"), free_port());
        let config = dir.path().join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             max_queued_messages 0\nmax_inflight_messages 0\nuser root\n"
        );
        std::fs::write(&config, text).expect("the scratch directory is writable");
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(&mut command, dir);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < SILENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Broker { process, port }
    }
}

/// A port below those that the system hands out for outgoing connections.
fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(15_000..30_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of a thousand ports is free")
}
