//! The text commands of a GEM.

use super::argument::{Channels, ClockTime, KeepAliveText};
use super::number::{
    BufferSize, Channel, ChunkPause, ChunkSize, Compensation, CtRange, CtType, GemInterval,
    KeepAliveInterval, LineFrequency, MaxChannels, PacketFormat, Phase, Processor, PtRange, PtType,
    PulseInput, TemperatureInput, TemperatureUnit,
};

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
        let _ = target;
        Vec::new()
    }
}
