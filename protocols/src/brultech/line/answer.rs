//! Reading a GEM's answer from the text between packets.
//!
//! A GEM does not say what it answers, so each command knows the shape of its own answer, and what
//! has another shape is passed over: keep-alive text, noise, half lines. A line that other bytes
//! have torn may still acknowledge; no value is taken from it.

use super::parse;
use super::{ExchangeError, Reply};
use crate::brultech::settings::{nibbles, seconds};
use crate::brultech::{ChannelOptions, GemCommand, GemSettings, TemperatureUnit};

type Outcome = Result<Reply, ExchangeError>;

/// What has come so far of the answer to one command.
pub(super) struct Answer {
    command: GemCommand,
    /// The line that is coming.
    line: String,
    /// Something other than text was in it.
    torn: bool,
    /// What followed the head of an answer of several lines.
    body: Option<String>,
    /// The last line that was of no use, if it may be shown.
    heard: Option<String>,
}

impl Answer {
    pub(super) const fn new(command: GemCommand) -> Self {
        Self { command, line: String::new(), torn: false, body: None, heard: None }
    }

    pub(super) const fn command(&self) -> &GemCommand {
        &self.command
    }

    /// Takes text in; the outcome as soon as there is one, and then what follows is ignored.
    pub(super) fn take(&mut self, bytes: &[u8], keep_alive: &str) -> Option<Outcome> {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    if let Some(outcome) = self.end_line(keep_alive) {
                        return Some(outcome);
                    }
                }
                b' '..=b'~' if self.line.len() < LINE_LIMIT => {
                    self.line.push(char::from(*byte));
                    if let Some(outcome) = self.letter(keep_alive) {
                        return Some(outcome);
                    }
                }
                _ => {
                    self.line.clear();
                    self.torn = true;
                }
            }
        }
        None
    }

    /// Why nothing came of it, once its time is up.
    pub(super) fn failure(self, waited: std::time::Duration) -> ExchangeError {
        match self.heard {
            _ if self.body.is_some() => ExchangeError::Damaged,
            Some(heard) => ExchangeError::Unexpected { heard },
            None => ExchangeError::Silent { waited },
        }
    }

    fn end_line(&mut self, keep_alive: &str) -> Option<Outcome> {
        let line = std::mem::take(&mut self.line);
        let torn = std::mem::take(&mut self.torn);
        let line = without_keep_alive(&line, keep_alive).trim();
        if line.is_empty() {
            return None;
        }
        // A poll is answered by a packet; text is some other command's.
        if line == "ER" && self.command != GemCommand::Poll {
            return Some(Err(ExchangeError::Refused));
        }
        let outcome = match self.acknowledged(line) {
            Some(acknowledged) => acknowledged.then_some(Ok(Reply::Done)),
            None if torn && self.body.is_some() => Some(Err(ExchangeError::Damaged)),
            None if torn && !self.opens(line) => None,
            None => self.read(line),
        };
        if outcome.is_none() {
            self.heard = shown(line).or(self.heard.take());
        }
        outcome
    }

    /// Whether a line acknowledges the command; `None` when the command asks for more than that.
    fn acknowledged(&self, line: &str) -> Option<bool> {
        let words: &[&str] = match &self.command {
            GemCommand::SetRealTime(true) => &["_ON"],
            GemCommand::SetRealTime(false) => &["OFF"],
            GemCommand::SetPacketFormat(_) => &["PKT"],
            // Programs have been written that expect the first port's word here.
            GemCommand::SetSecondaryFormat(_) => &["PKF", "PKT"],
            GemCommand::SetInterval(_) => &["IVL"],
            GemCommand::SetTime(_) => &["DTM"],
            GemCommand::SetPtType(_) => &["TPT"],
            GemCommand::SetPtRange(_) => &["VRG"],
            GemCommand::SetKeepAliveInterval(_)
            | GemCommand::SetCtTypes(_)
            | GemCommand::SetCtRanges(_)
            | GemCommand::SetPhases(_) => &["OK"],
            GemCommand::SetChunkSize(_) => &["PKS"],
            GemCommand::SetChunkPause(_) => &["PKI"],
            GemCommand::SetBuffer(_) => &["BFF"],
            GemCommand::SetLineFrequency(_) => &["HZ"],
            GemCommand::ResetAll
            | GemCommand::ResetSeconds
            | GemCommand::ResetChannel(_)
            | GemCommand::ResetPulses
            | GemCommand::ResetPulse(_)
            | GemCommand::ResetWattHours => {
                return Some(line.contains("RST") || line.contains("RSP"));
            }
            command if is_undocumented(command) => return Some(true),
            _ => return None,
        };
        Some(words.iter().any(|word| line.ends_with(word)))
    }

    /// Whether a line is the head of an answer of several lines.
    fn opens(&self, line: &str) -> bool {
        match self.command {
            GemCommand::Settings => line.ends_with("ALL"),
            GemCommand::Values => line.ends_with("VAL"),
            _ => false,
        }
    }

    /// Reads a whole line of text.
    fn read(&mut self, line: &str) -> Option<Outcome> {
        if self.body.is_none() && self.opens(line) {
            self.body = Some(String::new());
            return None;
        }
        if let Some(body) = &mut self.body {
            return match self.command {
                GemCommand::Settings => settings(line),
                _ => values(body, line),
            };
        }
        let reply = match self.command {
            GemCommand::Serial => parse::digits(line, 8).then(|| Reply::Serial(line.to_owned())),
            GemCommand::Time => parse::time(line).map(Reply::Time),
            GemCommand::RealTime => parse::on_off(line).map(Reply::RealTime),
            GemCommand::Interval => parse::hex(line).map(|byte| Reply::Interval(seconds(byte))),
            GemCommand::PacketFormat => parse::hex(line).map(Reply::PacketFormat),
            GemCommand::CtTypes => parse::hex_list::<48>(line).map(|l| Reply::CtTypes(l.to_vec())),
            GemCommand::CtRanges => {
                parse::hex_list(line).map(|list| Reply::CtRanges(nibbles(&list).to_vec()))
            }
            GemCommand::ChannelOptions => parse::hex_list::<48>(line)
                .map(|list| Reply::ChannelOptions(list.map(ChannelOptions).to_vec())),
            GemCommand::Ct(_) => {
                parse::hex_list(line).map(|[kind, range]| Reply::Ct { kind, range })
            }
            GemCommand::Firmware(_) => {
                parse::version(line).then(|| Reply::Firmware(line.to_owned()))
            }
            GemCommand::Volts => parse::volts(line).map(Reply::Volts),
            GemCommand::Seconds => parse::seconds(line).map(Reply::Seconds),
            GemCommand::Watts(_) => parse::numbers(line, 1).map(Reply::Watts),
            GemCommand::WattsOf(channels) => {
                parse::numbers(line, channels.count().into()).map(Reply::Watts)
            }
            GemCommand::WattSeconds(_) => parse::counters(line, 1).map(Reply::WattSeconds),
            GemCommand::WattSecondsOf(channels) => {
                parse::counters(line, channels.count().into()).map(Reply::WattSeconds)
            }
            // With a line end after all, behind what could have been a keep-alive text.
            GemCommand::SetTemperatureUnit(_) => match line {
                "C" => Some(Reply::TemperatureUnit(TemperatureUnit::Celsius)),
                "F" => Some(Reply::TemperatureUnit(TemperatureUnit::Fahrenheit)),
                _ => None,
            },
            _ => None,
        };
        reply.map(Ok)
    }

    /// The one answer that has no line end, and is over with its first letter.
    fn letter(&self, keep_alive: &str) -> Option<Outcome> {
        if self.torn || !matches!(self.command, GemCommand::SetTemperatureUnit(_)) {
            return None;
        }
        let line = without_keep_alive(&self.line, keep_alive);
        let unit = match line {
            // It may as well be the beginning of a keep-alive text.
            _ if keep_alive.starts_with(line) => return None,
            "C" => TemperatureUnit::Celsius,
            "F" => TemperatureUnit::Fahrenheit,
            _ => return None,
        };
        Some(Ok(Reply::TemperatureUnit(unit)))
    }
}

impl std::fmt::Debug for Answer {
    /// Without the text, which may be a list of settings with a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("command", &self.command).finish_non_exhaustive()
    }
}

/// Whether the vendor does not say how the command is answered.
pub(super) const fn is_undocumented(command: &GemCommand) -> bool {
    matches!(
        command,
        GemCommand::SetCtType(..)
            | GemCommand::SetCtRange(..)
            | GemCommand::SetPhase(..)
            | GemCommand::SetCompensation(..)
            | GemCommand::SetPolarity(..)
            | GemCommand::TogglePolarity(_)
            | GemCommand::SetCtTypeOfAll(_)
            | GemCommand::SetCtRangeOfAll(_)
            | GemCommand::SetPhaseOfAll(_)
            | GemCommand::SetPolarityOfAll(_)
            | GemCommand::SetKeepAliveText(_)
            | GemCommand::SetMaxChannels(_)
            | GemCommand::SetTemperatureInput(..)
            | GemCommand::SetPulseInput(..)
    )
}

/// Keep-alive text has no line end of its own, so it may stand before an answer.
fn without_keep_alive<'a>(mut line: &'a str, keep_alive: &str) -> &'a str {
    if keep_alive.is_empty() {
        return line;
    }
    while let Some(rest) = line.strip_prefix(keep_alive) {
        line = rest;
    }
    line
}

fn settings(line: &str) -> Option<Outcome> {
    let values = parse::hex_values(line)?;
    let settings = GemSettings::decode(&values).filter(|_| values.len() <= SETTINGS_LIMIT);
    Some(settings.map_or(Err(ExchangeError::Damaged), |s| Ok(Reply::Settings(Box::new(s)))))
}

/// Adds a line to the values gathered; the outcome with the last one.
fn values(body: &mut String, line: &str) -> Option<Outcome> {
    if body.len() + line.len() > LINE_LIMIT {
        return Some(Err(ExchangeError::Damaged));
    }
    match line.strip_suffix("END") {
        Some(last) => {
            body.push_str(last);
            let values = parse::values(body);
            Some(values.map_or(Err(ExchangeError::Damaged), |v| Ok(Reply::Values(Box::new(v)))))
        }
        None => {
            body.push_str(line);
            // A list that goes on behind a line end may have its comma before it, or not.
            if !line.ends_with(',') {
                body.push(',');
            }
            None
        }
    }
}

/// What may be told of a line that was no answer. A list of settings has a password in it, and a
/// part of one is letters from A to F and digits.
fn shown(line: &str) -> Option<String> {
    let is_word = line.len() <= SHOWN_LIMIT
        && line.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && line.bytes().any(|byte| !byte.is_ascii_hexdigit());
    is_word.then(|| format!("{line:?}"))
}

/// The longest line that is gathered: a list of 512 settings has 1,535 characters.
const LINE_LIMIT: usize = 8192;
/// The most settings that a list is taken to have.
const SETTINGS_LIMIT: usize = 1024;
/// The longest word that is shown.
const SHOWN_LIMIT: usize = 16;
