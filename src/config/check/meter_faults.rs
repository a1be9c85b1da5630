//! What is wrong with a name, a serial number or a channel of a meter, in words that hold for the
//! file and for requests alike.

use super::smartmeter;
use crate::config::meter::{Channel, Kind};
use crate::model::Role;

/// Why this cannot be the name of a meter.
pub(crate) fn name_fault(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(fits) {
        let fitting: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        let instead = if name.is_empty() { "house" } else { &fitting };
        return Some(format!(
            "\"{name}\" is not a name for a topic: letters (a-z), digits, \"_\" and \"-\" only, such as {instead}"
        ));
    }
    RESERVED.contains(&name).then(|| {
        format!(
            "\"{name}\" is taken by the topic tree ({} are): choose another name",
            RESERVED.join(", ")
        )
    })
}

/// Why this cannot be the serial number of a meter of this make.
pub(crate) fn serial_fault(kind: Kind, serial: &str) -> Option<String> {
    if kind == Kind::P1 && !serial.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Some(format!(
            "\"{serial}\" is not the number of a smart meter: write it as the gateway shows it, such as \
             \"E0026000024153615\""
        ));
    }
    if kind == Kind::Fluksometer && serial.parse::<crate::model::DeviceId>().is_err() {
        return Some(format!(
            "\"{serial}\" is not what a Fluksometer is known by: write the 32 digits of its device id, as \
             in its topics /device/<id>/…"
        ));
    }
    if kind == Kind::Smartmeter {
        return smartmeter::serial_fault(serial);
    }
    let digits = serial.bytes().all(|b| b.is_ascii_digit());
    let wrong = kind == Kind::Brultech && !(digits && (6..=8).contains(&serial.len()));
    wrong.then(|| {
        format!(
            "\"{serial}\" is not a serial number of a Brultech meter: unit id and five-digit number together, \
             six to eight digits such as \"01100603\", leading zeros too"
        )
    })
}

/// What is wrong with the settings of the channel `name`, each with the key that it is about, or
/// none for the channel as a whole. `scaled`: somebody gave a multiplier.
pub(crate) fn channel_faults(
    kind: Kind,
    name: &str,
    channel: &Channel,
    scaled: bool,
) -> Vec<(Option<&'static str>, String)> {
    let mut faults = Vec::new();
    if !channel.multiplier.is_finite() || channel.multiplier <= 0.0 {
        let message = format!(
            "{} is not a factor: write a number above 0 (which way a channel counts is a matter of role and polarity)",
            channel.multiplier
        );
        faults.push((Some("multiplier"), message));
    }
    if let Some(constant) = channel.constant
        && !(constant.is_finite() && constant > 0.0)
    {
        let message =
            format!("{constant} is not above 0: write litres or watt-hours per pulse, such as 10");
        faults.push((Some("constant"), message));
    }
    match family(name) {
        _ if kind == Kind::P1 => customer_port(name, channel, scaled, &mut faults),
        _ if kind == Kind::Smartmeter => {
            smartmeter::channel_faults(name, channel, scaled, &mut faults)
        }
        _ if kind != Kind::Brultech => {}
        None => {
            faults.push((None, format!("a {kind} meter has no channel \"{name}\": {CHANNELS}")));
        }
        Some(family) => foreign_settings(name, family, channel, scaled, &mut faults),
    }
    faults
}

/// Settings that the channel's hardware cannot honour would be ignored silently.
fn foreign_settings(
    name: &str,
    family: &str,
    channel: &Channel,
    scaled: bool,
    faults: &mut Vec<(Option<&'static str>, String)>,
) {
    if channel.role.counts_both_ways() && family != "ch" {
        let message =
            format!("{name} counts one way only: grid, solar and battery are for ch1 to ch48");
        faults.push((Some("role"), message));
    }
    if channel.constant.is_some() && family != "pulse" {
        let message = format!("{name} counts no pulses: it is for pulse1 to pulse4");
        faults.push((Some("constant"), message));
    }
    if scaled && !["ch", "aux"].contains(&family) {
        let instead = if family == "pulse" { ", a pulse channel has constant" } else { "" };
        let message =
            format!("{name} has no clamp: it is for ch1 to ch48 and aux1 to aux5{instead}");
        faults.push((Some("multiplier"), message));
    }
}

/// What a smart meter says of its channels is not to be read otherwise: only names and ids are one's own.
fn customer_port(
    name: &str,
    channel: &Channel,
    scaled: bool,
    faults: &mut Vec<(Option<&'static str>, String)>,
) {
    let known = matches!(name, "line" | "l1" | "l2" | "l3")
        || name.strip_prefix("pulse").is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'8']));
    if !known {
        let message = format!(
            "a p1 meter has no channel \"{name}\": it has line, l1 to l3, and pulse1 to pulse8 (the M-Bus \
             channels: gas, water, heat)"
        );
        return faults.push((None, message));
    }
    let is_grid = channel.role == Role::Grid && !name.starts_with("pulse");
    let role_fits = channel.role == Role::default() || is_grid;
    let itself = "the meter says itself what it measures: leave it out";
    let given = [
        ("role", !role_fits, "the port is where the grid comes in: leave it out"),
        ("multiplier", scaled, itself),
        ("type", channel.medium.is_some(), itself),
        ("constant", channel.constant.is_some(), itself),
    ];
    let foreign = given.into_iter().filter(|(_, given, _)| *given);
    faults.extend(foreign.map(|(key, _, message)| (Some(key), message.to_owned())));
}

/// `ch`, `aux`, `pulse`, `t` or `line`; `None` for what a Brultech meter does not have.
fn family(channel: &str) -> Option<&'static str> {
    if channel == "line" {
        return Some("line");
    }
    [("ch", 48), ("aux", 5), ("pulse", 4), ("t", 8)].into_iter().find_map(|(family, count)| {
        let digits = channel.strip_prefix(family)?;
        let number: u32 = digits.parse().ok()?;
        let plain = !digits.starts_with(['0', '+']);
        (plain && (1..=count).contains(&number)).then_some(family)
    })
}

/// Names that would collide with topics of the tree itself.
pub(super) const RESERVED: [&str; 4] = ["state", "cmd", "sample", "switch"];
const CHANNELS: &str = "it has ch1 to ch48, aux1 to aux5, pulse1 to pulse4, t1 to t8 and line";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_a_brultech_meter() {
        for (channel, expected) in [
            ("ch1", Some("ch")),
            ("ch48", Some("ch")),
            ("aux5", Some("aux")),
            ("pulse4", Some("pulse")),
            ("t8", Some("t")),
            ("line", Some("line")),
            ("ch0", None),
            ("ch49", None),
            ("ch01", None),
            ("ch+1", None),
            ("t9", None),
            ("CH1", None),
            ("", None),
        ] {
            assert_eq!(family(channel), expected, "{channel}");
        }
    }
}
