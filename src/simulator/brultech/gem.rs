//! A GEM's settings, and what it sends.

use std::time::Duration;

use meter_protocols::brultech::{Format, Packet};
use tokio::time::Instant;

use super::counts::CHANNELS;
use super::reading::device_time;
use super::settings::{FAHRENHEIT, NO_NET_METERING, Settings, place};
use super::{Counts, Sends, State};
use crate::simulator::manners::Manners;

/// What a GEM has beside its counters.
#[derive(Debug)]
pub struct Gem {
    /// The list of settings.
    pub settings: Settings,
    /// Packets are held back until then.
    pub held_until: Option<Instant>,
    /// 0 is off; 1 to 7 are 4, 8, … 256 seconds.
    pub keep_alive: u8,
    /// What is sent to keep the connection.
    pub keep_alive_text: String,
    /// Bytes of packets that can wait to be sent.
    pub buffer: u16,
    /// Whether the mains have 50 Hz.
    pub mains_50_hz: bool,
    /// How far the clock that people set is from the one that counts, in seconds.
    pub clock_offset: f64,
    /// What the absolute counters were when the watt-hours began, and the time then.
    pub(super) watt_hours_since: ([u64; CHANNELS], f64),
    /// Answers nothing where no answer is documented.
    pub terse: bool,
    /// `^^^RQSALL` gives 374 values, as older firmware does.
    pub short_list: bool,
}

impl Gem {
    pub(super) fn new(format: Format, interval: Duration) -> Gem {
        let seconds = interval.as_secs().clamp(1, 255) as u8;
        Gem {
            settings: Settings::new(format, seconds),
            held_until: None,
            keep_alive: 0,
            keep_alive_text: "Alive".to_owned(),
            buffer: 1700,
            mains_50_hz: false,
            clock_offset: 0.0,
            watt_hours_since: ([0; CHANNELS], 0.0),
            terse: false,
            short_list: false,
        }
    }

    /// The time between two keep-alive texts.
    pub(in crate::simulator) fn keep_alive_time(&self) -> Option<Duration> {
        (1..=7).contains(&self.keep_alive).then(|| Duration::from_secs(2 << self.keep_alive))
    }

    /// Bytes in a chunk, and the pause after it.
    pub(in crate::simulator) fn chunks(&self) -> (usize, Duration) {
        let pause = Duration::from_millis(self.settings.wide(place::CHUNK_PAUSE).into());
        (self.settings.wide(place::CHUNK_SIZE).into(), pause)
    }

    pub(super) fn sends(&self) -> Sends {
        match self.settings.0[place::FORMAT] {
            1 => Sends::Posing(self.settings.0[place::ECMS_POSED].clamp(1, 5)),
            2 => Sends::Text,
            3 => Sends::Http,
            4 => Sends::Binary(Format::Bin48NetTime),
            5 => Sends::Binary(Format::Bin48Net),
            7 => Sends::Binary(Format::Bin48Abs),
            8 => Sends::Binary(Format::Bin32Net),
            9 => Sends::Binary(Format::Bin32Abs),
            _ => Sends::Nothing,
        }
    }

    /// Takes over what the manners say of the meter itself.
    pub(in crate::simulator) fn misbehave(&mut self, manners: &Manners) {
        self.terse = manners.terse;
        self.short_list = manners.short_settings;
        if manners.http {
            self.settings.0[place::FORMAT] = 3;
        }
    }

    /// How many channels measure.
    pub(super) fn channels(&self) -> usize {
        usize::from(self.settings.0[place::MAX_CHANNELS]).min(CHANNELS)
    }

    pub(super) fn has_net_metering(&self, channel: usize) -> bool {
        self.settings.0[place::OPTIONS + channel] & NO_NET_METERING == 0
    }

    /// The temperature as on the wire: sign and half degrees; 256.0 where there is no probe.
    fn temperature(&self, counts: &Counts, probe: usize) -> u16 {
        if !self.settings.is_on(place::TEMPERATURES_ENABLED, probe) {
            return 0;
        }
        let Some(degrees) = self.degrees(counts, probe) else { return 0x0200 };
        let sign = if degrees < 0.0 { 0x8000 } else { 0 };
        sign | (degrees.abs() * 2.0).round() as u16
    }

    /// In the unit the meter is set to.
    pub(super) fn degrees(&self, counts: &Counts, probe: usize) -> Option<f64> {
        let celsius = counts.celsius(probe)?;
        let fahrenheit = self.settings.0[place::FLAGS] & FAHRENHEIT != 0;
        Some(if fahrenheit { celsius * 1.8 + 32.0 } else { celsius })
    }

    pub(super) fn packet(&self, format: Format, counts: &Counts) -> Packet {
        let mut packet = Packet::new(format);
        packet.voltage = counts.tenths_of_a_volt();
        packet.seconds = counts.seconds();
        for channel in 0..format.channels() {
            let measures = channel < self.channels();
            // Without the expansion board the upper channels carry uninitialised memory.
            let (mut polarized, mut current) = (0x00CF_5D1E_3100 + channel as u64, 0x7EE4);
            if measures {
                packet.absolute_watt_seconds[channel] = counts.absolute(channel);
                let net = self.has_net_metering(channel);
                polarized = if net { counts.polarized(channel) } else { 0 };
                current = counts.current(channel, 50.0);
            }
            if format.has_polarized() {
                packet.polarized_watt_seconds[channel] = polarized;
            }
            packet.current[channel] = current;
        }
        for (input, pulses) in packet.pulses.iter_mut().enumerate() {
            *pulses = counts.pulses(input);
        }
        for (probe, temperature) in packet.temperatures.iter_mut().enumerate() {
            *temperature = self.temperature(counts, probe);
        }
        if format == Format::Bin48NetTime {
            packet.device_time = device_time(counts.clock() + self.clock_offset);
        }
        packet
    }

    /// Format 1: seven channels in each packet of an ECM-1240, with a unit id of its own.
    pub(super) fn posing(&self, burst: u8, counts: &Counts, state: &State) -> Vec<u8> {
        let mut bytes = Vec::new();
        for ecm in 0..burst {
            let first = usize::from(ecm) * 7;
            let mut packet = Packet::new(Format::Ecm1240);
            packet.voltage = counts.tenths_of_a_volt();
            packet.seconds = counts.seconds();
            packet.serial_number = state.serial_number;
            packet.unit_id = state.unit_id.wrapping_add(ecm);
            for channel in 0..2 {
                packet.absolute_watt_seconds[channel] = counts.absolute(first + channel);
                packet.polarized_watt_seconds[channel] = counts.polarized(first + channel);
                packet.current[channel] = counts.current(first + channel, 100.0);
            }
            for aux in 0..5 {
                packet.aux_watt_seconds[aux] = counts.absolute(first + 2 + aux) as u32;
            }
            packet.encode(&mut bytes);
        }
        bytes
    }
}
