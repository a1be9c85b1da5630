//! What a meter makes of packets that follow one another.

use std::collections::HashMap;

use meter_protocols::brultech::Format;

use super::*;
use crate::adapters::fleet::Meter as _;
use crate::adapters::fleet::{ChannelSettings, LinkId};
use crate::model::{Role, SensorType};

/// A meter under test, fed with packets that differ from the last by what the test changes.
struct Bench {
    meter: Option<Meter>,
    settings: MeterSettings,
    packet: Packet,
    at: Timestamp,
}

impl Bench {
    fn new(format: Format, channels: &[(Channel, ChannelSettings)]) -> Bench {
        let mut packet = Packet::new(format);
        packet.seconds = 1000;
        packet.temperatures = [0x0200; 8];
        let settings = MeterSettings::adopted("house".into(), LinkId(0));
        let settings = MeterSettings { channels: channels.iter().cloned().collect(), ..settings };
        Bench { meter: None, settings, packet, at: Timestamp(1_700_000_000_000) }
    }

    /// Ten seconds later by both clocks.
    fn hear(&mut self, change: impl FnOnce(&mut Packet)) -> Heard {
        self.packet.seconds += 10;
        self.at.0 += 10_000;
        change(&mut self.packet);
        let (packet, at) = (&self.packet, self.at);
        let make = || Meter::begin(packet, at, self.settings.clone(), Standing::Configured, None);
        self.meter.get_or_insert_with(make).hear(packet, at)
    }

    /// As if the gateway was started again, with other settings.
    fn restart(&mut self, change: impl FnOnce(&mut MeterSettings)) {
        let state = self.meter.take().unwrap().state;
        let kept = postcard::to_stdvec(&state).unwrap();
        let state = postcard::from_bytes(&kept).unwrap();
        change(&mut self.settings);
        let settings = self.settings.clone();
        self.meter = Some(Meter::begin(
            &self.packet,
            self.at,
            settings,
            Standing::Configured,
            Some(Kept::Same(state)),
        ));
    }
}

/// The readings as `channel/quantity/c` or `/g` with their values.
fn values(heard: &Heard) -> HashMap<String, String> {
    let pairs = heard.set.iter().map(|(sensor, value)| {
        let (kind, value) = match value {
            Value::Counter(value) => ('c', value),
            Value::Gauge(value) => ('g', value),
        };
        (format!("{}/{}/{kind}", sensor.channel, sensor.quantity), value.to_string())
    });
    pairs.collect()
}

fn get<'a>(values: &'a HashMap<String, String>, key: &str) -> Option<&'a str> {
    values.get(key).map(String::as_str)
}

fn grid() -> (Channel, ChannelSettings) {
    (Channel::Ch(1), ChannelSettings { role: Role::Grid, ..ChannelSettings::default() })
}

#[test]
fn the_first_packet_gives_counters_and_the_second_gauges() {
    let mut bench = Bench::new(Format::Bin32Net, &[grid()]);
    let first = values(&bench.hear(|packet| {
        packet.absolute_watt_seconds[0] = 3_600_000;
        packet.polarized_watt_seconds[0] = 360_000;
        packet.voltage = 1215;
        packet.current[0] = 50;
    }));
    assert_eq!(get(&first, "ch1/pplus/c"), Some("900"));
    assert_eq!(get(&first, "ch1/pminus/c"), Some("100"));
    assert_eq!(get(&first, "ch1/pplus/g"), None);
    assert_eq!(get(&first, "ch1/irms/g"), Some("1"));
    assert_eq!(get(&first, "line/vrms/g"), Some("121.5"));
    assert_eq!(get(&first, "ch2/pminus/c"), None);
    let second = values(&bench.hear(|packet| {
        packet.absolute_watt_seconds[0] += 3_000;
        packet.polarized_watt_seconds[0] += 1_000;
    }));
    assert_eq!(get(&second, "ch1/pplus/g"), Some("200"));
    assert_eq!(get(&second, "ch1/pminus/g"), Some("100"));
}

#[test]
fn the_same_second_again_gives_counters_and_no_gauge() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    bench.hear(|_| {});
    let again = values(&bench.hear(|packet| {
        packet.seconds -= 10;
        packet.absolute_watt_seconds[0] += 3_600;
    }));
    assert_eq!(get(&again, "ch1/pplus/c"), Some("1"));
    assert_eq!(get(&again, "ch1/pplus/g"), None);
}

#[test]
fn seconds_alone_that_start_again_cost_no_energy() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    bench.hear(|packet| packet.absolute_watt_seconds[0] = 36_000);
    let heard = bench.hear(|packet| {
        packet.seconds = 3;
        packet.absolute_watt_seconds[0] += 3_600;
    });
    assert_eq!(get(&values(&heard), "ch1/pplus/c"), Some("11"));
    assert_eq!(get(&values(&heard), "ch1/pplus/g"), None);
    assert_eq!(heard.corrections.len(), 1);
    let next = values(&bench.hear(|packet| packet.absolute_watt_seconds[0] += 1_000));
    assert_eq!(get(&next, "ch1/pplus/g"), Some("100"));
}

#[test]
fn a_restarted_meter_counts_nothing_for_the_interval_on_any_channel() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    bench.hear(|packet| {
        packet.absolute_watt_seconds[0] = 36_000;
        packet.absolute_watt_seconds[1] = 40;
    });
    let heard = values(&bench.hear(|packet| {
        packet.seconds = 3;
        packet.absolute_watt_seconds[0] = 1_000;
        packet.absolute_watt_seconds[1] = 7_200;
    }));
    assert_eq!(get(&heard, "ch1/pplus/c"), Some("10"));
    // More than before by chance, and still not counted.
    assert_eq!(get(&heard, "ch2/pplus/c"), Some("0.011"));
}

#[test]
fn an_ecm_says_itself_that_it_was_reset() {
    let mut bench = Bench::new(Format::Ecm1240, &[]);
    bench.hear(|packet| {
        packet.absolute_watt_seconds[0] = 36_000;
        packet.aux_watt_seconds[4] = u32::MAX;
    });
    let wrapped = values(&bench.hear(|packet| packet.aux_watt_seconds[4] = 3_599));
    assert_eq!(get(&wrapped, "aux5/pplus/c"), Some("1193047.471"));
    assert_eq!(get(&wrapped, "aux5/pplus/g"), Some("360"));
    let reset = bench.hear(|packet| {
        packet.flag = 0b1111_1001;
        packet.absolute_watt_seconds[0] = 500;
        packet.aux_watt_seconds[4] = 10;
    });
    assert_eq!(get(&values(&reset), "ch1/pplus/c"), Some("10"));
    assert_eq!(get(&values(&reset), "aux5/pplus/c"), Some("1193047.471"));
    assert_eq!(get(&values(&reset), "ch1/pplus/g"), None);
    // The bits above the reset counter mean something else.
    let other = values(&bench.hear(|packet| {
        packet.flag = 0b0000_0001;
        packet.absolute_watt_seconds[0] += 3_600;
    }));
    assert_eq!(get(&other, "ch1/pplus/c"), Some("11"));
    assert_eq!(get(&other, "ch1/pplus/g"), Some("360"));
}

#[test]
fn totals_go_on_over_a_restart_and_over_a_change_of_role() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    bench.hear(|packet| {
        packet.absolute_watt_seconds[0] = 36_000;
        packet.polarized_watt_seconds[0] = 7_200;
    });
    bench.restart(|settings| settings.channels.extend([grid()]));
    let heard = values(&bench.hear(|packet| {
        packet.absolute_watt_seconds[0] += 7_200;
        packet.polarized_watt_seconds[0] += 3_600;
    }));
    assert_eq!(get(&heard, "ch1/pplus/c"), Some("11"));
    assert_eq!(get(&heard, "ch1/pminus/c"), Some("3"));
}

#[test]
fn a_multiplier_scales_power_energy_and_current() {
    let double = ChannelSettings { multiplier: 2.0, ..ChannelSettings::default() };
    let mut bench = Bench::new(Format::Bin32Abs, &[(Channel::Ch(1), double)]);
    bench.hear(|packet| packet.absolute_watt_seconds[0] = 3_600);
    let heard = values(&bench.hear(|packet| {
        packet.absolute_watt_seconds[0] += 1_800;
        packet.current[0] = 100;
    }));
    assert_eq!(get(&heard, "ch1/pplus/c"), Some("3"));
    assert_eq!(get(&heard, "ch1/pplus/g"), Some("360"));
    assert_eq!(get(&heard, "ch1/irms/g"), Some("4"));
}

#[test]
fn a_probe_is_there_from_its_first_reading_on_and_stays() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    let before = bench.hear(|_| {}).set;
    let after = bench.hear(|packet| packet.temperatures[2] = 0x800A);
    assert_eq!(get(&values(&after), "t3/temperature/g"), Some("-5"));
    assert_eq!(after.set.device.sensors.len(), before.device.sensors.len() + 1);
    let gone = bench.hear(|packet| packet.temperatures[2] = 0x0200);
    assert_eq!(get(&values(&gone), "t3/temperature/g"), None);
    assert_eq!(gone.set.device, after.set.device);
}

#[test]
fn fahrenheit_is_published_as_celsius() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    bench.settings.fahrenheit = true;
    let heard = values(&bench.hear(|packet| packet.temperatures[0] = 2 * 68));
    assert_eq!(get(&heard, "t1/temperature/g"), Some("20"));
}

#[test]
fn pulses_become_litres_and_survive_their_counters_wrap() {
    let gas = ChannelSettings {
        kind: Some(SensorType::Gas),
        constant: Some(10.0),
        ..ChannelSettings::default()
    };
    let mut bench = Bench::new(Format::Bin48Net, &[(Channel::Pulse(1), gas)]);
    bench.hear(|packet| packet.pulses = [0xFF_FFFF, 7, 0, 0]);
    let heard = bench.hear(|packet| packet.pulses = [1, 8, 0, 0]);
    assert_eq!(get(&values(&heard), "pulse1/pulse/c"), Some("167772170"));
    assert_eq!(get(&values(&heard), "pulse2/pulse/c"), Some("8"));
    assert_eq!(heard.set.pulses[..2], [Some(16_777_217), Some(8)]);
}

#[test]
fn channels_without_hardware_are_not_there() {
    let mut bench = Bench::new(Format::Bin48Net, &[]);
    let heard = bench.hear(|packet| packet.polarized_watt_seconds[40] = 890_000_000_000);
    let highest = heard.set.device.sensors.iter().map(|sensor| sensor.channel).max();
    assert_eq!(highest, Some(Channel::Pulse(4)));
    assert!(!heard.set.iter().any(|(sensor, _)| sensor.channel == Channel::Ch(33)));
}

#[test]
fn another_meter_goes_on_with_the_totals_whatever_its_model() {
    let role = |role| ChannelSettings { role, ..ChannelSettings::default() };
    let channels = [(Channel::Ch(1), role(Role::Grid))];
    let mut gem = Bench::new(Format::Bin32Net, &channels);
    gem.hear(|packet| {
        packet.absolute_watt_seconds[0] = 36_000;
        packet.polarized_watt_seconds[0] = 7_200;
        packet.pulses[0] = 5;
    });
    let kept = gem.meter.take().unwrap().state;

    // A format without direction first: what the other has given back stays.
    for (format, has_pulses) in [(Format::Bin32Abs, true), (Format::Ecm1240, false)] {
        let mut other = Bench::new(format, &channels);
        other.packet.absolute_watt_seconds[0] = 900_000;
        let settings = other.settings.clone();
        let handed = Some(Kept::Handed(kept.clone()));
        let meter = Meter::begin(&other.packet, other.at, settings, Standing::Configured, handed);
        other.meter = Some(meter);
        let first = values(&other.hear(|packet| packet.seconds -= 10));
        assert_eq!(get(&first, "ch1/pplus/c"), Some("8"));
        assert_eq!(get(&first, "pulse1/pulse/c"), has_pulses.then_some("5"));
        assert_eq!(get(&first, "ch1/pplus/g"), None);
        let next = values(&other.hear(|packet| {
            packet.absolute_watt_seconds[0] += 3_600;
            packet.format = if has_pulses { Format::Bin32Net } else { packet.format };
        }));
        assert_eq!(get(&next, "ch1/pplus/c"), Some("9"));
        assert_eq!(get(&next, "ch1/pminus/c"), Some("2"));
    }
}
