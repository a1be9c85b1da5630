//! The real program with a configuration file, and what it says on stdout and stderr.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::record::{PATIENCE, Record, record};
use crate::support::{Meter, Site};

/// A running `meterbridge`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) log: Record<String>,
    pub(crate) output: Record<String>,
    pub(crate) broker: SocketAddr,
    pub(crate) web: SocketAddr,
    meters: Option<SocketAddr>,
}

impl Process {
    /// Starts `meterbridge ARGUMENTS --config …` and waits until it serves.
    pub(crate) async fn run(site: &Site, arguments: &[&str]) -> Self {
        let config = site.config_file();
        let config = ["--config", config.to_str().unwrap()];
        Self::start(program(site, &[arguments, &config].concat())).await
    }

    /// Starts it and waits until it tells where it listens.
    pub(crate) async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = lines(child.stdout.take().unwrap());
        let log = lines(child.stderr.take().unwrap());
        let [broker, web] = [
            address(&log, "mqtt broker listens address=").await,
            address(&log, "web server listens url=\"http://").await,
        ];
        // The ports for meters are told right after these, in one breath.
        let meters = log.all().iter().find_map(|line| parse(line, METERS));
        Self { child, log, output, broker, web, meters }
    }

    /// A connection to the first port for meters.
    pub(crate) async fn dial(&self) -> Meter {
        let address = match self.meters {
            Some(address) => address,
            None => address(&self.log, METERS).await,
        };
        Meter::dial(address).await
    }

    /// Ends it as a power cut would: SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().unwrap();
        self.exited().await;
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let order = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &order]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn exited(&mut self) -> ExitStatus {
        self.log.closed("the end of the program").await;
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const METERS: &str = "meters may dial in address=";

/// The program with arguments, in the directory of the site and without this machine's settings.
pub(crate) fn program(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meterbridge"));
    command.current_dir(site.path()).args(arguments).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("METERBRIDGE__") {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code and stderr of a program that is to end by itself.
pub(crate) async fn ends(mut command: Command) -> (i32, String) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let log = lines(child.stderr.take().unwrap());
    let mut process = Kill(child);
    log.closed("the end of the program").await;
    (process.0.wait().unwrap().code().expect("no signal"), log.all().join("\n"))
}

/// A child that does not outlive its test.
pub(crate) struct Kill(pub(crate) Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a pipe as they come.
pub(crate) fn lines(pipe: impl Read + Send + 'static) -> Record<String> {
    let (recorder, lines) = record();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            recorder.push(line);
        }
    });
    lines
}

async fn address(log: &Record<String>, before: &str) -> SocketAddr {
    let find = |lines: &[String]| lines.iter().find_map(|line| parse(line, before));
    log.until(&format!("{before} within {PATIENCE:?}"), find).await
}

fn parse(line: &str, before: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(before)?;
    rest.split(['/', ' ', '"']).next()?.parse().ok()
}
