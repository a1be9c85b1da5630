//! Fluksometers: on their own broker, on the gateway's, and by their local API.

mod bridge;
mod bridged;
mod device;
mod echoes;
mod links;
mod mosquitto;
mod past;

use serde_json::Value;

use self::device::{DEVICE, Flm, Said, parts, session};
use crate::meters::reading;
use crate::subscriber::Subscriber;
use crate::support::Site;

/// A reading as the gateway is to publish it: values in thousandths.
fn expected(said: &Said, clamp: bool) -> (i64, i64, String) {
    let json: Value = serde_json::from_str(&said.payload).unwrap();
    let mut milli = (json[1].as_f64().unwrap() * 1000.0).round() as i64;
    if clamp && milli < 0 && milli % 1000 != 0 {
        // -13.750 stands for -13 + 0.750.
        milli = milli / 1000 * 1000 - milli % 1000;
    }
    (json[0].as_i64().unwrap(), milli, json[2].as_str().unwrap().to_owned())
}

async fn until_described(subscriber: &Subscriber, device: &str) -> Value {
    let topic = format!("/device/{device}/config/sensor");
    serde_json::from_str(&subscriber.on(&topic, 1).await[0]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_flm02_is_read_from_its_own_broker_to_the_letter() {
    let flm = Flm::start().await;
    let (documents, readings) = parts(session("flm02b"));
    flm.say(&documents);
    let site = Site::new(&flm.entry("cellar"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let sensor = until_described(&subscriber, DEVICE).await;
    // What some readers could not bear is put right; the rest is the device's.
    assert_eq!(sensor["7"]["port"], serde_json::json!([7]));
    assert_eq!(sensor["9"]["kid"], 1);
    flm.say(&readings);
    for said in &readings {
        let got = subscriber.on(&said.topic, 1).await;
        assert_eq!(reading(&got[0]), expected(said, false), "{}", said.topic);
    }
    subscriber.until("powermeter/cellar/state/availability", "online").await;
    let channels = subscriber.packets("cellar", 1).await;
    let channels: Value = serde_json::from_str(channels.last().unwrap()).unwrap();
    assert!(channels["ts"].is_i64(), "{channels}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_flm03_is_read_and_its_negative_fractions_are_undone() {
    let flm = Flm::start().await;
    let (documents, readings) = parts(session("flm03e"));
    flm.say(&documents);
    let site = Site::new(&flm.entry("cellar"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let sensor = until_described(&subscriber, DEVICE).await;
    assert_eq!(sensor["1"]["subtype"], "pplus");
    flm.say(&readings);
    for said in &readings {
        let got = subscriber.on(&said.topic, 1).await;
        let clamp = said.payload.contains(", ");
        assert_eq!(reading(&got[0]), expected(said, clamp), "{}", said.topic);
    }
    let tap = subscriber.last(&format!("/device/{DEVICE}/test/tap")).unwrap();
    assert!(tap.starts_with("# serial: FL03000000\n"), "{tap}");
    let waves = subscriber.seen().into_iter().filter(|one| one.topic.contains("/flx/"));
    assert_eq!(waves.count(), 0, "waveforms are not passed on");
}
