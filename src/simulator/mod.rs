//! Simulated meters that speak their real protocol over real sockets.
//!
//! What a simulated meter has counted is a function of the time alone ([`House`]): it goes on
//! where it should be after the simulator was restarted, as a real meter would.

mod brultech;
mod house;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meter_protocols::brultech::Format;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::task::Group;
use crate::transport::Backoff;

pub use brultech::SimulatedMeter;
pub use house::House;

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// The format of the packets, which also says the kind of meter.
    pub format: Format,
    /// How many meters.
    pub meters: u32,
    /// The time from packet to packet of one meter. Below a second the meter's own clock runs
    /// ahead by a second a packet, so that each carries a power.
    pub interval: Duration,
    /// The same seed gives the same meters.
    pub seed: u64,
}

/// Who opens the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Direction {
    /// Each meter dials the gateway and keeps the connection.
    Connect(String),
    /// The gateway dials; all meters speak on each connection.
    Listen(SocketAddr),
}

/// The address to wait on is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}; choose another --listen")]
pub struct SimulatorError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Simulates until `stop`.
///
/// # Errors
/// When the address to wait on is not to be had. A gateway that is not there is dialled again.
pub async fn run(
    simulation: Simulation,
    direction: Direction,
    stop: CancellationToken,
) -> Result<(), SimulatorError> {
    let house = Arc::new(House::new(simulation.seed));
    match direction {
        Direction::Connect(address) => dial_all(&simulation, &house, &address, stop).await,
        Direction::Listen(address) => {
            let failed = |source| SimulatorError { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            tracing::info!(%address, meters = simulation.meters, "simulated meters wait");
            wait(&simulation, &house, &listener, stop).await;
        }
    }
    Ok(())
}

fn meters(simulation: &Simulation, house: &Arc<House>) -> Vec<SimulatedMeter> {
    let meter = |n| SimulatedMeter::new(n, simulation.format, Arc::clone(house));
    (0..simulation.meters).map(meter).collect()
}

async fn dial_all(
    simulation: &Simulation,
    house: &Arc<House>,
    address: &str,
    stop: CancellationToken,
) {
    let mut group = Group::default();
    let count = simulation.meters;
    for (place, meter) in meters(simulation, house).into_iter().enumerate() {
        // Spread over the interval, as meters in the field are.
        let phase = simulation.interval.mul_f64(place as f64 / f64::from(count));
        let (address, interval, stop) = (address.to_owned(), simulation.interval, stop.clone());
        let name = format!("meter {}", meter.serial());
        let dial = async move {
            tokio::select! {
                () = keep_dialling(meter, &address, interval, phase) => {}
                () = stop.cancelled() => {}
            }
            Ok::<(), std::convert::Infallible>(())
        };
        group.spawn(name, dial);
    }
    while group.ended().await.is_some() {}
}

async fn keep_dialling(
    mut meter: SimulatedMeter,
    address: &str,
    interval: Duration,
    phase: Duration,
) {
    let mut pause = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
    sleep(phase).await;
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                pause.reset();
                let lost = speak(stream, std::slice::from_mut(&mut meter), interval).await;
                tracing::warn!(serial = meter.serial(), reason = %lost, "connection lost");
            }
            Err(error) => {
                tracing::warn!(serial = meter.serial(), address, %error, "cannot connect");
            }
        }
        sleep(pause.next_pause()).await;
    }
}

async fn wait(
    simulation: &Simulation,
    house: &Arc<House>,
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
        let mut meters = meters(simulation, house);
        let interval = simulation.interval;
        group.spawn(format!("connection of {peer}"), async move {
            let lost = speak(stream, &mut meters, interval).await;
            tracing::info!(%peer, reason = %lost, "connection ended");
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

/// Sends a packet of each meter every interval until the connection ends. Returns why.
async fn speak(
    mut stream: TcpStream,
    meters: &mut [SimulatedMeter],
    interval: Duration,
) -> std::io::Error {
    let mut tick = interval_at(Instant::now(), interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut packets = Vec::new();
    let mut commands = [0; 256];
    loop {
        tokio::select! {
            _ = tick.tick() => {
                packets.clear();
                meters.iter_mut().for_each(|meter| meter.write_packet(interval, &mut packets));
                if let Err(error) = stream.write_all(&packets).await {
                    return error;
                }
            }
            // Commands are read and let go; that the gateway hung up is noticed here.
            read = stream.read(&mut commands) => match read {
                Ok(0) => return std::io::ErrorKind::ConnectionAborted.into(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}
