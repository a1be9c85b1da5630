use super::*;

fn quiet_ecm(meters: u32) -> Bench {
    let mut bench = Bench::new(Format::Ecm1240, meters, Manners::default());
    bench.meters.iter().for_each(|meter| meter.change(|state| state.real_time = false));
    assert_eq!(bench.written(), b"");
    bench
}

impl Bench {
    /// Sends a command chunk by chunk; each must be answered with an ack, and this is what follows
    /// the last.
    fn chunks(&mut self, unit: u8, chunks: &[&[u8]]) -> Vec<u8> {
        let mut rest = self.say(&[unit]);
        for chunk in chunks {
            assert_eq!(rest, [0xFC], "before {chunk:02X?}");
            rest = self.say(chunk);
        }
        assert_eq!(rest.first(), Some(&0xFC), "after {chunks:02X?}");
        rest.remove(0);
        rest
    }
}

#[test]
fn settings_are_given_in_33_bytes_and_closed() {
    let mut ecm = quiet_ecm(1);
    ecm.meters[0].change(|state| (state.unit_id, state.serial_number) = (5, 434));
    ecm.meters[0].change(|state| state.ecm().unwrap().interval_s = 1);
    let settings = ecm.chunks(0xFC, &[b"SET", b"RCV"]);
    let captured = "A704A704F403010C040B0501B290000000008D8B8C8BCE00FFFFFFFF05803E006D";
    let hex: String = settings.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(hex, captured);
    assert_eq!(ecm.say(&[0xFC]), [0xFC]);
    assert_eq!(ecm.heard.look(Heard::commands), [b"\xFCSETRCV\xFC"]);
    assert_eq!(ecm.chunks(0xFC, &[b"SPK"]).len(), 65, "the next command is one");
}

#[test]
fn settings_are_changed() {
    let mut ecm = quiet_ecm(1);
    let commands: [&[&[u8]]; 8] = [
        &[b"SET", b"IV2", &[9]],
        &[b"SET", b"IV3", &[0x34], &[0xFD]],
        &[b"SET", b"CT1", b"TYP", &[0xFC], b"RNG", &[2]],
        &[b"SET", b"CT2", b"TYP", &[180], b"RNG", &[3]],
        &[b"SET", b"PTT", &[200], b"PTR", &[1]],
        &[b"SET", b"OPT", &[0x41]],
        &[b"SET", b"NG1"],
        &[b"SET", b"NG2"],
    ];
    for command in commands {
        assert_eq!(ecm.chunks(0xFC, command), b"", "{command:02X?}");
    }
    let settings = ecm.chunks(0xFC, &[b"SET", b"RCV"]);
    assert_eq!(settings[..7], [0xFC, 2, 180, 3, 200, 1, 9]);
    assert_eq!((settings[14], &settings[29..31]), (0x41, &[0x34, 0xFD][..]));
    assert_eq!(ecm.say(&[0xFC]), [0xFC]);
    assert_eq!(ecm.meters[0].look(|state| state.interval), seconds(9));
    let packet = taken_apart(&ecm.chunks(0xFC, &[b"SPK"])).0.remove(0);
    assert_eq!(packet.aux5_volts, 240, "direct volts at aux 5");
    assert_eq!(ecm.heard.look(|heard| heard.hasty), 0);
}

#[test]
fn each_unit_answers_to_its_own_byte_with_the_same_ack() {
    let mut ecms = quiet_ecm(5);
    for (place, unit) in [0xFC, 0xFD, 0xFE, 0xFF].into_iter().enumerate() {
        let (packets, between) = taken_apart(&ecms.chunks(unit, &[b"SPK"]));
        assert_eq!((packets.len(), between.len()), (1, 0));
        assert_eq!(packets[0].serial_number, 10_001 + place as u16);
    }
    let mut one = Bench::new(Format::Ecm1220, 1, Manners::default());
    assert_eq!(one.written().len(), 43);
    assert_eq!(one.say(&[0xFD]), b"", "there is no such unit");
    assert_eq!(one.say(&[0xFC]), [0xFC]);
}

#[test]
fn resets_move_the_reset_count() {
    let mut ecm = quiet_ecm(1);
    ecm.meters[0].change(|state| state.ecm().unwrap().flag = 0b1111);
    ecm.chunks(0xFC, &[b"RQS", b"RKW"]);
    let packet = taken_apart(&ecm.chunks(0xFC, &[b"SPK"])).0.remove(0);
    assert_eq!((packet.flag, packet.reset_count()), (0b1000, 0));
    assert!(packet.absolute_watt_seconds[0] < 100_000 && packet.seconds > 1_000_000);
    ecm.chunks(0xFC, &[b"RQS", b"RKS"]);
    let packet = taken_apart(&ecm.chunks(0xFC, &[b"SPK"])).0.remove(0);
    assert!(packet.reset_count() == 1 && packet.seconds < 60);
}

#[test]
fn real_time_is_switched() {
    let mut ecm = quiet_ecm(1);
    assert_eq!(ecm.wait(seconds(60)), b"");
    ecm.chunks(0xFC, &[b"TOG", b"XTD"]);
    assert_eq!(ecm.wait(seconds(20)).len(), 4 * 65);
    ecm.chunks(0xFC, &[b"TOG", b"OFF"]);
    assert_eq!(ecm.wait(seconds(20)), b"");
}

#[test]
fn an_unknown_word_is_not_answered_and_haste_is_noticed() {
    let mut ecm = quiet_ecm(1);
    ecm.say(&[0xFC]);
    assert_eq!(ecm.say(b"XYZ"), b"");
    assert_eq!(ecm.chunks(0xFC, &[b"SPK"]).len(), 65, "it begins anew with its byte");
    ecm.say(&[0xFC]);
    ecm.say(b"SE");
    ecm.wait(seconds(3));
    assert_eq!(ecm.chunks(0xFC, &[b"SPK"]).len(), 65, "half a word is forgotten");
    assert_eq!(ecm.heard.look(|heard| heard.hasty), 0);
    let all = ecm.say(b"\xFCSPK");
    assert_eq!(all.len(), 2 + 65);
    assert_eq!(ecm.heard.look(|heard| heard.hasty), 1);
}
