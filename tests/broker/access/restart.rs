//! What was kept on disk, when its client has other rights after the restart.

use super::*;
use crate::disk::{crash, resume};
use tempfile::TempDir;

async fn open(dir: &TempDir, deny: &[&str]) -> TestBroker {
    let rules = vec![rule(Who::Anonymous, &["#"], &["#"], deny)];
    TestBroker::with(|settings| {
        settings.access = AccessSettings { rules, ..AccessSettings::default() };
        settings.data_dir = Some(dir.path().to_owned());
    })
    .await
}

/// At QoS 1, acknowledged: it is on disk.
async fn publish(broker: &TestBroker, topic: &str) {
    let mut other = broker.client(4, "other").await;
    other.publish(topic, topic.as_bytes(), 0x02, 1).await;
    assert_eq!(other.packet().await, (0x40, vec![0, 1]), "PUBACK for {topic}");
}

#[tokio::test]
async fn nothing_kept_goes_out_to_whom_it_is_denied_now() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]).await;
    let (mut client, _) = resume(broker.address, 4, "c", 0).await;
    for filter in ["secret/#", "open/#"] {
        assert_eq!(subscribe(&mut client, filter, 1).await, 1);
    }
    client.send(&[0xE0, 0]).await;
    client.until_closed().await;
    for topic in ["secret/a", "open/a", "secret/b"] {
        publish(&broker, topic).await;
    }
    crash(broker);

    let broker = open(&dir, &["secret/#"]).await;
    let (mut client, present) = resume(broker.address, 4, "c", 0).await;
    assert!(present);
    assert_eq!(client.message().await.1, "open/a");
    client.ping().await;
    assert_eq!(count(&broker.stats.withheld), 2);
    assert_eq!(count(&broker.stats.kept_messages), 1);
    // An id, the filter; granted or not, it is gone after this.
    client.send(&packet(0xA2, &[&[0, 5], &*string("secret/#")].concat())).await;
    assert_eq!(client.packet().await.0, 0xB0);
    crash(broker);

    let broker = open(&dir, &[]).await;
    let (mut client, present) = resume(broker.address, 4, "c", 0).await;
    assert!(present);
    assert_eq!(client.message().await.1, "open/a", "it was not acknowledged");
    publish(&broker, "secret/c").await;
    publish(&broker, "open/c").await;
    assert_eq!(client.message().await.1, "open/c", "what was unsubscribed stays so");
    client.ping().await;
}

#[tokio::test]
async fn a_will_that_is_denied_now_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(&dir, &[]).await;
    let mut clients = Vec::new();
    for topic in ["secret/will", "open/will"] {
        let mut client = Raw::open(broker.address).await;
        let will = [string(topic), string("gone")].concat();
        // Kept session, retained will.
        client.send(&connect(4, topic, 0x24, 0, &will)).await;
        assert_eq!(client.packet().await, (0x20, vec![0, 0]));
        clients.push(client);
    }
    crash(broker);
    let broker = open(&dir, &["secret/#"]).await;
    let mut reader = broker.client(4, "reader").await;
    assert_eq!(subscribe(&mut reader, "#", 0).await, 0);
    assert_eq!(reader.message().await.1, "open/will");
    reader.ping().await;
    assert_eq!(count(&broker.stats.retained_messages), 1);
    assert_eq!(count(&broker.stats.refused_wills), 1);
}
