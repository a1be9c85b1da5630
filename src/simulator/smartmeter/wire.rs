//! One connection of a meter: bytes in as they come, bytes out as the reader takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::manners::SmartManners;
use super::run::Event;
use crate::simulator::terminal::Terminal;

/// Bytes on their way to one reader.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: VecDeque<u8>,
    closing: bool,
}

impl Backlog {
    /// Adds bytes; what is far too much is lost, as a write that fails.
    pub(super) fn push(&self, bytes: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.bytes.len() < MOST {
            waiting.bytes.extend(bytes);
        }
        drop(waiting);
        self.more.notify_one();
    }

    /// The connection ends once all has left.
    pub(super) fn close(&self) {
        self.waiting.lock().closing = true;
        self.more.notify_one();
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.lock().bytes.len()
    }

    fn clear(&self) {
        self.waiting.lock().bytes.clear();
    }

    /// Bytes to write next, without taking them away; `None`: all is over.
    async fn next(&self, most: usize) -> Option<Vec<u8>> {
        loop {
            {
                let waiting = self.waiting.lock();
                if !waiting.bytes.is_empty() {
                    let (first, second) = waiting.bytes.as_slices();
                    let first = &first[..first.len().min(most)];
                    let second = &second[..second.len().min(most - first.len())];
                    return Some([first, second].concat());
                }
                if waiting.closing {
                    return None;
                }
            }
            self.more.notified().await;
        }
    }

    fn written(&self, count: usize) {
        let mut waiting = self.waiting.lock();
        let count = count.min(waiting.bytes.len());
        waiting.bytes.drain(..count);
    }
}

/// How bytes leave.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    chunks: Option<usize>,
    pause: Duration,
    merge: Duration,
    stalls: Option<(Duration, Duration)>,
    begin: Instant,
}

impl Pace {
    pub(super) fn of(manners: &SmartManners) -> Pace {
        Pace {
            chunks: manners.chunks,
            pause: manners.pause,
            merge: manners.merge,
            stalls: manners.stalls,
            begin: Instant::now(),
        }
    }

    /// Waits while the network stands still.
    async fn stall(&self) {
        let Some((every, length)) = self.stalls else { return };
        let round = (every + length).as_secs_f64();
        let into = self.begin.elapsed().as_secs_f64() % round.max(0.001);
        if into > every.as_secs_f64() {
            sleep_until(Instant::now() + Duration::from_secs_f64(round - into)).await;
        }
    }
}

/// Carries bytes until either side ends; the end is told. A meter that restarts drops this, which
/// resets the connection.
pub(super) async fn carry(
    mut stream: TcpStream,
    id: u64,
    backlog: Arc<Backlog>,
    pace: Pace,
    events: mpsc::Sender<Event>,
) {
    // None of these matters to what is said, so failing is no reason to end.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
    {
        let (reader, writer) = stream.split();
        tokio::select! {
            () = read(reader, id, &events) => {}
            () = write(writer, &backlog, &pace) => {}
        }
    }
    let _ = SockRef::from(&stream).set_linger(None);
    let _ = stream.shutdown().await;
    // If nobody hears it, the meter is off.
    let _ = events.send(Event::Closed(id)).await;
}

/// The same on a serial line, which stays; what nobody reads is lost.
pub(super) async fn carry_serial(
    terminal: Terminal,
    id: u64,
    backlog: Arc<Backlog>,
    pace: Pace,
    events: mpsc::Sender<Event>,
) {
    let (mut reader, mut writer) = tokio::io::split(terminal);
    let listen = async {
        let mut buffer = [0; 1024];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => sleep(Duration::from_millis(100)).await,
                Ok(length) => {
                    if events.send(Event::Bytes(id, buffer[..length].to_vec())).await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    };
    let speak = async {
        let most = pace.chunks.unwrap_or(PIECE);
        while let Some(bytes) = backlog.next(most).await {
            match timeout(PATIENCE, writer.write_all(&bytes)).await {
                Ok(Ok(())) => backlog.written(bytes.len()),
                Ok(Err(_)) => return,
                Err(_) => backlog.clear(),
            }
        }
    };
    tokio::select! {
        () = listen => {}
        () = speak => {}
    }
}

async fn read(mut reader: impl AsyncRead + Unpin, id: u64, events: &mpsc::Sender<Event>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        if events.send(Event::Bytes(id, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, backlog: &Backlog, pace: &Pace) {
    loop {
        let Some(mut bytes) = backlog.next(pace.chunks.unwrap_or(PIECE)).await else { return };
        if !pace.merge.is_zero() {
            sleep(pace.merge).await;
            let Some(more) = backlog.next(pace.chunks.unwrap_or(PIECE)).await else { return };
            bytes = more;
        }
        pace.stall().await;
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        backlog.written(bytes.len());
        if pace.chunks.is_some() {
            sleep(pace.pause).await;
        }
    }
}

/// Bytes that leave in one piece at most.
const PIECE: usize = 65_536;
/// Bytes that wait for a reader at most.
const MOST: usize = 1 << 20;
/// The system's own buffer, small as the meter's is: a reader who stalls is to be felt.
const SEND_BUFFER: usize = 16_384;
/// How long a reader at a serial line is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
