//! HTTP requests on a meter's link: the head of text format 3, and of the formats that are only
//! answered (10, 13 and 14).
//!
//! Just enough HTTP to find where a request ends. A byte FE or FF, which no UTF-8 text contains,
//! ends it at once, so a request never hides a binary packet.

use super::Frame;
use super::ascii::TEXT_LIMIT;
use super::judge::Judged;
use super::text::TextReading;

/// An HTTP request that is none of the formats read here. Answer it with `HTTP/1.1 200 OK`, length
/// 0, or the meter resets its WiFi module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `PUT` or `POST`.
    pub method: String,
    /// The request target, its first 256 characters.
    pub target: String,
    /// Bytes of the body that were passed over.
    pub body: usize,
}

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) content: Content,
    /// Bytes that follow the head, at most [`BODY_LIMIT`].
    pub(super) body: usize,
}

/// What a request is about.
#[derive(Debug)]
pub(super) enum Content {
    Reading(Box<TextReading>),
    Other(HttpRequest),
}

/// A request whose head has been taken and whose body is coming.
#[derive(Debug)]
pub(super) struct Request {
    content: Content,
    taken: usize,
    left: usize,
}

impl Request {
    pub(super) fn new(head: Head) -> Self {
        Self { content: head.content, taken: 0, left: head.body }
    }

    /// How many of the `held` bytes belong to the body; these count as taken. Fewer than its length
    /// and than are held when a packet begins in it.
    pub(super) fn take_body(&mut self, held: &[u8]) -> usize {
        let begun = &held[..held.len().min(self.left)];
        let end = begun.iter().position(|byte| *byte >= 0xFE);
        let taken = end.unwrap_or(begun.len());
        self.taken += taken;
        self.left -= taken;
        taken
    }

    /// Whether all of the body has come.
    pub(super) const fn is_whole(&self) -> bool {
        self.left == 0
    }

    pub(super) fn into_frame(self) -> Frame {
        match self.content {
            Content::Reading(reading) => Frame::Text(reading),
            Content::Other(mut request) => {
                request.body = self.taken;
                Frame::Http(Box::new(request))
            }
        }
    }
}

/// Judges bytes that begin with the first letter of a method.
pub(super) fn judge(held: &[u8]) -> Judged<Head> {
    match begins(held) {
        None => return Judged::Wait,
        Some(false) => return Judged::Junk,
        Some(true) => {}
    }
    let window = &held[..held.len().min(TEXT_LIMIT)];
    let text_end = window.iter().position(|byte| !may_be_in_head(*byte));
    let text = &window[..text_end.unwrap_or(window.len())];

    let mut length = 0;
    let mut content = None;
    let mut body = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let Some(line_text) = line.strip_suffix(b"\n") else {
            break;
        };
        length += line.len();
        let line_text = line_text.trim_ascii_end();
        match content.take() {
            None => match request_line(line_text) {
                Some(read) => content = Some(read),
                None => return Judged::Broken(length),
            },
            Some(content) if line_text.is_empty() => {
                return Judged::Whole(Head { content, body }, length);
            }
            Some(read) => {
                content = Some(read);
                body = content_length(line_text).unwrap_or(body);
            }
        }
    }
    if text_end.is_some() || window.len() == TEXT_LIMIT {
        return Judged::Broken(text.len());
    }
    Judged::Wait
}

/// Whether bytes begin with a method and a space; `None` when there are too few to tell.
fn begins(held: &[u8]) -> Option<bool> {
    if METHODS.iter().any(|method| held.starts_with(method)) {
        return Some(true);
    }
    let may_become = METHODS.iter().any(|method| method.starts_with(held));
    if may_become { None } else { Some(false) }
}

/// Reads `<method> <target> HTTP/<version>`. The target is whatever stands between, blanks included:
/// meters do not encode theirs.
fn request_line(line: &[u8]) -> Option<Content> {
    let line = String::from_utf8_lossy(line);
    let (method, rest) = line.split_once(' ')?;
    let (target, version) = rest.rsplit_once(' ')?;
    if !version.starts_with("HTTP/") {
        return None;
    }
    Some(match TextReading::from_target(target) {
        Some(reading) => Content::Reading(Box::new(reading)),
        None => Content::Other(HttpRequest {
            method: method.to_owned(),
            target: target.chars().take(TARGET_LIMIT).collect(),
            body: 0,
        }),
    })
}

/// The value of a `Content-Length` line.
fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
    if !name.trim().eq_ignore_ascii_case("content-length") {
        return None;
    }
    let length: usize = value.trim().parse().ok()?;
    Some(length.min(BODY_LIMIT))
}

const fn may_be_in_head(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\r' | b'\n' | 0x20..=0x7E | 0x80..=0xFD)
}

const METHODS: [&[u8]; 3] = [b"GET ", b"PUT ", b"POST "];
/// The longest body that is taken for one, in bytes; a meter's are below 4,000.
const BODY_LIMIT: usize = 64 * 1024;
/// Characters of a target that are kept for the log.
const TARGET_LIMIT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_empty_line() {
        let request =
            b"PUT /v2/feeds/1 HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 12 \r\n\r\nE1,36942\r\n";
        let Judged::Whole(head, length) = judge(request) else {
            panic!("the head is whole");
        };
        assert_eq!((head.body, &request[length..]), (12, &b"E1,36942\r\n"[..]));
        let Content::Other(other) = head.content else {
            panic!("it has no serial number");
        };
        assert_eq!((other.method.as_str(), other.target.as_str()), ("PUT", "/v2/feeds/1"));
        for end in 0..length {
            let judged = judge(&request[..end]);
            assert!(matches!(judged, Judged::Wait) || end == 0, "{end} bytes");
        }
    }

    #[test]
    fn what_is_no_request_is_told_early() {
        assert!(matches!(judge(b"GEM"), Judged::Junk));
        assert!(matches!(judge(b"PATCH / HTTP/1.1\r\n\r\n"), Judged::Junk));
        assert!(matches!(judge(b"GET it\r\n"), Judged::Broken(8)));
        assert!(matches!(judge(b"GET /a HTTP/1.1\r\nHost: \xFE\xFF"), Judged::Broken(23)));
        assert!(matches!(
            judge(&[b"GET ".as_slice(), &[b'a'; 5000]].concat()),
            Judged::Broken(TEXT_LIMIT)
        ));
    }

    #[test]
    fn a_body_has_a_bound() {
        assert_eq!(content_length(b"Content-Length: 99999999"), Some(BODY_LIMIT));
        assert_eq!(content_length(b"Content-Length: -1"), None);
        assert_eq!(content_length(b"Content-Type: 7"), None);
    }

    #[test]
    fn a_packet_ends_a_body() {
        let Judged::Whole(head, _) = judge(b"POST / HTTP/1.1\nContent-Length: 9\n\n") else {
            panic!("the head is whole");
        };
        let mut request = Request::new(head);
        assert_eq!(request.take_body(b"E1"), 2);
        assert_eq!(request.take_body(b",5\xFE\xFF\x05"), 2);
        assert!(!request.is_whole());
        assert_eq!(request.take_body(b"\xFE\xFF\x05"), 0);
        let Frame::Http(request) = request.into_frame() else {
            panic!("it has no serial number");
        };
        assert_eq!(request.body, 4);
    }
}
