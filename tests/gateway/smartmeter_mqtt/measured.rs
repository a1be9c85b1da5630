//! What devices say becomes readings like any other meter's.

use serde_json::Value;

use super::device::{Device, Kind};
use crate::subscriber::Subscriber;
use crate::support::Site;
use meterbridge::model::{Channel, Make, Quantity, SensorId};

pub(super) const ANY: &str = "
  - name: mains
    kind: smartmeter
    link: {mqtt: embedded}
";

pub(super) fn topic(serial: &str, quantity: Quantity, value: &str) -> String {
    let id = SensorId::derive(Make::Smartmeter, serial, Channel::Line, quantity);
    format!("/sensor/{id}/{value}")
}

fn value(subscriber: &Subscriber, topic: &str) -> (f64, String) {
    let payload = subscriber.last(topic).unwrap_or_else(|| panic!("nothing on {topic}"));
    let reading: (i64, f64, String) = serde_json::from_str(&payload).unwrap();
    let (_, value, unit) = reading;
    (value, unit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smartmeter_is_a_meter_like_any_other() {
    let site = Site::new(ANY);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    device.measure(1113.28, 19.76).await;
    let channels = subscriber.packets("mains", 1).await;
    let channels: Value = serde_json::from_str(&channels[0]).unwrap();
    assert_eq!(channels["line"]["power"], 1113.28, "{channels}");
    assert_eq!(channels["line"]["energy"], 19.76);
    subscriber.until("powermeter/mains/state/availability", "online").await;
    let serial = "smartmeter001";
    assert_eq!(value(&subscriber, &topic(serial, Quantity::PPlus, "gauge")), (1113.28, "W".into()));
    assert_eq!(
        value(&subscriber, &topic(serial, Quantity::PPlus, "counter")),
        (19_760.0, "Wh".into())
    );
    assert_eq!(value(&subscriber, &topic(serial, Quantity::Vrms, "gauge")), (230.27, "V".into()));
    // The unified sum, in kWh, under the name that the entry gives it.
    let samples = subscriber.on("powermeter/mains/state/sample", 1).await;
    let sample: Value = serde_json::from_str(&samples[0]).unwrap();
    assert_eq!((&sample["power"], &sample["energy"]), (&1113.28.into(), &19.76.into()));

    device.measure(-812.5, 19.77).await;
    subscriber.packets("mains", 2).await;
    assert_eq!(value(&subscriber, &topic(serial, Quantity::PMinus, "gauge")).0, 812.5);
    assert_eq!(value(&subscriber, &topic(serial, Quantity::PPlus, "gauge")).0, 0.0);

    // What is none, and what was retained, changes nothing.
    for payload in ["on", "off", r#"{"value":1,"unit":"W"}"#, "{", ""] {
        device.say("state/sample", payload).await;
    }
    device.publish("state/sample", r#"{"power":1,"energy":1,"volt":1,"ts":"5"}"#, true).await;
    device.measure(100.0, 19.78).await;
    // A live one counts, whatever flag it has: it is the fourth.
    let all = subscriber.packets("mains", 4).await;
    assert_eq!(all.len(), 4, "{all:#?}");
    gateway.stop().await;

    // The retained one counts for nothing in the next run.
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    device.measure(7.0, 19.79).await;
    let channels = subscriber.packets("mains", 1).await;
    assert!(channels[0].contains("\"power\":7,"), "{channels:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_of_the_same_name_says_its_sum_itself() {
    let site = Site::new(&ANY.replace("mains", "smartmeter001"));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    for n in 1..=3 {
        device.measure(100.0 * f64::from(n), 19.76).await;
        subscriber.packets("smartmeter001", n as usize).await;
    }
    let sums = subscriber.payloads("powermeter/smartmeter001/state/sample");
    assert_eq!(sums.len(), 3, "{sums:#?}");
    subscriber.until("powermeter/smartmeter001/state/availability", "online").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_adopted_and_known_after_a_restart() {
    let site = Site::new(ANY);
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let one = Device::start(gateway.broker(), "smartmeter001", Kind::Smart).await;
    one.measure(1.0, 1.0).await;
    subscriber.packets("mains", 1).await;
    let other = Device::below(gateway.broker(), "SmartMeter", "SmartMeter002", Kind::Smart).await;
    let plug = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    other.measure(2.0, 2.0).await;
    plug.measure_plug(3.0, 10_149.83).await;
    subscriber.packets("smartmeter-SmartMeter002", 1).await;
    subscriber.packets("powermeter-powermeter27", 1).await;
    // What its relay is, it was asked.
    subscriber.until("powermeter/powermeter-powermeter27/state/switch", "true").await;
    // Nobody knows yet in what unit its energy is.
    assert_eq!(subscriber.payloads(&topic("powermeter27", Quantity::PPlus, "counter")).len(), 0);
    gateway.stop().await;

    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let plug = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    plug.measure_plug(4.0, 10_149.84).await;
    subscriber.packets("powermeter-powermeter27", 1).await;
    assert_eq!(subscriber.last("powermeter/mains/state/availability").as_deref(), Some("offline"));
    gateway.stop().await;
}
