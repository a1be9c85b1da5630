//! What counters do wrong, through the whole path, as Home Assistant sees it: it takes an energy that
//! falls below nine tenths of what it was for a new meter, and adds everything that it jumps.

use meter_protocols::brultech::{ENERGY_MODULUS, Packet};

use crate::assistant::{Assistant, PREFIX};
use crate::meters::{GEM, bytes, device_id, gem_ch1};
use crate::rules::{Taken, judge, template};
use crate::subscriber::Message;
use crate::support::{HOUSE, Site};

/// What the energy of channel 1 has shown so far, kWh.
async fn energy(assistant: &Assistant) -> Vec<f64> {
    let topic = format!("{PREFIX}/device/{}/config", device_id(GEM));
    let payload = assistant.until(&topic, |payload| payload.contains("ch1_energy")).await;
    let Ok(Taken::Entities { entities, .. }) = judge(PREFIX, &topic, &payload) else { panic!() };
    let energy = entities.iter().find(|one| one.object == "ch1_energy").unwrap();
    let value = energy.config["value_template"].as_str().unwrap();
    let state = energy.config["state_topic"].as_str().unwrap();
    let all = assistant.messages.all();
    let told = all.iter().filter(|one| one.topic == state);
    told.map(|one| template::value(value, &one.payload).unwrap().parse().unwrap()).collect()
}

/// What the energy of channel 1 shows over these packets, kWh. An interruption is a restart of the
/// gateway.
async fn shown(runs: &[&[Packet]]) -> Vec<f64> {
    let site = Site::new(HOUSE);
    let mut shown = Vec::new();
    for packets in runs {
        let gateway = site.start().await;
        let assistant = Assistant::connect(gateway.broker()).await;
        let mut meter = gateway.dial().await;
        for (n, packet) in packets.iter().enumerate() {
            meter.send(&bytes(packet)).await;
            let channels = "powermeter/house/state/channels";
            let count = |all: &[Message]| {
                (all.iter().filter(|one| one.topic == channels).count() > n).then_some(())
            };
            assistant.messages.until("a packet's values", count).await;
        }
        shown.extend(energy(&assistant).await);
        gateway.stop().await;
    }
    shown
}

fn steady(shown: &[f64], most: f64, what: &str) {
    for pair in shown.windows(2) {
        assert!(pair[1] >= pair[0] * 0.9, "{what}: it falls in {shown:?}");
        assert!(pair[1] - pair[0] <= most, "{what}: it jumps in {shown:?}");
    }
}

const KWH: u64 = 3_600_000;

#[tokio::test]
async fn energy_neither_falls_nor_jumps_whatever_the_counter_does() {
    let begin = 5_000 * KWH;
    let packet = |n: u32, counted: u64| gem_ch1(1_000 + 10 * n, begin + counted, 0);
    let zero = |n: u32| gem_ch1(1_000 + 10 * n, 0, 0);
    let cases: [(&str, Vec<Packet>); 5] = [
        (
            "all zero once",
            vec![packet(0, 0), packet(1, 9_000), zero(2), packet(3, 27_000), packet(4, 36_000)],
        ),
        (
            "a reset",
            vec![packet(0, 0), packet(1, 9_000), gem_ch1(1, 900, 0), gem_ch1(11, 9_900, 0)],
        ),
        (
            "a reset of energy alone",
            vec![packet(0, 0), gem_ch1(1_010, 5, 0), gem_ch1(1_020, 9_005, 0)],
        ),
        (
            "a wild value",
            vec![packet(0, 0), packet(1, 1 << 38), packet(2, 18_000), packet(3, 27_000)],
        ),
        (
            "all zero twice",
            vec![packet(0, 0), zero(1), zero(2), packet(3, 27_000), packet(4, 36_000)],
        ),
    ];
    for (what, packets) in cases {
        let shown = shown(&[&packets]).await;
        assert_eq!(shown.len(), packets.len(), "{what}");
        steady(&shown, 0.05, what);
    }
    let end = ENERGY_MODULUS - 9_000;
    let wrap = [
        gem_ch1(100, end - 9_000, 0),
        gem_ch1(110, end, 0),
        gem_ch1(120, 0, 0),
        gem_ch1(130, 9_000, 0),
    ];
    let shown = shown(&[&wrap]).await;
    steady(&shown, 0.05, "a wrap");
    assert!(shown[3] > shown[0], "{shown:?}");
}

#[tokio::test]
async fn a_day_without_the_gateway_is_counted_and_no_more() {
    let before = [gem_ch1(1_000, 5_000 * KWH, 0), gem_ch1(1_010, 5_000 * KWH + 9_000, 0)];
    // 12 kWh in a day.
    let after = [gem_ch1(87_410, 5_012 * KWH, 0), gem_ch1(87_420, 5_012 * KWH + 9_000, 0)];
    let shown = shown(&[&before, &after]).await;
    steady(&shown, 12.01, "a gap of a day");
    assert!(shown[2] - shown[1] > 11.9, "{shown:?}");
}

#[tokio::test]
async fn a_swapped_meter_goes_on_where_the_other_ended() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let assistant = Assistant::connect(gateway.broker()).await;
    let mut meter = gateway.dial().await;
    let channels = "powermeter/house/state/channels";
    let heard = async |count: usize| {
        let enough = |all: &[Message]| {
            (all.iter().filter(|one| one.topic == channels).count() >= count).then_some(())
        };
        assistant.messages.until("a packet's values", enough).await;
    };
    meter.send(&bytes(&gem_ch1(1_000, 5_000 * KWH, 0))).await;
    meter.send(&bytes(&gem_ch1(1_010, 5_000 * KWH + 9_000, 0))).await;
    heard(2).await;
    let request = r#"{"meter":"house","serial":"01100604"}"#;
    assistant.publish("meterbridge/bridge/request/replace", request, false).await;
    let response = "meterbridge/bridge/response/replace";
    assistant.until(response, |text| text.contains(r#""status":"ok""#)).await;
    for n in 0..3 {
        let mut packet = gem_ch1(5 + 10 * n, 700 * KWH + 9_000 * u64::from(n), 0);
        packet.serial_number = 604;
        meter.send(&bytes(&packet)).await;
    }
    heard(5).await;
    let shown = energy(&assistant).await;
    assert_eq!(shown.len(), 5);
    steady(&shown, 0.01, "another meter");
    assert!(shown[4] > shown[1], "{shown:?}");
}
