//! Telegrams onto lines, and lines opened again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::dsmr::Key;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::telegram::Port;
use super::{PortManners, PortSimulator};
use crate::model::Timestamp;
use crate::simulator::OpenLine;
use crate::transport::Backoff;

/// What speaks on one line.
#[derive(Debug, Clone)]
struct Choir {
    ports: Arc<[Port]>,
    interval: Duration,
    key: Option<Key>,
    manners: PortManners,
    /// On a serial line what nobody reads is lost.
    lossy: bool,
}

/// Speaks for ever.
pub(super) async fn run(simulator: PortSimulator) {
    let PortSimulator { ports, interval, key, manners, line } = simulator;
    let choir = |ports: Vec<Port>, lossy| Choir {
        ports: ports.into(),
        interval,
        key: key.clone(),
        manners,
        lossy,
    };
    let mut speakers = JoinSet::new();
    match line {
        OpenLine::Connect(address) => {
            for port in ports {
                speakers.spawn(keep_dialling(choir(vec![port], false), address.clone()));
            }
            while speakers.join_next().await.is_some() {}
        }
        OpenLine::Listen(listener, address) => {
            tracing::info!(%address, meters = ports.len(), "simulated ports wait");
            let choir = choir(ports, false);
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted,
                    Some(_) = speakers.join_next() => continue,
                };
                match stream {
                    Ok((stream, peer)) => {
                        let choir = choir.clone();
                        speakers.spawn(async move {
                            let ended = choir.speak(stream).await;
                            tracing::info!(%peer, reason = %ended, "connection ended");
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        }
        OpenLine::Serial(terminal) => {
            let path = terminal.path().to_owned();
            tracing::info!(path = %path.display(), meters = ports.len(), "simulated ports speak");
            let ended = choir(ports, true).speak(terminal).await;
            tracing::warn!(path = %path.display(), reason = %ended, "the pseudo-terminal is gone");
        }
    }
}

async fn keep_dialling(choir: Choir, address: String) {
    let mut pause = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    loop {
        match TcpStream::connect(&address).await {
            Ok(stream) => {
                pause.reset();
                let ended = choir.speak(stream).await;
                tracing::warn!(address, reason = %ended, "connection lost");
            }
            Err(error) => tracing::warn!(address, %error, "cannot connect"),
        }
        sleep(pause.next_pause()).await;
    }
}

impl Choir {
    /// A telegram of each meter at every interval, until the line is lost.
    async fn speak(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Error {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut random = fastrand::Rng::with_seed(0x7031);
        let mut deaf = [0; 256];
        let mut count = 0_u32;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                read = stream.read(&mut deaf) => match read {
                    Ok(0) if self.lossy => {
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                    Ok(0) => return io::ErrorKind::ConnectionAborted.into(),
                    Ok(_) => continue,
                    Err(error) => return error,
                },
            }
            for port in self.ports.iter() {
                count = count.wrapping_add(1);
                let bytes = self.spoil(self.told_by(port, count), count, &mut random);
                let written = timeout(PATIENCE, stream.write_all(&bytes)).await;
                match written {
                    Ok(Err(error)) => return error,
                    Err(_) if !self.lossy => return io::ErrorKind::TimedOut.into(),
                    _ => {}
                }
            }
        }
    }

    /// The telegram as the meter sends it.
    fn told_by(&self, port: &Port, count: u32) -> Vec<u8> {
        let telegram = port.telegram(Timestamp::now().seconds());
        let encrypted =
            self.key.as_ref().and_then(|key| key.encrypt(port.title(), count, &telegram));
        encrypted.unwrap_or(telegram)
    }

    /// The telegram as the line delivers it.
    fn spoil(&self, mut bytes: Vec<u8>, count: u32, random: &mut fastrand::Rng) -> Vec<u8> {
        let is_tenth = count.is_multiple_of(10);
        if self.manners.halves && is_tenth {
            bytes.truncate(bytes.len() / 2);
        } else if self.manners.wrong_bytes && is_tenth {
            let at = random.usize(5..bytes.len() - 6);
            // Another character that may stand there as well.
            bytes[at] ^= 1;
        }
        if self.manners.noise {
            bytes.extend((0..random.usize(1..24)).map(|_| random.u8(..)));
        }
        bytes
    }
}

/// How long a reader is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
