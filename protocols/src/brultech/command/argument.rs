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
}
