//! Minutes that cannot be true, gaps that are too long, and the meters that are remembered.

use proptest::prelude::*;

use super::*;
use crate::history::{Flow, Limits};

const LIMITS: Limits = Limits { gap: 100 * 86_400, rate: Milli(20_000) };
const QUARTER: i64 = BEGIN - BEGIN % 900;

/// The long way: minute by minute.
fn naive(readings: &[(i64, i64)], falls: bool, (from, to): (i64, i64)) -> (f64, u64) {
    let (mut change, mut known) = (0.0, 0);
    for minute in (from..to).step_by(60) {
        let (mut rose, mut seconds) = (0.0, 0);
        for pair in readings.windows(2) {
            let (begin, end) = (pair[0].0.max(minute), pair[1].0.min(minute + 60));
            if begin < end {
                let whole = pair[1].1 - pair[0].1;
                let whole = if falls { whole } else { whole.max(0) };
                rose += whole as f64 * (end - begin) as f64 / (pair[1].0 - pair[0].0) as f64;
                seconds += end - begin;
            }
        }
        if f64::abs(rose) <= 20_000.0 * seconds as f64 {
            (change, known) = (change + rose, known + seconds.unsigned_abs());
        }
    }
    (change, known)
}

fn net(id: SensorId) -> Sensor {
    let own = OwnSection { rid: 0, record: Some(Recorded::Counter), text: "{}".to_owned() };
    Sensor { quantity: Quantity::Net, own: Some(Arc::new(own)), ..counter_of(id) }
}

fn counter_of(id: SensorId) -> Sensor {
    sensor(id, Recorded::Counter, 0, "{}".to_owned())
}

fn recorded(readings: &[(i64, i64)], falls: bool, late: &[usize]) -> (Bench, SensorId) {
    let id = SensorId::from([9; 16]);
    let device = device(vec![if falls { net(id) } else { counter_of(id) }]);
    let mut bench = Bench::new(10);
    for (place, (at, milli)) in readings.iter().enumerate() {
        if !late.contains(&place) {
            bench.push(&device, 0, *at, *milli, true, *at);
            if place % 20 == 0 {
                bench.tick(*at);
            }
        }
    }
    let last = readings[readings.len() - 1].0;
    bench.tick(last);
    for place in late.iter().filter_map(|place| readings.get(*place)) {
        bench.push(&device, 0, place.0, place.1, false, last);
    }
    (bench, id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn minutes_are_believed_or_not_whatever_is_asked_for(
        steps in prop::collection::vec(
            (
                prop_oneof![6 => 1_i64..60, 1 => 60_i64..4000],
                prop_oneof![8 => -500_i64..9000, 2 => -1_500_000_i64..1_500_000],
            ),
            2..150,
        ),
        offset in 0_i64..4000,
        span in prop_oneof![Just(60_i64), Just(900), Just(3600)],
        falls: bool,
        late in prop::collection::vec(1_usize..100, 0..3),
    ) {
        let (mut at, mut milli) = (BEGIN + offset, 1_000_000);
        let readings: Vec<(i64, i64)> = steps.iter().map(|(step, change)| {
            at += step;
            milli += change;
            (at, milli)
        }).collect();
        let (bench, id) = recorded(&readings, falls, &late);
        let stored = series(&bench.history, id);
        let bounds: Vec<i64> = (0..=(at - QUARTER) / span + 2).map(|n| QUARTER + n * span).collect();
        let flows = bench.history.flows(id, &bounds, LIMITS).unwrap();
        prop_assert_eq!(flows.len(), bounds.len() - 1);
        for (pair, flow) in bounds.windows(2).zip(flows) {
            let (change, known) = naive(&stored, falls, (pair[0], pair[1]));
            prop_assert_eq!(flow.known, known, "{:?} {:?}", pair, flow);
            let off = (flow.change.0 as f64 - change).abs();
            prop_assert!(off <= 1.0 + span as f64 / 30.0, "{pair:?} {flow:?} {change}");
        }
    }
}

#[test]
fn a_quarter_s_jump_takes_one_minute_from_days_and_weeks() {
    // 10 Wh a minute, and once 100 kWh in ten seconds: 27 Wh/s over the hour.
    let mut milli = 0;
    let readings: Vec<(i64, i64)> = (0..20_000)
        .map(|n| {
            milli += if n == 9000 { 100_000_000 } else { 1667 };
            (QUARTER + n * 10, milli)
        })
        .collect();
    let (bench, id) = recorded(&readings, false, &[]);
    let (from, to) = (QUARTER, QUARTER + 199_800);
    let flow = bench.history.flows(id, &[from, to], LIMITS).unwrap()[0];
    assert_eq!(flow.known, 199_800 - 60);
    assert_eq!(flow.change.0, 1667 * (19_980 - 6));
    // The quarter on its own, and a minute of it.
    let minute = readings[9000].0 - readings[9000].0 % 60;
    let minute = if readings[9000].0 % 60 == 0 { minute - 60 } else { minute };
    let flows = bench.history.flows(id, &[minute - 60, minute, minute + 60], LIMITS).unwrap();
    assert_eq!(flows[0].known, 60);
    assert_eq!(flows[1], Flow::default());
}

#[test]
fn gaps_of_a_hundred_days_are_bridged_and_longer_ones_are_not() {
    for (days, bridged) in [(100, true), (101, false)] {
        let gap = days * 86_400;
        let readings = [
            (QUARTER, 0),
            (QUARTER + 900, 900),
            (QUARTER + 900 + gap, 900 + gap),
            (QUARTER + 1800 + gap, 1800 + gap),
        ];
        let (bench, id) = recorded(&readings, false, &[]);
        let inside = QUARTER + 900 + 50 * 86_400;
        for bounds in [[inside, inside + 86_400], [inside + 60, inside + 120]] {
            let flow = bench.history.flows(id, &bounds, LIMITS).unwrap()[0];
            let seconds = bounds[1] - bounds[0];
            let wanted = Flow { change: Milli(seconds), known: seconds.unsigned_abs() };
            assert_eq!(flow, if bridged { wanted } else { Flow::default() }, "{days} {bounds:?}");
        }
        let ends = bench.history.flows(id, &[QUARTER, QUARTER + 900], LIMITS).unwrap()[0];
        assert_eq!(ends, Flow { change: Milli(900), known: 900 });
    }
}

#[test]
fn a_meter_is_remembered_as_it_was_heard_last() {
    let before = device(vec![counter(1)]);
    let after = Arc::new(Device { name: "renamed".into(), ..(*before).clone() });
    let mut bench = Bench::new(10);
    bench.push(&before, 0, BEGIN, 1, true, BEGIN);
    bench.push(&after, 0, BEGIN + 1, 2, true, BEGIN + 1);
    assert_eq!(bench.history.meter(after.id), Some(Arc::clone(&after)));
    let id = before.sensors[0].id;
    let section = bench.history.section(id).unwrap();
    bench.tick(BEGIN + 300);
    assert_eq!(bench.history.section(id).unwrap(), section);
    assert!(section.is_some());
    let (again, _) = open(&bench.dir, 2, 10);
    assert_eq!(again.meter(after.id), Some(Arc::clone(&after)));
    assert_eq!(again.meter_of(after.sensors[0].id), Some((after, 0)));
    assert_eq!(again.meter(DeviceId::from([8; 16])), None);
    assert_eq!(again.meter_of(SensorId::from([8; 16])), None);
}
