use super::super::Simulator;
use super::*;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::task::Group;

/// A running simulator, and what a test has of it.
struct Running {
    simulator: Group,
    stop: CancellationToken,
    meters: Vec<SimulatedMeter>,
    heard: Watched<Heard>,
}

impl Running {
    fn start(simulator: Simulator) -> Running {
        let (meters, heard) = (simulator.meters(), simulator.heard());
        let (mut group, stop) = (Group::default(), CancellationToken::new());
        let run = simulator.run(stop.clone());
        group.spawn("simulator", async move {
            run.await;
            Ok::<(), std::convert::Infallible>(())
        });
        Running { simulator: group, stop, meters, heard }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        self.simulator.finish(seconds(10)).await;
    }
}

fn gem(interval: Duration) -> Simulation {
    Simulation { format: Format::Bin48Net, meters: 1, interval, seed: 1 }
}

async fn read(stream: &mut (impl AsyncReadExt + Unpin), length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    tokio::time::timeout(seconds(20), stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

#[tokio::test]
async fn a_meter_that_waits_answers_and_keeps_its_settings_over_connections() {
    let here = Direction::Listen("127.0.0.1:0".parse().unwrap());
    let simulator = Simulator::build(&gem(seconds(3600)), here, Manners::default()).await.unwrap();
    let address = simulator.address().unwrap();
    let running = Running::start(simulator);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(read(&mut stream, 619).await[..3], [0xFE, 0xFF, 5]);
    stream.write_all(b"^^^SYSPKT08").await.unwrap();
    assert_eq!(read(&mut stream, 5).await, b"PKT\r\n");
    drop(stream);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(read(&mut stream, 429).await[..3], [0xFE, 0xFF, 7]);
    running.meters[0].change(super::super::State::send_now);
    assert_eq!(read(&mut stream, 429).await[..3], [0xFE, 0xFF, 7]);
    running.heard.until(|heard| (heard.times(b"^^^SYSPKT08") == 1).then_some(())).await;
    running.stop().await;
}

#[tokio::test]
async fn a_meter_with_a_connection_for_each_packet_dials_for_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Direction::Connect(listener.local_addr().unwrap().to_string());
    let manners = Manners { one_packet: true, ..Manners::default() };
    let simulator = Simulator::build(&gem(Duration::from_millis(10)), to, manners).await.unwrap();
    let running = Running::start(simulator);
    for _ in 0..3 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len(), 619);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_pseudo_terminal_is_a_serial_port_until_it_is_pulled_out() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("meter");
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let to = Direction::Serial(Some(link.clone()));
    let simulation = Simulation { format: Format::Ecm1240, meters: 2, ..gem(seconds(3600)) };
    let simulator = Simulator::build(&simulation, to, Manners::default()).await.unwrap();
    assert_eq!(simulator.path(), Some(link.as_path()));
    let running = Running::start(simulator);
    running.meters[1].until(|state| (state.packets_sent == 1).then_some(())).await;

    // What was sent before anybody listened is still in the line.
    let mut port = tokio::fs::OpenOptions::new();
    port.read(true).write(true);
    let mut stream = port.open(&link).await.unwrap();
    assert_eq!(taken_apart(&read(&mut stream, 130).await).0.len(), 2);
    for chunk in [&b"\xFD"[..], b"SPK"] {
        stream.write_all(chunk).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(read(&mut stream, 1).await, [0xFC]);
    }
    let (packets, _) = taken_apart(&read(&mut stream, 65).await);
    assert_eq!(packets[0].serial(), "110002");
    drop(stream);
    let mut stream = port.open(&link).await.unwrap();
    running.stop().await;
    assert!(!link.exists());
    let mut rest = [0; 1];
    // The other side is gone: an end or an error, and no waiting.
    assert!(!matches!(stream.read(&mut rest).await, Ok(1)));
}

#[tokio::test]
async fn a_link_never_replaces_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes");
    std::fs::write(&file, "mine").unwrap();
    let to = Direction::Serial(Some(file.clone()));
    let error = Simulator::build(&gem(seconds(5)), to, Manners::default()).await.unwrap_err();
    assert!(error.to_string().contains("notes"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}
