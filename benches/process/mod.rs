//! A program under load: started, awaited, measured and ended.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// A process with a directory of its own. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    _dir: tempfile::TempDir,
}

/// What the gateway logs at its start.
pub(crate) struct Log(BufReader<ChildStderr>);

impl Process {
    /// Starts a command that was told where `dir` is.
    pub(crate) fn start(command: &mut Command, dir: tempfile::TempDir) -> Process {
        Process { child: command.spawn().expect("the program starts"), _dir: dir }
    }

    /// Starts the release binary in `dir`, where its configuration may be, with these settings.
    pub(crate) fn gateway(dir: tempfile::TempDir, settings: &[&str]) -> (Process, Log) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meterbridge"));
        command.current_dir(&dir).stderr(Stdio::piped());
        for setting in settings.iter().chain(&["data_dir=data"]) {
            command.args(["--set", setting]);
        }
        let mut process = Process::start(&mut command, dir);
        let log = process.child.stderr.take().expect("stderr is piped");
        (process, Log(BufReader::new(log)))
    }

    /// A file of the process in /proc.
    pub(crate) fn proc(&self, file: &str) -> String {
        let path = Path::new("/proc").join(self.child.id().to_string()).join(file);
        std::fs::read_to_string(path).expect("the process runs")
    }

    /// Resident memory.
    pub(crate) fn memory_mb(&self) -> f64 {
        let status = self.proc("status");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|line| line.trim().split(' ').next());
        kilobytes.and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    /// Waits for the line that holds `words`; the address in it.
    pub(crate) fn address(&mut self, words: &str) -> SocketAddr {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            let read = self.0.read_line(&mut line).expect("the log is text");
            assert_ne!(read, 0, "the gateway ended");
        }
        // address=ADDRESS:PORT, or url="http://ADDRESS:PORT/".
        let address = line.rsplit(['=', '/', '"']).find(|part| part.trim().contains(':'));
        address.unwrap_or_default().trim().parse().expect("an address in the log")
    }

    /// Reads on, or the gateway would wait for room in the pipe.
    pub(crate) fn drain(mut self) {
        std::thread::spawn(move || std::io::copy(&mut self.0, &mut std::io::sink()));
    }
}
