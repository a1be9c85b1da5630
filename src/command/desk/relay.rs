//! The topics `switch` and `switchTS`: what they take becomes a command like any other.

use meter_protocols::smartmeter::{self, TimedSwitch};
use serde_json::{Map, json};

use super::Desk;
use crate::command::directory::Meter;
use crate::command::grammar::{Reply, Request};
use crate::command::outbox::{Asker, echo};
use crate::command::{Command, CommandError};
use crate::log::shortened;
use crate::model::{Make, Model, Timestamp};

impl Desk {
    /// The relay of one meter.
    pub(in crate::command) async fn switch(&mut self, meter: &Meter, payload: &[u8]) {
        self.have_switched(meter, "switch", switching(payload)).await;
    }

    /// The same where it was asked for a short time ago.
    pub(in crate::command) async fn switch_in_time(
        &mut self,
        meter: &Meter,
        timed: Result<TimedSwitch, smartmeter::CommandError>,
    ) {
        let fresh = timed.and_then(|timed| {
            timed.check(Timestamp::now().seconds())?;
            let payload = json!([if timed.on { "on" } else { "off" }, timed.at]);
            let arguments = Map::from_iter([("payload".to_owned(), payload)]);
            Ok(Command { name: TimedSwitch::NAME.to_owned(), arguments })
        });
        let command = fresh.map_err(|error| CommandError::Invalid(error.to_string()));
        self.have_switched(meter, TimedSwitch::NAME, command).await;
    }

    async fn have_switched(
        &mut self,
        meter: &Meter,
        name: &str,
        command: Result<Command, CommandError>,
    ) {
        let echo = echo(name);
        let outcome = match without_relay(meter) {
            Some(whose) => Err(CommandError::Refused(format!("{whose} has no relay"))),
            None => command,
        };
        match outcome {
            Ok(command) => self.command(meter, Request { command, echo }, Asker::Topic).await,
            Err(error) => {
                self.out.reply(meter.name(), Reply::failed(&echo, &error), Asker::Topic).await;
            }
        }
    }
}

/// Whose meter it is, where that has no relay. Of a SmartMeter or PowerMeter only being heard tells.
fn without_relay(meter: &Meter) -> Option<&'static str> {
    let model = match meter {
        Meter::Heard(heard) => Some(heard.device.model),
        Meter::Expected(_) => None,
    };
    match (meter.make(), model) {
        (Make::Brultech, _) => Some("a Brultech meter"),
        (Make::Fluksometer, _) => Some("a Fluksometer"),
        (Make::P1, _) => Some("a smart meter's customer port"),
        (Make::Smartmeter, Some(Model::Smartmeter)) => Some("a SmartMeter"),
        (Make::Smartmeter, _) => None,
    }
}

/// What the topic `switch` of a meter takes, as the firmware does: lower case only.
///
/// # Errors
/// [`CommandError::Invalid`] for anything else.
pub(in crate::command) fn switching(payload: &[u8]) -> Result<Command, CommandError> {
    let value = match payload {
        b"on" | b"true" => 1,
        b"off" | b"false" => 0,
        _ => {
            let said = String::from_utf8_lossy(payload);
            let said = shortened(&said);
            return Err(CommandError::Invalid(format!(
                "the relay takes on, off, true or false in lower case, not {said:?}; the command \
                 {{\"cmd\":\"switch\",\"payload\":{{\"value\":-1}}}} turns it round"
            )));
        }
    };
    let arguments = Map::from_iter([("payload".to_owned(), json!({"value": value}))]);
    Ok(Command { name: "switch".to_owned(), arguments })
}
