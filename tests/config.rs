//! The configuration through its doors: files, environment and flags in, values or mistakes out.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use meterbridge::config::link::Link;
use meterbridge::config::meter::Timeout;
use meterbridge::config::{self, Config, NOT_SUPPORTED_YET, Origin, Source, WebSocketMqtt};
use meterbridge::model::Role;
use proptest::prelude::*;
use tempfile::TempDir;

/// A directory with a `config.yaml`.
struct Given {
    dir: TempDir,
    source: Source,
}

fn given(text: &str) -> Given {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    Given { dir, source: Source { file: Some(file), ..Source::default() } }
}

impl Given {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.source.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, flag: &str) -> Self {
        self.source.set.push(flag.to_owned());
        self
    }

    /// The files that values name are not there and need not be.
    fn without_files(mut self) -> Self {
        self.source.without_files = true;
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> Config {
        self.loaded().config
    }

    fn loaded(&self) -> config::Loaded {
        config::load(&self.source).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The mistakes, without the directory.
    fn mistakes(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        match config::load(&self.source) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.lines().map(|line| line.replace(&dir, "")).collect(),
        }
    }
}

/// A file with one good meter, and lines to add to it.
fn meter(lines: &str) -> String {
    format!(
        "meters:\n  - name: house\n    kind: brultech\n    link: {{listen: 127.0.0.1:8083}}\n{lines}"
    )
}

/// A meter on a serial port.
fn serial(device: &str, lines: &str) -> String {
    let link = format!("{{serial: {device}}}");
    meter(lines).replacen("{listen: 127.0.0.1:8083}", &link, 1)
}

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
    assert!(mistakes.len() > 5, "{mistakes:#?}");
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

/// Of "password".
const HASH: &str = "$argon2id$v=19$m=1024,t=1,p=1$MdowDE1AQ654nywP1gpqFA$8N9dhGzK7Ju15LvnGzQz9swWB9jYnOqGO0eZkm5fLeY";
/// The web port is opened for its pages; that must not open the broker.
#[test]
fn mqtt_by_the_web_port_needs_a_word_on_who_may() {
    use WebSocketMqtt::{Off, Open, Unguarded};
    let open = "web: {listen: 0.0.0.0:8080}\n";
    for (text, offer, anonymous) in [
        ("", Open, true),
        ("broker: {websocket: false}\n", Off, true),
        ("web: {enabled: false}\n", Off, true),
        (open, Unguarded, true),
        (&format!("{open}broker: {{websocket: false}}\n"), Off, true),
        (&format!("{open}broker: {{allow_anonymous: true}}\n"), Open, true),
        (&format!("{open}broker: {{allow_anonymous: false}}\n"), Open, false),
    ] {
        let config = given(text).config();
        let got = (config.mqtt_over_websocket(), config.anonymous_allowed());
        assert_eq!(got, (offer, anonymous), "{text}");
    }
    let mut users = given(open).config();
    users.broker.users.push(config::broker::User::default());
    assert_eq!((users.mqtt_over_websocket(), users.anonymous_allowed()), (Open, false));
}

#[test]
fn the_files_of_tls_are_looked_at() {
    let given = given("broker:\n  tls: {listen: 127.0.0.1:8883, key: ./}\n");
    assert_eq!(
        given.mistakes(),
        [
            "config.yaml:2:3: broker.tls.certificate: is missing: write the PEM file that holds the server's certificate"
        ]
    );
    let given = given.set("broker.tls.certificate=none.pem");
    assert_eq!(
        given.mistakes(),
        [
            "config.yaml:2:33: broker.tls.key: ./: cannot be read: it is not a file",
            "--set broker.tls.certificate: broker.tls.certificate: none.pem: cannot be read: there is no such file"
        ]
    );
    assert_eq!(given.without_files().mistakes(), [""; 0]);
}

/// Bad files, and what each line of the answer has to say: the place, and words.
#[test]
fn each_mistake_is_told_with_its_place_and_what_is_right() {
    let two = "  - name: garage\n    kind: brultech\n";
    let cases: &[(&str, &[(&str, &str)])] = &[
        // Keys.
        ("brokr: {}\n", &[("1:1", "brokr: unknown key; did you mean `broker`?")]),
        (
            "broker:\n  listn: 1\n  wifi: 2\n",
            &[
                ("2:3", "broker.listn: unknown key; did you mean `listen`?"),
                ("3:3", "known here: mode, listen"),
            ],
        ),
        (&meter("    serial: \"01100603\"\n"), &[("5:5", "did you mean `serial_number`?")]),
        (&meter("    channels: {ch1: {rol: grid}}\n"), &[("5:22", "did you mean `role`?")]),
        // Types and single values.
        ("broker: {websocket: maybe}\n", &[("1:10", "expected true or false, found \"maybe\"")]),
        ("broker: 7\n", &[("1:1", "broker: expected a section (keys below it), found 7")]),
        (
            "meters: {}\n",
            &[(
                "1:1",
                "meters: expected a list (entries that start with \"- \", or []), found a section",
            )],
        ),
        ("broker: {listen: 1883}\n", &[("1:10", "write ADDRESS:PORT, such as 127.0.0.1:1883")]),
        (
            "web: {listen: [127.0.0.1:80, 127.0.0.1:99999]}\n",
            &[("1:30", "web.listen[1]: \"127.0.0.1:99999\": \"99999\" is not a port")],
        ),
        (
            "broker:\n  limits:\n    connect_timeout: 10\n    keep_alive: soon\n    inflight: 70000\n    connections: 0\n",
            &[
                ("3:5", "write 10s"),
                ("4:5", "\"soon\" is not a span of time"),
                ("5:5", "from 0 to 65535"),
                ("6:5", "at least 1"),
            ],
        ),
        ("broker: {limits: {packet_size: \"5\"}}\n", &[("1:19", "leave the quotes off")]),
        (
            "broker: {limits: {keep_alive: 65536s, packet_size: 268435456}}\n",
            &[("1:19", "65535s"), ("1:39", "268435455")],
        ),
        (
            "log: {level: verbose}\n",
            &[("1:7", "log.level: \"verbose\" is not one of off, error, warn")],
        ),
        ("log: {format: json}\n", &[("1:7", NOT_SUPPORTED_YET)]),
        ("data_dir: \"\"\n", &[("1:1", "data_dir: is empty")]),
        ("web: {base_path: energy}\n", &[("1:7", "write \"/energy\"")]),
        ("web: {base_path: /a b}\n", &[("1:7", "is not a path")]),
        ("homeassistant: {prefix: \"a/#\"}\n", &[("1:17", "is not a topic")]),
        ("web: |\n  x: 1\n  y: 2\n", &[("1:1", "found \"x: 1…\"")]),
        // Listeners.
        ("broker: {listen: 0.0.0.0:1883}\n", &[("1:10", "allow_anonymous: true")]),
        (
            "web: {listen: 127.0.0.1:1883}\n",
            &[("1:7", "127.0.0.1:1883 is taken by 127.0.0.1:1883 (broker.listen, by default)")],
        ),
        (
            "meters:\n- {name: a, kind: brultech, link: {listen: 0.0.0.0:8080}}\n",
            &[("2:36", "is taken by 127.0.0.1:8080")],
        ),
        // Users and the access list.
        (
            "broker:\n  users:\n  - {password_hash: hunter2}\n  - {name: ha}\n  - {name: ha, password_hash: $6$x$y}\n  - {name: \"*\", password_hash: \"$argon2id$v=19$m=9999999,t=1,p=1$x$y\"}\n",
            &[
                ("3:5", "users[0].name: is missing"),
                (
                    "3:6",
                    "users[0].password_hash: is no password hash: it must begin with $argon2id$",
                ),
                ("4:5", "users[1].password_hash: is missing: `meterbridge passwd NAME`"),
                ("5:6", "users[2].name: \"ha\" is there twice (also broker.users[1].name, line 4)"),
                ("5:16", "users[2].password_hash: is not a whole $6$ hash: its salt"),
                ("6:6", "choose another name"),
                ("6:17", "asks for memory (m=, in KiB) beyond 262144"),
            ],
        ),
        (
            "broker:\n  acl:\n  - {}\n  - {user: ha, read: [a, b#, +/#]}\n  - {write: [\"%c/%u\"], deny: [\"$share/g/a\"]}\n",
            &[
                ("3:5", "acl[0]: says nothing"),
                ("4:6", "acl[1].user: \"ha\" is no user"),
                ("4:26", "acl[1].read[1]: topic filter \"b#\" has a wildcard"),
                ("5:14", "acl[2].write[0]: \"%c/%u\" has %u"),
                ("5:31", "acl[2].deny[0]: shared topic filter"),
            ],
        ),
        (
            "broker: {password_file: /nowhere/passwd}\n",
            &[("1:10", "password file /nowhere/passwd cannot be read: No such file")],
        ),
        // Meters.
        (
            "meters:\n  - {}\n",
            &[
                ("2:5", "kind: is missing"),
                ("2:5", "link: is missing"),
                ("2:5", "name: is missing"),
            ],
        ),
        (
            &meter("  - name: house\n    kind: brultech\n    link: {connect: nas:5000}\n"),
            &[(
                "5:5",
                "meters[1].name: \"house\" is used twice (first at meters[0].name, line 2); names must be unique",
            )],
        ),
        (&meter("").replace("house", "my house"), &[("2:5", "such as my_house")]),
        (&meter("").replace("house", "cmd"), &[("2:5", "state, cmd, sample, switch")]),
        (&meter("").replace("brultech", "brultek"), &[("3:5", "did you mean `brultech`?")]),
        (&meter("    serial_number: ABC\n"), &[("5:5", "six to eight digits")]),
        (&meter("    timeout: never\n"), &[("5:5", "or auto")]),
        (&meter("    power_ceiling: 0\n"), &[("5:5", "not above 0")]),
        (&meter("    id: 12\n"), &[("5:5", "32 hex digits")]),
        (&meter("    power_ceiling: 5kWh\n"), &[("5:5", "250kW")]),
        // Links.
        (&meter("").replace("127.0.0.1:8083", "nas"), &[("4:12", "ADDRESS:PORT")]),
        (
            &meter("").replace("{listen: 127.0.0.1:8083}", "{}"),
            &[("4:5", "says no way to the meter")],
        ),
        (
            &meter("").replace("{listen: ", "{connect: nas:1, listen: "),
            &[("4:5", "has listen and connect")],
        ),
        (
            &meter("").replace("{listen: 127.0.0.1:8083}", "{connect: nas:1, idle_timeout: 5s}"),
            &[("4:5", "idle_timeout belongs to listen")],
        ),
        (
            &meter("").replace("8083}", "8083, allow: [10.0.0.0/8, here]}"),
            &[("4:56", "\"here\" is not a network")],
        ),
        (&meter("").replace("8083}", "8083, connections: 0}"), &[("4:36", "at least 1")]),
        (
            &meter(&format!(
                "{two}    link: {{listen: 127.0.0.1:8083, idle_timeout: 5m}}\n    serial_number: \"01100603\"\n"
            )),
            &[("7:5", "with other options")],
        ),
        (
            &meter(&format!("{two}    link: {{listen: 127.0.0.1:8083}}\n")),
            &[("5:5", "meters[1].serial_number: is missing")],
        ),
        (
            &meter(&format!(
                "    serial_number: 01100603\n{two}    link: {{listen: 127.0.0.1:8083}}\n    serial_number: 01100603\n"
            )),
            &[(
                "9:5",
                "\"01100603\" is claimed twice on the same link (first at meters[0].serial_number, line 5)",
            )],
        ),
        (&meter(&format!("{two}    link: {{listen: 0.0.0.0:8083}}\n")), &[("7:12", "is taken by")]),
        // Polling.
        (&meter("    poll: 10\n"), &[("5:5", "10s")]),
        (&meter("    poll: 0.5s\n"), &[("5:5", "at least 1s")]),
        (
            &meter("    units: [fc, fb, 00603, 99999]\n"),
            &[("5:5", "\"fb\" names no meter"), ("5:5", "go up to 65535")],
        ),
        (
            &meter(&format!(
                "    serial_number: 01100604\n    poll: 10s\n{two}    link: {{listen: 127.0.0.1:8083}}\n    serial_number: 01100603\n    poll: 20s\n"
            )),
            &[("11:5", "polled otherwise: write the same interval")],
        ),
        // Serial lines: the default speed of the make is as good as the same one written out.
        (
            &serial(
                "/dev/ttyUSB0",
                &format!(
                    "{two}    link: {{serial: /dev/ttyUSB0, baud: 115200}}\n    serial_number: 01100603\n"
                ),
            ),
            &[("7:5", "with other options")],
        ),
        (
            &serial(
                "/dev/ttyUSB0",
                &format!(
                    "{two}    link: {{serial: /dev/ttyUSB0, baud: 19200}}\n    serial_number: 01100603\n"
                ),
            ),
            &[],
        ),
        (&serial("/dev/ttyUSB0, baud: 0", ""), &[("4:34", "0 is not a speed")]),
        (&serial("ttyUSB0", ""), &[("4:12", "\"ttyUSB0\" is not the path of a device")]),
        (&serial("\"/dev/tty[A\"", ""), &[("4:12", "is not a pattern")]),
        (
            &meter("").replace("brultech", "fluksometer"),
            &[("3:5", NOT_SUPPORTED_YET), ("4:12", "not reached that way: write mqtt or http")],
        ),
        // Channels.
        (
            &meter(
                "    channels:\n      ch49: {}\n      aux1: {role: solar}\n      t1: {multiplier: 2}\n      ch1: {constant: 5}\n      pulse1: {constant: 0}\n      ch2: {multiplier: -1}\n",
            ),
            &[
                ("6:7", "it has ch1 to ch48"),
                ("7:14", "one way only"),
                ("8:12", "has no clamp"),
                ("9:13", "counts no pulses"),
                ("10:16", "not above 0"),
                ("11:13", "-1 is not a factor"),
            ],
        ),
        (
            &meter("    channels: {pulse1: {type: oil}}\n"),
            &[("5:25", "\"oil\" is not one of electricity, gas, water")],
        ),
        // A broken entry does not shift the number of those behind it.
        (
            "meters:\n  - text\n  - {name: x, kind: brultech, link: {connect: nas}}\n",
            &[
                ("2:5", "meters[0]: expected"),
                ("3:38", "meters[1].link.connect: \"nas\" has no port"),
            ],
        ),
        // A broker elsewhere that cannot be dialled.
        ("broker: {mode: external}\n", &[("1:10", "external needs broker.external")]),
        (
            "broker:\n  mode: external\n  external: {url: \"http://nas\", version: 6, client_id: \"\", outbox_messages: 0}\n",
            &[
                ("3:14", "no MQTT broker's address"),
                ("3:33", "6 is out of range"),
                ("3:45", "no other client's"),
                ("3:60", "write at least 1"),
            ],
        ),
        (
            "broker:\n  external: {url: \"mqtt://nas\", password: x, ca: ca.pem}\n",
            &[("2:33", "for nobody"), ("2:46", "write mqtts://")],
        ),
        (
            "broker:\n  external: {url: \"mqtts://me:y@nas\", password: x, ca: /nowhere/ca.pem}\n",
            &[("2:39", "is there twice"), ("2:52", "/nowhere/ca.pem cannot be read")],
        ),
        // Not supported, said as such.
        (
            &meter("")
                .replace("{listen: 127.0.0.1:8083}", "{mqtt: embedded}")
                .replace("brultech", "smartmeter"),
            &[("3:5", NOT_SUPPORTED_YET), ("4:12", NOT_SUPPORTED_YET)],
        ),
        (&meter("").replace("brultech", "p1"), &[("3:5", "p1: not supported")]),
    ];
    for (text, expected) in cases {
        let mistakes = given(text).mistakes();
        assert_eq!(mistakes.len(), expected.len(), "{text}{mistakes:#?}");
        for (mistake, (place, words)) in mistakes.iter().zip(*expected) {
            assert!(mistake.starts_with(&format!("config.yaml:{place}: ")), "{text}{mistake}");
            assert!(mistake.contains(words), "{text}{mistake}\n{words}");
        }
    }
}

#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    let deep = format!("a: {}\n", "[".repeat(3000));
    let cases = [
        ("broker: [\nweb: 1\n", "config.yaml:1:9: not YAML: unclosed bracket"),
        ("web: {}\nweb: {}\n", "config.yaml:2:"),
        ("broker:\n\tlisten: x\n", "config.yaml:2:"),
        ("- a\n", "config.yaml:1:1: expected keys"),
        ("web: 1\n---\nweb: 2\n", "config.yaml:"),
        (deep.as_str(), "config.yaml:"),
        ("a: *b\n", "config.yaml:1:"),
        ("a: .nan\n", "config.yaml:1:4: not YAML: value `.nan` is not a finite number"),
        ("\u{0}", "config.yaml:"),
    ];
    for (text, start) in cases {
        let mistakes = given(text).mistakes();
        assert_eq!(mistakes.len(), 1, "{text:.40}: {mistakes:#?}");
        assert!(mistakes[0].starts_with(start), "{text:.40}: {mistakes:#?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let mut there = given("");
    std::fs::write(there.path("config.yaml"), b"data_dir: \xff\n").unwrap();
    assert!(there.mistakes()[0].contains("byte 11 is not UTF-8"), "{:?}", there.mistakes());
    std::fs::write(there.path("config.yaml"), vec![b' '; 5 << 20]).unwrap();
    assert!(there.mistakes()[0].contains("larger than 4 MiB"), "{:?}", there.mistakes());
    there.source.file = Some(there.path("nowhere.yaml"));
    assert!(
        there.mistakes()[0].starts_with("nowhere.yaml: cannot be read"),
        "{:?}",
        there.mistakes()
    );
    there.source.file = Some(there.dir.path().to_owned());
    assert_eq!(there.mistakes().len(), 1);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "broker: {listen: 127.0.0.1:1}\nweb: {listen: 127.0.0.1:2}\ndata_dir: /a\n";
    let given = given(file)
        .env("METERBRIDGE__BROKER__LISTEN", "127.0.0.1:11")
        .env("METERBRIDGE__WEB__LISTEN", "[127.0.0.1:12, \"[::1]:12\"]")
        .env("PATH", "/bin")
        .set("broker.listen=127.0.0.1:21");
    let loaded = given.loaded();
    assert_eq!(loaded.config.broker.listen.0, ["127.0.0.1:21".parse().unwrap()]);
    assert_eq!(loaded.config.web.listen.0.len(), 2);
    assert_eq!(loaded.config.data_dir, Path::new("/a"));
    assert_eq!(loaded.origin("broker.listen"), Origin::Flag);
    assert_eq!(loaded.origin("web.listen"), Origin::Environment("METERBRIDGE__WEB__LISTEN".into()));
    assert_eq!(loaded.origin("data_dir"), Origin::File(given.path("config.yaml"), 3));
    assert_eq!(loaded.origin("web.base_path"), Origin::Default);
}

#[test]
fn flags_and_environment_reach_into_lists() {
    let given = given(&meter("    channels: {ch1: {role: grid}}\n"))
        .env("METERBRIDGE__METERS__0__SERIAL_NUMBER", "00200604")
        .env("METERBRIDGE__METERS__1__NAME", "barn")
        .set("meters.1.kind=brultech")
        .set("meters[1].link={connect: nas:5000}")
        .set("meters.0.channels.ch2.name=2")
        .set("meters.0.timeout=null");
    let loaded = given.loaded();
    let [house, barn] = loaded.config.meters.as_slice() else { panic!("two meters") };
    assert_eq!(house.serial_number.as_deref(), Some("00200604"));
    assert_eq!(house.channels["ch1"].role, Role::Grid);
    assert_eq!(house.channels["ch2"].name.as_deref(), Some("2"));
    assert_eq!(house.timeout, Timeout::Auto);
    assert_eq!(barn.link, Link::Connect("nas:5000".parse().unwrap()));
    assert_eq!(loaded.origin("meters.0.name"), Origin::File(given.path("config.yaml"), 2));
    assert_eq!(loaded.origin("meters.1.link.connect"), Origin::Flag);
    let variable = "METERBRIDGE__METERS__0__SERIAL_NUMBER";
    assert_eq!(loaded.origin("meters.0.serial_number"), Origin::Environment(variable.into()));
}

#[test]
fn mistakes_outside_the_file_name_their_variable_or_flag() {
    let given = given(&meter(""))
        .env("METERBRIDGE__BROKR__LISTEN", "x")
        .env("METERBRIDGE__WEB__LISTEN", "here")
        .env("METERBRIDGE__", "x")
        .env("METERBRIDGE__BROKER____LISTEN", "x")
        .env("METERBRIDGE__METERS__5__NAME", "x")
        .env("METERBRIDGE__BROKER__EXTERNAL__PASSWORD_FILE", "/nowhere/at/all")
        .set("meters.0.name=a b")
        .set("log.level")
        .set("meters.first.name=x");
    let mistakes = given.mistakes();
    let expected = [
        "environment METERBRIDGE__: is not the name of a key",
        "environment METERBRIDGE__BROKER__EXTERNAL__PASSWORD_FILE: broker.external.password: /nowhere/at/all cannot be read",
        "environment METERBRIDGE__BROKER____LISTEN: is not the name of a key",
        "environment METERBRIDGE__BROKR__LISTEN: brokr: unknown key; did you mean `broker`?",
        "environment METERBRIDGE__METERS__5__NAME: meters[5].name: meters has 1 entr",
        "environment METERBRIDGE__WEB__LISTEN: web.listen: \"here\" is not an address",
        "--set log.level: has no \"=\"",
        "--set meters.0.name: meters[0].name: \"a b\" is not a name",
        "--set meters.first.name: meters.first.name: meters is a list: \"first\" must be a number from 0 to 1",
    ];
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}\n{expected}");
    }
}

#[test]
fn a_variable_may_name_a_file_with_the_value() {
    let there = given("");
    std::fs::write(there.path("listen"), "127.0.0.1:7\r\n").unwrap();
    let path = there.path("listen").display().to_string();
    let there = there.env("METERBRIDGE__BROKER__LISTEN_FILE", &path);
    let loaded = there.loaded();
    assert_eq!(loaded.config.broker.listen.0[0].port(), 7);
    let variable = "METERBRIDGE__BROKER__LISTEN_FILE";
    assert_eq!(loaded.origin("broker.listen"), Origin::Environment(variable.into()));
    let mistakes = there.env("METERBRIDGE__BROKER__LISTEN", "127.0.0.1:8").mistakes();
    assert!(
        mistakes[0].contains("gives the same key as METERBRIDGE__BROKER__LISTEN"),
        "{mistakes:?}"
    );
}

/// What YAML takes for a number is text where text is meant, as it is spelled.
#[test]
fn numbers_are_text_where_text_is_meant() {
    let text = meter(
        "    serial_number: 01100603\n    channels: {ch1: {name: 0x10}, ch2: {name: no}, ch3: {name: 1.50}}\n",
    );
    let config = given(&text).set("data_dir=007").config();
    let meter = &config.meters[0];
    assert_eq!(meter.serial_number.as_deref(), Some("01100603"));
    let names: Vec<_> =
        meter.channels.values().map(|channel| channel.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["0x10", "no", "1.50"]);
    assert_eq!(config.data_dir, Path::new("007"));
}

#[test]
fn what_has_no_effect_is_told() {
    let notes = |text: &str| -> Vec<String> {
        let notes = config::load(&given(text).source).unwrap().notes();
        notes.iter().map(|note| note[note.find("config.yaml").unwrap()..].to_owned()).collect()
    };
    let external = "mode: external, external: {url: \"mqtt://nas\"}";
    assert_eq!(notes(&format!("broker: {{{external}, websocket: true}}\n")), [""; 0]);
    assert_eq!(
        notes(&format!(
            "broker:\n  {{{external},\n  listen: 0.0.0.0:1883, limits: {{connections: 3, inflight: 3}}}}\n"
        )),
        [
            "config.yaml:3:3: broker.listen: has no effect with broker.mode: external",
            "config.yaml:3:34: broker.limits.connections: has no effect with broker.mode: external",
        ]
    );
    assert_eq!(
        notes("broker: {external: {url: \"mqtt://nas\"}}\n"),
        ["config.yaml:1:10: broker.external: has no effect with broker.mode: embedded"]
    );
}

#[test]
fn secrets_are_never_shown() {
    let there = given(concat!(
        "broker:\n",
        "  users: [{name: ha, password_hash: hunter2}, {name: ha, password_hash: [hunter2]}, hunter2]\n",
        "  external: {url: \"ftp://me:hunter2@nas\", password: hunter2, version: 9}\n",
        "  password: hunter2\n",
        "meters:\n  - {name: a, kind: fluksometer, link: {mqtt: \"me:hunter2@flm\"}}\n",
    ));
    let there = there
        .env("METERBRIDGE__BROKER__EXTERNAL__PASSWORD", "{hunter2")
        .env("METERBRIDGE__BROKER__USERS", "hunter2")
        .set("broker.external.passwort=hunter2");
    for mistake in there.mistakes() {
        assert!(!mistake.contains("hunter2"), "{mistake}");
    }
    let mut config = Config::default();
    config.broker.users = vec![config::broker::User {
        name: "ha".into(),
        password_hash: config::secret::Secret::new("hunter2"),
    }];
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_file_is_read_when_the_configuration_is_checked() {
    let there = given("");
    let text = |file: &str| {
        std::fs::write(there.path("passwd"), file).unwrap();
        let path = there.path("passwd").display().to_string();
        let acl = "[{user: ann, read: [a]}]";
        given(&format!("broker: {{password_file: {path}, acl: {acl}}}\n")).mistakes()
    };
    assert_eq!(text(&format!("ann:{HASH}\n")), [""; 0]);
    let mistakes = text(&format!("ha:{HASH}\nhunter2\nann:hunter2\n"));
    let [file, user] = &mistakes[..] else { panic!("{mistakes:#?}") };
    assert!(user.contains("broker.acl[0].user: \"ann\" is no user"), "{user}");
    let words = "passwd, line 2 has no \":\" between name and hash; and 1 more";
    assert!(file.ends_with(words), "{file}");
}

#[test]
fn a_file_full_of_mistakes_ends() {
    let many: String = (0..3000).map(|n| format!("key{n}: 1\n")).collect();
    let mistakes = given(&many).mistakes();
    assert!((100..=300).contains(&mistakes.len()), "{}", mistakes.len());
}

/// The shipped file with its examples, as something to spoil.
fn everything() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    std::fs::read_to_string(file).unwrap().replace("#| ", "").replace("meters: []\n", "\n")
}

fn is_read_or_refused(text: &str) {
    let there = given(text);
    match config::load(&there.source) {
        Ok(loaded) => assert!(!loaded.listing().is_empty()),
        Err(errors) => {
            for line in errors.lines() {
                assert!(!line.trim().is_empty() && !line.contains('\n'), "{line:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n\\t\\PC]{0,200}") {
        is_read_or_refused(&text);
    }

    #[test]
    fn a_spoilt_file_is_read_or_refused(
        cuts in proptest::collection::vec((0usize..8000, 0usize..30, "[-:{}\\[\\],\"'#&*!|>% a0\\n]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = everything().chars().collect();
        for (at, length, instead) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, instead.chars());
        }
        is_read_or_refused(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_flag_and_variable_is_read_or_refused(key in "[a-z0-9_.\\[\\]]{0,20}", value in "\\PC{0,20}") {
        let there = given(&meter(""))
            .set(&format!("{key}={value}"))
            .set(&format!("meters.0.{key}={value}"))
            .set(&format!("broker.{key}={value}"))
            .env(&format!("METERBRIDGE__WEB__{}", key.to_uppercase().replace('.', "__")), &value);
        let _ = config::load(&there.source);
    }
}
