//! What survives the end of the broker, however sudden, and what happens when the disk fails.

mod faults;
mod sessions;
mod time;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{Raw, TestBroker, connect_with, within};

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
