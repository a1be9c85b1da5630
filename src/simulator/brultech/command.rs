//! Hearing a GEM's text commands among whatever else comes over its line.
//!
//! Most commands have no end of their own: a table says how many characters follow each name.

/// What was said to the GEMs of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) enum Said {
    /// A command.
    Command(GemCommand),
    /// An answer to an HTTP request, with its status.
    HttpAnswer(u16),
}

/// A text command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) struct GemCommand {
    /// All of it, as it came.
    pub(in crate::simulator) bytes: Vec<u8>,
    /// The five digits behind `NMB`, where it had these.
    pub(in crate::simulator) address: Option<u16>,
    /// Its name, with `xx` in place of a channel: `SYSPKT`, `CxxTYP`. Empty when nobody knows it.
    pub(in crate::simulator) name: &'static str,
    /// The digits of the channel, and what came behind the name.
    pub(in crate::simulator) arguments: Vec<String>,
}

/// Collects what comes until it is whole.
#[derive(Debug, Default)]
pub(in crate::simulator) struct GemEar {
    held: Vec<u8>,
}

/// Where a command's arguments end.
#[derive(Clone, Copy)]
enum Tail {
    /// After so many characters.
    Length(usize),
    /// With a carriage return (a line feed does as well).
    Line,
}

use Tail::{Length, Line};

/// Every command that is simulated. `xx` are two digits.
const TABLE: [(&str, Tail); 61] = [
    ("APISPK", Length(0)),
    ("APIVLT", Length(0)),
    ("APISEC", Length(0)),
    ("APIVAL", Length(0)),
    ("APIWATxx", Length(0)),
    ("APIENRxx", Length(0)),
    ("APIWRG", Length(4)),
    ("APIEGR", Length(4)),
    ("SYS_ON", Length(0)),
    ("SYSOFF", Length(0)),
    ("SYSPDL", Length(0)),
    ("SYSPKT", Length(2)),
    ("SYSPKF", Length(2)),
    ("SYSIVL", Length(3)),
    ("SYSDTM", Line),
    ("SYSTPT", Length(3)),
    ("SYSVRG", Length(2)),
    ("SYSRSTA", Length(0)),
    ("SYSRSTS", Length(0)),
    ("SYSRSTCxx", Length(0)),
    ("SYSRSTP", Length(0)),
    ("SYSRSTH", Length(0)),
    ("SYSRSP", Length(1)),
    ("SYSKAI", Length(1)),
    ("SYSKAS", Line),
    ("SYSPKS", Line),
    ("SYSPKI", Line),
    ("SYSBFF", Line),
    ("SYSCMX", Line),
    ("SYSHZ", Length(1)),
    ("RQSSRN", Length(0)),
    ("RQSDTM", Length(0)),
    ("RQSALL", Length(0)),
    ("RQSRTL", Length(0)),
    ("RQSITV", Length(0)),
    ("RQSRTF", Length(0)),
    ("RQSATP", Length(0)),
    ("RQSARG", Length(0)),
    ("RQSAOP", Length(0)),
    ("RQSVR1", Length(0)),
    ("RQSVR2", Length(0)),
    ("RQSVR3", Length(0)),
    ("RQSCxx", Length(0)),
    ("CHETYP", Length(3)),
    ("CHERNG", Length(1)),
    ("CHEPH", Length(1)),
    ("CHEPOL", Length(1)),
    ("CHGTYP", Line),
    ("CHGRNG", Line),
    ("CHGPH", Line),
    ("CxxTYP", Length(3)),
    ("CxxRNG", Length(1)),
    ("CxxPH", Length(1)),
    ("CxxPC", Length(1)),
    ("CxxPL", Length(1)),
    ("CxxTOG", Length(0)),
    ("TMPEN", Length(1)),
    ("TMPDS", Length(1)),
    ("TMPDG", Length(1)),
    ("PLSEN", Length(1)),
    ("PLSDS", Length(1)),
];

/// What a first look at the held bytes gives.
enum Look {
    /// More must come.
    Wait,
    /// So many bytes are nothing.
    Drop(usize),
    /// So many bytes are this.
    Whole(usize, Said),
}

impl GemEar {
    /// Takes in what came; gives what is whole.
    pub(in crate::simulator) fn hear(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.held.extend_from_slice(bytes);
        let mut said = Vec::new();
        loop {
            match look(&self.held) {
                Look::Drop(length) if length > 0 => drop(self.held.drain(..length)),
                Look::Whole(length, what) => {
                    self.held.drain(..length);
                    said.push(what);
                }
                Look::Wait | Look::Drop(_) => break,
            }
        }
        said
    }

    /// The line was quiet: what is not whole will not become so.
    pub(in crate::simulator) fn quiet(&mut self) {
        self.held.clear();
    }

    /// Whether something is not whole.
    pub(in crate::simulator) fn waits(&self) -> bool {
        !self.held.is_empty()
    }
}

fn look(held: &[u8]) -> Look {
    if held.is_empty() {
        return Look::Wait;
    }
    if b"HTTP/".starts_with(&held[..held.len().min(5)]) {
        return http_answer(held);
    }
    let carets = held.iter().take_while(|byte| **byte == b'^').count();
    match carets {
        0 => {
            // Up to the next that could begin something; a lone caret may be the first of three.
            let begins = |byte: &u8| matches!(byte, b'^' | b'H');
            let next = held[1..].iter().position(begins).map_or(held.len(), |place| place + 1);
            Look::Drop(next)
        }
        1 | 2 if carets == held.len() => Look::Wait,
        1 | 2 => Look::Drop(carets),
        3 => command(held),
        _ => Look::Drop(carets - 3),
    }
}

fn http_answer(held: &[u8]) -> Look {
    let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if held.len() > LONGEST { Look::Drop(held.len()) } else { Look::Wait };
    };
    let status = String::from_utf8_lossy(held.get(9..12).unwrap_or_default()).parse().unwrap_or(0);
    Look::Whole(end + 4, Said::HttpAnswer(status))
}

/// `held` begins with three carets and goes on with something else, or nothing yet.
fn command(held: &[u8]) -> Look {
    // The next command ends this one, whatever is missing.
    let next = held[3..].iter().position(|byte| *byte == b'^').map(|place| place + 3);
    let text = &held[3..next.unwrap_or(held.len())];
    let (address, rest) = match address(text) {
        Ok(split) => split,
        Err(Missing) if next.is_none() && held.len() < LONGEST => return Look::Wait,
        Err(Missing) => return unknown(held, next),
    };
    let mut may_become = false;
    let mut best: Option<(usize, &'static str, Vec<String>)> = None;
    for (name, tail) in TABLE {
        match matches(name, tail, rest) {
            Some(Ok((length, arguments)))
                if best.as_ref().is_none_or(|(_, b, _)| b.len() < name.len()) =>
            {
                best = Some((length, name, arguments));
            }
            Some(Err(Missing)) => may_become = true,
            _ => {}
        }
    }
    match best {
        Some((length, name, arguments)) => {
            let end = 3 + (text.len() - rest.len()) + length;
            let bytes = held[..end].to_vec();
            Look::Whole(end, Said::Command(GemCommand { bytes, address, name, arguments }))
        }
        None if may_become && next.is_none() && held.len() < LONGEST => Look::Wait,
        None => unknown(held, next),
    }
}

/// A command that nobody knows, as far as it can be told: up to the next, or to the end of what
/// has come.
fn unknown(held: &[u8], next: Option<usize>) -> Look {
    let end = next.unwrap_or(held.len());
    let bytes = held[..end].to_vec();
    let command = GemCommand { bytes, address: None, name: "", arguments: Vec::new() };
    Look::Whole(end, Said::Command(command))
}

/// More characters must come.
struct Missing;

/// `NMBddddd`, where it is there, and what follows.
fn address(text: &[u8]) -> Result<(Option<u16>, &[u8]), Missing> {
    let begin = text.len().min(3);
    if text[..begin] != b"NMB"[..begin] || text.is_empty() {
        return if text.is_empty() { Err(Missing) } else { Ok((None, text)) };
    }
    let digits = text.get(3..8).ok_or(Missing)?;
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    // 65536 and above is nobody's.
    number.map_or(Err(Missing), |number| Ok((Some(number), &text[8..])))
}

/// Whether `text` is that command: `None` if not; else its length and its arguments.
fn matches(name: &str, tail: Tail, text: &[u8]) -> Option<Result<(usize, Vec<String>), Missing>> {
    let mut digits = String::new();
    for (place, expected) in name.bytes().enumerate() {
        let Some(found) = text.get(place) else { return Some(Err(Missing)) };
        if expected == b'x' && found.is_ascii_digit() {
            digits.push(char::from(*found));
        } else if expected == b'x' || expected != *found {
            return None;
        }
    }
    let mut arguments = if digits.is_empty() { Vec::new() } else { vec![digits] };
    let rest = &text[name.len()..];
    let (taken, length) = match tail {
        Length(length) => (length, length),
        Line => match rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(end) => (end, end + 1),
            None => return Some(Err(Missing)),
        },
    };
    let Some(argument) = rest.get(..taken) else { return Some(Err(Missing)) };
    if tail_is_there(tail) {
        arguments.push(String::from_utf8_lossy(argument).into_owned());
    }
    Some(Ok((name.len() + length, arguments)))
}

fn tail_is_there(tail: Tail) -> bool {
    !matches!(tail, Length(0))
}

/// The longest command is one with 48 values of three digits.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Vec<(Option<u16>, &'static str, Vec<String>)> {
        let mut ear = GemEar::default();
        let whole = ear.hear(bytes);
        let mut ear = GemEar::default();
        let single: Vec<Said> = bytes.iter().flat_map(|byte| ear.hear(&[*byte])).collect();
        assert_eq!(whole, single, "also byte by byte");
        whole
            .into_iter()
            .map(|said| match said {
                Said::Command(command) => (command.address, command.name, command.arguments),
                Said::HttpAnswer(status) => (None, "HTTP", vec![status.to_string()]),
            })
            .collect()
    }

    fn one(bytes: &[u8]) -> (Option<u16>, &'static str, Vec<String>) {
        let mut all = heard(bytes);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn commands_are_told_apart_without_an_end() {
        assert_eq!(one(b"^^^SYSPKT05"), (None, "SYSPKT", vec!["05".to_owned()]));
        assert_eq!(one(b"^^^NMB02345SYSOFF"), (Some(2345), "SYSOFF", Vec::new()));
        assert_eq!(one(b"^^^SYSRSTC07"), (None, "SYSRSTCxx", vec!["07".to_owned()]));
        assert_eq!(one(b"^^^C12TYP205"), (None, "CxxTYP", vec!["12".into(), "205".into()]));
        assert_eq!(one(b"^^^CHEPHB"), (None, "CHEPH", vec!["B".to_owned()]));
        assert_eq!(
            one(b"^^^SYSDTM26,11,21,08,09,10\r"),
            (None, "SYSDTM", vec!["26,11,21,08,09,10".to_owned()])
        );
        let names: Vec<_> = heard(b"\r\n^^^^SYSOFF^^^SYSKAI0^^^TMPDGC\xFC^^^APISPK")
            .into_iter()
            .map(|c| c.1)
            .collect();
        assert_eq!(names, ["SYSOFF", "SYSKAI", "TMPDG", "APISPK"]);
    }

    #[test]
    fn what_is_cut_short_or_unknown_costs_only_itself() {
        let names: Vec<_> = heard(b"^^^SYSIVL0^^^RQSSRN").into_iter().map(|c| c.1).collect();
        assert_eq!(names, ["", "RQSSRN"]);
        let mut ear = GemEar::default();
        assert!(ear.hear(b"^^^SYSIV").is_empty() && ear.waits());
        ear.quiet();
        assert_eq!(ear.hear(b"^^^RQSSRN").len(), 1);
    }

    #[test]
    fn an_http_answer_is_heard() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n^^^SYS_ON";
        assert_eq!(heard(answer)[0], (None, "HTTP", vec!["200".to_owned()]));
        assert_eq!(heard(answer).len(), 2);
    }
}
