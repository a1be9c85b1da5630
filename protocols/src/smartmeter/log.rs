//! Log lines: what a meter tells of itself, between everything else.

/// A log line, `Info:[I]03/02 16:04:02: text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How grave.
    pub level: LogLevel,
    /// `MM/DD HH:MM:SS`, the meter's local time without a year; `None` where it is missing.
    pub time: Option<String>,
    /// What it says. Empty once a second while the meter is idle: it lives.
    pub text: String,
    /// It was longer than 529 bytes, or was cut off by something else, and lost its end.
    pub cut: bool,
}

/// How grave a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// `A`.
    All,
    /// `D`.
    Debug,
    /// `I`.
    Info,
    /// `W`.
    Warning,
    /// `E`.
    Error,
}

/// What a log line says of the quality of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// The meter inserts or removes samples after its clock was set.
    Correcting {
        /// How many.
        samples: i64,
    },
    /// Samples were not taken.
    Missed {
        /// How many.
        samples: u64,
    },
    /// The meter's loop lags behind.
    Behind,
    /// An interrupt of the measuring chip was lost.
    LostInterrupt,
    /// A buffer ran over.
    Overflow,
}

impl LogLine {
    /// The line between `Info:` and its end, which begins with `[X]`.
    ///
    /// `cut`: it has no end. Returns `None` where it is no log line.
    #[must_use]
    pub fn read(line: &str, cut: bool) -> Option<Self> {
        let mut characters = line.chars();
        let (open, letter, close) = (characters.next()?, characters.next()?, characters.next()?);
        let level = LogLevel::of_letter(letter).filter(|_| (open, close) == ('[', ']'))?;
        let rest = characters.as_str();
        let (time, text) = match rest.get(..TIME.len()).filter(|time| is_time(time.as_bytes())) {
            Some(time) => (Some(time.to_owned()), &rest[TIME.len()..]),
            None => (None, rest),
        };
        let text = if time.is_some() { text.strip_prefix(':').unwrap_or(text) } else { text };
        let text = text.strip_prefix(' ').unwrap_or(text);
        Some(Self { level, time, text: text.trim_end_matches(['\r', '\n']).to_owned(), cut })
    }

    /// Whether it says nothing but that the meter lives.
    #[must_use]
    pub fn is_lifeness(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Samples a second, which a meter that samples tells once a second: `3999.92Hz, 4000s`.
    #[must_use]
    pub fn rate_hz(&self) -> Option<f64> {
        let (rate, rest) = self.text.trim().split_once("Hz")?;
        let is_rest = rest.is_empty() || (rest.starts_with(',') && rest.ends_with('s'));
        rate.trim().parse().ok().filter(|rate: &f64| is_rest && rate.is_finite())
    }

    /// What the relay did.
    #[must_use]
    pub fn switched(&self) -> Option<bool> {
        match self.text.trim() {
            "Switched on" => Some(true),
            "Switched off" => Some(false),
            _ => None,
        }
    }

    /// The meter could not read a command: some connection's, not surely ours.
    #[must_use]
    pub fn is_unread_command(&self) -> bool {
        self.text.starts_with("deserializeJson() failed")
    }

    /// What it says of the quality of samples.
    #[must_use]
    pub fn quality(&self) -> Option<Quality> {
        let text = self.text.trim();
        let counted = |prefix: &str, suffix: &str| -> Option<i64> {
            let rest = text.strip_prefix(prefix)?.trim_start();
            let end = rest.to_ascii_lowercase().find(suffix)?;
            rest.get(..end)?.trim().parse().ok()
        };
        if let Some(samples) = counted("Correcting:", "sample") {
            return Some(Quality::Correcting { samples });
        }
        if let Some(samples) = counted("MISSED", "sample").and_then(|n| u64::try_from(n).ok()) {
            return Some(Quality::Missed { samples });
        }
        if text.starts_with("Loop ") && text.ends_with("behind") {
            return Some(Quality::Behind);
        }
        if text.starts_with("Lost interrupt") {
            return Some(Quality::LostInterrupt);
        }
        text.starts_with("Overflow").then_some(Quality::Overflow)
    }

    /// Appends the line as a meter sends it: one longer than 529 bytes is cut and has no line end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(b"Info:[");
        out.push(self.level.letter());
        out.push(b']');
        if let Some(time) = &self.time {
            out.extend_from_slice(time.as_bytes());
            out.extend_from_slice(b": ");
        }
        out.extend_from_slice(self.text.as_bytes());
        if out.len() - begin >= LONGEST || self.cut {
            out.truncate(begin + LONGEST);
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl LogLevel {
    /// The level of its letter.
    #[must_use]
    pub const fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'A' => Self::All,
            'D' => Self::Debug,
            'I' => Self::Info,
            'W' => Self::Warning,
            'E' => Self::Error,
            _ => return None,
        })
    }

    /// The level of its name in the command `log`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::All, Self::Debug, Self::Info, Self::Warning, Self::Error]
            .into_iter()
            .find(|level| level.name() == name)
    }

    /// Its name in the command `log`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// Its letter in a log line.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::All => b'A',
            Self::Debug => b'D',
            Self::Info => b'I',
            Self::Warning => b'W',
            Self::Error => b'E',
        }
    }
}

/// Whether these bytes are `MM/DD HH:MM:SS`, as far as they go.
pub(super) fn is_time(bytes: &[u8]) -> bool {
    bytes.iter().zip(TIME.bytes()).all(|(byte, pattern)| match pattern {
        b'0' => byte.is_ascii_digit(),
        pattern => *byte == pattern,
    })
}

/// The shape of the time in a log line; 0 is any digit.
pub(super) const TIME: &str = "00/00 00:00:00";
/// The longest log line in bytes, its beginning included (protocol note, section 2.1).
pub(super) const LONGEST: usize = 529;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine::read(text, false).unwrap()
    }

    #[test]
    fn a_line_is_taken_apart() {
        let one = line("[I]03/02 16:04:02: 3999.92Hz, 4000s");
        assert_eq!((one.level, one.time.as_deref()), (LogLevel::Info, Some("03/02 16:04:02")));
        assert_eq!((one.text.as_str(), one.rate_hz()), ("3999.92Hz, 4000s", Some(3999.92)));
        assert!(line("[I]11/21 02:57:22: ").is_lifeness());
        let bare = line("[W]Received unknown command");
        assert_eq!((bare.time, bare.text.as_str()), (None, "Received unknown command"));
        assert_eq!(LogLine::read("[X]03/02 16:04:02: no", false), None);
    }

    #[test]
    fn what_a_line_means() {
        assert_eq!(line("[I]03/02 16:04:02: 4000.12Hz").rate_hz(), Some(4000.12));
        assert_eq!(line("[I]03/02 16:04:02: Set to 50Hz mains").rate_hz(), None);
        assert_eq!(line("[I]11/21 02:57:26: Switched off").switched(), Some(false));
        let quality = |text: &str| line(&format!("[W]11/21 02:57:26: {text}")).quality();
        assert_eq!(quality("Correcting: -3 samples"), Some(Quality::Correcting { samples: -3 }));
        assert_eq!(quality("MISSED 12 SAMPLES"), Some(Quality::Missed { samples: 12 }));
        assert_eq!(quality("Loop 31000ns behind"), Some(Quality::Behind));
        assert_eq!(quality("Lost interrupt!"), Some(Quality::LostInterrupt));
        assert_eq!(quality("Overflow in buffer"), Some(Quality::Overflow));
        assert_eq!(quality("Client with IP 1.2.3.4 connected on port 54321"), None);
    }
}
