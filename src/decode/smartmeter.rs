//! `meterbridge decode smartmeter`: what a SmartMeter or PowerMeter sent on its command channel, as samples
//! without packets, or in datagrams.

mod guess;
mod statistics;
mod summary;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use base64ct::{Base64, Encoding};
use meter_protocols::smartmeter::{
    Decoder, Frame, Kind, Layout, LogLine, Message, Packet, SampleReply, StopSummary,
};
use serde_json::{Value, json};

use summary::{Framing, Summary};

/// What is known of the bytes beside themselves.
#[derive(Debug, Clone, Default)]
pub struct SmartmeterOptions {
    /// What a sample holds, where no reply to `sample` tells it.
    pub layout: Option<Layout>,
    /// Samples a second, where no reply tells it.
    pub rate_hz: Option<f64>,
    /// Which meter; else its info dictionary says so.
    pub kind: Option<Kind>,
}

/// Decodes what a meter sent: each message and log line becomes a line of JSON on `out`, and behind them
/// one object with what the samples come to: how many, their hash, RMS, mean and power, and what was lost.
///
/// The bytes may be those of a command channel, with or without packets; samples alone (`.f32`, as port
/// 54322 gives them); or lines of JSON with datagrams (`datagram_b64`) or a dialog (`dir`, `bytes`). What was
/// passed over, and what had to be assumed, becomes a line on `err`. Passwords are masked.
///
/// # Errors
/// When reading or writing fails. Bad input is no error.
pub fn smartmeter(
    input: impl Read,
    file: Option<&Path>,
    options: &SmartmeterOptions,
    out: impl Write,
    err: impl Write,
) -> io::Result<()> {
    let mut input = BufReader::with_capacity(super::PIECE_LENGTH, input);
    let mut decoding = Decoding::new(options, BufWriter::new(out), err);
    let is_raw = file.and_then(Path::extension).is_some_and(|end| end == "f32");
    let begin = if is_raw { Vec::new() } else { beginning(&mut input)? };
    let has = |word: &[u8]| begin.windows(word.len()).any(|window| window == word);
    if begin.trim_ascii_start().starts_with(b"{") {
        let input = io::Cursor::new(begin).chain(input);
        decoding.lines(BufReader::new(input))?;
    } else {
        let is_raw = is_raw || !(begin.is_empty() || has(b"Info:") || has(b"Data:"));
        decoding.decoder.set_raw(is_raw);
        decoding.alone = is_raw;
        decoding.push(&begin)?;
        loop {
            let piece = match input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                piece => piece?,
            };
            if piece.is_empty() {
                break;
            }
            decoding.push(piece)?;
            let length = piece.len();
            input.consume(length);
        }
    }
    decoding.finish()
}

/// So much of the input that it can be told what it is.
fn beginning(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    while begin.len() < BEGINNING {
        let piece = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        let length = piece.len();
        if length == 0 {
            break;
        }
        begin.extend_from_slice(piece);
        input.consume(length);
        let known: [&[u8]; 3] = [b"Info:", b"Data:", b"{"];
        if known.iter().any(|word| begin.starts_with(word)) {
            break;
        }
    }
    Ok(begin)
}

/// One input in the midst of being decoded.
struct Decoding<O: Write, E: Write> {
    decoder: Decoder,
    summary: Summary,
    kind: Option<Kind>,
    /// Samples alone: nothing among them is a message.
    alone: bool,
    out: O,
    err: E,
}

impl<O: Write, E: Write> Decoding<O, E> {
    fn new(options: &SmartmeterOptions, out: O, err: E) -> Self {
        let (decoder, summary) = (Decoder::new(), Summary::new(options));
        Self { decoder, summary, kind: options.kind, alone: false, out, err }
    }

    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.alone {
            self.summary.raw(bytes);
        } else {
            self.decoder.push(bytes);
            self.drain()?;
        }
        self.tell()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.decoder.idle();
        self.drain()?;
        self.summary.settle();
        self.tell()?;
        writeln!(self.out, "{}", self.summary.json())?;
        self.out.flush()
    }

    /// What had to be assumed goes to stderr, what has been decoded to stdout.
    fn tell(&mut self) -> io::Result<()> {
        for note in self.summary.notes() {
            writeln!(self.err, "{note}")?;
        }
        self.out.flush()
    }

    fn drain(&mut self) -> io::Result<()> {
        while let Some(frame) = self.decoder.next_frame() {
            match frame {
                Ok(Frame::Json(text)) => self.message(&text)?,
                Ok(Frame::Log(line)) => {
                    self.summary.log_lines += 1;
                    writeln!(self.out, "{}", log(&line))?;
                }
                Ok(Frame::Text(text)) => writeln!(self.out, "{}", json!({ "text": text }))?,
                Ok(Frame::Data(packet)) => self.summary.packet(packet),
                Ok(Frame::Raw(bytes)) => self.summary.raw(&bytes),
                Err(error) => writeln!(self.err, "{error}")?,
            }
        }
        Ok(())
    }

    fn message(&mut self, text: &str) -> io::Result<()> {
        self.summary.json_lines += 1;
        let value: Option<Value> = serde_json::from_str(text).ok();
        let message = Message::read(text, self.kind);
        if let Some(Message::Info(info)) = &message {
            self.kind = info.likely_kind().or(self.kind);
        }
        if let Some(value) = &value {
            self.heed(value)?;
        }
        let shown = match (message, value) {
            (Some(Message::LogFile(rows)), _) => json!({"cmd": "log", "rows": rows}),
            (_, Some(value)) => masked(value),
            (_, None) => Value::Null,
        };
        writeln!(self.out, "{shown}")
    }

    /// What a reply says of the samples.
    fn heed(&mut self, value: &Value) -> io::Result<()> {
        if let Some(reply) = SampleReply::read(value, self.kind, None) {
            self.decoder.expect_frames(reply.layout.sample_bytes());
            self.decoder.set_raw(!reply.framed);
            if self.summary.is_of_another(&reply) {
                self.summary.settle();
                self.tell()?;
                writeln!(self.out, "{}", self.summary.json())?;
                self.summary.begin_anew();
            }
            let start = value.get("startTs").and_then(Value::as_str);
            self.summary.started(reply, start);
        }
        if let Some(stopped) = StopSummary::read(value) {
            self.decoder.set_raw(false);
            self.summary.stopped(&stopped);
        }
        Ok(())
    }

    /// Lines of JSON: datagrams, or a dialog.
    fn lines(&mut self, input: impl BufRead) -> io::Result<()> {
        for (number, line) in (1..).zip(input.split(b'\n')) {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_slice(&line).unwrap_or_default();
            let text = |key: &str| value.get(key).and_then(Value::as_str);
            match (text("datagram_b64"), text("dir"), text("bytes")) {
                (Some(datagram), ..) => self.datagram(number, datagram)?,
                (None, Some("device"), Some(bytes)) => {
                    // One character is one byte.
                    let bytes: Vec<u8> = bytes.chars().map(|letter| letter as u8).collect();
                    self.push(&bytes)?;
                }
                (None, Some("host"), _) | (None, Some("device"), None) => {}
                _ => {
                    writeln!(self.err, "line {number}: neither a datagram nor a piece of a dialog")?
                }
            }
        }
        Ok(())
    }

    fn datagram(&mut self, line: usize, text: &str) -> io::Result<()> {
        let Ok(bytes) = Base64::decode_vec(text) else {
            return writeln!(self.err, "line {line}: \"datagram_b64\" is no base64");
        };
        self.summary.framing = Framing::Udp;
        match Packet::of_datagram(&bytes) {
            Ok(Some(packet)) => self.summary.datagram(packet),
            Ok(None) => {}
            Err(error) => writeln!(self.err, "line {line}: {error}")?,
        }
        self.tell()
    }
}

fn log(line: &LogLine) -> Value {
    let mut shown = json!({"log": line.level.name(), "time": line.time, "text": line.text});
    if line.cut {
        shown["cut"] = json!(true);
    }
    shown
}

/// A message without its passwords.
fn masked(mut value: Value) -> Value {
    if let Some(keys) = value.as_object_mut() {
        meter_protocols::smartmeter::mask(keys);
    }
    value
}

/// Bytes that are looked through for the beginning of a message.
const BEGINNING: usize = 4096;

#[cfg(test)]
mod tests;
