//! Very many subscriptions of one client.

use std::sync::atomic::Ordering;

use crate::support::{TestBroker, packet, string, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_subscriptions_as_a_client_may_have_are_made_in_one_packet_and_again() {
    let broker = TestBroker::start().await;
    let mut client = broker.client(4, "many").await;
    let mut other = broker.client(4, "other").await;
    other.publish("49999", b"kept", 0x01, 0).await;
    other.ping().await;
    let filters: Vec<Vec<u8>> = (0..50_000).map(|n: u32| string(&n.to_string())).collect();
    let all: Vec<u8> = filters.iter().flat_map(|filter| [filter, &[0][..]].concat()).collect();
    for round in 0..2 {
        client.send(&packet(0x82, &[&[0, 1], &*all].concat())).await;
        // Somebody else is served meanwhile, by the one thread there is.
        other.ping().await;
        let (first, body) = client.packet().await;
        assert_eq!((first, body.len()), (0x90, 50_002));
        assert!(body[2..].iter().all(|code| *code == 0), "round {round}");
        let (flags, topic, _, payload) = client.message().await;
        assert_eq!((flags, &*topic, &*payload), (1, "49999", &b"kept"[..]), "round {round}");
    }
    client.ping().await;
    client.send(&packet(0xA2, &[&[0, 1], &*filters.concat()].concat())).await;
    assert_eq!(client.packet().await, (0xB0, vec![0, 1]));
    assert_eq!(broker.stats.subscriptions.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_groups_as_a_client_may_be_in_come_and_go_at_once() {
    let broker = TestBroker::start().await;
    let mut client = broker.client(4, "many").await;
    let mut other = broker.client(4, "other").await;
    let all: Vec<u8> = (0..50_000)
        .flat_map(|n: u32| [string(&format!("$share/{n}/a")), vec![0]].concat())
        .collect();
    client.send(&packet(0x82, &[&[0, 1], &*all].concat())).await;
    other.ping().await;
    let (first, body) = client.packet().await;
    assert_eq!((first, body.len()), (0x90, 50_002));
    assert!(body[2..].iter().all(|code| *code == 0));
    assert_eq!(broker.stats.shared_subscriptions.load(Ordering::Relaxed), 50_000);
    client.send(&[0xE0, 0]).await;
    client.until_closed().await;
    within(async {
        while broker.stats.shared_subscriptions.load(Ordering::Relaxed) > 0 {
            other.ping().await;
        }
    })
    .await;
}
