//! The two text formats that carry whole readings: ASCII Wh (format 2) and HTTP GET (format 3).
//!
//! Neither has a checksum, and masks in the device choose which channels, pulses and temperatures it
//! sends, so every value is optional. A value that cannot be read is left out and counted; the rest
//! of the reading stands. `request.rs` takes the HTTP head apart and hands the target in here.
//!
//! Source: GEM-PKT 2.1, formats 2 and 3.

use std::str::FromStr;

/// A reading from one of the text formats, in the device's own units.
#[derive(Debug, Clone, PartialEq)]
pub struct TextReading {
    /// Which of the two formats it came in.
    pub format: TextFormat,
    /// Serial number, eight digits: three of the unit id, five of the number, as
    /// [`Packet::serial`](super::Packet::serial) gives it for a GEM.
    pub serial: String,
    /// HTTP GET: seconds counter, wraps at 2^24.
    pub seconds: Option<u32>,
    /// ASCII Wh: minutes since the watt-hours were reset.
    pub minutes: Option<u32>,
    /// Line voltage in volts.
    pub volts: Option<f64>,
    /// Channel 1 first, as far as the highest channel that was sent; at most 48.
    pub channels: Vec<TextChannel>,
    /// Pulse counters 1 to 4.
    pub pulses: [Option<u32>; 4],
    /// Temperatures 1 to 8 in the unit the device is set to; `None` also for a missing sensor.
    pub temperatures: [Option<f64>; 8],
    /// Values that were there and could not be read.
    pub unreadable: usize,
}

/// What a text format says of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TextChannel {
    /// ASCII Wh: watt-hours since their reset.
    pub watt_hours: Option<f64>,
    /// ASCII Wh: polarized watt-hours since their reset.
    pub polarized_watt_hours: Option<f64>,
    /// ASCII Wh: power in watts.
    pub watts: Option<f64>,
    /// HTTP GET: the counter of the binary formats, 40 bits.
    pub absolute_watt_seconds: Option<u64>,
    /// HTTP GET: the counter of the binary formats, 40 bits.
    pub polarized_watt_seconds: Option<u64>,
    /// Current in amperes; HTTP GET only where the device is set to send it.
    pub amps: Option<f64>,
}

/// The text formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextFormat {
    /// Packet format 2: `n=01100603&m=5&wh_1=12.5&p_1=60&…&v=114.4`.
    AsciiWh,
    /// Packet format 3: `GET /path?SN=01100603&SC=9700&V=1144&c1=…`, an HTTP request.
    HttpGet,
}

impl TextFormat {
    /// The number by which the device's settings name the format.
    #[must_use]
    pub const fn packet_format(self) -> u8 {
        match self {
            Self::AsciiWh => 2,
            Self::HttpGet => 3,
        }
    }

    /// The vendor's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsciiWh => "ASCII-WH",
            Self::HttpGet => "HTTP-GET",
        }
    }
}

impl TextReading {
    /// Whether the sender is an HTTP client that waits for `HTTP/1.1 200 OK`. A WiFi module that
    /// misses too many answers is reset by the meter.
    #[must_use]
    pub const fn wants_http_reply(&self) -> bool {
        matches!(self.format, TextFormat::HttpGet)
    }

    fn new(format: TextFormat, serial: &str) -> Self {
        Self {
            format,
            serial: format!("{serial:0>8}"),
            seconds: None,
            minutes: None,
            volts: None,
            channels: Vec::new(),
            pulses: [None; 4],
            temperatures: [None; 8],
            unreadable: 0,
        }
    }

    /// Reads a text of format 2, `n=` and all; `None` when it is not whole, which it is `at_line_end`
    /// or with voltage as its last item, or when it says nothing.
    pub(super) fn from_ascii(text: &[u8], at_line_end: bool) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (serial, items) = text.strip_prefix("n=")?.split_once('&')?;
        let items = || items.split('&').filter_map(|item| item.split_once('='));
        let (last, _) = items().next_back()?;
        if !at_line_end && last != "v" {
            return None;
        }
        let mut reading = Self::new(TextFormat::AsciiWh, serial);
        for (key, value) in items() {
            if !reading.take_wh_item(key, value) {
                reading.unreadable += 1;
            }
        }
        Some(reading)
    }

    /// Reads the target of an HTTP request; `None` when it is not one of format 3.
    pub(super) fn from_target(target: &str) -> Option<Self> {
        let (_, query) = target.split_once('?')?;
        let items = || query.split('&').filter_map(|item| item.split_once('='));
        let (_, serial) = items().find(|(key, _)| *key == "SN")?;
        if !is_serial(serial) {
            return None;
        }
        let mut reading = Self::new(TextFormat::HttpGet, serial);
        for (key, value) in items() {
            if !reading.take_get_item(key, value) {
                reading.unreadable += 1;
            }
        }
        Some(reading)
    }

    /// One `key=value` of format 2. False when the value could not be read; what is not known, such
    /// as a firmware's new key, is no fault.
    fn take_wh_item(&mut self, key: &str, value: &str) -> bool {
        let Some((name, number)) = key.split_once('_') else {
            return match key {
                "m" => read(&mut self.minutes, value),
                "v" => read(&mut self.volts, value),
                _ => true,
            };
        };
        let Ok(number) = number.parse::<usize>() else {
            return true;
        };
        let index = number.wrapping_sub(1);
        match name {
            "t" => read_temperature(self.temperatures.get_mut(index), value),
            "c" => self.pulses.get_mut(index).is_some_and(|slot| read(slot, value)),
            "wh" | "whp" | "p" | "a" => self.channel(index).is_some_and(|channel| match name {
                "wh" => read(&mut channel.watt_hours, value),
                "whp" => read(&mut channel.polarized_watt_hours, value),
                "p" => read(&mut channel.watts, value),
                _ => read(&mut channel.amps, value),
            }),
            _ => true,
        }
    }

    /// One `key=value` of format 3; as [`Self::take_wh_item`].
    fn take_get_item(&mut self, key: &str, value: &str) -> bool {
        match key {
            "SC" => read(&mut self.seconds, value),
            "V" => {
                let understood = read(&mut self.volts, value);
                self.volts = self.volts.map(|tenths| tenths / 10.0);
                understood
            }
            "PL" => {
                self.pulses.iter_mut().zip(value.split(',')).all(|(slot, text)| read(slot, text))
            }
            "T" => self
                .temperatures
                .iter_mut()
                .zip(value.split(','))
                .all(|(slot, text)| read_temperature(Some(slot), text)),
            _ => match key.strip_prefix('c').map(str::parse::<usize>) {
                Some(Ok(number)) => self
                    .channel(number.wrapping_sub(1))
                    .is_some_and(|channel| read_counters(channel, value)),
                _ => true,
            },
        }
    }

    /// The channel of that index, and room for all before it; `None` beyond what a GEM has.
    fn channel(&mut self, index: usize) -> Option<&mut TextChannel> {
        if index < HIGHEST_CHANNEL && index >= self.channels.len() {
            self.channels.resize(index + 1, TextChannel::default());
        }
        self.channels.get_mut(index)
    }
}

fn is_serial(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a number into its slot: digits, a sign, a point, also a leading one (`.28`). Nothing, or
/// the `x` of a missing sensor, leaves the slot empty. False when it is anything else.
fn read<T: FromStr>(slot: &mut Option<T>, text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    *slot = match text {
        "" | "x" => return true,
        // The length keeps a floating-point number finite.
        _ if text.len() <= 20 && text.bytes().all(is_plain) => text.parse().ok(),
        _ => None,
    };
    slot.is_some()
}

/// Reads a temperature; beyond 255 degrees a GEM means that there is no sensor.
fn read_temperature(slot: Option<&mut Option<f64>>, text: &str) -> bool {
    slot.is_some_and(|slot| {
        let understood = read(slot, text);
        *slot = slot.filter(|degrees| degrees.abs() <= 255.0);
        understood
    })
}

/// Reads `<absolute>,<polarized>[,<amps>]`.
fn read_counters(channel: &mut TextChannel, text: &str) -> bool {
    let mut parts = text.split(',');
    let mut next = || parts.next().unwrap_or_default();
    let absolute = read(&mut channel.absolute_watt_seconds, next());
    let polarized = read(&mut channel.polarized_watt_seconds, next());
    let amps = read(&mut channel.amps, next());
    absolute && polarized && amps
}

const HIGHEST_CHANNEL: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> TextReading {
        TextReading::from_ascii(text.as_bytes(), false).expect("the text is whole")
    }

    #[test]
    fn numbers_may_begin_with_a_point_and_sensors_may_be_missing() {
        let reading = whole(
            "n=1100603&m=7&wh_1=.28&p_1=-12&a_2=1.5&whp_41=3&t_1=21.0&t_2=x&t_3=256.0&t_4=-4.5&c_4=9&v=114.4",
        );
        assert_eq!(reading.serial, "01100603");
        assert_eq!(reading.minutes, Some(7));
        assert_eq!(reading.channels.len(), 41);
        assert_eq!(reading.channels[0].watt_hours, Some(0.28));
        assert_eq!(reading.channels[0].watts, Some(-12.0));
        assert_eq!(reading.channels[0].amps, None);
        assert_eq!(reading.channels[1].amps, Some(1.5));
        assert_eq!(reading.channels[40].polarized_watt_hours, Some(3.0));
        assert_eq!(reading.temperatures[..4], [Some(21.0), None, None, Some(-4.5)]);
        assert_eq!(reading.pulses, [None, None, None, Some(9)]);
        assert_eq!(reading.volts, Some(114.4));
        assert_eq!(reading.unreadable, 0);
        assert!(!reading.wants_http_reply());
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_counted() {
        let reading = whole("n=1&p_1=1a&p_0=5&p_49=5&wh_1=--1&t_9=1&c_1=1.5&new_1=abc&q=e&v=1");
        assert_eq!(reading.unreadable, 6);
        assert_eq!(reading.channels, [TextChannel::default()]);
        assert_eq!(reading.volts, Some(1.0));
    }

    #[test]
    fn an_http_target_without_a_serial_number_is_something_else() {
        assert_eq!(TextReading::from_target("/post?json={SN:01100603,V:1144}"), None);
        assert_eq!(TextReading::from_target("/post"), None);
        assert_eq!(TextReading::from_target("/post?SN="), None);
        let reading = TextReading::from_target(
            "gem?SN=1100603&SC=x&V=1144&c1=5,,.3&c2=7&PL=1,,3&T=,20.5,&Resp=",
        )
        .expect("it has a serial number");
        assert_eq!(reading.serial, "01100603");
        assert_eq!(reading.seconds, None);
        assert_eq!(reading.volts, Some(114.4));
        assert_eq!(reading.channels[0].absolute_watt_seconds, Some(5));
        assert_eq!(reading.channels[0].polarized_watt_seconds, None);
        assert_eq!(reading.channels[0].amps, Some(0.3));
        assert_eq!(reading.channels[1].absolute_watt_seconds, Some(7));
        assert_eq!(reading.pulses, [Some(1), None, Some(3), None]);
        assert_eq!(reading.temperatures[..3], [None, Some(20.5), None]);
        assert_eq!(reading.unreadable, 0);
    }
}
