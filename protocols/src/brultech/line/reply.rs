//! What an exchange comes to.

use std::time::Duration;

use crate::brultech::{ChannelOptions, DeviceTime, EcmSettings, GemSettings, TemperatureUnit};

/// A meter's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Done, and acknowledged where the meter acknowledges.
    Done,
    /// Sent, and nothing came back; the vendor documents no answer. Read it back to be sure.
    Unacknowledged,
    /// The packet asked for has come; it was handed to [`Line::packet`](super::Line::packet).
    Packet,
    /// A GEM's serial number: digits, of which leading zeros may be missing.
    Serial(String),
    /// A GEM's clock; `None` when it is unset.
    Time(Option<DeviceTime>),
    /// Whether real-time mode is on.
    RealTime(bool),
    /// Seconds between packets, 1 to 256.
    Interval(u16),
    /// The vendor's number of the packet format.
    PacketFormat(u8),
    /// CT types of the 48 channels, channel 1 first.
    CtTypes(Vec<u8>),
    /// CT ranges of the 48 channels, channel 1 first.
    CtRanges(Vec<u8>),
    /// Options of the 48 channels, channel 1 first.
    ChannelOptions(Vec<ChannelOptions>),
    /// CT of one channel.
    Ct {
        /// Its type.
        kind: u8,
        /// Its range.
        range: u8,
    },
    /// The unit that temperatures now have.
    TemperatureUnit(TemperatureUnit),
    /// A firmware version, as the meter writes it.
    Firmware(String),
    /// Volts.
    Volts(f64),
    /// Seconds counter, wraps at 2^24.
    Seconds(u32),
    /// Watts, of one channel or several.
    Watts(Vec<f64>),
    /// Watt-seconds, of one channel or several.
    WattSeconds(Vec<u64>),
    /// Everything that is measured.
    Values(Box<GemValues>),
    /// A GEM's settings.
    Settings(Box<GemSettings>),
    /// An ECM's settings.
    EcmSettings(EcmSettings),
}

/// Everything a GEM measures, at one moment. Empty where the meter said nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GemValues {
    /// Watts, channel 1 first.
    pub watts: Vec<Option<f64>>,
    /// Temperatures in the unit that the meter is set to; `None` for a missing sensor.
    pub temperatures: Vec<Option<f64>>,
    /// Pulse counters.
    pub pulses: Vec<Option<u32>>,
    /// Volts.
    pub volts: Option<f64>,
}

/// Why an exchange came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The meter said nothing in time.
    #[error("the meter did not answer within {:.1} s", .waited.as_secs_f64())]
    Silent {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The command was not sent: the meter has left several others unanswered, and until it is
    /// certain that those answers will not come, one of them could be taken for this command's.
    #[error("the meter has stopped answering; it is asked again in {:.0} s", .wait.as_secs_f64())]
    Unsettled {
        /// How long to wait.
        wait: Duration,
    },
    /// The command was not sent: its time was up before the link was free for it.
    #[error("the link was not free in time to send the command")]
    NotSent,
    /// The meter refused (`ER`).
    #[error("the meter refused the command (ER)")]
    Refused,
    /// The meter said something that is no answer to this command.
    #[error("the meter answered {heard}, which is no answer to this command")]
    Unexpected {
        /// What was heard, as far as it is fit to be shown.
        heard: String,
    },
    /// An ECM did not acknowledge a piece of the command.
    #[error(
        "the meter acknowledged {acknowledged} of {chunks} pieces of the command, then no more"
    )]
    NotAcknowledged {
        /// How many pieces were acknowledged.
        acknowledged: usize,
        /// How many there are.
        chunks: usize,
    },
    /// The answer came damaged.
    #[error("the meter's answer came damaged")]
    Damaged,
}
