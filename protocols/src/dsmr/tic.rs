//! TIC, the customer port of French meters, in its historic mode.

/// One frame: its groups in their order, each checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicFrame {
    /// Label and value, both as they were printed.
    pub groups: Vec<(String, String)>,
}

impl TicFrame {
    /// Reads what stands between STX and ETX: groups of LF, label, space, value, space, check
    /// character, CR. `Err` has the group that is wrong.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let mut groups = Vec::new();
        for group in body.split(|byte| *byte == b'\n').skip(1) {
            let shown = || String::from_utf8_lossy(group).trim_end().to_owned();
            groups.push(parse_group(group).ok_or_else(shown)?);
        }
        if groups.is_empty() { Err("no groups".to_owned()) } else { Ok(Self { groups }) }
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&str> {
        self.groups.iter().find(|(one, _)| one == label).map(|(_, value)| value.as_str())
    }

    /// The value of a label as a whole number.
    #[must_use]
    pub fn number(&self, label: &str) -> Option<u64> {
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        self.get(label).filter(digits)?.parse().ok()
    }

    /// The energy taken in Wh: the sum of all indexes that the contract has.
    #[must_use]
    pub fn watt_hours(&self) -> Option<u64> {
        let indexes = INDEXES.iter().filter_map(|label| self.number(label));
        indexes.reduce(u64::saturating_add)
    }

    /// Writes the frame as a meter sends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(STX);
        for (label, value) in &self.groups {
            let text = format!("{label} {value}");
            out.push(b'\n');
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(&[b' ', check_character(text.as_bytes()), b'\r']);
        }
        out.push(ETX);
    }
}

/// A group without its LF; the check character may itself be a space.
fn parse_group(group: &[u8]) -> Option<(String, String)> {
    let (text, end) = group.split_at_checked(group.len().checked_sub(3)?)?;
    let [b' ', check, b'\r'] = *end else { return None };
    if check_character(text) != check {
        return None;
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (label, value) = text.split_once(' ')?;
    (!label.is_empty()).then(|| (label.to_owned(), value.to_owned()))
}

/// Sum of label, space and value, six bits of it, made printable.
fn check_character(text: &[u8]) -> u8 {
    let sum = text.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    (sum & 0x3F) + 0x20
}

pub(super) const STX: u8 = 0x02;
pub(super) const ETX: u8 = 0x03;

/// The indexes of every contract: base, off-peak hours, EJP, Tempo.
const INDEXES: [&str; 11] = [
    "BASE", "HCHC", "HCHP", "EJPHN", "EJPHPM", "BBRHCJB", "BBRHPJB", "BBRHCJW", "BBRHPJW",
    "BBRHCJR", "BBRHPJR",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_checked_and_read() {
        // Both check characters were computed by hand from the rule.
        let body = b"\nADCO 012345678901 E\r\nPAPP 00430 (\r";
        let parsed = TicFrame::parse(body);
        let mut frame = TicFrame { groups: Vec::new() };
        for (label, value) in
            [("ADCO", "012345678901"), ("HCHC", "000001000"), ("HCHP", "000000234")]
        {
            frame.groups.push((label.to_owned(), value.to_owned()));
        }
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(TicFrame::parse(&bytes[1..bytes.len() - 1]), Ok(frame.clone()));
        assert_eq!(frame.watt_hours(), Some(1234));
        assert!(parsed.is_ok(), "{parsed:?}");
        assert!(TicFrame::parse(b"\nPAPP 00431 (\r").is_err());
        assert!(TicFrame::parse(b"\nPA").is_err() && TicFrame::parse(b"").is_err());
    }
}
