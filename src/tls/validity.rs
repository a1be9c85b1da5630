//! From when to when a certificate is valid.
//!
//! rustls tells this to clients only, so the two dates are read here: X.509 is a tree of tags and
//! lengths (DER), and the dates have a fixed place in it.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// The span a certificate is valid in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last.
    pub until: Timestamp,
}

impl Validity {
    /// Reads it from a certificate in DER; `None` if it is not where RFC 5280, section 4.1, has it.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (SEQUENCE, certificate, _) = element(certificate)? else { return None };
        let (SEQUENCE, mut fields, _) = element(certificate)? else { return None };
        // The version is there from X.509 v2 on; then serial number, algorithm and issuer.
        if let (VERSION, _, rest) = element(fields)? {
            fields = rest;
        }
        for _ in 0..3 {
            (_, _, fields) = element(fields)?;
        }
        let (SEQUENCE, dates, _) = element(fields)? else { return None };
        let (tag, from, dates) = element(dates)?;
        let from = time(tag, from)?;
        let (tag, until, _) = element(dates)?;
        Some(Self { from, until: time(tag, until)? })
    }

    /// What a person should know of it at `now`.
    pub(super) fn concern(&self, now: Timestamp) -> Option<String> {
        let day = |time: Timestamp| time.to_zoned(TimeZone::UTC).date();
        let days = |span: SignedDuration| span.as_hours() / 24;
        let left = self.until.duration_since(now);
        if left.is_negative() {
            let (day, ago) = (day(self.until), days(-left));
            return Some(format!("expired on {day}, {ago} days ago: clients refuse it; renew it"));
        }
        if self.from > now {
            let day = day(self.from);
            return Some(format!("is not valid before {day}: is this machine's clock right?"));
        }
        (left < SOON)
            .then(|| format!("expires on {}, in {} days: renew it", day(self.until), days(left)))
    }
}

/// The first element of some DER: tag, content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        // Four bytes of length are more than a file may hold.
        let known = (1..=4).contains(&length.len()).then_some(length)?;
        (known.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, where 50 is 1950, or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        UTC_TIME if text.get(..1)? < "5" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    time.to_zoned(TimeZone::UTC).ok().map(|time| time.timestamp())
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// Let's Encrypt renews 30 days before the end: at 14 something does not work.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);
