//! What meters send: the captures of real ones with what they must come to, and packets made up.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meter_protocols::brultech::{Format, Packet};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Real packets of the GEM 01100603, in the order of time.
pub(crate) const GEM_CAPTURES: [&str; 4] =
    ["BIN48-NET-TIME", "BIN48-NET", "BIN48-ABS", "BIN32-NET"];
/// The real packet of the ECM 500434.
pub(crate) const ECM_CAPTURE: &str = "ECM-1240";
pub(crate) const GEM: &str = "01100603";
pub(crate) const ECM: &str = "500434";

/// A real packet and the values that others have read from it.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) bytes: Vec<u8>,
    values: Value,
}

impl Capture {
    pub(crate) fn load(name: &str) -> Self {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/protocols/tests/captures/brultech");
        let path = |end: &str| PathBuf::from(dir).join(format!("{name}.{end}"));
        let values = std::fs::read(path("json")).unwrap();
        Self {
            bytes: std::fs::read(path("bin")).unwrap(),
            values: serde_json::from_slice(&values).unwrap(),
        }
    }

    pub(crate) fn serial(&self) -> &str {
        self.values["serial"].as_str().unwrap()
    }

    fn list(&self, name: &str) -> &[Value] {
        self.values[name].as_array().map_or(&[], Vec::as_slice)
    }

    /// Absolute watt-seconds of a channel.
    pub(crate) fn absolute(&self, channel: usize) -> u64 {
        self.list("aws")[channel - 1].as_u64().unwrap()
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.values["seconds"].as_u64().unwrap()
    }

    /// All that the first packet of a meter with loads only must give under `/sensor`: topic to
    /// value in thousandths and unit.
    pub(crate) fn readings(&self) -> BTreeMap<String, (i64, String)> {
        let mut all = BTreeMap::new();
        let mut add = |channel: &str, quantity: &str, kind: &str, value: i64, unit: &str| {
            let sid = sensor_id(self.serial(), channel, quantity);
            all.insert(format!("/sensor/{sid}/{kind}"), (value, unit.to_owned()));
        };
        for (place, n) in (1..=32_usize).enumerate().take(self.list("aws").len()) {
            add(&format!("ch{n}"), "pplus", "counter", watt_hours(self.absolute(n)), "Wh");
            let amps = thousandths(&self.list("amps")[place]);
            add(&format!("ch{n}"), "irms", "gauge", amps, "A");
        }
        for (aux, n) in self.list("aux_ws").iter().zip(1..) {
            let value = watt_hours(aux.as_u64().unwrap());
            add(&format!("aux{n}"), "pplus", "counter", value, "Wh");
        }
        for (count, n) in self.list("pulses").iter().zip(1..) {
            add(&format!("pulse{n}"), "pulse", "counter", thousandths(count), "");
        }
        for (degrees, n) in self.list("temps").iter().zip(1..) {
            if !degrees.is_null() {
                add(&format!("t{n}"), "temperature", "gauge", thousandths(degrees), "°C");
            }
        }
        add("line", "vrms", "gauge", thousandths(&self.values["volts"]), "V");
        all
    }
}

/// Watt-seconds as thousandths of a watt-hour, rounded.
pub(crate) fn watt_hours(watt_seconds: u64) -> i64 {
    i64::try_from((u128::from(watt_seconds) * 1000 + 1800) / 3600).unwrap()
}

fn thousandths(value: &Value) -> i64 {
    (value.as_f64().unwrap() * 1000.0).round() as i64
}

/// A sensor's id, worked out here from the words of the contract.
pub(crate) fn sensor_id(serial: &str, channel: &str, quantity: &str) -> String {
    digest(&format!("meterbridge/brultech/{serial}/{channel}/{quantity}"))
}

/// A device's id.
pub(crate) fn device_id(serial: &str) -> String {
    digest(&format!("meterbridge/brultech/{serial}"))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The topic of a running total.
pub(crate) fn counter(serial: &str, channel: &str, quantity: &str) -> String {
    format!("/sensor/{}/counter", sensor_id(serial, channel, quantity))
}

/// The topic of a value of the moment.
pub(crate) fn gauge(serial: &str, channel: &str, quantity: &str) -> String {
    format!("/sensor/{}/gauge", sensor_id(serial, channel, quantity))
}

/// A reading's time in seconds, its value in thousandths, and its unit. The grammar is held to the
/// letter: `[` integer `,` plain number with at most three decimals `,"` unit `"]`, no blanks.
pub(crate) fn reading(payload: &str) -> (i64, i64, String) {
    let parts = payload.strip_prefix('[').and_then(|rest| rest.strip_suffix("\"]"));
    let (ts, rest) = parts.and_then(|parts| parts.split_once(',')).expect(payload);
    let (value, unit) = rest.split_once(",\"").expect(payload);
    assert!(ts.bytes().all(|byte| byte.is_ascii_digit()), "{payload}");
    assert!(!unit.contains(['"', '\\']), "{payload}");
    (ts.parse().expect(payload), decimal(value), unit.to_owned())
}

/// A plain decimal number in thousandths.
pub(crate) fn decimal(text: &str) -> i64 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    assert!(!whole.is_empty() && plain(whole) && plain(fraction), "{text}");
    assert!(fraction.len() <= 3 && !digits.ends_with('.'), "{text}");
    let value: i64 = format!("{whole}{fraction:0<3}").parse().unwrap();
    if text.starts_with('-') { -value } else { value }
}

/// A made-up packet of the GEM with this number (unit id 11) in the format with 32 channels.
pub(crate) fn gem(serial_number: u16, seconds: u32) -> Packet {
    let mut packet = Packet::new(Format::Bin32Net);
    (packet.unit_id, packet.serial_number, packet.seconds) = (11, serial_number, seconds);
    packet.voltage = 2301;
    packet.temperatures = [0x0200; 8];
    packet
}

/// A made-up packet of the ECM-1240 with this number (unit id 5).
pub(crate) fn ecm(serial_number: u16, seconds: u32) -> Packet {
    let mut packet = Packet::new(Format::Ecm1240);
    (packet.unit_id, packet.serial_number, packet.seconds) = (5, serial_number, seconds);
    packet.voltage = 1288;
    packet
}

/// A packet with the counters of channel 1.
pub(crate) fn gem_ch1(seconds: u32, absolute: u64, polarized: u64) -> Packet {
    let mut packet = gem(603, seconds);
    packet.absolute_watt_seconds[0] = absolute;
    packet.polarized_watt_seconds[0] = polarized;
    packet
}

/// The packet on the wire.
pub(crate) fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    bytes
}
