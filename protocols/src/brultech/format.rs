//! The seven binary layouts of Brultech packets: codes, lengths, and what each carries.

/// The layout of a binary packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// ECM-1220: two channels.
    Ecm1220,
    /// ECM-1240: two channels and five auxiliary ones. A GEM set to packet format 1 sends these too,
    /// one for each seven of its channels.
    Ecm1240,
    /// GEM packet format 4: 48 channels, absolute and polarized counters, device clock.
    Bin48NetTime,
    /// GEM packet format 5: as format 4 without the clock; shares its code.
    Bin48Net,
    /// GEM packet format 7: 48 channels, absolute counters only.
    Bin48Abs,
    /// GEM packet format 8: 32 channels, absolute and polarized counters.
    Bin32Net,
    /// GEM packet format 9: 32 channels, absolute counters only.
    Bin32Abs,
}

impl Format {
    /// Every format, in the order of the declaration.
    pub const ALL: [Self; 7] = [
        Self::Ecm1220,
        Self::Ecm1240,
        Self::Bin48NetTime,
        Self::Bin48Net,
        Self::Bin48Abs,
        Self::Bin32Net,
        Self::Bin32Abs,
    ];

    /// The longest packet, in bytes.
    pub(super) const LONGEST: usize = Self::Bin48NetTime.length();

    /// Bytes of a whole packet, header and checksum included.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Ecm1220 => 43,
            Self::Ecm1240 => 65,
            Self::Bin48NetTime => 625,
            Self::Bin48Net => 619,
            Self::Bin48Abs => 379,
            Self::Bin32Net => 429,
            Self::Bin32Abs => 269,
        }
    }

    /// The third byte of the packet. It is not the packet-format number of the vendor's settings,
    /// and code 5 stands for two formats.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ecm1220 => 1,
            Self::Ecm1240 => 3,
            Self::Bin48NetTime | Self::Bin48Net => 5,
            Self::Bin48Abs => 6,
            Self::Bin32Net => 7,
            Self::Bin32Abs => 8,
        }
    }

    /// The formats that a code may stand for, in the order in which they are to be tried: a
    /// BIN48-NET packet is tested before a BIN48-NET-TIME one, whose month would have to be 254 to
    /// pass for it.
    pub(super) const fn of_code(code: u8) -> &'static [Self] {
        match code {
            1 => &[Self::Ecm1220],
            3 => &[Self::Ecm1240],
            5 => &[Self::Bin48Net, Self::Bin48NetTime],
            6 => &[Self::Bin48Abs],
            7 => &[Self::Bin32Net],
            8 => &[Self::Bin32Abs],
            _ => &[],
        }
    }

    /// Measuring channels in the packet: 2, 32 or 48. Auxiliary channels are not counted, and a
    /// GEM without expansion board fills channels 33 to 48 with garbage.
    #[must_use]
    pub const fn channels(self) -> usize {
        match self {
            Self::Ecm1220 | Self::Ecm1240 => 2,
            Self::Bin48NetTime | Self::Bin48Net | Self::Bin48Abs => 48,
            Self::Bin32Net | Self::Bin32Abs => 32,
        }
    }

    /// The vendor's name, such as `BIN48-NET-TIME`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecm1220 => "ECM-1220",
            Self::Ecm1240 => "ECM-1240",
            Self::Bin48NetTime => "BIN48-NET-TIME",
            Self::Bin48Net => "BIN48-NET",
            Self::Bin48Abs => "BIN48-ABS",
            Self::Bin32Net => "BIN32-NET",
            Self::Bin32Abs => "BIN32-ABS",
        }
    }

    /// The number by which a GEM's settings name the format (`^^^SYSPKTnn`); `None` for an ECM,
    /// which has no such setting.
    #[must_use]
    pub const fn packet_format(self) -> Option<u8> {
        match self {
            Self::Ecm1220 | Self::Ecm1240 => None,
            Self::Bin48NetTime => Some(4),
            Self::Bin48Net => Some(5),
            Self::Bin48Abs => Some(7),
            Self::Bin32Net => Some(8),
            Self::Bin32Abs => Some(9),
        }
    }

    /// Whether this is the layout of an ECM-1220 or ECM-1240.
    #[must_use]
    pub const fn is_ecm(self) -> bool {
        matches!(self, Self::Ecm1220 | Self::Ecm1240)
    }

    /// Whether the packet carries polarized counters beside the absolute ones.
    #[must_use]
    pub const fn has_polarized(self) -> bool {
        !matches!(self, Self::Bin48Abs | Self::Bin32Abs)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_code() {
        for format in Format::ALL {
            assert!(
                Format::of_code(format.code()).contains(&format),
                "{format} has code {}",
                format.code()
            );
            assert!(format.length() <= Format::LONGEST);
        }
        let coded = (0..=u8::MAX).flat_map(Format::of_code).count();
        assert_eq!(coded, Format::ALL.len());
    }
}
