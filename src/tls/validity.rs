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

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(from: i32, until: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["x".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 2, 3);
        params.not_after = date_time_ymd(until, 4, 5);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn both_forms_of_a_date_are_read() {
        // From 2050 on the form is another one, and 50 to 99 are of the century before.
        for (from, until) in [(2020, 2031), (2049, 2050), (1975, 4096)] {
            let validity = Validity::of(&certificate(from, until)).unwrap();
            assert_eq!(validity.from, at(&format!("{from}-02-03T00:00:00Z")));
            assert_eq!(validity.until, at(&format!("{until}-04-05T00:00:00Z")));
        }
    }

    #[test]
    fn a_certificate_cut_anywhere_or_changed_anywhere_is_no_trouble() {
        let whole = certificate(2020, 2031);
        for end in 0..whole.len().min(200) {
            assert_eq!(Validity::of(&whole[..end]), None);
        }
        for place in 0..whole.len() {
            for value in [0, 0x7F, 0x80, 0x84, 0xFF] {
                let mut changed = whole.clone();
                changed[place] = value;
                let _ = Validity::of(&changed);
            }
        }
    }

    #[test]
    fn what_a_person_should_know() {
        let validity = Validity::of(&certificate(2020, 2031)).unwrap();
        assert_eq!(validity.concern(at("2025-01-01T00:00:00Z")), None);
        for (now, words) in [
            ("2020-02-02T00:00:00Z", "is not valid before 2020-02-03"),
            ("2031-03-30T00:00:00Z", "expires on 2031-04-05, in 6 days"),
            ("2031-05-05T00:00:00Z", "expired on 2031-04-05, 30 days ago"),
        ] {
            let told = validity.concern(at(now)).unwrap();
            assert!(told.starts_with(words), "{told}");
        }
    }
}
