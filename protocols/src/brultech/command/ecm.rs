//! The byte commands of an ECM, where each piece is acknowledged.

use super::number::{AuxOptions, EcmChannel, EcmInterval};

/// A command of an ECM-1220 or ECM-1240.
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
    /// Start the unit again.
    Reboot,
    /// Real-time mode on or off.
    SetRealTime(bool),
}

impl EcmCommand {
    /// The pieces to send to the unit with command byte `unit` (0xFC to 0xFF), the byte itself
    /// first; each is to be acknowledged before the next one goes.
    #[must_use]
    pub fn chunks(&self, unit: u8) -> Vec<Vec<u8>> {
        let words: &[&[u8]] = match self {
            Self::Poll => &[b"SPK"],
            Self::Settings => &[b"SET", b"RCV"],
            Self::SetInterval(seconds) => &[b"SET", b"IV2", &[seconds.get()]],
            Self::SetTrigger(watts) => {
                let [low, high] = watts.to_le_bytes();
                &[b"SET", b"IV3", &[low], &[high]]
            }
            Self::SetCt { channel, kind, range } => {
                let which = if channel.get() == 1 { b"CT1" } else { b"CT2" };
                &[b"SET", which, b"TYP", &[*kind], b"RNG", &[*range]]
            }
            Self::SetPt { kind, range } => &[b"SET", b"PTT", &[*kind], b"PTR", &[*range]],
            Self::SetAuxOptions(mask) => &[b"SET", b"OPT", &[mask.get()]],
            Self::TogglePolarity(channel) => {
                let which = if channel.get() == 1 { b"NG1" } else { b"NG2" };
                &[b"SET", which]
            }
            Self::ResetWattSeconds => &[b"RQS", b"RKW"],
            Self::ResetSeconds => &[b"RQS", b"RKS"],
            Self::Reboot => &[b"RQS", b"RLP"],
            Self::SetRealTime(true) => &[b"TOG", b"XTD"],
            Self::SetRealTime(false) => &[b"TOG", b"OFF"],
        };
        std::iter::once(vec![unit]).chain(words.iter().map(|word| word.to_vec())).collect()
    }
}
