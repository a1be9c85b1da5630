//! The codes of registers.

use std::fmt;
use std::str::FromStr;

/// A register's code, `A-B:C.D.E*F`, as IEC 62056-61 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Obis {
    /// A: 0 the meter itself and what is attached to it, 1 electricity.
    pub medium: u8,
    /// B: the channel, 0 where there is one only.
    pub channel: u8,
    /// C: the quantity.
    pub c: u8,
    /// D: how it is processed.
    pub d: u8,
    /// E: the tariff.
    pub e: u8,
    /// F: the billing period; 255 where the code has none.
    pub f: u8,
}

impl Obis {
    /// The code `A-B:C.D.E`.
    #[must_use]
    pub const fn new(medium: u8, channel: u8, c: u8, d: u8, e: u8) -> Self {
        Self { medium, channel, c, d, e, f: 255 }
    }

    /// A register of the electricity meter, `1-0:C.D.E`.
    #[must_use]
    pub const fn electricity(c: u8, d: u8, e: u8) -> Self {
        Self::new(1, 0, c, d, e)
    }
}

/// A text that is no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a code such as 1-0:1.8.1")]
pub struct NotACode;

impl FromStr for Obis {
    type Err = NotACode;

    fn from_str(text: &str) -> Result<Self, NotACode> {
        let number = |text: &str| {
            // `u8::from_str` takes a plus sign, which no code has.
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain).ok_or(NotACode)
        };
        let (medium, rest) = text.split_once('-').ok_or(NotACode)?;
        let (channel, rest) = rest.split_once(':').ok_or(NotACode)?;
        let (code, period) = rest.split_once('*').unwrap_or((rest, "255"));
        let mut parts = code.split('.');
        let mut part = || number(parts.next().ok_or(NotACode)?);
        let (c, d, e) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(NotACode);
        }
        let (medium, channel) = (number(medium)?, number(channel)?);
        Ok(Self { medium, channel, c, d, e, f: number(period)? })
    }
}

impl fmt::Display for Obis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { medium, channel, c, d, e, .. } = self;
        write!(f, "{medium}-{channel}:{c}.{d}.{e}")?;
        if self.f != 255 { write!(f, "*{}", self.f) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        assert_eq!("1-0:1.8.1".parse(), Ok(Obis::electricity(1, 8, 1)));
        assert_eq!("1-0:1.8.1*255".parse(), Ok(Obis::electricity(1, 8, 1)));
        for text in ["0-1:24.2.1", "1-0:1.8.0*1", "255-255:255.255.255"] {
            assert_eq!(text.parse::<Obis>().map(|code| code.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "1-0:1.8", "1-0:1.8.1.2", "1-0:1.8.256", "1-0:1.8.+1", "1.8.1", "1-0:1.8.1*"]
        {
            assert_eq!(text.parse::<Obis>(), Err(NotACode), "{text:?}");
        }
    }
}
