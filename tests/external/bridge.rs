//! Mosquitto as a peer of the embedded broker, with the bridge of `mosquitto/bridge.conf`.

use meterbridge::broker::{Broker, BrokerSettings, Message, QoS};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Mosquitto, Observer, free_port, repository, within};

#[tokio::test(flavor = "multi_thread")]
async fn readings_go_one_way_and_commands_the_other_and_nothing_runs_in_a_circle() {
    let settings =
        BrokerSettings { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Default::default() };
    let broker = Broker::bind(settings).await.unwrap();
    let (address, link, stats) = (broker.addresses()[0], broker.link(), broker.stats());
    let stop = CancellationToken::new();
    let mut task = JoinSet::new();
    task.spawn(broker.run(stop.clone()));
    let publish = |topic: &str, payload: &str, retain| {
        let payload = payload.as_bytes();
        link.publish(Message { topic, payload, qos: QoS::AtLeastOnce, retain });
    };
    publish("powermeter/house/state/availability", "online", true);

    let port = free_port();
    let file = std::fs::read_to_string(repository("mosquitto/bridge.conf")).unwrap();
    let text = file
        .replace("listener 1883", &format!("listener {port} 127.0.0.1"))
        .replace("address gateway:1883", &format!("address {address}"));
    assert!(text.contains(&address.to_string()) && text.contains(&port.to_string()));
    let mosquitto = Mosquitto::with(port, &text).await;

    // Until the bridge is up, what is retained here is not there.
    let mut there = Observer::at(mosquitto.port).await;
    let first = there.on("powermeter/house/state/availability").await;
    assert_eq!(first.payload, "online");
    let mut late = Observer::at(mosquitto.port).await;
    assert!(late.on("powermeter/house/state/availability").await.retain);

    let mut here = link.subscribe("#").unwrap();
    let mut commands = link.subscribe("powermeter/+/cmd").unwrap();
    publish("/sensor/00112233445566778899aabbccddeeff/gauge", "[1,2,\"W\"]", false);
    let reading = there.on("/sensor/00112233445566778899aabbccddeeff/gauge").await;
    assert_eq!(reading.payload, "[1,2,\"W\"]");
    there.publish("powermeter/house/cmd", "{\"cmd\":\"info\"}", false).await;
    let command = within(commands.recv()).await.unwrap();
    assert_eq!(&command.payload[..], b"{\"cmd\":\"info\"}");

    // One more of each, and everything that came before it came once.
    publish("/sensor/00112233445566778899aabbccddeeff/gauge", "last", false);
    there.publish("powermeter/house/cmd", "last", false).await;
    let mut gauges = Vec::new();
    while gauges.last().is_none_or(|last| last != "last") {
        gauges.push(there.on("/sensor/00112233445566778899aabbccddeeff/gauge").await.payload);
    }
    assert_eq!(gauges, ["last"]);
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, payload)| payload != "last")
        || seen.iter().filter(|(_, payload)| payload == "last").count() < 2
    {
        let received = within(here.recv()).await.unwrap();
        if !received.topic.starts_with("$SYS") && !received.retained {
            let payload = String::from_utf8_lossy(&received.payload).into_owned();
            seen.push((received.topic.to_string(), payload));
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(stats.clients.load(std::sync::atomic::Ordering::Relaxed) >= 1);
    stop.cancel();
    within(task.join_next()).await.unwrap().unwrap().unwrap();
}
