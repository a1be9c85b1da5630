//! `meterbridge decode`: raw bytes to one JSON object a line, for people and scripts that want to
//! see what a meter sends. It runs beside the data path and uses the same decoders.

mod dsmr;
mod settings;
mod smartmeter;
mod tmpo;

use std::io::{self, BufWriter, Read, Write};

use meter_protocols::brultech::{Decoder, Format, Frame, HttpRequest, Packet, TextReading};
use serde::Serialize;

pub use dsmr::dsmr;
pub use smartmeter::{SmartmeterOptions, smartmeter};
pub use tmpo::tmpo;

/// Decodes a Brultech stream from `input`: each frame becomes one line of JSON on `out`, and bytes
/// that were passed over become a line on `err`, with their offset, number and beginning.
///
/// The input is read piece by piece, and what has been decoded is written before the next piece is
/// waited for, so a pipe from a live meter works. Field names are those of the captures' JSON;
/// what a format does not have is left out. A text frame has the same names where it says the same.
/// A meter's settings, as it answers `RQSALL` or `SET RCV`, are a line as well if nothing is in
/// their midst or beside them.
///
/// # Errors
/// When reading or writing fails. Bad input is no error.
pub fn brultech(mut input: impl Read, out: impl Write, mut err: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let mut decoder = Decoder::new();
    decoder.keep_between(SETTINGS_LENGTH);
    let mut piece = vec![0; PIECE_LENGTH];
    loop {
        let length = match input.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if length == 0 {
            decoder.idle();
        } else {
            decoder.push(piece.get(..length).unwrap_or_default());
        }
        while let Some(frame) = decoder.next_frame() {
            match frame {
                Ok(frame) => write_frame(&mut out, &frame)?,
                Err(error) => {
                    if !settings::write(&mut out, &decoder.take_between())? {
                        writeln!(err, "{error}")?;
                    }
                }
            }
        }
        out.flush()?;
        if length == 0 {
            return Ok(());
        }
    }
}

fn write_frame(out: &mut impl Write, frame: &Frame) -> io::Result<()> {
    match frame {
        Frame::Packet(packet) => serde_json::to_writer(&mut *out, &PacketLine::new(packet))?,
        Frame::Text(reading) => serde_json::to_writer(&mut *out, &TextLine::new(reading))?,
        Frame::Http(request) => serde_json::to_writer(&mut *out, &HttpLine::new(request))?,
    }
    out.write_all(b"\n")
}

/// A binary packet, with the field names of the captures.
#[derive(Serialize)]
struct PacketLine<'a> {
    format: &'static str,
    code: u8,
    packet_format: Option<u8>,
    length: usize,
    unit_id: u8,
    serial_raw: u16,
    serial: String,
    seconds: u32,
    volts: f64,
    aws: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    pws: Option<&'a [u64]>,
    amps: Vec<f64>,
    #[serde(flatten)]
    gem: Option<GemFields>,
    #[serde(flatten)]
    ecm: Option<EcmFields>,
    checksum: u8,
}

/// What only a GEM's packets carry.
#[derive(Serialize)]
struct GemFields {
    pulses: [u32; 4],
    temps: [Option<f64>; 8],
    temps_raw: [u16; 8],
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<String>,
    reserved: u8,
}

/// What only an ECM's packets carry.
#[derive(Serialize)]
struct EcmFields {
    serial_btmon: String,
    flag: u8,
    reset_count: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux_ws: Option<[u32; 5]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aux5_volts: Option<u16>,
}

impl<'a> PacketLine<'a> {
    fn new(packet: &'a Packet) -> Self {
        let format = packet.format;
        Self {
            format: format.name(),
            code: format.code(),
            packet_format: format.packet_format(),
            length: format.length(),
            unit_id: packet.unit_id,
            serial_raw: packet.serial_number,
            serial: packet.serial(),
            seconds: packet.seconds,
            volts: packet.volts(),
            aws: packet.absolute(),
            pws: packet.polarized(),
            amps: (0..packet.channels()).map(|i| packet.amps(i)).collect(),
            gem: (!format.is_ecm()).then(|| GemFields::new(packet)),
            ecm: format.is_ecm().then(|| EcmFields::new(packet)),
            checksum: packet.checksum,
        }
    }
}

impl GemFields {
    fn new(packet: &Packet) -> Self {
        Self {
            pulses: packet.pulses,
            temps: std::array::from_fn(|i| packet.temperature(i)),
            temps_raw: packet.temperatures,
            device_time: packet.device_time().map(|time| time.to_string()),
            reserved: packet.reserved,
        }
    }
}

impl EcmFields {
    fn new(packet: &Packet) -> Self {
        let has_aux = packet.format == Format::Ecm1240;
        Self {
            // btmon keeps the last digit of the unit id only.
            serial_btmon: format!("{}{:05}", packet.unit_id % 10, packet.serial_number),
            flag: packet.flag,
            reset_count: packet.reset_count(),
            aux_ws: has_aux.then_some(packet.aux_watt_seconds),
            aux5_volts: has_aux.then_some(packet.aux5_volts),
        }
    }
}

/// A reading in a text format. Channels are lists like a packet's, as long as the highest channel
/// sent; a list without any value is left out.
#[derive(Serialize)]
struct TextLine<'a> {
    format: &'static str,
    packet_format: u8,
    serial: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minutes: Option<u32>,
    volts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aws: Option<Vec<Option<u64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pws: Option<Vec<Option<u64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wh: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    whp: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watts: Option<Vec<Option<f64>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amps: Option<Vec<Option<f64>>>,
    pulses: [Option<u32>; 4],
    temps: [Option<f64>; 8],
    unreadable: usize,
}

impl<'a> TextLine<'a> {
    fn new(reading: &'a TextReading) -> Self {
        let channels = reading.channels.as_slice();
        Self {
            format: reading.format.name(),
            packet_format: reading.format.packet_format(),
            serial: &reading.serial,
            seconds: reading.seconds,
            minutes: reading.minutes,
            volts: reading.volts,
            aws: any_of(channels, |channel| channel.absolute_watt_seconds),
            pws: any_of(channels, |channel| channel.polarized_watt_seconds),
            wh: any_of(channels, |channel| channel.watt_hours),
            whp: any_of(channels, |channel| channel.polarized_watt_hours),
            watts: any_of(channels, |channel| channel.watts),
            amps: any_of(channels, |channel| channel.amps),
            pulses: reading.pulses,
            temps: reading.temperatures,
            unreadable: reading.unreadable,
        }
    }
}

/// An HTTP request that is only answered.
#[derive(Serialize)]
struct HttpLine<'a> {
    format: &'static str,
    method: &'a str,
    target: &'a str,
    body: usize,
}

impl<'a> HttpLine<'a> {
    fn new(request: &'a HttpRequest) -> Self {
        Self {
            format: "HTTP",
            method: &request.method,
            target: &request.target,
            body: request.body,
        }
    }
}

/// One value of each channel; `None` when no channel has it.
fn any_of<C, V>(channels: &[C], value: impl Fn(&C) -> Option<V>) -> Option<Vec<Option<V>>> {
    let values: Vec<_> = channels.iter().map(value).collect();
    values.iter().any(Option::is_some).then_some(values)
}

/// Bytes that are read at once.
const PIECE_LENGTH: usize = 64 * 1024;
/// The longest list of settings that is read, in bytes; one of 512 values has 1,542.
const SETTINGS_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The lines on `out`, parsed, and those on `err`.
    fn decode(input: &[u8]) -> (Vec<Value>, Vec<String>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        brultech(input, &mut out, &mut err).expect("memory can be read and written");
        let out = String::from_utf8(out).expect("JSON is UTF-8");
        let err = String::from_utf8(err).expect("messages are UTF-8");
        let parse = |line| serde_json::from_str(line).expect("each line is JSON");
        (out.lines().map(parse).collect(), err.lines().map(str::to_owned).collect())
    }

    fn capture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/brultech");
        std::fs::read(format!("{folder}/{name}")).expect("the capture exists")
    }

    /// Equal, with 1e-6 allowed for numbers, and null as good as absent.
    fn alike(left: &Value, right: &Value) -> bool {
        match (left, right) {
            (Value::Object(left), Value::Object(right)) => {
                left.keys().chain(right.keys()).all(|key| {
                    alike(
                        left.get(key).unwrap_or(&Value::Null),
                        right.get(key).unwrap_or(&Value::Null),
                    )
                })
            }
            (Value::Array(left), Value::Array(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(l, r)| alike(l, r))
            }
            (Value::Number(left), Value::Number(right)) => {
                let difference = left.as_f64().zip(right.as_f64()).map(|(l, r)| (l - r).abs());
                difference.is_some_and(|difference| difference < 1e-6)
            }
            _ => left == right,
        }
    }

    #[test]
    fn captures_give_the_json_beside_them() {
        let names = ["BIN48-NET-TIME", "BIN48-NET", "BIN48-ABS", "BIN32-NET", "ECM-1240"];
        let stream: Vec<u8> =
            names.iter().flat_map(|name| capture(&format!("{name}.bin"))).collect();
        let (lines, errors) = decode(&stream);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(lines.len(), names.len());
        for (name, line) in names.iter().zip(lines) {
            let expected = capture(&format!("{name}.json"));
            let expected = serde_json::from_slice(&expected).expect("the JSON is well formed");
            assert!(alike(&line, &expected), "{name}: {line}\ninstead of {expected}");
        }
    }

    #[test]
    fn what_is_passed_over_is_told_with_its_place() {
        let packet = capture("ECM-1240.bin");
        let stream = [b"Alive", packet.as_slice(), &packet[..30]].concat();
        let (lines, errors) = decode(&stream);
        assert_eq!(lines.len(), 1);
        assert_eq!(errors.len(), 2);
        assert!(errors[0].starts_with("5 B at offset 0 passed over"), "{}", errors[0]);
        assert!(errors[1].starts_with("30 B at offset 70 passed over"), "{}", errors[1]);
    }

    #[test]
    fn settings_give_the_json_beside_them() {
        let (gem, ecm) = ("GEM-RQSALL-reply", "ECM-1240-settings-reply");
        let settings = [capture(&format!("{gem}.txt")), capture(&format!("{ecm}.bin"))];
        let packet = capture("BIN48-NET.bin");
        let stream =
            [&settings[0][..], &packet, b"\xFC\xFC\xFC", &settings[1], &packet, &settings[1]]
                .concat();
        let (lines, errors) = decode(&stream);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(lines.len(), 5);
        for (line, name) in [(&lines[0], gem), (&lines[2], ecm), (&lines[4], ecm)] {
            let expected = capture(&format!("{name}.json"));
            let expected = serde_json::from_slice(&expected).expect("the JSON is well formed");
            assert!(alike(line, &expected), "{name}: {line}\ninstead of {expected}");
        }
    }

    #[test]
    fn settings_with_something_beside_them_are_passed_over() {
        let settings = capture("ECM-1240-settings-reply.bin");
        let (lines, errors) = decode(&[b"Alive", settings.as_slice()].concat());
        assert_eq!((lines.len(), errors.len()), (0, 1));
    }

    #[test]
    fn text_formats_have_lines_too() {
        let stream = b"n=01100603&m=5&wh_2=.28&t_1=21.0&v=114.4\r\n\
            GET /?SN=01100603&SC=7&V=1144&c1=5,6&T=,2& HTTP/1.1\r\n\r\n\
            PUT /feed HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let (lines, errors) = decode(stream);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["wh"], serde_json::json!([null, 0.28]));
        assert_eq!(lines[0].get("aws"), None);
        assert_eq!(lines[1]["aws"], serde_json::json!([5]));
        assert_eq!(lines[1]["volts"], 114.4);
        assert_eq!(
            lines[2],
            serde_json::json!({"format": "HTTP", "method": "PUT", "target": "/feed", "body": 3})
        );
    }

    #[test]
    fn a_stream_longer_than_a_piece_is_read_to_its_end() {
        let stream = capture("BIN48-NET.bin").repeat(300);
        let (lines, errors) = decode(&stream);
        assert_eq!((lines.len(), errors.len()), (300, 0));
    }
}
