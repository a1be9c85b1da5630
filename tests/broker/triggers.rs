//! What is known to stop another broker for everybody. Here each costs its sender at most.
//!
//! The silent connections to the TLS port and to the WebSocket port are with the tests of those.

use std::sync::atomic::Ordering;

use meterbridge::broker::{Message, QoS};
use tokio::task::JoinSet;

use crate::support::{Raw, TestBroker, connect, connect_with, packet, publish, within};

/// Two clients that must be served whatever happens.
struct Others {
    publisher: Raw,
    subscriber: Raw,
    sent: u32,
}

impl Others {
    async fn of(broker: &TestBroker) -> Self {
        let mut subscriber = broker.client(5, "other subscriber").await;
        subscriber.subscribe("others/#", 1).await;
        Self { publisher: broker.client(4, "other publisher").await, subscriber, sent: 0 }
    }

    /// Shows that a message still goes from one to the other.
    async fn are_served(&mut self) {
        self.sent += 1;
        let payload = self.sent.to_be_bytes();
        self.publisher.publish("others/x", &payload, 0x02, 1).await;
        assert_eq!(self.publisher.packet().await, (0x40, vec![0, 1]));
        let (_, _, id, received) = self.subscriber.message().await;
        assert_eq!(received, payload);
        self.subscriber.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
    }
}

#[tokio::test]
async fn a_topic_that_starts_with_a_letter_beyond_ascii() {
    let broker = TestBroker::start().await;
    let mut others = Others::of(&broker).await;
    for level in [4, 5] {
        let mut client = broker.client(level, "c").await;
        for topic in ["ä/x", "\u{10348}", "é", "/ü"] {
            for filter in [topic, "#", "+/#"] {
                client.subscribe(filter, 0).await;
            }
            client.publish(topic, b"x", 0x01, 0).await;
            assert_eq!(client.message().await.1, topic);
            let filters = [topic, "#", "+/#"].map(crate::support::string).concat();
            let none: &[u8] = if level == 5 { &[0] } else { &[] };
            client.send(&packet(0xA2, &[&[0, 5], none, &filters[..]].concat())).await;
            assert_eq!(client.packet().await.0, 0xB0);
            // The retained one is gone before the next round.
            client.publish(topic, b"", 0x01, 0).await;
        }
        others.are_served().await;
    }
}

#[tokio::test]
async fn client_ids_with_the_characters_of_filters_that_come_twice() {
    let broker = TestBroker::start().await;
    let mut others = Others::of(&broker).await;
    for id in ["a/b", "+", "#", "$SYS", "/", "$share/g/a", "a+b#c$d/e"] {
        for level in [4, 5] {
            let mut first = broker.client(level, id).await;
            let mut second = broker.client(level, id).await;
            first.until_closed().await;
            second.subscribe("a/#", 1).await;
            second.publish("a/b", b"x", 0, 0).await;
            assert_eq!(second.message().await.3, b"x");
        }
        others.are_served().await;
    }
}

#[tokio::test]
async fn the_connection_limit_and_a_client_that_tries_again() {
    let broker = TestBroker::with(|settings| settings.limits.connections = 3).await;
    let mut others = Others::of(&broker).await;
    let mut held = broker.client(4, "held").await;
    for _ in 0..100 {
        let mut retrying = Raw::open(broker.address).await;
        retrying.try_send(&connect(4, "retrying", 2, 0, &[])).await;
        retrying.until_closed().await;
    }
    others.are_served().await;
    held.ping().await;
    drop(held);
    within(async {
        while broker.stats.connections.load(Ordering::Relaxed) == 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    broker.client(4, "retrying").await.ping().await;
    others.are_served().await;
}

#[tokio::test]
async fn packets_that_only_a_server_may_send() {
    let broker = TestBroker::start().await;
    let mut others = Others::of(&broker).await;
    for level in [4, 5] {
        let none: &[u8] = if level == 5 { &[0] } else { &[] };
        let connack = packet(0x20, &[&[0, 0], none].concat());
        let unsuback = packet(0xB0, &[&[0, 1], none].concat());
        for wrong in [connack, unsuback] {
            let mut client = broker.client(level, "wrong").await;
            client.send(&wrong).await;
            client.until_closed().await;
            // And as the very first packet.
            let mut stranger = Raw::open(broker.address).await;
            stranger.send(&wrong).await;
            assert_eq!(stranger.until_closed().await, []);
            others.are_served().await;
        }
    }
    assert_eq!(broker.stats.codec_failures.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_member_of_a_shared_subscription_that_leaves_with_an_open_message() {
    let broker = TestBroker::start().await;
    let mut others = Others::of(&broker).await;
    let mut stays = broker.client(5, "stays").await;
    stays.subscribe("$share/g/work", 1).await;
    for round in 0..10 {
        let mut leaves = Raw::open(broker.address).await;
        // Kept for an hour.
        leaves.send(&connect_with(5, "leaves", 0, 0, &[0x11, 0, 0, 0x0E, 0x10], &[])).await;
        leaves.packet().await;
        leaves.level = 5;
        if round == 0 {
            leaves.subscribe("$share/g/work", 1).await;
        }
        for n in 0..4_u8 {
            let message =
                Message { topic: "work", payload: &[n], qos: QoS::AtLeastOnce, retain: false };
            broker.link.publish(message);
        }
        // Two each; those of the one are acknowledged, those of the other are not.
        leaves.message().await;
        drop(leaves);
        for _ in 0..2 {
            let (_, _, id, _) = stays.message().await;
            stays.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
        }
        others.are_served().await;
    }
    stays.ping().await;
}

#[tokio::test]
async fn a_subscriber_that_leaves_in_a_flood() {
    let broker = TestBroker::start().await;
    let mut others = Others::of(&broker).await;
    let mut flood = JoinSet::new();
    let mut publisher = broker.client(4, "flood").await;
    flood.spawn(async move {
        let bytes = publish(4, "flood", &[b'x'; 200], 0, 0).repeat(100);
        loop {
            publisher.send(&bytes).await;
        }
    });
    for round in 0..30 {
        let level = if round % 2 == 0 { 4 } else { 5 };
        let mut subscriber = broker.client(level, "leaving").await;
        subscriber.subscribe("flood", u8::from(round % 3 == 0)).await;
        subscriber.message().await;
        if round % 4 == 0 {
            subscriber.send(&[0xE0, 0]).await;
        }
        drop(subscriber);
        others.are_served().await;
    }
    flood.shutdown().await;
    others.are_served().await;
}
