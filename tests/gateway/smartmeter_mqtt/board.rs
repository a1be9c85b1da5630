//! The sensor board of a plug: its temperature is a sensor like any other's.

use meterbridge::model::{Channel, Make, Quantity, SensorId};
use serde_json::Value;

use super::commands::started;
use super::device::{Device, Kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temperature_is_a_gauge_and_the_rest_stays_on_its_topics() {
    let (site, gateway, subscriber, device) = started("plug").await;
    let probe =
        SensorId::derive(Make::Smartmeter, "powermeter27", Channel::T(1), Quantity::Temperature);
    let gauge = format!("/sensor/{probe}/gauge");
    let read = gateway.metric("meterbridge_packets_total").await;
    device.publish("state/sensors/temp", r#"{"temp":25.5,"unit":"C","ts":1631873651}"#, true).await;
    device.say("state/sensors/PIR", r#"{"PIR":true,"ts":1631873717}"#).await;
    device.say("state/sensors/temp", r#"{"temp":77,"unit":"F","ts":1631873718}"#).await;
    for wrong in [r#"{"temp":"warm","unit":"C"}"#, r#"{"temp":900,"unit":"C"}"#, "25.5", ""] {
        device.say("state/sensors/temp", wrong).await;
    }
    device.measure_plug(5.0, 10_149.84).await;
    let told: Vec<(i64, f64, String)> = subscriber
        .on(&gauge, 2)
        .await
        .iter()
        .map(|payload| serde_json::from_str(payload).unwrap())
        .collect();
    assert_eq!((told[0].1, &*told[0].2), (25.5, "°C"));
    assert_eq!(told[1].1, 25.0);
    // Its clock is not believed.
    assert!(told[0].0 > 1_700_000_000, "{told:?}");
    let is_it = |one: &&crate::subscriber::Message| {
        let is_state = one.topic == "powermeter/plug/state/channels";
        let value = || serde_json::from_str::<Value>(&one.payload).unwrap();
        is_state && value()["t1"]["temperature"] == 25 && value()["line"]["power"] == 5
    };
    subscriber.messages.until("both", |all| all.iter().find(is_it).map(|_| ())).await;
    assert_eq!(gateway.metric("meterbridge_packets_total").await, read + 8);
    assert_eq!(subscriber.payloads(&gauge).len(), 2);
    gateway.stop().await;

    // What is retained of it is from some earlier time.
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    device.measure_plug(6.0, 10_149.85).await;
    subscriber.packets("plug", 1).await;
    assert_eq!(subscriber.payloads(&gauge).len(), 0);
    gateway.stop().await;
}
