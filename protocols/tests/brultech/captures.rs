//! Every capture, field by field, against the JSON beside it.

use meter_protocols::brultech::{Format, Frame, Packet};
use serde_json::Value;

use crate::{CAPTURES, decode_whole};

#[test]
fn every_capture_decodes_to_its_json() {
    for (format, bytes) in CAPTURES {
        let events = decode_whole(bytes);
        let [Ok(Frame::Packet(packet))] = events.as_slice() else {
            panic!("{format}: {events:?}");
        };
        assert_eq!(packet.format, format);
        let expected = expected(format);
        let fields = expected.as_object().expect("the file holds one object");
        for (name, value) in fields {
            let decoded = field(packet, name);
            assert!(alike(&decoded, value), "{format} {name}: {decoded} instead of {value}");
        }
    }
}

/// The packet's field of that name in the captures' JSON.
fn field(packet: &Packet, name: &str) -> Value {
    let channels = packet.channels();
    match name {
        "format" => packet.format.name().into(),
        "code" => packet.format.code().into(),
        "packet_format" => packet.format.packet_format().into(),
        "length" => packet.format.length().into(),
        "unit_id" => packet.unit_id.into(),
        "serial_raw" => packet.serial_number.into(),
        "serial" => packet.serial().into(),
        // btmon keeps one digit of the unit id, and this one has no more.
        "serial_btmon" => packet.serial().into(),
        "seconds" => packet.seconds.into(),
        "volts" => packet.volts().into(),
        "aws" => packet.absolute().into(),
        "pws" => packet.polarized().into(),
        "amps" => (0..channels).map(|i| packet.amps(i)).collect(),
        "pulses" => packet.pulses.as_slice().into(),
        "temps" => (0..8).map(|i| packet.temperature(i)).collect(),
        "temps_raw" => packet.temperatures.as_slice().into(),
        "device_time" => packet.device_time().map(|time| time.to_string()).into(),
        "checksum" => packet.checksum.into(),
        "reserved" => packet.reserved.into(),
        "flag" => packet.flag.into(),
        "reset_count" => packet.reset_count().into(),
        "aux_ws" => packet.aux_watt_seconds.as_slice().into(),
        "aux5_volts" => packet.aux5_volts.into(),
        _ => Value::from(format!("unknown field {name}")),
    }
}

/// Equal, with an allowance of 1e-6 for numbers.
fn alike(left: &Value, right: &Value) -> bool {
    match (left, right) {
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

fn expected(format: Format) -> Value {
    let path = format!("{}/tests/captures/brultech/{format}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("each capture has its JSON");
    serde_json::from_str(&text).expect("the JSON is well formed")
}
