//! What an entry of kind `smartmeter` may say, and that no other says it: streams, factors on samples,
//! energy, topics.

use super::Check;
use crate::config::link::{Link, MqttSource};
use crate::config::meter::{Channel, Kind, Meter};
use crate::config::stream::{Measures, Over, Stream};
use crate::model::Role;

impl Check<'_> {
    pub(super) fn smartmeter(&mut self, key: &str, meter: &Meter) {
        if !self.given(&format!("{key}.kind")) {
            return;
        }
        if meter.kind != Kind::Smartmeter {
            return self.not_a_smartmeter(key, meter);
        }
        for name in ["polarity", "temperature_unit"] {
            let key = format!("{key}.{name}");
            if self.given(&key) {
                self.report(&key, "is a matter of Brultech meters: leave it out");
            }
        }
        match &meter.link {
            Link::Mqtt(MqttSource::At(_)) => self.report(
                &format!("{key}.link.mqtt"),
                "a smartmeter is heard on this gateway's broker: write embedded, and the gateway's address as the \
                 meter's mqttServer",
            ),
            Link::Mqtt(MqttSource::Embedded) if meter.poll.is_some() => self.report(
                &format!("{key}.poll"),
                "a smartmeter on the broker says by itself what it measures: leave poll out",
            ),
            _ => {}
        }
        self.base_topics(key, meter);
        if let Some(stream) = &meter.stream {
            self.stream(&format!("{key}.stream"), meter, stream);
            self.consumers(key, meter);
        }
    }

    fn not_a_smartmeter(&mut self, key: &str, meter: &Meter) {
        for name in ["stream", "energy", "energy_unit", "base_topics"] {
            let key = format!("{key}.{name}");
            if self.given(&key) {
                let message =
                    format!("a {} meter has none: it is for smartmeter, leave it out", meter.kind);
                self.report(&key, message);
            }
        }
        for channel in meter.channels.keys() {
            for name in ["scale_v", "scale_i"] {
                let key = format!("{key}.channels.{channel}.{name}");
                if self.given(&key) {
                    let message = format!(
                        "a {} meter gives no samples: it is for smartmeter, leave it out",
                        meter.kind
                    );
                    self.report(&key, message);
                }
            }
        }
    }

    fn base_topics(&mut self, key: &str, meter: &Meter) {
        let key = format!("{key}.base_topics");
        if meter.base_topics.is_empty() {
            self.report(&key, "is empty: write [powermeter], or leave it out");
        }
        for (at, base) in meter.base_topics.iter().enumerate() {
            let wrong = base.is_empty()
                || base.starts_with('$')
                || base.chars().any(|one| matches!(one, '/' | '#' | '+') || one.is_control());
            if wrong {
                let message = format!(
                    "\"{base}\" is not the first level of a topic: write one such as powermeter"
                );
                self.report(&format!("{key}.{at}"), message);
            }
        }
    }

    fn stream(&mut self, key: &str, meter: &Meter, stream: &Stream) {
        self.rate(key, stream);
        self.over(key, meter, stream);
        if let Some((slot, of)) = stream.slot
            && slot >= of
        {
            let message = format!(
                "[{slot}, {of}] is no slot: the first number counts from 0 and is below the second, such as [0, 3]"
            );
            self.report(&format!("{key}.slot"), message);
        }
        if stream.udp_port != 0 && stream.over != Over::Udp {
            self.report(&format!("{key}.udp_port"), "is for over: udp: leave it out");
        }
    }

    /// What a meter can do depends on which it is; what none can is refused here.
    fn rate(&mut self, key: &str, stream: &Stream) {
        let most = match (stream.measures, stream.over) {
            (_, Over::Mqtt) => 10,
            // A PowerMeter.
            (Measures::Everything | Measures::Powers | Measures::Rms, _) => 8000,
            _ => 32_000,
        };
        if stream.rate == 0 || stream.rate > most {
            let message = format!(
                "{} is out of range: write 1 to {most} (a SmartMeter takes what divides 32000, and up to 50 of p,q \
                 and v,i_RMS)",
                stream.rate
            );
            self.report(&format!("{key}.rate"), message);
        }
    }

    fn over(&mut self, key: &str, meter: &Meter, stream: &Stream) {
        let over = format!("{key}.over");
        let message = match (&meter.link, stream.over) {
            (Link::Mqtt(_), Over::Link | Over::Udp | Over::Port) => Some(
                "on the broker samples come as messages: write over: mqtt and a rate up to 10, or give the \
                      meter an entry with link: {connect: …}",
            ),
            (Link::Serial { .. }, Over::Udp | Over::Port | Over::Mqtt) => {
                Some("on a serial line samples come by the line itself: leave over out")
            }
            (Link::Listen(_), Over::Port) => {
                Some("the meter's own port is dialled: it needs link: {connect: …}")
            }
            _ => None,
        };
        if let Some(message) = message {
            self.report(if self.given(&over) { &over } else { key }, message);
        }
        let framed = format!("{key}.framed");
        if stream.over == Over::Udp && !stream.framed {
            self.report(&framed, "datagrams without numbers have no order: leave framed out");
        }
        if stream.over == Over::Port {
            if self.given(&framed) && stream.framed {
                self.report(&framed, "the meter's own port gives no packets: leave framed out");
            }
            let own = "the meter's own port knows one rate and all lines: leave it out";
            for name in ["rate", "measures", "slot"] {
                if self.given(&format!("{key}.{name}")) {
                    self.report(&format!("{key}.{name}"), own);
                }
            }
        }
    }
}

/// What is wrong with a channel of a SmartMeter or PowerMeter.
pub(super) fn channel_faults(
    name: &str,
    channel: &Channel,
    scaled: bool,
    faults: &mut Vec<(Option<&'static str>, String)>,
) {
    if name == "t1" {
        return probe_faults(channel, scaled, faults);
    }
    if !matches!(name, "line" | "l1" | "l2" | "l3") {
        let message = format!(
            "a smartmeter has no channel \"{name}\": it has line (a PowerMeter's only one, or the sum), l1 to l3, and t1 \
             (the temperature of a PowerMeter's sensor board)"
        );
        return faults.push((None, message));
    }
    for (key, factor) in [("scale_v", channel.scale_v), ("scale_i", channel.scale_i)] {
        if !factor.is_finite() || factor <= 0.0 {
            faults.push((Some(key), format!("{factor} is not a factor: write a number above 0")));
        }
    }
    let counts = [("type", channel.medium.is_some()), ("constant", channel.constant.is_some())];
    for (key, _) in counts.iter().filter(|(_, given)| *given) {
        faults.push((Some(key), format!("{name} counts no pulses: leave it out")));
    }
}

/// A temperature has a name, and nothing that is for what flows.
fn probe_faults(channel: &Channel, scaled: bool, faults: &mut Vec<(Option<&'static str>, String)>) {
    let given = [
        ("role", channel.role != Role::Load),
        ("multiplier", scaled),
        ("scale_v", channel.scale_v != 1.0),
        ("scale_i", channel.scale_i != 1.0),
        ("type", channel.medium.is_some()),
        ("constant", channel.constant.is_some()),
    ];
    let wrong = given.into_iter().filter(|(_, given)| *given);
    faults
        .extend(wrong.map(|(key, _)| (Some(key), "t1 is a temperature: leave it out".to_owned())));
}

/// Why no SmartMeter or PowerMeter can call itself so.
pub(super) fn serial_fault(serial: &str) -> Option<String> {
    let plain = |one: char| one.is_ascii_graphic() && !matches!(one, '/' | '+' | '#');
    let fits = serial.len() <= LONGEST_NAME && serial.chars().all(plain);
    (!fits || super::meter_faults::RESERVED.contains(&serial)).then(|| {
        format!(
            "\"{serial}\" is no name that a SmartMeter or PowerMeter can have: write the one that it has given \
             itself, such as smartmeter001"
        )
    })
}

/// What the firmware takes; it keeps less.
const LONGEST_NAME: usize = 24;
