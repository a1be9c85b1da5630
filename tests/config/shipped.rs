//! The file that comes with the program, the contract's example, and defaults.

use std::path::Path;

use meterbridge::config::{self, Config, NOT_SUPPORTED_YET, Source};

use crate::{HASH, given, meter};

#[test]
fn an_empty_file_gives_the_defaults() {
    for text in ["", "# nothing\n", "broker:\nmeters:\n", "broker: {}\nmeters: []\n"] {
        assert_eq!(given(text).config(), Config::default(), "{text:?}");
    }
}

#[test]
fn the_shipped_file_gives_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let source = Source { file: Some(file), ..Source::default() };
    let loaded = config::load(&source).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn the_examples_of_the_shipped_file_are_right() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml")).unwrap();
    let lines = text.lines().filter(|line| *line != "meters: []").map(|line| match line {
        "#|" => "",
        line => line.strip_prefix("#| ").unwrap_or(line),
    });
    let given = given(&lines.collect::<Vec<_>>().join("\n")).without_files();
    let mistakes = given.mistakes();
    assert!(mistakes.len() >= 2, "{mistakes:#?}");
    // There are no such files where the tests run.
    let no_file = |mistake: &String| {
        mistake.contains("/config/passwd cannot be read")
            || mistake.contains("/config/broker-ca.pem cannot be read")
    };
    for mistake in mistakes.iter().filter(|mistake| !no_file(mistake)) {
        assert!(mistake.ends_with(NOT_SUPPORTED_YET), "{mistake}");
    }
}

/// Every key has a line in the shipped file, with its default or as an example.
#[test]
fn the_shipped_file_shows_every_key() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml")).unwrap();
    let known = meter("    channels: {ch1: {name: x}, pulse1: {constant: 1}}\n");
    let listing = given(&known).loaded().listing();
    for line in listing.lines() {
        let path = line.split(": ").next().unwrap();
        let key = path.rsplit('.').find(|key| key.parse::<usize>().is_err()).unwrap();
        assert!(text.contains(&format!("{key}:")), "{path}");
    }
}

#[test]
fn the_example_of_the_contract_is_read() {
    let passwd = given("");
    std::fs::write(passwd.path("passwd"), "# nobody yet\n").unwrap();
    let text = r##"
data_dir: ./data
broker:
  mode: embedded
  listen: [127.0.0.1:1883, "[::1]:1883"]
  tls: {listen: 0.0.0.0:8883, certificate: cert.pem, key: key.pem, client_ca: ca.pem}
  websocket: true
  allow_anonymous: false
  users: [{name: ha, password_hash: "HASH"}]
  password_file: /config/passwd
  acl:
    - {user: ha, read: ["#"], write: ["powermeter/+/cmd"], deny: ["powermeter/+/state/info"]}
    - {user: "*", read: ["home/%u/#"]}
    - {read: ["/sensor/#"]}
  limits: {connections: 1000, connections_per_address: 200, connect_timeout: 10s, keep_alive: 65535s, packet_size: 2097152,
           inflight: 100, queued_messages: 100000, queued_bytes: 67108864, retained_messages: 200000}
  external: {url: "mqtt://user@nas:1883", password: x, client_id: meterbridge, version: 5}
web: {enabled: true, listen: 127.0.0.1:8080, base_path: /}
meters:
  - name: house
    kind: brultech
    link: {listen: 0.0.0.0:8083}
    serial_number: "01100603"
    poll: 10s
    polarity: vendor
    timeout: auto
    channels:
      ch1: {name: Mains, role: grid, multiplier: 1}
      pulse1: {name: Gas, type: gas, constant: 10}
      t1: {name: Cellar}
homeassistant: {discovery: device, prefix: homeassistant}
sinks: [{kind: sqlite, file: x.db}]
"##;
    let path = passwd.path("passwd").display().to_string();
    let text = text.replace("HASH", HASH).replace("/config/passwd", &path);
    let mistakes = given(&text).without_files().mistakes();
    assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
    assert!(mistakes[0].contains(": sinks: "), "{}", mistakes[0]);
    assert!(mistakes[0].ends_with(NOT_SUPPORTED_YET), "{}", mistakes[0]);
}
