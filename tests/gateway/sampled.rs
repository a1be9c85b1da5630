//! Kilohertz streams of simulated meters, by every way that samples can take: what comes of them once a
//! second, held against what the meters know of themselves.

use meterbridge::simulator::{
    LineLevel, SmartDevice, SmartKind, SmartManners, SmartSimulation, SmartSimulator, SmartWays,
    Watched,
};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::subscriber::Subscriber;
use crate::support::{Running, Site};

/// One meter that listens on loopback, and a gateway that samples it.
struct House {
    meter: Watched<SmartDevice>,
    gateway: Running,
    heard: Subscriber,
    _site: Site,
    _tasks: JoinSet<()>,
}

impl House {
    /// `stream` and `more` stand in the meter's entry.
    async fn start(kind: SmartKind, manners: SmartManners, stream: &str, more: &str) -> House {
        let simulation = steady(kind);
        let ways = SmartWays { listen: "127.0.0.1:0".parse().ok(), ..SmartWays::default() };
        let simulator = SmartSimulator::build(&simulation, ways, manners).await.unwrap();
        let (commands, port) = (simulator.addresses()[0], simulator.stream_addresses()[0].port());
        let stream = stream.replace("PORT", &port.to_string());
        let site = Site::new(&entry(&format!("connect: {commands}"), &stream, more));
        let gateway = site.start().await;
        House::with(site, gateway, simulator).await
    }

    /// The same, on a pseudo-terminal.
    async fn on_a_line(manners: SmartManners, stream: &str) -> House {
        let ways = SmartWays { serial: Some(None), ..SmartWays::default() };
        let simulation = steady(SmartKind::SmartMeter);
        let simulator = SmartSimulator::build(&simulation, ways, manners).await.unwrap();
        let link = format!("serial: {}", simulator.path().unwrap().display());
        let site = Site::new(&entry(&link, stream, ""));
        let gateway = site.start().await;
        House::with(site, gateway, simulator).await
    }

    /// The same, a meter that dials the gateway's stream server.
    async fn dialling_in(manners: SmartManners, stream: &str) -> House {
        let site = Site::new(&entry("listen: 127.0.0.1:0", stream, ""));
        let gateway = site.start().await;
        let connect = Some(gateway.addresses.meters[0].to_string().parse().unwrap());
        let ways = SmartWays { connect, ..SmartWays::default() };
        let simulation = steady(SmartKind::SmartMeter);
        let simulator = SmartSimulator::build(&simulation, ways, manners).await.unwrap();
        House::with(site, gateway, simulator).await
    }

    async fn with(site: Site, gateway: Running, simulator: SmartSimulator) -> House {
        let heard = gateway.subscriber().await;
        let meter = simulator.meters().remove(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run(CancellationToken::new()));
        House { meter, gateway, heard, _site: site, _tasks: tasks }
    }

    /// The second measurement that a stream has made: the first may have begun in the middle.
    async fn second(&self) -> Value {
        let topic = "powermeter/mains/state/channels";
        let sampled = |payload: &String| {
            let value: Value = serde_json::from_str(payload).unwrap();
            (value["line"]["pf"].is_number() && value["line"]["reactive"].is_number())
                .then_some(value)
        };
        let enough = |all: &[crate::subscriber::Message]| {
            let payloads = all.iter().filter(|one| one.topic == topic).map(|one| &one.payload);
            payloads.filter_map(sampled).nth(1)
        };
        let until = self.gateway.until_metric("meterbridge_stream_frames_total", |count| count > 0);
        until.await;
        self.heard.messages.until("the second measurement of a stream", enough).await
    }

    fn levels(&self) -> Vec<LineLevel> {
        self.meter.look(|meter| meter.levels(0.0))
    }

    async fn stop(self) {
        self.gateway.stop().await;
    }
}

/// One meter whose loads never change.
fn steady(kind: SmartKind) -> SmartSimulation {
    SmartSimulation { kind, meters: 1, interval: SECOND, seed: 1, steady: true }
}

fn entry(link: &str, stream: &str, more: &str) -> String {
    format!(
        "\n  - name: mains\n    kind: smartmeter\n    link: {{{link}}}\n    \
         poll: 1h\n    stream: {{{stream}}}\n{more}"
    )
}

/// RMS and powers within a thousandth of what is true.
fn assert_true(channel: &Value, level: &LineLevel) {
    let near = |key: &str, should: f64, share: f64| {
        let is = channel[key].as_f64().unwrap_or_else(|| panic!("no {key} in {channel}"));
        assert!((is - should).abs() <= share * should.abs() + 0.01, "{key} {is}, not {should}");
    };
    near("voltage", level.voltage_v, 1e-3);
    near("current", level.current_a, 1e-3);
    near("power", level.active_w, 2e-3);
    near("apparent", level.voltage_v * level.current_a, 2e-3);
}

fn assert_lines(measured: &Value, levels: &[LineLevel]) {
    for (name, level) in ["l1", "l2", "l3"].iter().zip(levels) {
        assert_true(&measured[*name], level);
    }
    let hertz = measured["line"]["frequency"].as_f64().unwrap();
    assert!((hertz - 50.0).abs() < 0.05, "{hertz} Hz");
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_on_the_link_become_a_measurement_a_second() {
    let manners = SmartManners { noise: true, chunks: Some(777), ..SmartManners::default() };
    let house = House::start(SmartKind::SmartMeter, manners, "rate: 4000", "").await;
    assert_lines(&house.second().await, &house.levels());
    assert_eq!(house.gateway.metric("meterbridge_stream_lost_packets_total").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_line_and_a_meter_that_dials_in_are_sampled_as_well() {
    for framed in [true, false] {
        let stream = format!("rate: 1000, framed: {framed}");
        let house = House::on_a_line(SmartManners::default(), &stream).await;
        assert_lines(&house.second().await, &house.levels());
        house.stop().await;
    }
    let house = House::dialling_in(SmartManners::default(), "rate: 8000").await;
    assert_lines(&house.second().await, &house.levels());
    assert_eq!(house.gateway.metric("meterbridge_stream_lost_packets_total").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_counted_exactly_and_left_out() {
    let manners = SmartManners { loss: Some(20), ..SmartManners::default() };
    let house = House::start(SmartKind::SmartMeter, manners, "rate: 4000", "").await;
    let measured = house.second().await;
    let level = house.levels()[0];
    let volts = measured["l1"]["voltage"].as_f64().unwrap();
    assert!((volts / level.voltage_v - 1.0).abs() < 0.01, "{volts} V");
    let lost = house.gateway.metric("meterbridge_stream_lost_packets_total").await;
    let frames = house.gateway.metric("meterbridge_stream_lost_frames_total").await;
    assert!(lost > 0 && frames >= 42 * lost, "{lost} packets, {frames} frames");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_put_in_order_and_doubles_count_once() {
    let manners = SmartManners { shuffle: true, ..SmartManners::default() };
    let stream = "rate: 4000, over: udp";
    let house = House::start(SmartKind::SmartMeter, manners, stream, "").await;
    assert_lines(&house.second().await, &house.levels());
    assert_eq!(house.gateway.metric("meterbridge_stream_lost_packets_total").await, 0);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_port_of_a_smartmeter_gives_three_lines() {
    let stream = "over: port, port: PORT";
    let house = House::start(SmartKind::SmartMeter, SmartManners::default(), stream, "").await;
    assert_lines(&house.second().await, &house.levels());
    assert!(house.meter.look(|meter| meter.is_sampling()));
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_port_of_a_plug_gives_its_line_and_factors_hold() {
    let more = "    channels: {line: {scale_v: 0.5, scale_i: 2}}\n";
    let stream = "over: port, port: PORT";
    let house = House::start(SmartKind::PowerMeter, SmartManners::default(), stream, more).await;
    let level = house.levels()[0];
    let twice =
        LineLevel { voltage_v: level.voltage_v * 0.5, current_a: level.current_a * 2.0, ..level };
    assert_true(&house.second().await["line"], &twice);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_samples_on_the_link_and_powers_are_read_as_well() {
    let stream = "rate: 2000, framed: false";
    let house = House::start(SmartKind::PowerMeter, SmartManners::default(), stream, "").await;
    assert_true(&house.second().await["line"], &house.levels()[0]);
    house.stop().await;
    let stream = "rate: 10, measures: \"p,q\"";
    let house = House::start(SmartKind::SmartMeter, SmartManners::default(), stream, "").await;
    let measured = house.second().await;
    for (name, level) in ["l1", "l2", "l3"].iter().zip(house.levels()) {
        let watts = measured[*name]["power"].as_f64().unwrap();
        assert!((watts - level.active_w).abs() < 1e-3 * level.active_w + 0.01, "{watts} W");
    }
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_of_three_counts_its_energy_and_its_recording_is_ended_with_the_gateway() {
    let stream = "rate: 4000, measures: \"v,i_L2\", record: {directory: recordings}";
    let more = "    energy: integrated\n";
    let house = House::start(SmartKind::SmartMeter, SmartManners::default(), stream, more).await;
    let counted = |message: &crate::subscriber::Message| {
        let value: Value = serde_json::from_str(&message.payload).ok()?;
        let is_it = message.topic == "powermeter/mains/state/channels";
        (is_it && value["l2"]["energy"].as_f64()? > 0.0).then_some(value)
    };
    let all = &house.heard.messages;
    let measured = all.until("energy of a line", |all| all.iter().find_map(counted)).await;
    assert_true(&measured["l2"], &house.levels()[1]);
    // Nothing is said of what nobody samples.
    for channel in ["line", "l1", "l3"] {
        let told = &measured[channel];
        assert!(told["energy"].is_null() && told["power"].is_null(), "{channel}: {told}");
    }
    let House { gateway, _site: site, .. } = house;
    gateway.until_metric("meterbridge_recorded_bytes_total", |count| count > 0).await;
    gateway.stop().await;
    let directory = site.path().join("data/recordings");
    let sides = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let sides: Vec<_> =
        sides.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    assert_eq!(sides.len(), 1, "{sides:?}");
    let side: Value = serde_json::from_slice(&std::fs::read(&sides[0]).unwrap()).unwrap();
    assert_eq!(side["ended"], "the gateway stopped");
    let wav = std::fs::metadata(sides[0].with_extension("wav")).unwrap().len();
    assert_eq!(wav, 512 + side["frames"].as_u64().unwrap() * 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_by_messages_become_measurements_too() {
    let site = Site::new(
        "\n  - name: mains\n    kind: smartmeter\n    link: {mqtt: embedded}\n    \
         stream: {over: mqtt, rate: 10, measures: \"p,q\"}\n",
    );
    let gateway = site.start().await;
    let heard = gateway.subscriber().await;
    let interval = std::time::Duration::from_millis(200);
    let simulation =
        SmartSimulation { kind: SmartKind::SmartMeter, meters: 1, interval, seed: 1, steady: true };
    let broker = gateway.broker().to_string().parse().unwrap();
    let ways = SmartWays { mqtt: Some(broker), ..SmartWays::default() };
    let simulator =
        SmartSimulator::build(&simulation, ways, SmartManners::default()).await.unwrap();
    let meter = simulator.meters().remove(0);
    let mut tasks = JoinSet::new();
    tasks.spawn(simulator.run(CancellationToken::new()));
    let reactive = |message: &crate::subscriber::Message| {
        let value: Value = serde_json::from_str(&message.payload).ok()?;
        (message.topic == "powermeter/mains/state/channels" && value["l2"]["reactive"].is_number())
            .then_some(value)
    };
    let measured = heard.messages.until("powers", |all| all.iter().find_map(reactive)).await;
    for (name, level) in ["l1", "l2", "l3"].iter().zip(meter.look(|meter| meter.levels(0.0))) {
        let watts = measured[*name]["power"].as_f64().unwrap();
        assert!((watts - level.active_w).abs() < 1e-3 * level.active_w + 0.01, "{watts} W");
    }
    gateway.stop().await;
}

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
