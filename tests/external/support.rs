//! A mosquitto, a client that listens there, a way to it that can be cut, and a link to it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meterbridge::broker::{
    External, ExternalError, ExternalSettings, ExternalStats, Link, Message, ProtocolVersion, QoS,
    Will,
};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Awaits `work`, but not for ever.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it should have happened by now")
}

/// Waits until `happened`, asking again and again.
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let asking = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// A port that nobody listens on, below those that the system gives to clients.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_700);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A mosquitto with a port of its own. Dropping it kills it.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    directory: TempDir,
    process: Child,
}

impl Mosquitto {
    /// Anonymous and without a disk, with further lines of configuration.
    pub(crate) async fn start(lines: &str) -> Self {
        Self::start_on(free_port(), lines).await
    }

    pub(crate) async fn start_on(port: u16, lines: &str) -> Self {
        let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\n{lines}\n");
        Self::with(port, &text).await
    }

    /// With this configuration, which listens on `port`. `DIR/` in it is a directory of its own.
    pub(crate) async fn with(port: u16, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = format!("{}/", directory.path().display());
        let text = format!("user root\n{}", configuration.replace("DIR/", &own));
        std::fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
        let process = launch(directory.path());
        let mut mosquitto = Self { port, directory, process };
        mosquitto.ready().await;
        mosquitto
    }

    async fn ready(&mut self) {
        until("mosquitto listens", || {
            assert!(self.process.try_wait().unwrap().is_none(), "mosquitto ended");
            std::net::TcpStream::connect(local(self.port)).is_ok()
        })
        .await;
    }

    /// Ends it as the system would, so that it can write what it keeps.
    pub(crate) fn stop(&mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        self.process.wait().unwrap();
    }

    pub(crate) async fn start_again(&mut self) {
        self.process = launch(self.directory.path());
        self.ready().await;
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(directory: &Path) -> Child {
    // Debian keeps daemons where a plain user's PATH does not look.
    let path = format!("{}:/usr/local/sbin:/usr/sbin", std::env::var("PATH").unwrap());
    Command::new("mosquitto")
        .env("PATH", path)
        .arg("-c")
        .arg(directory.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed")
}

/// A client that is not ours, which has subscribed to everything with QoS 1.
pub(crate) struct Observer {
    client: AsyncClient,
    events: EventLoop,
    /// What came while something else was waited for.
    early: VecDeque<Seen>,
}

/// What it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: String,
    pub(crate) retain: bool,
}

impl Observer {
    pub(crate) async fn at(port: u16) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let id = format!("observer-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(id, "127.0.0.1", port);
        options.set_max_packet_size(10_000_000, 10_000_000);
        let (client, events) = AsyncClient::new(options, 100);
        client.subscribe("#", rumqttc::QoS::AtLeastOnce).await.unwrap();
        let mut observer = Self { client, events, early: VecDeque::new() };
        while !matches!(observer.poll().await, Event::Incoming(Packet::SubAck(_))) {}
        observer
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.early.pop_front() {
                return seen;
            }
            self.poll().await;
        }
    }

    async fn poll(&mut self) -> Event {
        let event = within(self.events.poll()).await.expect("the observer's connection holds");
        if let Event::Incoming(Packet::Publish(publish)) = &event {
            let payload = String::from_utf8_lossy(&publish.payload).into_owned();
            let (topic, retain) = (publish.topic.clone(), publish.retain);
            self.early.push_back(Seen { topic, payload, retain });
        }
        event
    }

    /// The next message on `topic`.
    pub(crate) async fn on(&mut self, topic: &str) -> Seen {
        let search = async {
            loop {
                let seen = self.next().await;
                if seen.topic == topic {
                    return seen;
                }
            }
        };
        // Other topics may go on for ever.
        tokio::time::timeout(PATIENCE, search)
            .await
            .unwrap_or_else(|_| panic!("nothing came on {topic}"))
    }

    /// Takes in messages until there were some on all of `topics`; all topics seen.
    pub(crate) async fn until_all(&mut self, topics: &BTreeSet<String>) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        while !seen.is_superset(topics) {
            let missing: Vec<_> = topics.difference(&seen).take(5).cloned().collect();
            let next = tokio::time::timeout(PATIENCE, self.next()).await;
            seen.insert(next.unwrap_or_else(|_| panic!("missing: {missing:?}")).topic);
        }
        seen
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &str, retain: bool) {
        let qos = rumqttc::QoS::AtLeastOnce;
        self.client.publish(topic, qos, retain, payload).await.unwrap();
        while !matches!(self.poll().await, Event::Incoming(Packet::PubAck(_))) {}
    }
}

/// The gateway's side: a link whose connection is kept up.
pub(crate) struct Linked {
    pub(crate) link: Link,
    pub(crate) stats: Arc<ExternalStats>,
    stop: CancellationToken,
    task: JoinSet<Result<(), ExternalError>>,
}

/// Settings for a test, with short pauses.
pub(crate) fn settings(port: u16, data_dir: &Path) -> ExternalSettings {
    ExternalSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
        ca: None,
        login: None,
        client_id: "meterbridge".to_owned(),
        version: ProtocolVersion::V5,
        will: Some(Will { topic: "state".to_owned(), payload: "offline".to_owned() }),
        event_topic: "event".to_owned(),
        outbox_messages: 100_000,
        outbox_bytes: 64 << 20,
        queued_messages: 10_000,
        queued_bytes: 8 << 20,
        packet_size: 1 << 20,
        inflight: 100,
        pauses: (Duration::from_millis(50), Duration::from_millis(200)),
        data_dir: data_dir.to_owned(),
    }
}

impl Linked {
    pub(crate) fn start(settings: ExternalSettings) -> Self {
        Self::start_with(settings, |_| ()).0
    }

    /// Starts with what `prepare` does before there is a connection, such as to subscribe.
    pub(crate) fn start_with<T>(
        settings: ExternalSettings,
        prepare: impl FnOnce(&Link) -> T,
    ) -> (Self, T) {
        let external = External::open(settings).unwrap();
        let (link, stats, stop) = (external.link(), external.stats(), CancellationToken::new());
        let prepared = prepare(&link);
        let mut task = JoinSet::new();
        task.spawn(external.run(stop.clone()));
        (Self { link, stats, stop, task }, prepared)
    }

    pub(crate) async fn connected(&self) {
        until("connected", || self.stats.status().is_ok()).await;
    }

    /// Waits for a complaint that holds `words`.
    pub(crate) async fn complains(&self, words: &str) {
        let complaint = || self.stats.status().err().unwrap_or_default();
        until(words, || complaint().contains(words)).await;
    }

    /// Waits until everything is acknowledged.
    pub(crate) async fn delivered(&self) {
        until("the outbox is empty", || self.number("outbox_messages") == 0).await;
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.stats.list().find(|(known, _, _)| *known == name).unwrap().2
    }

    pub(crate) fn publish(&self, topic: &str, payload: &str, qos: QoS, retain: bool) {
        self.link.publish(Message { topic, payload: payload.as_bytes(), qos, retain });
    }

    /// QoS 1, not retained: what must arrive, once or more.
    pub(crate) fn send(&self, topic: &str, payload: &str) {
        self.publish(topic, payload, QoS::AtLeastOnce, false);
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        within(self.task.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// Ends it where it stands, as a kill would.
    pub(crate) async fn kill(mut self) {
        self.task.shutdown().await;
    }
}

/// What waits in the outbox on disk: topic and payload.
pub(crate) fn on_disk(data_dir: &Path) -> Vec<(String, String)> {
    let Ok(connection) = rusqlite::Connection::open(data_dir.join("outbox.db")) else {
        return Vec::new();
    };
    let query = "SELECT topic, CAST(payload AS TEXT) FROM message WHERE NOT done ORDER BY seq";
    let Ok(mut statement) = connection.prepare(query) else { return Vec::new() };
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.and_then(Iterator::collect).unwrap_or_default()
}

/// A way to a port that can be cut.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    cuts: tokio::sync::watch::Sender<u64>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// Every connection ends after `bytes` from the client, and at each cut.
    pub(crate) async fn to(target: u16, bytes: u64) -> Self {
        let listener = TcpListener::bind(local(0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, cut) = tokio::sync::watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let mut cut = cut.clone();
                cut.mark_unchanged();
                ways.spawn(async move {
                    tokio::select! {
                        () = pass(client, target, bytes) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, cuts, _task: task }
    }

    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

async fn pass(client: TcpStream, target: u16, bytes: u64) {
    let Ok(server) = TcpStream::connect(local(target)).await else { return };
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut from_client = from_client.take(bytes);
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
    let _ = to_client.shutdown().await;
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
