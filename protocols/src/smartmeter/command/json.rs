//! Commands as users send them: a name, and arguments in JSON.

use serde_json::{Map, Value};

use super::arguments::{Arguments, PASSED_OVER};
use super::make::{MqttServer, Switch};
use super::table::Entry;
use super::timed::TimedSwitch;
use super::{Command, CommandError};
use crate::smartmeter::{Conn, Kind, Layout, LogLevel, Measures, SampleRequest};

impl Command {
    /// The command of this name with these arguments, as a meter of this kind takes them: at the top, or
    /// within `payload` as the vendor has it. `cmd`, `id` and `confirm` are passed over.
    ///
    /// `reqSamples` is judged by the largest samples that the kind has; [`Command::from_json_during`]
    /// knows the stream.
    ///
    /// # Errors
    /// [`CommandError`], in words that its sender can act on.
    pub fn from_json(
        name: &str,
        arguments: &Map<String, Value>,
        kind: Kind,
    ) -> Result<Self, CommandError> {
        Self::from_json_during(name, arguments, kind, None)
    }

    /// The same while the meter samples this layout.
    ///
    /// # Errors
    /// As [`Command::from_json`].
    pub fn from_json_during(
        name: &str,
        arguments: &Map<String, Value>,
        kind: Kind,
        layout: Option<&Layout>,
    ) -> Result<Self, CommandError> {
        if name.eq_ignore_ascii_case("ade9k") {
            return Err(CommandError::NotExposed(name.to_owned()));
        }
        let entry = Entry::find(name, kind).ok_or_else(|| unknown(name, kind))?;
        if entry.passed_through {
            return pass_through(entry, arguments);
        }
        let largest = if kind == Kind::SmartMeter { 24 } else { 16 };
        let sample_bytes = layout.map_or(largest, Layout::sample_bytes);
        let (top, arguments) = (arguments, Arguments::new(entry.name, arguments));
        match entry.name {
            "calibration" | "dailyRestart" | "resetEnergy" | "publishInterval" | "reqSamples" => {
                numeric(&arguments, kind, sample_bytes)
            }
            "mdns" | "addWifi" | "delWifi" | "mqttServer" | "streamServer" | "timeServer" => {
                network(&arguments, kind)
            }
            "sample" => Self::sample(&request(&arguments, kind)?, kind),
            "cts" => {
                arguments.only(&["value"])?;
                Ok(Self::cts(arguments.needed_flag("value")?))
            }
            "ntp" => {
                arguments.only(&["bg"])?;
                Ok(Self::ntp(arguments.flag("bg")?))
            }
            "switch" => switch(&arguments),
            TimedSwitch::NAME => Ok(TimedSwitch::of_arguments(&arguments, top)?.command()),
            "log" => log(&arguments),
            bare => {
                arguments.only(&[])?;
                Ok(Self::bare(bare))
            }
        }
    }
}

impl SampleRequest {
    /// What a command asks for, if it is `sample`: with it, [`super::super::SampleReply::read`] fills in what a
    /// reply lacks.
    #[must_use]
    pub fn of_command(command: &Command, kind: Kind) -> Option<Self> {
        let is_sample = command.name() == "sample";
        is_sample.then(|| request(&Arguments::new("sample", command.arguments()), kind).ok())?
    }
}

fn numeric(arguments: &Arguments<'_>, kind: Kind, bytes: usize) -> Result<Command, CommandError> {
    match arguments.command {
        "calibration" if kind == Kind::SmartMeter => {
            arguments.only(&["cal"])?;
            let wanted = "a list of six factors: v1, i1, v2, i2, v3, i3";
            let factors =
                arguments.numbers("cal", wanted)?.ok_or(arguments.missing("cal", wanted))?;
            let wrong = |_| arguments.wrong("cal", wanted);
            Command::calibrate_lines(factors.try_into().map_err(wrong)?)
        }
        "calibration" => {
            arguments.only(&["calV", "calI"])?;
            let factor = |key| arguments.needed_number(key, "a factor from 0.5 to 2.0");
            Command::calibrate(factor("calV")?, factor("calI")?)
        }
        "dailyRestart" => {
            arguments.only(&["hour", "minute"])?;
            let hour = arguments.integer("hour", "0 to 23, or -1 for never")?;
            let hour = hour.ok_or(arguments.missing("hour", "0 to 23, or -1 for never"))?;
            let minute = arguments.integer("minute", "0 to 59")?.unwrap_or(0);
            Command::daily_restart((hour != -1).then_some((hour, minute)))
        }
        "resetEnergy" => {
            arguments.only(&["energy", "ts"])?;
            let energy =
                arguments.numbers("energy", "Wh, a number for each line")?.unwrap_or_default();
            Command::reset_energy(kind, &energy, arguments.number("ts", "Unix seconds")?)
        }
        "publishInterval" => {
            arguments.only(&["intv"])?;
            let seconds =
                arguments.needed_number("intv", "0.01 to 3600 seconds, or -1 for never")?;
            Command::publish_interval((seconds != -1.0).then_some(seconds))
        }
        _ => {
            arguments.only(&["samples"])?;
            let wanted = "a whole number from 11 to 2000";
            let samples = arguments.integer("samples", wanted)?;
            let samples = samples.ok_or(arguments.missing("samples", wanted))?;
            let samples = u32::try_from(samples).map_err(|_| arguments.wrong("samples", wanted))?;
            Command::req_samples(samples, bytes)
        }
    }
}

fn network(arguments: &Arguments<'_>, kind: Kind) -> Result<Command, CommandError> {
    match arguments.command {
        "mdns" => {
            arguments.only(&["name"])?;
            Command::mdns(arguments.needed_text("name", "the new name")?)
        }
        "addWifi" => {
            arguments.only(&["ssid", "pwd"])?;
            let ssid = arguments.needed_text("ssid", "the name of the network")?;
            Command::add_wifi(ssid, arguments.needed_text("pwd", "its password")?)
        }
        "delWifi" => {
            arguments.only(&["ssid"])?;
            Command::del_wifi(arguments.needed_text("ssid", "the name of the network")?)
        }
        "mqttServer" => {
            arguments.only(&["server", "port", "user", "pwd"])?;
            let server = arguments.needed_text("server", "an address, or - for none")?.to_owned();
            let text = |key| Ok(arguments.text(key, "a text")?.map(str::to_owned));
            let port = arguments.port("port")?;
            let (user, password) = (text("user")?, text("pwd")?);
            Command::mqtt_server(kind, &MqttServer { server, port, user, password })
        }
        "streamServer" => {
            arguments.only(&["server"])?;
            Command::stream_server(arguments.needed_text("server", "an address, or - for none")?)
        }
        _ => {
            arguments.only(&["server"])?;
            Command::time_server(arguments.needed_text("server", "an address")?)
        }
    }
}

fn request(arguments: &Arguments<'_>, kind: Kind) -> Result<SampleRequest, CommandError> {
    let known =
        ["type", "rate", "measures", "prefix", "flowCtr", "slot", "time", "port", "ntpConf"];
    arguments.only(&known)?;
    let wanted = "TCP, UDP, Serial or MQTT";
    let name = arguments.needed_text("type", wanted)?;
    if name.eq_ignore_ascii_case("FFMPEG") {
        let reason = "samples of type FFMPEG go to a client on port 54322, and the meter is busy once one is \
                      there: use TCP";
        return Err(CommandError::Invalid(reason.into()));
    }
    let port = arguments.port("port")?.unwrap_or(0);
    let conn = Conn::of_name(name, port).ok_or_else(|| arguments.wrong("type", wanted))?;
    let wanted = "a whole number of samples a second";
    let rate = arguments.integer("rate", wanted)?.ok_or(arguments.missing("rate", wanted))?;
    let rate = u32::try_from(rate).map_err(|_| arguments.wrong("rate", wanted))?;
    let measures = match arguments.text("measures", "a text")? {
        None => Measures::All,
        Some(text) => Measures::of_text(kind, text)
            .ok_or(CommandError::Measures { measures: text.to_owned(), kind })?,
    };
    let confidence = arguments.integer("ntpConf", "milliseconds")?;
    Ok(SampleRequest {
        conn,
        rate,
        measures,
        framed: arguments.flag("prefix")?.unwrap_or(true),
        flow_control: arguments.flag("flowCtr")?.unwrap_or(false),
        slot: slot(arguments)?,
        start: arguments.number("time", "Unix seconds")?,
        ntp_confidence: confidence
            .map(u32::try_from)
            .transpose()
            .map_err(|_| arguments.wrong("ntpConf", "milliseconds"))?,
    })
}

fn slot(arguments: &Arguments<'_>) -> Result<Option<(u32, u32)>, CommandError> {
    let wanted = "[k,n]: data comes in seconds where Unix time mod n is k";
    let Some(value) = arguments.get("slot") else { return Ok(None) };
    let number = |value: &Value| value.as_u64().and_then(|one| u32::try_from(one).ok());
    match value.as_array().map(Vec::as_slice) {
        Some([slot, of]) => {
            number(slot).zip(number(of)).map(Some).ok_or_else(|| arguments.wrong("slot", wanted))
        }
        _ => Err(arguments.wrong("slot", wanted)),
    }
}

/// The relay. A text counts as 0 for the firmware, whatever it says.
fn switch(arguments: &Arguments<'_>) -> Result<Command, CommandError> {
    let wanted = "1, 0, -1 (the other state), true or false; a text would switch off";
    arguments.only(&["value"])?;
    let value = arguments.get("value").ok_or_else(|| arguments.missing("value", wanted))?;
    Ok(Command::switch(match value {
        Value::Bool(true) => Switch::On,
        Value::Bool(false) => Switch::Off,
        value => match value.as_f64() {
            Some(1.0) => Switch::On,
            Some(0.0) => Switch::Off,
            Some(-1.0) => Switch::Toggle,
            _ => return Err(arguments.wrong("value", wanted)),
        },
    }))
}

fn log(arguments: &Arguments<'_>) -> Result<Command, CommandError> {
    let wanted = "all, debug, info, warning or error";
    arguments.only(&["level"])?;
    let level = LogLevel::of_name(arguments.needed_text("level", wanted)?);
    Ok(Command::log(level.ok_or_else(|| arguments.wrong("level", wanted))?))
}

fn pass_through(entry: &Entry, arguments: &Map<String, Value>) -> Result<Command, CommandError> {
    let own = arguments.iter().filter(|(key, _)| !PASSED_OVER.contains(&key.as_str()));
    let keys = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let command = Command { name: entry.name.to_owned(), keys };
    let (length, limit) = (command.line().len(), Kind::PowerMeter.longest_command());
    match length > limit {
        true => Err(CommandError::TooLong { what: "the command".into(), length, limit }),
        false => Ok(command),
    }
}

fn unknown(name: &str, kind: Kind) -> CommandError {
    let other = match kind {
        Kind::SmartMeter => Kind::PowerMeter,
        Kind::PowerMeter => Kind::SmartMeter,
    };
    if let Some(entry) = Entry::find(name, other) {
        return CommandError::NotFor { command: entry.name.to_owned(), kind };
    }
    let known: Vec<&str> = Entry::all(kind).map(|entry| entry.name).collect();
    let name = name.chars().take(64).collect();
    CommandError::Unknown { name, kind, known: known.join(", ") }
}
