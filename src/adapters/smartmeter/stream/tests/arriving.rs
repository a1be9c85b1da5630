//! Packets in time: what is lost, late, or was never sent.

use super::*;

#[test]
fn lost_packets_are_counted_left_out_and_are_steps_in_the_pieces() {
    let waveforms = Waveforms::default();
    let queue = waveforms.subscribe(SERIAL, 100, Counter::default());
    let metrics = Metrics::default();
    let setup = setup(momentary(&LINES), 4000.0, 42);
    let mut stream = Stream::begin(&setup, waveforms, &metrics, begun());
    let mut seconds = Vec::new();
    for number in (0..110).filter(|number| ![3, 7, 8].contains(number)) {
        let payload = frames(&HOUSE, 4000.0, 50.0, number * 42..(number + 1) * 42);
        stream.packet(number as u32, &payload, at(4000.0, (number + 1) * 42));
        // Late and double ones change nothing.
        stream.packet(2.min(number as u32), &payload, at(4000.0, (number + 1) * 42));
        seconds.extend(stream.take_seconds());
    }
    let summary = stream.summary();
    assert_eq!((summary.packets, summary.lost_packets, summary.lost_frames), (107, 3, 126));
    assert_eq!(metrics.stream_lost_frames.get(), 126);
    assert_near(Some(seconds[0].received), (4000.0 - 126.0) / 4000.0, 2e-3);
    assert_near(seconds[0].measured.lines[0].voltage_v, 230.1, 5e-3);
    let (summary, _) = stream.end(Some(112 * 42), at(4000.0, 4800));
    assert_eq!((summary.lost_packets, summary.lost_frames), (5, 126 + 84));

    let mut waves = VecDeque::new();
    assert!(futures_util::FutureExt::now_or_never(queue.drain(&mut waves)).is_some());
    let mut gaps = Vec::new();
    let mut next = 0;
    for wave in &waves {
        match wave {
            Wave::Begun(info) => assert_eq!(info.start, Timestamp(1_614_697_441_119)),
            Wave::Piece(piece) => {
                if piece.first != next {
                    gaps.push((next, piece.first));
                }
                next = piece.end();
            }
            Wave::Ended(_, frames) => assert_eq!(*frames, 112 * 42),
        }
    }
    assert_eq!(gaps, [(126, 168), (294, 378)]);
    assert!(matches!(waves.back(), Some(Wave::Ended(..))));
    assert_eq!(metrics.streams.get(), 0);
}

#[test]
fn numbers_of_packets_wrap() {
    let mut stream = begin(&setup(momentary(&[Channel::Line]), 2000.0, 1));
    stream.next_packet = u32::MAX;
    for number in [u32::MAX, 0, 2, 1] {
        stream.packet(number, &[0; 8], begun());
    }
    let summary = stream.summary();
    assert_eq!((summary.packets, summary.lost_packets, summary.frames), (3, 1, 3));
}

#[test]
fn a_burst_after_a_stall_is_late_but_for_its_end() {
    let rate = 4000.0;
    let mut stream = begin(&setup(momentary(&LINES), rate, 42));
    let mut seconds = Vec::new();
    for number in 0..3900 {
        let payload = frames(&HOUSE, rate, 50.0, number * 42..(number + 1) * 42);
        let end = (number + 1) * 42;
        // From the end of the second second on everything waits for the network until second 40.1: 3.7 MB.
        let now = if end > 8000 { at(rate, end.max(160_400)) } else { at(rate, end) };
        stream.packet(number as u32, &payload, now);
        seconds.extend(stream.take_seconds());
    }
    let late = seconds.iter().filter(|second| second.late).count();
    assert_eq!((seconds.len(), late, stream.summary().lost_packets), (40, 36, 0));
    assert!(seconds.is_sorted_by_key(|second| second.at));
    for (n, second) in seconds.iter().enumerate() {
        let off = second.at.0 - BEGIN.0 - (n as i64 + 1) * 1000;
        assert!((-20..=20).contains(&off), "second {n} is off by {off} ms");
    }
}

#[test]
fn a_clock_that_is_set_makes_nothing_late() {
    for step in [3_600_000, -3_600_000] {
        let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
        let mut seconds = Vec::new();
        for number in 0..3900 {
            let end = (number + 1) * 42;
            let mut now = at(4000.0, end);
            if end > 80_000 {
                now.at.0 += step;
            }
            let payload = frames(&HOUSE, 4000.0, 50.0, number * 42..end);
            stream.packet(number as u32, &payload, now);
            seconds.extend(stream.take_seconds().into_iter().map(|second| (second, now.at)));
        }
        assert_eq!(seconds.len(), 40);
        for (second, now) in &seconds {
            assert!(!second.late && now.0 - second.at.0 < 50, "{} at {}", second.at.0, now.0);
        }
    }
}

#[test]
fn a_packet_that_cannot_be_filled_yet_is_passed_over() {
    let mut stream = begin(&setup(momentary(&LINES), 4000.0, 42));
    let payload = [0; 42 * 24];
    assert!(!stream.packet(900_000_000, &payload, at(4000.0, 42)));
    assert!(stream.packet(0, &payload, at(4000.0, 42)));
    assert!(!stream.packet(2_000_000_000, &payload, at(4000.0, 84)));
    assert!(stream.packet(3, &payload, at(4000.0, 168)));
    assert!(!stream.packet(3, &payload, at(4000.0, 168)));
    assert_eq!((stream.summary().packets, stream.summary().lost_packets), (2, 2));
    // Nor can so many have been sent.
    let (summary, _) = stream.end(Some(1_000_000_000), at(4000.0, 200));
    assert_eq!(summary.lost_packets, 2);
}

#[test]
fn messages_that_are_missing_show_in_the_time_they_were_sent() {
    let mut stream = begin(&setup(momentary(&[Channel::Line]), 10.0, 1));
    for n in (0..40).filter(|n| !(10..13).contains(n)) {
        let sent = 1_614_697_441.0 + n as f64 / 10.0 + if n % 2 == 0 { 0.03 } else { 0.0 };
        stream.values(&[230.0, 1.0], Some(sent), at(10.0, n));
    }
    // The meter's clock is set.
    stream.values(&[230.0, 1.0], Some(1_714_697_441.0), at(10.0, 40));
    stream.values(&[230.0], None, at(10.0, 41));
    let summary = stream.summary();
    assert_eq!((summary.frames, summary.lost_frames), (38, 3));
}

#[test]
fn pieces_are_made_only_for_those_who_ask() {
    let waveforms = Waveforms::default();
    let setup = setup(momentary(&LINES), 4000.0, 42);
    let mut stream = Stream::begin(&setup, waveforms.clone(), &Metrics::default(), begun());
    stream.raw(&frames(&HOUSE, 4000.0, 50.0, 0..1000), at(4000.0, 1000));
    let queue = waveforms.subscribe(SERIAL, 100, Counter::default());
    stream.raw(&frames(&HOUSE, 4000.0, 50.0, 1000..1500), at(4000.0, 1500));
    drop(stream);
    let mut waves = VecDeque::new();
    assert!(futures_util::FutureExt::now_or_never(queue.drain(&mut waves)).is_some());
    assert!(matches!(&waves[0], Wave::Begun(_)));
    assert!(matches!(&waves[1], Wave::Piece(piece) if piece.first == 1000));
    assert!(matches!(waves.back(), Some(Wave::Ended(_, 1500))));
}

#[test]
fn energy_goes_by_the_rate_at_which_samples_really_come() {
    let told = setup(channels(&[Channel::Line], &[WaveKind::Active]), 100.0, 10);
    let mut stream = begin(&told);
    let payload: Vec<u8> = 3600_f32.to_le_bytes().repeat(10);
    let mut wh = [0.0; 2];
    for number in 0..5400_u64 {
        // 90 a second: a tenth of the time is missing until that is known, after two minutes.
        let now = at(90.0, (number + 1) * 10);
        stream.packet(number as u32, &payload, now);
        for second in stream.take_seconds() {
            let Some(Energy::Flowed { whole_wh: Some((taken, _)), .. }) = second.measured.energy
            else {
                panic!("{second:?}")
            };
            wh[usize::from(number >= 2700)] += taken;
        }
    }
    // Each half lasts 300 s, at one Wh a second.
    assert!((280.0..298.0).contains(&wh[0]), "{wh:?}");
    assert_near(Some(wh[1]), 300.0, 0.01);
}
