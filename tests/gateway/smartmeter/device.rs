//! A device that answers as a recorded one did.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::record::{Record, Recorder, record};

/// What one command is answered with: pieces as they left the device, each written by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) pieces: Vec<Vec<u8>>,
    /// The device closes the connection behind them.
    pub(super) closes: bool,
}

impl Answer {
    pub(super) fn line(text: &str) -> Answer {
        Answer { pieces: vec![format!("Info:{text}\r\n").into_bytes()], closes: false }
    }

    /// The JSON of its last line.
    pub(super) fn reply(&self) -> Option<Value> {
        let text = String::from_utf8_lossy(&self.pieces.concat()).into_owned();
        let last = text.lines().rfind(|line| line.starts_with("Info:{"))?;
        serde_json::from_str(last.strip_prefix("Info:")?).ok()
    }
}

/// What a device says, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) greeting: Answer,
    /// By the command as it was sent; the last of several goes on.
    pub(super) answers: HashMap<String, Vec<Answer>>,
    /// The commands in their order.
    pub(super) order: Vec<Value>,
}

impl Script {
    /// One of the recorded dialogs.
    pub(super) fn of(dialog: &str) -> Script {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("protocols/tests/captures/smartmeter")
            .join(dialog);
        let mut script = Script::default();
        let mut current: Option<String> = None;
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let bytes = line["bytes"].as_str().map(|text| text.chars().map(|one| one as u8));
            let bytes: Vec<u8> = bytes.into_iter().flatten().collect();
            if line["dir"] == "host" {
                let said = key(&String::from_utf8(bytes).unwrap());
                if let Ok(value) = serde_json::from_str(&said) {
                    script.order.push(value);
                }
                script.answers.entry(said.clone()).or_default().push(Answer::default());
                current = Some(said);
                continue;
            }
            let answers =
                current.as_ref().and_then(|said| script.answers.get_mut(said)?.last_mut());
            let answer = answers.unwrap_or(&mut script.greeting);
            match line["closed"].as_bool() {
                Some(true) => answer.closes = true,
                _ => answer.pieces.push(bytes),
            }
        }
        script
    }

    /// Answers a command so from now on.
    pub(super) fn with(mut self, command: &Value, answer: Answer) -> Script {
        self.answers.insert(key(&command.to_string()), vec![answer]);
        self
    }
}

/// The same command, however it is spelled.
fn key(line: &str) -> String {
    let line = line.trim();
    let mut value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(_) => return line.to_owned(),
    };
    value.sort_all_objects();
    value.to_string()
}

/// A device on a port of its own.
pub(super) struct Device {
    pub(super) address: SocketAddr,
    /// What was said to it.
    pub(super) lines: Record<String>,
    task: JoinSet<()>,
}

impl Device {
    pub(super) async fn start(script: Script) -> Device {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (recorder, lines)) = (listener.local_addr().unwrap(), record());
        let (recorder, script) = (Arc::new(recorder), Arc::new(Mutex::new(script)));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(play(stream, Arc::clone(&script), Arc::clone(&recorder)));
            }
        });
        Device { address, lines, task }
    }

    /// One that dials the gateway's stream server, once.
    pub(super) fn dialling(gateway: SocketAddr, script: Script) -> Device {
        let (recorder, lines) = record();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let stream = TcpStream::connect(gateway).await.unwrap();
            play(stream, Arc::new(Mutex::new(script)), Arc::new(recorder)).await;
        });
        Device { address: gateway, lines, task }
    }

    /// Waits until the gateway has closed the connection that was dialled.
    pub(super) async fn ended(mut self) {
        self.task.join_next().await;
    }

    /// Waits until a line that begins so was said to it `count` times.
    pub(super) async fn said(&self, begin: &str, count: usize) {
        let find = |lines: &[String]| {
            (lines.iter().filter(|line| line.starts_with(begin)).count() >= count).then_some(())
        };
        self.lines.until(begin, find).await;
    }
}

async fn play(stream: TcpStream, script: Arc<Mutex<Script>>, heard: Arc<Recorder<String>>) {
    stream.set_nodelay(true).unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let greeting = script.lock().greeting.clone();
    let mut answer = greeting;
    loop {
        for piece in &answer.pieces {
            if write.write_all(piece).await.is_err() {
                return;
            }
        }
        if answer.closes {
            return;
        }
        let Ok(Some(line)) = lines.next_line().await else { return };
        heard.push(line.clone());
        answer = next(&mut script.lock(), line.trim());
    }
}

fn next(script: &mut Script, line: &str) -> Answer {
    match line {
        "?" => return Answer::line("Setup done"),
        line if line.starts_with('!') => return Answer::default(),
        _ => {}
    }
    match script.answers.get_mut(&key(line)) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers.first().cloned().unwrap_or_default(),
        // As when the connection was made, and one more line.
        None if line == INFO => {
            let mut answer = script.greeting.clone();
            answer.pieces.extend(Answer::line("{\"error\":false}").pieces);
            answer
        }
        None => {
            let cmd = serde_json::from_str::<Value>(line).map(|value| value["cmd"].clone());
            let reply =
                json!({"error": true, "cmd": cmd.unwrap_or_default(), "msg": "unknown command"});
            Answer::line(&reply.to_string())
        }
    }
}

const INFO: &str = "{\"cmd\":\"info\"}";
