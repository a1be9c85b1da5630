use super::*;

#[test]
fn settings_are_kept_and_answered_as_documented() {
    let mut gem = Bench::quiet_gem();
    for (command, answer) in [
        ("^^^RQSSRN", "00110001\r\n"),
        ("^^^SYS_ON", "_ON\r\n"),
        ("^^^RQSRTL", "ON\r\n"),
        ("^^^SYSOFF", "OFF\r\n"),
        ("^^^RQSRTL", "OFF\r\n"),
        ("^^^RQSRTF", "04\r\n"),
        ("^^^SYSPKT08", "PKT\r\n"),
        ("^^^RQSRTF", "08\r\n"),
        ("^^^SYSPKF05", "PKF\r\n"),
        ("^^^SYSPKF03", "ER\r\n"),
        ("^^^SYSIVL010", "IVL\r\n"),
        ("^^^RQSITV", "0A\r\n"),
        ("^^^SYSIVL256", "IVL\r\n"),
        ("^^^RQSITV", "00\r\n"),
        ("^^^SYSIVL000", "ER\r\n"),
        ("^^^SYSDTM26,11,21,08,09,10\r", "DTM\r\n"),
        ("^^^RQSDTM", "26-11-21 08:09:10\r\n"),
        ("^^^SYSDTM26,13,21,08,09,10\r", "ER\r\n"),
        ("^^^SYSTPT138", "TPT\r\n"),
        ("^^^SYSVRG02", "VRG\r\n"),
        ("^^^SYSHZ1", "HZ\r\n"),
        ("^^^SYSPKS200\r", "PKS\r\n"),
        ("^^^SYSPKI500\r", "PKI\r\n"),
        ("^^^SYSPKS79\r", "ER\r\n"),
        ("^^^SYSBFF1000\r", "BFF\r\n"),
        ("^^^SYSKAI3", "OK\r\n"),
        ("^^^SYSKAI8", "ER\r\n"),
        ("^^^SYSKASHello\r", "OK\r\n"),
        ("^^^SYSCMX48\r", "OK\r\n"),
        ("^^^TMPDGC", "C"),
        ("^^^TMPDGF", "F"),
        ("^^^SYSPDL", ""),
        ("^^^RQSVR1", "5.39\r\n"),
        ("^^^RBC", ""),
    ] {
        assert_eq!(gem.ask(command), answer, "{command}");
    }
    let list = gem.ask("^^^RQSALL");
    assert_eq!(list.len(), 1542);
    let values: Vec<&str> = list.strip_prefix("ALL\r\n").unwrap().trim_end().split(',').collect();
    assert_eq!(values.len(), 512);
    for (place, value) in [
        (121, "8A"),
        (122, "02"),
        (123, "08"),
        (124, "00"),
        (130, "05"),
        (249, "30"),
        (317, "00"),
        (318, "C8"),
        (320, "10"),
        (321, "01"),
        (322, "F4"),
    ] {
        assert_eq!(values[place], value, "place {place}");
    }
    let password: Vec<String> = PASSWORD.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(values[291..298], password);
}

#[test]
fn channels_are_set_one_by_one_and_all_together() {
    let mut gem = Bench::quiet_gem();
    for (command, answer) in [
        ("^^^C05TYP146", "OK\r\n"),
        ("^^^C05RNG3", "OK\r\n"),
        ("^^^C06RNG9", "OK\r\n"),
        ("^^^RQSC05", "92,03\r\n"),
        ("^^^RQSC06", "D3,09\r\n"),
        ("^^^C49TYP146", "ER\r\n"),
        ("^^^C05PHC", "OK\r\n"),
        ("^^^C05PC2", "OK\r\n"),
        ("^^^C05PL1", "OK\r\n"),
        ("^^^C06TOG", "OK\r\n"),
        ("^^^C06TOG", "OK\r\n"),
        ("^^^C06TOG", "OK\r\n"),
    ] {
        assert_eq!(gem.ask(command), answer, "{command}");
    }
    let options = gem.ask("^^^RQSAOP");
    assert_eq!(&options[..21], "00,00,40,40,CA,C0,40,");
    assert_eq!(options.len(), 48 * 3 + 1);
    assert_eq!(&gem.ask("^^^RQSARG")[..9], "44,44,93,");
    assert_eq!(gem.ask("^^^RQSATP").len(), 48 * 3 + 1);

    let each: Vec<String> = (1..=48).map(|channel| (channel + 100).to_string()).collect();
    assert_eq!(gem.ask(&format!("^^^CHGTYP{}\r", each.join(","))), "OK\r\n");
    assert_eq!(gem.ask("^^^RQSC48"), "94,04\r\n");
    assert_eq!(gem.ask("^^^CHGTYP1,2,3\r"), "ER\r\n");
    assert_eq!(gem.ask("^^^CHETYP205"), "OK\r\n");
    assert_eq!(gem.ask("^^^CHERNG4"), "OK\r\n");
    assert_eq!(gem.ask("^^^RQSC48"), "CD,04\r\n");
    assert_eq!(gem.ask("^^^CHEPHB"), "OK\r\n");
    assert_eq!(gem.ask("^^^CHEPOL0"), "OK\r\n");
    assert_eq!(&gem.ask("^^^RQSAOP")[..18], "01,01,41,41,49,41,");
}

#[test]
fn a_command_for_another_meter_is_let_go_and_one_for_nobody_in_particular_is_for_all() {
    let mut gems = Bench::new(Format::Bin48Net, 2, Manners::default());
    gems.meters.iter().for_each(|meter| meter.change(|state| state.real_time = false));
    assert_eq!(gems.ask("^^^NMB10002RQSSRN"), "00110002\r\n");
    assert_eq!(gems.ask("^^^NMB10003RQSSRN"), "");
    assert_eq!(gems.ask("^^^RQSSRN"), "00110001\r\n00110002\r\n");
    assert_eq!(gems.ask("^^^NMB10001SYSIVL007"), "IVL\r\n");
    let interval = |meter: usize| gems.meters[meter].look(|state| state.interval.as_secs());
    assert_eq!((interval(0), interval(1)), (7, 5));
    let heard = gems.heard.look(Heard::commands);
    assert_eq!(heard[1], b"^^^NMB10003RQSSRN");
    assert_eq!(heard.len(), 4);
}

#[test]
fn a_packet_is_polled_with_real_time_off_only() {
    let mut gem = Bench::quiet_gem();
    let bytes = gem.say(b"^^^APISPK");
    let (packets, between) = taken_apart(&bytes);
    assert_eq!((packets.len(), between.len(), bytes.len()), (1, 0, 625));
    assert_eq!(packets[0].serial(), "00110001");
    gem.ask("^^^SYS_ON");
    assert_eq!(gem.ask("^^^APISPK"), "");
    assert_eq!(gem.meters[0].look(|state| state.packets_sent), 1);
    assert_eq!(
        gem.meters[0].look(|state| state.last_packet.as_ref().unwrap().seconds),
        packets[0].seconds
    );
}

#[test]
fn format_and_interval_change_what_is_sent() {
    let mut gem = Bench::new(Format::Bin48NetTime, 1, Manners::default());
    assert_eq!(gem.written().len(), 625);
    for (format, length) in [("05", 619), ("07", 379), ("08", 429), ("09", 269), ("01", 65)] {
        assert_eq!(gem.ask(&format!("^^^SYSPKT{format}")), "PKT\r\n");
        assert_eq!(gem.wait(seconds(5)).len(), length, "format {format}");
    }
    assert_eq!(gem.ask("^^^SYSPKT05^^^SYSIVL002"), "PKT\r\nIVL\r\n");
    assert_eq!(gem.wait(seconds(20)).len(), 10 * 619);
    gem.ask("^^^SYSPKT12");
    assert_eq!(gem.wait(seconds(20)).len(), 0);
    gem.ask("^^^SYSPKT02");
    let text = String::from_utf8(gem.wait(seconds(2))).unwrap();
    assert!(text.starts_with("n=00110001&m=") && text.ends_with("\r\n"), "{text}");
}

#[test]
fn held_packets_come_after_fifteen_seconds() {
    let mut gem = Bench::new(Format::Bin48Net, 1, Manners::default());
    assert_eq!(gem.written().len(), 619);
    assert_eq!(gem.ask("^^^SYSPDL"), "");
    assert_eq!(gem.wait(Duration::from_millis(14_999)), b"");
    // The buffer has room for two of them; the third is due now.
    assert_eq!(gem.wait(Duration::from_millis(1)).len(), 3 * 619);
    assert_eq!(gem.meters[0].look(|state| state.packets_sent), 4);
}

#[test]
fn resets_reset_what_they_name() {
    let mut gem = Bench::quiet_gem();
    let poll = |gem: &mut Bench| taken_apart(&gem.say(b"^^^APISPK")).0.remove(0);
    gem.meters[0].change(|state| {
        state.counts.set_absolute(4, 5000);
        (0..4).for_each(|input| state.counts.set_pulses(input, 700));
    });
    let before = poll(&mut gem);
    assert_eq!((before.absolute_watt_seconds[4] - 5000) / 10_000, 0);
    assert_eq!(gem.ask("^^^SYSRSTC05"), "RSTC\r\n");
    assert_eq!(gem.ask("^^^SYSRSP2"), "RSP\r\n");
    let after = poll(&mut gem);
    assert!(after.absolute_watt_seconds[4] < 5000);
    assert!(after.absolute_watt_seconds[5] >= before.absolute_watt_seconds[5]);
    assert_eq!(after.pulses, [700, 0, 700, 700]);
    assert!(after.seconds >= before.seconds);
    assert_eq!(gem.ask("^^^SYSRSTS"), "RSTS\r\n");
    assert!(poll(&mut gem).seconds < 60);
    assert_eq!(gem.ask("^^^SYSRSTP"), "RSTP\r\n");
    assert_eq!(poll(&mut gem).pulses, [0; 4]);
    assert!(poll(&mut gem).absolute_watt_seconds[0] > 10_000_000);
    assert_eq!(gem.ask("^^^SYSRSTH"), "RSTH\r\n");
    assert_eq!(gem.ask("^^^SYSRSTA"), "RSTA\r\n");
    let after = poll(&mut gem);
    assert!(after.absolute_watt_seconds[..32].iter().all(|counter| *counter < 1_000_000));
}

#[test]
fn temperatures_follow_their_unit_and_their_inputs() {
    let mut gem = Bench::quiet_gem();
    let poll = |gem: &mut Bench| taken_apart(&gem.say(b"^^^APISPK")).0.remove(0);
    let celsius = poll(&mut gem).temperature(0).unwrap();
    assert_eq!(poll(&mut gem).temperature(2), None);
    gem.ask("^^^TMPDGF");
    let fahrenheit = poll(&mut gem).temperature(0).unwrap();
    assert!((celsius * 1.8 + 32.0 - fahrenheit).abs() < 1.5, "{celsius} {fahrenheit}");
    assert_eq!(gem.ask("^^^TMPDS1"), "OK\r\n");
    assert_eq!(poll(&mut gem).temperatures[0], 0);
    assert_eq!(gem.ask("^^^TMPEN1"), "OK\r\n");
    assert_ne!(poll(&mut gem).temperatures[0], 0);
    assert_eq!(gem.ask("^^^PLSDS1"), "OK\r\n");
    assert_eq!(gem.ask("^^^PLSEN5"), "ER\r\n");
    assert_eq!(gem.ask("^^^SYSDTM20,01,02,03,04,05\r"), "DTM\r\n");
    assert_eq!(poll(&mut gem).device_time[..5], [20, 1, 2, 3, 4]);
}

#[test]
fn channels_beyond_the_board_carry_garbage() {
    let mut gem = Bench::quiet_gem();
    let poll = |gem: &mut Bench| taken_apart(&gem.say(b"^^^APISPK")).0.remove(0);
    let packet = poll(&mut gem);
    assert_eq!(packet.absolute_watt_seconds[40], 0);
    assert_ne!(packet.polarized_watt_seconds[40], 0);
    assert_ne!(packet.polarized_watt_seconds[1], 0, "solar has net metering");
    assert_eq!(packet.polarized_watt_seconds[7], 0, "a load has not");
    gem.ask("^^^SYSCMX48\r");
    assert_ne!(poll(&mut gem).absolute_watt_seconds[40], 0);
}

#[test]
fn single_values_are_those_of_the_packet() {
    let mut gem = Bench::quiet_gem();
    gem.meters[0].change(|state| state.counts.set_absolute(7, 123));
    let volts: u16 = gem.ask("^^^APIVLT").trim_end().parse().unwrap();
    assert!((1190..=1240).contains(&volts));
    assert!(gem.ask("^^^APISEC").trim_end().parse::<u32>().unwrap() > 1_000_000);
    assert!(gem.ask("^^^APIENR08").trim_end().parse::<u64>().unwrap() < 10_000);
    assert_eq!(gem.ask("^^^APIWRG0105").split(',').count(), 5);
    assert_eq!(gem.ask("^^^APIEGR0304").split(',').count(), 2);
    let values = gem.ask("^^^APIVAL");
    let list = values.strip_prefix("VAL\r\n").unwrap().strip_suffix("END\r\n").unwrap();
    assert_eq!(list.split(',').count(), 48 + 8 + 4);
}

#[test]
fn keep_alive_text_comes_with_real_time_off() {
    let mut gem = Bench::quiet_gem();
    gem.ask("^^^SYSKAI1");
    assert_eq!(gem.wait(seconds(9)), b"AliveAlive");
    gem.ask("^^^SYSKASYes\r^^^SYSKAI2");
    assert_eq!(gem.wait(seconds(16)), b"YesYes");
    gem.ask("^^^SYSKAI0");
    assert_eq!(gem.wait(seconds(60)), b"");
}

#[test]
fn packets_come_in_the_chunks_that_are_set() {
    let mut gem = Bench::quiet_gem();
    gem.ask("^^^SYSPKS300\r^^^SYSPKI400\r");
    assert_eq!(gem.say(b"^^^APISPK").len(), 300);
    assert_eq!(gem.wait(Duration::from_millis(399)).len(), 0);
    assert_eq!(gem.wait(Duration::from_millis(1)).len(), 300);
    assert_eq!(gem.wait(Duration::from_millis(400)).len(), 25);
}
