//! The ids of meters and sensors.
//!
//! An id is derived from make, serial number and physical channel alone, so that renaming a meter
//! or giving a channel another role never starts a second history.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::spelled::spelled;
use super::{Channel, Make, Quantity};

/// A device id: 16 bytes, shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId([u8; 16]);

/// A sensor id: 16 bytes, shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SensorId([u8; 16]);

impl DeviceId {
    /// The id of the meter with this serial number: SHA-256 over `meterbridge/<make>/<serial>`. A
    /// Fluksometer's serial number is its own id, which is kept.
    pub fn derive(make: Make, serial: &str) -> DeviceId {
        if let (Make::Fluksometer, Ok(own)) = (make, serial.parse()) {
            return own;
        }
        DeviceId(digest(&format!("meterbridge/{}/{serial}", make.as_str())))
    }
}

impl SensorId {
    /// The id of one quantity on one physical channel: SHA-256 over
    /// `meterbridge/<make>/<serial>/<channel>/<quantity>`.
    pub fn derive(make: Make, serial: &str, channel: Channel, quantity: Quantity) -> SensorId {
        let make = make.as_str();
        SensorId(digest(&format!("meterbridge/{make}/{serial}/{channel}/{quantity}")))
    }
}

fn digest(text: &str) -> [u8; 16] {
    let hash = Sha256::digest(text.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

macro_rules! hex_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0_u8; 32];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        spelled!($name);

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse_id(text).map($name).ok_or_else(|| NotAnId(text.to_owned()))
            }
        }
    };
}

hex_id!(DeviceId);
hex_id!(SensorId);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: 32 lower-case hexadecimal digits")]
pub struct NotAnId(String);

fn parse_id(text: &str) -> Option<[u8; 16]> {
    let value = |digit: u8| DIGITS.iter().position(|known| *known == digit).map(|at| at as u8);
    let bytes = text.as_bytes();
    if bytes.len() != 32 {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_first_half_of_the_digest_and_read_back() {
        // `printf meterbridge/brultech/01100603 | sha256sum`
        let id = DeviceId::derive(Make::Brultech, "01100603");
        assert_eq!(id.to_string(), "451cfd7c3906c59356e7fd2bd0ab6cea");
        assert_eq!(id.to_string().parse(), Ok(id));
        // `printf meterbridge/brultech/01100603/ch1/pplus | sha256sum`
        let sensor = SensorId::derive(Make::Brultech, "01100603", Channel::Ch(1), Quantity::PPlus);
        assert_eq!(sensor.to_string(), "6f4225de13dcc0c7604a698085074c09");
    }

    #[test]
    fn a_text_that_is_no_id_is_refused() {
        for text in ["", "12", "A2", &"g".repeat(32), &"A".repeat(32), &"é".repeat(16)] {
            assert!(text.parse::<SensorId>().is_err(), "{text:?}");
        }
    }
}
