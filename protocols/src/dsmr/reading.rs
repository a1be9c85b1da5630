//! What a telegram means: the registers that ports of all countries have in common.

use super::{Measure, Obis, Telegram, Time};

/// The registers of a telegram. What it does not have is `None`.
///
/// Energies, powers and so on keep the unit that they were printed with; see [`Measure`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// Version of the port's standard, as printed: `40`, `50`, Belgian `50217`.
    pub version: Option<String>,
    /// The meter's own clock.
    pub time: Option<Time>,
    /// The meter's own number.
    pub equipment: Option<String>,
    /// The tariff that holds now, as printed: `0001`.
    pub tariff: Option<String>,
    /// Energy taken.
    pub import: Registers,
    /// Energy given back.
    pub export: Registers,
    /// Reactive energy taken, both quadrants.
    pub reactive_import: Option<Measure>,
    /// Reactive energy given back, both quadrants.
    pub reactive_export: Option<Measure>,
    /// Power taken.
    pub power_import: Option<Measure>,
    /// Power given back.
    pub power_export: Option<Measure>,
    /// Reactive power taken.
    pub reactive_power_import: Option<Measure>,
    /// Reactive power given back.
    pub reactive_power_export: Option<Measure>,
    /// Each phase.
    pub phases: [Phase; 3],
    /// Frequency of the mains.
    pub frequency: Option<Measure>,
    /// Belgium: power taken on average since the quarter of an hour began.
    pub demand: Option<Measure>,
    /// Belgium: the greatest average of a quarter of an hour in this month, and when it ended.
    pub peak: Option<(Time, Measure)>,
    /// What is attached by M-Bus, by channel.
    pub mbus: Vec<MBus>,
}

/// A counter of energy with its tariffs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers {
    /// All tariffs together, where the meter gives that: Luxembourg, Sweden.
    pub total: Option<Measure>,
    /// Tariffs 1 to 4.
    pub tariffs: [Option<Measure>; 4],
}

/// What a meter says of one phase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phase {
    /// Voltage.
    pub voltage: Option<Measure>,
    /// Current, without its direction.
    pub current: Option<Measure>,
    /// Power taken.
    pub power_import: Option<Measure>,
    /// Power given back.
    pub power_export: Option<Measure>,
    /// Reactive power taken.
    pub reactive_power_import: Option<Measure>,
    /// Reactive power given back.
    pub reactive_power_export: Option<Measure>,
}

/// A meter that is attached by M-Bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MBus {
    /// Its channel, from 1.
    pub channel: u8,
    /// Its kind, as EN 13757-3 numbers them: 3 gas, 4 heat, 6 warm water, 7 water, 12 cold.
    pub device_type: Option<u8>,
    /// Its own number.
    pub equipment: Option<String>,
    /// When it was read; some meters do not say.
    pub time: Option<Time>,
    /// What it had counted then.
    pub value: Option<Measure>,
}

impl Reading {
    /// What this telegram says.
    #[must_use]
    pub fn of(telegram: &Telegram) -> Self {
        let text = |code| telegram.value(code).filter(|text| !text.is_empty()).map(str::to_owned);
        let measure = |c, d, e| measure(telegram, Obis::electricity(c, d, e));
        let equipment =
            EQUIPMENT.iter().find_map(|code| telegram.value(*code).and_then(decode_hex));
        let phase = |n: u8| Phase {
            voltage: measure(12 + 20 * n, 7, 0),
            current: measure(11 + 20 * n, 7, 0),
            power_import: measure(1 + 20 * n, 7, 0),
            power_export: measure(2 + 20 * n, 7, 0),
            reactive_power_import: measure(3 + 20 * n, 7, 0),
            reactive_power_export: measure(4 + 20 * n, 7, 0),
        };
        Self {
            version: VERSIONS.iter().find_map(|code| text(*code)),
            time: text(CLOCK).map(|text| Time::new(&text)),
            equipment,
            tariff: text(TARIFF),
            import: Registers::of(telegram, 1),
            export: Registers::of(telegram, 2),
            reactive_import: measure(3, 8, 0),
            reactive_export: measure(4, 8, 0),
            power_import: measure(1, 7, 0),
            power_export: measure(2, 7, 0),
            reactive_power_import: measure(3, 7, 0),
            reactive_power_export: measure(4, 7, 0),
            phases: [phase(1), phase(2), phase(3)],
            frequency: measure(14, 7, 0),
            demand: measure(1, 4, 0),
            peak: peak(telegram),
            mbus: (1..=MBUS_CHANNELS).filter_map(|channel| MBus::of(telegram, channel)).collect(),
        }
    }
}

impl Registers {
    fn of(telegram: &Telegram, c: u8) -> Self {
        let register = |e| measure(telegram, Obis::electricity(c, 8, e));
        Self { total: register(0), tariffs: [register(1), register(2), register(3), register(4)] }
    }

    /// The total in thousandths of a watt-hour: as the meter gives it, else the sum of the tariffs.
    #[must_use]
    pub fn milli_watt_hours(&self) -> Option<i64> {
        let total = self.total.as_ref().and_then(Measure::milli_watt_hours);
        let tariffs = self.tariffs.iter().flatten().filter_map(Measure::milli_watt_hours);
        total.or_else(|| tariffs.reduce(i64::saturating_add))
    }
}

impl MBus {
    fn of(telegram: &Telegram, channel: u8) -> Option<Self> {
        let code = |c, d, e| Obis::new(0, channel, c, d, e);
        let device_type = telegram.value(code(24, 1, 0)).and_then(|text| text.parse().ok());
        // DSMR has the number under 96.1.0, e-MUCS under 96.1.1.
        let numbers = [code(96, 1, 0), code(96, 1, 1)];
        let equipment = numbers.iter().find_map(|code| telegram.value(*code).and_then(decode_hex));
        // Converted to standard conditions, then as flukso.md has it, then unconverted (Belgium).
        let registers = [code(24, 2, 1), code(24, 2, 0), code(24, 2, 3)];
        let plain = registers.iter().find_map(|code| timed(&telegram.get(*code)?.values));
        let (time, value) = plain
            .or_else(|| old_form(&telegram.get(code(24, 3, 0))?.values))
            .map_or((None, None), |(time, value)| (time, Some(value)));
        let is_there = value.is_some() || equipment.is_some();
        is_there.then_some(Self { channel, device_type, equipment, time, value })
    }
}

/// `(time)(value*unit)`, or the value alone.
fn timed(values: &[String]) -> Option<(Option<Time>, Measure)> {
    match values {
        [value] => Some((None, Measure::parse(value)?)),
        [time, value] => Some((Some(Time::new(time)), Measure::parse(value)?)),
        _ => None,
    }
}

/// DSMR 2.2 and 3: `(time)(status)(interval)(number of values)(code)(unit)(value)`.
fn old_form(values: &[String]) -> Option<(Option<Time>, Measure)> {
    let [time, _, _, _, _, unit, value] = values else { return None };
    Some((Some(Time::new(time)), Measure::parse(&format!("{value}*{unit}"))?))
}

fn peak(telegram: &Telegram) -> Option<(Time, Measure)> {
    match timed(&telegram.get(Obis::electricity(1, 6, 0))?.values)? {
        (Some(time), measure) => Some((time, measure)),
        (None, _) => None,
    }
}

fn measure(telegram: &Telegram, code: Obis) -> Option<Measure> {
    Measure::parse(telegram.value(code)?)
}

/// A number of a meter, printed as the hexadecimal form of its letters; what is not that form, or no
/// letters and digits, is taken as it is. `None` when it is empty.
fn decode_hex(text: &str) -> Option<String> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok().filter(u8::is_ascii_graphic).map(char::from)
    };
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decoded = is_hex.then(|| text.as_bytes().chunks(2).map(byte).collect::<Option<String>>());
    let number = decoded.flatten().unwrap_or_else(|| text.to_owned());
    (!number.is_empty()).then_some(number)
}

const CLOCK: Obis = Obis::new(0, 0, 1, 0, 0);
const TARIFF: Obis = Obis::new(0, 0, 96, 14, 0);
/// DSMR and Luxembourg; Belgium.
const VERSIONS: [Obis; 2] = [Obis::new(1, 3, 0, 2, 8), Obis::new(0, 0, 96, 1, 4)];
/// DSMR and Belgium; Luxembourg has a logical device name beside it.
const EQUIPMENT: [Obis; 3] =
    [Obis::new(0, 0, 96, 1, 1), Obis::new(0, 0, 42, 0, 0), Obis::new(0, 0, 96, 1, 0)];
/// What an electricity meter can attach.
const MBUS_CHANNELS: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_meters_are_decoded_where_they_are_letters() {
        assert_eq!(decode_hex("30303032").as_deref(), Some("0002"));
        assert_eq!(decode_hex("4B384547303034").as_deref(), Some("K8EG004"));
        // No hexadecimal form of letters: as it stands.
        for text in ["12345678", "00", "E0026", "303"] {
            let expected = if text == "12345678" { "12345678" } else { text };
            assert_eq!(decode_hex(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(decode_hex(""), None);
    }
}
