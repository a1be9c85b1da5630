//! The whole gateway under kilohertz streams: packets of samples in, a measurement a second out.
//!
//! `cargo bench --bench streams [-- SCENARIO…]` runs the release binary as a process of its own. This
//! process is the meters: they dial in as SmartMeters do to a stream server, obey `sample`, and send
//! packets from a table that is made beforehand. A client subscribes to `powermeter/+/state/channels`
//! and counts what comes of the samples. Processor time and memory are the gateway's alone.
//!
//! `METERBRIDGE_SECONDS` and `METERBRIDGE_METERS` change how long and how many.

#[path = "streams/device.rs"]
mod device;
mod loaded;
mod process;
#[path = "streams/readings.rs"]
mod readings;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use device::{Device, Kind};
use loaded::Usage;
use process::Process;
use readings::Readings;

/// One load.
struct Scenario {
    name: &'static str,
    /// How many of which meters.
    meters: &'static [(usize, Kind)],
    seconds: u64,
    /// The network stands still for so long in the middle; what was sampled comes at once then.
    stall: Duration,
}

const SCENARIOS: [Scenario; 4] = [
    // As FIRED has them: one SmartMeter at 8 kHz and 21 plugs at 2 kHz.
    Scenario {
        name: "fired",
        meters: &[(1, Kind::SmartMeter), (21, Kind::PowerMeter)],
        seconds: 600,
        stall: Duration::ZERO,
    },
    Scenario {
        name: "thirty",
        meters: &[(30, Kind::SmartMeter)],
        seconds: 60,
        stall: Duration::ZERO,
    },
    Scenario {
        name: "most",
        meters: &[(150, Kind::SmartMeter)],
        seconds: 30,
        stall: Duration::ZERO,
    },
    // 3.7 MB a meter.
    Scenario {
        name: "burst",
        meters: &[(30, Kind::SmartMeter)],
        seconds: 60,
        stall: Duration::from_secs(19),
    },
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for scenario in SCENARIOS {
        if wanted.is_empty() || wanted.iter().any(|name| name == scenario.name) {
            run(&scenario);
        }
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

fn run(scenario: &Scenario) {
    let kinds: Vec<Kind> = match setting("METERBRIDGE_METERS") {
        Some(meters) => vec![Kind::SmartMeter; meters as usize],
        None => scenario.meters.iter().flat_map(|(count, kind)| vec![*kind; *count]).collect(),
    };
    let seconds = setting("METERBRIDGE_SECONDS").unwrap_or(scenario.seconds);
    let gateway = Gateway::start(&kinds);
    let readings = Readings::subscribe(gateway.broker);
    let idle = Usage::of(&gateway.process);
    let mut devices: Vec<Device> = (kinds.iter().enumerate())
        .map(|(number, kind)| Device::dial(gateway.meters, *kind, number + 1))
        .collect();
    let start = Instant::now();
    while !devices.iter().all(Device::is_sampling) {
        assert!(start.elapsed() < Duration::from_secs(60), "every meter is told to sample");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (begin, before) = (Instant::now(), Usage::of(&gateway.process));
    let worst = send(&mut devices, Duration::from_secs(seconds), scenario.stall);
    let (elapsed, usage) = (begin.elapsed(), Usage::of(&gateway.process));
    let sent: Vec<(u64, u64)> = devices.iter().map(Device::sent).collect();
    let (packets, frames) = sent.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let taken = gateway.wait_for("meterbridge_stream_frames_total", frames);
    let bytes: u64 = devices.iter().map(Device::bytes).sum();
    println!(
        "{}: {} meters, {:.1} s, {packets} packets = {:.0}/s, {:.2} MB/s\n  \
         frames sent {frames}, taken {taken}, lost by numbers {}\n  \
         longest wait of a meter to send: {:.0} ms\n  \
         gateway: {:.1} % of one core, {:.1} MB (idle {:.1} MB)\n  {}",
        scenario.name,
        devices.len(),
        elapsed.as_secs_f64(),
        packets as f64 / elapsed.as_secs_f64(),
        bytes as f64 / 1e6 / elapsed.as_secs_f64(),
        gateway.metric("meterbridge_stream_lost_frames_total"),
        worst.as_secs_f64() * 1000.0,
        (usage.cpu - before.cpu).as_secs_f64() / elapsed.as_secs_f64() * 100.0,
        usage.memory_mb,
        idle.memory_mb,
        readings.report(devices.len()),
    );
    let late = gateway.metric("meterbridge_dropped_arrivals_total");
    if late > 0 {
        println!("  seconds that were dropped: {late}");
    }
}

/// Sends what is due each millisecond; returns the longest that a meter had to wait for room.
fn send(devices: &mut [Device], time: Duration, stall: Duration) -> Duration {
    let begin = Instant::now();
    let (from, mut worst) = (time / 3, Duration::ZERO);
    loop {
        let passed = begin.elapsed();
        if passed >= time {
            return worst;
        }
        let stalled = (from..from + stall).contains(&passed);
        devices.iter().for_each(|device| device.stall(stalled));
        if !stalled {
            for device in &mut *devices {
                worst = worst.max(device.send(passed));
            }
        }
        std::thread::sleep(Duration::from_micros(1000));
    }
}

/// The gateway's process.
struct Gateway {
    process: Process,
    broker: SocketAddr,
    web: SocketAddr,
    meters: SocketAddr,
}

impl Gateway {
    /// An entry for each meter.
    fn start(kinds: &[Kind]) -> Gateway {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let config = dir.path().join("config.yaml");
        let mut text =
            "broker: {listen: 127.0.0.1:0}\nweb: {listen: 127.0.0.1:0}\nmeters:\n".to_owned();
        for (number, kind) in kinds.iter().enumerate() {
            let (name, rate) = (kind.name(number + 1), kind.rate());
            text.push_str(&format!(
                "  - {{name: {name}, kind: smartmeter, serial_number: {name}, \
                 link: {{listen: 127.0.0.1:0}}, stream: {{rate: {rate}}}}}\n"
            ));
        }
        std::fs::write(&config, text).expect("the scratch directory is writable");
        let (process, mut log) = Process::gateway(dir, &[]);
        let broker = log.address("mqtt broker listens");
        let web = log.address("web server listens");
        let meters = log.address("meters may dial in");
        log.drain();
        Gateway { process, broker, web, meters }
    }

    /// One of the gateway's numbers.
    fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.web).expect("the web server listens");
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("the web server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("metrics are text");
        let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).expect("the number is there")
    }

    /// Waits until the number is as large, but not for ever; what it is then.
    fn wait_for(&self, name: &str, enough: u64) -> u64 {
        let begin = Instant::now();
        loop {
            let is = self.metric(name);
            if is >= enough || begin.elapsed() > Duration::from_secs(30) {
                return is;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
