//! The other ways to a meter: the stream server that it dials, and the serial line.

use std::time::Duration;

use meterbridge::simulator::{SmartKind, SmartManners, SmartSimulator, SmartWays};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, listening, running, simulation};

async fn accepted(listener: &TcpListener) -> Client {
    let accepted = timeout(Duration::from_secs(20), listener.accept()).await;
    Client::new(accepted.unwrap().unwrap().0)
}

#[tokio::test]
async fn a_meter_that_dials_waits_to_be_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = server.local_addr().unwrap().to_string().parse().unwrap();
    let ways = SmartWays { connect: Some(to), ..SmartWays::default() };
    let manners = SmartManners { redial: Duration::from_millis(50), ..SmartManners::default() };
    let _running = running(&simulation(SmartKind::SmartMeter, 1), ways, manners).await;
    let mut meter = accepted(&server).await;
    assert_eq!(meter.reply().await["stream_server"], "127.0.0.1");
    let payload = json!({"type": "TCP", "rate": 8000});
    meter.ask(&json!({"cmd": "sample", "payload": payload}).to_string()).await;
    assert_eq!(meter.packet().await.0, 0);
    drop(meter);
    // It comes back, idle.
    assert_eq!(accepted(&server).await.reply().await["state"], "idle");
}

#[tokio::test]
async fn a_meter_dials_a_server_that_it_is_told_of() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let manners = SmartManners { stream_port: port, ..SmartManners::default() };
    let running = listening(SmartKind::PowerMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    client.ask(r#"{"cmd":"streamServer","payload":{"server":"127.0.0.1"}}"#).await;
    assert_eq!(accepted(&server).await.reply().await["name"], "powermeter01");
}

#[tokio::test]
async fn frames_on_a_serial_line_end_with_a_line_end() {
    let ways = SmartWays { serial: Some(None), ..SmartWays::default() };
    let simulation = simulation(SmartKind::SmartMeter, 1);
    let simulator =
        SmartSimulator::build(&simulation, ways, SmartManners::default()).await.unwrap();
    let path = simulator.path().unwrap().to_str().unwrap().to_owned();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(simulator.run(CancellationToken::new()));
    let builder = tokio_serial::new(path, 2_000_000);
    let mut port = tokio_serial::SerialStream::open(&builder).unwrap();
    let payload = json!({"type": "Serial", "rate": 1000});
    let command = json!({"cmd": "sample", "payload": payload}).to_string();
    port.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    let (mut heard, mut bytes) = (Vec::new(), [0; 1024]);
    let frame = |heard: &[u8]| heard.windows(5).position(|five| five == b"Data:");
    loop {
        let read = timeout(Duration::from_secs(20), port.read(&mut bytes)).await;
        let length = read.unwrap().unwrap();
        heard.extend_from_slice(&bytes[..length]);
        if let Some(at) = frame(&heard)
            && heard.len() >= at + 133 + 5
        {
            assert_eq!(&heard[at + 5..at + 7], 120_u16.to_le_bytes());
            assert_eq!(&heard[at + 131..at + 138], b"\r\nData:");
            return;
        }
    }
}
