//! Each command reaches a device once, by whichever name it was sent.

use serde_json::{Value, json};

use super::device::{Device, Kind};
use crate::subscriber::Subscriber;
use crate::support::{Running, Site, post};
use rumqttc::QoS;

pub(super) fn entry(name: &str) -> String {
    format!(
        "\n  - name: {name}\n    kind: smartmeter\n    serial_number: powermeter27\n    link: {{mqtt: embedded}}\n"
    )
}

pub(super) async fn started(name: &str) -> (Site, Running, Subscriber, Device) {
    let site = Site::new(&entry(name));
    let gateway = site.start().await;
    let subscriber = gateway.subscriber().await;
    let device = Device::start(gateway.broker(), "powermeter27", Kind::Plug).await;
    device.measure_plug(900.29, 10_149.83).await;
    subscriber.packets(name, 1).await;
    subscriber.until(&format!("powermeter/{name}/state/availability"), "online").await;
    // It was asked how its relay is.
    device.obeyed.until("state", |all| all.iter().any(|one| one.0 == "state").then_some(())).await;
    (site, gateway, subscriber, device)
}

pub(super) async fn tell(device: &Device, topic: &str, payload: &str) {
    device.client.publish(topic, QoS::AtLeastOnce, false, payload).await.unwrap();
}

/// Waits for the reply with this id, on the topic of the meter.
pub(super) async fn reply(subscriber: &Subscriber, meter: &str, id: u32) -> Value {
    let topic = format!("powermeter/{meter}/state/info");
    subscriber
        .messages
        .until(&format!("reply {id}"), |all| {
            let on_topic = all.iter().filter(|one| one.topic == topic);
            on_topic
                .filter_map(|one| serde_json::from_str::<Value>(&one.payload).ok())
                .find(|reply| reply["id"] == id)
        })
        .await
}

pub(super) async fn over_http(gateway: &Running, meter: &str, command: Value) -> Value {
    let path = format!("/api/meters/{meter}/command");
    let answer = post(gateway.web(), &path, &command.to_string()).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body.trim()).unwrap_or_else(|_| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_another_name_commands_are_passed_on_and_replies_come_back() {
    let (_site, gateway, subscriber, device) = started("plug").await;
    tell(&device, "powermeter/plug/cmd", r#"{"cmd":"switch","payload":{"value":-1},"id":1}"#).await;
    let told = reply(&subscriber, "plug", 1).await;
    assert_eq!((&told["error"], &told["cmd"]), (&false.into(), &"switch".into()), "{told}");
    subscriber.until("powermeter/plug/state/switch", "false").await;
    assert!(!device.relay());
    assert_eq!(device.count("cmd"), 1, "turned round once: {:?}", device.obeyed.all());

    tell(&device, "powermeter/plug/switch", "on").await;
    // As it was asked for, off, and on again.
    let told = subscriber.on("powermeter/plug/state/switch", 3).await;
    assert_eq!(told, ["true", "false", "true"]);
    assert_eq!((device.count("cmd"), device.count("switch")), (2, 0));
    for payload in ["toggle", "ON", "1", ""] {
        tell(&device, "powermeter/plug/switch", payload).await;
    }
    tell(&device, "powermeter/plug/cmd", r#"{"cmd":"info","id":2}"#).await;
    let info = reply(&subscriber, "plug", 2).await;
    assert_eq!((&info["type"], &info["relay"]), (&"powermeter".into(), &true.into()), "{info}");
    let words = subscriber.payloads("powermeter/plug/state/info");
    let refused = words.iter().filter(|text| text.contains("in lower case")).count();
    assert_eq!(refused, 4, "{words:#?}");
    assert_eq!(device.count("cmd"), 2);

    tell(&device, "powermeter/plug/cmd", r#"{"cmd":"switch","payload":{"value":"true"},"id":3}"#)
        .await;
    let told = reply(&subscriber, "plug", 3).await;
    assert_eq!(told["error"], true, "{told}");
    assert!(device.relay(), "a text would have turned it off");

    tell(&device, "powermeter/plug/sample", "v").await;
    subscriber
        .messages
        .until("the voltage", |all| {
            let is_it = |one: &&crate::subscriber::Message| {
                one.topic == "powermeter/plug/state/info" && one.payload.contains("\"unit\":\"V\"")
            };
            all.iter().find(is_it).map(|_| ())
        })
        .await;
    assert_eq!(device.count("sample"), 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_its_own_name_the_device_obeys_and_the_gateway_says_who_it_is() {
    let (_site, gateway, subscriber, device) = started("powermeter27").await;
    tell(&device, "powermeter/powermeter27/cmd", r#"{"cmd":"switch","payload":{"value":-1}}"#)
        .await;
    subscriber.until("powermeter/powermeter27/state/switch", "false").await;
    tell(&device, "powermeter/powermeter27/switch", "on").await;
    subscriber.until("powermeter/powermeter27/state/switch", "true").await;
    tell(&device, "powermeter/powermeter27/cmd", r#"{"cmd":"info","id":7}"#).await;
    let info = reply(&subscriber, "powermeter27", 7).await;
    assert_eq!(info["model"], "voelkerb PowerMeter");
    tell(&device, "powermeter/powermeter27/cmd", r#"{"cmd":"getVoltage","id":8}"#).await;
    assert_eq!(reply(&subscriber, "powermeter27", 8).await["voltage"], 230.1);
    // What else it replies has no id, and gets it here.
    let daily = r#"{"cmd":"dailyRestart","hour":-1,"minute":0,"id":10}"#;
    tell(&device, "powermeter/powermeter27/cmd", daily).await;
    let told = reply(&subscriber, "powermeter27", 10).await;
    assert_eq!((&told["error"], &told["msg"]), (&false.into(), &"done".into()), "{told}");
    // Each was heard once by the device, and nothing of it came again by the gateway.
    assert_eq!((device.count("cmd"), device.count("switch")), (4, 1), "{:?}", device.obeyed.all());

    // Over HTTP the gateway brings it there.
    let told = over_http(
        &gateway,
        "powermeter27",
        json!({"cmd": "switch", "payload": {"value": -1}, "id": 9}),
    )
    .await;
    assert_eq!((&told["error"], &told["id"]), (&false.into(), &9.into()), "{told}");
    subscriber
        .messages
        .until("the relay open again", |all| {
            let all = all.iter().filter(|one| one.topic == "powermeter/powermeter27/state/switch");
            (all.count() >= 3).then_some(())
        })
        .await;
    assert!(!device.relay());
    assert_eq!(device.count("cmd"), 5, "{:?}", device.obeyed.all());
    // The state of the relay is the device's own message alone.
    let told = subscriber.payloads("powermeter/powermeter27/state/switch");
    assert_eq!(told, ["false", "true", "false"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_are_told_is_done_once() {
    for name in ["plug", "powermeter27"] {
        let (_site, gateway, subscriber, device) = started(name).await;
        tell(&device, "powermeter/cmd", r#"{"cmd":"switch","payload":{"value":-1}}"#).await;
        device
            .obeyed
            .until("switch", |all| all.iter().any(|one| one.0 == "cmd").then_some(()))
            .await;
        tell(&device, "powermeter/switch", "on").await;
        tell(&device, "powermeter/cmd", r#"{"cmd":"info","id":4}"#).await;
        reply(&subscriber, name, 4).await;
        let daily = r#"{"cmd":"dailyRestart","hour":-1,"minute":0,"id":5}"#;
        tell(&device, "powermeter/cmd", daily).await;
        assert_eq!(reply(&subscriber, name, 5).await["msg"], "done");
        // The state is asked for after something was told; a later command comes after all of that.
        over_http(
            &gateway,
            name,
            json!({"cmd": "dailyRestart", "payload": {}, "hour": -1, "minute": 0}),
        )
        .await;
        assert!(device.relay(), "off by the first, on by the second");
        let told = device.obeyed.all();
        let switches = told.iter().filter(|one| one.1.contains("switch") || one.0 == "switch");
        assert_eq!(switches.count(), 2, "{told:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_go_over_mqtt_is_told_in_words() {
    let (_site, gateway, subscriber, device) = started("plug").await;
    let words = |reply: Value| reply["msg"].as_str().unwrap_or_default().to_owned();
    let told = over_http(&gateway, "plug", json!({"cmd": "getLog"})).await;
    assert!(words(told.clone()).contains("link: {connect"), "{told}");
    let sample = json!({"cmd": "sample", "payload": {"type": "TCP", "rate": 4000}});
    let told = over_http(&gateway, "plug", sample).await;
    assert!(words(told.clone()).contains("\"type\":\"MQTT\""), "{told}");
    assert_eq!(device.count("cmd"), 0);
    // A retained command is nobody's.
    let order = r#"{"cmd":"switch","payload":{"value":0}}"#;
    device.client.publish("powermeter/plug/cmd", QoS::AtLeastOnce, true, order).await.unwrap();
    over_http(&gateway, "plug", json!({"cmd": "getVoltage"})).await;
    assert!(device.relay());
    drop(subscriber);
    gateway.stop().await;
}
