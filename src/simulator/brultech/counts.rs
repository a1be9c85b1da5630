//! What a simulated meter has counted.
//!
//! Everything is had from the time and the house, plus an offset for each counter: a reset, or a
//! counter set near its end, changes the offset, and the counter goes on from there.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meter_protocols::brultech::{AUX_MODULUS, ENERGY_MODULUS, PULSE_MODULUS, SECONDS_MODULUS};

use crate::simulator::house::{CIRCUITS, EPOCH, House, Level};

/// The channels of the largest meter.
pub const CHANNELS: usize = 48;

/// The counters of one meter, and its clock. Channels, inputs and the rest count from 0.
#[derive(Debug)]
pub struct Counts {
    house: Arc<House>,
    /// Neighbours do not do the same thing at the same time: how many seconds this one is off.
    shift: f64,
    /// The meter's own time, in seconds since 1970.
    clock: f64,
    /// How far that is ahead of ours.
    lead: f64,
    channels: [Offsets; CHANNELS],
    aux: [u64; 5],
    /// What an auxiliary counter counts of the house's watt-seconds: so many for each so many.
    aux_scale: [(u64, u64); 5],
    seconds: u64,
    pulses: [u64; 4],
    /// Inputs that do not count at the moment, with what they stopped at.
    pulses_held: [Option<u32>; 4],
}

/// What is added to a channel's counters. All arithmetic wraps: the widths are powers of two.
#[derive(Debug, Clone, Copy, Default)]
struct Offsets {
    absolute: u64,
    polarized: u64,
    /// Whether the polarized counter counts what is taken instead of what is given.
    turned: bool,
}

impl Counts {
    /// The counters of a meter that is `shift` seconds off the house's time.
    pub(super) fn new(house: Arc<House>, shift: f64) -> Counts {
        Counts {
            house,
            shift,
            clock: now(),
            lead: 0.0,
            channels: [Offsets::default(); CHANNELS],
            aux: [0; 5],
            aux_scale: [(1, 1); 5],
            seconds: 0,
            pulses: [0; 4],
            pulses_held: [None; 4],
        }
    }

    /// Moves the clock on to the packet that is due, `interval` after the last. Below a second the
    /// meter's time runs ahead by a second a packet.
    pub(super) fn tick(&mut self, interval: Duration) {
        if interval < Duration::from_secs(1) {
            self.clock += 1.0;
            self.lead = self.clock - now();
        } else {
            self.update();
        }
    }

    /// Moves the clock on to now; it never goes back.
    pub(super) fn update(&mut self) {
        self.clock = self.clock.max(now() + self.lead);
    }

    /// Moves clock and counters on at once: the line was unplugged for so long, and the meter went
    /// on counting.
    pub fn jump(&mut self, time: Duration) {
        self.lead += time.as_secs_f64();
        self.clock += time.as_secs_f64();
    }

    /// The meter's time in seconds since 1970.
    pub fn clock(&self) -> f64 {
        self.clock
    }

    fn level(&self, channel: usize) -> Level {
        let time = self.clock + self.shift;
        match channel {
            0 => self.house.grid(time),
            1 => self.house.solar(time),
            n => self.house.circuit((n - 2) % CIRCUITS, time),
        }
    }

    /// Watts of a channel now, negative when given back.
    pub fn watts(&self, channel: usize) -> f64 {
        self.level(channel).watts
    }

    fn absolute_of_house(&self, channel: usize) -> u64 {
        let level = self.level(channel);
        level.taken + level.given
    }

    fn polarized_of_house(&self, channel: usize) -> u64 {
        let (level, turned) = (self.level(channel), self.offsets(channel).turned);
        if turned { level.taken } else { level.given }
    }

    fn offsets(&self, channel: usize) -> Offsets {
        self.channels.get(channel).copied().unwrap_or_default()
    }

    /// Watt-seconds in either direction, 40 bits.
    pub fn absolute(&self, channel: usize) -> u64 {
        let offset = self.offsets(channel).absolute;
        self.absolute_of_house(channel).wrapping_add(offset) % ENERGY_MODULUS
    }

    /// Watt-seconds in one direction, 40 bits.
    pub fn polarized(&self, channel: usize) -> u64 {
        let offset = self.offsets(channel).polarized;
        self.polarized_of_house(channel).wrapping_add(offset) % ENERGY_MODULUS
    }

    /// Makes the absolute counter of a channel stand at `value` now.
    pub fn set_absolute(&mut self, channel: usize, value: u64) {
        let offset = value.wrapping_sub(self.absolute_of_house(channel));
        if let Some(offsets) = self.channels.get_mut(channel) {
            offsets.absolute = offset;
        }
    }

    /// Makes the polarized counter of a channel stand at `value` now.
    pub fn set_polarized(&mut self, channel: usize, value: u64) {
        let offset = value.wrapping_sub(self.polarized_of_house(channel));
        if let Some(offsets) = self.channels.get_mut(channel) {
            offsets.polarized = offset;
        }
    }

    /// Has the polarized counter count the other direction from now on.
    pub(super) fn turn(&mut self, channel: usize, turned: bool) {
        let before = self.polarized(channel);
        if let Some(offsets) = self.channels.get_mut(channel) {
            offsets.turned = turned;
        }
        self.set_polarized(channel, before);
    }

    /// Makes both counters of a channel begin anew.
    pub fn reset_channel(&mut self, channel: usize) {
        self.set_absolute(channel, 0);
        self.set_polarized(channel, 0);
    }

    /// Makes the counters of all channels begin anew, auxiliary ones included.
    pub fn reset_energy(&mut self) {
        (0..CHANNELS).for_each(|channel| self.reset_channel(channel));
        (0..self.aux.len()).for_each(|aux| self.set_aux(aux, 0));
    }

    fn seconds_of_house(&self) -> u64 {
        (self.clock as u64).saturating_sub(EPOCH)
    }

    /// The seconds counter, 24 bits.
    pub fn seconds(&self) -> u32 {
        (self.seconds_of_house().wrapping_add(self.seconds) % SECONDS_MODULUS) as u32
    }

    /// Makes the seconds counter stand at `value` now.
    pub fn set_seconds(&mut self, value: u32) {
        self.seconds = u64::from(value).wrapping_sub(self.seconds_of_house());
    }

    /// Gas of the house's burner at the first input; nothing at the others.
    fn pulses_of_house(&self, input: usize) -> u64 {
        if input == 0 { self.house.circuit(0, self.clock).taken / 36_000 } else { 0 }
    }

    /// A pulse counter, 24 bits.
    pub fn pulses(&self, input: usize) -> u32 {
        if let Some(held) = self.pulses_held.get(input).copied().flatten() {
            return held;
        }
        let offset = self.pulses.get(input).copied().unwrap_or(0);
        (self.pulses_of_house(input).wrapping_add(offset) % PULSE_MODULUS) as u32
    }

    /// Makes a pulse counter stand at `value` now.
    pub fn set_pulses(&mut self, input: usize, value: u32) {
        let offset = u64::from(value).wrapping_sub(self.pulses_of_house(input));
        if let Some(slot) = self.pulses.get_mut(input) {
            *slot = offset;
        }
        if let Some(Some(held)) = self.pulses_held.get_mut(input) {
            *held = value;
        }
    }

    /// Stops a pulse counter or has it go on from where it stopped.
    pub(super) fn count_pulses(&mut self, input: usize, counts: bool) {
        let value = self.pulses(input);
        if let Some(held) = self.pulses_held.get_mut(input) {
            *held = (!counts).then_some(value);
        }
        if counts {
            self.set_pulses(input, value);
        }
    }

    /// An auxiliary counter, 32 bits.
    pub fn aux(&self, aux: usize) -> u32 {
        let offset = self.aux.get(aux).copied().unwrap_or(0);
        (self.aux_of_house(aux).wrapping_add(offset) % AUX_MODULUS) as u32
    }

    /// Makes an auxiliary counter stand at `value` now.
    pub fn set_aux(&mut self, aux: usize, value: u32) {
        let offset = u64::from(value).wrapping_sub(self.aux_of_house(aux));
        if let Some(slot) = self.aux.get_mut(aux) {
            *slot = offset;
        }
    }

    /// Has an auxiliary counter count `counts` for each `per` watt-seconds from now on.
    pub(super) fn scale_aux(&mut self, aux: usize, counts: u64, per: u64) {
        let before = self.aux(aux);
        if let Some(scale) = self.aux_scale.get_mut(aux) {
            *scale = (counts, per);
        }
        self.set_aux(aux, before);
    }

    fn aux_of_house(&self, aux: usize) -> u64 {
        let (counts, per) = self.aux_scale.get(aux).copied().unwrap_or((1, 1));
        self.house.circuit(10 + aux, self.clock).taken.wrapping_mul(counts) / per
    }

    /// Tenths of a volt on the line.
    pub(super) fn tenths_of_a_volt(&self) -> u16 {
        let time = self.clock + self.shift;
        let wobble = (time / 97.0).sin() + (time / 13.0).sin() * 0.4;
        ((VOLTS + wobble) * 10.0) as u16
    }

    /// The current of a channel in steps of `1 / steps` ampere.
    pub(super) fn current(&self, channel: usize, steps: f64) -> u16 {
        (self.watts(channel).abs() / VOLTS * steps) as u16
    }

    /// Degrees Celsius at a probe: a warm room, a cellar, and six inputs without a probe.
    pub(super) fn celsius(&self, probe: usize) -> Option<f64> {
        let wave = ((self.clock / 7000.0).sin() * 3.0).trunc();
        match probe {
            0 => Some((42.0 + wave) / 2.0),
            1 => Some((24.0 + wave) / 2.0),
            _ => None,
        }
    }
}

const VOLTS: f64 = 121.5;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts::new(Arc::new(House::new(1)), 0.0)
    }

    #[test]
    fn counters_go_on_from_where_they_are_set_and_run_over() {
        let mut counts = counts();
        counts.set_absolute(0, ENERGY_MODULUS - 1);
        counts.set_seconds((SECONDS_MODULUS - 1) as u32);
        counts.set_pulses(0, (PULSE_MODULUS - 1) as u32);
        assert_eq!(counts.absolute(0), ENERGY_MODULUS - 1);
        assert_eq!(counts.seconds(), 0xFF_FFFF);
        assert_eq!(counts.pulses(0), 0xFF_FFFF);
        let before = counts.absolute_of_house(0);
        counts.jump(Duration::from_hours(24));
        assert_eq!(counts.seconds(), 86_399);
        assert_eq!(counts.absolute(0), counts.absolute_of_house(0) - before - 1);
        assert!(counts.pulses(0) < 1000);
        counts.reset_energy();
        assert_eq!((counts.absolute(0), counts.polarized(1), counts.aux(3)), (0, 0, 0));
    }

    #[test]
    fn a_turned_channel_counts_the_other_direction_without_a_jump() {
        let mut counts = counts();
        let (given, taken) = (counts.polarized(0), counts.level(0).taken);
        counts.turn(0, true);
        assert_eq!(counts.polarized(0), given);
        counts.jump(Duration::from_hours(24));
        assert_eq!(counts.polarized(0) - given, counts.level(0).taken - taken);
    }

    #[test]
    fn a_stopped_input_goes_on_from_where_it_stopped() {
        let mut counts = counts();
        let before = counts.pulses(0);
        counts.count_pulses(0, false);
        counts.jump(Duration::from_hours(48));
        assert_eq!(counts.pulses(0), before);
        counts.count_pulses(0, true);
        assert_eq!(counts.pulses(0), before);
        counts.jump(Duration::from_hours(24));
        assert!(counts.pulses(0) > before);
    }
}
