//! Arguments that are more than a number: the keep-alive text, the clock, a run of channels.

use super::number::{Channel, OutOfRange};
use crate::brultech::DeviceTime;

/// What a GEM sends to keep a link open: one to eight printable characters of ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeepAliveText(String);

/// A keep-alive text that a GEM does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("keep-alive text {0:?}: it has 1 to 8 printable characters of ASCII, and no ^")]
pub struct BadKeepAliveText(pub String);

impl KeepAliveText {
    /// The text, if a GEM takes it. A caret is refused: commands begin with it.
    ///
    /// # Errors
    /// [`BadKeepAliveText`] with the text.
    pub fn new(text: &str) -> Result<Self, BadKeepAliveText> {
        let fits = (1..=8).contains(&text.len())
            && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'^');
        if fits { Ok(Self(text.to_owned())) } else { Err(BadKeepAliveText(text.to_owned())) }
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A time that a GEM's clock can be set to: 2000 to 2099, and possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClockTime(DeviceTime);

impl ClockTime {
    /// The time, if the clock can show it; `None` for a year outside 2000 to 2099 or a date or
    /// hour that cannot be.
    #[must_use]
    pub fn new(time: DeviceTime) -> Option<Self> {
        let year = time.year.checked_sub(2000).filter(|year| *year < 100)?;
        let wire = [year as u8, time.month, time.day, time.hour, time.minute, time.second];
        DeviceTime::from_wire(wire).map(Self)
    }

    /// The time itself.
    #[must_use]
    pub const fn get(self) -> DeviceTime {
        self.0
    }
}

/// Neighbouring channels, first and last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channels {
    first: Channel,
    last: Channel,
}

impl Channels {
    /// From `first` to `last`.
    ///
    /// # Errors
    /// [`OutOfRange`] when `last` comes before `first`.
    pub fn new(first: Channel, last: Channel) -> Result<Self, OutOfRange> {
        if last >= first {
            return Ok(Self { first, last });
        }
        Err(OutOfRange {
            what: "last channel",
            value: last.get().into(),
            least: first.get().into(),
            greatest: Channel::GREATEST.into(),
        })
    }

    /// The first channel.
    #[must_use]
    pub const fn first(self) -> Channel {
        self.first
    }

    /// The last channel.
    #[must_use]
    pub const fn last(self) -> Channel {
        self.last
    }

    /// How many channels there are, 1 to 48.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.last.get() - self.first.get() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keep_alive_text_is_no_command_and_no_line_end() {
        assert!(KeepAliveText::new("Alive").is_ok());
        assert!(KeepAliveText::new("12345678").is_ok());
        for bad in ["", "123456789", "^^^RBC", "a\rb", "a\n", "\u{e9}"] {
            assert_eq!(KeepAliveText::new(bad), Err(BadKeepAliveText(bad.to_owned())));
        }
    }

    #[test]
    fn a_clock_shows_2000_to_2099() {
        let time = |year, month, day| {
            ClockTime::new(DeviceTime { year, month, day, hour: 23, minute: 59, second: 59 })
        };
        assert!(time(2000, 2, 29).is_some());
        assert!(time(2099, 12, 31).is_some());
        assert!(time(2100, 1, 1).is_none());
        assert!(time(1999, 12, 31).is_none());
        assert!(time(2023, 2, 29).is_none());
    }

    #[test]
    fn channels_go_upwards() {
        let channel = |number| Channel::new(number).expect("it is in range");
        let run = Channels::new(channel(3), channel(48)).expect("3 comes before 48");
        assert_eq!(run.count(), 46);
        let error = Channels::new(channel(3), channel(2)).expect_err("2 comes before 3");
        assert_eq!(error.to_string(), "last channel 2 is out of range; it goes from 3 to 48");
    }
}
