//! What must arrive does, whatever happens to broker, connection and gateway.

use std::collections::BTreeSet;

use meterbridge::broker::{ProtocolVersion, QoS};

use crate::support::{
    Linked, Mosquitto, Observer, Proxy, free_port, on_disk, settings, until, within,
};

/// The numbered messages on `topic` up to `last`, in the order of their first arrival.
async fn numbers(observer: &mut Observer, topic: &str, last: u32) -> Vec<u32> {
    let (mut order, mut seen) = (Vec::new(), BTreeSet::new());
    while !seen.contains(&last) {
        let number = observer.on(topic).await.payload.parse().unwrap();
        if seen.insert(number) {
            order.push(number);
        }
    }
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost_over_restarts_of_the_broker() {
    for (version, persistence) in [
        (ProtocolVersion::V5, "persistence false"),
        (ProtocolVersion::V5, "persistence true\npersistence_location DIR/"),
        (ProtocolVersion::V3, "persistence true\npersistence_location DIR/"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let mut mosquitto = Mosquitto::start(persistence).await;
        let mut settings = settings(mosquitto.port, data.path());
        settings.version = version;
        let linked = Linked::start(settings);
        linked.publish("doc", "first", QoS::AtLeastOnce, true);
        linked.publish("doc", "second", QoS::AtLeastOnce, true);
        linked.publish("other", "here", QoS::AtLeastOnce, true);
        let mut commands = linked.link.subscribe("cmd/+").unwrap();
        linked.connected().await;
        linked.delivered().await;

        mosquitto.stop();
        until("gone", || linked.stats.status().is_err()).await;
        for number in 0..500 {
            linked.send("must/arrive", &number.to_string());
            linked.publish("live", &number.to_string(), QoS::AtMostOnce, false);
        }
        linked.publish("other", "", QoS::AtLeastOnce, true);
        assert_eq!(linked.number("not_sent"), 500);
        mosquitto.start_again().await;
        // In front of the gateway or not: what is retained is there for both.
        let mut observer = Observer::at(mosquitto.port).await;
        linked.connected().await;
        linked.delivered().await;
        linked.send("must/arrive", "500");
        observer.publish("cmd/x", "do", false).await;
        assert_eq!(&within(commands.recv()).await.unwrap().payload[..], b"do");

        let mut late = Observer::at(mosquitto.port).await;
        let doc = late.on("doc").await;
        assert_eq!((doc.payload.as_str(), doc.retain), ("second", true));
        late.publish("end", "", false).await;
        linked.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_during_an_outage_comes_in_order_and_live_messages_do_not() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let linked = Linked::start(settings(port, data.path()));
    linked.complains("nothing listens there").await;
    for number in 0..1000 {
        linked.send("must/arrive", &number.to_string());
        linked.publish("live", "late", QoS::AtMostOnce, false);
    }
    let mosquitto = Mosquitto::start_on(port, "connection_messages false").await;
    let mut observer = Observer::at(mosquitto.port).await;
    linked.connected().await;
    linked.publish("live", "now", QoS::AtMostOnce, false);
    linked.send("must/arrive", "1000");
    // Subscribed after the first may have been sent: ask for what must be there all the same.
    let mut last = None;
    loop {
        let seen = observer.next().await;
        match seen.topic.as_str() {
            "live" => assert_eq!(seen.payload, "now"),
            "must/arrive" => {
                let number: u32 = seen.payload.parse().unwrap();
                assert!(last.is_none_or(|last| number == last + 1), "{last:?} {number}");
                last = Some(number);
                if number == 1000 {
                    break;
                }
            }
            _ => {}
        }
    }
    linked.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_again_and_again_loses_nothing() {
    for version in [ProtocolVersion::V3, ProtocolVersion::V5] {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("max_queued_messages 0\nmax_inflight_messages 0").await;
        let mut observer = Observer::at(mosquitto.port).await;
        // Each connection carries about two hundred of these messages, and breaks inside one.
        let proxy = Proxy::to(mosquitto.port, 5_003).await;
        let mut settings = settings(proxy.port, data.path());
        settings.version = version;
        let linked = Linked::start(settings);
        for number in 0..2000 {
            linked.send("must/arrive", &number.to_string());
        }
        let order = numbers(&mut observer, "must/arrive", 1999).await;
        assert_eq!(order, (0..2000).collect::<Vec<_>>());
        linked.delivered().await;
        assert!(linked.number("connects") > 5);
        proxy.cut();
        until("connected anew", || linked.number("connects") > 6).await;
        linked.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_retained_is_brought_up_again_after_each_connection() {
    let data = tempfile::tempdir().unwrap();
    let mut mosquitto = Mosquitto::start("persistence false").await;
    let linked = Linked::start(settings(mosquitto.port, data.path()));
    for number in 0..300 {
        linked.publish(&format!("doc/{number}"), "old", QoS::AtLeastOnce, true);
    }
    linked.publish("gone", "x", QoS::AtLeastOnce, true);
    linked.connected().await;
    linked.delivered().await;
    linked.publish("doc/7", "new", QoS::AtMostOnce, true);
    linked.publish("gone", "", QoS::AtLeastOnce, true);
    linked.delivered().await;
    mosquitto.stop();
    until("gone", || linked.stats.status().is_err()).await;
    mosquitto.start_again().await;
    linked.connected().await;
    linked.delivered().await;
    // The first observer may come while they do; the second finds them all retained.
    for all_there in [false, true] {
        let mut observer = Observer::at(mosquitto.port).await;
        let mut found = std::collections::BTreeSet::new();
        while found.len() < 300 {
            let seen = observer.next().await;
            let expected = if seen.topic == "doc/7" { "new" } else { "old" };
            assert_eq!(seen.payload.as_str(), expected, "{}", seen.topic);
            assert!(seen.retain || !all_there, "{}", seen.topic);
            found.insert(seen.topic);
        }
    }
    linked.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk_survives_the_end_of_the_gateway() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let linked = Linked::start(settings(port, data.path()));
    for number in 0..1000 {
        linked.send("must/arrive", &number.to_string());
    }
    linked.publish("doc", "kept", QoS::AtLeastOnce, true);
    until("all is on disk", || on_disk(data.path()).len() == 1001).await;
    linked.kill().await;
    let mosquitto = Mosquitto::start_on(port, "max_queued_messages 0").await;
    let mut observer = Observer::at(mosquitto.port).await;
    let linked = Linked::start(settings(port, data.path()));
    let order = numbers(&mut observer, "must/arrive", 999).await;
    assert_eq!(order, (0..1000).collect::<Vec<_>>());
    assert_eq!(observer.on("doc").await.payload, "kept");
    linked.delivered().await;
    linked.stop().await;
    assert_eq!(on_disk(data.path()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_end_delivers_what_was_published_last_and_leaves_no_will() {
    let data = tempfile::tempdir().unwrap();
    let mosquitto = Mosquitto::start("").await;
    let mut observer = Observer::at(mosquitto.port).await;
    let linked = Linked::start(settings(mosquitto.port, data.path()));
    linked.connected().await;
    linked.publish("state", "bye", QoS::AtLeastOnce, true);
    linked.stop().await;
    assert_eq!(observer.on("state").await.payload, "bye");
    let linked = Linked::start(settings(mosquitto.port, data.path()));
    linked.connected().await;
    linked.kill().await;
    assert_eq!(observer.on("state").await.payload, "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_is_said() {
    let data = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut few = settings(port, data.path());
    few.outbox_messages = 10;
    let linked = Linked::start(few);
    for number in 0..15 {
        linked.send("must/arrive", &number.to_string());
    }
    linked.publish("doc", "still taken", QoS::AtLeastOnce, true);
    assert_eq!(linked.number("outbox_refused"), 5);
    let mosquitto = Mosquitto::start_on(port, "persistence false").await;
    let mut observer = Observer::at(mosquitto.port).await;
    let room = loop {
        let event = observer.on("event").await.payload;
        if event.contains("room") {
            break event;
        }
        assert!(event.contains("\"kind\":\"full\""), "{event}");
    };
    assert!(room.contains("\"refused\":5"), "{room}");
    linked.delivered().await;
    linked.send("must/arrive", "again");
    while observer.on("must/arrive").await.payload != "again" {}
    linked.stop().await;
}
