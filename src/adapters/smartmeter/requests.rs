//! From what somebody sent to a command of the firmware: what could wipe a meter or cut it off has to
//! be confirmed.

use meter_protocols::smartmeter::{Command, Kind, TimedSwitch};
use serde_json::Value;

use super::switchboard::Way;
use crate::command::{self, CommandError};
use crate::model::Timestamp;

/// The command, with its limits checked, as it would go by this way.
///
/// # Errors
/// In words, where it is none, is not confirmed, or cannot be: nothing goes to the meter then.
pub(super) fn parse(
    asked: &command::Command,
    kind: Kind,
    way: Way,
) -> Result<Command, CommandError> {
    let mut arguments = asked.arguments.clone();
    let confirmed = match arguments.remove("confirm") {
        None => false,
        Some(Value::Bool(confirmed)) => confirmed,
        Some(other) => {
            return Err(CommandError::Invalid(format!("confirm is true or false, not {other}")));
        }
    };
    let command = Command::from_json(&asked.name, &arguments, kind)
        .map_err(|error| CommandError::Invalid(error.to_string()))?;
    if let Some(timed) = TimedSwitch::of_command(&command) {
        return switch_in_time(timed, command, way);
    }
    // What is heard by a connection goes on whatever broker the meter publishes to.
    let cuts_off = |name: &str| name != "mqttServer" || way == Way::Broker;
    let grave = GRAVE.iter().find(|(name, _)| *name == command.name() && cuts_off(name));
    if let Some((name, what)) = grave.filter(|_| !confirmed) {
        return Err(CommandError::Invalid(format!(
            "{name} {what}: to do so, send it with \"confirm\":true"
        )));
    }
    Ok(command)
}

/// A timed switch that is still fresh: by messages as it is, since the meter looks at the time as well; on a
/// connection, where the firmware has none, without its time.
fn switch_in_time(timed: TimedSwitch, command: Command, way: Way) -> Result<Command, CommandError> {
    let late =
        |error: meter_protocols::smartmeter::CommandError| CommandError::Invalid(error.to_string());
    timed.check(Timestamp::now().seconds()).map_err(late)?;
    Ok(match way {
        Way::Broker => command,
        Way::Connection => timed.switch(),
    })
}

/// What has to be confirmed, and why.
const GRAVE: &[(&str, &str)] = &[
    ("factoryReset", "clears the meter's name, networks, servers, energy and calibration"),
    ("basicReset", "clears the meter's networks, servers, energy and calibration"),
    ("delWifi", "can leave the meter without a network"),
    ("mqttServer", "sends the meter to another broker, where it is not heard any more"),
    ("streamServer", "sends the meter elsewhere"),
    ("mdns", "gives the meter another name, by which it is known here as another meter"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Command, CommandError> {
        let request = command::grammar::read(text.as_bytes()).unwrap();
        parse(&request.command, Kind::PowerMeter, Way::Connection)
    }

    #[test]
    fn what_cuts_a_meter_off_is_to_be_confirmed() {
        let words = |text: &str| read(text).unwrap_err().to_string();
        assert!(words(r#"{"cmd":"factoryReset"}"#).contains("\"confirm\":true"));
        assert!(words(r#"{"cmd":"factoryReset","confirm":"yes"}"#).contains("true or false"));
        assert!(words(r#"{"cmd":"factoryReset","confirm":false}"#).contains("\"confirm\":true"));
        assert_eq!(
            read(r#"{"cmd":"factoryReset","confirm":true}"#).unwrap().name(),
            "factoryReset"
        );
        assert_eq!(read(r#"{"cmd":"restart"}"#).unwrap().name(), "restart");
        read(r#"{"cmd":"nosuch"}"#).unwrap_err();
    }

    #[test]
    fn another_broker_cuts_a_meter_off_that_is_heard_on_this_one() {
        let text = br#"{"cmd":"mqttServer","payload":{"server":"192.0.2.1"}}"#;
        let asked = command::grammar::read(text).unwrap().command;
        let by = |way| parse(&asked, Kind::PowerMeter, way);
        assert!(by(Way::Connection).is_ok());
        assert!(by(Way::Broker).unwrap_err().to_string().contains("\"confirm\":true"));
    }
}
