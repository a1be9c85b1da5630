//! The text commands of a GEM.

use super::argument::{Channels, ClockTime, KeepAliveText};
use super::number::{
    BufferSize, Channel, ChunkPause, ChunkSize, Compensation, CtRange, CtType, GemInterval,
    KeepAliveInterval, LineFrequency, MaxChannels, PacketFormat, Phase, Processor, PtRange, PtType,
    PulseInput, TemperatureInput, TemperatureUnit,
};
use crate::brultech::DeviceTime;

/// One value for each of the 48 channels, channel 1 first.
pub type PerChannel<T> = Box<[T; 48]>;

/// A command of a GEM. Those that could cut a meter off (baud rate, reboot, bridge mode, factory
/// preset, boot loader) are left out on purpose.
///
/// Source: GEM-CMD 10.0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GemCommand {
    /// Ask for one packet in the current format; only with real-time mode off.
    Poll,
    /// Real-time mode on or off: whether the meter sends packets by itself.
    SetRealTime(bool),
    /// Hold packets back for 15 s; a GEM says nothing to it. [`Line`](crate::brultech::Line) does
    /// it by itself where a request asks for `hold`.
    HoldPackets,
    /// The serial number.
    Serial,
    /// Choose the packet format.
    SetPacketFormat(PacketFormat),
    /// Choose the packet format of the second port; 0 switches it off. HTTP formats are refused.
    SetSecondaryFormat(PacketFormat),
    /// Set the interval between packets.
    SetInterval(GemInterval),
    /// Set the clock.
    SetTime(ClockTime),
    /// Read the clock.
    Time,
    /// Read all settings.
    Settings,
    /// Whether real-time mode is on.
    RealTime,
    /// Read the interval between packets.
    Interval,
    /// Read the packet format.
    PacketFormat,
    /// Read the CT types of all channels.
    CtTypes,
    /// Read the CT ranges of all channels.
    CtRanges,
    /// Read the options of all channels.
    ChannelOptions,
    /// Read CT type and range of one channel.
    Ct(Channel),
    /// Set a channel's CT type.
    SetCtType(Channel, CtType),
    /// Set a channel's CT range.
    SetCtRange(Channel, CtRange),
    /// Set a channel's phase.
    SetPhase(Channel, Phase),
    /// Set a channel's compensation.
    SetCompensation(Channel, Compensation),
    /// Set whether a channel's polarity is toggled; firmware ENG 1.37 and later.
    SetPolarity(Channel, bool),
    /// Toggle a channel's polarity; firmware ENG 1.37 and later.
    TogglePolarity(Channel),
    /// Set the CT type of every channel.
    SetCtTypeOfAll(CtType),
    /// Set the CT range of every channel.
    SetCtRangeOfAll(CtRange),
    /// Set the phase of every channel.
    SetPhaseOfAll(Phase),
    /// Set whether the polarity of every channel is toggled.
    SetPolarityOfAll(bool),
    /// Set the CT type of each channel.
    SetCtTypes(PerChannel<CtType>),
    /// Set the CT range of each channel.
    SetCtRanges(PerChannel<CtRange>),
    /// Set the phase of each channel.
    SetPhases(PerChannel<Phase>),
    /// Set the type of the potential transformer.
    SetPtType(PtType),
    /// Set the range of the potential transformer.
    SetPtRange(PtRange),
    /// Reset all counters.
    ResetAll,
    /// Reset the seconds counter.
    ResetSeconds,
    /// Reset the energy counters of one channel.
    ResetChannel(Channel),
    /// Reset all pulse counters.
    ResetPulses,
    /// Reset one pulse counter.
    ResetPulse(PulseInput),
    /// Reset the watt-hours of the text formats.
    ResetWattHours,
    /// Set the keep-alive interval; it works with real-time mode off only.
    SetKeepAliveInterval(KeepAliveInterval),
    /// Set the keep-alive text.
    SetKeepAliveText(KeepAliveText),
    /// Set the size of the pieces a packet is sent in.
    SetChunkSize(ChunkSize),
    /// Set the pause between pieces.
    SetChunkPause(ChunkPause),
    /// Set the send buffer.
    SetBuffer(BufferSize),
    /// Set how many channels there are.
    SetMaxChannels(MaxChannels),
    /// Switch a temperature input on or off.
    SetTemperatureInput(TemperatureInput, bool),
    /// Switch a pulse counter on or off.
    SetPulseInput(PulseInput, bool),
    /// Set the unit of temperatures.
    SetTemperatureUnit(TemperatureUnit),
    /// Read a processor's firmware version.
    Firmware(Processor),
    /// Set the frequency of the mains.
    SetLineFrequency(LineFrequency),
    /// Read the voltage.
    Volts,
    /// Read the seconds counter.
    Seconds,
    /// Read one channel's watts.
    Watts(Channel),
    /// Read one channel's watt-seconds.
    WattSeconds(Channel),
    /// Read the watts of neighbouring channels.
    WattsOf(Channels),
    /// Read the watt-seconds of neighbouring channels.
    WattSecondsOf(Channels),
    /// Read everything that is measured.
    Values,
}

impl GemCommand {
    /// The bytes to send; `target`: the five-digit serial number of the meter meant (`NMB`), for a
    /// link with several of them and COM firmware 1.61 or later.
    #[must_use]
    pub fn encode(&self, target: Option<u16>) -> Vec<u8> {
        let command = self.words();
        match target {
            Some(serial_number) => format!("^^^NMB{serial_number:05}{command}"),
            None => format!("^^^{command}"),
        }
        .into_bytes()
    }

    /// Whether the command only asks, so that it may as well be sent twice.
    #[must_use]
    pub fn is_query(&self) -> bool {
        !self.query_words().is_empty()
    }

    /// What follows the carets. Only those commands end in CR whose arguments vary in length.
    fn words(&self) -> String {
        match self {
            Self::SetRealTime(true) => "SYS_ON".to_owned(),
            Self::SetRealTime(false) => "SYSOFF".to_owned(),
            Self::HoldPackets => "SYSPDL".to_owned(),
            Self::SetPacketFormat(format) => format!("SYSPKT{format:02}"),
            Self::SetSecondaryFormat(format) => format!("SYSPKF{format:02}"),
            Self::SetInterval(seconds) => format!("SYSIVL{seconds:03}"),
            Self::SetTime(time) => set_time(time.get()),
            Self::SetPtType(kind) => format!("SYSTPT{kind:03}"),
            Self::SetPtRange(range) => format!("SYSVRG{range:02}"),
            Self::ResetAll => "SYSRSTA".to_owned(),
            Self::ResetSeconds => "SYSRSTS".to_owned(),
            Self::ResetChannel(channel) => format!("SYSRSTC{channel:02}"),
            Self::ResetPulses => "SYSRSTP".to_owned(),
            Self::ResetPulse(input) => format!("SYSRSP{input}"),
            Self::ResetWattHours => "SYSRSTH".to_owned(),
            Self::SetKeepAliveInterval(interval) => format!("SYSKAI{interval}"),
            Self::SetKeepAliveText(text) => format!("SYSKAS{}\r", text.as_str()),
            Self::SetChunkSize(bytes) => format!("SYSPKS{bytes}\r"),
            Self::SetChunkPause(pause) => format!("SYSPKI{pause}\r"),
            Self::SetBuffer(size) => format!("SYSBFF{size}\r"),
            Self::SetMaxChannels(channels) => format!("SYSCMX{channels:02}\r"),
            Self::SetLineFrequency(LineFrequency::Hz60) => "SYSHZ0".to_owned(),
            Self::SetLineFrequency(LineFrequency::Hz50) => "SYSHZ1".to_owned(),
            Self::SetTemperatureInput(input, true) => format!("TMPEN{input}"),
            Self::SetTemperatureInput(input, false) => format!("TMPDS{input}"),
            Self::SetTemperatureUnit(TemperatureUnit::Celsius) => "TMPDGC".to_owned(),
            Self::SetTemperatureUnit(TemperatureUnit::Fahrenheit) => "TMPDGF".to_owned(),
            Self::SetPulseInput(input, true) => format!("PLSEN{input}"),
            Self::SetPulseInput(input, false) => format!("PLSDS{input}"),
            _ => self.channel_words().unwrap_or_else(|| self.query_words()),
        }
    }

    /// The commands that set up channels; `None` for all others.
    fn channel_words(&self) -> Option<String> {
        Some(match self {
            Self::SetCtType(channel, kind) => format!("C{channel:02}TYP{kind:03}"),
            Self::SetCtRange(channel, range) => format!("C{channel:02}RNG{range}"),
            Self::SetPhase(channel, phase) => format!("C{channel:02}PH{}", phase.letter()),
            Self::SetCompensation(channel, by) => format!("C{channel:02}PC{}", by.digit()),
            Self::SetPolarity(channel, toggled) => format!("C{channel:02}PL{}", u8::from(*toggled)),
            Self::TogglePolarity(channel) => format!("C{channel:02}TOG"),
            Self::SetCtTypeOfAll(kind) => format!("CHETYP{kind:03}"),
            Self::SetCtRangeOfAll(range) => format!("CHERNG{range}"),
            Self::SetPhaseOfAll(phase) => format!("CHEPH{}", phase.letter()),
            Self::SetPolarityOfAll(toggled) => format!("CHEPOL{}", u8::from(*toggled)),
            Self::SetCtTypes(kinds) => format!("CHGTYP{}\r", list(kinds, CtType::to_string)),
            Self::SetCtRanges(ranges) => format!("CHGRNG{}\r", list(ranges, CtRange::to_string)),
            Self::SetPhases(phases) => {
                format!("CHGPH{}\r", list(phases, |phase| phase.letter().to_string()))
            }
            _ => return None,
        })
    }

    /// The commands that ask for something; nothing for all others, which are done with before.
    fn query_words(&self) -> String {
        match self {
            Self::Poll => "APISPK".to_owned(),
            Self::Serial => "RQSSRN".to_owned(),
            Self::Time => "RQSDTM".to_owned(),
            Self::Settings => "RQSALL".to_owned(),
            Self::RealTime => "RQSRTL".to_owned(),
            Self::Interval => "RQSITV".to_owned(),
            Self::PacketFormat => "RQSRTF".to_owned(),
            Self::CtTypes => "RQSATP".to_owned(),
            Self::CtRanges => "RQSARG".to_owned(),
            Self::ChannelOptions => "RQSAOP".to_owned(),
            Self::Ct(channel) => format!("RQSC{channel:02}"),
            Self::Firmware(Processor::Com) => "RQSVR1".to_owned(),
            Self::Firmware(Processor::Engine) => "RQSVR2".to_owned(),
            Self::Firmware(Processor::Expansion) => "RQSVR3".to_owned(),
            Self::Volts => "APIVLT".to_owned(),
            Self::Seconds => "APISEC".to_owned(),
            Self::Watts(channel) => format!("APIWAT{channel:02}"),
            Self::WattSeconds(channel) => format!("APIENR{channel:02}"),
            Self::WattsOf(channels) => format!("APIWRG{}", run(*channels)),
            Self::WattSecondsOf(channels) => format!("APIEGR{}", run(*channels)),
            Self::Values => "APIVAL".to_owned(),
            _ => String::new(),
        }
    }
}

fn set_time(time: DeviceTime) -> String {
    let DeviceTime { year, month, day, hour, minute, second } = time;
    format!("SYSDTM{:02},{month:02},{day:02},{hour:02},{minute:02},{second:02}\r", year % 100)
}

/// One value for each channel, with commas.
fn list<T>(values: &[T; 48], text: impl Fn(&T) -> String) -> String {
    values.iter().map(text).collect::<Vec<_>>().join(",")
}

/// The first channel and the last. The paper names the four digits `ssrr` and says no more; a meter
/// that takes the latter two for a number of channels answers with those asked for and more.
fn run(channels: Channels) -> String {
    format!("{:02}{:02}", channels.first(), channels.last())
}
