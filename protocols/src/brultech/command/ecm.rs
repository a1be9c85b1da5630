//! The byte commands of an ECM, where each piece is acknowledged.

use super::number::{AuxOptions, EcmChannel, EcmInterval};

/// A command of an ECM-1220 or ECM-1240. The reboot is left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EcmCommand {
    /// Ask for one packet.
    Poll,
    /// Read the settings.
    Settings,
    /// Set the interval between packets.
    SetInterval(EcmInterval),
    /// Set the trigger, in watts.
    SetTrigger(u16),
    /// Set type and range of a current transformer.
    SetCt {
        /// Which of the two.
        channel: EcmChannel,
        /// Its type.
        kind: u8,
        /// Its range.
        range: u8,
    },
    /// Set type and range of the potential transformer.
    SetPt {
        /// Its type.
        kind: u8,
        /// Its range.
        range: u8,
    },
    /// Set the options of the auxiliary channels.
    SetAuxOptions(AuxOptions),
    /// Toggle a channel's polarity.
    TogglePolarity(EcmChannel),
    /// Reset the watt-second counters.
    ResetWattSeconds,
    /// Reset the seconds counter.
    ResetSeconds,
    /// Real-time mode on or off.
    SetRealTime(bool),
}

impl EcmCommand {
    /// The pieces to send to the unit with command byte `unit` (0xFC to 0xFF), the byte itself
    /// first; each is to be acknowledged before the next one goes.
    #[must_use]
    pub fn chunks(&self, unit: u8) -> Vec<Vec<u8>> {
        let _ = unit;
        Vec::new()
    }
}
