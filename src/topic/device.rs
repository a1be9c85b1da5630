//! Topics of SmartMeters and PowerMeters as they publish and hear them themselves: `<base>/<device>/…`.
//! With the usual base these are the gateway's own.

/// The topics below one base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceTopics {
    base: String,
}

/// What a device says, by the end of the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    /// What it measures, or that sampling began or ended.
    Sample,
    /// Replies.
    Info,
    /// Its relay.
    Switch,
    /// The temperature of a plug's sensor board.
    Temperature,
    /// The humidity there.
    Humidity,
    /// The light.
    Light,
    /// Whether something moves.
    Movement,
    /// No device says this: who publishes it is a gateway, about a meter of its own.
    Availability,
}

impl DeviceState {
    /// All of them.
    pub const ALL: [DeviceState; 8] = [
        // First: what it says keeps others from being heard.
        DeviceState::Availability,
        DeviceState::Sample,
        DeviceState::Info,
        DeviceState::Switch,
        DeviceState::Temperature,
        DeviceState::Humidity,
        DeviceState::Light,
        DeviceState::Movement,
    ];

    /// The end of the topic, below `state`.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceState::Sample => "sample",
            DeviceState::Info => "info",
            DeviceState::Switch => "switch",
            DeviceState::Temperature => "sensors/temp",
            DeviceState::Humidity => "sensors/hum",
            DeviceState::Light => "sensors/light",
            DeviceState::Movement => "sensors/PIR",
            DeviceState::Availability => "availability",
        }
    }
}

impl DeviceTopics {
    /// Topics whose first level is `base`.
    pub fn new(base: impl Into<String>) -> DeviceTopics {
        DeviceTopics { base: base.into() }
    }

    /// The first level.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the gateway's own meters have the same topics.
    pub fn are_shared(&self) -> bool {
        self.base == "powermeter"
    }

    /// The filter for what all devices say.
    pub fn filter(&self, state: DeviceState) -> String {
        format!("{}/+/state/{}", self.base, state.as_str())
    }

    /// Which device says what; `None` for any other topic.
    pub fn parse<'a>(&self, topic: &'a str) -> Option<(&'a str, DeviceState)> {
        let rest = topic.strip_prefix(&*self.base)?.strip_prefix('/')?;
        let (device, rest) = rest.split_once('/')?;
        let word = rest.strip_prefix("state/")?;
        let state = DeviceState::ALL.into_iter().find(|one| one.as_str() == word)?;
        (!device.is_empty()).then_some((device, state))
    }

    /// Where a device takes commands.
    pub fn command(&self, device: &str) -> String {
        format!("{}/{device}/cmd", self.base)
    }

    /// Where a device takes a state for its relay with a time.
    pub fn timed_switch(&self, device: &str) -> String {
        format!("{}/{device}/switchTS", self.base)
    }

    /// Where a device is asked whether it samples, and how its relay is.
    pub fn state(&self, device: &str) -> String {
        format!("{}/{device}/state", self.base)
    }

    /// What a message on the device's `state/info` can have, in bytes. Longer ones its library drops.
    ///
    /// Source: protocol note, section 3: 7 + topic + payload is at most 256.
    pub fn longest_reply(&self, device: &str) -> usize {
        LARGEST.saturating_sub(format!("{}/{device}/state/info", self.base).len())
    }

    /// The same of a command to it.
    pub fn longest_command(&self, device: &str) -> usize {
        // As large is ignored already.
        LARGEST.saturating_sub(1 + self.command(device).len())
    }
}

const LARGEST: usize = 256 - 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_devices_topics_are_told_from_others() {
        let topics = DeviceTopics::new("powermeter");
        let parse = |topic| topics.parse(topic);
        assert_eq!(parse("powermeter/a/state/sample"), Some(("a", DeviceState::Sample)));
        let temperature = parse("powermeter/a/state/sensors/temp");
        assert_eq!(temperature, Some(("a", DeviceState::Temperature)));
        for topic in [
            "powermeter/a/state/sensors",
            "powermeter/a/b/state/sample",
            "powermeter//state/sample",
            "powermeter/a/cmd",
            "powermeter/a/state/channels",
            "powermeters/a/state/sample",
            "powermeter/state/sample",
        ] {
            assert_eq!(parse(topic), None, "{topic}");
        }
        assert_eq!(topics.longest_reply("smartmeter001"), 214);
    }
}
