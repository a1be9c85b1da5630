//! What simulated meters send, through the decoder that the gateway has: written apart from each
//! other, they agree.

use std::time::Duration;

use meter_protocols::smartmeter::{Decoder, Frame, Packet, SMART_RATES, chunk_size};
use meterbridge::simulator::{SmartKind, SmartManners};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::client::listening;

#[tokio::test]
async fn noise_in_large_and_small_pieces_is_taken_apart_without_a_byte_left_over() {
    for (chunks, merge) in [(Some(11), Duration::ZERO), (None, Duration::from_millis(300))] {
        let manners = SmartManners {
            noise: true,
            chunks,
            pause: Duration::ZERO,
            merge,
            ..SmartManners::default()
        };
        let running = listening(SmartKind::SmartMeter, manners).await;
        let mut stream = TcpStream::connect(running.commands[0]).await.unwrap();
        let sample = json!({"type": "TCP", "rate": 50, "measures": "v,i_RMS"});
        let sample = json!({"cmd": "sample", "payload": sample});
        stream.write_all(format!("{{\"cmd\":\"info\"}}\n{sample}\n").as_bytes()).await.unwrap();
        let (mut decoder, mut bytes) = (Decoder::new(), [0; 4096]);
        let (mut packets, mut logs, mut messages) = (0, 0, 0);
        // By then a long log line has lost its end, too.
        while packets < 30 || logs < 9 {
            let read = timeout(Duration::from_secs(20), stream.read(&mut bytes)).await;
            let length = read.unwrap().unwrap();
            decoder.push(&bytes[..length]);
            while let Some(frame) = decoder.next_frame() {
                match frame.unwrap() {
                    Frame::Data(packet) => {
                        assert_eq!(packet.number, packets);
                        assert!((packet.values().next().unwrap() - 230.1).abs() < 1e-4);
                        packets += 1;
                    }
                    Frame::Log(_) => logs += 1,
                    Frame::Json(_) => messages += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        // On connecting, the two of the command, and that of the stream.
        assert_eq!(messages, 4);
    }
}

#[tokio::test]
async fn packets_have_the_size_that_is_reckoned_at_every_rate() {
    let running = listening(SmartKind::SmartMeter, SmartManners::default()).await;
    let mut client = running.client().await;
    client.reply().await;
    for rate in SMART_RATES {
        for (measures, bytes) in [("v,i,v,i,v,i", 24), ("v,i_L2", 8)] {
            let payload = json!({"type": "TCP", "rate": rate, "measures": measures});
            let reply = client.ask(&json!({"cmd": "sample", "payload": payload}).to_string()).await;
            assert_eq!(reply["chunksize"], chunk_size(f64::from(rate), bytes), "{rate} {reply}");
            assert_eq!(client.ask(r#"{"cmd":"stop"}"#).await["error"], false);
        }
    }
}

#[tokio::test]
async fn shuffled_datagrams_are_all_there() {
    let manners = SmartManners { shuffle: true, ..SmartManners::default() };
    let running = listening(SmartKind::PowerMeter, manners).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut client = running.client().await;
    client.reply().await;
    let payload = json!({"type": "UDP", "rate": 8000, "port": port});
    client.ask(&json!({"cmd": "sample", "payload": payload}).to_string()).await;
    let (mut bytes, mut numbers) = ([0; 2048], Vec::new());
    while numbers.len() < 22 {
        let received = timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await;
        let length = received.unwrap().unwrap();
        numbers.push(Packet::of_datagram(&bytes[..length]).unwrap().unwrap().number);
    }
    let expected = [0, 1, 2, 3, 4, 6, 5, 7, 8, 9, 9, 10, 11, 13, 12, 14, 15, 16, 17, 18, 20, 19];
    assert_eq!(numbers, expected);
    client.ask(r#"{"cmd":"stop"}"#).await;
    // Behind the rest comes one that is empty.
    loop {
        let received = timeout(Duration::from_secs(20), socket.recv(&mut bytes)).await;
        if received.unwrap().unwrap() == 0 {
            return;
        }
    }
}
