//! Time over the end of the broker: what expires, and wills.

use std::collections::BTreeSet;

use super::{change, count, crash, on_disk, resume, say};
use crate::support::{Raw, connect, connect_with, packet, string};

#[tokio::test]
async fn time_goes_on_while_the_broker_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    for (id, expiry) in [("short", 600), ("long", 7200)] {
        let (mut client, _) = resume(broker.address, 5, id, expiry).await;
        client.subscribe("a", 1).await;
        client.send(&[0xE0, 0]).await;
        client.until_closed().await;
    }
    let mut other = broker.client(5, "other").await;
    // Message expiry 600 s and 7200 s, queued and retained.
    for (topic, expiry) in [("a", 600_u16), ("a", 7200), ("r/1", 600), ("r/2", 7200)] {
        let [high, low] = expiry.to_be_bytes();
        let head = [string(topic), vec![0, 9, 5, 0x02, 0, 0, high, low]].concat();
        let flags = 0x32 | u8::from(topic != "a");
        other.send(&packet(flags, &[head, expiry.to_string().into_bytes()].concat())).await;
        assert_eq!(other.packet().await.0, 0x40);
    }
    crash(broker);
    // An hour later.
    change(&dir, "UPDATE session SET left_at = left_at - 3600000");
    change(&dir, "UPDATE message SET expires = expires - 3600000");
    change(&dir, "UPDATE retained SET expires = expires - 3600000");
    let broker = on_disk(&dir).await;
    let (_, present) = resume(broker.address, 5, "short", 600).await;
    assert!(!present, "its session has expired");
    let (mut long, present) = resume(broker.address, 5, "long", 600).await;
    assert!(present);
    let (first, body) = long.packet().await;
    assert_eq!(first, 0x32);
    assert!(body.ends_with(b"7200"), "the other one has expired");
    // Topic, packet id, and the expiry that is left: about 3600 s.
    assert_eq!(body[5..7], [5, 0x02]);
    let left = u32::from_be_bytes([body[7], body[8], body[9], body[10]]);
    assert!((3500..=3600).contains(&left), "{left} s left");
    let mut reader = broker.client(4, "reader").await;
    reader.subscribe("r/#", 0).await;
    assert_eq!(reader.message().await.1, "r/2");
    reader.ping().await;
    broker.stop().await.unwrap();
    assert_eq!(count(&dir, "retained"), 1, "what has expired leaves the disk too");
}

#[tokio::test]
async fn wills_of_clients_that_a_crash_cut_off_are_published_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    let (mut watcher, _) = resume(broker.address, 4, "watcher", 0).await;
    watcher.subscribe("will/#", 1).await;
    let open = async |id: &str, expiry: u8, delay: u8| {
        let mut raw = Raw::open(broker.address).await;
        let topic = format!("will/{id}");
        let rest = [vec![5, 0x18, 0, 0, 0, delay], string(&topic), string("gone")].concat();
        raw.send(&connect_with(5, id, 0x2E, 0, &[0x11, 0, 0, 0, expiry], &rest)).await;
        assert_eq!(raw.packet().await.1[1], 0);
        raw
    };
    let _held = (open("clean", 0, 0).await, open("kept", 200, 0).await);
    let _late = open("delayed", 200, 100).await;
    let mut polite = open("polite", 200, 0).await;
    polite.send(&[0xE0, 0]).await;
    polite.until_closed().await;
    let mut other = broker.client(4, "other").await;
    say(&mut other, "sync", "x", 1).await;
    crash(broker);
    let broker = on_disk(&dir).await;
    let (mut watcher, present) = resume(broker.address, 4, "watcher", 0).await;
    assert!(present);
    let mut wills = BTreeSet::new();
    for _ in 0..2 {
        let (_, topic, id, _) = watcher.message().await;
        watcher.send(&[[0x40, 2], id.to_be_bytes()].concat()).await;
        wills.insert(topic);
    }
    assert_eq!(wills.into_iter().collect::<Vec<_>>(), ["will/clean", "will/kept"]);
    watcher.ping().await;
    // The delay of the third has begun; its end is on disk.
    broker.stop().await.unwrap();
    change(&dir, "UPDATE session SET left_at = left_at - 101000 WHERE client_id = 'delayed'");
    let broker = on_disk(&dir).await;
    let (mut watcher, _) = resume(broker.address, 4, "watcher", 0).await;
    assert_eq!(watcher.message().await.1, "will/delayed");
    watcher.ping().await;
    // All are retained, and none is published twice.
    let mut late = broker.client(4, "late").await;
    late.subscribe("will/#", 0).await;
    for expected in ["will/clean", "will/delayed", "will/kept"] {
        assert_eq!(late.message().await.1, expected);
    }
    late.ping().await;
}

#[tokio::test]
async fn a_clean_stop_leaves_retained_wills_and_those_with_a_delay_behind() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    let mut client = Raw::open(broker.address).await;
    let rest = [string("will"), string("gone")].concat();
    client.send(&connect(4, "c", 0x26, 0, &rest)).await;
    assert_eq!(client.packet().await.1[1], 0);
    let mut delayed = Raw::open(broker.address).await;
    let rest = [vec![5, 0x18, 0, 0, 0, 60], string("late"), string("gone")].concat();
    delayed.send(&connect_with(5, "late", 0x26, 0, &[0x11, 0, 0, 0, 100], &rest)).await;
    assert_eq!(delayed.packet().await.1[1], 0);
    broker.stop().await.unwrap();
    assert_eq!(count(&dir, "session"), 1);
    change(&dir, "UPDATE session SET left_at = left_at - 61000");
    let broker = on_disk(&dir).await;
    let mut reader = broker.client(4, "reader").await;
    for topic in ["will", "late"] {
        reader.subscribe(topic, 0).await;
        assert_eq!(reader.message().await.3, b"gone", "{topic}");
    }
}
