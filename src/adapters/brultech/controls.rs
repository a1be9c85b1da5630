//! What of a Brultech meter's settings and commands is offered to press or to choose. The commands
//! themselves are those of `requests/`; everything else is there as well, by topic and HTTP.

use crate::model::{Control, ControlKind, Model, Scope};

/// What a meter of this model can be told.
pub fn controls(model: Model) -> &'static [Control] {
    match model {
        Model::Gem => GEM,
        // Whatever of the make is no GEM is an ECM.
        _ => ECM,
    }
}

const fn press(
    key: &'static str,
    name: &'static str,
    command: &'static str,
    offered: bool,
) -> Control {
    Control { key, name, scope: Scope::Meter, kind: ControlKind::Press { command }, offered }
}

const fn interval(max: u16) -> Control {
    Control {
        key: "interval",
        name: "Interval",
        scope: Scope::Meter,
        kind: ControlKind::Number { setting: "interval", min: 1, max, unit: Some("s") },
        offered: true,
    }
}

const CT_TYPE: Control = Control {
    key: "ct_type",
    name: "CT type",
    scope: Scope::EachClamp,
    kind: ControlKind::Number { setting: "ct_type", min: 1, max: 255, unit: None },
    offered: false,
};

const CT_RANGE: Control = Control {
    key: "ct_range",
    name: "CT range",
    scope: Scope::EachClamp,
    kind: ControlKind::Number { setting: "ct_range", min: 0, max: 9, unit: None },
    offered: false,
};

const PACKET_FORMAT: Control = Control {
    key: "packet_format",
    name: "Packet format",
    scope: Scope::Meter,
    kind: ControlKind::Choice {
        setting: "packet_format",
        options: &["bin48_net_time", "bin48_net", "bin48_abs", "bin32_net", "bin32_abs"],
    },
    offered: true,
};

const POLL: Control = press("poll", "Poll", r#"{"cmd":"poll"}"#, true);
const CLOCK: Control = press("clock", "Set clock", r#"{"cmd":"set","setting":"time"}"#, true);
const RESET_ALL: Control =
    press("reset_all", "Reset all", r#"{"cmd":"reset","what":"all","confirm":true}"#, false);
const RESET_WH: Control =
    press("reset_wh", "Reset energy", r#"{"cmd":"reset","what":"wh","confirm":true}"#, false);
const RESET_SECONDS: Control = press(
    "reset_seconds",
    "Reset seconds",
    r#"{"cmd":"reset","what":"seconds","confirm":true}"#,
    false,
);
const RESET_PULSES: Control = press(
    "reset_pulses",
    "Reset pulses",
    r#"{"cmd":"reset","what":"pulses","confirm":true}"#,
    false,
);

const GEM: &[Control] = &[
    POLL,
    CLOCK,
    interval(256),
    PACKET_FORMAT,
    CT_TYPE,
    CT_RANGE,
    RESET_ALL,
    RESET_WH,
    RESET_SECONDS,
    RESET_PULSES,
];

const ECM: &[Control] =
    &[POLL, interval(255), CT_TYPE, CT_RANGE, RESET_ALL, RESET_WH, RESET_SECONDS];

#[cfg(test)]
mod tests {
    use super::super::requests;
    use super::*;
    use crate::command::grammar;

    /// What the control sends, with a value that it allows.
    fn commands(control: &Control) -> Vec<String> {
        let channel = match control.scope {
            Scope::Meter => "",
            Scope::EachClamp => r#","channel":2"#,
        };
        let set = |setting: &str, value: String| {
            format!(r#"{{"cmd":"set","setting":"{setting}","value":{value}{channel}}}"#)
        };
        match control.kind {
            ControlKind::Relay => panic!("none of these meters has one"),
            ControlKind::Press { command } => vec![command.to_owned()],
            ControlKind::Number { setting, min, max, .. } => {
                [min, max].map(|n| set(setting, n.to_string())).to_vec()
            }
            ControlKind::Choice { setting, options } => {
                options.iter().map(|name| set(setting, format!("\"{name}\""))).collect()
            }
        }
    }

    #[test]
    fn every_command_is_one_that_the_meter_knows() {
        for model in [Model::Gem, Model::Ecm1240, Model::Ecm1220] {
            for command in controls(model).iter().flat_map(commands) {
                let request = grammar::read(command.as_bytes()).unwrap();
                requests::parse(&request.command, model).unwrap_or_else(|error| {
                    panic!("{model:?} {command}: {error}");
                });
            }
        }
    }
}
