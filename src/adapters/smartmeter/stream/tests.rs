//! What samples come to.

mod arriving;

use std::collections::VecDeque;
use std::f64::consts::{PI, SQRT_2};
use std::sync::LazyLock;

use proptest::prelude::*;
use tokio::time::{Duration, Instant};

use super::*;
use crate::adapters::smartmeter::Scales;
use crate::adapters::smartmeter::{Energy, Line};
use crate::bus::Wave;
use crate::metrics::Counter;
use crate::model::{Channel, DeviceId, Make, WaveChannel, WaveKind};

const SERIAL: &str = "smartmeter001";
const BEGIN: Timestamp = Timestamp(1_614_697_441_200);

/// The moment of a time, by clocks that agree.
fn moment(at: Timestamp) -> Moment {
    static BEGUN: LazyLock<Instant> =
        LazyLock::new(|| Instant::now() + Duration::from_secs(1 << 33));
    let after = at.0 - BEGIN.0;
    let span = Duration::from_millis(after.unsigned_abs());
    Moment { instant: if after < 0 { *BEGUN - span } else { *BEGUN + span }, at }
}

/// When the streams begin.
fn begun() -> Moment {
    moment(BEGIN)
}

fn channels(lines: &[Channel], kinds: &[WaveKind]) -> Arc<[WaveChannel]> {
    let mut channels = Vec::new();
    for channel in lines {
        channels.extend(kinds.iter().map(|kind| WaveChannel { channel: *channel, kind: *kind }));
    }
    channels.into()
}

fn momentary(lines: &[Channel]) -> Arc<[WaveChannel]> {
    channels(lines, &[WaveKind::Voltage, WaveKind::Current])
}

const LINES: [Channel; 3] = [Channel::L(1), Channel::L(2), Channel::L(3)];

fn setup(channels: Arc<[WaveChannel]>, rate_hz: f64, packet_frames: u64) -> Setup {
    Setup {
        serial: SERIAL.into(),
        device: DeviceId::derive(Make::Smartmeter, SERIAL),
        name: "house".into(),
        channels,
        rate_hz,
        packet_frames,
        start: Some(1_614_697_441.119),
        scales: Scales::default(),
        energy: true,
    }
}

fn begin(setup: &Setup) -> Stream {
    Stream::begin(setup, Waveforms::default(), &Metrics::default(), begun())
}

/// One line of synthetic mains.
#[derive(Clone, Copy)]
struct Phase {
    volts: f64,
    milliamperes: f64,
    /// The current is so far behind, and the voltage so far ahead of L1's.
    behind: f64,
    ahead: f64,
    offset_v: f64,
}

const HOUSE: [Phase; 3] = [
    Phase { volts: 230.1, milliamperes: 4000.0, behind: 12.0, ahead: 0.0, offset_v: 0.0 },
    Phase { volts: 231.4, milliamperes: 950.0, behind: -25.0, ahead: -120.0, offset_v: 0.0 },
    Phase { volts: 229.3, milliamperes: 120.0, behind: 60.0, ahead: 120.0, offset_v: 0.0 },
];

/// Frame `n` of these lines.
fn frame(phases: &[Phase], rate: f64, mains: f64, n: u64) -> Vec<u8> {
    let w = 2.0 * PI * mains * n as f64 / rate;
    let samples = phases.iter().flat_map(|phase| {
        let w = w + phase.ahead.to_radians();
        let x = w - phase.behind.to_radians();
        let v = SQRT_2 * phase.volts * w.sin() + phase.offset_v;
        [v as f32, (SQRT_2 * phase.milliamperes * x.sin()) as f32]
    });
    samples.flat_map(f32::to_le_bytes).collect()
}

fn frames(phases: &[Phase], rate: f64, mains: f64, range: std::ops::Range<u64>) -> Vec<u8> {
    range.flat_map(|n| frame(phases, rate, mains, n)).collect()
}

/// When frame `n` is sent.
fn at(rate: f64, n: u64) -> Moment {
    moment(Timestamp(BEGIN.0 + (n as f64 / rate * 1000.0) as i64))
}

fn assert_near(is: Option<f64>, should: f64, share: f64) {
    let is = is.expect("it was measured");
    assert!((is - should).abs() <= (should * share).abs().max(1e-6), "{is}, not {should}");
}

fn assert_line(line: &Line, phase: &Phase) {
    let va = phase.volts * phase.milliamperes / 1000.0;
    let angle = phase.behind.to_radians();
    assert_near(line.voltage_v, phase.volts, 5e-4);
    assert_near(line.current_a, phase.milliamperes / 1000.0, 5e-4);
    assert_near(line.apparent_va, va, 1e-3);
    let active = line.active_w.expect("it was measured");
    assert!((active - va * angle.cos()).abs() < 1e-3 * va, "{active}");
    let reactive = line.reactive_var.expect("it was measured");
    assert!((reactive - va * angle.sin()).abs() < 3e-3 * va, "{reactive}");
    assert!((line.power_factor.expect("it was measured") - angle.cos()).abs() < 1e-3);
}

#[test]
fn three_lines_give_every_line_and_the_sum_once_a_second() {
    for (rate, mains) in [(2000.0, 50.0), (4000.0, 49.93), (8000.0, 60.02), (32_000.0, 50.1)] {
        let mut stream = begin(&setup(momentary(&LINES), rate, 42));
        let mut seconds = Vec::new();
        for number in 0..(rate as u64 * 3 / 42) {
            let payload = frames(&HOUSE, rate, mains, number * 42..(number + 1) * 42);
            stream.packet(number as u32, &payload, at(rate, (number + 1) * 42));
            seconds.extend(stream.take_seconds());
        }
        assert_eq!(seconds.len(), 2, "{rate} Hz");
        let flowed = |second: &Second| match second.measured.energy {
            Some(Energy::Flowed { whole_wh: Some(whole_wh), .. }) => whole_wh.0,
            _ => 0.0,
        };
        // From the first frame on, also those before the first whole cycle.
        assert_near(Some(seconds.iter().map(flowed).sum()), 1113.28 * 2.0 / 3600.0, 0.012);
        for second in &seconds {
            assert!(!second.late && second.received == 1.0);
            let measured = &second.measured;
            measured.lines.iter().zip(&HOUSE).for_each(|(line, phase)| assert_line(line, phase));
            assert_near(measured.frequency_hz, mains, 5e-5);
            let watts: f64 = measured.lines.iter().filter_map(|line| line.active_w).sum();
            assert_near(measured.whole.active_w, watts, 1e-9);
            assert_near(measured.whole.current_a, 5.07, 1e-3);
            assert_near(measured.whole.voltage_v, (230.1 + 231.4 + 229.3) / 3.0, 1e-3);
        }
    }
}

#[test]
fn a_reversed_clamp_gives_back_and_an_offset_stays_in() {
    let mut phases = HOUSE;
    phases[1].behind += 180.0;
    phases[2].offset_v = 40.0;
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    stream.raw(&frames(&phases, 4000.0, 50.0, 0..4100), at(4000.0, 4100));
    let seconds = stream.take_seconds();
    let measured = &seconds[0].measured;
    assert_line(&measured.lines[1], &phases[1]);
    assert!(measured.lines[1].active_w.unwrap() < 0.0);
    assert_near(measured.lines[2].voltage_v, 229.3_f64.hypot(40.0), 1e-3);
    assert_near(measured.lines[2].active_w, 229.3 * 0.12 * 0.5, 1e-2);
    let Some(Energy::Flowed { whole_wh: Some(whole_wh), lines_wh: [_, Some(second), _] }) =
        measured.energy
    else {
        panic!("no energy")
    };
    let hours = 1.0 / 3600.0;
    assert!(second.0 == 0.0 && (second.1 - 199.2 * hours).abs() < 1e-3, "{second:?}");
    assert!((whole_wh.0 - measured.whole.active_w.unwrap() * hours).abs() < 1e-3);
}

#[test]
fn factors_scale_samples_and_all_that_comes_of_them() {
    let waveforms = Waveforms::default();
    let queue = waveforms.subscribe(SERIAL, 100, Counter::default());
    let mut setup = setup(momentary(&[Channel::Line]), 4000.0, 128);
    setup.scales.line = (0.9, 2.0);
    let mut stream = Stream::begin(&setup, waveforms, &Metrics::default(), begun());
    stream.raw(&frames(&HOUSE[..1], 4000.0, 50.0, 0..4100), at(4000.0, 4100));
    let measured = stream.take_seconds().remove(0).measured;
    assert_near(measured.whole.voltage_v, 230.1 * 0.9, 1e-3);
    assert_near(measured.whole.current_a, 8.0, 1e-3);
    assert_eq!(measured.lines, <[Line; 3]>::default());
    let piece = futures_util::FutureExt::now_or_never(async {
        let mut waves = VecDeque::new();
        queue.drain(&mut waves).await;
        waves
    });
    let sample = piece.unwrap().into_iter().find_map(|wave| match wave {
        Wave::Piece(piece) => Some(piece.samples[2 * 20]),
        _ => None,
    });
    assert_near(sample.map(f64::from), SQRT_2 * 230.1 * 0.9, 1e-3);
}

#[test]
fn too_little_of_a_second_gives_its_energy_only() {
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    stream.raw(&frames(&HOUSE, 4000.0, 50.0, 0..800), at(4000.0, 800));
    let (_, seconds) = stream.end(None, at(4000.0, 900));
    assert_eq!(seconds.len(), 1);
    assert_eq!(seconds[0].measured.whole, Line::default());
    let Some(Energy::Flowed { whole_wh, .. }) = seconds[0].measured.energy else { panic!() };
    let whole_wh = whole_wh.unwrap();
    assert_near(Some(whole_wh.0), 1113.28 * 0.2 / 3600.0, 1e-3);
}

#[test]
fn what_is_no_number_is_counted_and_left_out() {
    let mut bytes = frames(&HOUSE, 4000.0, 50.0, 0..4200);
    bytes[24 * 1000..24 * 1000 + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    bytes[24 * 2000 + 4..24 * 2000 + 8].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
    bytes[24 * 4100 + 4..24 * 4100 + 8].copy_from_slice(&f32::MAX.to_le_bytes());
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    stream.raw(&bytes, at(4000.0, 4200));
    assert_eq!(stream.summary().bad_samples, 3);
    assert_line(&stream.take_seconds()[0].measured.lines[0], &HOUSE[0]);
}

#[test]
fn powers_and_rms_are_averaged_as_the_meter_gives_them() {
    let of = |kinds: &[WaveKind]| {
        let channels: Vec<WaveChannel> = kinds
            .iter()
            .flat_map(|kind| LINES.map(|channel| WaveChannel { channel, kind: *kind }))
            .collect();
        begin(&setup(channels.into(), 10.0, 1))
    };
    let mut powers = of(&[WaveKind::Active, WaveKind::Reactive]);
    let mut rms = of(&[WaveKind::VoltageRms, WaveKind::CurrentRms]);
    for n in 0..10 {
        powers.values(&[900.0, -200.0, 10.0, 190.0, -90.0, 20.0], None, at(10.0, n));
        rms.values(&[230.0, 231.0, 229.0, 4000.0, 950.0, 120.0], None, at(10.0, n));
    }
    let measured = powers.take_seconds().remove(0).measured;
    assert_eq!(measured.lines[1].active_w, Some(-200.0));
    assert_eq!(measured.lines[1].reactive_var, Some(-90.0));
    assert_near(measured.lines[1].apparent_va, 200.0_f64.hypot(90.0), 1e-9);
    assert_eq!((measured.whole.active_w, measured.whole.reactive_var), (Some(710.0), Some(120.0)));
    assert_eq!((measured.whole.voltage_v, measured.frequency_hz), (None, None));
    let measured = rms.take_seconds().remove(0).measured;
    assert_near(measured.lines[0].apparent_va, 920.0, 1e-6);
    assert_eq!((measured.whole.active_w, measured.energy), (None, None));
    assert_near(measured.whole.voltage_v, 230.0, 1e-6);
    assert_near(measured.whole.current_a, 5.07, 1e-6);
}

#[test]
fn a_meter_that_samples_powers_as_well_is_believed_about_reactive_power() {
    use WaveKind::{Active, Current, Reactive, Voltage};
    let channels = channels(&[Channel::Line], &[Voltage, Current, Active, Reactive]);
    let mut stream = begin(&setup(channels, 2000.0, 64));
    for n in 0..2100 {
        let mut bytes = frame(&HOUSE[..1], 2000.0, 50.0, n);
        bytes.extend([900.287_f32, 191.362].iter().flat_map(|x| x.to_le_bytes()));
        stream.raw(&bytes, at(2000.0, n));
    }
    let measured = stream.take_seconds().remove(0).measured;
    assert_near(measured.whole.reactive_var, 191.362, 1e-6);
    assert_near(measured.whole.active_w, 230.1 * 4.0 * 12.0_f64.to_radians().cos(), 1e-3);
}

#[test]
fn one_line_of_three_is_no_whole() {
    let mut stream = begin(&setup(momentary(&[Channel::L(2)]), 4000.0, 128));
    stream.raw(&frames(&HOUSE[1..2], 4000.0, 50.0, 0..4100), at(4000.0, 4100));
    let measured = stream.take_seconds().remove(0).measured;
    assert_line(&measured.lines[1], &HOUSE[1]);
    assert_eq!(measured.whole, Line::default());
    // What has flowed there is known, and of the whole nothing.
    let Some(Energy::Flowed { whole_wh: None, lines_wh: [None, Some(second), None] }) =
        measured.energy
    else {
        panic!("{:?}", measured.energy)
    };
    assert_near(Some(second.0), 199.2 / 3600.0, 1e-2);
}

#[test]
fn a_line_without_numbers_takes_only_its_own_energy_away() {
    let mut bytes = frames(&HOUSE, 4000.0, 50.0, 0..4100);
    for frame in bytes.chunks_exact_mut(24) {
        frame[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    }
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    stream.raw(&bytes, at(4000.0, 4100));
    let measured = stream.take_seconds().remove(0).measured;
    assert!(matches!(
        measured.energy,
        Some(Energy::Flowed { whole_wh: None, lines_wh: [Some(_), None, Some(_)] })
    ));
}

#[test]
fn cycles_are_taken_from_a_line_that_has_voltage() {
    let mut phases = HOUSE;
    phases[0].volts = 0.0;
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    stream.raw(&frames(&phases, 4000.0, 50.0, 0..4096), at(4000.0, 4096));
    stream.raw(&frames(&phases, 4000.0, 50.0, 4096..8192), at(4000.0, 8192));
    let seconds = stream.take_seconds();
    assert_eq!(seconds[0].measured.frequency_hz, None);
    assert_near(seconds[1].measured.frequency_hz, 50.0, 1e-4);
}

#[test]
fn waves_sampled_too_seldom_give_no_reading() {
    let mut stream = begin(&setup(momentary(&[Channel::Line]), 50.0, 8));
    assert!(!stream.readable());
    stream.raw(&[0; 8 * 200], at(50.0, 200));
    assert_eq!((stream.take_seconds(), stream.summary().frames), (Vec::new(), 200));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_split_gives_the_same_seconds(cuts in prop::collection::vec(1..4000_usize, 1..60)) {
        let bytes = frames(&HOUSE, 1000.0, 50.0, 0..2300);
        let mut whole = begin(&setup(momentary(&LINES), 1000.0, 42));
        whole.raw(&bytes, begun());
        let mut parts = begin(&setup(momentary(&LINES), 1000.0, 42));
        let mut left = bytes.as_slice();
        for cut in cuts.iter().cycle() {
            let (part, rest) = left.split_at((*cut).min(left.len()));
            parts.raw(part, begun());
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        prop_assert_eq!(whole.summary().frames, 2300);
        let (one, other) = (whole.take_seconds(), parts.take_seconds());
        prop_assert_eq!(one.len(), other.len());
        for (one, other) in one.iter().zip(&other) {
            prop_assert_eq!(&one.measured.lines, &other.measured.lines);
            prop_assert_eq!(one.measured.frequency_hz, other.measured.frequency_hz);
        }
    }

    #[test]
    fn no_input_panics(packets in prop::collection::vec((any::<u32>(), prop::collection::vec(any::<u8>(), 0..200)), 0..40)) {
        let mut stream = begin(&setup(momentary(&LINES), 8000.0, 42));
        for (number, payload) in &packets {
            stream.packet(*number, payload, moment(Timestamp(i64::from(*number))));
            stream.raw(payload, moment(Timestamp(-i64::from(*number))));
        }
        let _ = stream.end(Some(u64::MAX), begun());
    }
}
