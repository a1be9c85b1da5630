//! Streams: layouts, packets, ports, and figures that are those of the loads.

use std::time::Duration;

use meterbridge::simulator::{LineLevel, SmartKind, SmartManners};
use serde_json::json;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::client::{Client, listening, power, rms, samples};

fn same(mine: f64, expected: f64) {
    let off = (mine - expected).abs() / expected.abs().max(1e-9);
    assert!(off < 1e-5, "{mine} is not {expected}");
}

/// Of whole cycles: channels are V and mA of each line.
fn agree(rows: &[Vec<f64>], levels: &[LineLevel]) {
    for (line, level) in levels.iter().enumerate() {
        let (v, i) = (2 * line, 2 * line + 1);
        same(rms(rows, v), level.voltage_v);
        same(rms(rows, i), level.current_a * 1000.0);
        same(power(rows, v, i), level.active_w);
    }
}

#[tokio::test]
async fn three_lines_in_packets_without_a_gap() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    client.reply().await;
    let reply = client.ask(r#"{"cmd":"sample","payload":{"type":"TCP","rate":4000}}"#).await;
    assert_eq!((&reply["chunksize"], &reply["measurements"]), (&json!(1008), &json!(6)));
    let mut bytes = Vec::new();
    for expected in 0..40 {
        let (number, payload) = client.packet().await;
        assert_eq!((number, payload.len()), (expected, 1008));
        bytes.extend(payload);
    }
    client.send(r#"{"cmd":"stop"}"#).await;
    let mut summary = None;
    let mut number = 40;
    while summary.is_none() {
        match client.next().await {
            crate::client::Said::Data(next, payload) => {
                assert_eq!(next, number);
                number += 1;
                bytes.extend(payload);
            }
            crate::client::Said::Json(text) => {
                summary = Some(serde_json::from_str::<serde_json::Value>(&text).unwrap());
            }
            _ => {}
        }
    }
    let rows = samples(&bytes, 6);
    let summary = summary.unwrap();
    assert_eq!(summary["sent_samples"], rows.len());
    assert_eq!(summary["samples"], rows.len());
    let levels = running.meter().look(|device| device.levels(0.0));
    agree(&rows[..1600], &levels);
}

#[tokio::test]
async fn every_layout_has_its_channels() {
    let smart = [
        ("v,i,v,i,v,i", 6, 8000),
        ("v,i", 2, 2000),
        ("v,i_L2", 2, 1000),
        ("p,q", 6, 50),
        ("v,i_RMS", 6, 50),
    ];
    let plug = [("v,i", 2, 4000), ("p,q", 2, 1000), ("v,i,p,q", 4, 2000), ("v,i_RMS", 2, 333)];
    let of = |kind, all: &[(&'static str, usize, u32)]| {
        all.iter().map(|one| (kind, *one)).collect::<Vec<_>>()
    };
    for (kind, cases) in [
        (SmartKind::SmartMeter, of(SmartKind::SmartMeter, &smart)),
        (SmartKind::PowerMeter, of(SmartKind::PowerMeter, &plug)),
    ] {
        let running = listening(kind, SmartManners::default()).await;
        let mut client = running.client().await;
        client.reply().await;
        for (_, (measures, channels, rate)) in cases {
            let payload = json!({"type": "TCP", "rate": rate, "measures": measures});
            let command = json!({"cmd": "sample", "payload": payload}).to_string();
            let reply = client.ask(&command).await;
            assert_eq!(reply["measurements"], channels, "{reply}");
            let rows = samples(&client.packet().await.1, channels);
            assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == channels));
            let level = running.meter().look(|device| device.levels(0.0)[0]);
            match measures {
                "p,q" => same(rows[0][0], level.active_w),
                "v,i_RMS" => same(rows[0][0], level.voltage_v),
                _ => assert!(rows[0][0].abs() < 400.0),
            }
            client.send(r#"{"cmd":"stop"}"#).await;
            while client.reply().await["cmd"] != "stop" {}
        }
    }
}

#[tokio::test]
async fn the_stream_port_has_nothing_but_floats() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let mut reader = Client::new(TcpStream::connect(running.streams[0]).await.unwrap());
    let rows = samples(&reader.raw(1600 * 24).await, 6);
    agree(&rows, &running.meter().look(|device| device.levels(0.0)));
    // A stop on the other port sends the reader away.
    let mut client = running.client().await;
    assert_eq!(client.reply().await["state"], "busy");
    let summary = client.ask(r#"{"cmd":"stop"}"#).await;
    assert_eq!(summary["error"], false, "{summary}");
    while !matches!(reader.next().await, crate::client::Said::Closed) {}
}

#[tokio::test]
async fn datagrams_go_to_the_port_of_the_command() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut client = running.client().await;
    client.reply().await;
    let payload = json!({"type": "UDP", "rate": 4000, "port": port});
    let reply = client.ask(&json!({"cmd": "sample", "payload": payload}).to_string()).await;
    assert_eq!((&reply["chunksize"], &reply["port"]), (&json!(504), &json!(port)));
    let mut bytes = [0; 2048];
    for expected in 0_u32..10 {
        let length =
            timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await.unwrap().unwrap();
        assert_eq!(length, 515);
        assert_eq!(bytes[7..11], expected.to_le_bytes());
    }
}

#[tokio::test]
async fn flow_control_holds_back_until_it_is_allowed() {
    let running = listening(SmartKind::PowerMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    client.reply().await;
    let payload = json!({"type": "TCP", "rate": 1000, "flowCtr": true});
    client.ask(&json!({"cmd": "sample", "payload": payload}).to_string()).await;
    // Nothing but lines come until then; the lifeness of the second says that a second has passed.
    loop {
        match client.next().await {
            crate::client::Said::Data(..) => panic!("data without leave"),
            crate::client::Said::Log('I', text) if text.ends_with("Hz") => break,
            _ => {}
        }
    }
    client.send(r#"{"cmd":"reqSamples","samples":50}"#).await;
    let (number, payload) = client.packet().await;
    assert_eq!((number, payload.len()), (0, 400));
    // From then on all flows.
    assert_eq!(client.packet().await.0, 1);
}

#[tokio::test]
async fn a_command_that_is_no_plain_number_is_not_taken() {
    let running = listening(SmartKind::PowerMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    client.reply().await;
    client.ask(r#"{"cmd":"switch","payload":{"value":"true"}}"#).await;
    assert!(!running.meter().look(|device| device.relay));
    let power = client.ask(r#"{"cmd":"getPower"}"#).await;
    assert_eq!(power["activePower"], 0);
}
