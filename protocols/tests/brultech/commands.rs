//! Every command as the vendor's paper has it; the bytes here are written by hand.

use meter_protocols::brultech::{
    AuxOptions, BufferSize, Channel, Channels, ChunkPause, ChunkSize, ClockTime, Compensation,
    CtRange, CtType, DeviceTime, EcmChannel, EcmCommand, EcmInterval, GemCommand, GemInterval,
    KeepAliveInterval, KeepAliveText, LineFrequency, MaxChannels, PacketFormat, Phase, Processor,
    PtRange, PtType, PulseInput, TemperatureInput, TemperatureUnit,
};

macro_rules! number {
    ($kind:ident, $value:expr) => {
        $kind::new($value).expect("the number is in its range")
    };
}

/// Each command, and what follows the carets (and the number).
fn gem_commands() -> Vec<(GemCommand, String)> {
    use GemCommand as C;
    let channel = |value| number!(Channel, value);
    let time = DeviceTime { year: 2012, month: 8, day: 23, hour: 13, minute: 30, second: 28 };
    let channels = |first, last| {
        Channels::new(channel(first), channel(last)).expect("they are in their order")
    };
    let fixed = [
        (C::Poll, "APISPK"),
        (C::SetRealTime(true), "SYS_ON"),
        (C::SetRealTime(false), "SYSOFF"),
        (C::HoldPackets, "SYSPDL"),
        (C::Serial, "RQSSRN"),
        (C::SetPacketFormat(number!(PacketFormat, 4)), "SYSPKT04"),
        (C::SetPacketFormat(number!(PacketFormat, 14)), "SYSPKT14"),
        (C::SetSecondaryFormat(number!(PacketFormat, 0)), "SYSPKF00"),
        (C::SetSecondaryFormat(number!(PacketFormat, 8)), "SYSPKF08"),
        (C::SetInterval(number!(GemInterval, 1)), "SYSIVL001"),
        (C::SetInterval(number!(GemInterval, 42)), "SYSIVL042"),
        (C::SetInterval(number!(GemInterval, 256)), "SYSIVL256"),
        (C::SetTime(ClockTime::new(time).expect("it can be")), "SYSDTM12,08,23,13,30,28\r"),
        (C::Time, "RQSDTM"),
        (C::Settings, "RQSALL"),
        (C::RealTime, "RQSRTL"),
        (C::Interval, "RQSITV"),
        (C::PacketFormat, "RQSRTF"),
        (C::CtTypes, "RQSATP"),
        (C::CtRanges, "RQSARG"),
        (C::ChannelOptions, "RQSAOP"),
        (C::Ct(channel(7)), "RQSC07"),
        (C::Ct(channel(48)), "RQSC48"),
        (C::SetCtType(channel(1), number!(CtType, 1)), "C01TYP001"),
        (C::SetCtType(channel(32), number!(CtType, 211)), "C32TYP211"),
        (C::SetCtRange(channel(9), number!(CtRange, 4)), "C09RNG4"),
        (C::SetPhase(channel(1), Phase::A), "C01PHA"),
        (C::SetPhase(channel(1), Phase::B), "C01PHB"),
        (C::SetPhase(channel(1), Phase::C), "C01PHC"),
        (C::SetCompensation(channel(2), Compensation::None), "C02PC0"),
        (C::SetCompensation(channel(2), Compensation::Degrees4), "C02PC1"),
        (C::SetCompensation(channel(2), Compensation::Degrees8), "C02PC2"),
        (C::SetPolarity(channel(3), false), "C03PL0"),
        (C::SetPolarity(channel(3), true), "C03PL1"),
        (C::TogglePolarity(channel(12)), "C12TOG"),
        (C::SetCtTypeOfAll(number!(CtType, 90)), "CHETYP090"),
        (C::SetCtRangeOfAll(number!(CtRange, 9)), "CHERNG9"),
        (C::SetPhaseOfAll(Phase::C), "CHEPHC"),
        (C::SetPolarityOfAll(false), "CHEPOL0"),
        (C::SetPolarityOfAll(true), "CHEPOL1"),
        (C::SetPtType(number!(PtType, 137)), "SYSTPT137"),
        (C::SetPtRange(number!(PtRange, 3)), "SYSVRG03"),
        (C::ResetAll, "SYSRSTA"),
        (C::ResetSeconds, "SYSRSTS"),
        (C::ResetChannel(channel(5)), "SYSRSTC05"),
        (C::ResetPulses, "SYSRSTP"),
        (C::ResetPulse(number!(PulseInput, 3)), "SYSRSP3"),
        (C::ResetWattHours, "SYSRSTH"),
        (C::SetKeepAliveInterval(number!(KeepAliveInterval, 0)), "SYSKAI0"),
        (C::SetKeepAliveInterval(number!(KeepAliveInterval, 7)), "SYSKAI7"),
        (C::SetKeepAliveText(KeepAliveText::new("Alive").expect("5 fit")), "SYSKASAlive\r"),
        (C::SetChunkSize(number!(ChunkSize, 80)), "SYSPKS80\r"),
        (C::SetChunkSize(number!(ChunkSize, 65_000)), "SYSPKS65000\r"),
        (C::SetChunkPause(number!(ChunkPause, 16)), "SYSPKI16\r"),
        (C::SetBuffer(number!(BufferSize, 1700)), "SYSBFF1700\r"),
        (C::SetMaxChannels(number!(MaxChannels, 8)), "SYSCMX08\r"),
        (C::SetMaxChannels(number!(MaxChannels, 32)), "SYSCMX32\r"),
        (C::SetTemperatureInput(number!(TemperatureInput, 8), true), "TMPEN8"),
        (C::SetTemperatureInput(number!(TemperatureInput, 1), false), "TMPDS1"),
        (C::SetPulseInput(number!(PulseInput, 4), true), "PLSEN4"),
        (C::SetPulseInput(number!(PulseInput, 1), false), "PLSDS1"),
        (C::SetTemperatureUnit(TemperatureUnit::Celsius), "TMPDGC"),
        (C::SetTemperatureUnit(TemperatureUnit::Fahrenheit), "TMPDGF"),
        (C::Firmware(Processor::Com), "RQSVR1"),
        (C::Firmware(Processor::Engine), "RQSVR2"),
        (C::Firmware(Processor::Expansion), "RQSVR3"),
        (C::SetLineFrequency(LineFrequency::Hz60), "SYSHZ0"),
        (C::SetLineFrequency(LineFrequency::Hz50), "SYSHZ1"),
        (C::Volts, "APIVLT"),
        (C::Seconds, "APISEC"),
        (C::Watts(channel(3)), "APIWAT03"),
        (C::WattSeconds(channel(32)), "APIENR32"),
        (C::WattsOf(channels(1, 32)), "APIWRG0132"),
        (C::WattSecondsOf(channels(5, 8)), "APIEGR0508"),
        (C::Values, "APIVAL"),
    ];
    let lists = [
        (
            C::SetCtTypes(Box::new([number!(CtType, 211); 48])),
            format!("CHGTYP{}211\r", "211,".repeat(47)),
        ),
        (
            C::SetCtRanges(Box::new([number!(CtRange, 4); 48])),
            format!("CHGRNG{}4\r", "4,".repeat(47)),
        ),
        (C::SetPhases(Box::new([Phase::B; 48])), format!("CHGPH{}B\r", "B,".repeat(47))),
    ];
    fixed.map(|(command, bytes)| (command, bytes.to_owned())).into_iter().chain(lists).collect()
}

#[test]
fn a_gem_gets_the_documented_bytes() {
    for (command, expected) in gem_commands() {
        let alone = String::from_utf8(command.encode(None)).expect("commands are text");
        assert_eq!(alone, format!("^^^{expected}"), "{command:?}");
        let one = String::from_utf8(command.encode(Some(2345))).expect("commands are text");
        assert_eq!(one, format!("^^^NMB02345{expected}"), "{command:?}");
    }
    assert_eq!(GemCommand::Serial.encode(Some(65_535)), b"^^^NMB65535RQSSRN");
    assert_eq!(GemCommand::Serial.encode(Some(0)), b"^^^NMB00000RQSSRN");
}

#[test]
fn nothing_that_cuts_a_meter_off_can_be_said() {
    for (command, _) in gem_commands() {
        let bytes = command.encode(None);
        for forbidden in ["SYSBD", "RBC", "RBE", "BR1", "SYSFP"] {
            let found = bytes.windows(forbidden.len()).any(|window| window == forbidden.as_bytes());
            assert!(!found, "{command:?} says {forbidden}");
        }
    }
}

#[test]
fn an_ecm_gets_the_documented_bytes_piece_by_piece() {
    use EcmCommand as C;
    let channel = |value| number!(EcmChannel, value);
    let commands: [(C, &[&[u8]]); 16] = [
        (C::Poll, &[b"SPK"]),
        (C::Settings, &[b"SET", b"RCV"]),
        (C::SetInterval(number!(EcmInterval, 5)), &[b"SET", b"IV2", &[5]]),
        (C::SetTrigger(16_000), &[b"SET", b"IV3", &[0x80], &[0x3E]]),
        (
            C::SetCt { channel: channel(1), kind: 167, range: 4 },
            &[b"SET", b"CT1", b"TYP", &[167], b"RNG", &[4]],
        ),
        (
            C::SetCt { channel: channel(2), kind: 0, range: 255 },
            &[b"SET", b"CT2", b"TYP", &[0], b"RNG", &[255]],
        ),
        (C::SetPt { kind: 244, range: 3 }, &[b"SET", b"PTT", &[244], b"PTR", &[3]]),
        (C::SetAuxOptions(number!(AuxOptions, 0x60)), &[b"SET", b"OPT", &[0x60]]),
        (C::TogglePolarity(channel(1)), &[b"SET", b"NG1"]),
        (C::TogglePolarity(channel(2)), &[b"SET", b"NG2"]),
        (C::ResetWattSeconds, &[b"RQS", b"RKW"]),
        (C::ResetSeconds, &[b"RQS", b"RKS"]),
        (C::Reboot, &[b"RQS", b"RLP"]),
        (C::SetRealTime(true), &[b"TOG", b"XTD"]),
        (C::SetRealTime(false), &[b"TOG", b"OFF"]),
        (C::SetInterval(number!(EcmInterval, 255)), &[b"SET", b"IV2", &[255]]),
    ];
    for unit in 0xFC..=0xFF {
        for (command, words) in commands {
            let chunks = command.chunks(unit);
            assert_eq!(chunks[0], [unit], "{command:?}");
            assert_eq!(chunks[1..], *words, "{command:?}");
        }
    }
}
