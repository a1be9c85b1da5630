//! How fast the decoders are: packets and megabytes a second for each format, on one core.
//!
//! `cargo bench -p meter-protocols` measures; without `--bench`, as under `cargo test`, each
//! measurement is only made once, to see that it works.

use std::hint::black_box;
use std::time::{Duration, Instant};

use meter_protocols::brultech::{Decoder, Format, Frame, Packet};
use meter_protocols::smartmeter;

fn main() {
    let budget = if std::env::args().any(|argument| argument == "--bench") {
        Duration::from_millis(700)
    } else {
        Duration::ZERO
    };
    println!("{:<34} {:>14} {:>10} {:>10}", "brultech", "packets/s", "MB/s", "ns/packet");
    for format in Format::ALL {
        let stream = stream(format, BATCH);
        measure(format.name(), &stream, 64 * 1024, BATCH, budget);
    }
    let one_by_one = stream(Format::Bin48NetTime, BATCH);
    measure(
        "BIN48-NET-TIME, one a push",
        &one_by_one,
        Format::Bin48NetTime.length(),
        BATCH,
        budget,
    );
    measure("BIN48-NET-TIME, 100 bytes a push", &one_by_one, 100, BATCH, budget);
    measure("noise, no packets", &noise(1 << 20), 64 * 1024, 0, budget);
    measure("half requests, no packets", &b"GET ".repeat(250_000), 64 * 1024, 0, budget);
    measure("false headers, no packets", &[0xFE, 0xFF, 0x05].repeat(350_000), 64 * 1024, 0, budget);
    smartmeter(budget);
}

/// Packets of three lines, 1008 bytes of samples each, as at 1 kHz and above.
fn smartmeter(budget: Duration) {
    println!("{:<34} {:>14} {:>10} {:>10}", "smartmeter", "packets/s", "MB/s", "ns/packet");
    let (mut framed, mut cut) = (Vec::new(), Vec::new());
    for number in 0..BATCH as u32 {
        let payload = waves(number);
        let begin = framed.len();
        smartmeter::Packet { number, payload }.encode(&mut framed);
        // Every tenth lacks its second half.
        let end = if number % 10 == 5 { begin + 500 } else { framed.len() };
        cut.extend_from_slice(&framed[begin..end]);
    }
    let lost = BATCH / 10;
    stream_of_samples("three lines, framed", &framed, 64 * 1024, BATCH, budget);
    stream_of_samples("three lines, 1460 bytes a push", &framed, 1460, BATCH, budget);
    stream_of_samples("every tenth packet cut short", &cut, 64 * 1024, BATCH - lost, budget);
    stream_of_samples("noise, no packets", &noise(1 << 20), 64 * 1024, 0, budget);
    stream_of_samples(
        "half prefixes, no packets",
        &b"Data: ".repeat(170_000),
        64 * 1024,
        0,
        budget,
    );
}

/// 42 samples of three voltages and currents, in a wave.
fn waves(packet: u32) -> Vec<u8> {
    let sample = |n: u32| {
        let angle = f64::from(packet * 42 + n) * std::f64::consts::TAU / 160.0;
        [0.0, -2.1, 2.1].map(|shift| [325.0 * (angle + shift).sin(), 900.0 * (angle + shift).cos()])
    };
    let values = (0..42).flat_map(|n| sample(n).concat());
    values.flat_map(|value| (value as f32).to_le_bytes()).collect()
}

fn stream_of_samples(name: &str, stream: &[u8], chunk: usize, expected: usize, budget: Duration) {
    let begun = Instant::now();
    let mut rounds = 0_u32;
    while rounds == 0 || begun.elapsed() < budget {
        let mut decoder = smartmeter::Decoder::new();
        decoder.expect_frames(24);
        let mut packets = 0;
        for bytes in stream.chunks(chunk) {
            decoder.push(black_box(bytes));
            while let Some(frame) = decoder.next_frame() {
                if let Ok(smartmeter::Frame::Data(packet)) = &frame {
                    packets += 1;
                    black_box(packet);
                }
            }
        }
        assert_eq!(packets, expected, "{name}");
        rounds += 1;
    }
    tell(name, stream.len(), expected, rounds, begun.elapsed());
}

/// Decodes `stream` in pushes of `chunk` bytes, over and over for `budget`, and prints the rate.
fn measure(name: &str, stream: &[u8], chunk: usize, expected: usize, budget: Duration) {
    let begun = Instant::now();
    let mut rounds = 0_u32;
    while rounds == 0 || begun.elapsed() < budget {
        let mut decoder = Decoder::new();
        let mut packets = 0;
        for bytes in stream.chunks(chunk) {
            decoder.push(black_box(bytes));
            while let Some(frame) = decoder.next_frame() {
                if let Ok(Frame::Packet(packet)) = &frame {
                    packets += 1;
                    black_box(packet);
                }
            }
        }
        assert_eq!(packets, expected, "{name}");
        rounds += 1;
    }
    tell(name, stream.len(), expected, rounds, begun.elapsed());
}

/// Prints the rate: so many packets and bytes, so often, in this time.
fn tell(name: &str, bytes: usize, expected: usize, rounds: u32, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    let packets = expected as f64 * f64::from(rounds);
    let megabytes = bytes as f64 * f64::from(rounds) / 1e6;
    println!(
        "{name:<34} {:>14.0} {:>10.1} {:>10.1}",
        packets / seconds,
        megabytes / seconds,
        if expected == 0 { 0.0 } else { seconds * 1e9 / packets }
    );
}

/// `count` packets of one meter, each a second after the last.
fn stream(format: Format, count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * format.length());
    let mut packet = Packet::new(format);
    (packet.unit_id, packet.serial_number, packet.voltage) = (11, 603, 1217);
    packet.device_time = [17, 12, 20, 5, 7, 26];
    for second in 0..count as u32 {
        packet.seconds = second;
        for (index, counter) in packet.absolute_watt_seconds.iter_mut().enumerate() {
            *counter += 100 + 37 * index as u64;
        }
        packet.encode(&mut out);
    }
    out
}

/// Bytes without pattern, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    };
    (0..length).map(|_| next()).collect()
}

const BATCH: usize = 1000;
