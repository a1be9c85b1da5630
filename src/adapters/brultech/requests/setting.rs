//! The names of settings, and what is said of one that a model does not have.

use super::invalid;
use crate::command::CommandError;

macro_rules! settings {
    ($($name:ident = $text:literal,)+) => {
        /// What can be read from a meter, or changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in super::super) enum Setting { $($name,)+ }

        impl Setting {
            const ALL: &[Setting] = &[$(Setting::$name,)+];

            /// As commands and replies spell it.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Setting::$name => $text,)+ }
            }
        }
    };
}

settings! {
    All = "all",
    Serial = "serial",
    Firmware = "firmware",
    Time = "time",
    RealTime = "realtime",
    PacketFormat = "packet_format",
    SecondaryFormat = "secondary_format",
    Interval = "interval",
    Ct = "ct",
    CtType = "ct_type",
    CtRange = "ct_range",
    Phase = "phase",
    Compensation = "compensation",
    Polarity = "polarity",
    NetMetering = "net_metering",
    Double = "double",
    PtType = "pt_type",
    PtRange = "pt_range",
    TemperatureUnit = "temperature_unit",
    TemperatureInput = "temperature_input",
    PulseInput = "pulse_input",
    MaxChannels = "max_channels",
    KeepAlive = "keep_alive",
    KeepAliveText = "keep_alive_text",
    ChunkSize = "chunk_size",
    ChunkPause = "chunk_pause",
    Buffer = "buffer",
    LineFrequency = "line_frequency",
    Trigger = "trigger",
    AuxOptions = "aux_options",
    Volts = "volts",
    Seconds = "seconds",
    Watts = "watts",
    WattSeconds = "watt_seconds",
    Values = "values",
}

impl Setting {
    /// The setting of this name, if it is among `known`: what a model has of the sort.
    pub(super) fn among(
        name: &str,
        known: &[Setting],
        model: &str,
        verb: &str,
    ) -> Result<Setting, CommandError> {
        let found = Setting::ALL.iter().copied().find(|setting| setting.name() == name);
        if let Some(setting) = found.filter(|setting| known.contains(setting)) {
            return Ok(setting);
        }
        let list: Vec<&str> = known.iter().map(|setting| setting.name()).collect();
        let list = list.join(", ");
        Err(invalid(match found {
            Some(_) => format!("{model} cannot {verb} {name}; it can {verb} {list}"),
            None => format!("no setting is called {name:?}; {model} can {verb} {list}"),
        }))
    }
}
