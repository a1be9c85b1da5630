//! The whole gateway under load: packets into its listening port, messages out of its broker.
//!
//! `cargo bench --bench gateway [-- SCENARIO…]` runs the release binary as a process of its own,
//! dials it as that many meters, subscribes to `#` with a client that only counts, and prints what
//! arrived, how late, and what the gateway took of processor and memory. Load, gateway and client
//! share the machine.

mod loaded;
mod process;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loaded::{Usage, message};
use meter_protocols::brultech::{Format, Packet};
use meterbridge::model::{Channel, Make, Quantity, SensorId};
use process::Process;

/// One load.
struct Scenario {
    name: &'static str,
    meters: u16,
    /// Packets of each meter.
    packets: u64,
    /// Time between two packets of a meter; `None`: as fast as they are delivered.
    interval: Option<Duration>,
}

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "flood", meters: 100, packets: 400, interval: None },
    Scenario { name: "hundred", meters: 100, packets: 60, interval: Some(Duration::from_secs(1)) },
    Scenario {
        name: "thousand",
        meters: 1000,
        packets: 30,
        interval: Some(Duration::from_secs(1)),
    },
];
/// Packets under way in a flood.
const WINDOW: u64 = 300;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for scenario in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|name| name == scenario.name) {
            run(&scenario);
        }
    }
}

fn run(scenario: &Scenario) {
    let gateway = Gateway::start();
    let count = Arc::new(Count::default());
    let counter_ids: HashMap<[u8; 32], u16> =
        (0..scenario.meters).map(|meter| (counter_id(meter), meter)).collect();
    let subscriber = subscribe(&gateway.broker);
    let idle = Usage::of(&gateway.process);

    let begin = Instant::now();
    let listening = {
        let (count, total) = (Arc::clone(&count), u64::from(scenario.meters) * scenario.packets);
        std::thread::spawn(move || listen(subscriber, &counter_ids, &count, total))
    };
    let sent = send(scenario, &gateway.meters, &count);
    let mut received = listening.join().expect("the subscriber does not panic");
    let elapsed = begin.elapsed();
    let usage = Usage::of(&gateway.process);

    let packets = u64::from(scenario.meters) * scenario.packets;
    let mut late: Vec<u64> = received
        .arrivals
        .drain(..)
        .filter_map(|(meter, sequence, at)| {
            let sent = sent.get(usize::from(meter))?.get(sequence as usize)?;
            Some(at.saturating_duration_since(*sent).as_micros() as u64)
        })
        .collect();
    late.sort_unstable();
    let at = |share: f64| {
        let place = (late.len() as f64 * share) as usize;
        late.get(place.min(late.len().saturating_sub(1))).copied().unwrap_or(0) as f64 / 1000.0
    };
    println!(
        "{}: {} meters, {packets} packets in {:.1} s = {:.0} packets/s\n  \
         packets delivered {} of {packets}, messages {} = {:.0}/s\n  \
         byte to subscriber: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms\n  \
         gateway: {:.0} % of one core, {:.1} MB (idle {:.1} MB)",
        scenario.name,
        scenario.meters,
        elapsed.as_secs_f64(),
        packets as f64 / elapsed.as_secs_f64(),
        received.packets,
        received.messages,
        received.messages as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
        (usage.cpu - idle.cpu).as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        usage.memory_mb,
        idle.memory_mb,
    );
}

/// Sends all packets; returns when each was sent, by meter and sequence.
fn send(scenario: &Scenario, address: &str, count: &Count) -> Vec<Vec<Instant>> {
    let mut links: Vec<TcpStream> = (0..scenario.meters)
        .map(|_| TcpStream::connect(address).expect("the gateway takes meters"))
        .collect();
    let mut packets: Vec<Packet> = (0..scenario.meters).map(first_packet).collect();
    let mut sent = vec![Vec::new(); usize::from(scenario.meters)];
    let mut bytes = Vec::new();
    let begin = Instant::now();
    for sequence in 0..scenario.packets {
        for meter in 0..usize::from(scenario.meters) {
            wait_for_turn(scenario, begin, sequence, meter, count);
            bytes.clear();
            advance(&mut packets[meter], sequence);
            packets[meter].encode(&mut bytes);
            sent[meter].push(Instant::now());
            links[meter].write_all(&bytes).expect("the gateway reads");
        }
    }
    sent
}

fn wait_for_turn(scenario: &Scenario, begin: Instant, sequence: u64, meter: usize, count: &Count) {
    match scenario.interval {
        Some(interval) => {
            let phase = meter as f64 / f64::from(scenario.meters);
            let due = begin + interval.mul_f64(sequence as f64 + phase);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        None => {
            let number = sequence * u64::from(scenario.meters) + meter as u64;
            while number >= count.packets.load(Ordering::Relaxed) + WINDOW {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
}

fn first_packet(meter: u16) -> Packet {
    let mut packet = Packet::new(Format::Bin48NetTime);
    packet.unit_id = 1;
    packet.serial_number = 100 + meter;
    packet.voltage = 1215;
    packet.temperatures = [0x0200; 8];
    packet.temperatures[0] = 42;
    packet.current = [50; 48];
    packet
}

/// Channel 1 counts a watt-hour a packet, so that its counter is the packet's number.
fn advance(packet: &mut Packet, sequence: u64) {
    packet.seconds = 1000 + sequence as u32;
    packet.absolute_watt_seconds[0] = sequence * 3600;
    for (channel, counter) in packet.absolute_watt_seconds.iter_mut().enumerate().skip(1) {
        *counter += 700 + channel as u64 * 37;
    }
}

fn counter_id(meter: u16) -> [u8; 32] {
    let serial = format!("001{:05}", 100 + meter);
    let id = SensorId::derive(Make::Brultech, &serial, Channel::Ch(1), Quantity::PPlus);
    id.to_string().as_bytes().try_into().expect("an id has 32 digits")
}

/// What the subscriber has seen so far.
#[derive(Default)]
struct Count {
    packets: AtomicU64,
}

struct Received {
    messages: u64,
    packets: u64,
    arrivals: Vec<(u16, u64, Instant)>,
}

fn subscribe(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    // CONNECT 3.1.1, clean session, no keep-alive, client id "load"; SUBSCRIBE 1 to "#" at QoS 0.
    stream
        .write_all(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x00\x00\x04load\x82\x06\x00\x01\x00\x01#\x00")
        .expect("the broker reads");
    let mut acknowledged = [0; 9];
    stream.read_exact(&mut acknowledged).expect("CONNACK and SUBACK");
    assert_eq!(acknowledged, *b"\x20\x02\x00\x00\x90\x03\x00\x01\x00");
    stream
}

/// Counts until every packet has been seen, or nothing has come for ten seconds.
fn listen(
    mut stream: TcpStream,
    counter_ids: &HashMap<[u8; 32], u16>,
    count: &Count,
    packets: u64,
) -> Received {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out is set");
    let mut received = Received { messages: 0, packets: 0, arrivals: Vec::new() };
    // The largest message tells of all meters at once.
    let (mut buffer, mut held) = (vec![0; 1 << 24], 0);
    while received.packets < packets {
        let read = match stream.read(&mut buffer[held..]) {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let (now, end) = (Instant::now(), held + read);
        let mut begin = 0;
        while let Some((topic, payload, next)) = message(&buffer[begin..end]) {
            received.messages += 1;
            if topic.ends_with(b"/state/channels") {
                received.packets += 1;
            } else if let Some(sequence) = sequence(topic, payload, counter_ids) {
                received.arrivals.push((sequence.0, sequence.1, now));
            }
            begin += next;
        }
        buffer.copy_within(begin..end, 0);
        held = end - begin;
        count.packets.store(received.packets, Ordering::Relaxed);
    }
    received
}

fn sequence(
    topic: &[u8],
    payload: &[u8],
    counter_ids: &HashMap<[u8; 32], u16>,
) -> Option<(u16, u64)> {
    let id: [u8; 32] = topic.strip_suffix(b"/counter")?.get(8..)?.try_into().ok()?;
    let meter = *counter_ids.get(&id)?;
    let value = std::str::from_utf8(payload).ok()?.split(',').nth(1)?.parse().ok()?;
    Some((meter, value))
}

/// The gateway's process.
struct Gateway {
    process: Process,
    broker: String,
    meters: String,
}

impl Gateway {
    fn start() -> Gateway {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = dir.path().join("config.yaml");
        let text = "broker: {listen: 127.0.0.1:0}\nweb: {listen: 127.0.0.1:0}\n\
             meters:\n  - {name: load, kind: brultech, link: {listen: 127.0.0.1:0}}\n";
        std::fs::write(&config, text).expect("the scratch directory is writable");
        let (process, mut log) = Process::gateway(dir, &[]);
        let broker = log.address("mqtt broker listens").to_string();
        let meters = log.address("meters may dial in").to_string();
        log.drain();
        Gateway { process, broker, meters }
    }
}
