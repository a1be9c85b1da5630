//! What outlives a connection: sessions, open exchanges, wills, and the ways a connection ends.

use std::sync::atomic::Ordering;

use meterbridge::broker::{Message, QoS};

use crate::support::{Raw, TestBroker, connect, connect_with, packet, publish, string, within};

/// Connects with a kept session and answers whether there was one.
async fn resume(broker: &TestBroker, level: u8, id: &str) -> (Raw, bool) {
    let mut raw = Raw::open(broker.address).await;
    // For ever on 3.1.1, an hour on 5.
    raw.send(&connect_with(level, id, 0, 0, &[0x11, 0, 0, 0x0E, 0x10], &[])).await;
    let (first, body) = raw.packet().await;
    assert_eq!((first, body[1]), (0x20, 0));
    raw.level = level;
    (raw, body[0] == 1)
}

fn say(broker: &TestBroker, topic: &str, payload: &str, qos: QoS) {
    let payload = payload.as_bytes();
    broker.link.publish(Message { topic, payload, qos, retain: false });
}

/// Waits until the broker has noticed that `count` clients are left.
async fn clients_left(broker: &TestBroker, count: u64) {
    within(async {
        while broker.stats.clients.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_kept_session_queues_for_an_absent_client() {
    let broker = TestBroker::start().await;
    for level in [4, 5] {
        let (mut client, present) = resume(&broker, level, "kept").await;
        assert!(!present);
        client.subscribe("a/#", 2).await;
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
        clients_left(&broker, 0).await;
        say(&broker, "a/b", "0", QoS::AtMostOnce);
        say(&broker, "a/b", "1", QoS::AtLeastOnce);
        broker.publish_with_qos_2(&[("a/b", b"2")], false).await;
        let (mut client, present) = resume(&broker, level, "kept").await;
        assert!(present);
        assert_eq!(client.message().await.3, b"1", "QoS 0 is not kept for the absent");
        assert_eq!(client.message().await.3, b"2");
        drop(client);
        clients_left(&broker, 0).await;
        // A clean start ends it.
        let mut client = broker.client(level, "kept").await;
        say(&broker, "a/b", "x", QoS::AtLeastOnce);
        client.ping().await;
        drop(client);
        clients_left(&broker, 0).await;
        let (client, present) = resume(&broker, level, "kept").await;
        assert!(!present);
        drop(client);
        clients_left(&broker, 0).await;
        broker.client(level, "kept").await;
        clients_left(&broker, 0).await;
    }
    assert_eq!(broker.stats.sessions.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn unfinished_exchanges_are_taken_up_again_with_dup() {
    let broker = TestBroker::start().await;
    let (mut client, _) = resume(&broker, 4, "c").await;
    client.subscribe("a", 2).await;
    say(&broker, "a", "one", QoS::AtLeastOnce);
    broker.publish_with_qos_2(&[("a", b"two"), ("a", b"three")], false).await;
    let (_, _, one, _) = client.message().await;
    let (_, _, two, _) = client.message().await;
    let (_, _, three, _) = client.message().await;
    client.send(&[[0x50, 2], two.to_be_bytes()].concat()).await;
    assert_eq!(client.packet().await.0, 0x62);
    drop(client);
    clients_left(&broker, 0).await;
    let (mut client, present) = resume(&broker, 4, "c").await;
    assert!(present);
    assert_eq!(client.message().await, (0x0A, "a".into(), one, b"one".to_vec()));
    assert_eq!(client.packet().await, (0x62, two.to_be_bytes().to_vec()), "only PUBREL again");
    assert_eq!(client.message().await, (0x0C, "a".into(), three, b"three".to_vec()));
    for id in [two, three] {
        client.send(&[[0x70, 2], id.to_be_bytes()].concat()).await;
    }
    client.send(&[[0x40, 2], one.to_be_bytes()].concat()).await;
    client.send(&[[0x50, 2], three.to_be_bytes()].concat()).await;
    assert_eq!(client.packet().await.0, 0x62);
    client.send(&[[0x70, 2], three.to_be_bytes()].concat()).await;
    client.ping().await;
    drop(client);
    clients_left(&broker, 0).await;
    let (mut client, _) = resume(&broker, 4, "c").await;
    client.ping().await;
}

#[tokio::test]
async fn an_incoming_qos_2_message_counts_once_over_a_reconnect() {
    let broker = TestBroker::start().await;
    let mut subscription = broker.link.subscribe("#").unwrap();
    for level in [4, 5] {
        let (mut client, _) = resume(&broker, level, "c").await;
        client.publish("a", b"once", 0x04, 7).await;
        assert_eq!(client.packet().await.0, 0x50);
        drop(client);
        clients_left(&broker, 0).await;
        let (mut client, _) = resume(&broker, level, "c").await;
        client.publish("a", b"once", 0x0C, 7).await;
        assert_eq!(client.packet().await.0, 0x50);
        client.send(&[0x62, 2, 0, 7]).await;
        assert_eq!(client.packet().await, (0x70, vec![0, 7]));
        client.publish("a", b"next", 0x04, 7).await;
        assert_eq!(client.packet().await.0, 0x50);
        client.send(&[0x62, 2, 0, 7]).await;
        assert_eq!(client.packet().await.0, 0x70);
        for expected in ["once", "next"] {
            assert_eq!(within(subscription.recv()).await.unwrap().payload, expected.as_bytes());
        }
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
        clients_left(&broker, 0).await;
    }
}

/// The part of CONNECT behind the client id for a will without properties.
fn will(level: u8, topic: &str, properties: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    if level == 5 {
        rest.push(u8::try_from(properties.len()).unwrap());
        rest.extend_from_slice(properties);
    }
    [rest, string(topic), string("gone")].concat()
}

async fn client_with_will(broker: &TestBroker, level: u8, id: &str, keep_alive: u16) -> Raw {
    let mut raw = Raw::open(broker.address).await;
    raw.send(&connect(level, id, 0x02 | 0x04 | 0x20 | 0x08, keep_alive, &will(level, id, &[])))
        .await;
    assert_eq!(raw.packet().await.1[1], 0);
    raw.level = level;
    raw
}

#[tokio::test]
async fn a_will_is_published_when_and_only_when_it_should() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.client(4, "watcher").await;
    watcher.subscribe("#", 1).await;
    for level in [4, 5] {
        let mut polite = client_with_will(&broker, level, "polite", 0).await;
        polite.send(&[0xE0, 0]).await;
        polite.until_closed().await;
        drop(client_with_will(&broker, level, "broken", 0).await);
        assert_eq!(watcher.message().await.1, "broken");
        let mut wrong = client_with_will(&broker, level, "wrong", 0).await;
        wrong.send(&[0x00, 0]).await;
        assert_eq!(watcher.message().await.1, "wrong");
        let mut first = client_with_will(&broker, level, "twice", 0).await;
        let second = client_with_will(&broker, level, "twice", 0).await;
        assert_eq!(watcher.message().await.1, "twice", "take-over publishes the old one's will");
        let goodbye = first.until_closed().await;
        assert_eq!(goodbye, if level == 5 { vec![(0xE0, vec![0x8E])] } else { vec![] });
        drop(second);
        assert_eq!(watcher.message().await.1, "twice", "and keeps the new one's");
        let mut silent = client_with_will(&broker, level, "silent", 1).await;
        assert_eq!(watcher.message().await.1, "silent", "keep-alive is enforced");
        let goodbye = silent.until_closed().await;
        assert_eq!(goodbye, if level == 5 { vec![(0xE0, vec![0x8D])] } else { vec![] });
    }
    assert_eq!(broker.stats.keep_alive_timeouts.load(Ordering::Relaxed), 2);
    let mut parting = client_with_will(&broker, 5, "parting", 0).await;
    parting.send(&[0xE0, 1, 0x04]).await;
    assert_eq!(watcher.message().await.1, "parting", "DISCONNECT with will message");
    let mut late = broker.client(4, "late").await;
    late.subscribe("polite", 0).await;
    late.subscribe("parting", 0).await;
    assert_eq!(late.message().await.0, 1, "a will may be retained");
}

#[tokio::test]
async fn a_will_delay_is_cut_short_by_the_clients_return_or_the_sessions_end() {
    let broker = TestBroker::start().await;
    let mut subscription = broker.link.subscribe("#").unwrap();
    let open = async |id: &str, expiry: u8, delay: u8| {
        let mut raw = Raw::open(broker.address).await;
        let properties = [0x11, 0, 0, 0, expiry];
        let rest = will(5, id, &[0x18, 0, 0, 0, delay]);
        raw.send(&connect_with(5, id, 0x04, 0, &properties, &rest)).await;
        assert_eq!(raw.packet().await.1[1], 0);
        raw
    };
    drop(open("returns", 100, 60).await);
    clients_left(&broker, 0).await;
    let back = open("returns", 100, 60).await;
    drop(open("expires", 1, 60).await);
    drop(open("delayed", 100, 2).await);
    drop(open("at once", 0, 60).await);
    for expected in ["at once", "expires", "delayed"] {
        assert_eq!(*within(subscription.recv()).await.unwrap().topic, *expected);
    }
    drop(back);
    clients_left(&broker, 0).await;
    broker.client(5, "returns").await;
    assert_eq!(
        *within(subscription.recv()).await.unwrap().topic,
        *"returns",
        "ended by clean start"
    );
}

#[tokio::test]
async fn client_ids_are_assigned_or_refused() {
    let broker = TestBroker::start().await;
    let answer = async |bytes: Vec<u8>| {
        let mut raw = Raw::open(broker.address).await;
        raw.send(&bytes).await;
        (raw.packet().await.1, raw)
    };
    let (accepted, _held) = answer(connect(4, "", 2, 0, &[])).await;
    assert_eq!(accepted, [0, 0]);
    let (refused, mut raw) = answer(connect(4, "", 0, 0, &[])).await;
    assert_eq!(refused, [0, 2]);
    assert_eq!(raw.until_closed().await, []);
    let (assigned, _held) = answer(connect(5, "", 2, 0, &[])).await;
    assert_eq!(assigned[1], 0);
    assert!(assigned.windows(5).any(|bytes| bytes == b"auto-"), "the id is told: {assigned:?}");
    let (awkward, mut raw) = answer(connect(4, "a/b+#$", 2, 0, &[])).await;
    assert_eq!(awkward, [0, 0]);
    raw.ping().await;
    let (again, mut other) = answer(connect(4, "a/b+#$", 2, 0, &[])).await;
    assert_eq!(again, [0, 0]);
    other.ping().await;
}

#[tokio::test]
async fn the_keep_alive_limit_is_told_or_refused() {
    let broker = TestBroker::with(|settings| {
        settings.limits.keep_alive = std::time::Duration::from_secs(100);
    })
    .await;
    let mut five = Raw::open(broker.address).await;
    five.send(&connect(5, "five", 2, 101, &[])).await;
    let (_, body) = five.packet().await;
    assert!(body.windows(3).any(|bytes| bytes == [0x13, 0, 100]), "server keep-alive in {body:?}");
    let mut old = Raw::open(broker.address).await;
    old.send(&connect(4, "old", 2, 101, &[])).await;
    assert_eq!(old.packet().await.1, [0, 2]);
    let mut never = Raw::open(broker.address).await;
    never.send(&connect(4, "never", 2, 0, &[])).await;
    assert_eq!(never.packet().await.1, [0, 0]);
}

#[tokio::test]
async fn a_stop_sends_what_is_queued_and_says_goodbye() {
    let broker = TestBroker::start().await;
    let mut five = broker.client(5, "five").await;
    let mut four = broker.client(4, "four").await;
    five.subscribe("a", 0).await;
    four.subscribe("a", 0).await;
    let mut idle = Raw::open(broker.address).await;
    for n in 0..200 {
        say(&broker, "a", &n.to_string(), QoS::AtMostOnce);
    }
    broker.begin_stop();
    let packets = five.until_closed().await;
    assert_eq!(packets.len(), 201);
    assert_eq!(packets[200], (0xE0, vec![0x8B]));
    assert_eq!(four.until_closed().await.len(), 200);
    assert_eq!(idle.until_closed().await, []);
    let address = broker.address;
    broker.stop().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is given back");
}

#[tokio::test]
async fn publishing_and_leaving_in_one_breath_is_acknowledged() {
    let broker = TestBroker::start().await;
    let mut subscription = broker.link.subscribe("a").unwrap();
    let mut raw = Raw::open(broker.address).await;
    let bytes =
        [connect(4, "c", 2, 0, &[]), publish(4, "a", b"x", 0x02, 3), packet(0xE0, &[])].concat();
    raw.send(&bytes).await;
    assert_eq!(raw.until_closed().await, [(0x20, vec![0, 0]), (0x40, vec![0, 3])]);
    assert_eq!(within(subscription.recv()).await.unwrap().payload, &b"x"[..]);
}
