//! Simulated Fluksometers through the gateway: their past, and what becomes of their misbehaviour.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;

/// The points of the blocks of a sensor, by second; a block that does not decode is passed over.
fn points(all: &[Heard], id: &str) -> BTreeMap<i64, i64> {
    let of_it = blocks(all).filter(|(_, key)| key.0 == id);
    let decoded = of_it.filter_map(|(heard, _)| Block::from_gzip(&heard.payload).ok());
    decoded
        .flat_map(|block| {
            block.points().iter().map(|point| (point.at, point.milli)).collect::<Vec<_>>()
        })
        .collect()
}

/// The begin of the window that is open, for whoever was closed no later than 20 s after its end.
fn last_closed() -> i64 {
    let now = jiff::Timestamp::now().as_second() - 20;
    now - now.rem_euclid(256)
}

/// A site with this Fluksometer at its own broker.
fn site(meter: &Running) -> Site {
    Site::new(&format!(
        "
  - name: cellar
    kind: fluksometer
    link: {{mqtt: \"mqtt://{}\"}}
",
        meter.broker.unwrap()
    ))
}

/// Waits until the blocks of a sensor that came by reach up to the open window.
async fn past(ear: &Ear, id: &str) -> BTreeMap<i64, i64> {
    let known = Cell::new(0);
    let whole = |all: &[Heard]| {
        // Only with another block is there anything new.
        let count = blocks(all).filter(|(_, key)| key.0 == id).count();
        let points = (known.replace(count) < count).then(|| points(all, id))?;
        let (last, _) = points.last_key_value()?;
        (*last >= last_closed() - 300).then_some(points)
    };
    ear.heard.until("the past", whole).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_of_a_fluksometer_arrives_whole() {
    let (way, manners) = (FluksoWay::Own(HERE.parse().unwrap()), FluksoManners::default());
    let meter = Running::waiting(Generation::Flm02, way, manners).await;
    let site = site(&meter);
    let gateway = site.start().await;
    let here = Ear::at(gateway.broker()).await;
    // Blocks are not kept: whoever wants them has to be there first.
    meter.begin.cancel();
    let main = &meter.ids[0];
    let taken = past(&here, main).await;
    // The same, asked for without the gateway.
    let there = meter.ear().await;
    let topic = format!("/d/device/{}/tmpo/sync", meter.device);
    there.publish(&topic, &nothing_yet(std::slice::from_ref(main))).await;
    let own = past(&there, main).await;
    let until = last_closed() - 300;
    let up_to = |points: &BTreeMap<i64, i64>| -> Vec<(i64, i64)> {
        points.range(..until).map(|(at, milli)| (*at, *milli)).collect()
    };
    assert!(own.len() > 500, "{}", own.len());
    assert_eq!(up_to(&taken), up_to(&own));
    gateway.stop().await;
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_misbehaving_fluksometer_says_is_put_right() {
    let manners = FluksoManners {
        repeats: true,
        broken_blocks: true,
        restarts: Some(Duration::from_secs(7)),
        ..FluksoManners::default()
    };
    let meter = Running::own(Generation::Flm03, manners).await;
    let site = site(&meter);
    let gateway = site.start().await;
    let here = Ear::at(gateway.broker()).await;
    let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
    let times = |all: &[Heard]| -> Vec<i64> {
        let of_it = all.iter().filter(|heard| heard.topic == gauge);
        of_it.map(|heard| payload::read(&heard.text()).unwrap().at).collect()
    };
    // With two seconds off in nine, that is after two restarts.
    let long = |all: &[Heard]| {
        let times = times(all);
        (times.last()? - times.first()? >= 20).then(|| all.to_vec())
    };
    let all = here.heard.until("twenty seconds", long).await;
    let times = times(&all);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "each time once: {times:?}");
    assert!(times.windows(2).any(|pair| pair[1] - pair[0] > 1), "it was off: {times:?}");
    let verdict = readers::judge(&all);
    assert_eq!(verdict.objections, Vec::<String>::new());
    for (heard, key) in blocks(&all) {
        assert!(Block::from_gzip(&heard.payload).is_ok(), "malformed and published: {key:?}");
    }
    gateway.until_metric("meterbridge_history_malformed_blocks_total", |count| count > 0).await;
    gateway.stop().await;
    meter.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_far_ahead_is_not_believed() {
    let manners = FluksoManners { clock: 7200, ..FluksoManners::default() };
    let meter = Running::own(Generation::Flm02, manners).await;
    let there = meter.ear().await;
    let site = site(&meter);
    let gateway = site.start().await;
    let here = Ear::at(gateway.broker()).await;
    // Its documents are heard, and its readings by whoever asks it.
    here.until("documents", |heard| heard.topic.ends_with("/config/sensor")).await;
    let gauge = format!("/sensor/{}/gauge", meter.ids[0]);
    let some = |all: &[Heard]| {
        (all.iter().filter(|heard| heard.topic == gauge).count() >= 4).then_some(())
    };
    there.heard.until("readings there", some).await;
    let of_it = |heard: &&Heard| heard.topic == gauge;
    assert_eq!(here.heard.all().iter().filter(of_it).count(), 0);
    gateway.stop().await;
    meter.stop().await;
}
