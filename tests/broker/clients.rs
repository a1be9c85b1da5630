//! Clients that others have written: rumqttc on both versions, and mosquitto's.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use meterbridge::broker::{Message, QoS};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::support::{TestBroker, within};

fn retained<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    Message { topic, payload: payload.as_bytes(), qos: QoS::AtLeastOnce, retain: true }
}

/// Publishes with each QoS to itself and counts what comes; the two clients of rumqttc have the same
/// shape and no type in common.
macro_rules! every_qos_comes_once {
    ($options:expr, $expected:expr, $client:ident, $qos:ident, $event:ident, $packet:ident) => {
        let (client, mut events) = $client::new($options, 100);
        let mut work = JoinSet::new();
        work.spawn(async move {
            client.subscribe("/sensor/#", $qos::ExactlyOnce).await.unwrap();
            for n in 0..300_u32 {
                let qos = [$qos::AtMostOnce, $qos::AtLeastOnce, $qos::ExactlyOnce][n as usize % 3];
                client.publish(format!("/sensor/{n}"), qos, false, n.to_string()).await.unwrap();
            }
            client
        });
        let mut seen = BTreeSet::new();
        within(async {
            while seen.len() < $expected {
                let event = events.poll().await.unwrap();
                if let $event::Incoming($packet::Publish(publish)) = event {
                    assert!(seen.insert(publish.topic), "once each");
                }
            }
        })
        .await;
    };
}

#[tokio::test]
async fn rumqttc_on_3_1_1_at_every_qos() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
    let broker = TestBroker::start().await;
    let mut options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address.port());
    options.set_keep_alive(Duration::from_secs(5));
    every_qos_comes_once!(options, 300, AsyncClient, QoS, Event, Packet);
}

#[tokio::test]
async fn rumqttc_on_5_at_every_qos() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};
    let broker = TestBroker::start().await;
    broker.link.publish(retained("/sensor/retained", "old"));
    let options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address.port());
    every_qos_comes_once!(options, 301, AsyncClient, QoS, Event, Packet);
}

/// mosquitto's own tools are part of the test machine; without them there is nothing to compare.
fn mosquitto(tool: &str, broker: &TestBroker, arguments: &[&str]) -> Child {
    Command::new(tool)
        .args(["-h", "127.0.0.1", "-p", &broker.address.port().to_string()])
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"))
}

async fn lines(mut child: Child) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    within(async {
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            all.push(line);
        }
        assert!(child.wait().await.unwrap().success());
        all
    })
    .await
}

#[tokio::test]
async fn mosquitto_clients_on_every_version_and_qos() {
    let broker = TestBroker::start().await;
    broker.link.publish(retained("/sensor/1/gauge", "[1,230.5,\"V\"]"));
    for version in ["31", "311", "5"] {
        for qos in ["0", "1", "2"] {
            let common = ["-V", version, "-q", qos];
            let publish = ["-t", "/sensor/2/gauge", "-m", "2", "-r"];
            let publisher = mosquitto("mosquitto_pub", &broker, &[&common[..], &publish].concat());
            assert_eq!(lines(publisher).await, [""; 0]);
            let subscribe = ["-t", "/sensor/#", "-v", "-C", "2"];
            let subscriber =
                mosquitto("mosquitto_sub", &broker, &[&common[..], &subscribe].concat());
            assert_eq!(
                lines(subscriber).await,
                ["/sensor/1/gauge [1,230.5,\"V\"]", "/sensor/2/gauge 2"],
                "version {version}, QoS {qos}"
            );
        }
    }
}

#[tokio::test]
async fn mosquitto_publishes_from_a_pipe_to_a_live_subscription() {
    let broker = TestBroker::start().await;
    let mut subscription = broker.link.subscribe("meter").unwrap();
    for version in ["311", "5"] {
        let count = ["-V", version, "-q", "2", "-t", "meter", "--repeat", "50", "-m", "x"];
        assert_eq!(lines(mosquitto("mosquitto_pub", &broker, &count)).await, [""; 0]);
        for _ in 0..50 {
            assert_eq!(within(subscription.recv()).await.unwrap().payload, &b"x"[..]);
        }
    }
}
