//! What an entry of kind `fluksometer` may say: a Fluksometer brings its ids, units and constants along,
//! and its local API none of them.

use super::Check;
use crate::config::endpoint;
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Channel as Settings, Kind, Medium, Meter};
use crate::model::Channel;

impl Check<'_> {
    pub(super) fn fluksometer(&mut self, key: &str, meter: &Meter) {
        if meter.kind != Kind::Fluksometer || !self.given(&format!("{key}.kind")) {
            return;
        }
        for name in ["polarity", "temperature_unit", "power_ceiling"] {
            let key = format!("{key}.{name}");
            if self.given(&key) {
                self.report(&key, "is a matter of Brultech meters: leave it out");
            }
        }
        match &meter.link {
            Link::Mqtt(MqttSource::At(url)) => {
                if let Err(message) = endpoint::of_url(url) {
                    self.report(&format!("{key}.link.mqtt"), message);
                }
                self.own_channels(key, meter);
            }
            Link::Mqtt(MqttSource::Embedded) => self.own_channels(key, meter),
            Link::Http(url) => {
                if let Err(message) = endpoint::local_api(url) {
                    self.report(&format!("{key}.link.http"), message);
                }
                self.local_channels(key, meter);
            }
            Link::Listen(_) | Link::Connect(_) | Link::Serial { .. } => {}
        }
    }

    /// The device says what its channels are; they can be named, and told what they are for.
    fn own_channels(&mut self, key: &str, meter: &Meter) {
        if meter.poll.is_some() {
            self.report(
                &format!("{key}.poll"),
                "a Fluksometer on a broker is not asked for its readings: leave poll out",
            );
        }
        for (name, settings) in &meter.channels {
            let key = format!("{key}.channels.{name}");
            if !self.channel_of_a_fluksometer(&key, name) {
                continue;
            }
            let own = [
                ("id", settings.id.is_some()),
                ("type", settings.medium.is_some()),
                ("constant", settings.constant.is_some()),
                ("multiplier", self.given(&format!("{key}.multiplier"))),
            ];
            for (part, _) in own.iter().filter(|(_, given)| *given) {
                self.report(
                    &format!("{key}.{part}"),
                    "is the Fluksometer's own: set it there, and leave it out here",
                );
            }
            self.role(&key, name, settings);
        }
    }

    /// The local API has no list, so each sensor is named by its id.
    fn local_channels(&mut self, key: &str, meter: &Meter) {
        if meter.channels.is_empty() {
            self.report(
                &format!("{key}.link.http"),
                "a Fluksometer's local API has no list of its sensors: write them under channels, such as \
                 {ch1: {id: 0123456789abcdef0123456789abcdef, name: Mains}}",
            );
        }
        for (name, settings) in &meter.channels {
            let key = format!("{key}.channels.{name}");
            if !self.channel_of_a_fluksometer(&key, name) {
                continue;
            }
            if settings.id.is_none() {
                self.report(
                    &key,
                    "has no id: write the sensor's, 32 digits, as the Fluksometer's page shows it",
                );
            }
            let is_volume = matches!(settings.medium, Some(Medium::Gas | Medium::Water));
            if is_volume && !name.starts_with("pulse") {
                self.report(
                    &format!("{key}.type"),
                    "gas and water are counted by pulses: call the channel pulse1, pulse2…",
                );
            }
            let own = [
                ("constant", settings.constant.is_some()),
                ("multiplier", self.given(&format!("{key}.multiplier"))),
            ];
            for (part, _) in own.iter().filter(|(_, given)| *given) {
                self.report(
                    &format!("{key}.{part}"),
                    "is the Fluksometer's own: set it there, and leave it out here",
                );
            }
            self.role(&key, name, settings);
        }
    }

    fn channel_of_a_fluksometer(&mut self, key: &str, name: &str) -> bool {
        let fits = matches!(
            name.parse::<Channel>(),
            Ok(Channel::Ch(_) | Channel::Pulse(_) | Channel::Kube(_))
        );
        if !fits {
            let message = format!(
                "a Fluksometer has no channel \"{name}\": it has ch1, pulse2 and so on by their ports, and kube1…"
            );
            self.report(key, message);
        }
        fits
    }

    fn role(&mut self, key: &str, name: &str, settings: &Settings) {
        if settings.role.counts_both_ways() && !name.starts_with("ch") {
            let message =
                format!("{name} counts one way only: grid, solar and battery are for clamps, ch1…");
            self.report(&format!("{key}.role"), message);
        }
    }
}
