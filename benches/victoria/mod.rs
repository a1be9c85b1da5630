//! The same data in VictoriaMetrics, and the same questions, where it is installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::history_load::Kind;

/// Feeds `days` of readings from `begin` and asks for what `asked` names: begin, length, step.
pub(crate) fn compare(begin: i64, days: i64, asked: &[(&str, i64, i64, i64)]) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let Some(server) = Server::start(dir.path()) else {
        println!("victoria-metrics is not installed: no comparison");
        return;
    };
    let start = Instant::now();
    let mut body = String::new();
    let mut count = 0;
    for point in Kind::Mains.points(begin, days * 86_400) {
        let (whole, part) = (point.milli / 1000, point.milli % 1000);
        body.push_str(&format!("energy,meter=house wh={whole}.{part:03} {}000000000\n", point.at));
        count += 1;
        if body.len() > 4 << 20 {
            server.request("POST", "/write", &body);
            body.clear();
        }
    }
    server.request("POST", "/write", &body);
    server.request("GET", "/internal/force_flush", "");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "victoria-metrics: {count} readings in, {:.2} million a second",
        count as f64 / seconds / 1e6
    );
    // Merging goes on for a while; the size is taken when it stays.
    server.request("GET", "/internal/force_merge", "");
    let mut size = 0;
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let now = folder_size(dir.path());
        if now == size {
            break;
        }
        size = now;
    }
    println!(
        "  {:.1} MB on disk = {:.2} bytes a reading",
        size as f64 / 1e6,
        size as f64 / count as f64
    );
    for (name, from, length, step) in asked {
        let from = from - from.rem_euclid(86_400);
        let query = format!(
            "/api/v1/query_range?query=increase(energy_wh%5B{step}s%5D)&start={}&end={}&step={step}&nocache=1",
            from + step,
            from + length
        );
        let mut spans = 0;
        let mut times: Vec<Duration> = (0..11)
            .map(|_| {
                let start = Instant::now();
                let answer = server.request("GET", &query, "");
                spans = answer.matches("],[").count() + 1;
                start.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "  {name}: {spans} spans, {:.2?} at best, {:.2?} in the middle",
            times[0], times[5]
        );
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(dir: &std::path::Path) -> Option<Server> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let child = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", dir.display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .args([
                "-retentionPeriod=100y",
                "-search.maxPointsPerTimeseries=1000000",
                "-search.maxSamplesPerSeries=1000000000",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Server { child, port };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    fn request(&self, method: &str, target: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a server");
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        if !answer.starts_with("HTTP/1.1 20") {
            let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
            println!("  refused: {body:.600}");
        }
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder_size(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .map(|file| match file.file_type() {
            Ok(kind) if kind.is_dir() => folder_size(&file.path()),
            _ => file.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}
