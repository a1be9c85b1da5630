//! The program from outside: what it prints, and the exit codes it ends with.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const METER: &str = "meters:
  - name: house
    kind: brultech
    link: {listen: 127.0.0.1:8083}
    serial_number: 01100603
";

/// A directory with a `config.yaml`.
fn given(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.yaml"), text).unwrap();
    dir
}

fn program(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterbridge"));
    command.current_dir(dir).args(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("METERBRIDGE__") {
            command.env_remove(name);
        }
    }
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_tells_every_mistake_and_exits_78() {
    let there = given("brokr: 1\nweb: {listen: x}\n");
    for arguments in [&["check"][..], &["check", "--config", "config.yaml"]] {
        let output = program(there.path(), arguments);
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(stdout(&output).lines().count(), 2, "{}", stdout(&output));
        assert!(stdout(&output).starts_with("config.yaml:1:1: brokr: unknown key"));
    }
    for command in ["run", "demo", "config", "health"] {
        let output = program(there.path(), &[command]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        assert!(stderr(&output).contains("did you mean `broker`?"), "{command}");
    }
    assert_eq!(program(there.path(), &[]).status.code(), Some(78));
}

#[test]
fn check_of_a_good_file_exits_0() {
    let there = given(METER);
    let output = program(there.path(), &["check"]);
    assert_eq!(stdout(&output), "config.yaml: fine (1 meter)\n");
    assert_eq!(output.status.code(), Some(0));
    let output = program(there.path(), &["check", "--config", "nowhere.yaml"]);
    assert!(stdout(&output).starts_with("nowhere.yaml: cannot be read"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn config_shows_each_value_with_its_origin() {
    let there = given(METER);
    let output = program(there.path(), &["config", "--set", "web.enabled=false"]);
    assert_eq!(output.status.code(), Some(0));
    let shown: Vec<String> = stdout(&output)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "broker.listen: 127.0.0.1:1883 # default",
        "meters.0.name: house # config.yaml:2",
        "meters.0.serial_number: \"01100603\" # config.yaml:5",
        "web.enabled: false # --set",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line}\n{shown:#?}");
    }
}

const KEY: &str = "8F14E45FCEEA167A5A36DEDD4BEA2543";

#[test]
fn wrong_arguments_exit_64_and_help_0() {
    let there = given("");
    for arguments in [
        &["walk"][..],
        &["--nonsense"],
        &["check", "--config"],
        &["--config", "config.yaml", "check"],
        &["simulate"],
        &["simulate", "gem"],
        &["simulate", "toaster", "--connect", "127.0.0.1:1"],
        &["simulate", "smartmeter", "--connect", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
        &["simulate", "smartmeter", "--serial", "--meters", "2"],
        &["simulate", "smartmeter", "--listen", "127.0.0.1:65000", "--meters", "300"],
        &["simulate", "smartmeter", "--mqtt", "127.0.0.1:1", "--http"],
        &["simulate", "smartmeter", "--mqtt", "127.0.0.1:1", "--old-firmware"],
        &["simulate", "powermeter", "--mqtt", "127.0.0.1:1", "--details"],
        &["simulate", "gem", "--mqtt", "127.0.0.1:1"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--loss", "8"],
        &["simulate", "flm02", "--listen", "127.0.0.1:1", "--busy"],
        &["simulate", "p1", "--listen", "127.0.0.1:1", "--steady"],
        &["simulate", "p1", "--connect", "127.0.0.1:1", "--http"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--dsmr", "4"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--key", KEY],
        &["simulate", "p1", "--connect", "127.0.0.1:1", "--dsmr", "tic", "--key", KEY],
        &["simulate", "p1", "--connect", "127.0.0.1:1", "--key", "hunter2"],
        &["simulate", "flm02", "--listen", "127.0.0.1:1", "--halves"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
        &["simulate", "gem", "--connect", "here"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--meters", "0"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--interval", "5"],
        &["simulate", "ecm1220", "--connect", "127.0.0.1:1", "--format", "bin48-net"],
        &["simulate", "ecm1240", "--serial", "--terse"],
        &["simulate", "gem", "--serial", "--listen", "127.0.0.1:1"],
        &["simulate", "gem", "--serial", "--one-packet"],
        &["simulate", "gem", "--serial", "--http"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--link", "meter"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--http", "--format", "bin48-net"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--pause", "1s"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--chunks", "0"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--silent", "--slow", "1s"],
        &["simulate", "gem", "--connect", "127.0.0.1:1", "--silent", "--swallow"],
        &["decode"],
        &["decode", "morse"],
        &["decode", "brultech", "--key", KEY],
        &["decode", "dsmr", "--key", "hunter2"],
        &["decode", "dsmr", "--measures", "v,i"],
        &["decode", "smartmeter", "--measures", "v"],
        &["decode", "smartmeter", "--rate", "0"],
        &["decode", "smartmeter", "--kind", "toaster"],
    ] {
        let output = program(there.path(), arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["simulate", "--help"]] {
        let output = program(there.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn decode_smartmeter_tells_what_samples_come_to() {
    let there = given("");
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/smartmeter");
    let decode = |file: &str, more: &[&str]| {
        let file = format!("{captures}/{file}");
        program(there.path(), &[&["decode", "smartmeter", &file], more].concat())
    };
    let output = decode("3p_4k_loss.bin", &[]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 3);
    let summary = text.lines().last().unwrap();
    for words in
        ["\"samples\":834", "\"lost_sample_ranges\":[[126,168],[294,378]]", "\"v_l2\":231.0209"]
    {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    let output = decode("3p_8k_raw.f32", &[]);
    assert!(stderr(&output).contains("--measures says otherwise"), "{}", stderr(&output));
    assert!(stdout(&output).contains("\"active_power_total_w\":1113.2808"), "{}", stdout(&output));
    let said = ["--measures", "v,i,v,i,v,i", "--rate", "8000", "--kind", "smartmeter"];
    let output = decode("3p_8k_raw.f32", &said);
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).contains("\"samples\":800"), "{}", stdout(&output));
    assert_eq!(decode("nowhere.bin", &[]).status.code(), Some(65));
}

#[test]
fn health_of_nobody_exits_1() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let there = given(&format!("web: {{listen: \"{free}\"}}\n"));
    for arguments in [&["health"][..], &["health", &format!("http://{free}/healthz")]] {
        let output = program(there.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(
            stderr(&output).starts_with(&format!("http://{free}/healthz: ")),
            "{}",
            stderr(&output)
        );
    }
}
