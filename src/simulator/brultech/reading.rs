//! A GEM's text formats that carry whole readings, and its clock.

use std::fmt::Write;

use super::{Counts, Gem};

/// Format 2, ASCII Wh.
pub(super) fn ascii(gem: &Gem, counts: &Counts, serial: &str) -> Vec<u8> {
    let (since, begin) = &gem.watt_hours_since;
    let minutes = ((counts.clock() - begin) / 60.0) as u64;
    let mut text = format!("n={serial}&m={minutes}");
    // Writing to a String cannot fail.
    for (channel, since) in since.iter().enumerate().take(gem.channels().min(32)) {
        let counted = counts.absolute(channel).saturating_sub(*since);
        let watts = counts.watts(channel).abs();
        let (number, amps) = (channel + 1, f64::from(counts.current(channel, 50.0)) / 50.0);
        let hours = counted as f64 / 3600.0;
        let _ = write!(text, "&wh_{number}={hours:.2}&p_{number}={watts:.0}&a_{number}={amps:.2}");
    }
    for probe in 0..8 {
        if let Some(degrees) = gem.degrees(counts, probe) {
            let _ = write!(text, "&t_{}={degrees:.1}", probe + 1);
        }
    }
    for input in 0..4 {
        let _ = write!(text, "&c_{}={}", input + 1, counts.pulses(input));
    }
    let _ = write!(text, "&v={:.1}\r\n", f64::from(counts.tenths_of_a_volt()) / 10.0);
    text.into_bytes()
}

/// Format 3, HTTP GET.
pub(super) fn http(gem: &Gem, counts: &Counts, serial: &str) -> Vec<u8> {
    let mut text =
        format!("GET /meter?SN={serial}&SC={}&V={}", counts.seconds(), counts.tenths_of_a_volt());
    for channel in 0..gem.channels() {
        let polarized = if gem.has_net_metering(channel) { counts.polarized(channel) } else { 0 };
        let _ = write!(text, "&c{}={},{polarized}", channel + 1, counts.absolute(channel));
    }
    let pulses: Vec<String> = (0..4).map(|input| counts.pulses(input).to_string()).collect();
    let _ = write!(text, "&PL={}&T=", pulses.join(","));
    for probe in 0..8 {
        if let Some(degrees) = gem.degrees(counts, probe) {
            let _ = write!(text, "{degrees:.1}");
        }
        text.push(',');
    }
    text.push_str("&Resp= HTTP/1.1\r\nHost: meterbridge\r\n\r\n");
    text.into_bytes()
}

/// Year - 2000, month, day, hour, minute, second in UTC.
pub(super) fn device_time(seconds: f64) -> [u8; 6] {
    let Ok(time) = jiff::Timestamp::from_second(seconds as i64) else { return [0; 6] };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    [
        time.year().saturating_sub(2000) as u8,
        time.month() as u8,
        time.day() as u8,
        time.hour() as u8,
        time.minute() as u8,
        time.second() as u8,
    ]
}
