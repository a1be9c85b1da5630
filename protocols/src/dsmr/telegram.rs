//! A telegram: its header and its lines, as they were printed.

use super::Obis;

/// One telegram of a P1 port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    /// What stands behind the slash: three letters of the maker, a digit, the model.
    pub identification: String,
    /// The objects in their order.
    pub objects: Vec<Object>,
    /// The checksum that it ended with, where it has one: all since DSMR 4.
    pub checksum: Option<u16>,
}

/// One object: a code and what stands in the parentheses behind it, on its line and on lines of
/// their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which register it is.
    pub code: Obis,
    /// The values in their order, without the parentheses.
    pub values: Vec<String>,
}

impl Telegram {
    /// Reads what stands from the slash up to the exclamation mark, without either. `Err` has the
    /// line that is wrong.
    pub(super) fn parse(body: &[u8], checksum: Option<u16>) -> Result<Self, String> {
        let mut lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        let shown = |line: &[u8]| String::from_utf8_lossy(line).chars().take(SHOWN).collect();
        let head = lines.next().unwrap_or_default();
        let identification = text(head).ok_or_else(|| shown(head))?.to_owned();
        let mut objects: Vec<Object> = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            match parse_line(line, objects.last_mut()) {
                Some(Line::Object(object)) => objects.push(object),
                Some(Line::Continued) => {}
                // A checksum vouches for the line: it is one that no standard has.
                None if checksum.is_some() => {}
                None => return Err(shown(line)),
            }
        }
        Ok(Self { identification, objects, checksum })
    }

    /// The first object with this code.
    #[must_use]
    pub fn get(&self, code: Obis) -> Option<&Object> {
        self.objects.iter().find(|object| object.code == code)
    }

    /// The only value of an object.
    #[must_use]
    pub fn value(&self, code: Obis) -> Option<&str> {
        self.get(code)?.values.first().map(String::as_str)
    }

    /// Writes the telegram as a meter sends it, with its checksum if it has one; that is computed, and
    /// not the one in the field.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(format!("/{}\r\n\r\n", self.identification).as_bytes());
        for object in &self.objects {
            out.extend_from_slice(object.code.to_string().as_bytes());
            for value in &object.values {
                out.extend_from_slice(format!("({value})").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
        out.push(b'!');
        if self.checksum.is_some() {
            let checksum = crate::wire::crc16_arc(out.get(start..).unwrap_or_default());
            out.extend_from_slice(format!("{checksum:04X}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

enum Line {
    Object(Object),
    /// It went to the object before it.
    Continued,
}

fn parse_line(line: &[u8], before: Option<&mut Object>) -> Option<Line> {
    let line = text(line)?;
    let (code, values) = line.split_at_checked(line.find('(')?)?;
    let mut values = parse_values(values)?;
    if code.is_empty() {
        before?.values.append(&mut values);
        return Some(Line::Continued);
    }
    Some(Line::Object(Object { code: code.parse().ok()?, values }))
}

/// `(a)(b)`, closed to the end of the line.
fn parse_values(text: &str) -> Option<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some(inner) = rest.strip_prefix('(') {
        let (value, behind) = inner.split_once(')')?;
        if value.contains('(') {
            return None;
        }
        values.push(value.to_owned());
        rest = behind;
    }
    rest.is_empty().then_some(values)
}

/// Printable ASCII only.
fn text(bytes: &[u8]) -> Option<&str> {
    let is_plain = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    std::str::from_utf8(bytes).ok().filter(|_| is_plain)
}

/// What of a wrong line is told.
const SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_go_on_over_lines() {
        let body = b"ABC5X\r\n\r\n0-1:24.3.0(120515210000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00132.534)\r\n0-0:96.13.0()\r\n";
        let telegram = Telegram::parse(body, None).unwrap();
        assert_eq!(telegram.identification, "ABC5X");
        let gas = telegram.get(Obis::new(0, 1, 24, 3, 0)).unwrap();
        assert_eq!(gas.values.len(), 7);
        assert_eq!(gas.values[6], "00132.534");
        assert_eq!(telegram.value(Obis::new(0, 0, 96, 13, 0)), Some(""));
    }

    #[test]
    fn a_line_that_is_none_costs_the_telegram_unless_a_checksum_vouches_for_it() {
        for line in
            ["1-0:1.8.1(1", "x", "1-0:1.8.1(1)x", "1.8.1(1)", "(1)", "1-0:1.8.1((1)", "a\x07(1)"]
        {
            let body = format!("ABC5X\r\n\r\n{line}\r\n");
            assert!(Telegram::parse(body.as_bytes(), None).is_err(), "{line:?}");
            let telegram = Telegram::parse(body.as_bytes(), Some(1)).unwrap();
            assert_eq!(telegram.objects, []);
        }
    }
}
