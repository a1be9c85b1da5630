//! Exchanges with an ECM whose other end is scripted.

use std::time::Duration;

use meter_protocols::brultech::{
    EcmCommand, EcmInterval, EcmSettings, ExchangeError, Format, Line, Reply, Step, Timing,
};

use crate::capture;
use crate::link::{Link, secs};

const ECM_SETTINGS: &[u8] = include_bytes!("../captures/brultech/ECM-1240-settings-reply.bin");

#[test]
fn an_ecm_gets_the_next_piece_when_it_has_acknowledged() {
    let mut link = Link::new();
    link.ecm(EcmCommand::SetTrigger(16_000));
    for chunk in [b"\xFD".as_slice(), b"SET", b"IV3", b"\x80", b"\x3E"] {
        link.sends(chunk);
        assert_eq!(link.step(), Step::Wait(Some(link.now + secs(1))));
        link.hear(b"\x00\xFC");
    }
    link.done(Reply::Done);

    link.ecm(EcmCommand::SetRealTime(false));
    link.acknowledged(&[b"\xFD", b"TOG"]);
    link.sends(b"OFF");
    link.done(Reply::Done);
    link.ecm(EcmCommand::ResetSeconds);
    link.hear(b"\xFC");
    assert_eq!(link.waits(), Duration::from_millis(300), "it may acknowledge that after all");
    link.sends(b"\xFD");
}

#[test]
fn an_ecms_settings_come_with_the_last_acknowledgement_or_behind_it() {
    let expected = EcmSettings::decode(ECM_SETTINGS).expect("they are whole");
    let answer = [b"\xFC", ECM_SETTINGS].concat();
    for size in [1, 2, 20, 33, 34] {
        let mut link = Link::new();
        link.ecm(EcmCommand::Settings);
        link.acknowledged(&[b"\xFD", b"SET"]);
        link.sends(b"RCV");
        for piece in answer.chunks(size) {
            link.hear(piece);
        }
        link.acknowledged(&[b"\xFD"]);
        link.done(Reply::EcmSettings(expected));
    }
}

#[test]
fn damaged_settings_of_an_ecm_are_asked_for_again() {
    let mut link = Link::new();
    let mut damaged = [b"\xFC", ECM_SETTINGS].concat();
    damaged[9] ^= 1;
    link.ecm(EcmCommand::Settings);
    for attempt in 0..3 {
        for chunk in [b"\xFD".as_slice(), b"SET", b"RCV"] {
            link.sends(chunk);
            link.hear(if chunk == b"RCV" { &damaged } else { b"\xFC" });
        }
        link.waits();
        if attempt < 2 {
            link.waits();
        }
    }
    link.fails(ExchangeError::Damaged);
}

#[test]
fn an_ecm_that_stammers_is_asked_again_from_the_beginning() {
    let mut link = Link::new();
    link.ecm(EcmCommand::ResetSeconds);
    link.acknowledged(&[b"\xFD"]);
    link.sends(b"RQS");
    link.hear(b"\x93");
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.acknowledged(&[b"\xFD", b"RQS", b"RKS"]);
    link.done(Reply::Done);
}

#[test]
fn a_toggle_is_not_tried_twice() {
    let mut link = Link::new();
    let one = meter_protocols::brultech::EcmChannel::new(1).expect("it is in range");
    link.ecm(EcmCommand::TogglePolarity(one));
    link.acknowledged(&[b"\xFD", b"SET"]);
    link.sends(b"NG1");
    assert_eq!(link.waits(), secs(1));
    link.fails(ExchangeError::NotAcknowledged { acknowledged: 2, chunks: 3 });
}

#[test]
fn a_unit_that_is_not_there_is_asked_twice() {
    let mut link = Link::new();
    link.ecm(EcmCommand::Poll);
    link.sends(b"\xFD");
    assert_eq!(link.waits(), secs(1));
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.sends(b"\xFD");
    assert_eq!(link.waits(), secs(1));
    link.fails(ExchangeError::Silent { waited: Duration::from_millis(2300) });
}

#[test]
fn an_ecms_packet_answers_a_poll_even_when_it_is_seen_before_the_acknowledgement() {
    let packet = capture(Format::Ecm1240);
    let mut link = Link::new();
    for answer in [[b"\xFC", packet].concat(), packet.to_vec()] {
        link.ecm(EcmCommand::Poll);
        link.acknowledged(&[b"\xFD"]);
        link.sends(b"SPK");
        link.hear(&answer);
        if answer.len() == packet.len() {
            assert_eq!(link.waits(), Duration::from_millis(300));
        }
        link.done(Reply::Packet);
    }
    assert_eq!(link.packets, 2);
}

/// A real-time packet in the middle of a command does no harm.
#[test]
fn packets_between_acknowledgements_are_lifted_out() {
    let packet = capture(Format::Ecm1240);
    let mut link = Link::new();
    link.ecm(EcmCommand::Settings);
    link.sends(b"\xFD");
    link.hear(&[packet, b"\xFC"].concat());
    link.sends(b"SET");
    link.hear(&packet[..30]);
    link.hear(&packet[30..]);
    link.hear(b"\xFC");
    link.sends(b"RCV");
    link.hear(&[b"\xFC", &ECM_SETTINGS[..10], packet, &ECM_SETTINGS[10..]].concat());
    link.quiet();
    link.sends(b"\xFD");
    link.hear(&[packet, b"\xFC"].concat());
    assert!(matches!(link.step(), Step::Done(Ok(Reply::EcmSettings(_)))));
    assert_eq!(link.packets, 4);
}

/// Settings with these values at the front, and a checksum that fits.
fn settings(front: &[u8]) -> Vec<u8> {
    let mut bytes = ECM_SETTINGS.to_vec();
    bytes[..front.len()].copy_from_slice(front);
    bytes[32] = bytes[..32].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    bytes
}

/// Values of the settings that look like an acknowledgement, the header of a packet, a keep-alive
/// byte, or the unit's own command byte.
#[test]
fn settings_may_look_like_anything_else() {
    let fronts: [&[u8]; 6] =
        [b"\xFC\xFC\xFC", b"\xFE\xFF\x03", b"\xFE\xFF\x05\xFC", b"\x00", b"\xFD\xFD", b"GET "];
    let packet = capture(Format::Ecm1240);
    for front in fronts {
        let bytes = settings(front);
        let expected = EcmSettings::decode(&bytes).expect("they are whole");
        for (behind, size) in [(&b""[..], 100), (b"", 1), (packet, 200), (packet, 7)] {
            let mut link = Link::new();
            link.ecm(EcmCommand::Settings);
            link.acknowledged(&[b"\xFD", b"SET"]);
            link.sends(b"RCV");
            for piece in [b"\xFC", &bytes[..], behind].concat().chunks(size) {
                link.hear(piece);
            }
            link.quiet();
            link.acknowledged(&[b"\xFD"]);
            link.done(Reply::EcmSettings(expected));
            assert_eq!(link.packets, usize::from(!behind.is_empty()), "{front:x?}");
        }
    }
}

/// Acknowledgements that come seconds late shift all that follow by one. The settings, of which only
/// whole ones count, put that right.
#[test]
fn late_acknowledgements_never_become_settings() {
    let expected = EcmSettings::decode(ECM_SETTINGS).expect("they are whole");
    let interval = EcmInterval::new(5).expect("it is in range");
    let mut link = Link::new();
    link.ecm(EcmCommand::SetInterval(interval));
    link.sends(b"\xFD");
    link.waits();
    link.waits();
    link.sends(b"\xFD");
    link.waits();
    assert!(matches!(link.step(), Step::Done(Err(ExchangeError::Silent { .. }))));
    assert!(!link.line.owed().is_nothing());

    // However long nothing was said, the link is listened to before it is used again.
    link.now += secs(60);
    link.ecm(EcmCommand::Settings);
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.acknowledged(&[b"\xFD", b"SET", b"RCV"]);
    link.hear(&[b"\xFC", ECM_SETTINGS].concat());
    let mut waits = 0;
    loop {
        match link.step() {
            Step::Wait(Some(until)) => link.now = until,
            Step::Send(bytes) if bytes == b"\xFD" => break,
            step => panic!("{step:?}"),
        }
        waits += 1;
        assert!(waits < 5);
    }
    link.hear(b"\xFC");
    link.acknowledged(&[b"SET"]);
    link.sends(b"RCV");
    link.hear(&[b"\xFC", ECM_SETTINGS].concat());
    link.acknowledged(&[b"\xFD"]);
    link.done(Reply::EcmSettings(expected));
}

/// A connection that ends between two pieces: nothing has changed, and the next one listens first.
#[test]
fn a_command_that_is_cut_off_between_its_pieces_has_done_nothing() {
    let mut link = Link::new();
    link.ecm(EcmCommand::ResetWattSeconds);
    link.acknowledged(&[b"\xFD"]);
    link.sends(b"RQS");
    assert!(!link.line.is_out());
    link.line.cancel(link.now);
    let owed = link.line.owed();
    link.line = Line::new(Timing::default());
    link.line.set_owed(owed);
    link.ecm(EcmCommand::ResetWattSeconds);
    link.hear(b"\xFC");
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.acknowledged(&[b"\xFD", b"RQS", b"RKW"]);
    assert!(link.line.is_out());
    link.done(Reply::Done);
}

#[test]
fn a_reboot_waits_for_no_last_acknowledgement() {
    let mut link = Link::new();
    link.ecm(EcmCommand::Reboot);
    link.acknowledged(&[b"\xFD", b"RQS"]);
    link.sends(b"RLP");
    link.done(Reply::Done);
}
