//! `meterbridge doctor`: what it finds, what it advises, how it ends, and that it changes nothing.

// Outside of the test functions themselves the lints take this for production code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

/// A directory with a `config.yaml`.
struct Site(TempDir);

impl Site {
    /// `lines` are put under a configuration that needs no fixed port.
    fn new(lines: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.configure(lines);
        site
    }

    fn configure(&self, lines: &str) {
        let text = format!("data_dir: data\nweb: {{listen: 127.0.0.1:0}}\n{lines}");
        std::fs::write(self.path("config.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, word: &str) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_meterbridge")), word)
    }

    fn command_of(&self, program: &Path, word: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).arg(word).env_remove("RUST_LOG");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("METERBRIDGE__") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Exit code and findings.
    fn doctor(&self) -> (i32, String) {
        let output = self.command("doctor").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    }

    /// Every file below, with its size and time.
    fn files(&self) -> Vec<(PathBuf, u64, SystemTime)> {
        let mut found = Vec::new();
        let mut left = vec![self.0.path().to_owned()];
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    left.push(entry.path());
                }
                found.push((entry.path(), metadata.len(), metadata.modified().unwrap()));
            }
        }
        found.sort();
        found
    }
}

/// The line about `subject` and what follows it up to the next finding.
fn finding<'a>(report: &'a str, subject: &str) -> &'a str {
    let begin = report
        .find(subject)
        .and_then(|at| report[..at].rfind('\n').map(|at| at + 1).or(Some(0)))
        .unwrap_or_else(|| panic!("no {subject} in\n{report}"));
    let rest = &report[begin..];
    let ends = rest.match_indices('\n').find(|(at, _)| !rest[at + 1..].starts_with(' '));
    &rest[..ends.map_or(rest.len(), |(at, _)| at)]
}

fn is(report: &str, verdict: &str, subject: &str, words: &str) {
    let finding = finding(report, subject);
    assert!(finding.starts_with(verdict) && finding.contains(words), "{words}\n{report}");
    assert_eq!(verdict != "ok", finding.contains("do: "), "advice where it is needed\n{report}");
}

fn free_port() -> u16 {
    let first = 10_000 + (std::process::id() % 9_000) as u16;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..first + 1000).find(free).expect("one of a thousand ports is free")
}

/// A pseudo-terminal: the meter's end, and the name of the gateway's.
fn serial_port() -> (File, String) {
    let meter = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&meter).unwrap();
    unlockpt(&meter).unwrap();
    let name = ptsname(&meter, Vec::new()).unwrap().into_string().unwrap();
    (meter.into(), name)
}

fn meter(link: &str) -> String {
    format!(
        "broker: {{listen: 127.0.0.1:0}}\nmeters:\n  - name: house\n    kind: brultech\n    link: {link}\n"
    )
}

#[test]
fn all_is_well_and_nothing_is_made() {
    let site = Site::new("broker: {listen: 127.0.0.1:0}\n");
    let before = site.files();
    let (code, report) = site.doctor();
    assert_eq!(code, 0, "{report}");
    is(&report, "ok", "configuration:", "no mistakes");
    is(&report, "ok", "gateway:", "does not run");
    is(&report, "ok", "data_dir data:", "will be made");
    is(&report, "note", "meters:", "none");
    assert!(report.contains("no problems, "), "{report}");
    assert_eq!(site.files(), before);
    let port = free_port();
    site.configure(&format!("broker: {{listen: 127.0.0.1:{port}}}\n"));
    is(&site.doctor().1, "ok", "broker.listen", "free");
}

#[test]
fn mistakes_are_told_and_exit_78() {
    let site = Site::new("brokr: 1\nmeters: 7\n");
    let (code, report) = site.doctor();
    assert_eq!(code, 78, "{report}");
    is(&report, "problem", "brokr", "did you mean `broker`?");
    assert!(report.ends_with("2 problems, no notes\n"), "{report}");
}

#[test]
fn a_port_in_use_is_told_with_who_has_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(&format!("broker: {{listen: {address}}}\n"));
    let (code, report) = site.doctor();
    assert_eq!(code, 69, "{report}");
    is(&report, "problem", "broker.listen", &format!("(process {})", std::process::id()));
    site.configure("broker: {listen: 192.0.2.1:1883, allow_anonymous: true}\n");
    is(&site.doctor().1, "problem", "broker.listen", "no such address");
}

#[test]
fn serial_devices_are_looked_at_and_not_opened() {
    let (_meter, port) = serial_port();
    let site = Site::new(&meter(&format!("{{serial: {port}}}")));
    let (code, report) = site.doctor();
    is(&report, "ok", "meters[0].link.serial", "may be used");
    assert_eq!(code, 0, "{report}");
    // Whoever plays the device may have both of its ends open, as the simulator does.
    let mine = File::open(&port).unwrap();
    assert_eq!(site.doctor().0, 0);
    drop(mine);
    let reader = Reader::of(&port);
    let (code, report) = site.doctor();
    is(&report, "problem", "meters[0].link.serial", &format!("process {})", reader.0.id()));
    assert_eq!(code, 69);
    drop(reader);
    for (device, words) in [
        ("/dev/nowhere", "there is no /dev/nowhere"),
        ("/dev/null", "not a serial port"),
        ("/dev", "not a serial port"),
        ("\"/dev/nul*\"", "not a serial port"),
        ("\"/dev/nu*\"", "not a serial port"),
        ("\"/dev/[nz][ue]*\"", "fits several devices"),
    ] {
        site.configure(&meter(&format!("{{serial: {device}}}")));
        let (code, report) = site.doctor();
        is(&report, "problem", "meters[0].link.serial", words);
        assert_eq!(code, 69);
    }
}

/// Root may everything, so that the program runs as nobody there; anybody else is shut out of the
/// own device. Both the doctor and the gateway say whose it is, who asks, and what to do.
#[test]
fn a_port_that_may_not_be_opened_is_told_with_the_fix() {
    let (_meter, port) = serial_port();
    let site = Site::new(&meter(&format!("{{serial: {port}}}")));
    let open_to = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let is_root = rustix::process::geteuid().is_root();
    open_to(Path::new(&port), if is_root { 0o600 } else { 0 });
    let copy = site.path("meterbridge");
    if is_root {
        // Where it was built may be closed to nobody. By a program of its own: a file that this
        // process has written might be held open by what other tests start meanwhile.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_meterbridge")).arg(&copy).status();
        assert!(copied.unwrap().success());
        open_to(site.0.path(), 0o777);
    }
    let program = |word: &str| match is_root {
        true => {
            let mut command = site.command_of(&copy, word);
            command.uid(NOBODY).gid(NOBODY);
            command
        }
        false => site.command(word),
    };
    let words = [
        format!("{port} belongs to user "),
        format!("mode {}", if is_root { "600" } else { "0" }),
        "this program runs as user ".to_owned(),
        " with the groups ".to_owned(),
        "GROUP=\"dialout\"".to_owned(),
    ];
    let output = program("doctor").output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    for words in &words {
        is(&report, "problem", "meters[0].link.serial", words);
    }
    assert_eq!(output.status.code(), Some(69));
    let said: Vec<&str> = words.iter().map(String::as_str).collect();
    let gateway = Gateway::spawn(program("run"), &[&["permission denied: "], &said[..]].concat());
    drop(gateway);
}

const NOBODY: u32 = 65_534;

/// Another program that has a port open.
struct Reader(Child);

impl Reader {
    fn of(port: &str) -> Self {
        let mut command = Command::new("sleep");
        Self(command.arg("1000").stdin(File::open(port).unwrap()).spawn().unwrap())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn two_names_of_one_port_and_a_way_that_ends() {
    let (_meter, port) = serial_port();
    let site = Site::new("");
    let link = site.path("by-id");
    std::os::unix::fs::symlink(&port, &link).unwrap();
    let second = format!("  - {{name: barn, kind: brultech, link: {{serial: {port}}}}}\n");
    site.configure(&(meter(&format!("{{serial: {link:?}}}")) + &second));
    let (code, report) = site.doctor();
    is(&report, "problem", &format!("meters[1].link.serial {port}: is the same"), "meters[0]");
    assert_eq!(code, 69);
    std::fs::write(site.path("file"), "x").unwrap();
    for (device, words) in [
        (site.path("file"), "is not a serial port"),
        (site.path("file/tty"), "cannot be looked at"),
        (site.path("dangling"), "leads to /dev/nowhere, which is not there"),
    ] {
        if device.ends_with("dangling") {
            std::os::unix::fs::symlink("/dev/nowhere", &device).unwrap();
        }
        site.configure(&meter(&format!("{{serial: {device:?}}}")));
        is(&site.doctor().1, "problem", "meters[0].link.serial", words);
    }
}

#[test]
fn what_is_dialled_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(&meter(&format!("{{connect: \"{address}\"}}")));
    let (code, report) = site.doctor();
    is(&report, "ok", "meters[0].link.connect", "answers");
    assert_eq!(code, 0, "{report}");
    drop(listener);
    let (code, report) = site.doctor();
    is(&report, "problem", "meters[0].link.connect", "cannot be reached");
    assert_eq!(code, 69);
    let url = format!("mqtt://user:hidden@{address}");
    site.configure(&format!("broker: {{mode: external, external: {{url: \"{url}\"}}}}\n"));
    let (code, report) = site.doctor();
    is(&report, "problem", &format!("broker.external {address}"), "cannot be reached");
    assert_eq!(code, 69);
    assert!(!report.contains("hidden"), "{report}");
}

#[test]
fn files_and_directories() {
    let site = Site::new("");
    std::fs::write(site.path("data"), "x").unwrap();
    let (code, report) = site.doctor();
    is(&report, "problem", "data_dir data:", "is a file");
    assert_eq!(code, 69);
    std::fs::remove_file(site.path("data")).unwrap();

    std::fs::write(site.path("passwd"), "").unwrap();
    let mode = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(site.path("passwd"), permissions).unwrap();
    };
    site.configure("broker: {listen: 127.0.0.1:0, password_file: passwd}\n");
    mode(0o644);
    is(&site.doctor().1, "note", "broker.password_file", "every user");
    mode(0o600);
    is(&site.doctor().1, "ok", "broker.password_file", "private");

    for (until, verdict, words) in [(2021, "problem", "expired"), (4000, "ok", "4000-01-01")] {
        certificate(site.0.path(), until);
        site.configure(
            "broker:\n  listen: 127.0.0.1:0\n  tls: {listen: 127.0.0.1:0, certificate: cert.pem, key: key.pem}\n",
        );
        let (code, report) = site.doctor();
        is(&report, verdict, "broker.tls.certificate cert.pem", words);
        assert_eq!(code, if verdict == "ok" { 0 } else { 69 }, "{report}");
    }
}

fn certificate(dir: &Path, until: i32) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    std::fs::write(dir.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

#[test]
fn a_clock_that_goes_behind_its_own_data_is_told() {
    let site = Site::new("broker: {listen: 127.0.0.1:0}\n");
    std::fs::create_dir(site.path("data")).unwrap();
    let file = File::create(site.path("data/meterbridge.db")).unwrap();
    assert_eq!(site.doctor().0, 0);
    file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    let (code, report) = site.doctor();
    is(&report, "problem", "clock:", "behind");
    assert_eq!(code, 69);
}

/// A gateway that runs until it is dropped.
struct Gateway(Child);

impl Gateway {
    /// Starts it and waits until its log has said all of `words`.
    fn start(site: &Site, words: &[&str]) -> Self {
        Self::spawn(site.command("run"), words)
    }

    fn spawn(mut command: Command, words: &[&str]) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut gateway = Self(command.spawn().unwrap());
        let mut lines = BufReader::new(gateway.0.stderr.take().unwrap()).lines();
        let mut left = words.to_vec();
        while !left.is_empty() {
            let line = lines.next().unwrap_or_else(|| panic!("it ended before {left:?}")).unwrap();
            left.retain(|words| !line.contains(words));
        }
        // Somebody has to read on, or a log that is full stops the gateway.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        gateway
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn beside_a_running_gateway_its_own_ports_and_devices_are_fine() {
    let (_meter, serial) = serial_port();
    let module = TcpListener::bind("127.0.0.1:0").unwrap();
    let (broker, port) = (free_port(), module.local_addr().unwrap().port());
    let site = Site::new(&format!(
        "broker: {{listen: 127.0.0.1:{broker}}}
meters:
  - {{name: house, kind: brultech, link: {{serial: {serial}}}}}
  - {{name: barn, kind: brultech, link: {{connect: \"127.0.0.1:{port}\"}}}}
"
    ));
    let gateway = Gateway::start(&site, &["mqtt broker listens", "serial port is open"]);
    let connection = module.accept().unwrap();
    // The gateway itself writes to its files.
    let names = || site.files().into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    let before = names();
    let (code, report) = site.doctor();
    assert_eq!(code, 0, "{report}");
    is(&report, "ok", "gateway:", &format!("(process {})", gateway.0.id()));
    is(&report, "ok", "broker.listen", "the running gateway listens");
    is(&report, "ok", "meters[0].link.serial", "the running gateway has it open");
    is(&report, "ok", "meters[1].link.connect", "the running gateway is connected");
    is(&report, "ok", "data_dir data:", "is writable");
    assert_eq!(names(), before, "nothing was made");
    // No second connection was made to a module that may have room for one.
    module.set_nonblocking(true).unwrap();
    assert!(module.accept().is_err());
    // Another gateway's port is another's.
    let other = Site::new(&format!("broker: {{listen: 127.0.0.1:{broker}}}\n"));
    let (code, report) = other.doctor();
    is(&report, "problem", "broker.listen", "is in use by meterbridge (process ");
    assert_eq!(code, 69);
    drop((connection, gateway));
}
