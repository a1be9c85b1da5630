//! Values that cannot be, and ends that come suddenly: a published total never falls, never jumps
//! above the ceiling, and in the end says what the meter says.

use meter_protocols::brultech::ENERGY_MODULUS;

use crate::counters::Heard;
use crate::meters::{GEM, bytes, counter, gem_ch1, reading, watt_hours};
use crate::process::Process;
use crate::subscriber::Subscriber;
use crate::support::{HOUSE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_far_up_and_back_costs_nothing() {
    let packets = [
        gem_ch1(100, 900_000_000, 0),
        gem_ch1(110, 900_010_000, 0),
        gem_ch1(120, ENERGY_MODULUS - 7, 0),
        gem_ch1(130, 900_030_000, 0),
        gem_ch1(140, 900_040_000, 0),
    ];
    let heard = Heard::packets(&packets).await;
    let expected = [900_000_000, 900_010_000, 900_010_000, 900_030_000, 900_040_000];
    assert_eq!(heard.totals("ch1"), expected.map(watt_hours));
    assert_eq!(heard.powers("ch1"), [1_000_000, 1_000_000], "none that spans the wild value");
    heard.corrected("jumped", Some("ch1"), (900_010_000, ENERGY_MODULUS - 7)).await;
    heard.corrected("recovered", Some("ch1"), (ENERGY_MODULUS - 7, 900_030_000)).await;
    assert_eq!(heard.corrections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_far_down_and_back_costs_nothing() {
    let packets = [
        gem_ch1(100, 900_000_000, 0),
        gem_ch1(110, 900_010_000, 0),
        gem_ch1(120, 12, 0),
        gem_ch1(130, 900_030_000, 0),
        gem_ch1(140, 900_040_000, 0),
    ];
    let heard = Heard::packets(&packets).await;
    let expected = [900_000_000, 900_010_000, 900_010_000, 900_030_000, 900_040_000];
    assert_eq!(heard.totals("ch1"), expected.map(watt_hours));
    assert_eq!(heard.powers("ch1"), [1_000_000, 1_000_000]);
    heard.corrected("reset", Some("ch1"), (900_010_000, 12)).await;
    heard.corrected("recovered", Some("ch1"), (12, 900_030_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_that_stays_is_never_counted() {
    let packets = [
        gem_ch1(100, 36_000, 0),
        gem_ch1(110, 800_000_000, 0),
        gem_ch1(120, 800_010_000, 0),
        gem_ch1(130, 800_020_000, 0),
    ];
    let heard = Heard::packets(&packets).await;
    assert_eq!(heard.totals("ch1"), [36_000, 36_000, 46_000, 56_000].map(watt_hours));
    heard.corrected("jumped", Some("ch1"), (36_000, 800_000_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_is_the_owners() {
    // 30 kW within 10 s is believed by default, and not where 20 kW are the most there can be.
    let packets = [gem_ch1(100, 36_000, 0), gem_ch1(110, 336_000, 0)];
    let heard = Heard::packets(&packets).await;
    assert_eq!(heard.totals("ch1"), [36_000, 336_000].map(watt_hours));
    let meters = format!("{HOUSE}    power_ceiling: 20kW\n");
    let heard = Heard::configured(&meters, &packets).await;
    assert_eq!(heard.totals("ch1"), [36_000, 36_000].map(watt_hours));
    heard.corrected("jumped", Some("ch1"), (36_000, 336_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_meter_sends_totals_never_fall_and_never_jump() {
    let mut random = fastrand::Rng::with_seed(20_171_220);
    let (mut packets, mut seconds, mut truth) = (Vec::new(), 5_000_u32, 700_000_000_u64);
    for _ in 0..400 {
        let step = random.u32(0..8);
        seconds = seconds.wrapping_add(step) % (1 << 24);
        truth = (truth + random.u64(0..=u64::from(step) * 20_000)) % ENERGY_MODULUS;
        let sent = match random.u8(0..20) {
            0 => random.u64(0..ENERGY_MODULUS),
            1 => truth & random.u64(0..ENERGY_MODULUS),
            2 => {
                truth = random.u64(0..1000);
                truth
            }
            _ => truth,
        };
        let at = if random.u8(0..40) == 0 { random.u32(0..1 << 24) } else { seconds };
        packets.push(gem_ch1(at, sent, 0));
    }
    let heard = Heard::packets(&packets).await;
    let totals = heard.totals("ch1");
    assert_eq!(totals.len(), packets.len());
    assert!(totals.is_sorted(), "a total fell");
    assert!(heard.corrections() > 20, "the sequence was wild enough");
    let powers = heard.powers("ch1");
    assert!(powers.iter().all(|milliwatts| (0..=250_000_000).contains(milliwatts)), "{powers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn energy_flows_while_the_gateway_is_dead() {
    let site = Site::new(HOUSE);
    let mut totals = Vec::new();
    // Each life hears three packets. The meter was reset in the first, so that from there on the
    // total is known to the gateway alone.
    let lives = [[720_036_000, 0, 10_000], [10_000, 44_000, 49_000], [154_000, 164_000, 174_000]];
    let mut seconds = 100;
    for life in lives {
        let process = Process::run(&site, &[]).await;
        let subscriber = Subscriber::new(process.broker).await;
        let mut meter = process.dial().await;
        for (count, absolute) in (1..).zip(life) {
            seconds += 10;
            meter.send(&bytes(&gem_ch1(seconds, absolute, 0))).await;
            subscriber.packets("house", count).await;
        }
        let topic = counter(GEM, "ch1", "pplus");
        totals.extend(subscriber.payloads(&topic).iter().map(|payload| reading(payload).1));
        process.kill().await;
    }
    let expected = lives.concat().into_iter().enumerate().map(|(place, absolute)| match place {
        0 => watt_hours(absolute),
        _ => watt_hours(720_036_000 + absolute),
    });
    assert_eq!(totals, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_while_the_gateway_is_dead_leaves_the_total_where_it_was() {
    let site = Site::new(HOUSE);
    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(process.broker).await;
    process.dial().await.send(&bytes(&gem_ch1(100_000, 900_000_000, 0))).await;
    subscriber.packets("house", 1).await;
    process.kill().await;

    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(process.broker).await;
    let stream = [bytes(&gem_ch1(10, 500, 0)), bytes(&gem_ch1(20, 4_100, 0))].concat();
    process.dial().await.send(&stream).await;
    subscriber.packets("house", 2).await;
    let published = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let totals: Vec<i64> = published.iter().map(|payload| reading(payload).1).collect();
    let stood = watt_hours(900_000_000);
    assert_eq!(totals, [stood, stood + 1_000]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_in_the_middle_of_a_flood_nothing_is_lost_or_doubled() {
    let site = Site::new(HOUSE);
    let flood = |from: u32, count: u32| -> Vec<u8> {
        let packet = |n: u32| bytes(&gem_ch1(1_000 + n, 36_000 + u64::from(n) * 777, 0));
        (from..from + count).flat_map(packet).collect()
    };
    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::to(process.broker, &counter(GEM, "ch1", "pplus")).await;
    // The channel is reset first: the total before it, which only the gateway knows, is to stay.
    let before = bytes(&gem_ch1(999, 720_000_000, 0));
    process.dial().await.send(&[before, flood(0, 300)].concat()).await;
    // Somewhere in the flood; the rest is at whatever stage it is.
    subscriber.on(&counter(GEM, "ch1", "pplus"), 20).await;
    process.kill().await;
    let heard = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let last = heard.iter().map(|payload| reading(payload).1).max().expect("a total");

    let process = Process::run(&site, &[]).await;
    let subscriber = Subscriber::new(process.broker).await;
    process.dial().await.send(&flood(300, 2)).await;
    subscriber.packets("house", 2).await;
    let published = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let totals: Vec<i64> = published.iter().map(|payload| reading(payload).1).collect();
    assert_eq!(totals, [300, 301].map(|n| watt_hours(720_000_000 + n * 777)));
    assert!(totals[0] >= last, "{} was published before the end", last);
    assert!(subscriber.payloads("meterbridge/bridge/event").is_empty());
}
