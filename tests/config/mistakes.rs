//! Files that are wrong, and what is said of them.

use meterbridge::config::NOT_SUPPORTED_YET;

use crate::{given, meter};

/// A meter on a serial port.
fn serial(device: &str, lines: &str) -> String {
    let link = format!("{{serial: {device}}}");
    meter(lines).replacen("{listen: 127.0.0.1:8083}", &link, 1)
}

/// Bad files, and what each line of the answer has to say: the place, and words.
/// An entry of kind `fluksometer` with this link.
fn fluksometer(link: &str) -> String {
    format!("meters:\n  - name: cellar\n    kind: fluksometer\n    link: {link}\n")
}

fn smartmeter(link: &str, more: &str) -> String {
    format!("meters:\n  - name: mains\n    kind: smartmeter\n    link: {link}\n{more}")
}

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
            "journal: {sync: never, size: 5 apples}\n",
            &[
                ("1:11", "journal.sync: \"never\" is not one of group, always"),
                ("1:24", "journal.size: \"5 apples\" is not a size: write a number and a unit"),
            ],
        ),
        (
            "history: {size: 1MB, keep: 2d, grace: 2m}\n",
            &[
                ("1:11", "1MB is too small: write at least 10MB"),
                ("1:22", "48h is too short: blocks have up to twelve days"),
                ("1:32", "2m is out of range: write 1s to 1m"),
            ],
        ),
        ("journal: {size: 10kB}\n", &[("1:11", "10kB is too small: write at least 1MB")]),
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
            &[("5:17", "\"fb\" names no meter"), ("5:28", "go up to 65535")],
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
            &[("4:12", "not reached that way: write mqtt or http")],
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
        // The keys of customer ports that encrypt.
        (
            &(meter("    key: 8F14E45FCEEA167A5A36DEDD4BEA2543\n")),
            &[("5:5", "a brultech meter encrypts nothing: it is for p1")],
        ),
        (
            &meter("    key: 8F14E45FCEEA167A5A36DEDD4BEA254\n").replace("brultech", "p1"),
            &[("5:5", "meters[0].key: is no key: write the 32 hex digits")],
        ),
        (
            &meter("    key: [1]\n").replace("brultech", "p1"),
            &[("5:5", "meters[0].key: expected a text, found a list")],
        ),
        // Fluksometers bring along what others are told.
        (&fluksometer("{mqtt: \"mqtt://flm:0\"}"), &[("4:12", "has nothing after host and port")]),
        (
            &(fluksometer("{mqtt: embedded}")
                + "    serial_number: FL03\n    polarity: btmon\n    poll: 5s\n"),
            &[
                ("5:5", "is not what a Fluksometer is known by"),
                ("6:5", "is a matter of Brultech meters"),
                ("7:5", "is not asked for its readings"),
            ],
        ),
        (
            &(fluksometer("{mqtt: embedded}")
                + "    channels: {t1: {name: Cellar}, pulse2: {constant: 10, role: grid}}\n"),
            &[
                ("5:16", "a Fluksometer has no channel \"t1\""),
                ("5:45", "is the Fluksometer's own"),
                ("5:59", "pulse2 counts one way only"),
            ],
        ),
        (
            &fluksometer("{http: \"http://me:hunter2@flm\"}"),
            &[("4:12", "is no address of a local API"), ("4:12", "has no list of its sensors")],
        ),
        (
            &(fluksometer("{http: \"http://flm\"}")
                + "    channels: {ch1: {name: Mains, type: gas}}\n"),
            &[("5:16", "has no id"), ("5:35", "gas and water are counted by pulses")],
        ),
        // SmartMeters.
        (
            &smartmeter("{connect: meter}", "    polarity: btmon\n    units: [fc]\n"),
            &[("5:5", "is a matter of Brultech meters"), ("6:5", "leave units out")],
        ),
        (&smartmeter("{mqtt: \"mqtt://nas\"}", ""), &[("4:12", "write embedded")]),
        (
            &smartmeter("{connect: meter}", "    stream: {slot: 3, relay: here}\n"),
            &[
                ("5:14", "slot: expected two whole numbers, such as [0, 3], found 3"),
                ("5:23", "\"here\" is not an address to listen on: write ADDRESS:PORT"),
            ],
        ),
        (
            &smartmeter("{connect: \"meter:54321\"}", "").replace("smartmeter", "PowerMeter"),
            &[("3:5", "did you mean `smartmeter`?")],
        ),
        (&meter("").replace("brultech", "gem"), &[("3:5", "did you mean `brultech`?")]),
        (
            &smartmeter("{mqtt: embedded}", "    poll: 5s\n    stream: {rate: 20}\n"),
            &[("5:5", "leave poll out"), ("6:5", "write over: mqtt")],
        ),
        (
            &smartmeter("{serial: /dev/ttyUSB0}", "    stream: {over: udp, framed: false}\n"),
            &[("5:14", "come by the line itself"), ("5:25", "have no order")],
        ),
        (
            &smartmeter("{listen: 127.0.0.1:0}", "    stream: {over: port}\n"),
            &[("5:14", "it needs link: {connect")],
        ),
        (
            &smartmeter(
                "{connect: meter}",
                "    stream: {rate: 64000, slot: [3, 3], udp_port: 9}\n",
            ),
            &[("5:14", "1 to 32000"), ("5:27", "is no slot"), ("5:41", "is for over: udp")],
        ),
        (
            &smartmeter("{connect: meter}", "    base_topics: [a/b]\n"),
            &[("5:19", "is not the first level")],
        ),
        (
            &smartmeter(
                "{connect: meter}",
                "    channels: {ch1: {name: x}, l1: {scale_v: 0, constant: 3}}\n",
            ),
            &[
                ("5:16", "has no channel \"ch1\""),
                ("5:37", "is not a factor"),
                ("5:49", "counts no pulses"),
            ],
        ),
        (
            &smartmeter("{mqtt: embedded}", "    channels: {t1: {name: x, multiplier: 2}}\n"),
            &[("5:30", "t1 is a temperature")],
        ),
        (
            &(smartmeter("{connect: a}", "    stream: {relay: 127.0.0.1:5432}\n")
                + "  - name: other\n    kind: smartmeter\n    link: {connect: b}\n    stream: {relay: 127.0.0.1:5432}\n"),
            &[("9:14", "127.0.0.1:5432 is taken by 127.0.0.1:5432")],
        ),
        (
            &meter("    stream: {rate: 4000}\n    channels: {ch1: {scale_i: 2}}\n"),
            &[("5:5", "a brultech meter has none"), ("6:22", "gives no samples")],
        ),
        (
            &smartmeter("{connect: meter}", "    serial_number: state\n"),
            &[("5:5", "is no name that a SmartMeter")],
        ),
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
fn a_file_full_of_mistakes_ends() {
    let many: String = (0..3000).map(|n| format!("key{n}: 1\n")).collect();
    let mistakes = given(&many).mistakes();
    assert!((100..=300).contains(&mistakes.len()), "{}", mistakes.len());
}

#[test]
fn where_samples_go_is_checked() {
    let text = |stream: &str| {
        format!(
            "broker: {{listen: 127.0.0.1:1883}}\nmeters:\n  - name: mains\n    kind: smartmeter\n    \
             link: {{connect: \"192.0.2.7:54321\"}}\n    stream: {stream}\n"
        )
    };
    for (stream, words) in [
        ("{relay: 127.0.0.1:1883}", "is taken by"),
        ("{record: {directory: \"\"}}", "is empty"),
        ("{record: {rotate: 0s}}", "too short"),
        ("{record: {rotate_size: 1kB}}", "too small"),
        ("{record: {size: 500MB}}", "two files may take"),
    ] {
        let mistakes = given(&text(stream)).mistakes();
        assert!(mistakes.iter().any(|one| one.contains(words)), "{stream}: {mistakes:#?}");
    }
    let fine = "{relay: 127.0.0.1:5432, record: {size: 5GB, start: command}}";
    assert_eq!(given(&text(fine)).mistakes(), [""; 0]);
}
