//! Sessions over the end of the broker: open exchanges, waiting messages, and whose room they take.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use meterbridge::broker::{Message, QoS};

use super::{count, crash, on_disk, resume, say, say_twice};
use crate::support::TestBroker;

#[tokio::test]
async fn open_exchanges_go_on_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    let (mut client, _) = resume(broker.address, 4, "c", 0).await;
    client.subscribe("a", 2).await;
    let mut other = broker.client(4, "other").await;
    say(&mut other, "a", "one", 0).await;
    say_twice(&mut other, "a", "two", 1).await;
    say_twice(&mut other, "a", "three", 2).await;
    let (_, _, one, _) = client.message().await;
    let (_, _, two, _) = client.message().await;
    let (_, _, three, _) = client.message().await;
    client.send(&[[0x50, 2], two.to_be_bytes()].concat()).await;
    assert_eq!(client.packet().await.0, 0x62);
    // An exchange the other way that waits for PUBREL, and messages nobody has been sent.
    let (mut absent, _) = resume(broker.address, 5, "absent", 3600).await;
    absent.subscribe("b", 2).await;
    absent.send(&[0xE0, 0]).await;
    absent.until_closed().await;
    client.publish("b", b"once", 0x04, 7).await;
    assert_eq!(client.packet().await.0, 0x50);
    say(&mut other, "b", "first", 0).await;
    crash(broker);

    let broker = on_disk(&dir).await;
    let (mut client, present) = resume(broker.address, 4, "c", 0).await;
    assert!(present);
    assert_eq!(client.message().await, (0x0A, "a".into(), one, b"one".to_vec()));
    assert_eq!(client.packet().await, (0x62, two.to_be_bytes().to_vec()), "only PUBREL again");
    assert_eq!(client.message().await, (0x0C, "a".into(), three, b"three".to_vec()));
    client.publish("b", b"once", 0x0C, 7).await;
    assert_eq!(client.packet().await.0, 0x50);
    client.send(&[0x62, 2, 0, 7]).await;
    assert_eq!(client.packet().await, (0x70, vec![0, 7]));
    let mut other = broker.client(4, "other").await;
    say(&mut other, "a", "four", 0).await;
    let (flags, _, four, payload) = client.message().await;
    assert_eq!((flags, payload), (0x02, b"four".to_vec()));
    assert!(![one, two, three].contains(&four), "{four} is open");
    let (mut absent, present) = resume(broker.address, 5, "absent", 3600).await;
    assert!(present);
    // QoS 1 may overtake QoS 2, whose packet id has to be on disk first.
    let waiting = BTreeSet::from([absent.message().await.3, absent.message().await.3]);
    assert_eq!(waiting, BTreeSet::from([b"first".to_vec(), b"once".to_vec()]));
    absent.ping().await;
    broker.stop().await.unwrap();
    // Over a clean end as well; then the client comes clean, and nothing of it is left.
    let broker = on_disk(&dir).await;
    let (mut client, present) = resume(broker.address, 4, "c", 0).await;
    assert!(present);
    assert_eq!(client.message().await.2, one);
    drop(client);
    broker.client(4, "c").await;
    broker.client(4, "absent").await;
    broker.stop().await.unwrap();
    for table in ["session", "subscription", "copy", "message", "received"] {
        assert_eq!(count(&dir, table), 0, "{table}");
    }
}

#[tokio::test]
async fn a_message_for_many_is_stored_once_and_goes_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    for n in 0..5 {
        let (mut client, _) = resume(broker.address, 4, &format!("c{n}"), 0).await;
        client.subscribe("a/#", 1).await;
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
    }
    let mut other = broker.client(4, "other").await;
    say(&mut other, "a/b", "x", 0).await;
    assert_eq!((count(&dir, "message"), count(&dir, "copy")), (1, 5));
    for n in 0..5 {
        let (mut client, _) = resume(broker.address, 4, &format!("c{n}"), 0).await;
        let (_, _, id, _) = client.message().await;
        client.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
        client.ping().await;
        say(&mut other, "sync", "x", 1).await;
        assert_eq!(count(&dir, "message"), i64::from(n < 4));
        assert_eq!(count(&dir, "copy"), 4 - n);
    }
}

#[tokio::test]
async fn retained_messages_still_owed_to_a_subscription_come_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    for n in 0..3000 {
        let topic = format!("r/{n}");
        broker.link.publish(Message {
            topic: &topic,
            payload: b"x",
            qos: QoS::AtLeastOnce,
            retain: true,
        });
    }
    let (mut client, _) = resume(broker.address, 4, "c", 0).await;
    client.subscribe("r/#", 1).await;
    client.message().await;
    crash(broker);
    let broker = on_disk(&dir).await;
    let (mut client, present) = resume(broker.address, 4, "c", 0).await;
    assert!(present);
    let mut topics = BTreeSet::new();
    while topics.len() < 3000 {
        let (_, topic, id, _) = client.message().await;
        client.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
        topics.insert(topic);
    }
    // They are owed no more: the next connection gets nothing again.
    client.ping().await;
    client.send(&[0xE0, 0]).await;
    client.until_closed().await;
    let mut other = broker.client(4, "other").await;
    say(&mut other, "sync", "x", 1).await;
    crash(broker);
    let broker = on_disk(&dir).await;
    let (mut client, _) = resume(broker.address, 4, "c", 0).await;
    client.ping().await;
}

#[tokio::test]
async fn one_client_that_stays_away_does_not_take_the_room_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let broker = TestBroker::with(|settings| {
        settings.data_dir = Some(dir.path().to_owned());
        settings.limits.total_queued_messages = 10;
    })
    .await;
    for id in ["hog", "modest"] {
        let (mut client, _) = resume(broker.address, 4, id, 0).await;
        client.subscribe(id, 1).await;
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
    }
    let mut other = broker.client(4, "other").await;
    for n in 0..15 {
        say(&mut other, "hog", &n.to_string(), 0).await;
    }
    for n in 0..2 {
        say(&mut other, "modest", &n.to_string(), 0).await;
    }
    let number = |gauge: &AtomicU64| gauge.load(Ordering::Relaxed);
    assert_eq!(number(&broker.stats.dropped_quota), 5, "counted, and logged");
    assert_eq!(number(&broker.stats.kept_messages), 12);
    assert_eq!(count(&dir, "copy"), 12);
    let (mut hog, _) = resume(broker.address, 4, "hog", 0).await;
    for n in 0..10 {
        let (_, _, id, payload) = hog.message().await;
        assert_eq!(payload, n.to_string().as_bytes());
        hog.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
    }
    hog.ping().await;
    assert_eq!(number(&broker.stats.kept_messages), 2);
    broker.client(4, "modest").await;
    assert_eq!(number(&broker.stats.kept_messages), 0);
    assert_eq!(number(&broker.stats.kept_bytes), 0);
}
