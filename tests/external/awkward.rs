//! A broker, its other clients and a disk that behave as they may, and not as one would wish.

use meterbridge::broker::{ProtocolVersion, QoS};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet};

use crate::support::{Linked, Mosquitto, Observer, Proxy, on_disk, settings, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_that_the_broker_does_not_take_is_given_up_for_good() {
    let data = tempfile::tempdir().unwrap();
    let mosquitto = Mosquitto::start("max_packet_size 2000").await;
    let proxy = Proxy::to(mosquitto.port, u64::MAX).await;
    let mut settings = settings(proxy.port, data.path());
    settings.version = ProtocolVersion::V3;
    let linked = Linked::start(settings);
    linked.publish("large", &"x".repeat(5000), QoS::AtLeastOnce, true);
    linked.publish("small", "x", QoS::AtLeastOnce, true);
    until("given up", || linked.number("given_up") == 1).await;
    linked.connected().await;
    linked.delivered().await;
    // What is retained is sent again to each connection, but not this.
    for _ in 0..6 {
        let connects = linked.number("connects");
        proxy.cut();
        until("connected anew", || linked.number("connects") > connects).await;
        linked.delivered().await;
    }
    assert_eq!(linked.number("given_up"), 1);
    // Nor is it forgotten that its topic may have a message that fits.
    let mut observer = Observer::at(mosquitto.port).await;
    linked.publish("large", "now small", QoS::AtLeastOnce, true);
    assert_eq!(observer.on("large").await.payload, "now small");
    linked.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_the_gateway_that_is_too_large_is_passed_over() {
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("").await;
        let mut observer = Observer::at(mosquitto.port).await;
        observer.publish("cmd/large", &"x".repeat(500_000), true).await;
        observer.publish("cmd/ready", "subscribed", true).await;
        let mut settings = settings(mosquitto.port, data.path());
        (settings.version, settings.packet_size) = (version, 10_000);
        let linked = Linked::start(settings);
        let mut commands = linked.link.subscribe("cmd/+").unwrap();
        // What is retained tells that the subscription stands.
        assert_eq!(&within(commands.recv()).await.unwrap().payload[..], b"subscribed");
        for text in ["one", "two"] {
            observer.publish("cmd/large", &"x".repeat(20_000), false).await;
            observer.publish("cmd/x", text, false).await;
            assert_eq!(&within(commands.recv()).await.unwrap().payload[..], text.as_bytes());
        }
        assert_eq!(linked.number("connects"), 1);
        if version == ProtocolVersion::V3 {
            assert_eq!(linked.number("received_too_large"), 3);
        }
        linked.stop().await;
    }
}

/// Subscribes to `cmd/+` with QoS 2 in the gateway's name, leaves, and has a message wait there.
async fn leave_a_session_behind(port: u16) {
    let mut options = MqttOptions::new("meterbridge", "127.0.0.1", port);
    options.set_clean_session(false);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("cmd/+", rumqttc::QoS::ExactlyOnce).await.unwrap();
    while !matches!(within(events.poll()).await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    client.disconnect().await.unwrap();
    while within(events.poll()).await.is_ok() {}
    let options = MqttOptions::new("other", "127.0.0.1", port);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish("cmd/x", rumqttc::QoS::ExactlyOnce, false, "waited").await.unwrap();
    while !matches!(within(events.poll()).await.unwrap(), Event::Incoming(Packet::PubComp(_))) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_with_qos_2_that_another_program_left_behind_is_no_hindrance() {
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("").await;
        leave_a_session_behind(mosquitto.port).await;
        let mut settings = settings(mosquitto.port, data.path());
        settings.version = version;
        // What waited comes at once, so the subscription is there first.
        let (linked, mut commands) =
            Linked::start_with(settings, |link| link.subscribe("cmd/+").unwrap());
        assert_eq!(&within(commands.recv()).await.unwrap().payload[..], b"waited");
        let mut observer = Observer::at(mosquitto.port).await;
        observer.publish("cmd/x", "new", false).await;
        assert_eq!(&within(commands.recv()).await.unwrap().payload[..], b"new");
        assert_eq!(linked.number("connects"), 1);
        linked.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_overlap_get_each_message_once() {
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("").await;
        let mut settings = settings(mosquitto.port, data.path());
        settings.version = version;
        let linked = Linked::start(settings);
        let filters = ["cmd/#", "cmd/+", "cmd/x", "+/x"];
        let mut subscriptions = filters.map(|filter| linked.link.subscribe(filter).unwrap());
        linked.connected().await;
        let mut observer = Observer::at(mosquitto.port).await;
        // Until the broker has all four.
        for subscription in &mut subscriptions {
            let arrived = async {
                loop {
                    observer.publish("cmd/x", "early", false).await;
                    let next = subscription.recv();
                    if tokio::time::timeout(std::time::Duration::from_secs(1), next).await.is_ok() {
                        return;
                    }
                }
            };
            within(arrived).await;
        }
        for payload in ["1", "2", "3"] {
            observer.publish("cmd/x", payload, false).await;
        }
        for (filter, subscription) in filters.iter().zip(&mut subscriptions) {
            let mut payloads = Vec::new();
            while payloads.last().is_none_or(|last| last != "3") {
                let received = within(subscription.recv()).await.unwrap();
                let payload = String::from_utf8_lossy(&received.payload).into_owned();
                if payload != "early" {
                    payloads.push(payload);
                }
            }
            assert_eq!(payloads, ["1", "2", "3"], "{filter} {version:?}");
        }
        linked.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_for_a_while_stops_nothing_and_has_everything_afterwards() {
    let data = tempfile::tempdir().unwrap();
    let mut mosquitto = Mosquitto::start("persistence false").await;
    let linked = Linked::start(settings(mosquitto.port, data.path()));
    linked.connected().await;
    linked.publish("doc", "before", QoS::AtLeastOnce, true);
    linked.delivered().await;
    // Whoever holds this lock is the only one to write.
    let file = rusqlite::Connection::open(data.path().join("outbox.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut observer = Observer::at(mosquitto.port).await;
    linked.send("must/arrive", "while the disk hangs");
    assert_eq!(observer.on("must/arrive").await.payload, "while the disk hangs");
    assert_eq!((linked.number("outbox_failures"), linked.number("outbox_in_memory")), (1, 1));
    // What was on disk before is sent again all the same.
    mosquitto.stop();
    until("gone", || linked.stats.status().is_err()).await;
    mosquitto.start_again().await;
    linked.connected().await;
    linked.delivered().await;
    let mut observer = Observer::at(mosquitto.port).await;
    assert_eq!(observer.on("doc").await.payload, "before");
    // The disk is well again, and what waits gets there without a restart.
    mosquitto.stop();
    until("gone", || linked.stats.status().is_err()).await;
    linked.send("must/arrive", "later");
    file.execute_batch("ROLLBACK").unwrap();
    let later = ("must/arrive".to_owned(), "later".to_owned());
    until("it is on disk", || on_disk(data.path()).contains(&later)).await;
    until("said", || linked.number("outbox_in_memory") == 0).await;
    linked.kill().await;
    mosquitto.start_again().await;
    let mut observer = Observer::at(mosquitto.port).await;
    let linked = Linked::start(settings(mosquitto.port, data.path()));
    assert_eq!(observer.on("must/arrive").await.payload, "later");
    linked.stop().await;
}
