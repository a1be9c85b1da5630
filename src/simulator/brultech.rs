//! A simulated GEM, ECM-1240 or ECM-1220.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meter_protocols::brultech::{
    AUX_MODULUS, ENERGY_MODULUS, Format, PULSE_MODULUS, Packet, SECONDS_MODULUS,
};

use super::house::{EPOCH, House, Level};

/// One meter. Channel 1 is the grid, channel 2 the solar panels, the others are circuits.
#[derive(Debug)]
pub struct SimulatedMeter {
    packet: Packet,
    house: Arc<House>,
    /// The meter's own time, in seconds since 1970.
    clock: f64,
}

impl SimulatedMeter {
    /// Meter `n` of a simulation; its serial number depends on `n` and the model alone.
    pub fn new(n: u32, format: Format, house: Arc<House>) -> SimulatedMeter {
        let mut packet = Packet::new(format);
        let (unit, serial) = (n / PER_UNIT, n % PER_UNIT);
        // Both models of ECM write their serial numbers in one way, so these must differ.
        let first_unit = if format == Format::Ecm1220 { 3 } else { 1 };
        packet.unit_id = (first_unit + unit) as u8;
        packet.serial_number = (FIRST_SERIAL + serial) as u16;
        SimulatedMeter { packet, house, clock: now() }
    }

    /// The meter's serial number.
    pub fn serial(&self) -> String {
        self.packet.serial()
    }

    /// Appends the packet that is due, `interval` after the last.
    pub fn write_packet(&mut self, interval: Duration, out: &mut Vec<u8>) {
        let second = Duration::from_secs(1);
        self.clock = if interval < second { self.clock + 1.0 } else { now() };
        if self.packet.format.is_ecm() {
            self.fill_ecm();
        } else {
            self.fill_gem();
        }
        self.packet.encode(out);
    }

    fn fill_common(&mut self, volts: f64, amps_scale: f64) {
        // Neighbours do not do the same thing at the same time.
        let shift = f64::from(self.packet.serial_number) * 1234.5;
        let time = self.clock + shift;
        let since = (self.clock as u64).saturating_sub(EPOCH);
        self.packet.seconds = (since % SECONDS_MODULUS) as u32;
        let wobble = (time / 97.0).sin() + (time / 13.0).sin() * 0.4;
        self.packet.voltage = ((volts + wobble) * 10.0) as u16;
        for channel in 0..self.packet.channels().min(32) {
            let level = match channel {
                0 => self.house.grid(time),
                1 => self.house.solar(time),
                n => self.house.circuit(n - 2, time),
            };
            self.set_channel(channel, level, volts, amps_scale);
        }
    }

    fn set_channel(&mut self, channel: usize, level: Level, volts: f64, amps_scale: f64) {
        let packet = &mut self.packet;
        packet.absolute_watt_seconds[channel] = (level.taken + level.given) % ENERGY_MODULUS;
        if packet.format.has_polarized() {
            packet.polarized_watt_seconds[channel] = level.given % ENERGY_MODULUS;
        }
        packet.current[channel] = (level.watts.abs() / volts * amps_scale) as u16;
    }

    fn fill_gem(&mut self) {
        self.fill_common(121.5, 50.0);
        let gas = self.house.circuit(0, self.clock).taken / 36_000;
        let packet = &mut self.packet;
        packet.pulses[0] = (gas % PULSE_MODULUS) as u32;
        // A warm room, a cellar, and six inputs without a probe.
        let wave = ((self.clock / 7000.0).sin() * 3.0) as i32;
        packet.temperatures = [NO_PROBE; 8];
        packet.temperatures[0] = (42 + wave) as u16;
        packet.temperatures[1] = (24 + wave) as u16;
        if packet.format == Format::Bin48NetTime {
            packet.device_time = civil(self.clock as i64);
        }
    }

    fn fill_ecm(&mut self) {
        self.fill_common(121.5, 100.0);
        if self.packet.format == Format::Ecm1240 {
            for aux in 0..5 {
                let counted = self.house.circuit(10 + aux, self.clock).taken;
                self.packet.aux_watt_seconds[aux] = (counted % AUX_MODULUS) as u32;
            }
            self.packet.aux5_volts = 511;
        }
    }
}

/// 256.0 degrees: what a GEM sends where no probe answers.
const NO_PROBE: u16 = 0x0200;
const FIRST_SERIAL: u32 = 10_001;
const PER_UNIT: u32 = 50_000;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Year - 2000, month, day, hour, minute, second in UTC.
fn civil(seconds: i64) -> [u8; 6] {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return [0; 6] };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    [
        time.year().saturating_sub(2000) as u8,
        time.month() as u8,
        time.day() as u8,
        time.hour() as u8,
        time.minute() as u8,
        time.second() as u8,
    ]
}
