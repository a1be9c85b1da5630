//! A gateway in the test process, and the small things every test needs.

use std::net::SocketAddr;
use std::path::Path;

use meterbridge::config::{self, Config, Source};
use meterbridge::gateway::{Addresses, Gateway, GatewayError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::record::within;
use crate::subscriber::Subscriber;

/// One meter without a serial number, on any free port.
pub(crate) const HOUSE: &str = "
  - name: house
    kind: brultech
    link: {listen: 127.0.0.1:0}
";

/// A directory with a configuration and the data of a gateway; it stays over restarts.
#[derive(Debug)]
pub(crate) struct Site {
    dir: TempDir,
}

impl Site {
    /// A site with these entries under `meters:`.
    pub(crate) fn new(meters: &str) -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        site.configure(meters);
        site
    }

    /// A directory without a configuration file.
    pub(crate) fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Puts other entries in place for the next start.
    pub(crate) fn configure(&self, meters: &str) {
        let text = format!(
            "data_dir: {:?}\nbroker: {{listen: 127.0.0.1:0}}\nweb: {{listen: 127.0.0.1:0}}\n\
             meters:{meters}",
            self.path().join("data")
        );
        std::fs::write(self.config_file(), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config_file(&self) -> std::path::PathBuf {
        self.path().join("config.yaml")
    }

    fn config(&self) -> Config {
        let source = Source { file: Some(self.config_file()), ..Source::default() };
        config::load(&source).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    /// Takes every port and loads the state, and goes no further.
    pub(crate) async fn build(&self) -> Result<Gateway, GatewayError> {
        Gateway::build(&self.config()).await
    }

    /// Starts a gateway here.
    pub(crate) async fn start(&self) -> Running {
        Running::start(self.build().await.unwrap())
    }
}

/// A gateway that runs in a task. Dropping it cuts it off in the middle of whatever it does.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    stop: CancellationToken,
    task: JoinSet<Result<(), GatewayError>>,
}

impl Running {
    pub(crate) fn start(gateway: Gateway) -> Self {
        let (addresses, stop) = (gateway.addresses().clone(), CancellationToken::new());
        let mut task = JoinSet::new();
        task.spawn(gateway.run(stop.clone()));
        Self { addresses, stop, task }
    }

    pub(crate) fn broker(&self) -> SocketAddr {
        self.addresses.broker[0]
    }

    pub(crate) fn web(&self) -> SocketAddr {
        self.addresses.web[0]
    }

    /// A client that hears everything.
    pub(crate) async fn subscriber(&self) -> Subscriber {
        Subscriber::new(self.broker()).await
    }

    /// A connection to the first port for meters.
    pub(crate) async fn dial(&self) -> Meter {
        Meter::dial(self.addresses.meters[0]).await
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(mut self) {
        self.begin_stop();
        self.stopped().await;
    }

    /// Waits for the end that was begun.
    pub(crate) async fn stopped(&mut self) {
        within("the end of the gateway", self.task.join_next()).await.unwrap().unwrap().unwrap();
    }

    /// One of the gateway's own numbers.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        metric(self.web(), name).await
    }

    /// Waits until one of the gateway's own numbers is what it should be. Numbers have no events,
    /// so it is asked again and again; each question is an exchange with the gateway.
    pub(crate) async fn until_metric(&self, name: &str, fits: impl Fn(u64) -> bool) -> u64 {
        within(name, async {
            loop {
                let value = self.metric(name).await;
                if fits(value) {
                    return value;
                }
            }
        })
        .await
    }
}

/// One of the numbers under `/metrics`.
pub(crate) async fn metric(web: SocketAddr, name: &str) -> u64 {
    let text = get(web, "/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// The answer to an HTTP request, head and all.
pub(crate) async fn get(web: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(web).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {web}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an HTTP answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// The answer to a command sent over HTTP, head and all.
pub(crate) async fn post(web: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(web).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {web}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an HTTP answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// The meter's end of a connection.
#[derive(Debug)]
pub(crate) struct Meter {
    stream: TcpStream,
}

impl Meter {
    pub(crate) async fn dial(gateway: SocketAddr) -> Self {
        Self::over(within("a connection", TcpStream::connect(gateway)).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("the gateway to take bytes", self.stream.write_all(bytes)).await.unwrap();
    }

    /// Each byte by itself.
    pub(crate) async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(std::slice::from_ref(byte)).await;
        }
    }

    /// Reads until the text ends in `end`.
    pub(crate) async fn answer(&mut self, end: &str) -> String {
        let mut answer = Vec::new();
        within("an answer", async {
            while !answer.ends_with(end.as_bytes()) {
                answer.push(self.stream.read_u8().await.unwrap());
            }
        })
        .await;
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the gateway closes the connection.
    pub(crate) async fn closed(&mut self) {
        let mut byte = [0];
        let end = within("the end of the connection", self.stream.read(&mut byte)).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}

/// A port that is free now, and not one that the system gives out by itself. For tests that need
/// the same port twice.
pub(crate) fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    (0..2000)
        .map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of two thousand ports is free")
}
