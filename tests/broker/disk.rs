//! What survives the end of the broker, however sudden, and what happens when the disk fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meterbridge::broker::{Broker, BrokerSettings, Message, QoS};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Raw, TestBroker, connect, connect_with, packet, string, within};

/// The gateway as a process of its own, with a directory to come back to.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) async fn start(data_dir: &Path) -> Self {
        Self::start_as(data_dir, Command::new(env!("CARGO_BIN_EXE_meterbridge"))).await
    }

    /// The same by a command that ends in the program.
    async fn start_as(data_dir: &Path, mut command: Command) -> Self {
        let log = data_dir.join("gateway.log");
        let file = std::fs::File::create(&log).unwrap();
        let mut child = command
            .args(["run", "--set", "broker.listen=127.0.0.1:0", "--set", "web.enabled=false"])
            .args(["--set", &format!("data_dir={}", data_dir.display())])
            .current_dir(data_dir)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = within(async {
            loop {
                let text = std::fs::read_to_string(&log).unwrap();
                assert_eq!(child.try_wait().unwrap(), None, "{text}");
                let found = text.lines().find_map(|line| {
                    line.split_once("mqtt broker listens address=")?.1.trim().parse().ok()
                });
                match found {
                    Some(address) => return address,
                    None => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        })
        .await;
        Self { child, address }
    }

    /// kill -9, and until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        within(self.child.wait()).await.unwrap();
    }
}

/// Connects with a session kept for `expiry` seconds (MQTT 5) or for ever, and answers whether there
/// was one.
pub(crate) async fn resume(address: SocketAddr, level: u8, id: &str, expiry: u16) -> (Raw, bool) {
    let mut raw = Raw::open(address).await;
    let [high, low] = expiry.to_be_bytes();
    raw.send(&connect_with(level, id, 0, 0, &[0x11, 0, 0, high, low], &[])).await;
    let (first, body) = raw.packet().await;
    assert_eq!((first, body[1]), (0x20, 0));
    raw.level = level;
    (raw, body[0] == 1)
}

async fn on_disk(dir: &TempDir) -> TestBroker {
    TestBroker::with(|settings| settings.data_dir = Some(dir.path().to_owned())).await
}

/// Ends the broker as a crash would: nothing more is written, no client is told.
pub(crate) fn crash(broker: TestBroker) {
    drop(broker);
}

/// Publishes at QoS 1 and waits for PUBACK: all that was noted before is on disk then.
async fn say(raw: &mut Raw, topic: &str, payload: &str, flags: u8) {
    raw.publish(topic, payload.as_bytes(), flags | 0x02, 77).await;
    let (first, body) = raw.packet().await;
    assert_eq!((first, &body[..2]), (0x40, &[0, 77][..]), "PUBACK for {topic}");
}

async fn say_twice(raw: &mut Raw, topic: &str, payload: &str, id: u8) {
    raw.publish(topic, payload.as_bytes(), 0x04, id.into()).await;
    assert_eq!(raw.packet().await.0, 0x50);
    raw.send(&[0x62, 2, 0, id]).await;
    assert_eq!(raw.packet().await.0, 0x70);
}

/// Changes what is on disk while no broker runs.
fn change(dir: &TempDir, statements: &str) {
    let file = rusqlite::Connection::open(dir.path().join("broker.db")).unwrap();
    file.execute_batch(statements).unwrap();
}

fn count(dir: &TempDir, table: &str) -> i64 {
    let file = rusqlite::Connection::open(dir.path().join("broker.db")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

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

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    on_disk(&dir).await.stop().await.unwrap();
    let refusal = async || {
        let settings = BrokerSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            data_dir: Some(dir.path().to_owned()),
            ..BrokerSettings::default()
        };
        Broker::bind(settings).await.map(|_| ()).unwrap_err().to_string()
    };
    change(&dir, "PRAGMA user_version = 99");
    let newer = refusal().await;
    assert!(newer.contains("broker.db has schema version 99"), "{newer}");
    assert!(newer.contains("newer meterbridge"), "{newer}");
    change(&dir, "PRAGMA user_version = 1");
    change(&dir, "INSERT INTO retained VALUES (x'', x'', x'', 0, NULL)");
    let senseless = refusal().await;
    assert!(senseless.contains("broker.db is damaged"), "{senseless}");
    std::fs::write(dir.path().join("broker.db"), vec![b'x'; 8192]).unwrap();
    let damaged = refusal().await;
    assert!(damaged.contains("broker.db is damaged"), "{damaged}");
    assert!(damaged.contains("move") && damaged.contains("away"), "{damaged}");
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

#[tokio::test]
async fn the_bridge_state_of_a_dead_process_is_served_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path()).await;
    let mut raw = Raw::open(process.address).await;
    raw.send(&connect(4, "c", 2, 0, &[])).await;
    raw.packet().await;
    say(&mut raw, "sync", "x", 1).await;
    process.kill().await;
    // A value by which the old process is told from the new one.
    change(
        &dir,
        "UPDATE retained SET payload = x'64656164' WHERE topic = CAST('meterbridge/bridge/state' AS BLOB)",
    );
    let process = Process::start(dir.path()).await;
    let mut raw = Raw::open(process.address).await;
    raw.send(&connect(4, "c", 2, 0, &[])).await;
    raw.packet().await;
    raw.subscribe("meterbridge/bridge/state", 0).await;
    assert_eq!(raw.message().await.3, b"online");
    process.kill().await;
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_only_what_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = on_disk(&dir).await;
    let (mut kept, _) = resume(broker.address, 4, "kept", 0).await;
    kept.subscribe("a", 1).await;
    let (mut four, mut five) = (broker.client(4, "four").await, broker.client(5, "five").await);
    four.subscribe("b", 1).await;
    // Whoever holds this lock is the only one to write.
    let file = rusqlite::Connection::open(dir.path().join("broker.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    five.publish("a", b"1", 0x02, 1).await;
    five.publish("r", b"2", 0x03, 2).await;
    assert_eq!(kept.message().await.3, b"1", "delivered while the disk hangs");
    five.ping().await;
    four.publish("b", b"3", 0x02, 3).await;
    let (first, second) = (four.packet().await.0, four.packet().await.0);
    assert_eq!((first.min(second), first.max(second)), (0x32, 0x40), "others go on");
    five.ping().await;
    file.execute_batch("ROLLBACK").unwrap();
    for id in [1, 2] {
        let (first, body) = five.packet().await;
        assert_eq!((first, &body[..2]), (0x40, &[0, id][..]), "in order");
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_nothing_is_acknowledged_that_it_did_not_take() {
    let dir = tempfile::tempdir().unwrap();
    // Files may grow to 400 KiB; what is written beyond is an error and not the end.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 400; exec \"$0\" \"$@\""]);
    limited.arg(env!("CARGO_BIN_EXE_meterbridge"));
    let process = Process::start_as(dir.path(), limited).await;
    let open = async |level: u8, id: &str| {
        let mut raw = Raw::open(process.address).await;
        raw.send(&connect(level, id, 2, 0, &[])).await;
        assert_eq!(raw.packet().await.1[1], 0);
        raw.level = level;
        raw
    };
    let (mut four, mut five) = (open(4, "four").await, open(5, "five").await);
    let large = "x".repeat(100_000);
    let mut refused = 0;
    for n in 0..20_u16 {
        five.publish(&format!("r/{n}"), large.as_bytes(), 0x03, n + 1).await;
        let (first, body) = five.packet().await;
        assert_eq!(first, 0x40);
        if *body.get(2).unwrap_or(&0) == 0x97 {
            refused = n;
            break;
        }
    }
    assert!(refused > 0, "the first fit and a later one did not");
    four.publish("r/x", b"1", 0x03, 1).await;
    assert_eq!(four.until_closed().await, [], "MQTT 3.1.1 knows no refusal");
    let mut four = open(4, "four").await;
    four.subscribe("b", 1).await;
    four.publish("b", b"3", 0x02, 3).await;
    four.packet().await;
    four.packet().await;
    let log = std::fs::read_to_string(dir.path().join("gateway.log")).unwrap();
    assert!(log.contains("cannot write to its disk"), "{log}");
    // There is room again.
    let pid = process.child.id().unwrap().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().await;
    assert!(raised.unwrap().success());
    within(async {
        loop {
            five.publish("r/last", b"x", 0x03, 99).await;
            let (_, body) = five.packet().await;
            if *body.get(2).unwrap_or(&0) != 0x97 {
                return;
            }
        }
    })
    .await;
    process.kill().await;
    // Also what was refused came to disk in the end.
    assert_eq!(count(&dir, &format!("retained WHERE topic = CAST('r/{refused}' AS BLOB)")), 1);
    let log = std::fs::read_to_string(dir.path().join("gateway.log")).unwrap();
    assert!(log.contains("written to disk again"), "{log}");
}
