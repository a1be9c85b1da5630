//! What the decoder makes of bytes where samples come without frames.

use super::LogLine;
use super::frame::{Frame, Judged};
use super::judge::{self, INFO, Line, SETUP, is_log_begin, is_message};

/// Judges bytes, at least one: samples, unless a line that cannot well be samples begins with them.
pub(super) fn judge(held: &[u8], scanned: usize, quiet: bool) -> Judged {
    let samples = samples_before_line(held, quiet);
    if samples > 0 {
        return raw(held, samples);
    }
    if !held.starts_with(INFO) {
        return Judged::Wait(0);
    }
    match held.get(INFO.len()) {
        Some(b'{') => judge_json(held, scanned, quiet),
        Some(b'[') => judge_log(held, scanned, quiet),
        None if !quiet => Judged::Wait(0),
        _ => judge_setup(held, quiet),
    }
}

fn judge_json(held: &[u8], scanned: usize, quiet: bool) -> Judged {
    if held.get(INFO.len() + 1).is_some_and(|byte| *byte != b'"') {
        return raw(held, INFO.len());
    }
    match judge::line(held, scanned, judge::line_limit(held)) {
        Line::Whole(text, bytes) if is_message(&text) => Judged::Frame(Frame::Json(text), bytes),
        Line::Open if !quiet => Judged::Wait(held.len()),
        _ => raw(held, INFO.len()),
    }
}

fn judge_log(held: &[u8], scanned: usize, quiet: bool) -> Judged {
    match is_log_begin(held) {
        Some(true) => {}
        None if !quiet => return Judged::Wait(0),
        _ => return raw(held, INFO.len()),
    }
    let Some((end, bytes, cut)) = judge::log_end(held, scanned, quiet) else {
        return Judged::Wait(held.len());
    };
    let text = String::from_utf8_lossy(held.get(INFO.len()..end).unwrap_or_default());
    match LogLine::read(&text, cut) {
        Some(line) => Judged::Frame(Frame::Log(line), bytes),
        None => raw(held, INFO.len()),
    }
}

fn judge_setup(held: &[u8], quiet: bool) -> Judged {
    let line = format!("Info:{SETUP}\r\n");
    if held.starts_with(line.as_bytes()) {
        return Judged::Frame(Frame::Text(SETUP.to_owned()), line.len());
    }
    match line.as_bytes().starts_with(held) && !quiet {
        true => Judged::Wait(0),
        false => raw(held, INFO.len()),
    }
}

fn raw(held: &[u8], bytes: usize) -> Judged {
    let bytes = bytes.min(held.len());
    Judged::Frame(Frame::Raw(held[..bytes].to_vec()), bytes)
}

/// How many bytes stand before `Info:`, or the half of it at the end.
fn samples_before_line(held: &[u8], quiet: bool) -> usize {
    let is_info = |place: &usize| held[*place..].starts_with(INFO);
    if let Some(place) = judge::prefixes(held).find(is_info) {
        return place;
    }
    let half = (1..INFO.len()).rev().find(|half| held.ends_with(&INFO[..*half]));
    held.len() - half.filter(|_| !quiet).unwrap_or(0)
}
