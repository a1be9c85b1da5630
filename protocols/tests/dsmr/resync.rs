//! What is wrong costs itself, and nothing behind it.

use meter_protocols::dsmr::SkipReason;

use crate::{CAPTURES, capture, decode_whole, frame_of, frames};

fn reasons(stream: &[u8]) -> Vec<SkipReason> {
    decode_whole(stream).into_iter().filter_map(|event| event.err().map(|one| one.reason)).collect()
}

#[test]
fn a_telegram_cut_anywhere_costs_itself_only() {
    for cut in CAPTURES {
        for next in ["dsmr22.txt", "dsmr40.txt", "tic-historic.txt"] {
            let (bytes, expected) = (capture(cut), frame_of(next));
            let follow = capture(next);
            // Every third byte, so that each kind of place is among them.
            for at in (0..bytes.len()).step_by(3) {
                let stream = [&bytes[..at], &follow, &follow].concat();
                let found = frames(&decode_whole(&stream));
                let lost = found.iter().filter(|frame| **frame == expected).count() < 2;
                // Only the line end may be missing without a loss, and the older frame is there as well.
                assert!(!lost, "{cut} cut at {at} before {next}: {}", found.len());
                assert!(found.len() <= 3);
            }
        }
    }
}

#[test]
fn a_telegram_that_begins_in_its_midst_costs_itself_only() {
    for name in CAPTURES {
        let (bytes, expected) = (capture(name), frame_of(name));
        for at in 1..bytes.len() {
            let found = frames(&decode_whole(&[&bytes[at..], &bytes[..]].concat()));
            assert_eq!(found, std::slice::from_ref(&expected), "{name} from {at}");
        }
    }
}

#[test]
fn a_wrong_byte_is_found_by_the_checksum() {
    let bytes = capture("dsmr40.txt");
    let expected = frame_of("dsmr40.txt");
    for at in 0..bytes.len() - 2 {
        let mut wrong = bytes.clone();
        wrong[at] ^= 1;
        let stream = [&bytes[..], &wrong, &bytes].concat();
        let found = frames(&decode_whole(&stream));
        let right = found.iter().filter(|frame| **frame == expected).count();
        assert!(right >= 2 && found.len() == right, "byte {at}: {} of {}", right, found.len());
    }
    let mut wrong = bytes.clone();
    wrong[100] ^= 1;
    let found = reasons(&wrong);
    assert!(matches!(found[..], [SkipReason::Checksum { told: 0x3596, .. }]), "{found:?}");
}

#[test]
fn a_telegram_that_has_lost_its_checksum_is_refused_where_its_meter_has_one() {
    let bytes = capture("dsmr40.txt");
    let text = String::from_utf8(bytes.clone()).unwrap();
    let bare = text.replace("!3596", "!").into_bytes();
    // Nobody knows yet.
    assert_eq!(frames(&decode_whole(&bare)).len(), 1);
    assert_eq!(reasons(&[&bytes[..], &bare].concat()), [SkipReason::NoChecksum]);
    // Another meter on the same link may have none.
    assert_eq!(reasons(&[bytes, capture("dsmr22.txt")].concat()), []);
}

#[test]
fn a_line_that_is_none_is_told_where_there_is_no_checksum() {
    let text = String::from_utf8(capture("dsmr22.txt")).unwrap();
    let wrong = text.replace("1-0:1.8.2(00167.492*kWh)", "1-0:1.8.2(00167.492*kWh");
    let found = reasons(wrong.as_bytes());
    assert_eq!(found, [SkipReason::Line("1-0:1.8.2(00167.492*kWh".to_owned())]);
}

#[test]
fn a_group_of_tic_with_a_wrong_check_character_costs_its_frame() {
    let bytes = capture("tic-historic.txt");
    let text = String::from_utf8(bytes.clone()).unwrap();
    let wrong = text.replace("PAPP 00460", "PAPP 90460");
    let stream = [wrong.as_bytes(), &bytes].concat();
    assert_eq!(frames(&decode_whole(&stream)).len(), 1);
    let found = reasons(&stream);
    assert!(
        matches!(&found[..], [SkipReason::Line(line), ..] if line.starts_with("PAPP")),
        "{found:?}"
    );
}
