//! The clock of a BIN48-NET-TIME packet.

/// What a device's clock showed. Its time zone is whatever its owner set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceTime {
    /// 2000 to 2255.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to the length of the month.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

impl DeviceTime {
    /// Reads year - 2000, month, day, hour, minute, second; `None` for a time that cannot be, such as
    /// the zeros of a clock that was never set.
    pub(super) fn from_wire(bytes: [u8; 6]) -> Option<Self> {
        let [year, month, day, hour, minute, second] = bytes;
        let year = 2000 + u16::from(year);
        let possible = (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        possible.then_some(Self { year, month, day, hour, minute, second })
    }
}

impl std::fmt::Display for DeviceTime {
    /// ISO 8601 without a zone: `2017-12-20T05:07:26`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Days of a month in the Gregorian calendar; 0 for a month that does not exist.
const fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_clock_is_no_clock() {
        let shown = |time| DeviceTime::from_wire(time).map(|time| time.to_string());
        assert_eq!(shown([0; 6]), None, "unset");
        assert_eq!(shown([24, 2, 29, 23, 59, 59]).as_deref(), Some("2024-02-29T23:59:59"));
        assert_eq!(shown([100, 2, 29, 0, 0, 0]), None, "2100 is no leap year");
        assert_eq!(shown([23, 2, 29, 0, 0, 0]), None);
        assert_eq!(shown([23, 13, 1, 0, 0, 0]), None);
        assert_eq!(shown([23, 12, 0, 0, 0, 0]), None);
        assert_eq!(shown([23, 12, 1, 24, 0, 0]), None);
        assert_eq!(shown([23, 12, 1, 0, 60, 0]), None);
        assert_eq!(shown([23, 12, 1, 0, 0, 60]), None);
    }
}
