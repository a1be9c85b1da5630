//! What goes wrong with meters in the field.

use std::time::Duration;

use meterbridge::simulator::{SmartKind, SmartManners};
use serde_json::json;

use crate::client::{Said, listening, samples};

const SAMPLE: &str = r#"{"cmd":"sample","payload":{"type":"TCP","rate":2000,"measures":"v,i"}}"#;

#[tokio::test]
async fn a_fourth_connection_is_closed_without_a_byte() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = running.client().await;
        client.reply().await;
        clients.push(client);
    }
    let mut fourth = running.client().await;
    assert_eq!(fourth.next().await, Said::Closed);
    drop(clients.pop());
    running.meter().until(|device| (device.refused == 1).then_some(())).await;
    loop {
        // The meter has to see first that one is gone.
        if let Said::Json(_) = running.client().await.next().await {
            break;
        }
    }
}

#[tokio::test]
async fn half_a_line_holds_up_everybody() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let (mut rude, mut polite) = (running.client().await, running.client().await);
    rude.reply().await;
    polite.reply().await;
    rude.send_raw(b"{\"cmd\":").await;
    polite.send(r#"{"cmd":"getVoltage"}"#).await;
    rude.send_raw(b"\"getPower\"}\n").await;
    // Whoever was held up gets his answer once the line is whole.
    assert_eq!(rude.reply().await["cmd"], "getPower");
    assert_eq!(polite.reply().await["cmd"], "getVoltage");
}

#[tokio::test]
async fn lost_packets_are_missing_numbers() {
    let manners = SmartManners { loss: Some(8), ..SmartManners::default() };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    client.ask(SAMPLE).await;
    let mut numbers = Vec::new();
    while numbers.len() < 14 {
        numbers.push(client.packet().await.0);
    }
    assert_eq!(numbers, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15]);
}

#[tokio::test]
async fn noise_and_pieces_leave_every_packet_whole() {
    let manners = SmartManners {
        noise: true,
        chunks: Some(7),
        pause: Duration::ZERO,
        ..SmartManners::default()
    };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    let sample = json!({"type": "TCP", "rate": 100, "measures": "v,i"});
    client.ask(&json!({"cmd": "sample", "payload": sample}).to_string()).await;
    for expected in 0..20 {
        let (number, payload) = client.packet().await;
        assert_eq!(number, expected);
        assert!(samples(&payload, 2).iter().all(|row| row[0].abs() < 400.0));
    }
    assert_eq!(client.skipped, 0);
}

#[tokio::test]
async fn a_cut_packet_breaks_the_framing() {
    let manners = SmartManners { short_writes: Some(6), ..SmartManners::default() };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    client.ask(SAMPLE).await;
    while client.skipped == 0 {
        client.packet().await;
    }
}

#[tokio::test]
async fn a_restart_drops_everything_and_comes_back_idle() {
    let manners = SmartManners { boot: Duration::from_millis(50), ..SmartManners::default() };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    client.ask(SAMPLE).await;
    client.packet().await;
    client.send(r#"{"cmd":"restart"}"#).await;
    while client.next().await != Said::Closed {}
    running.meter().until(|device| (device.starts == 2).then_some(())).await;
    // The port may not be open again yet.
    let stream = loop {
        if let Ok(stream) = tokio::net::TcpStream::connect(running.commands[0]).await {
            break stream;
        }
        tokio::task::yield_now().await;
    };
    let info = crate::client::Client::new(stream).reply().await;
    assert_eq!((&info["state"], &info["sampling_rate"]), (&json!("idle"), &json!(8000)));
}

#[tokio::test]
async fn a_reader_who_stalls_for_too_long_loses_all() {
    let manners = SmartManners { boot: Duration::from_secs(60), ..SmartManners::default() };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    client.reply().await;
    let sample = json!({"type": "TCP", "rate": 32000});
    client.ask(&json!({"cmd": "sample", "payload": sample}).to_string()).await;
    // 768,000 bytes a second, and nobody reads: the buffer is full after five seconds.
    running.meter().until(|device| (!device.is_sampling()).then_some(())).await;
    while client.next().await != Said::Closed {}
}

#[tokio::test]
async fn without_its_clock_chip_a_raw_stream_dries_up() {
    let manners = SmartManners { no_rtc: true, ..SmartManners::default() };
    let running = listening(SmartKind::SmartMeter, manners).await;
    let mut client = running.client().await;
    assert_eq!(client.reply().await["rtc"], false);
    client.ask(SAMPLE).await;
    running.meter().until(|device| (device.samples_sent > 1800).then_some(())).await;
    let summary = client.ask(r#"{"cmd":"stop"}"#).await;
    assert!(summary["samples"].as_u64().unwrap() <= 2000, "{summary}");
}
