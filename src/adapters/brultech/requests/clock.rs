//! The meter's clock, which has no zone: it is set to the gateway's local time.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Zoned};
use meter_protocols::brultech::{ClockTime, DeviceTime};
use serde_json::Value;

use super::invalid;
use crate::command::CommandError;

/// `value`, or the gateway's local time when the command will be out, `wait` from now.
pub(super) fn time(value: Option<&Value>, wait: Duration) -> Result<ClockTime, CommandError> {
    let wrong = |value: &Value| {
        invalid(format!("time {value} is none: write \"2025-06-30 12:00:00\", or leave it out"))
    };
    let time = match value {
        None => Zoned::now().datetime() + wait,
        Some(value @ Value::String(text)) => text.parse().map_err(|_| wrong(value))?,
        Some(other) => return Err(wrong(other)),
    };
    let device_time = device_time(time)
        .ok_or_else(|| invalid(format!("time {time}: the clock goes from 2000 to 2099")))?;
    ClockTime::new(device_time)
        .ok_or_else(|| invalid(format!("time {time}: the clock goes from 2000 to 2099")))
}

fn device_time(time: DateTime) -> Option<DeviceTime> {
    Some(DeviceTime {
        year: u16::try_from(time.year()).ok()?,
        month: time.month().try_into().ok()?,
        day: time.day().try_into().ok()?,
        hour: time.hour().try_into().ok()?,
        minute: time.minute().try_into().ok()?,
        second: time.second().try_into().ok()?,
    })
}

/// Whether a clock that was set to `wanted` may show `now` a moment later.
pub(super) fn follows(wanted: DeviceTime, now: DeviceTime) -> bool {
    let (Some(wanted), Some(now)) = (civil(wanted), civil(now)) else { return false };
    let difference = now.duration_since(wanted).abs();
    difference <= SignedDuration::from_secs(TOLERANCE_S)
}

fn civil(time: DeviceTime) -> Option<DateTime> {
    let [month, day, hour, minute, second] =
        [time.month, time.day, time.hour, time.minute, time.second]
            .map(|field| field.cast_signed());
    let year = time.year.try_into().ok()?;
    DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

/// The exchange that sets it and the one that reads it back, each with a slow meter.
const TOLERANCE_S: i64 = 30;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_is_read_in_both_spellings_and_followed() {
        for text in ["2025-06-30 12:00:58", "2025-06-30T12:00:58"] {
            let wanted = time(Some(&json!(text)), Duration::ZERO).unwrap().get();
            assert_eq!((wanted.year, wanted.second), (2025, 58));
            assert!(follows(wanted, DeviceTime { minute: 1, second: 3, ..wanted }));
            assert!(!follows(wanted, DeviceTime { hour: 13, ..wanted }));
        }
        for wrong in [json!("noon"), json!(5), json!("1999-01-01 00:00:00")] {
            assert!(time(Some(&wrong), Duration::ZERO).is_err(), "{wrong}");
        }
        assert!(time(None, Duration::from_secs(3)).is_ok());
    }
}
