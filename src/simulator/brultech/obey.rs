//! What a GEM does and answers when it is told something.
//!
//! Where the vendor's paper names no answer, a setting of a channel, an input or a text is
//! answered with `OK`, unless the meter is made terse.

use std::time::Duration;

use tokio::time::Instant;

use super::command::GemCommand;
use super::counts::CHANNELS;
use super::reading::device_time;
use super::settings::{FAHRENHEIT, TOGGLED, place};
use super::{Gem, Kind, Reply, State};

type Outcome = Option<Reply>;

impl State {
    /// Does what a command says, and gives what a GEM answers. `None`: it makes nothing of it.
    pub(in crate::simulator) fn obey(&mut self, command: &GemCommand, now: Instant) -> Outcome {
        self.counts.update();
        let arguments: Vec<&str> = command.arguments.iter().map(String::as_str).collect();
        match command.name.get(..3)? {
            "SYS" => self.obey_system(command.name, &arguments, now),
            "RQS" => self.answer_request(command.name, &arguments),
            "API" => self.answer_api(command.name, &arguments),
            "TMP" | "PLS" => self.obey_input(command.name, &arguments),
            _ => self.obey_channel(command.name, &arguments),
        }
    }

    fn obey_system(&mut self, name: &str, arguments: &[&str], now: Instant) -> Outcome {
        if let Some(reset) = name.strip_prefix("SYSRS") {
            self.reset(reset, arguments)?;
            return line(name.get(3..)?.trim_end_matches('x'));
        }
        match name {
            "SYS_ON" => self.real_time = true,
            "SYSOFF" => self.real_time = false,
            _ => return self.obey_setting(name, arguments, now),
        }
        line(name.get(3..)?)
    }

    fn reset(&mut self, what: &str, arguments: &[&str]) -> Option<()> {
        let counts = &mut self.counts;
        match what {
            "TA" => {
                counts.reset_energy();
                counts.set_seconds(0);
                (0..4).for_each(|input| counts.set_pulses(input, 0));
                self.reset_watt_hours()?;
            }
            "TS" => counts.set_seconds(0),
            "TCxx" => counts.reset_channel(channel(arguments)?),
            "TP" => (0..4).for_each(|input| counts.set_pulses(input, 0)),
            "P" => counts.set_pulses(one_of(arguments, 1, 4)? - 1, 0),
            "TH" => self.reset_watt_hours()?,
            _ => return None,
        }
        Some(())
    }

    fn reset_watt_hours(&mut self) -> Option<()> {
        let since = std::array::from_fn(|channel| self.counts.absolute(channel));
        let clock = self.counts.clock();
        self.gem()?.watt_hours_since = (since, clock);
        Some(())
    }

    fn obey_setting(&mut self, name: &str, arguments: &[&str], now: Instant) -> Outcome {
        let clock = self.counts.clock();
        let argument = *arguments.first().unwrap_or(&"");
        let number: Option<u16> = argument.parse().ok();
        if name == "SYSIVL" {
            let Some(seconds @ 1..=256) = number else { return line("ER") };
            self.interval = Duration::from_secs(seconds.into());
        }
        let gem = self.gem()?;
        let list = &mut gem.settings.0;
        match (name, number) {
            ("SYSPDL", _) => {
                gem.held_until = Some(now + HOLD);
                return Some(Reply::default());
            }
            ("SYSPKT", Some(format @ (1..=5 | 7..=9 | 12))) => list[place::FORMAT] = format as u8,
            ("SYSPKF", Some(format @ (0..=2 | 4 | 5 | 7..=9 | 12))) => {
                list[place::SECONDARY_FORMAT] = format as u8;
            }
            // 256 does not fit into its byte, and reads back as 0.
            ("SYSIVL", Some(seconds)) => list[place::INTERVAL] = seconds as u8,
            ("SYSTPT", Some(kind @ 1..=255)) => list[place::PT_TYPE] = kind as u8,
            ("SYSVRG", Some(range)) => list[place::PT_RANGE] = range as u8,
            ("SYSHZ", Some(fifty @ 0..=1)) => gem.mains_50_hz = fifty == 1,
            ("SYSPKS", Some(size @ 80..=65_000)) => gem.settings.set_wide(place::CHUNK_SIZE, size),
            ("SYSPKI", Some(pause @ 16..=65_000)) => {
                gem.settings.set_wide(place::CHUNK_PAUSE, pause)
            }
            ("SYSBFF", Some(bytes @ 10..=1700)) => gem.buffer = bytes,
            ("SYSDTM", _) => match read_time(argument) {
                Some(time) => gem.clock_offset = time - clock,
                None => return line("ER"),
            },
            ("SYSKAI", Some(power @ 0..=7)) => {
                gem.keep_alive = power as u8;
                return line("OK");
            }
            ("SYSKAS", _) if (1..=8).contains(&argument.len()) => {
                gem.keep_alive_text = argument.to_owned();
                return gem.undocumented();
            }
            ("SYSCMX", Some(channels @ 1..=48)) => {
                list[place::MAX_CHANNELS] = channels as u8;
                return gem.undocumented();
            }
            _ => return line("ER"),
        }
        line(name.get(3..)?)
    }

    fn answer_request(&mut self, name: &str, arguments: &[&str]) -> Outcome {
        let (serial, real_time, clock) = (self.serial(), self.real_time, self.counts.clock());
        let gem = self.gem()?;
        let list = &gem.settings;
        match name {
            "RQSSRN" => line(&serial),
            "RQSDTM" => {
                let [year, month, day, hour, minute, second] =
                    device_time(clock + gem.clock_offset);
                line(&format!("{year:02}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
            }
            "RQSALL" => {
                let values = if gem.short_list { 374 } else { 512 };
                line(&format!("ALL\r\n{}", list.list(0..values)))
            }
            "RQSRTL" => line(if real_time { "ON" } else { "OFF" }),
            "RQSITV" => line(&list.list(place::INTERVAL..place::INTERVAL + 1)),
            "RQSRTF" => line(&list.list(place::FORMAT..place::FORMAT + 1)),
            "RQSATP" => line(&list.list(place::CT_TYPE..place::CT_TYPE + 48)),
            "RQSARG" => line(&list.list(place::CT_RANGE..place::CT_RANGE + 24)),
            "RQSAOP" => line(&list.list(place::OPTIONS..place::OPTIONS + 48)),
            "RQSCxx" => {
                let channel = channel(arguments)?;
                let kind = list.0[place::CT_TYPE + channel];
                line(&format!("{kind:02X},{:02X}", list.ct_range(channel)))
            }
            "RQSVR1" => line("5.39"),
            "RQSVR2" => line("1.49"),
            "RQSVR3" => line("0.00"),
            _ => None,
        }
    }

    fn answer_api(&mut self, name: &str, arguments: &[&str]) -> Outcome {
        let watts = |channel: usize| format!("{:.0}", self.counts.watts(channel).abs());
        let energy = |channel: usize| self.counts.absolute(channel).to_string();
        let joined = |range: std::ops::Range<usize>, value: &dyn Fn(usize) -> String| {
            range.map(value).collect::<Vec<_>>().join(",")
        };
        match name {
            "APISPK" => Some(Reply { bytes: Vec::new(), packet: !self.real_time }),
            "APIVLT" => line(&self.counts.tenths_of_a_volt().to_string()),
            "APISEC" => line(&self.counts.seconds().to_string()),
            "APIWATxx" => line(&watts(channel(arguments)?)),
            "APIENRxx" => line(&energy(channel(arguments)?)),
            "APIWRG" => line(&joined(range(arguments)?, &watts)),
            "APIEGR" => line(&joined(range(arguments)?, &energy)),
            "APIVAL" => {
                let Kind::Gem(gem) = &self.kind else { return None };
                let degrees = |probe: usize| {
                    gem.degrees(&self.counts, probe).map_or("x".to_owned(), |d| format!("{d:.1}"))
                };
                let pulses = |input: usize| self.counts.pulses(input).to_string();
                line(&format!(
                    "VAL\r\n{},{},{}END",
                    joined(0..48, &watts),
                    joined(0..8, &degrees),
                    joined(0..4, &pulses)
                ))
            }
            _ => None,
        }
    }

    fn obey_input(&mut self, name: &str, arguments: &[&str]) -> Outcome {
        if name == "TMPDG" {
            let letter = *arguments.first()?;
            let flags = &mut self.gem()?.settings.0[place::FLAGS];
            match letter {
                "C" => *flags &= !FAHRENHEIT,
                "F" => *flags |= FAHRENHEIT,
                _ => return line("ER"),
            }
            // The one answer without a line end.
            return Some(Reply::bytes(letter));
        }
        let on = name.ends_with("EN");
        let (mask, inputs) = match name.get(..3)? {
            "TMP" => (place::TEMPERATURES_ENABLED, 8),
            _ => (place::PULSES_ENABLED, 4),
        };
        let Some(number) = one_of(arguments, 1, inputs) else { return line("ER") };
        if mask == place::PULSES_ENABLED {
            self.counts.count_pulses(number - 1, on);
        }
        let gem = self.gem()?;
        gem.settings.switch(mask, number - 1, on);
        gem.undocumented()
    }

    /// Settings of one channel, of all to the same (`CHE`), and of all to one value each (`CHG`).
    fn obey_channel(&mut self, name: &str, arguments: &[&str]) -> Outcome {
        let (which, what) = (name.get(..3)?, name.get(3..)?);
        let value = arguments.last().copied().unwrap_or_default();
        match which {
            "CHG" => {
                let values: Vec<&str> = value.split(',').collect();
                if values.len() != CHANNELS {
                    return line("ER");
                }
                let before = self.gem()?.settings.clone();
                for (channel, value) in values.into_iter().enumerate() {
                    if self.set_channel(channel, what, value).is_none() {
                        self.gem()?.settings = before;
                        return line("ER");
                    }
                }
                return line("OK");
            }
            "CHE" => {
                let all =
                    (0..CHANNELS).try_for_each(|channel| self.set_channel(channel, what, value));
                if all.is_none() {
                    return line("ER");
                }
            }
            _ => {
                let channel = channel(arguments);
                if channel.and_then(|channel| self.set_channel(channel, what, value)).is_none() {
                    return line("ER");
                }
            }
        }
        self.gem()?.undocumented()
    }

    fn set_channel(&mut self, channel: usize, what: &str, value: &str) -> Option<()> {
        let number: Option<u8> = value.parse().ok();
        let list = &mut self.gem()?.settings;
        let options = &mut list.0[place::OPTIONS + channel];
        match (what, number) {
            ("TYP", Some(1..)) => list.0[place::CT_TYPE + channel] = number?,
            ("RNG", Some(range @ 0..=9)) => list.set_ct_range(channel, range),
            ("PH", _) => {
                let phase = ["A", "B", "C"].iter().position(|phase| *phase == value)? as u8;
                *options = *options & !0b11 | phase;
            }
            ("PC", Some(compensation @ 0..=2)) => *options = *options & !0b1100 | compensation << 2,
            ("PL" | "POL", Some(toggled @ 0..=1)) => {
                *options = *options & !TOGGLED | if toggled == 1 { TOGGLED } else { 0 };
            }
            ("TOG", _) => *options ^= TOGGLED,
            _ => return None,
        }
        let turned = *self.gem()?.settings.0.get(place::OPTIONS + channel)? & TOGGLED != 0;
        self.counts.turn(channel, turned);
        Some(())
    }
}

impl Gem {
    /// The answer to a command for which the paper names none.
    fn undocumented(&self) -> Outcome {
        if self.terse { Some(Reply::default()) } else { line("OK") }
    }
}

fn line(text: &str) -> Outcome {
    Some(Reply::bytes(format!("{text}\r\n")))
}

/// The channel of two digits, from 0.
fn channel(arguments: &[&str]) -> Option<usize> {
    one_of(arguments, 1, CHANNELS).map(|number| number - 1)
}

fn one_of(arguments: &[&str], least: usize, most: usize) -> Option<usize> {
    let number: usize = arguments.first()?.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

/// `ssrr`: the first channel and the last.
fn range(arguments: &[&str]) -> Option<std::ops::Range<usize>> {
    let (first, last) = arguments.first()?.split_at_checked(2)?;
    Some(channel(&[first])?..one_of(&[last], 1, CHANNELS)?)
}

/// `yy,mm,dd,hh,mm,ss` in seconds since 1970, as UTC.
fn read_time(text: &str) -> Option<f64> {
    let numbers: Vec<i8> = text.split(',').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [year, month, day, hour, minute, second] = numbers[..] else { return None };
    let time =
        jiff::civil::DateTime::new(2000 + i16::from(year), month, day, hour, minute, second, 0);
    let time = time.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(time.timestamp().as_second() as f64)
}

/// How long `^^^SYSPDL` holds packets back.
const HOLD: Duration = Duration::from_secs(15);
