//! Arguments of commands that cannot be out of range once made.

/// An argument that no meter takes; nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is out of range; it goes from {least} to {greatest}")]
pub struct OutOfRange {
    /// What the number is, such as `channel`.
    pub what: &'static str,
    /// The number that was given.
    pub value: i64,
    /// The smallest number allowed.
    pub least: i64,
    /// The greatest number allowed.
    pub greatest: i64,
}

/// Declares a number that is in its range by construction.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($width:ty): $least:literal..=$greatest:literal, $what:literal;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name($width);

            impl $name {
                /// The smallest one.
                pub const LEAST: $width = $least;
                /// The greatest one.
                pub const GREATEST: $width = $greatest;

                /// The number, if it is within its range.
                ///
                /// # Errors
                /// [`OutOfRange`], which says what the range is.
                pub fn new(value: i64) -> Result<Self, OutOfRange> {
                    <$width>::try_from(value)
                        .ok()
                        .filter(|number| (Self::LEAST..=Self::GREATEST).contains(number))
                        .map(Self)
                        .ok_or(OutOfRange {
                            what: $what,
                            value,
                            least: i64::from(Self::LEAST),
                            greatest: i64::from(Self::GREATEST),
                        })
                }

                /// The number itself.
                #[must_use]
                pub const fn get(self) -> $width {
                    self.0
                }
            }

            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.0.fmt(f)
                }
            }
        )+
    };
}

numbers! {
    /// A measuring channel of a GEM; 33 to 48 are there only with the expansion board.
    Channel(u8): 1..=48, "channel";
    /// A one-wire temperature input of a GEM.
    TemperatureInput(u8): 1..=8, "temperature input";
    /// A pulse counter of a GEM.
    PulseInput(u8): 1..=4, "pulse input";
    /// The vendor's number of a packet format (`^^^SYSPKTnn`): 4 is BIN48-NET-TIME, 5 BIN48-NET,
    /// 7 BIN48-ABS, 8 BIN32-NET, 9 BIN32-ABS, 12 none; see [`Format::packet_format`].
    ///
    /// [`Format::packet_format`]: crate::brultech::Format::packet_format
    PacketFormat(u8): 0..=14, "packet format";
    /// Seconds between packets of a GEM. Below 5 the vendor advises against; 256 reads back as 0.
    GemInterval(u16): 1..=256, "interval";
    /// Seconds between packets of an ECM.
    EcmInterval(u8): 1..=255, "interval";
    /// The type of a current transformer on a GEM's channel.
    CtType(u8): 1..=255, "ct type";
    /// The range of a current transformer on a GEM's channel.
    CtRange(u8): 0..=9, "ct range";
    /// The type of a GEM's potential transformer.
    PtType(u8): 1..=255, "pt type";
    /// The range of a GEM's potential transformer; each step down doubles the volts.
    PtRange(u8): 0..=15, "pt range";
    /// A GEM's keep-alive interval: 0 is off, 1 to 7 are 4, 8, 16, … 256 s.
    KeepAliveInterval(u8): 0..=7, "keep-alive interval";
    /// Bytes that a GEM sends in one piece.
    ChunkSize(u16): 80..=65000, "chunk size";
    /// The pause between two pieces, in the meter's own unit.
    ChunkPause(u16): 0..=65000, "chunk pause";
    /// A GEM's send buffer, in the meter's own unit.
    BufferSize(u16): 10..=1700, "buffer size";
    /// How many channels a GEM is to report.
    MaxChannels(u8): 1..=48, "maximum of channels";
    /// A channel of an ECM with a current transformer: 1 or 2.
    EcmChannel(u8): 1..=2, "channel";
    /// An ECM's options: bits 0 to 4 double the gain of aux1 to aux5, bit 5 makes aux5 a pulse
    /// counter, bit 6 a direct voltage input. Read them first and change single bits.
    AuxOptions(u8): 0..=127, "aux options";
}

/// The phase a channel is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Phase A, the one of the potential transformer.
    A,
    /// Phase B.
    B,
    /// Phase C.
    C,
}

impl Phase {
    /// As commands name it.
    pub(super) const fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
            Self::C => 'C',
        }
    }
}

/// Compensation of a current transformer's phase shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compensation {
    /// None.
    None,
    /// 4 degrees.
    Degrees4,
    /// 8 degrees.
    Degrees8,
}

impl Compensation {
    /// As commands name it.
    pub(super) const fn digit(self) -> char {
        match self {
            Self::None => '0',
            Self::Degrees4 => '1',
            Self::Degrees8 => '2',
        }
    }
}

/// The unit of a GEM's temperatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TemperatureUnit {
    /// Degrees Celsius.
    Celsius,
    /// Degrees Fahrenheit.
    Fahrenheit,
}

/// The frequency of the mains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineFrequency {
    /// 60 Hz.
    Hz60,
    /// 50 Hz.
    Hz50,
}

/// One of a GEM's processors with firmware of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Processor {
    /// COM: communication.
    Com,
    /// ENG: the measuring engine.
    Engine,
    /// The engine of the expansion board.
    Expansion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_range_says_what_the_range_is() {
        assert_eq!(Channel::new(48).map(Channel::get), Ok(48));
        let error = Channel::new(49).expect_err("there are 48");
        assert_eq!(error.to_string(), "channel 49 is out of range; it goes from 1 to 48");
        let error = GemInterval::new(-1).expect_err("time goes forward");
        assert_eq!(error.to_string(), "interval -1 is out of range; it goes from 1 to 256");
        assert!(ChunkSize::new(i64::MAX).is_err());
        assert!(CtRange::new(0).is_ok() && CtType::new(0).is_err());
        assert!(ChunkPause::new(65_536).is_err());
    }
}
