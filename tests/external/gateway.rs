//! The whole gateway: packets of a meter in, and at the broker the same tree as in embedded mode.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use meter_protocols::brultech::Format;
use meterbridge::config::{self, Source};
use meterbridge::gateway::{Addresses, Gateway, GatewayError};
use meterbridge::simulator::{self, Direction, Simulation, SimulatorError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Mosquitto, Observer, free_port, local, on_disk, until, within};

/// A gateway in this process, with one simulated meter that sends ten packets a second.
struct TestGateway {
    addresses: Addresses,
    stop: CancellationToken,
    gateway: JoinSet<Result<(), GatewayError>>,
    _meter: JoinSet<Result<(), SimulatorError>>,
}

fn configuration(broker: &str, data_dir: &Path, meters: u16) -> String {
    format!(
        "data_dir: {}\nbroker: {broker}\nweb: {{listen: \"127.0.0.1:0\"}}\nmeters:\n  - {{name: \
         house, kind: brultech, link: {{listen: \"127.0.0.1:{meters}\"}}}}\n",
        data_dir.display()
    )
}

impl TestGateway {
    async fn start(broker: &str, data_dir: &Path) -> Self {
        let file = data_dir.join("config.yaml");
        std::fs::write(&file, configuration(broker, data_dir, 0)).unwrap();
        let source = Source { file: Some(file), ..Source::default() };
        let loaded = config::load(&source).unwrap();
        let gateway = Gateway::build(&loaded.config).await.unwrap();
        let (addresses, stop) = (gateway.addresses().clone(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(gateway.run(stop.clone()));
        let mut meter = JoinSet::new();
        meter.spawn(simulate(addresses.meters[0], stop.clone()));
        Self { addresses, stop, gateway: tasks, _meter: meter }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        within(self.gateway.join_next()).await.unwrap().unwrap().unwrap();
    }
}

async fn simulate(gateway: SocketAddr, stop: CancellationToken) -> Result<(), SimulatorError> {
    let interval = Duration::from_millis(100);
    let simulation = Simulation { format: Format::Bin48NetTime, meters: 1, interval, seed: 1 };
    simulator::run(simulation, Direction::Connect(gateway.to_string()), stop).await
}

/// The answer of `/healthz` and the like.
async fn get(web: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(web).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The topics of the tree, as the embedded broker has them.
async fn embedded_tree() -> BTreeSet<String> {
    let data = tempfile::tempdir().unwrap();
    let gateway = TestGateway::start("{listen: \"127.0.0.1:0\"}", data.path()).await;
    let mut observer = Observer::at(gateway.addresses.broker[0].port()).await;
    let (mut tree, mut packets) = (BTreeSet::new(), 0);
    // The first packet gives no powers yet, and the list of devices comes once a second.
    while packets < 5
        || !tree.contains("powermeter/house/state/sample")
        || !tree.contains("meterbridge/bridge/devices")
    {
        let topic = observer.next().await.topic;
        packets += u32::from(topic == "powermeter/house/state/channels");
        tree.insert(topic);
    }
    gateway.stop().await;
    tree.retain(|topic| !topic.starts_with("$SYS") && !is_rare(topic));
    tree
}

/// Comes every ten seconds, or once when the meter is heard first: within the time that is listened
/// to, or not.
fn is_rare(topic: &str) -> bool {
    topic == "meterbridge/bridge/health" || topic.ends_with("/tmpo/sync")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_elsewhere_has_the_same_tree() {
    let expected = embedded_tree().await;
    assert!(expected.len() > 100, "{expected:?}");
    for version in [4, 5] {
        let data = tempfile::tempdir().unwrap();
        let mut mosquitto = Mosquitto::start("persistence false").await;
        let port = mosquitto.port;
        let mut observer = Observer::at(port).await;
        let broker = format!(
            "{{mode: external, external: {{url: \"mqtt://127.0.0.1:{port}\", version: {version}}}}}"
        );
        let gateway = TestGateway::start(&broker, data.path()).await;
        assert_eq!(gateway.addresses.broker, []);
        let mut seen = observer.until_all(&expected).await;
        seen.retain(|topic| !is_rare(topic));
        assert_eq!(seen, expected);
        let health = get(gateway.addresses.web[0], "/healthz").await;
        assert!(health.contains("\"connected\":true"), "{health}");
        let metrics = get(gateway.addresses.web[0], "/metrics").await;
        assert!(metrics.contains("meterbridge_broker_connects_total 1\n"), "{metrics}");

        // Without its broker the gateway goes on, and says so.
        mosquitto.stop();
        let web = gateway.addresses.web[0];
        let mut health = String::new();
        while !health.contains("\"connected\":false") {
            health = within(get(web, "/healthz")).await;
        }
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        mosquitto.start_again().await;
        let mut observer = Observer::at(port).await;
        let mut seen = observer.until_all(&expected).await;
        seen.retain(|topic| !is_rare(topic));
        assert_eq!(seen, expected);
        gateway.stop().await;
        while observer.on("meterbridge/bridge/state").await.payload != "offline" {}
    }
}

/// The program itself. Dropping it kills it as `kill -9` does.
struct Program(Child);

impl Program {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meterbridge"));
        command.current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_survive_a_kill_of_the_gateway_and_the_will_is_published() {
    let data = tempfile::tempdir().unwrap();
    let (port, meters) = (free_port(), free_port());
    let broker = format!("{{mode: external, external: {{url: \"mqtt://127.0.0.1:{port}\"}}}}");
    let text = configuration(&broker, data.path(), meters);
    std::fs::write(data.path().join("config.yaml"), text).unwrap();

    let program = Program::start(data.path());
    let stop = CancellationToken::new();
    let mut meter = JoinSet::new();
    meter.spawn(simulate(local(meters), stop.clone()));
    let documents = || -> BTreeSet<(String, String)> {
        let all = on_disk(data.path()).into_iter();
        all.filter(|(topic, _)| topic.starts_with("/device/")).collect()
    };
    until("the documents are on disk", || documents().len() == 4).await;
    drop(program);
    stop.cancel();
    within(meter.join_next()).await;

    let kept = documents();
    let mosquitto = Mosquitto::start_on(port, "persistence false").await;
    let mut observer = Observer::at(mosquitto.port).await;
    let program = Program::start(data.path());
    let mut arrived = BTreeSet::new();
    while !arrived.is_superset(&kept) {
        let seen = observer.next().await;
        arrived.insert((seen.topic, seen.payload));
    }
    let mut state = Observer::at(port).await;
    while state.on("meterbridge/bridge/state").await.payload != "online" {}
    drop(program);
    while state.on("meterbridge/bridge/state").await.payload != "offline" {}
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_come_from_a_broker_elsewhere_and_are_answered_there() {
    const INFO: &str = "powermeter/house/state/info";
    for version in [4, 5] {
        let data = tempfile::tempdir().unwrap();
        let mosquitto = Mosquitto::start("persistence false").await;
        let port = mosquitto.port;
        let mut observer = Observer::at(port).await;
        // What lies there from before is no command.
        observer.publish("powermeter/house/cmd", r#"{"cmd":"info","id":"old"}"#, true).await;
        let broker = format!(
            "{{mode: external, external: {{url: \"mqtt://127.0.0.1:{port}\", version: {version}}}}}"
        );
        let gateway = TestGateway::start(&broker, data.path()).await;
        while !observer.on("powermeter/house/state/sample").await.payload.contains("power") {}
        if version == 5 {
            // Nor is one that is kept from now on; MQTT 3.1.1 cannot tell that.
            observer.publish("powermeter/house/cmd", r#"{"cmd":"info","id":"kept"}"#, true).await;
        }
        observer.publish("powermeter/house/cmd", r#"{"cmd":"getPower","id":[1]}"#, false).await;
        let reply = observer.on(INFO).await;
        assert!(reply.payload.starts_with(r#"{"error":false,"cmd":"getPower","activePower":"#));
        assert!(reply.payload.ends_with(r#","id":[1]}"#) && !reply.retain, "{reply:?}");
        observer.publish("powermeter/sample", "v", false).await;
        let reply = observer.on(INFO).await;
        assert!(reply.payload.contains(r#""unit":"V""#), "{reply:?}");

        // The command line goes through the gateway and needs no broker.
        let url = format!("http://{}", gateway.addresses.web[0]);
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_meterbridge"))
            .args(["command", "house", r#"{"cmd":"info"}"#, "--url", &url])
            .output();
        let output = within(output).await.unwrap();
        let reply = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && reply.contains(r#""type":"gem""#), "{reply}");

        // Requests for the gateway itself come the same way.
        let rename = r#"{"from":"house","to":"main","transaction":1}"#;
        observer.publish("meterbridge/bridge/request/rename", rename, false).await;
        // The meter's new name and the response may come in either order.
        let (mut answered, mut online) = (false, false);
        while !(answered && online) {
            let seen = observer.next().await;
            match seen.topic.as_str() {
                "meterbridge/bridge/response/rename" => {
                    let end = r#""status":"ok","transaction":1}"#;
                    assert!(seen.payload.ends_with(end) && !seen.retain, "{seen:?}");
                    answered = true;
                }
                "powermeter/main/state/availability" => online = seen.payload == "online",
                _ => {}
            }
        }
        let mut newcomer = Observer::at(port).await;
        newcomer.publish("test/marker", "", false).await;
        loop {
            let seen = newcomer.next().await;
            // Nothing is left under the old name.
            assert_ne!(seen.topic, "powermeter/house/state/availability", "{seen:?}");
            if seen.topic == "test/marker" {
                break;
            }
        }
        gateway.stop().await;
    }
}
