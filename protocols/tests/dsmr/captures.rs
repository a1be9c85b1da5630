//! Each capture gives one frame, and what stands in it.

use meter_protocols::dsmr::{Frame, Reading, SkipReason, Time};

use crate::{CAPTURES, capture, decode_whole, frame_of};

fn reading(name: &str) -> Reading {
    match frame_of(name) {
        Frame::Telegram(telegram) => Reading::of(&telegram),
        Frame::Tic(frame) => panic!("{frame:?}"),
    }
}

#[test]
fn each_is_one_frame_and_comes_back_from_its_encoding() {
    for name in CAPTURES {
        let bytes = capture(name);
        let events = decode_whole(&bytes);
        let [Ok(frame)] = &events[..] else { panic!("{name}: {events:?}") };
        let mut again = Vec::new();
        match frame {
            Frame::Telegram(telegram) => telegram.encode(&mut again),
            Frame::Tic(frame) => frame.encode(&mut again),
        }
        // The two lines of the oldest form come back as one.
        if name != "dsmr22.txt" {
            assert_eq!(again, bytes, "{name}");
        }
        assert_eq!(decode_whole(&again), events, "{name}");
    }
}

#[test]
fn import_and_export_are_apart_and_tariffs_are_summed() {
    for (name, import, export) in [
        ("dsmr22.txt", 350_523_000, Some(31_234_000)),
        ("dsmr40.txt", 135_256_000, Some(145_625_000)),
        ("dsmr50-three-phases.txt", 3_580_245_000, Some(35_801_000)),
        ("belgium.txt", 80_245_000, Some(1_555_000)),
        ("luxembourg.txt", 523_112_000, Some(3_004_000)),
        ("sweden.txt", 6_678_394_000, Some(0)),
    ] {
        let reading = reading(name);
        assert_eq!(reading.import.milli_watt_hours(), Some(import), "{name}");
        assert_eq!(reading.export.milli_watt_hours(), export, "{name}");
    }
}

#[test]
fn attached_meters_have_their_kind_and_their_time() {
    let mbus = reading("dsmr50-three-phases.txt").mbus;
    let kinds: Vec<_> = mbus.iter().map(|one| (one.channel, one.device_type)).collect();
    assert_eq!(kinds, [(1, Some(3)), (2, Some(7)), (3, Some(4)), (4, Some(3))]);
    // The clock says 02:55 in summer time and 01:55 in winter time, and means one moment.
    let time = |at: usize| mbus[at].time.as_ref().map(Time::unix_seconds);
    assert_eq!(time(0), time(1));
    assert_eq!(time(0), Some(Ok(1_635_641_700)));
    // A channel that never heard its meter.
    assert!(time(3).unwrap().is_err());
    let belgian = reading("belgium.txt").mbus;
    let litres = belgian[0].value.as_ref().and_then(|value| value.milli_litres());
    assert_eq!(litres, Some(112_384_000));
    assert_eq!(belgian[0].equipment.as_deref(), Some("7FLO9900000002"));
}

#[test]
fn meters_have_their_own_number_where_they_tell_it() {
    for (name, number) in [
        ("dsmr40.txt", Some("0002")),
        ("belgium.txt", Some("1SAG9900000001")),
        ("luxembourg.txt", Some("SAG1030700000001")),
        ("sweden.txt", None),
    ] {
        assert_eq!(reading(name).equipment.as_deref(), number, "{name}");
    }
}

#[test]
fn an_encrypted_telegram_is_told_as_such_and_whole() {
    let bytes = capture("encrypted.bin");
    let next = capture("sweden.txt");
    let events = decode_whole(&[&bytes[..], &next, &bytes].concat());
    let reasons: Vec<_> = events
        .iter()
        .map(|event| event.as_ref().map_err(|error| (error.reason.clone(), error.bytes)))
        .map(|event| event.map(|_| ()))
        .collect();
    let encrypted = Err((SkipReason::Encrypted, bytes.len()));
    assert_eq!(reasons, [encrypted.clone(), Ok(()), encrypted]);
}

#[test]
fn three_phases_of_tic_and_all_indexes_of_the_contract() {
    let Frame::Tic(frame) = frame_of("tic-three-phases.txt") else { panic!("no TIC") };
    assert_eq!(frame.watt_hours(), Some(333_000));
    assert_eq!((frame.number("PAPP"), frame.number("IINST3")), (Some(1390), Some(3)));
    assert_eq!(frame.number("PTEC"), None);
}
