use std::collections::HashMap;

use super::*;
use crate::adapters::fleet::{ChannelSettings, DEFAULT_POWER_CEILING_W, LinkId, Meter as _};
use crate::model::{CorrectionKind, Latest, Sum};

fn settings(multipliers: &[(Channel, f64)]) -> MeterSettings {
    let channel = |(channel, multiplier): &(Channel, f64)| {
        (*channel, ChannelSettings { multiplier: *multiplier, ..ChannelSettings::default() })
    };
    MeterSettings {
        name: "mains".into(),
        serial: None,
        link: LinkId(0),
        id: None,
        identity: None,
        power_ceiling_w: DEFAULT_POWER_CEILING_W,
        timeout: None,
        poll: None,
        fahrenheit: false,
        channels: multipliers.iter().map(channel).collect::<HashMap<_, _>>(),
        other_channels: ChannelSettings::default(),
    }
}

fn frame(model: Model, now: Option<Measured>) -> Frame {
    Frame {
        serial: "smartmeter001".into(),
        model,
        presence: Presence::Here,
        on_our_broker: false,
        message_unit: None,
        now,
        past: Vec::new(),
        relay: None,
    }
}

/// A meter and what it was told, second by second.
struct Run {
    meter: Meter,
    seconds: i64,
}

impl Run {
    fn new(model: Model, multipliers: &[(Channel, f64)]) -> Run {
        let settings = settings(multipliers);
        let first = frame(model, None);
        let meter = Meter::begin(&first, Timestamp(0), settings, Standing::Configured, None);
        Run { meter, seconds: 0 }
    }

    fn hear(&mut self, after: i64, measured: Measured) -> Heard {
        self.seconds += after;
        let frame = frame(self.meter.model, Some(measured));
        self.meter.hear(&frame, Timestamp(self.seconds * 1000))
    }
}

/// The values of a set as text, by channel and quantity.
fn values(set: &ReadingSet) -> HashMap<String, String> {
    let one = |(sensor, value): (&Sensor, Value)| match value {
        Value::Gauge(value) => {
            (format!("{} {}", sensor.channel, sensor.quantity), value.to_string())
        }
        Value::Counter(value) => {
            (format!("{} {} Wh", sensor.channel, sensor.quantity), value.to_string())
        }
    };
    set.iter().map(one).collect()
}

fn line(active: f64, reactive: f64, volt: f64, ampere: f64) -> Line {
    Line {
        active_w: Some(active),
        reactive_var: Some(reactive),
        apparent_va: Some(volt * ampere),
        power_factor: Some(0.9),
        voltage_v: Some(volt),
        current_a: Some(ampere),
    }
}

fn three() -> Measured {
    Measured {
        lines: [
            line(900.0, 191.0, 230.0, 4.0),
            line(-200.0, -92.0, 231.0, 1.0),
            line(13.0, -5.0, 229.0, 0.5),
        ],
        whole: line(713.0, 94.0, 230.0, 5.5),
        frequency_hz: Some(50.02),
        temperature_c: None,
        energy: Some(Energy::Total {
            whole_wh: 100.0,
            lines_wh: [Some(60.0), Some(30.0), Some(10.0)],
        }),
    }
}

#[test]
fn each_line_and_the_sum_have_what_was_told_of_them() {
    let mut run = Run::new(Model::Smartmeter, &[]);
    let heard = run.hear(1, three());
    let all = values(&heard.set);
    for (key, value) in [
        ("line pplus", "713"),
        ("line pminus", "0"),
        ("line pplus Wh", "100"),
        ("line frequency", "50.02"),
        ("l1 q1", "191"),
        ("l1 q4", "0"),
        ("l2 pplus", "0"),
        ("l2 pminus", "200"),
        ("l2 q3", "92"),
        ("l3 q4", "5"),
        ("l3 pplus Wh", "10"),
        ("l2 apparent", "231"),
        ("l3 irms", "0.5"),
    ] {
        assert_eq!(all.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(heard.set.device.sensors.len(), 11 + 3 * 10);
    assert!(!all.contains_key("line pminus Wh"), "the meter counts no export");
    let latest: Vec<Latest> = heard
        .set
        .device
        .sensors
        .iter()
        .map(|sensor| {
            let find = |suffix: &str| {
                let text = all.get(&format!("{} {}{suffix}", sensor.channel, sensor.quantity))?;
                Milli::from_f64(text.parse().ok()?)
            };
            Latest { gauge: find(""), counter: find(" Wh") }
        })
        .collect();
    let sum = Sum::of(&heard.set.device.sensors, &latest).unwrap();
    assert_eq!(
        (sum.power, sum.current),
        (Milli(713_000), Some(Milli(5_500))),
        "no line counts twice"
    );
    assert_eq!((sum.volt, sum.energy), (Some(Milli(230_000)), Some(Milli(100_000))));
}

#[test]
fn a_plug_has_one_channel_and_gives_nothing_back() {
    let mut run = Run::new(Model::Powermeter, &[]);
    let measured = Measured {
        whole: line(-0.3, 5.0, 230.0, 0.1),
        energy: Some(Energy::Flowed { whole_wh: Some((0.0, 0.1)), lines_wh: [None; 3] }),
        ..Measured::default()
    };
    let heard = run.hear(1, measured);
    let all = values(&heard.set);
    assert_eq!(all.get("line pplus").map(String::as_str), Some("0"));
    assert!(all.keys().all(|key| key.starts_with("line ") && !key.contains("pminus")), "{all:?}");
}

#[test]
fn one_line_of_three_counts_for_itself_and_nothing_is_told_of_the_whole() {
    let mut run = Run::new(Model::Smartmeter, &[(Channel::L(2), 2.0)]);
    let second = Measured {
        lines: [Line::default(), line(900.0, 0.0, 230.0, 4.0), Line::default()],
        energy: Some(Energy::Flowed { whole_wh: None, lines_wh: [None, Some((0.25, 0.0)), None] }),
        ..Measured::default()
    };
    run.hear(1, second.clone());
    let all = values(&run.hear(1, second).set);
    assert_eq!((all["l2 pplus"].as_str(), all["l2 pplus Wh"].as_str()), ("1800", "1"));
    assert!(all.keys().all(|key| key.starts_with("l2 ")), "{all:?}");
}

#[test]
fn a_jump_by_a_net_export_is_refused_and_told_once() {
    let mut run = Run::new(Model::Smartmeter, &[]);
    let measured = |wh: f64| Measured {
        whole: Line { active_w: Some(-800.0), ..Line::default() },
        energy: Some(Energy::Total { whole_wh: wh, lines_wh: [None; 3] }),
        ..Measured::default()
    };
    run.hear(0, measured(1000.0));
    let heard = run.hear(19, measured(1455.4));
    assert_eq!(values(&heard.set)["line pplus Wh"], "1000");
    assert_eq!(heard.corrections.len(), 1);
    assert_eq!(heard.corrections[0].kind, CorrectionKind::Jumped);
    let heard = run.hear(19, measured(1910.8));
    assert_eq!(
        (values(&heard.set)["line pplus Wh"].as_str(), heard.corrections.len()),
        ("1000", 0)
    );
    // And goes on from there.
    assert_eq!(values(&run.hear(19, measured(1911.0)).set)["line pplus Wh"], "1000.2");
    // Nothing is known of the powers of an hour.
    let heard = run.hear(3600, measured(3911.0));
    assert_eq!(values(&heard.set)["line pplus Wh"], "3000.2");
    // Cleared by somebody.
    let heard = run.hear(5, measured(0.0));
    assert_eq!(values(&heard.set)["line pplus Wh"], "3000.2");
    assert_eq!(heard.corrections[0].kind, CorrectionKind::Reset);
    assert_eq!(values(&run.hear(5, measured(0.5)).set)["line pplus Wh"], "3000.7");
}

#[test]
fn multipliers_scale_a_line_and_the_sum_with_it() {
    let mut run = Run::new(Model::Smartmeter, &[(Channel::L(1), 2.0)]);
    let all = values(&run.hear(1, three()).set);
    assert_eq!((all["l1 pplus"].as_str(), all["line pplus"].as_str()), ("1800", "1613"));
    assert_eq!((all["l1 irms"].as_str(), all["line irms"].as_str()), ("8", "9.5"));
    assert_eq!((all["l1 pplus Wh"].as_str(), all["line pplus Wh"].as_str()), ("120", "160"));
}

#[test]
fn no_power_makes_a_total_jump() {
    let mut run = Run::new(Model::Powermeter, &[]);
    let flowed = |wh: f64| Measured {
        energy: Some(Energy::Flowed { whole_wh: Some((wh, 0.0)), lines_wh: [None; 3] }),
        ..Measured::default()
    };
    run.hear(5, flowed(1.0));
    // 100 GW for five seconds, before and after something was counted.
    for _ in 0..2 {
        let heard = run.hear(5, flowed(1.4e8));
        assert_eq!(values(&heard.set).len(), 0);
        assert_eq!(run.meter.state().counted.totals(0).0, Some(Milli(1000)));
    }
    assert_eq!(values(&run.hear(5, flowed(1.0)).set)["line pplus Wh"], "2");
    let mut run = Run::new(Model::Powermeter, &[]);
    let heard = run.hear(5, flowed(1.4e8));
    assert_eq!((heard.corrections.len(), heard.corrections[0].kind), (1, CorrectionKind::Jumped));
    assert_eq!(heard.corrections[0].after, 140_000_000);
}

#[test]
fn the_past_has_its_own_times_and_what_flowed_then_counts() {
    let mut run = Run::new(Model::Smartmeter, &[]);
    let second = Measured {
        whole: Line { active_w: Some(3600.0), ..Line::default() },
        energy: Some(Energy::Flowed { whole_wh: Some((1.0, 0.0)), lines_wh: [None; 3] }),
        ..Measured::default()
    };
    run.hear(1, second.clone());
    let past = vec![(Timestamp(2000), second.clone()), (Timestamp(3000), second.clone())];
    let frame = Frame { past, ..frame(Model::Smartmeter, Some(second)) };
    let heard = run.meter.hear(&frame, Timestamp(4000));
    assert_eq!(values(&heard.set)["line pplus Wh"], "4");
    let past = run.meter.take_past();
    let told: Vec<_> =
        past.iter().map(|set| (set.at.0, values(set)["line pplus Wh"].clone())).collect();
    assert_eq!(told, [(2000, "2".to_owned()), (3000, "3".to_owned())]);
}

/// A message on a broker of a plug with a connection, whose power is not told there.
fn message(energy: f64) -> Measured {
    let energy = Some(Energy::Message { whole: energy, lines: [None; 3], unit: None });
    Measured { energy, ..Measured::default() }
}

#[test]
fn the_firmware_tells_the_unit_of_messages() {
    for (unit, told) in [(EnergyUnit::WattHour, 10_149.83), (EnergyUnit::KilowattHour, 10.15)] {
        let mut run = Run::new(Model::Powermeter, &[]);
        assert_eq!(values(&run.hear(1, message(told)).set).len(), 0);
        let informed = Frame { message_unit: Some(unit), ..frame(Model::Powermeter, None) };
        run.meter.hear(&informed, Timestamp(2000));
        let all = values(&run.hear(5, message(told)).set);
        let wh = if unit == EnergyUnit::WattHour { "10149.83" } else { "10150" };
        assert_eq!(all["line pplus Wh"], wh);
        // The same after a restart, when only messages come.
        assert_eq!(run.meter.state().unit, Some(unit));
    }
}

#[test]
fn firmware_1_may_be_replaced_and_then_says_another_unit() {
    let mut run = Run::new(Model::Powermeter, &[]);
    let whole = Line { active_w: Some(900.0), ..Line::default() };
    let mut hear = |count: i64, factor: f64| {
        let mut last = None;
        for _ in 0..count {
            let wh = 10_149.83 + 900.0 * (run.seconds + 5) as f64 / 3600.0;
            let told = (wh / factor * 100.0).round() / 100.0;
            let measured = Measured { whole, ..message(told) };
            last = values(&run.hear(5, measured).set).get("line pplus Wh").cloned();
        }
        last.and_then(|total| total.parse::<f64>().ok())
    };
    let before = hear(100, 1000.0).unwrap();
    assert!((10_150.0..10_300.0).contains(&before), "{before}");
    let after = hear(100, 1.0).unwrap();
    // 125 Wh in 500 s, but for what passes until the change is seen.
    assert!((90.0..150.0).contains(&(after - before)), "{before} {after}");
}

#[test]
fn a_temperature_is_a_sensor_of_its_own_from_its_first_value_on() {
    let mut run = Run::new(Model::Powermeter, &[]);
    run.hear(1, Measured { whole: line(5.0, 0.0, 230.0, 0.1), ..Measured::default() });
    let sensors = run.meter.device().sensors.len();
    let heard = run.hear(1, Measured { temperature_c: Some(25.5), ..Measured::default() });
    let all = values(&heard.set);
    assert_eq!(all, HashMap::from([("t1 temperature".to_owned(), "25.5".to_owned())]));
    assert_eq!(heard.set.device.sensors.len(), sensors + 1);
    let probe = heard.set.device.sensors.last().unwrap();
    assert_eq!(probe.kind, crate::model::SensorType::Temperature);
}

#[test]
fn totals_and_sensors_survive_a_restart_and_a_relay_is_told_when_it_changes() {
    let mut run = Run::new(Model::Powermeter, &[]);
    run.hear(
        1,
        Measured { energy: Some(Energy::Total { whole_wh: 7.0, lines_wh: [None; 3] }), ..three() },
    );
    let bytes = postcard::to_stdvec(run.meter.state()).unwrap();
    let state: MeterState = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(&state, run.meter.state());
    let first = frame(Model::Powermeter, None);
    let kept = Some(Kept::Same(state));
    let mut meter = Meter::begin(&first, Timestamp(0), settings(&[]), Standing::Configured, kept);
    assert_eq!(meter.device().sensors.len(), run.meter.device().sensors.len());
    let mut relay = |closed| {
        let frame = Frame { relay: closed, ..frame(Model::Powermeter, None) };
        meter.hear(&frame, Timestamp(5000));
        meter.take_relay()
    };
    assert_eq!(
        [relay(None), relay(Some(true)), relay(Some(true)), relay(Some(false))],
        [None, Some(true), None, Some(false)]
    );
}
