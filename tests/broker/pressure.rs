//! Publishers that are faster than their subscribers, and subscribers that do not move at all.

use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::support::{Raw, TestBroker, publish, within};

const FLOOD: u32 = 60_000;

/// Sends `FLOOD` numbered messages of `size` bytes as fast as the broker takes them.
fn flood(tasks: &mut JoinSet<Raw>, mut publisher: Raw, topic: &'static str, size: usize) {
    tasks.spawn(async move {
        let (mut bytes, mut payload) = (Vec::new(), vec![0; size]);
        for number in 0..FLOOD {
            payload[..4].copy_from_slice(&number.to_be_bytes());
            bytes.extend(publish(publisher.level, topic, &payload, 0, 0));
            if bytes.len() > 10_000 || number == FLOOD - 1 {
                publisher.send(&bytes).await;
                bytes.clear();
            }
        }
        publisher
    });
}

/// Reads all of a flood and looks that nothing is missing.
async fn read_flood(subscriber: &mut Raw) {
    for number in 0..FLOOD {
        let (_, _, _, payload) = subscriber.message().await;
        assert_eq!(payload[..4], number.to_be_bytes(), "none lost, none twice, in order");
    }
}

#[tokio::test]
async fn a_flood_of_qos_0_loses_nothing() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 1_000).await;
    let mut subscriber = broker.client(4, "subscriber").await;
    subscriber.subscribe("flood", 0).await;
    let mut tasks = JoinSet::new();
    flood(&mut tasks, broker.client(5, "publisher").await, "flood", 4);
    read_flood(&mut subscriber).await;
    assert_eq!(broker.stats.dropped_queue_full.load(Ordering::Relaxed), 0);
    within(tasks.join_next()).await.unwrap().unwrap().ping().await;
}

#[tokio::test]
async fn many_floods_into_one_subscriber_lose_nothing() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 100).await;
    let mut subscriber = broker.client(5, "subscriber").await;
    subscriber.subscribe("#", 0).await;
    let mut tasks = JoinSet::new();
    for (n, topic) in ["a", "b", "c", "d"].into_iter().enumerate() {
        flood(&mut tasks, broker.client(4, &format!("p{n}")).await, topic, 4);
    }
    let mut next = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..4 * FLOOD {
        let (_, topic, _, payload) = subscriber.message().await;
        let expected = next.entry(topic).or_default();
        assert_eq!(payload[..4], expected.to_be_bytes());
        *expected += 1;
    }
    assert_eq!(broker.stats.dropped_queue_full.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_subscriber_that_stands_still_is_given_up_and_the_others_get_all() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 1_000).await;
    let mut still = broker.client(4, "still").await;
    still.subscribe("flood", 0).await;
    let mut moving = broker.client(4, "moving").await;
    moving.subscribe("flood", 0).await;
    let mut tasks = JoinSet::new();
    // The first time fills the sockets' buffers and shows that it stands still.
    for round in 0..2 {
        flood(&mut tasks, broker.client(4, &format!("p{round}")).await, "flood", 400);
        read_flood(&mut moving).await;
        within(tasks.join_next()).await.unwrap().unwrap();
    }
    moving.ping().await;
    assert!(broker.stats.dropped_queue_full.load(Ordering::Relaxed) > 1_000);
    assert_eq!(broker.stats.clients.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn clients_that_flood_each_other_with_qos_1_do_not_lock_up() {
    let broker = TestBroker::with(|settings| settings.limits.queued_messages = 20_000).await;
    let mut pair = [broker.client(4, "one").await, broker.client(4, "two").await];
    for (n, client) in pair.iter_mut().enumerate() {
        client.subscribe(["to/one", "to/two"][n], 1).await;
    }
    let mut tasks = JoinSet::new();
    for (n, mut client) in pair.into_iter().enumerate() {
        // All out before anything is read: both queues are far above their marks then.
        tasks.spawn(async move {
            let mut bytes = Vec::new();
            for id in 1..=12_000 {
                bytes.extend(publish(4, ["to/two", "to/one"][n], b"x", 2, id));
            }
            client.send(&bytes).await;
            let (mut published, mut received) = (0, 0);
            while published < 12_000 || received < 12_000 {
                let (first, body) = client.packet().await;
                if first == 0x40 {
                    published += 1;
                } else {
                    received += 1;
                    client.send(&[0x40, 2, body[8], body[9]]).await;
                }
            }
        });
    }
    while let Some(done) = within(tasks.join_next()).await {
        done.unwrap();
    }
}
