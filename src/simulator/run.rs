//! Moving bytes between lines and what they are connected to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::brultech::SimulatedMeter;
use super::line::Line;
use super::terminal::Terminal;
use super::{Heard, Manners, OpenLine, Simulator, Watched};
use crate::task::Group;
use crate::transport::Backoff;

/// What every connection needs.
#[derive(Debug, Clone)]
struct Ground {
    manners: Manners,
    heard: Watched<Heard>,
    poked: Arc<Notify>,
}

pub(super) async fn run(simulator: Simulator, stop: CancellationToken) {
    let Simulator { meters, manners, heard, poked, line } = simulator;
    let ground = Ground { manners, heard, poked };
    match line {
        OpenLine::Connect(address) => dial_all(meters, &ground, &address, stop).await,
        OpenLine::Listen(listener, address) => {
            tracing::info!(%address, meters = meters.len(), "simulated meters wait");
            wait(&meters, &ground, &listener, stop).await;
        }
        OpenLine::Serial(terminal) => {
            let path = terminal.path().to_owned();
            tracing::info!(path = %path.display(), meters = meters.len(), "simulated meters speak");
            let lost = tokio::select! {
                lost = attach(terminal, meters, &ground) => lost,
                () = stop.cancelled() => return,
            };
            tracing::warn!(path = %path.display(), reason = %lost, "the pseudo-terminal is gone");
            stop.cancelled().await;
        }
    }
}

async fn dial_all(
    meters: Vec<SimulatedMeter>,
    ground: &Ground,
    address: &str,
    stop: CancellationToken,
) {
    let mut group = Group::default();
    let count = meters.len();
    for (place, meter) in meters.into_iter().enumerate() {
        // Spread over the interval, as meters in the field are.
        let (serial, interval) = meter.look(|state| (state.serial(), state.interval));
        let phase = interval.mul_f64(place as f64 / count as f64);
        let (address, ground, stop) = (address.to_owned(), ground.clone(), stop.clone());
        let dial = async move {
            tokio::select! {
                () = keep_dialling(meter, &serial, &ground, &address, phase) => {}
                () = stop.cancelled() => {}
            }
            Ok::<(), std::convert::Infallible>(())
        };
        group.spawn(format!("meter {place}"), dial);
    }
    while group.ended().await.is_some() {}
}

async fn keep_dialling(
    meter: SimulatedMeter,
    serial: &str,
    ground: &Ground,
    address: &str,
    phase: Duration,
) {
    let mut pause = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    sleep(phase).await;
    loop {
        if ground.manners.one_packet {
            wait_for_packet(&meter, &ground.poked).await;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                pause.reset();
                let mut line = ground.line(vec![meter.clone()]);
                match speak(stream, &mut line, ground).await {
                    End::Closed if ground.manners.one_packet => continue,
                    End::Closed => {}
                    End::Lost(error) => {
                        tracing::warn!(serial, reason = %error, "connection lost");
                    }
                }
            }
            Err(error) => tracing::warn!(serial, address, %error, "cannot connect"),
        }
        sleep(pause.next_pause()).await;
    }
}

/// Waits until a packet is worth a connection.
async fn wait_for_packet(meter: &SimulatedMeter, poked: &Notify) {
    loop {
        let mut poked = std::pin::pin!(poked.notified());
        poked.as_mut().enable();
        let now = Instant::now();
        let (due, wanted, sends) =
            meter.look(|state| (state.next_packet.unwrap_or(now), state.wanted, state.real_time));
        if wanted > 0 || (sends && due <= now) {
            return;
        }
        tokio::select! {
            () = sleep_until(due), if sends => {}
            () = poked => {}
        }
    }
}

async fn wait(
    meters: &[SimulatedMeter],
    ground: &Ground,
    listener: &TcpListener,
    stop: CancellationToken,
) {
    let mut group = Group::default();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = group.ended() => continue,
            () = stop.cancelled() => return,
        };
        let (mut line, ground) = (ground.line(meters.to_vec()), ground.clone());
        group.spawn(format!("connection of {peer}"), async move {
            match speak(stream, &mut line, &ground).await {
                End::Closed => tracing::debug!(%peer, "connection closed"),
                End::Lost(reason) => tracing::info!(%peer, %reason, "connection ended"),
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

impl Ground {
    /// A line that opens now.
    fn line(&self, meters: Vec<SimulatedMeter>) -> Line {
        self.heard.update(|heard| heard.connections += 1);
        Line::new(meters, self.manners.clone(), self.heard.clone(), Instant::now())
    }
}

/// How a connection ended.
enum End {
    /// We closed it, as we meant to.
    Closed,
    /// The other side closed it, or it broke.
    Lost(io::Error),
}

async fn speak(mut stream: TcpStream, line: &mut Line, ground: &Ground) -> End {
    // Each chunk and each answer is to leave at once. That it cannot be had costs 40 ms only.
    let _ = stream.set_nodelay(true);
    let mut buffer = [0; 1024];
    loop {
        let mut poked = std::pin::pin!(ground.poked.notified());
        poked.as_mut().enable();
        while let Some(bytes) = line.transmit(Instant::now()) {
            if let Err(error) = stream.write_all(&bytes).await {
                return End::Lost(error);
            }
        }
        if line.is_over(Instant::now()) {
            return End::Closed;
        }
        match next(&mut stream, &mut buffer, line.deadline(), poked).await {
            Ok(None) => {}
            Ok(Some(0)) => return End::Lost(io::ErrorKind::ConnectionAborted.into()),
            Ok(Some(length)) => line.received(&buffer[..length], Instant::now()),
            Err(error) => return End::Lost(error),
        }
    }
}

/// Speaks on a pseudo-terminal. What nobody reads is lost, as on any serial line.
async fn attach(mut terminal: Terminal, meters: Vec<SimulatedMeter>, ground: &Ground) -> io::Error {
    let mut line = ground.line(meters);
    let mut buffer = [0; 1024];
    let mut is_read = true;
    loop {
        let mut poked = std::pin::pin!(ground.poked.notified());
        poked.as_mut().enable();
        while let Some(bytes) = line.transmit(Instant::now()) {
            // Whoever reads is waited for; once nobody does, each packet only gets its chance.
            let patience = Duration::from_millis(if is_read { 2000 } else { 1 });
            is_read = match timeout(patience, terminal.write_all(&bytes)).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => return error,
                Err(_) => false,
            };
        }
        match next(&mut terminal, &mut buffer, line.deadline(), poked).await {
            Ok(None | Some(0)) => {}
            Ok(Some(length)) => line.received(&buffer[..length], Instant::now()),
            Err(error) => return error,
        }
    }
}

/// Waits for bytes, for the deadline, or for a change from outside. `None`: no bytes came.
async fn next(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    buffer: &mut [u8],
    deadline: Option<Instant>,
    poked: impl Future<Output = ()>,
) -> io::Result<Option<usize>> {
    tokio::select! {
        read = stream.read(buffer) => read.map(Some),
        () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Ok(None),
        () = poked => Ok(None),
    }
}
