//! A GEM's list of 512 settings, as `^^^RQSALL` tells them.

use meter_protocols::brultech::Format;

/// The settings, one byte each, by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings(pub [u8; 512]);

/// What the settings hold where newer firmware keeps the set-up password (291 to 297). A test that
/// finds any of it outside of the meter has found a leak; as hex it is [`Settings::list`]'s.
pub const PASSWORD: [u8; 7] = *b"s3cret!";

/// Places in the list.
pub(super) mod place {
    pub(in super::super) const OPTIONS: usize = 1;
    pub(in super::super) const CT_TYPE: usize = 49;
    pub(in super::super) const CT_RANGE: usize = 97;
    pub(in super::super) const PT_TYPE: usize = 121;
    pub(in super::super) const PT_RANGE: usize = 122;
    pub(in super::super) const FORMAT: usize = 123;
    pub(in super::super) const INTERVAL: usize = 124;
    pub(in super::super) const SECONDARY_FORMAT: usize = 130;
    pub(in super::super) const ECMS_POSED: usize = 131;
    pub(in super::super) const TEMPERATURES_ENABLED: usize = 246;
    pub(in super::super) const MAX_CHANNELS: usize = 249;
    pub(in super::super) const PASSWORD: usize = 291;
    pub(in super::super) const CHUNK_SIZE: usize = 317;
    pub(in super::super) const PULSES_ENABLED: usize = 319;
    pub(in super::super) const FLAGS: usize = 320;
    pub(in super::super) const CHUNK_PAUSE: usize = 321;
}

/// No net metering: the polarized counter is not sent.
pub(super) const NO_NET_METERING: u8 = 1 << 6;
/// The polarity of the channel is the other way round.
pub(super) const TOGGLED: u8 = 1 << 7;
/// Temperatures are sent in degrees Fahrenheit.
pub(super) const FAHRENHEIT: u8 = 1 << 4;

impl Settings {
    /// As a GEM of 32 channels has them: grid and solar with net metering, the others without.
    pub(super) fn new(format: Format, interval_s: u8) -> Settings {
        let mut list = Settings([0; 512]);
        for channel in 0..48 {
            list.0[place::OPTIONS + channel] = if channel < 2 { 0 } else { NO_NET_METERING };
            list.0[place::CT_TYPE + channel] = 211;
        }
        list.0[place::CT_RANGE..place::CT_RANGE + 24].fill(0x44);
        list.0[place::PT_TYPE] = 137;
        list.0[place::PT_RANGE] = 3;
        list.0[place::FORMAT] = format.packet_format().unwrap_or(5);
        list.0[place::INTERVAL] = interval_s;
        list.0[place::ECMS_POSED] = 1;
        list.0[132..182].fill(1);
        list.0[place::TEMPERATURES_ENABLED] = 0xFF;
        list.0[place::MAX_CHANNELS] = 32;
        list.0[place::PASSWORD..place::PASSWORD + PASSWORD.len()].copy_from_slice(&PASSWORD);
        list.set_wide(place::CHUNK_SIZE, 65_000);
        list.set_wide(place::CHUNK_PAUSE, 16);
        list.0[place::PULSES_ENABLED] = 0x0F;
        list
    }

    /// The value of two bytes, high one first.
    pub(super) fn wide(&self, place: usize) -> u16 {
        u16::from_be_bytes([self.0[place], self.0[place + 1]])
    }

    pub(super) fn set_wide(&mut self, place: usize, value: u16) {
        self.0[place..place + 2].copy_from_slice(&value.to_be_bytes());
    }

    /// A bit of a mask; inputs count from 0.
    pub(super) fn is_on(&self, place: usize, input: usize) -> bool {
        self.0[place] & (1 << input) != 0
    }

    pub(super) fn switch(&mut self, place: usize, input: usize, on: bool) {
        let bit = 1 << input;
        if on {
            self.0[place] |= bit;
        } else {
            self.0[place] &= !bit;
        }
    }

    /// The CT range of a channel that counts from 0: odd channels are the low nibble.
    pub(super) fn ct_range(&self, channel: usize) -> u8 {
        let both = self.0[place::CT_RANGE + channel / 2];
        if channel.is_multiple_of(2) { both & 0x0F } else { both >> 4 }
    }

    /// Sets the CT range of a channel that counts from 0.
    pub fn set_ct_range(&mut self, channel: usize, range: u8) {
        let both = &mut self.0[place::CT_RANGE + channel / 2];
        *both = if channel.is_multiple_of(2) {
            *both & 0xF0 | range
        } else {
            *both & 0x0F | range << 4
        };
    }

    /// The values of a part of the list as the meter writes them: `D3,04`.
    pub fn list(&self, places: std::ops::Range<usize>) -> String {
        let values = self.0.get(places).unwrap_or_default();
        let values: Vec<String> = values.iter().map(|value| format!("{value:02X}")).collect();
        values.join(",")
    }
}
