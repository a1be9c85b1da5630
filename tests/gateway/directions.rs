//! Channels that count both ways, and what is summed up of them: `state/channels` and
//! `state/sample`.

use serde_json::{Value, json};

use crate::meters::{GEM, bytes, counter, decimal, gauge, gem_ch1, reading};
use crate::subscriber::Subscriber;
use crate::support::{Running, Site};

const GRID: &str = "
  - name: house
    kind: brultech
    link: {listen: 127.0.0.1:0}
    channels:
      ch1: {name: Mains, role: grid}
";

/// All values on a topic so far, in thousandths, all in this unit.
fn values(subscriber: &Subscriber, topic: &str, expected: &str) -> Vec<i64> {
    let values = subscriber.payloads(topic).into_iter().map(|payload| {
        let (_, value, unit) = reading(&payload);
        assert_eq!(unit, expected, "{topic}");
        value
    });
    values.collect()
}

async fn started(meters: &str) -> (Site, Running, Subscriber) {
    let site = Site::new(meters);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    (site, gateway, subscriber)
}

/// Three packets: 72 kJ taken and 7.2 kJ given at first; then 1000 W there and 400 W back, as
/// polarized counters see it; then 360 W that only go back.
fn there_and_back() -> Vec<u8> {
    let first = gem_ch1(100, 79_200, 7_200);
    let second = gem_ch1(110, 79_200 + 14_000, 7_200 + 4_000);
    let third = gem_ch1(120, 79_200 + 14_000 + 3_600, 7_200 + 4_000 + 3_600);
    [bytes(&first), bytes(&second), bytes(&third)].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grid_channel_counts_what_comes_and_what_goes() {
    let (_site, gateway, subscriber) = started(GRID).await;
    gateway.dial().await.send(&there_and_back()).await;
    let channels = subscriber.packets("house", 3).await;
    let (plus, minus) = (counter(GEM, "ch1", "pplus"), counter(GEM, "ch1", "pminus"));
    assert_eq!(values(&subscriber, &plus, "Wh"), [20_000, 22_778, 22_778]);
    assert_eq!(values(&subscriber, &minus, "Wh"), [2_000, 3_111, 4_111]);
    let (plus, minus) = (gauge(GEM, "ch1", "pplus"), gauge(GEM, "ch1", "pminus"));
    assert_eq!(values(&subscriber, &plus, "W"), [1_000_000, 0]);
    assert_eq!(values(&subscriber, &minus, "W"), [400_000, 360_000]);

    let ch1: Vec<Value> = channels
        .iter()
        .map(|payload| serde_json::from_str::<Value>(payload).unwrap()["ch1"].clone())
        .collect();
    assert_eq!(ch1[0], json!({"energy": 0.02, "energy_export": 0.002, "current": 0}));
    assert_eq!(ch1[1]["power"], 600, "the net of both");
    assert_eq!(ch1[2]["power"], -360);
    assert_eq!(ch1[2]["energy_export"], 0.004_111);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polarity_btmon_swaps_both_directions() {
    let swapped = GRID.replace("    channels", "    polarity: btmon\n    channels");
    let (_site, gateway, subscriber) = started(&swapped).await;
    gateway.dial().await.send(&there_and_back()).await;
    let channels = subscriber.packets("house", 3).await;
    let minus = counter(GEM, "ch1", "pminus");
    let plus = counter(GEM, "ch1", "pplus");
    assert_eq!(values(&subscriber, &minus, "Wh"), [20_000, 22_778, 22_778]);
    assert_eq!(values(&subscriber, &plus, "Wh"), [2_000, 3_111, 4_111]);
    let second: Value = serde_json::from_str(&channels[1]).unwrap();
    assert_eq!(second["ch1"]["power"], -600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn solar_and_battery_count_both_ways_and_a_load_one_way() {
    let meters = GRID.replace(
        "ch1: {name: Mains, role: grid}",
        "{ch1: {role: load}, ch2: {role: solar}, ch3: {role: battery}}",
    );
    let (_site, gateway, subscriber) = started(&meters).await;
    let mut packet = gem_ch1(100, 36_000, 7_200);
    for place in 1..3 {
        packet.absolute_watt_seconds[place] = 36_000;
        packet.polarized_watt_seconds[place] = 7_200;
    }
    gateway.dial().await.send(&bytes(&packet)).await;
    subscriber.packets("house", 1).await;
    for (channel, plus, minus) in
        [("ch1", 10_000, &[][..]), ("ch2", 8_000, &[2_000]), ("ch3", 8_000, &[2_000])]
    {
        let topic = counter(GEM, channel, "pplus");
        assert_eq!(values(&subscriber, &topic, "Wh"), [plus], "{channel}");
        let topic = counter(GEM, channel, "pminus");
        assert_eq!(values(&subscriber, &topic, "Wh"), minus, "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_multiplier_scales_power_energy_and_current() {
    let meters = GRID.replace("role: grid", "role: grid, multiplier: 2.5");
    let (_site, gateway, subscriber) = started(&meters).await;
    let mut packets = [gem_ch1(100, 36_000, 7_200), gem_ch1(110, 40_000, 7_200)];
    packets[1].current[0] = 100;
    let stream: Vec<u8> = packets.iter().flat_map(bytes).collect();
    gateway.dial().await.send(&stream).await;
    subscriber.packets("house", 2).await;
    assert_eq!(values(&subscriber, &counter(GEM, "ch1", "pplus"), "Wh"), [20_000, 22_778]);
    assert_eq!(values(&subscriber, &gauge(GEM, "ch1", "pplus"), "W"), [1_000_000]);
    assert_eq!(values(&subscriber, &gauge(GEM, "ch1", "irms"), "A"), [0, 5_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_the_net_of_the_grid_in_watts_and_kilowatt_hours() {
    let (_site, gateway, subscriber) = started(GRID).await;
    let mut packets = [gem_ch1(100, 3_600_000, 0), gem_ch1(110, 3_610_000, 4_000)];
    for packet in &mut packets {
        // A load beside the grid channel must not be added to it.
        packet.absolute_watt_seconds[1] = u64::from(packet.seconds) * 5_000;
        packet.current[0] = 137;
    }
    let stream: Vec<u8> = packets.iter().flat_map(bytes).collect();
    gateway.dial().await.send(&stream).await;
    let samples = subscriber.on("powermeter/house/state/sample", 1).await;
    let sample: Value = serde_json::from_str(&samples[0]).unwrap();
    assert_eq!(sample["power"], 200, "600 W taken, 400 W given");
    assert_eq!(sample["current"], 2.74);
    assert_eq!(sample["volt"], 230.1);
    assert_eq!(sample["energy"], 1.001_667);
    assert_eq!(sample.as_object().unwrap().len(), 5);
    let ts: i64 = sample["ts"].as_str().expect("time as text").parse().unwrap();
    let (at, _, _) = reading(&subscriber.last(&gauge(GEM, "ch1", "pplus")).unwrap());
    assert_eq!(ts, at);
    let order = ["power", "current", "volt", "energy", "ts"];
    let keys: Vec<&str> = sample.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, order);
    let power = samples[0].split(['{', ':', ',']).nth(2).unwrap();
    assert_eq!(decimal(power), 200_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_come_every_five_seconds_however_many_packets_there_are() {
    let (_site, gateway, subscriber) = started(crate::support::HOUSE).await;
    let mut meter = gateway.dial().await;
    // A meter that sends ten times a second, until three samples are there.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(100));
    let mut samples = Vec::new();
    let mut packets = 0;
    while samples.len() < 3 {
        assert!(packets < 600, "a minute, and no three samples: {samples:?}");
        let absolute = 36_000 + u64::from(packets) * 100;
        meter.send(&bytes(&gem_ch1(100 + packets, absolute, 0))).await;
        packets += 1;
        subscriber.packets("house", packets as usize).await;
        samples = subscriber.payloads("powermeter/house/state/sample");
        pace.tick().await;
    }
    let first: Value = serde_json::from_str(&samples[0]).unwrap();
    assert_eq!(first["power"], 100, "without a grid channel the sum of the loads");
    let stamps = samples.iter().map(|sample| {
        let sample: Value = serde_json::from_str(sample).unwrap();
        sample["ts"].as_str().unwrap().parse::<i64>().unwrap()
    });
    let stamps: Vec<i64> = stamps.collect();
    assert!(stamps.windows(2).all(|pair| pair[1] - pair[0] >= 4), "{stamps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn energy_and_pulses_and_temperatures_stand_in_the_summary() {
    let meters = GRID.replace(
        "ch1: {name: Mains, role: grid}",
        "{pulse1: {name: Gas, type: gas, constant: 10}, pulse2: {type: electricity, constant: 0.5}}",
    );
    let (_site, gateway, subscriber) = started(&meters).await;
    let mut packet = gem_ch1(100, 3_600_000, 0);
    packet.pulses = [70, 3001, 5, 0];
    packet.temperatures[2] = 0x800A;
    gateway.dial().await.send(&bytes(&packet)).await;
    let channels = subscriber.packets("house", 1).await;
    let channels: Value = serde_json::from_str(&channels[0]).unwrap();
    assert!(channels["ts"].is_i64());
    assert_eq!(channels["ch1"], json!({"energy": 1, "current": 0}));
    assert_eq!(channels["pulse1"], json!({"count": 70, "total": 700}), "litres");
    assert_eq!(channels["pulse2"], json!({"count": 3001, "total": 1.5005}), "kWh");
    assert_eq!(channels["pulse3"], json!({"count": 5}));
    assert_eq!(channels["t3"], json!({"temperature": -5}));
    assert_eq!(channels["line"], json!({"voltage": 230.1}));
    assert!(channels.get("t1").is_none() && channels.get("ch33").is_none());
    assert_eq!(values(&subscriber, &counter(GEM, "pulse1", "pulse"), "L"), [700_000]);
    assert_eq!(values(&subscriber, &counter(GEM, "pulse2", "pulse"), "Wh"), [1_500_500]);
    assert_eq!(values(&subscriber, &counter(GEM, "pulse3", "pulse"), ""), [5_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_pulses_is_known_when_one_comes_and_never_in_between() {
    let meters = GRID.replace(
        "ch1: {name: Mains, role: grid}",
        "{pulse1: {name: Gas, type: gas, constant: 10}, pulse2: {type: electricity, constant: 0.5}}",
    );
    let (_site, gateway, subscriber) = started(&meters).await;
    let mut connection = gateway.dial().await;
    // Since when the meter has waited for the first pulse, nobody knows: it begins the interval.
    let counts = [(100, 70, 3000), (110, 71, 3000), (120, 71, 3001), (127, 72, 3001)];
    for (seconds, gas, power) in counts.into_iter().chain([(130, 72, 3003), (130, 72, 3004)]) {
        let mut packet = gem_ch1(seconds, 3_600_000, 0);
        packet.pulses = [gas, power, 0, 0];
        connection.send(&bytes(&packet)).await;
    }
    let channels = subscriber.packets("house", 6).await;
    // 10 L in 17 s, 1 Wh in 10 s; what comes in the same second counts towards the next.
    assert_eq!(values(&subscriber, &gauge(GEM, "pulse1", "pulse"), "L/day"), [50_824_000]);
    assert_eq!(values(&subscriber, &gauge(GEM, "pulse2", "pulse"), "W"), [360_000]);
    let last: Value = serde_json::from_str(&channels[5]).unwrap();
    assert_eq!(last["pulse1"], json!({"count": 72, "total": 720, "flow": 35.294}));
    assert_eq!(last["pulse2"], json!({"count": 3004, "total": 1.502, "power": 360}));
}
