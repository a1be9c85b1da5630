//! Exchanges on a link whose other end is scripted: what is sent, when, and what is made of the
//! answer.

use meter_protocols::brultech::{
    Channels, CtType, DeviceTime, EcmCommand, ExchangeError, Format, GemCommand, GemInterval,
    GemSettings, KeepAliveText, Packet, PacketFormat, Processor, PulseInput, Reply, Request, Step,
    TemperatureUnit,
};

use crate::capture;
use crate::link::{Link, channel, secs, silent};

const GEM_SETTINGS: &[u8] = include_bytes!("../captures/brultech/GEM-RQSALL-reply.txt");

fn set_format() -> GemCommand {
    GemCommand::SetPacketFormat(PacketFormat::new(8).expect("it is in range"))
}

fn set_ct() -> GemCommand {
    GemCommand::SetCtType(channel(3), CtType::new(211).expect("it is in range"))
}

#[test]
fn every_query_reads_its_answer() {
    use GemCommand as C;
    let time = DeviceTime { year: 2017, month: 12, day: 20, hour: 5, minute: 7, second: 26 };
    let run = Channels::new(channel(1), channel(3)).expect("they are in their order");
    let mut link = Link::new();
    link.answered(C::Serial, b"1100603\r\n", Reply::Serial("1100603".to_owned()));
    link.answered(C::Time, b"17-12-20 05:07:26\r\n", Reply::Time(Some(time)));
    link.answered(C::Time, b"00-00-00 00:00:00\r\n", Reply::Time(None));
    link.answered(C::RealTime, b"ON\r\n", Reply::RealTime(true));
    link.answered(C::RealTime, b"OFF\r\n", Reply::RealTime(false));
    link.answered(C::Interval, b"0A\r\n", Reply::Interval(10));
    link.answered(C::Interval, b"00\r\n", Reply::Interval(256));
    link.answered(C::PacketFormat, b"08\r\n", Reply::PacketFormat(8));
    link.answered(C::Ct(channel(4)), b"D3,04\r\n", Reply::Ct { kind: 211, range: 4 });
    link.answered(C::Ct(channel(4)), b"D304\r\n", Reply::Ct { kind: 211, range: 4 });
    let firmware = Reply::Firmware("2.42".to_owned());
    link.answered(C::Firmware(Processor::Com), b"2.42\r\n", firmware);
    link.answered(C::Volts, b"1144\r\n", Reply::Volts(114.4));
    link.answered(C::Seconds, b"16777215\r\n", Reply::Seconds(16_777_215));
    link.answered(C::Watts(channel(1)), b"60\r\n", Reply::Watts(vec![60.0]));
    link.answered(C::WattsOf(run), b"60,-5,.5\r\n", Reply::Watts(vec![60.0, -5.0, 0.5]));
    link.answered(C::WattSeconds(channel(1)), b"1099511627775\r\n", {
        Reply::WattSeconds(vec![1_099_511_627_775])
    });
    link.answered(C::WattsOf(run), b"60,1,2,3,4\r\n", Reply::Watts(vec![60.0, 1.0, 2.0]));
    link.answered(C::WattSecondsOf(run), b"1,2,3,\r\n", Reply::WattSeconds(vec![1, 2, 3]));
}

#[test]
fn every_list_reads_its_answer() {
    use GemCommand as C;
    let mut link = Link::new();
    let types = format!("D2,{}01\r\n", "D3,".repeat(46));
    let mut expected = vec![211; 48];
    (expected[0], expected[47]) = (210, 1);
    link.answered(C::CtTypes, types.as_bytes(), Reply::CtTypes(expected));
    let ranges = format!("{}24\r\n", "43,".repeat(23));
    let mut expected = [3, 4].repeat(24);
    (expected[46], expected[47]) = (4, 2);
    link.answered(C::CtRanges, ranges.as_bytes(), Reply::CtRanges(expected));
    link.gem(C::ChannelOptions);
    link.sends(b"^^^RQSAOP");
    link.hear(format!("{}80\r\n", "40,".repeat(47)).as_bytes());
    let Step::Done(Ok(Reply::ChannelOptions(options))) = link.step() else {
        panic!("48 options are an answer");
    };
    assert_eq!(options.len(), 48);
    assert!(options[46].net_metering() != options[47].net_metering());
    assert!(options[47].polarity_toggled());
}

#[test]
fn all_values_come_with_keys_or_without() {
    let mut link = Link::new();
    let mut read = |answer: &str| {
        link.gem(GemCommand::Values);
        link.sends(b"^^^APIVAL");
        link.hear(answer.as_bytes());
        match link.step() {
            Step::Done(Ok(Reply::Values(values))) => *values,
            other => panic!("{other:?}"),
        }
    };
    let bare = format!("{}1.5,{}x,7,8,9,10", "60,".repeat(47), "21.0,".repeat(7));
    let values = read(&format!("VAL\r\n{bare}\r\nEND\r\n"));
    assert_eq!(values.watts.len(), 48);
    assert_eq!((values.watts[0], values.watts[47]), (Some(60.0), Some(1.5)));
    assert_eq!((values.temperatures[0], values.temperatures[7]), (Some(21.0), None));
    assert_eq!(values.pulses, [Some(7), Some(8), Some(9), Some(10)]);
    assert_eq!(read(&format!("VAL\r\n{bare},END\r\n")), values);

    let keyed = read("VAL\r\nc1=60,c2=-5,\r\nc4=7,t1=21.0,t2=256.0,p2=9,v=114.4\r\nEND\r\n");
    assert_eq!(keyed.watts, [Some(60.0), Some(-5.0), None, Some(7.0)]);
    assert_eq!(keyed.temperatures, [Some(21.0), None]);
    assert_eq!(keyed.pulses, [None, Some(9)]);
    assert_eq!(keyed.volts, Some(114.4));
}

#[test]
fn every_set_command_knows_its_acknowledgement() {
    let mut link = Link::new();
    let five = GemInterval::new(5).expect("it is in range");
    link.answered(GemCommand::SetRealTime(true), b"_ON\r\n", Reply::Done);
    link.answered(GemCommand::SetRealTime(false), b"OFF\r\n", Reply::Done);
    link.answered(set_format(), b"PKT\r\n", Reply::Done);
    link.answered(GemCommand::SetInterval(five), b"IVL\r\n", Reply::Done);
    link.answered(GemCommand::ResetAll, b"RSTA\r\n", Reply::Done);
    link.answered(GemCommand::ResetChannel(channel(5)), b"RSTC05\r\n", Reply::Done);
    let pulse = PulseInput::new(2).expect("it is in range");
    link.answered(GemCommand::ResetPulse(pulse), b"RSP2\r\n", Reply::Done);
    link.answered(set_ct(), b"TYP\r\n", Reply::Done);
    let celsius = TemperatureUnit::Celsius;
    link.answered(GemCommand::SetTemperatureUnit(celsius), b"C", Reply::TemperatureUnit(celsius));
    link.answered(
        GemCommand::SetTemperatureUnit(TemperatureUnit::Fahrenheit),
        b"AliveF\r\n",
        Reply::TemperatureUnit(TemperatureUnit::Fahrenheit),
    );
    link.gem(GemCommand::HoldPackets);
    link.sends(b"^^^SYSPDL");
    link.done(Reply::Done);
}

#[test]
fn what_is_no_answer_is_passed_over() {
    let mut link = Link::new();
    link.gem(GemCommand::Serial);
    link.sends(b"^^^RQSSRN");
    for noise in
        [b"Alive".as_slice(), b"Alive\r\n", b"\r\n", b"PKT\r\n", b"\x9312", b"\x07\n", b"1a2\r\n"]
    {
        link.hear(noise);
        assert!(matches!(link.step(), Step::Wait(_)), "{}", noise.escape_ascii());
    }
    link.hear(b"AliveAlive01100603\r\n");
    link.done(Reply::Serial("01100603".to_owned()));
}

#[test]
fn a_refusal_and_a_wrong_answer_are_told_in_words() {
    let mut link = Link::new();
    link.gem(set_format());
    link.sends(b"^^^SYSPKT08");
    link.hear(b"ER\r\n");
    link.fails(ExchangeError::Refused);

    link.gem(set_format());
    link.sends(b"^^^SYSPKT08");
    link.hear(b"HELLO\r\n");
    assert_eq!(link.waits(), secs(10));
    let Step::Done(Err(error)) = link.step() else {
        panic!("that was no answer");
    };
    assert_eq!(
        error.to_string(),
        "the meter answered \"HELLO\", which is no answer to this command"
    );
}

#[test]
fn all_settings_come_in_any_pieces_with_packets_in_their_middle() {
    let expected = {
        let list = std::str::from_utf8(&GEM_SETTINGS[5..]).expect("it is text").trim_end();
        let value = |text| u8::from_str_radix(text, 16).expect("it is hex");
        let values: Vec<u8> = list.split(',').map(value).collect();
        Reply::Settings(Box::new(GemSettings::decode(&values).expect("it is whole")))
    };
    let packet = capture(Format::Bin32Net);
    for (at, size) in [(0, 1542), (1, 1), (3, 7), (6, 100), (900, 64), (1541, 33), (1542, 2000)] {
        let mut stream = GEM_SETTINGS.to_vec();
        stream.splice(at..at, [packet, packet].concat());
        let mut link = Link::new();
        link.gem(GemCommand::Settings);
        link.sends(b"^^^RQSALL");
        for piece in stream.chunks(size) {
            link.hear(piece);
        }
        link.done(expected.clone());
        assert_eq!(link.packets, 2);
    }
}

#[test]
fn a_damaged_list_of_settings_is_no_shorter_list() {
    for damage in [b"\x93".as_slice(), b",,", b"G", b"0"] {
        let mut stream = GEM_SETTINGS.to_vec();
        stream.splice(800..800, damage.iter().copied());
        let mut link = Link::new();
        link.gem(GemCommand::Settings);
        link.sends(b"^^^RQSALL");
        link.hear(&stream);
        let outcome = match link.step() {
            Step::Wait(Some(until)) => link.line.step(until),
            step => step,
        };
        assert_eq!(outcome, Step::Done(Err(ExchangeError::Damaged)), "{}", damage.escape_ascii());
    }
}

/// Bytes of a password are in the list; no error, wait or debug form may tell them.
#[test]
fn a_password_is_never_shown() {
    let mut stream = GEM_SETTINGS.to_vec();
    let at = 5 + 3 * 290;
    stream[at..at + 24].copy_from_slice(b"AB,CD,EF,AB,CD,EF,AB,CD,");
    for end in [at + 2, at + 10, at + 23] {
        let mut link = Link::new();
        link.gem(GemCommand::Settings);
        link.sends(b"^^^RQSALL");
        link.hear(&stream[..end]);
        assert!(!format!("{:?}", link.line).contains("AB,CD"));
        link.waits();
        link.fails(ExchangeError::Damaged);
        link.gem(set_format());
        link.sends(b"^^^RQSDTM");
        link.hear(&stream[end..]);
        link.hear(b"17-12-20 05:07:26\r\n");
        link.waits();
        link.sends(b"^^^SYSPKT08");
        for line in [b"AB,CD,EF\r\n".as_slice(), b"ABCDEF\r\n", b"AB\r\n"] {
            link.hear(line);
        }
        link.waits();
        link.fails(silent(10));
    }
}

#[test]
fn packets_are_held_once_for_several_commands() {
    let mut link = Link::new();
    let held = |command| Request::Gem { command, target: Some(603), hold: true };
    link.begin(held(GemCommand::Serial));
    link.sends(b"^^^SYSPDL");
    link.hear(capture(Format::Bin32Net));
    assert_eq!(link.waits(), secs(3));
    link.sends(b"^^^NMB00603RQSSRN");
    assert_eq!(link.line.deadline(), Some(secs(13)));
    link.hear(b"1100603\r\n");
    link.done(Reply::Serial("1100603".to_owned()));

    link.now = secs(12);
    link.begin(held(GemCommand::RealTime));
    link.sends(b"^^^NMB00603RQSRTL");
    assert_eq!(link.line.deadline(), Some(secs(15)), "the hold ends there");
    link.hear(b"ON\r\n");
    link.done(Reply::RealTime(true));

    link.now = secs(13);
    link.begin(held(GemCommand::RealTime));
    assert_eq!(link.step(), Step::Wait(Some(secs(25))), "packets are let through first");
    link.now = secs(16);
    link.hear(capture(Format::Bin32Net));
    link.sends(b"^^^SYSPDL");
    assert_eq!(link.waits(), secs(3));
    link.sends(b"^^^NMB00603RQSRTL");
    link.hear(b"ON\r\n");
    link.done(Reply::RealTime(true));

    link.now = secs(30);
    link.begin(held(GemCommand::RealTime));
    assert_eq!(link.waits(), secs(11), "and if none comes, for a while");
    link.sends(b"^^^SYSPDL");
}

#[test]
fn a_poll_is_answered_by_the_packet_of_the_meter_asked() {
    let mut link = Link::new();
    link.gem_of(603, GemCommand::Poll);
    link.sends(b"^^^NMB00603APISPK");
    let mut other = Packet::new(Format::Bin32Net);
    other.serial_number = 604;
    let mut bytes = Vec::new();
    other.encode(&mut bytes);
    link.hear(&bytes);
    assert!(matches!(link.step(), Step::Wait(_)), "that was another meter's");
    link.hear(capture(Format::Bin48Net));
    link.done(Reply::Packet);

    link.gem_of(603, GemCommand::Poll);
    link.sends(b"^^^NMB00603APISPK");
    link.waits();
    link.fails(silent(10));
    link.gem_of(603, GemCommand::Volts);
    link.sends(b"^^^NMB00603APIVLT");
}

#[test]
fn silence_is_an_answer_where_none_is_documented() {
    let mut link = Link::new();
    link.gem(set_ct());
    link.sends(b"^^^C03TYP211");
    assert_eq!(link.waits(), secs(2));
    link.done(Reply::Unacknowledged);
    link.gem(GemCommand::Ct(channel(3)));
    link.sends(b"^^^RQSDTM");
    link.hear(b"TYP\r\n17-12-20 05:07:26\r\n");
    link.waits();
    link.sends(b"^^^RQSC03");
    link.hear(b"D3,04\r\n");
    link.done(Reply::Ct { kind: 211, range: 4 });

    link.gem(set_ct());
    link.sends(b"^^^C03TYP211");
    link.hear(b"Alive");
    link.hear(b"ER\r\n");
    link.fails(ExchangeError::Refused);
}

#[test]
fn a_keep_alive_text_that_was_set_is_known() {
    let mut link = Link::new();
    let text = KeepAliveText::new("F00").expect("a meter takes it");
    link.answered(GemCommand::SetKeepAliveText(text), b"OK\r\n", Reply::Done);
    link.gem(GemCommand::SetTemperatureUnit(TemperatureUnit::Celsius));
    link.sends(b"^^^TMPDGC");
    link.hear(b"F00");
    assert!(matches!(link.step(), Step::Wait(_)));
    link.hear(b"C");
    link.done(Reply::TemperatureUnit(TemperatureUnit::Celsius));
}

#[test]
fn what_is_given_up_is_remembered() {
    let mut link = Link::new();
    link.gem(GemCommand::Volts);
    link.line.cancel(link.now);
    link.gem(GemCommand::Volts);
    link.sends(b"^^^APIVLT");
    assert!(!link.line.begin(Request::Ecm { unit: 0xFC, command: EcmCommand::Poll }, link.now));
    link.line.cancel(link.now);
    assert_eq!(link.step(), Step::Idle);
    link.gem(GemCommand::Volts);
    link.sends(b"^^^RQSDTM");
}
