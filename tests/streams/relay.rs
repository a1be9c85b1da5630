//! Readers with sockets of their own: silent ones, slow ones, and clients that speak.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{Stage, later, numbered, stream, until, within};

async fn read_frames(socket: &mut TcpStream, frames: usize) -> Vec<f32> {
    let mut bytes = vec![0; frames * 8];
    within("samples", socket.read_exact(&mut bytes)).await.unwrap();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// What a frame of `numbered` pieces tells: its number, or that it was lost.
fn number(frame: &[f32]) -> Option<u64> {
    assert_eq!(frame[0], -frame[1], "the channels are mixed up");
    (frame[0] != 0.0).then(|| frame[0] as u64 - 1)
}

#[tokio::test]
async fn a_slow_reader_loses_its_own_samples_and_nobody_elses() {
    const PIECE: u64 = 8000;
    const PIECES: u64 = 600;
    let stage = Stage::open(None).await;
    let mut slow = TcpStream::connect(stage.relay).await.unwrap();
    stage.readers(1).await;
    let mut quick = TcpStream::connect(stage.relay).await.unwrap();
    stage.readers(2).await;
    let info = stream(1, 80_000.0, 1);
    // 38 MB, each piece sent when the quick one has the piece before: the slow one never reads.
    for piece in 0..PIECES {
        let first = piece * PIECE;
        stage.send(&numbered(&info, first, first + PIECE));
        if piece == 0 {
            // Both are subscribed: neither is behind yet.
            let begin = read_frames(&mut slow, 1).await;
            assert_eq!(number(&begin), Some(0));
        }
        let got = read_frames(&mut quick, PIECE as usize).await;
        let numbers: Vec<u64> = got.chunks(2).map(|frame| number(frame).unwrap()).collect();
        assert_eq!((numbers[0], numbers[PIECE as usize - 1]), (first, first + PIECE - 1));
    }
    // Now it reads all that there is: everything stands at its own place, what it was too slow for is
    // zeros.
    let (mut lost, mut last) = (0, 0);
    read_frames(&mut slow, PIECE as usize - 1).await;
    for piece in 1..PIECES {
        let frames = read_frames(&mut slow, PIECE as usize).await;
        for (expected, frame) in (piece * PIECE..).zip(frames.chunks(2)) {
            match number(frame) {
                Some(number) => {
                    assert_eq!(number, expected);
                    last = number;
                }
                None => lost += 1,
            }
        }
    }
    assert_eq!(last, PIECES * PIECE - 1);
    assert!(lost > 0 && lost % PIECE == 0, "{lost}");
    drop(slow);
    until("the count", || stage.metrics.relay_dropped.get() == lost / PIECE).await;
    stage.close().await;
}

/// A client as the meters' public Python one is: it looks for prefixes, believes lengths, and fills up
/// for packets whose numbers are missing.
struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
    next: u32,
    frames: Vec<f32>,
    lines: Vec<Value>,
}

impl Client {
    async fn dial(stage: &Stage) -> Client {
        let socket = TcpStream::connect(stage.relay).await.unwrap();
        Client { socket, bytes: Vec::new(), next: 0, frames: Vec::new(), lines: Vec::new() }
    }

    async fn say(&mut self, text: &str) {
        self.socket.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    }

    /// The next line, and on the way to it all packets.
    async fn line(&mut self) -> Value {
        within("a line", async {
            loop {
                while self.step() {}
                if !self.lines.is_empty() {
                    return self.lines.remove(0);
                }
                assert_ne!(self.socket.read_buf(&mut self.bytes).await.unwrap(), 0, "closed");
            }
        })
        .await
    }

    async fn frames(&mut self, count: usize) {
        within("packets", async {
            loop {
                while self.step() {}
                if self.frames.len() >= count * 2 {
                    break;
                }
                assert_ne!(self.socket.read_buf(&mut self.bytes).await.unwrap(), 0, "closed");
            }
        })
        .await;
    }

    fn step(&mut self) -> bool {
        if self.bytes.starts_with(b"Info:") {
            let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else { return false };
            let line: Vec<u8> = self.bytes.drain(..=end).collect();
            self.lines.push(serde_json::from_slice(&line[5..]).unwrap());
            return true;
        }
        if self.bytes.len() < 11 {
            return false;
        }
        assert!(self.bytes.starts_with(b"Data:"), "{:?}", &self.bytes[..11]);
        let length = usize::from(u16::from_le_bytes([self.bytes[5], self.bytes[6]]));
        let number = u32::from_le_bytes(self.bytes[7..11].try_into().unwrap());
        if self.bytes.len() < 11 + length {
            return false;
        }
        let missing = (number - self.next) as usize * length / 4;
        self.frames.extend(std::iter::repeat_n(0.0, missing));
        let packet: Vec<u8> = self.bytes.drain(..11 + length).collect();
        let samples = packet[11..].chunks_exact(4);
        self.frames.extend(samples.map(|four| f32::from_le_bytes(four.try_into().unwrap())));
        self.next = number + 1;
        true
    }
}

#[tokio::test]
async fn a_client_of_the_meter_gets_packets_and_sees_what_was_lost() {
    let stage = Stage::open(None).await;
    let info = stream(1, 4000.0, 1);
    stage.send(&numbered(&info, 0, 400));
    let mut client = Client::dial(&stage).await;
    client.say(r#"{"cmd":"info"}"#).await;
    // The first word, as a meter says it; then the answer.
    for _ in 0..2 {
        let told = client.line().await;
        assert_eq!((&told["cmd"], &told["type"]), (&"info".into(), &"powermeter".into()));
        assert_eq!((&told["name"], &told["sampling_rate"]), (&"mains".into(), &4000.into()));
    }
    assert_eq!(client.line().await, serde_json::json!({"error": false}));
    client.say(r#"{"cmd":"sample","payload":{"type":"TCP","rate":4000,"measures":"v,i"}}"#).await;
    until("the reader", || stage.waveforms.wanted(crate::stage::SERIAL)).await;
    stage.send(&numbered(&info, 500, 1000));
    let reply = client.line().await;
    assert_eq!((&reply["error"], &reply["chunksize"]), (&false.into(), &1024.into()));
    assert_eq!((&reply["measures"], &reply["measurements"]), (&"v,i".into(), &2.into()));
    // Packets are of 128 frames, and the next of these is the first.
    let start = reply["startTs"].as_str().unwrap().parse::<f64>().unwrap();
    assert!((start - 1_795_294_800.0 - 512.0 / 4000.0).abs() < 1e-3, "{start}");
    stage.send(&numbered(&info, 1300, 3000));
    client.frames(2300).await;
    for (frame, number) in (512..).zip(client.frames.chunks(2).map(number)) {
        // Whole packets that the hole from 1000 to 1300 has touched.
        assert_eq!(number, (!(896..1408).contains(&frame)).then_some(frame), "{frame}");
    }
    client.say("?").await;
    client.say(r#"{"cmd":"stop"}"#).await;
    within("the end of sampling", async {
        while !client.bytes.ends_with(b"\"error\":false}\r\n") {
            assert_ne!(client.socket.read_buf(&mut client.bytes).await.unwrap(), 0);
        }
    })
    .await;
    let rest = String::from_utf8_lossy(&client.bytes).into_owned();
    assert!(rest.contains("Info:Setup done\r\nData:"), "{rest}");
    assert!(rest.contains("\"samples\":2488,"), "{rest}");
    stage.close().await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_without_a_word_leaves_a_place_also_when_nothing_is_sampled() {
    let stage = Stage::open(None).await;
    for _ in 0..3 {
        drop(TcpStream::connect(stage.relay).await.unwrap());
    }
    until("the three", || stage.metrics.relay_readers.get() == 3).await;
    until("their leaving", || stage.metrics.relay_readers.get() == 0).await;
    stage.close().await;
}

#[tokio::test]
async fn who_speaks_late_is_understood_all_the_same() {
    let stage = Stage::open(None).await;
    let info = stream(1, 4000.0, 1);
    let mut client = Client::dial(&stage).await;
    stage.readers(1).await;
    stage.send(&numbered(&info, 0, 400));
    // Taken for silent, it has got bare samples.
    read_frames(&mut client.socket, 400).await;
    client.say(r#"{"cmd":"getPower"}"#).await;
    assert_eq!(client.line().await["cmd"], "info");
    let refused = client.line().await;
    assert_eq!((&refused["error"], &refused["cmd"]), (&true.into(), &"getPower".into()));
    client.say(r#"{"cmd":"sample","payload":{"type":"TCP","rate":4000}}"#).await;
    until("the reader", || stage.waveforms.wanted(crate::stage::SERIAL)).await;
    stage.send(&numbered(&info, 400, 800));
    assert_eq!(client.line().await["error"], false);
    client.frames(128).await;
    stage.close().await;
}

#[tokio::test]
async fn a_meter_that_begins_anew_goes_on_in_time_and_one_with_other_channels_ends_it() {
    let stage = Stage::open(None).await;
    let mut reader = TcpStream::connect(stage.relay).await.unwrap();
    stage.readers(1).await;
    let info = stream(1, 1000.0, 1);
    stage.send(&numbered(&info, 0, 10));
    stage.send(&meterbridge::bus::Wave::Ended(info, 10));
    stage.send(&numbered(&later(2, 1000.0, 1, 25), 0, 10));
    let frames = read_frames(&mut reader, 35).await;
    let numbers: Vec<Option<u64>> = frames.chunks(2).map(number).collect();
    let expected = (0..10).map(Some).chain((0..15).map(|_| None)).chain((0..10).map(Some));
    assert_eq!(numbers, expected.collect::<Vec<_>>());
    stage.send(&numbered(&later(3, 2000.0, 1, 100), 0, 10));
    let end = within("the end", reader.read(&mut [0; 8])).await.unwrap();
    assert_eq!(end, 0, "nobody could tell one from the other");
    stage.close().await;
}

#[tokio::test]
async fn what_is_no_client_is_told_so_and_shown_the_door() {
    let stage = Stage::open(None).await;
    let mut socket = TcpStream::connect(stage.relay).await.unwrap();
    let request = "GET / HTTP/1.1\r\n".to_owned() + &"Accept: x\r\n".repeat(20);
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    // Whether it is reset or closed depends on what is still under way.
    let _ = within("the end", socket.read_to_end(&mut all)).await;
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("deserializeJson() failed: GET / HTTP/1.1"), "{text}");
    stage.close().await;
}
