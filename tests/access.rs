//! Logins and the access list through the program itself: a configuration file, a password file as
//! mosquitto_passwd writes it, mosquitto's clients, and the log.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterbridge"));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("METERBRIDGE__") {
            command.env_remove(name);
        }
    }
    command
}

/// The running program, stopped when dropped.
struct Gateway {
    child: Child,
    port: String,
    log: Option<JoinHandle<String>>,
}

impl Gateway {
    /// Runs it in `dir` at the most talkative log level.
    fn start(dir: &Path) -> Self {
        let mut child = program(dir)
            .args(["--set", "broker.listen=127.0.0.1:0", "--set", "web.listen=127.0.0.1:0"])
            .env("RUST_LOG", "trace")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, found): (_, Receiver<String>) = sync_channel(1);
        let log = std::thread::spawn(move || {
            let mut all = String::new();
            for line in stderr.lines() {
                let line = line.unwrap();
                let address = line.split("mqtt broker listens").nth(1);
                if let Some(port) = address.and_then(|rest| rest.rsplit(':').next()) {
                    let _ = sender.try_send(port.trim().to_owned());
                }
                all.push_str(&line);
                all.push('\n');
            }
            all
        });
        let port = found.recv_timeout(PATIENCE).expect("the broker's address in the log");
        Self { child, port, log: Some(log) }
    }

    /// Ends it and answers what it has logged.
    fn stop(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }

    fn mosquitto(&self, tool: &str, arguments: &[&str]) -> Output {
        Command::new(tool)
            .args(["-h", "127.0.0.1", "-p", &self.port])
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("{tool} is needed for this test: {error}"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn passwd(dir: &Path, name: &str, password: &str) -> Output {
    let mut child = program(dir)
        .args(["passwd", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended already, for a name that is none.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A configuration with a user `ha` of its own and two in a password file.
fn given() -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let entry = passwd(dir.path(), "ha", "hunter2\n");
    assert_eq!(entry.status.code(), Some(0), "{}", text(&entry.stderr));
    for (there, form, name, password) in
        [("-c", "sha512", "old", "hunter3"), ("-b", "sha512-pbkdf2", "new", "hunter4")]
    {
        let made = Command::new("mosquitto_passwd")
            .current_dir(dir.path())
            .args(["-H", form, there, "-b", "passwd", name, password])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "mosquitto_passwd is needed");
    }
    let config = format!(
        "broker:
  allow_anonymous: false
  password_file: passwd
  users:
  {}  acl:
  - {{user: ha, read: [\"#\"], write: [\"powermeter/+/cmd\"], deny: [\"powermeter/+/state/info\"]}}
  - {{user: \"*\", read: [\"home/%u/#\"], write: [\"home/%u/#\"]}}
",
        text(&entry.stdout)
    );
    std::fs::write(dir.path().join("config.yaml"), config).unwrap();
    (dir, text(&entry.stdout).to_owned())
}

#[test]
fn logins_and_rights_of_a_configuration_file() {
    let (dir, entry) = given();
    let check = program(dir.path()).arg("check").output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", text(&check.stdout));
    let gateway = Gateway::start(dir.path());
    for version in ["311", "5"] {
        for (login, code) in [
            (&["-u", "ha", "-P", "hunter2"][..], 0),
            (&["-u", "old", "-P", "hunter3"], 0),
            (&["-u", "new", "-P", "hunter4"], 0),
            (&["-u", "new", "-P", "hunter3"], if version == "5" { 134 } else { 4 }),
            (&["-u", "secretive", "-P", "hunter5"], if version == "5" { 134 } else { 4 }),
            (&[], if version == "5" { 135 } else { 5 }),
        ] {
            let publish = ["-V", version, "-q", "1", "-r", "-t", "home/new/x", "-m", "1"];
            let done = gateway.mosquitto("mosquitto_pub", &[&publish[..], login].concat());
            assert_eq!(done.status.code(), Some(code), "{login:?} {}", text(&done.stderr));
        }
    }
    // Both may connect; only one may read what the other has published.
    let read = ["-t", "home/new/#", "-C", "1", "-W", "20"];
    let new =
        gateway.mosquitto("mosquitto_sub", &[&read[..], &["-u", "new", "-P", "hunter4"]].concat());
    assert_eq!(text(&new.stdout), "1\n");
    let old =
        gateway.mosquitto("mosquitto_sub", &[&read[..], &["-u", "old", "-P", "hunter3"]].concat());
    assert!(text(&old.stderr).contains("All subscription requests were denied"), "{old:?}");
    let log = gateway.stop();
    assert!(log.contains("client refused: ") && log.contains("by=\"mqtt\""), "{log}");
    let hash = entry.split('"').nth(3).unwrap();
    let file = std::fs::read_to_string(dir.path().join("passwd")).unwrap();
    let hashes: Vec<&str> = file.lines().map(|line| line.rsplit('$').next().unwrap()).collect();
    for secret in
        [&["hunter", "secretive", hash, hash.rsplit('$').next().unwrap(), "aHVudGVy"][..], &hashes]
            .concat()
    {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[test]
fn passwd_prints_an_entry_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let made = passwd(dir.path(), "it's \"me\"", "hunter2\r\nmore\n");
    assert_eq!(made.status.code(), Some(0));
    let start = "- {name: \"it's \\\"me\\\"\", password_hash: \"$argon2id$v=19$m=19456,t=2,p=1$";
    assert!(text(&made.stdout).starts_with(start), "{}", text(&made.stdout));
    assert_eq!(text(&made.stdout).lines().count(), 1);
    for (name, password, code, words) in [
        ("ha", "", 65, "is empty"),
        ("ha", "\n", 65, "is empty"),
        ("", "hunter2\n", 64, "it is empty"),
        ("*", "hunter2\n", 64, "every user"),
        ("a\nb", "hunter2\n", 64, "control characters"),
    ] {
        let refused = passwd(dir.path(), name, password);
        assert_eq!(refused.status.code(), Some(code), "{name:?} {password:?}");
        assert!(text(&refused.stderr).contains(words), "{}", text(&refused.stderr));
        assert!(refused.stdout.is_empty());
    }
}

/// On a terminal it asks twice and shows nothing; util-linux's `script` is the terminal.
#[test]
fn passwd_shows_nothing_of_what_is_typed() {
    let dir = tempfile::tempdir().unwrap();
    let command = format!("{} passwd ha", env!("CARGO_BIN_EXE_meterbridge"));
    for (second, words) in [("hunter2", "$argon2id$"), ("hunter3", "not the same")] {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &command, "/dev/null"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("script is needed for this test: {error}"));
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut shown = String::new();
        for (question, answer) in [("Password for ha: ", "hunter2"), ("The same again: ", second)] {
            while !shown.ends_with(question) {
                let mut byte = [0];
                stdout.read_exact(&mut byte).unwrap();
                shown.push(char::from(byte[0]));
            }
            stdin.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        stdout.read_to_string(&mut shown).unwrap();
        child.wait().unwrap();
        assert!(shown.contains(words), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
