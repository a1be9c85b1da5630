//! The whole program with a configuration file: what it listens on, and with what.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::certificates::Authority;
use crate::support::within;
use crate::websocket::Socket;

/// The program, started in a directory with a `config.yaml`.
struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Program {
    fn start(dir: &std::path::Path, config: &str) -> Self {
        std::fs::write(dir.join("config.yaml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_meterbridge"))
            .current_dir(dir)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of the log that holds these words.
    async fn says(&mut self, words: &str) -> String {
        let line = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("the program ended without saying {words:?}");
        };
        within(line).await
    }
}

/// Of `url="http://127.0.0.1:8080/"`.
fn port(line: &str) -> u16 {
    let (_, port) = line.trim_end_matches(['/', '"']).rsplit_once(':').unwrap();
    port.parse().unwrap()
}

fn address(line: &str) -> SocketAddr {
    let (_, rest) = line.split_once("address=").unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

const CONFIG: &str = "
broker:
  listen: 127.0.0.1:0
  tls: {listen: 127.0.0.1:0, certificate: server.pem, key: server.key}
web: {listen: 127.0.0.1:0}
";

#[tokio::test]
async fn the_program_serves_what_its_configuration_asks_for() {
    let authority = Authority::new();
    authority.files("server");
    let mut program = Program::start(authority.dir(), CONFIG);
    let tls = address(&program.says("listens with tls").await);
    let publish = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &tls.port().to_string(), "-t", "a", "-m", "x", "-q", "1"])
        .arg("--cafile")
        .arg(authority.path("ca.pem"))
        .output();
    let output = within(publish).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let web = port(&program.says("web server listens").await);
    Socket::client(([127, 0, 0, 1], web).into(), 5, "browser").await;
    assert!(program.child.try_wait().unwrap().is_none(), "it runs on");
}

#[tokio::test]
async fn a_web_port_open_to_all_does_not_open_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let config = "broker: {listen: 127.0.0.1:0}\nweb: {listen: 0.0.0.0:0}\n";
    for (config, status) in [
        (config.to_owned(), Some(403)),
        (config.replace("}\nweb", ", websocket: false}\nweb"), Some(404)),
        (config.replace("}\nweb", ", allow_anonymous: true}\nweb"), None),
    ] {
        let mut program = Program::start(dir.path(), &config);
        let web = port(&program.says("web server listens").await);
        let refused = Socket::open(([127, 0, 0, 1], web).into(), Some("mqtt")).await.err();
        assert_eq!(refused, status, "{config}");
        within(program.child.kill()).await.unwrap();
    }
}

#[tokio::test]
async fn check_names_what_is_wrong_with_the_files_and_health_does_not_need_them() {
    let authority = Authority::new();
    std::fs::write(authority.path("config.yaml"), CONFIG).unwrap();
    let run = async |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_meterbridge");
        let output = Command::new(program).current_dir(authority.dir()).args(arguments).output();
        let output = within(output).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["check"]).await;
    assert_eq!(code, 78);
    for part in ["certificate: server.pem", "key: server.key"] {
        let line = format!("broker.tls.{part}: cannot be read: there is no such file");
        assert!(text.contains(&line), "{text}");
    }
    // 1: nobody is there to ask. The files are not looked for.
    assert_eq!(run(&["health"]).await.0, 1);
    authority.write("server", &authority.issue(2021));
    let (code, text) = run(&["check"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("server.pem expired on 2021-12-31"), "{text}");
    authority.files("server");
    assert_eq!(run(&["check"]).await, (0, "config.yaml: fine (0 meters)\n".to_owned()));
}
