//! A set of readings as bytes: whole numbers of seven bits a byte, small ones first.
//!
//! ```text
//! body    = flags pulses* reading*
//! flags   = bit n is set where pulses[n] is known; these follow, each a number
//! reading = place value
//! place   = the step from the sensor before (the first: from -1), zigzag, and below it one bit:
//!           0 a counter, 1 a gauge
//! value   = thousandths, zigzag
//! ```
//!
//! Readings are mostly in the order of their sensors, so a place is one byte.

use crate::model::{Milli, Reading, ReadingSet, Value};

/// What [`decode`] gives back: `pulses` and `readings` of a [`ReadingSet`].
pub(super) type Body = ([Option<u64>; 4], Vec<Reading>);

/// Appends the body of `set` to `out`.
pub(super) fn encode(set: &ReadingSet, out: &mut Vec<u8>) {
    let known = |(n, pulses): (usize, &Option<u64>)| u8::from(pulses.is_some()) << n;
    out.push(set.pulses.iter().enumerate().map(known).sum());
    for pulses in set.pulses.iter().flatten() {
        number(out, *pulses);
    }
    let mut before = -1;
    for reading in &set.readings {
        let sensor = i64::from(reading.sensor);
        let (kind, value) = match reading.value {
            Value::Counter(value) => (0, value),
            Value::Gauge(value) => (1, value),
        };
        number(out, zigzag(sensor - before) << 1 | kind);
        number(out, zigzag(value.0));
        before = sensor;
    }
}

/// Reads a body; `None` when it is none.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Body> {
    let (flags, rest) = bytes.split_first()?;
    bytes = rest;
    let mut pulses = [None; 4];
    for (n, pulses) in pulses.iter_mut().enumerate() {
        if flags >> n & 1 == 1 {
            *pulses = Some(take(&mut bytes)?);
        }
    }
    // A reading takes two bytes at least.
    let mut readings = Vec::with_capacity(bytes.len() / 4);
    let mut before = -1_i64;
    while !bytes.is_empty() {
        let place = take(&mut bytes)?;
        before = before.checked_add(unzigzag(place >> 1))?;
        let value = Milli(unzigzag(take(&mut bytes)?));
        let value = if place & 1 == 0 { Value::Counter(value) } else { Value::Gauge(value) };
        readings.push(Reading { sensor: u16::try_from(before).ok()?, value });
    }
    Some((pulses, readings))
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        // The tenth byte has room for one bit.
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Small numbers of either sign to small numbers.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::command::directory::tests::device;
    use crate::model::Timestamp;

    fn a_value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![any::<i64>(), -1000..1000_i64, 0..100_000_000_i64];
        (any::<bool>(), number).prop_map(|(gauge, number)| match gauge {
            true => Value::Gauge(Milli(number)),
            false => Value::Counter(Milli(number)),
        })
    }

    proptest! {
        #[test]
        fn any_set_reads_back_equal(
            pulses in any::<[Option<u64>; 4]>(),
            readings in proptest::collection::vec((any::<u16>(), a_value()), 0..100),
        ) {
            let readings: Vec<Reading> =
                readings.into_iter().map(|(sensor, value)| Reading { sensor, value }).collect();
            let device = Arc::new(device("house"));
            let set = ReadingSet { device, at: Timestamp(0), pulses, readings };
            let mut body = Vec::new();
            encode(&set, &mut body);
            prop_assert_eq!(decode(&body), Some((pulses, set.readings)));
        }

        #[test]
        fn any_bytes_are_a_body_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some((_, readings)) = decode(&bytes) {
                prop_assert!(readings.len() <= bytes.len() / 2);
            }
        }
    }

    #[test]
    fn a_cut_body_is_told() {
        let readings = vec![Reading { sensor: 3, value: Value::Gauge(Milli(1_000_000)) }];
        let (device, pulses) = (Arc::new(device("house")), [None, Some(300), None, None]);
        let set = ReadingSet { device, at: Timestamp(0), pulses, readings };
        let mut body = Vec::new();
        encode(&set, &mut body);
        for length in [0, 1, 2, 4, body.len() - 1] {
            assert_eq!(decode(&body[..length]), None, "{length} of {body:?}");
        }
    }
}
