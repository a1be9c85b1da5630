//! Counters that run over and counters that start again: what was published goes on unbroken.

use meter_protocols::brultech::{AUX_MODULUS, ENERGY_MODULUS, Format, PULSE_MODULUS, Packet};
use serde_json::json;

use crate::meters::{
    ECM, GEM, bytes, counter, ecm, gauge, gem, gem_ch1, reading, sensor_id, watt_hours,
};
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Running, Site};

/// A gateway that has heard some packets of one meter.
pub(crate) struct Heard {
    pub(crate) subscriber: Subscriber,
    pub(crate) gateway: Running,
    serial: &'static str,
    _site: Site,
}

impl Heard {
    /// Packets of a GEM or an ECM named `house`.
    pub(crate) async fn packets(packets: &[Packet]) -> Self {
        Self::configured(HOUSE, packets).await
    }

    pub(crate) async fn configured(meters: &str, packets: &[Packet]) -> Self {
        let site = Site::new(meters);
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        let mut meter = gateway.dial().await;
        for packet in packets {
            meter.send(&bytes(packet)).await;
        }
        subscriber.packets("house", packets.len()).await;
        let serial = if packets[0].format.is_ecm() { ECM } else { GEM };
        Self { subscriber, gateway, serial, _site: site }
    }

    /// The published totals of a channel, in thousandths.
    pub(crate) fn totals(&self, channel: &str) -> Vec<i64> {
        let quantity = if channel.starts_with("pulse") { "pulse" } else { "pplus" };
        self.values(&counter(self.serial, channel, quantity))
    }

    /// The published powers of a channel, in milliwatts.
    pub(crate) fn powers(&self, channel: &str) -> Vec<i64> {
        self.values(&gauge(self.serial, channel, "pplus"))
    }

    fn values(&self, topic: &str) -> Vec<i64> {
        self.subscriber.payloads(topic).iter().map(|payload| reading(payload).1).collect()
    }

    /// Waits for the one correction there should be, and nothing else was corrected.
    pub(crate) async fn corrected(&self, kind: &str, channel: Option<&str>, steps: (u64, u64)) {
        let event = self.subscriber.event(kind, channel).await;
        assert_eq!(event["type"], "counter");
        assert_eq!((&event["before"], &event["after"]), (&json!(steps.0), &json!(steps.1)));
        assert_eq!((&event["meter"], &event["serial"]), (&json!("house"), &json!(self.serial)));
        assert!(event["ts"].is_i64() && event["message"].is_string(), "{event}");
    }

    pub(crate) fn corrections(&self) -> usize {
        self.subscriber.payloads("meterbridge/bridge/event").len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_energy_counter_runs_over_its_forty_bits() {
    let start = ENERGY_MODULUS - 5_000;
    let heard = Heard::packets(&[gem_ch1(100, start, 0), gem_ch1(110, 5_000, 0)]).await;
    assert_eq!(heard.totals("ch1"), [watt_hours(start), watt_hours(start + 10_000)]);
    assert_eq!(heard.powers("ch1"), [1_000_000]);
    heard.corrected("wrapped", Some("ch1"), (start, 5_000)).await;
    assert_eq!(heard.corrections(), 1);
    assert_eq!(heard.gateway.metric("meterbridge_counter_corrections_total").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_polarized_counter_runs_over_at_another_time() {
    let meters = format!("{HOUSE}    channels: {{ch1: {{role: grid}}}}\n");
    let polarized = ENERGY_MODULUS - 2_000;
    let absolute = ENERGY_MODULUS - 1_000;
    let packets = [
        gem_ch1(100, absolute, polarized),
        // 6 kJ passed, all of it back.
        gem_ch1(110, 5_000, 4_000),
    ];
    let heard = Heard::configured(&meters, &packets).await;
    let first = watt_hours(1_000);
    assert_eq!(heard.totals("ch1"), [first, first], "nothing was taken");
    let given = heard.values(&counter(GEM, "ch1", "pminus"));
    assert_eq!(given, [watt_hours(polarized), watt_hours(polarized + 6_000)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seconds_run_over_their_twenty_four_bits() {
    let before = (1 << 24) - 4;
    let heard = Heard::packets(&[gem_ch1(before, 36_000, 0), gem_ch1(6, 46_000, 0)]).await;
    assert_eq!(heard.powers("ch1"), [1_000_000], "ten seconds");
    assert_eq!(heard.totals("ch1").last(), Some(&watt_hours(46_000)));
    heard.corrected("wrapped", None, (before.into(), 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auxiliary_and_pulse_counters_run_over_their_own_widths() {
    let mut packets = [ecm(434, 100), ecm(434, 110)];
    let start = (AUX_MODULUS - 3_000) as u32;
    (packets[0].aux_watt_seconds[4], packets[1].aux_watt_seconds[4]) = (start, 2_000);
    let heard = Heard::packets(&packets).await;
    let start = u64::from(start);
    assert_eq!(heard.totals("aux5"), [watt_hours(start), watt_hours(start + 5_000)]);
    assert_eq!(heard.powers("aux5"), [500_000]);
    heard.corrected("wrapped", Some("aux5"), (start, 2_000)).await;

    let mut packets = [gem(603, 100), gem(603, 110)];
    let start = (PULSE_MODULUS - 3) as u32;
    (packets[0].pulses[3], packets[1].pulses[3]) = (start, 4);
    let heard = Heard::packets(&packets).await;
    let start = i64::from(start);
    assert_eq!(heard.totals("pulse4"), [start * 1000, (start + 7) * 1000]);
    heard.corrected("wrapped", Some("pulse4"), (start as u64, 4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_second_twice_gives_counters_and_no_power() {
    let packets = [
        gem_ch1(100, 36_000, 0),
        gem_ch1(110, 46_000, 0),
        gem_ch1(110, 46_720, 0),
        gem_ch1(120, 66_000, 0),
    ];
    let heard = Heard::packets(&packets).await;
    let totals: Vec<i64> = [36_000, 46_000, 46_720, 66_000].map(watt_hours).to_vec();
    assert_eq!(heard.totals("ch1"), totals);
    assert_eq!(heard.powers("ch1"), [1_000_000, 2_000_000], "no energy is left out");
    assert_eq!(heard.corrections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_one_channel_leaves_the_others_alone() {
    let packet = |seconds, one, two| {
        let mut packet = gem_ch1(seconds, one, 0);
        packet.absolute_watt_seconds[1] = two;
        packet
    };
    let packets =
        [packet(100, 900_000_000, 7_200), packet(110, 500, 17_200), packet(120, 4_100, 27_200)];
    let heard = Heard::packets(&packets).await;
    let stood = watt_hours(900_000_000);
    assert_eq!(heard.totals("ch1"), [stood, stood, stood + 1_000]);
    assert_eq!(heard.powers("ch1"), [360_000], "none for the interval of the reset");
    assert_eq!(heard.totals("ch2"), [7_200, 17_200, 27_200].map(watt_hours));
    assert_eq!(heard.powers("ch2"), [1_000_000, 1_000_000]);
    heard.corrected("reset", Some("ch1"), (900_000_000, 500)).await;
    assert_eq!(heard.corrections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_everything_is_one_event() {
    let packet = |seconds, value: u64| {
        let mut packet = gem(603, seconds);
        packet.absolute_watt_seconds[..32].fill(value);
        packet
    };
    let packets =
        [packet(1_000_000, 900_000_000), packet(3, 600), packet(13, 4_200), packet(23, 7_800)];
    let heard = Heard::packets(&packets).await;
    let stood = watt_hours(900_000_000);
    for channel in ["ch1", "ch32"] {
        assert_eq!(heard.totals(channel), [stood, stood, stood + 1_000, stood + 2_000]);
        assert_eq!(heard.powers(channel), [360_000, 360_000]);
    }
    heard.corrected("reset", None, (1_000_000, 3)).await;
    assert_eq!(heard.corrections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seconds_that_start_again_alone_cost_the_power_and_not_the_energy() {
    let packets = [gem_ch1(1_000_000, 36_000, 0), gem_ch1(5, 46_000, 0), gem_ch1(15, 56_000, 0)];
    let heard = Heard::packets(&packets).await;
    assert_eq!(heard.totals("ch1"), [36_000, 46_000, 56_000].map(watt_hours));
    assert_eq!(heard.powers("ch1"), [1_000_000]);
    heard.corrected("reset", None, (1_000_000, 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ecm_says_itself_that_it_was_reset() {
    let packet = |seconds, value, flag| {
        let mut packet = ecm(434, seconds);
        packet.absolute_watt_seconds[0] = value;
        packet.aux_watt_seconds[0] = value as u32;
        packet.flag = flag;
        packet
    };
    // The counter stands higher after the reset than before, which only the reset count tells.
    // The other bits of the flag are no resets.
    let packets = [
        packet(100, 36_000, 0x98),
        packet(110, 46_000, 0x18),
        packet(120, 50_000, 0x19),
        packet(130, 60_000, 0x99),
    ];
    let heard = Heard::packets(&packets).await;
    for channel in ["ch1", "aux1"] {
        assert_eq!(heard.totals(channel), [36_000, 46_000, 46_000, 56_000].map(watt_hours));
        assert_eq!(heard.powers(channel), [1_000_000, 1_000_000], "{channel}");
    }
    heard.corrected("reset", None, (0, 1)).await;
    assert_eq!(heard.corrections(), 1);
    assert!(heard.subscriber.payloads(&gauge(ECM, "aux1", "irms")).is_empty());
    let published = heard.subscriber.seen();
    let aux_current = sensor_id(ECM, "aux1", "irms");
    assert!(published.iter().all(|message| !message.topic.contains(&aux_current)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn formats_with_and_without_direction_in_turn_cost_no_energy() {
    let abs = |seconds, absolute| {
        let mut packet = gem_ch1(seconds, absolute, 0);
        packet.format = Format::Bin32Abs;
        packet
    };
    // Two million watt-seconds each time, in the end all of it back at once.
    let packets = [
        gem_ch1(100, 9_000_000, 1_000_000),
        abs(110, 11_000_000),
        abs(120, 13_000_000),
        gem_ch1(130, 15_000_000, 7_000_000),
    ];
    let load = Heard::packets(&packets).await;
    let each = [9_000_000, 11_000_000, 13_000_000, 15_000_000];
    assert_eq!(load.totals("ch1"), each.map(watt_hours), "a load needs no direction");
    assert_eq!(load.powers("ch1"), [200_000_000; 3]);

    let meters = format!("{HOUSE}    channels: {{ch1: {{role: grid}}}}\n");
    let grid = Heard::configured(&meters, &packets).await;
    assert_eq!(grid.totals("ch1").last(), Some(&watt_hours(8_000_000)));
    let given = grid.values(&counter(GEM, "ch1", "pminus"));
    assert_eq!(given.last(), Some(&watt_hours(7_000_000)));
    assert_eq!((load.corrections(), grid.corrections()), (0, 0));
}

/// Lets the packets that a stopped gateway heard have come a day before.
fn let_a_day_pass(site: &Site) {
    let database = site.path().join("data/meterbridge.db");
    let database = rusqlite::Connection::open(database).unwrap();
    let state: Vec<u8> =
        database.query_row("SELECT state FROM meter", [], |row| row.get(0)).unwrap();
    // Behind the version: when the last packet came, in milliseconds, as postcard writes it.
    let (arrived, rest): (i64, &[u8]) = postcard::take_from_bytes(&state[1..]).unwrap();
    let arrived = postcard::to_stdvec(&(arrived - 86_400_000)).unwrap();
    let state = [&state[..1], &arrived, rest].concat();
    database.execute("UPDATE meter SET state = ?1", [state]).unwrap();
}

/// Packets of one meter on both sides of a day without any.
async fn over_a_day(before: &Packet, after: &[Packet]) -> (Subscriber, Running) {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    gateway.dial().await.send(&bytes(before)).await;
    gateway.subscriber().await.until("powermeter/house/state/availability", "online").await;
    gateway.stop().await;
    let_a_day_pass(&site);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut meter = gateway.dial().await;
    for packet in after {
        meter.send(&bytes(packet)).await;
    }
    subscriber.packets("house", after.len()).await;
    (subscriber, gateway)
}

fn totals(subscriber: &Subscriber) -> Vec<i64> {
    let payloads = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    payloads.iter().map(|payload| reading(payload).1).collect()
}

const DAY: u32 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_nobody_listened_is_counted_whole_also_over_the_width_of_counters() {
    // 1 kW all day; energy and seconds both run over in it.
    let (energy, seconds) = (ENERGY_MODULUS - 1_003, (1 << 24) - 1_000);
    let passed = u64::from(DAY) * 1_000;
    let after = gem_ch1(DAY - 1_000, passed - 1_003, 0);
    let (subscriber, gateway) = over_a_day(&gem_ch1(seconds, energy, 0), &[after]).await;
    assert_eq!(totals(&subscriber), [watt_hours(energy + passed)]);
    let power = subscriber.last(&gauge(GEM, "ch1", "pplus")).unwrap();
    assert_eq!(reading(&power).1, 1_000_000);
    subscriber.event("wrapped", None).await;
    subscriber.event("wrapped", Some("ch1")).await;
    assert_eq!(subscriber.payloads("meterbridge/bridge/event").len(), 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meter_that_was_without_power_for_a_day_goes_on_where_it_stood() {
    // It has kept its counters, and its seconds start again.
    let after = [gem_ch1(5, 36_007, 0), gem_ch1(15, 46_007, 0)];
    let (subscriber, gateway) = over_a_day(&gem_ch1(1_000_000, 36_001, 0), &after).await;
    assert_eq!(totals(&subscriber), [36_007, 46_007].map(watt_hours));
    subscriber.event("reset", None).await;
    gateway.stop().await;

    // It has lost them: what it counts from then on is added.
    let after = [gem_ch1(5, 7, 0), gem_ch1(15, 10_007, 0)];
    let (subscriber, gateway) = over_a_day(&gem_ch1(1_000_000, 36_001, 0), &after).await;
    assert_eq!(totals(&subscriber), [36_001, 46_001].map(watt_hours));
    subscriber.event("reset", None).await;
    gateway.stop().await;
}
