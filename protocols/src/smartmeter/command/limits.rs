//! Limits of arguments: what a meter would cut off, refuse or be confused by.

use super::CommandError;

pub(super) fn check_name(name: &str) -> Result<(), CommandError> {
    let refused = |reason| Err(CommandError::Name(name.to_owned(), reason));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || !name.bytes().all(is_letter) {
        return refused("it has to be of letters, digits, - and _");
    }
    if name.len() > NAME_BYTES {
        return refused("it is longer than the 19 bytes that a meter keeps");
    }
    if ["state", "cmd", "sample", "switch", "switchTS"].contains(&name) {
        return refused("its topics would be those of every meter");
    }
    Ok(())
}

/// A text with a length that the meter keeps, without control characters.
pub(super) fn check_text(
    what: &str,
    text: &str,
    least: usize,
    limit: usize,
) -> Result<(), CommandError> {
    if text.len() < least {
        return Err(CommandError::Invalid(format!("{what} is empty")));
    }
    if text.len() > limit {
        return Err(CommandError::TooLong { what: what.to_owned(), length: text.len(), limit });
    }
    match text.chars().any(char::is_control) {
        true => Err(CommandError::Invalid(format!("{what} has a control character"))),
        false => Ok(()),
    }
}

pub(super) fn check_server(server: &str, limit: usize) -> Result<(), CommandError> {
    let what = format!("the address {server:?}");
    check_text(&what, server, 1, limit)?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    match server.bytes().all(is_letter) {
        true => Ok(()),
        false => Err(CommandError::Invalid(format!("{what} is no address of a host"))),
    }
}

pub(super) fn check_factor(key: &'static str, factor: f64) -> Result<(), CommandError> {
    match (0.5..=2.0).contains(&factor.abs()) {
        true => Ok(()),
        false => Err(CommandError::Wrong {
            command: "calibration".into(),
            key,
            value: factor.to_string(),
            wanted: "0.5 to 2.0, either way round".into(),
        }),
    }
}

/// The longest name (protocol note, section 2.5: the store holds 20 bytes with its end).
const NAME_BYTES: usize = 19;
/// The longest name or password of a network: each less than 20.
pub(super) const WIFI_BYTES: usize = 19;
/// The longest address of a broker or stream server.
pub(super) const SERVER_BYTES: usize = 16;
/// The longest address of a time server.
pub(super) const TIME_SERVER_BYTES: usize = 24;
/// The longest user or password for a broker: what the line has room for.
pub(super) const USER_BYTES: usize = 64;
