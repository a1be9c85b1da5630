//! Finding where a text of format 2 (ASCII Wh) begins and ends; `text.rs` reads what is in it.

use super::judge::Judged;
use super::text::TextReading;

/// Judges bytes that begin with `n`, the serial number's key in format 2.
///
/// The format has no terminator of its own, and voltage is always its last item. So a text is whole
/// at a line end, and also when anything else follows, or the link fell `quiet`, behind the voltage.
/// A text ends at any byte that cannot be in it, a packet's header above all; it never hides one.
pub(super) fn judge(held: &[u8], quiet: bool) -> Judged<TextReading> {
    match begins(held) {
        None => return Judged::Wait,
        Some(false) => return Judged::Junk,
        Some(true) => {}
    }
    let window = &held[..held.len().min(TEXT_LIMIT)];
    let end = (2..window.len())
        .find(|at| !may_be_in_text(window[*at]) || window[*at..].starts_with(b"n="));
    let at_line_end = match end {
        Some(end) => matches!(window[end], b'\r' | b'\n'),
        None if window.len() == TEXT_LIMIT => return Judged::Broken(TEXT_LIMIT),
        None if quiet => false,
        None => return Judged::Wait,
    };
    let length = end.unwrap_or(window.len());
    match TextReading::from_ascii(&window[..length], at_line_end) {
        Some(reading) => Judged::Whole(reading, length),
        None => Judged::Broken(length),
    }
}

/// Whether bytes begin with `n=`, one to eight digits and `&`; `None` when there are too few to tell.
fn begins(held: &[u8]) -> Option<bool> {
    let Some(rest) = held.strip_prefix(b"n=") else {
        return if held == b"n" { None } else { Some(false) };
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).take(9).count();
    match rest.get(digits) {
        None if digits <= 8 => None,
        Some(b'&') if digits > 0 => Some(digits <= 8),
        _ => Some(false),
    }
}

const fn may_be_in_text(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'=' | b'&' | b'.' | b'-')
}

/// The longest text or HTTP head, in bytes; 48 channels with every value take some 3,000.
pub(super) const TEXT_LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_its_end_is_broken() {
        assert!(matches!(judge(b"n=01100603&wh_1=5&p_1=6", false), Judged::Wait));
        assert!(matches!(judge(b"n=01100603&wh_1=5&p_1=6", true), Judged::Broken(23)));
        assert!(matches!(judge(b"n=01100603&wh_1=5\xFE\xFF", false), Judged::Broken(17)));
        assert!(matches!(judge(b"n=01100603&wh_1=5\r\n", false), Judged::Whole(_, 17)));
        assert!(matches!(judge(b"n=01100603&v=1Alive", false), Judged::Whole(_, 14)));
        assert!(matches!(judge(b"n=01100603&v=1n=01100603&v=1", false), Judged::Whole(_, 14)));
        assert!(matches!(judge(b"n=011006030&v=1\r", false), Judged::Junk));
        assert!(matches!(judge(b"n=&v=1\r", false), Judged::Junk));
        assert!(matches!(judge(b"n=01100603", false), Judged::Wait));
        assert!(matches!(
            judge(&[b"n=1&".as_slice(), &[b'a'; 5000]].concat(), false),
            Judged::Broken(TEXT_LIMIT)
        ));
    }
}
