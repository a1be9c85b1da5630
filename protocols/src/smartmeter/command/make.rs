//! A function for each command. What a meter would misread, cut off or be harmed by is refused.

use serde_json::{Map, Value};

use super::limits::{
    SERVER_BYTES, TIME_SERVER_BYTES, USER_BYTES, WIFI_BYTES, check_factor, check_name,
    check_server, check_text,
};
use super::{Command, CommandError};
use crate::smartmeter::{Kind, LogLevel, SampleRequest};

/// What the relay is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Close.
    On,
    /// Open.
    Off,
    /// Whichever it is not.
    Toggle,
}

/// A broker that a meter is to use.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MqttServer {
    /// Its address, up to 16 bytes; `-`: none.
    pub server: String,
    /// Its port; a PowerMeter only.
    pub port: Option<u16>,
    /// A PowerMeter only.
    pub user: Option<String>,
    /// A PowerMeter only.
    pub password: Option<String>,
}

impl Command {
    /// The info dictionary, and `{"error":false}` behind it.
    #[must_use]
    pub fn info() -> Self {
        Self::bare("info")
    }

    /// Active and reactive power, and what is called apparent power.
    #[must_use]
    pub fn get_power() -> Self {
        Self::bare("getPower")
    }

    /// RMS voltage.
    #[must_use]
    pub fn get_voltage() -> Self {
        Self::bare("getVoltage")
    }

    /// RMS current.
    #[must_use]
    pub fn get_current() -> Self {
        Self::bare("getCurrent")
    }

    /// Energy. A SmartMeter loses what it counted since its last store: not to be polled.
    #[must_use]
    pub fn get_energy() -> Self {
        Self::bare("getEnergy")
    }

    /// The mains frequency, whatever the name says.
    #[must_use]
    pub fn get_period() -> Self {
        Self::bare("getPeriod")
    }

    /// The angle between voltage and current.
    #[must_use]
    pub fn get_phase_angle() -> Self {
        Self::bare("getPhaseAngle")
    }

    /// Ends sampling.
    #[must_use]
    pub fn stop() -> Self {
        Self::bare("stop")
    }

    /// Restarts the meter: no reply.
    #[must_use]
    pub fn restart() -> Self {
        Self::bare("restart")
    }

    /// Clears everything, and restarts.
    #[must_use]
    pub fn factory_reset() -> Self {
        Self::bare("factoryReset")
    }

    /// Clears everything but the name, and restarts.
    #[must_use]
    pub fn basic_reset() -> Self {
        Self::bare("basicReset")
    }

    /// The rows that the meter has kept.
    #[must_use]
    pub fn get_log() -> Self {
        Self::bare("getLog")
    }

    /// Forgets them.
    #[must_use]
    pub fn clear_log() -> Self {
        Self::bare("clearLog")
    }

    /// Sends samples on, or holds them back.
    #[must_use]
    pub fn cts(send: bool) -> Self {
        Self::bare("cts").with("value", send)
    }

    /// What this connection is told of the meter's log.
    #[must_use]
    pub fn log(level: LogLevel) -> Self {
        Self::bare("log").with("level", level.name())
    }

    /// The relay of a PowerMeter.
    #[must_use]
    pub fn switch(switch: Switch) -> Self {
        let value = match switch {
            Switch::On => 1,
            Switch::Off => 0,
            Switch::Toggle => -1,
        };
        Self::bare("switch").with_payload(payload([("value", value.into())]))
    }

    /// Sets the clock; `background`: without waiting for it.
    #[must_use]
    pub fn ntp(background: Option<bool>) -> Self {
        match background {
            None => Self::bare("ntp"),
            Some(background) => {
                Self::bare("ntp").with_payload(payload([("bg", background.into())]))
            }
        }
    }

    /// Starts sampling.
    ///
    /// # Errors
    /// Where a meter of this kind cannot do it, or would do something else.
    pub fn sample(request: &SampleRequest, kind: Kind) -> Result<Self, CommandError> {
        request.check(kind)?;
        Ok(Self::bare("sample").with_payload(request.payload()))
    }

    /// Sends one packet of so many samples, and everything else from then on. `sample_bytes`: of the
    /// stream that runs.
    ///
    /// # Errors
    /// Outside 11 to 2000, and where the meter's memory would be overrun: it holds 1,029 bytes.
    pub fn req_samples(samples: u32, sample_bytes: usize) -> Result<Self, CommandError> {
        let command = "reqSamples".to_owned();
        let fits = (REQUEST_BYTES / sample_bytes.max(1)) as u32;
        if !(11..=2000).contains(&samples) || samples > fits {
            let wanted = format!(
                "11 to {} of {sample_bytes} bytes each: a meter takes no fewer, and more would overrun its memory",
                fits.min(2000)
            );
            return Err(CommandError::Wrong {
                command,
                key: "samples",
                value: samples.to_string(),
                wanted,
            });
        }
        Ok(Self::bare(&command).with("samples", samples))
    }

    /// The name on the network and on the broker.
    ///
    /// # Errors
    /// Where the meter would cut it off, or it would clash with topics.
    pub fn mdns(name: &str) -> Result<Self, CommandError> {
        check_name(name)?;
        Ok(Self::bare("mdns").with_payload(payload([("name", name.into())])))
    }

    /// Adds a network.
    ///
    /// # Errors
    /// Where name or password are too long for the meter.
    pub fn add_wifi(ssid: &str, password: &str) -> Result<Self, CommandError> {
        check_text("the name of the network", ssid, 1, WIFI_BYTES)?;
        check_text("the password of the network", password, 0, WIFI_BYTES)?;
        let payload = payload([("ssid", ssid.into()), ("pwd", password.into())]);
        Ok(Self::bare("addWifi").with_payload(payload))
    }

    /// Forgets a network.
    ///
    /// # Errors
    /// Where the name is longer than any that the meter knows.
    pub fn del_wifi(ssid: &str) -> Result<Self, CommandError> {
        check_text("the name of the network", ssid, 1, WIFI_BYTES)?;
        Ok(Self::bare("delWifi").with_payload(payload([("ssid", ssid.into())])))
    }

    /// Factors of a SmartMeter: v1, i1, v2, i2, v3, i3.
    ///
    /// # Errors
    /// Outside 0.5 to 2.0.
    pub fn calibrate_lines(factors: [f64; 6]) -> Result<Self, CommandError> {
        factors.iter().try_for_each(|factor| check_factor("cal", *factor))?;
        Ok(Self::bare("calibration").with("cal", factors.to_vec()))
    }

    /// Factors of a PowerMeter.
    ///
    /// # Errors
    /// Outside 0.5 to 2.0.
    pub fn calibrate(voltage: f64, current: f64) -> Result<Self, CommandError> {
        check_factor("calV", voltage)?;
        check_factor("calI", current)?;
        Ok(Self::bare("calibration").with("calV", voltage).with("calI", current))
    }

    /// The time of the daily restart; `None`: never.
    ///
    /// # Errors
    /// Where it is no time of a day.
    pub fn daily_restart(time: Option<(i64, i64)>) -> Result<Self, CommandError> {
        let (hour, minute) = time.unwrap_or((-1, -1));
        let is_time = (0..24).contains(&hour) && (0..60).contains(&minute);
        if time.is_some() && !is_time {
            let reason =
                format!("{hour}:{minute:02} is no time of a day: 0:00 to 23:59, or -1 for never");
            return Err(CommandError::Invalid(reason));
        }
        Ok(Self::bare("dailyRestart").with("hour", hour).with("minute", minute))
    }

    /// Sets the energy: three numbers for a SmartMeter, one for a PowerMeter, in Wh; none: 0. `since`: from
    /// when on it is counted, in Unix seconds.
    ///
    /// # Errors
    /// Where the numbers are too few, too many or negative.
    pub fn reset_energy(
        kind: Kind,
        watt_hours: &[f64],
        since: Option<f64>,
    ) -> Result<Self, CommandError> {
        let is_energy = |energy: &f64| energy.is_finite() && *energy >= 0.0;
        let wanted = usize::from(kind.lines());
        let fits = watt_hours.is_empty() || watt_hours.len() == wanted;
        if !fits || !watt_hours.iter().all(is_energy) {
            return Err(CommandError::Wrong {
                command: "resetEnergy".into(),
                key: "energy",
                value: format!("{watt_hours:?}"),
                wanted: match kind {
                    Kind::SmartMeter => "a list of three numbers from 0 on, in Wh".into(),
                    Kind::PowerMeter => "a number from 0 on, in Wh".into(),
                },
            });
        }
        let mut command = Self::bare("resetEnergy");
        match (kind, watt_hours) {
            (_, []) => {}
            (Kind::PowerMeter, [one, ..]) => command = command.with("energy", *one),
            (Kind::SmartMeter, lines) => command = command.with("energy", lines.to_vec()),
        }
        match since {
            None => Ok(command),
            Some(since) if since.is_finite() && since >= 0.0 => {
                Ok(command.with("ts", since.trunc() as i64))
            }
            Some(since) => {
                Err(CommandError::Invalid(format!("the time {since} is no time in Unix seconds")))
            }
        }
    }

    /// The broker that the meter uses. It tries to connect before it replies: up to 20 s.
    ///
    /// # Errors
    /// An address of more than 16 bytes, or what only a PowerMeter can, of a SmartMeter.
    pub fn mqtt_server(kind: Kind, broker: &MqttServer) -> Result<Self, CommandError> {
        check_server(&broker.server, SERVER_BYTES)?;
        let extra = [broker.port.is_some(), broker.user.is_some(), broker.password.is_some()];
        if kind == Kind::SmartMeter && extra.contains(&true) {
            let command = "mqttServer with port, user or pwd: it uses port 1883 without any".into();
            return Err(CommandError::NotFor { command, kind });
        }
        let mut keys = payload([("server", broker.server.as_str().into())]);
        let mut put = |key: &str, value: Option<Value>| {
            keys.extend(value.map(|value| (key.to_owned(), value)));
        };
        put("port", broker.port.map(Value::from));
        for (key, text) in [("user", &broker.user), ("pwd", &broker.password)] {
            let what =
                if key == "pwd" { "the password of the broker" } else { "the user of the broker" };
            text.as_deref().map_or(Ok(()), |text| check_text(what, text, 0, USER_BYTES))?;
            put(key, text.as_deref().map(Value::from));
        }
        Ok(Self::bare("mqttServer").with_payload(keys))
    }

    /// The host whose port 54322 the meter connects to; `-`: none.
    ///
    /// # Errors
    /// An address of more than 16 bytes.
    pub fn stream_server(server: &str) -> Result<Self, CommandError> {
        check_server(server, SERVER_BYTES)?;
        Ok(Self::bare("streamServer").with_payload(payload([("server", server.into())])))
    }

    /// Where the meter takes its time from.
    ///
    /// # Errors
    /// An address of more than 24 bytes.
    pub fn time_server(server: &str) -> Result<Self, CommandError> {
        check_server(server, TIME_SERVER_BYTES)?;
        Ok(Self::bare("timeServer").with_payload(payload([("server", server.into())])))
    }

    /// How often a PowerMeter publishes, in seconds; `None`: never.
    ///
    /// # Errors
    /// Outside 0.01 to 3600.
    pub fn publish_interval(seconds: Option<f64>) -> Result<Self, CommandError> {
        let command = Self::bare("publishInterval");
        match seconds {
            None => Ok(command.with("intv", -1)),
            Some(seconds) if (0.01..=3600.0).contains(&seconds) => {
                Ok(command.with("intv", seconds))
            }
            Some(seconds) => Err(CommandError::Wrong {
                command: "publishInterval".into(),
                key: "intv",
                value: seconds.to_string(),
                wanted: "0.01 to 3600 seconds, or -1 for never".into(),
            }),
        }
    }
}

fn payload<const N: usize>(keys: [(&str, Value); N]) -> Map<String, Value> {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the meter's send buffer for `reqSamples` holds of samples.
const REQUEST_BYTES: usize = 1029;
