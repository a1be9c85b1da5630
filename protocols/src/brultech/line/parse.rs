//! The values in a GEM's lines of text. A line that has anything else in it is not read at all.

use super::GemValues;
use crate::brultech::DeviceTime;

/// Whether a line is nothing but one to `most` digits.
pub(super) fn digits(line: &str, most: usize) -> bool {
    (1..=most).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads `yy-mm-dd hh:mm:ss`; the inner `None` is a clock that was never set.
pub(super) fn time(line: &str) -> Option<Option<DeviceTime>> {
    let (date, time) = line.split_once(' ')?;
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    Some(DeviceTime::from_wire([year, month, day, hour, minute, second]))
}

/// Three numbers of one or two digits.
fn three(text: &str, between: char) -> Option<[u8; 3]> {
    let mut parts =
        text.split(between).map(|part| if digits(part, 2) { part.parse().ok() } else { None });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Reads the state of real-time mode.
pub(super) fn on_off(line: &str) -> Option<bool> {
    match line {
        "ON" | "_ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    }
}

/// Reads one byte in hexadecimal.
pub(super) fn hex(text: &str) -> Option<u8> {
    let fits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

/// Reads exactly `N` bytes in hexadecimal.
pub(super) fn hex_list<const N: usize>(line: &str) -> Option<[u8; N]> {
    hex_values(line)?.try_into().ok()
}

/// Reads bytes in hexadecimal, with commas or spaces between them or nothing at all. Each has two
/// digits: with one a list would still seem whole that lost its first when something tore it.
pub(in crate::brultech) fn hex_values(line: &str) -> Option<Vec<u8>> {
    if line.contains([',', ' ']) {
        let values = line.trim_end_matches(',').split([',', ' ']);
        return values.map(|part| hex(part).filter(|_| part.len() == 2)).collect();
    }
    let (pairs, rest) = line.as_bytes().as_chunks::<2>();
    let pair = |pair: &[u8; 2]| hex(std::str::from_utf8(pair).ok()?);
    if rest.is_empty() { pairs.iter().map(pair).collect() } else { None }
}

/// Whether a line can be a version: it is short, and has a digit.
pub(super) fn version(line: &str) -> bool {
    line.len() <= 40 && line.bytes().any(|byte| byte.is_ascii_digit())
}

/// Reads volts, which come in tenths; with a point they are volts already.
pub(super) fn volts(line: &str) -> Option<f64> {
    let volts = number(line).filter(|volts| *volts >= 0.0)?;
    Some(if line.contains('.') { volts } else { volts / 10.0 })
}

/// Reads the seconds counter.
pub(super) fn seconds(line: &str) -> Option<u32> {
    if digits(line, 8) { line.parse().ok().filter(|seconds| *seconds < 1 << 24) } else { None }
}

/// Reads the first `count` numbers; `None` when there are fewer.
pub(super) fn numbers(line: &str, count: usize) -> Option<Vec<f64>> {
    first(items(line).map(number).collect(), count)
}

/// Reads the first `count` counters; `None` when there are fewer.
pub(super) fn counters(line: &str, count: usize) -> Option<Vec<u64>> {
    let counter = |item: &str| if digits(item, 13) { item.parse().ok() } else { None };
    first(items(line).map(counter).collect(), count)
}

fn first<T>(list: Option<Vec<T>>, count: usize) -> Option<Vec<T>> {
    let mut list = list.filter(|list| list.len() >= count)?;
    list.truncate(count);
    Some(list)
}

/// Reads the list of everything, with keys (`c1=60,…,t1=21.0,…`) or without: watts of 48 channels,
/// 8 temperatures, 4 pulse counters. `None` when there is nothing in it or something unreadable.
pub(super) fn values(list: &str) -> Option<GemValues> {
    let mut values = GemValues::default();
    let mut read = 0;
    for (index, item) in items(list).enumerate() {
        let (kind, index, text) = match item.split_once('=') {
            Some((key, text)) => {
                let (kind, number) =
                    key.split_at(key.find(|c: char| c.is_ascii_digit()).unwrap_or(key.len()));
                (kind, number.parse().unwrap_or(1_usize).wrapping_sub(1), text)
            }
            None => match index {
                ..48 => ("c", index, item),
                48..56 => ("t", index - 48, item),
                56..60 => ("p", index - 56, item),
                _ => ("", 0, item),
            },
        };
        let value = if matches!(text, "" | "x") { None } else { Some(number(text)?) };
        match kind.to_ascii_lowercase().as_str() {
            "c" | "p_" | "w" => put(&mut values.watts, 48, index, value)?,
            // Beyond 255 degrees a GEM means that there is no sensor.
            "t" => put(&mut values.temperatures, 8, index, value.filter(|t| t.abs() <= 255.0))?,
            "p" | "pl" => {
                let whole = value.filter(|v| *v >= 0.0 && *v < f64::from(1 << 24));
                put(&mut values.pulses, 4, index, whole.map(|v| v as u32))?;
            }
            "v" => values.volts = value.map(|v| if text.contains('.') { v } else { v / 10.0 }),
            _ => continue,
        }
        read += 1;
    }
    (read > 0).then_some(values)
}

/// Puts a value in its place, with room for all before it; `None` beyond what a GEM has.
fn put<T: Clone>(
    list: &mut Vec<Option<T>>,
    most: usize,
    index: usize,
    value: Option<T>,
) -> Option<()> {
    if index >= most {
        return None;
    }
    if index >= list.len() {
        list.resize(index + 1, None);
    }
    *list.get_mut(index)? = value;
    Some(())
}

/// What stands between commas; one at the end is none.
fn items(line: &str) -> impl Iterator<Item = &str> {
    line.trim_end_matches(',').split(',').map(str::trim)
}

/// Reads a number: digits, a sign, a point, also a leading one (`.28`).
fn number(text: &str) -> Option<f64> {
    let plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    // The length keeps it finite.
    let fits = (1..=20).contains(&text.len()) && text.bytes().all(plain);
    fits.then(|| text.parse().ok()).flatten()
}
