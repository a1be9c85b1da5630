//! Peers that say nothing, half of something, or nonsense: they harm nobody.

use crate::meters::{Capture, GEM, bytes, counter, gauge, gem, gem_ch1, reading, watt_hours};
use crate::support::{HOUSE, Meter, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_silent_connections_and_one_meter() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut silent = Vec::new();
    for n in 0..200_usize {
        let mut meter = gateway.dial().await;
        if n % 2 == 1 {
            // Half open: a packet begun and never ended.
            meter.send(&bytes(&gem(1, 100))[..n]).await;
        }
        silent.push(meter);
    }
    gateway.until_metric("meterbridge_meter_connections", |count| count == 200).await;
    let mut meter = gateway.dial().await;
    for n in 0..3 {
        meter.send(&bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 10_000, 0))).await;
        subscriber.packets("house", n as usize + 1).await;
    }
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 3);
    assert_eq!(gateway.metric("meterbridge_meter_connections_refused_total").await, 0);
    // And one of the silent ones may wake up and end what it began, and be heard.
    let late: &mut Meter = &mut silent[101];
    late.send(&bytes(&gem(1, 100))).await;
    subscriber.packets("gem-01100001", 1).await;
    let stop = gateway.stop();
    tokio::time::timeout(std::time::Duration::from_secs(10), stop).await.expect("ends in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_is_counted_to_the_byte_and_hides_no_packet() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let mut random = fastrand::Rng::with_seed(8083);
    let mut noise = vec![0; 300_000];
    random.fill(&mut noise);
    let mut meter = gateway.dial().await;
    meter.send(&noise).await;
    meter.send(&bytes(&gem_ch1(100, 36_000, 0))).await;
    subscriber.packets("house", 1).await;
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 300_000);
    assert_eq!(gateway.metric("meterbridge_packets_total").await, 1);
    assert!(gateway.metric("meterbridge_bad_frames_total").await > 0);
    let total = subscriber.last(&counter(GEM, "ch1", "pplus")).unwrap();
    assert_eq!(reading(&total).1, watt_hours(36_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_on_one_connection_is_not_heard_on_another() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let (mut meter, mut noisy) = (gateway.dial().await, gateway.dial().await);
    let packet = bytes(&gem_ch1(100, 36_000, 0));
    // Both halves with the head of another packet in between, on another connection.
    meter.send(&packet[..200]).await;
    noisy.send(&[0xFE, 0xFF, 0x05].repeat(500)).await;
    meter.send(&packet[200..]).await;
    subscriber.packets("house", 1).await;
    // What the noisy one began is passed over when it goes.
    drop(noisy);
    gateway.until_metric("meterbridge_skipped_bytes_total", |bytes| bytes == 1500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_that_is_cut_or_changed_on_its_way_is_passed_over() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let good = |n: u32| bytes(&gem_ch1(100 + 10 * n, 36_000 + u64::from(n) * 10_000, 0));
    let (mut checksum, mut footer) = (good(1), good(2));
    *checksum.last_mut().unwrap() ^= 0x10;
    let end = footer.len() - 3;
    footer[end] = 0;
    // A changed counter under an unchanged checksum.
    let mut value = good(3);
    value[8] ^= 0x40;
    let cut = &good(4)[..250];
    let stream = [&good(0)[..], &checksum, &footer, &value, cut, &good(5)].concat();
    gateway.dial().await.send(&stream).await;
    subscriber.packets("house", 2).await;
    let totals = subscriber.payloads(&counter(GEM, "ch1", "pplus"));
    let totals: Vec<i64> = totals.iter().map(|payload| reading(payload).1).collect();
    assert_eq!(totals, [36_000, 86_000].map(watt_hours), "a lost packet costs no energy");
    let power = subscriber.payloads(&gauge(GEM, "ch1", "pplus"));
    assert_eq!(reading(&power[0]).1, 1_000_000, "over fifty seconds");
    let skipped = (checksum.len() + footer.len() + value.len() + cut.len()) as u64;
    gateway.until_metric("meterbridge_skipped_bytes_total", |bytes| bytes == skipped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impossible_date_takes_nothing_from_the_packet() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let capture = Capture::load("BIN48-NET-TIME");
    for (count, date) in
        (1..).zip([[0; 6], [255; 6], [17, 2, 30, 24, 60, 61], [17, 254, 1, 1, 1, 1]])
    {
        let mut dated = capture.bytes.clone();
        dated[616..622].copy_from_slice(&date);
        let sum = dated[..624].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        dated[624] = sum;
        gateway.dial().await.send(&dated).await;
        subscriber.packets("house", count).await;
        let total = subscriber.last(&counter(GEM, "ch3", "pplus")).unwrap();
        assert_eq!(reading(&total).1, watt_hours(capture.absolute(3)), "{date:?}");
    }
    assert_eq!(gateway.metric("meterbridge_skipped_bytes_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_meters_from_one_address() {
    let site = Site::new(HOUSE);
    let gateway = site.start().await;
    let mut meters = Vec::new();
    for n in 0..1000_u16 {
        let mut meter = gateway.dial().await;
        meter.send(&bytes(&gem(n, 100))).await;
        meters.push(meter);
    }
    gateway.until_metric("meterbridge_packets_total", |packets| packets == 1000).await;
    gateway.until_metric("meterbridge_meters_online", |meters| meters == 1000).await;
    assert_eq!(gateway.metric("meterbridge_meter_connections").await, 1000);
    gateway.dial().await.closed().await;
    assert_eq!(gateway.metric("meterbridge_meter_connections_refused_total").await, 1);
}
