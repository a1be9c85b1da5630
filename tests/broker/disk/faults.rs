//! A disk that hangs, is full, or holds what cannot be used, and a process that died.

use meterbridge::broker::{Broker, BrokerSettings};
use tokio::process::Command;

use super::{Process, change, count, on_disk, resume, say};
use crate::support::{Raw, connect, within};

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
