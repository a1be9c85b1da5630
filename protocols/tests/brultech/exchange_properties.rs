//! What holds for every exchange, whatever the meter does.

use std::collections::VecDeque;
use std::time::Duration;

use meter_protocols::brultech::{
    AuxOptions, Channel, CtType, Decoder, EcmChannel, EcmCommand, EcmInterval, Format, Frame,
    GemCommand, GemInterval, Line, PacketFormat, Processor, Reply, Request, Step, TemperatureUnit,
    Timing,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::capture;

const GEM_SETTINGS: &[u8] = include_bytes!("../captures/brultech/GEM-RQSALL-reply.txt");
const ECM_SETTINGS: &[u8] = include_bytes!("../captures/brultech/ECM-1240-settings-reply.bin");

/// A command of each shape of answer, and such an answer.
fn asked() -> impl Strategy<Value = (GemCommand, Vec<u8>)> {
    let channel = Channel::new(3).expect("it is in range");
    let five = GemInterval::new(5).expect("it is in range");
    let format = PacketFormat::new(8).expect("it is in range");
    let kind = CtType::new(211).expect("it is in range");
    let commands: Vec<(GemCommand, &[u8])> = vec![
        (GemCommand::Serial, b"1100603\r\n"),
        (GemCommand::Time, b"17-12-20 05:07:26\r\n"),
        (GemCommand::RealTime, b"ON\r\n"),
        (GemCommand::SetRealTime(false), b"OFF\r\n"),
        (GemCommand::SetRealTime(true), b"_ON\r\n"),
        (GemCommand::Interval, b"05\r\n"),
        (GemCommand::PacketFormat, b"08\r\n"),
        (GemCommand::SetInterval(five), b"IVL\r\n"),
        (GemCommand::SetPacketFormat(format), b"PKT\r\n"),
        (GemCommand::SetCtType(channel, kind), b"TYP\r\n"),
        (GemCommand::Ct(channel), b"D3,04\r\n"),
        (GemCommand::SetTemperatureUnit(TemperatureUnit::Celsius), b"C"),
        (GemCommand::Firmware(Processor::Com), b"2.42\r\n"),
        (GemCommand::Volts, b"1144\r\n"),
        (GemCommand::Seconds, b"77\r\n"),
        (GemCommand::Watts(channel), b"60\r\n"),
        (GemCommand::WattSeconds(channel), b"36942\r\n"),
        (GemCommand::ResetAll, b"RSTA\r\n"),
        (GemCommand::Values, b"VAL\r\nc1=60,t1=21.0,p1=7\r\nEND\r\n"),
        (GemCommand::Settings, GEM_SETTINGS),
        (GemCommand::Poll, capture(Format::Bin32Net)),
    ];
    select(commands).prop_map(|(command, answer)| (command, answer.to_vec()))
}

/// What a link may carry while an exchange is under way.
fn heard() -> impl Strategy<Value = Vec<u8>> {
    let tokens: &[&[u8]] = &[
        b"Alive",
        b"Ali",
        b"\r\n",
        b"ER\r\n",
        b"OK\r\n",
        b"ON\r\n",
        b"05\r\n",
        b"1144\r\n",
        b"C",
        b"ALL\r\n",
        b"VAL\r\n",
        b"END\r\n",
        b"00,40,40",
        b"\x93",
        b"\xFC",
        b"\xFE\xFF\x05",
        b"GET ",
        b"n=1&",
        GEM_SETTINGS,
        ECM_SETTINGS,
    ];
    prop_oneof![
        6 => select(tokens).prop_map(<[u8]>::to_vec),
        2 => asked().prop_map(|(_, answer)| answer),
        1 => vec(any::<u8>(), 0..40),
        1 => select(vec![Format::Bin48Net, Format::Ecm1240]).prop_map(|f| capture(f).to_vec()),
    ]
}

fn ecm_command() -> impl Strategy<Value = EcmCommand> {
    let channel = EcmChannel::new(1).expect("it is in range");
    select(vec![
        EcmCommand::Poll,
        EcmCommand::Settings,
        EcmCommand::SetInterval(EcmInterval::new(5).expect("it is in range")),
        EcmCommand::SetCt { channel, kind: 167, range: 4 },
        EcmCommand::SetAuxOptions(AuxOptions::new(3).expect("it is in range")),
        EcmCommand::TogglePolarity(channel),
        EcmCommand::SetRealTime(true),
        EcmCommand::ResetSeconds,
    ])
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        3 => (asked(), any::<Option<u16>>(), any::<bool>())
            .prop_map(|((command, _), target, hold)| Request::Gem { command, target, hold }),
        1 => ecm_command().prop_map(|command| Request::Ecm { unit: 0xFC, command }),
    ]
}

/// Puts bytes through a decoder into a line.
fn hear(line: &mut Line, decoder: &mut Decoder, bytes: &[u8], now: Duration) {
    decoder.push(bytes);
    drain(line, decoder, now);
}

fn drain(line: &mut Line, decoder: &mut Decoder, now: Duration) {
    while let Some(event) = decoder.next_frame() {
        if let Ok(Frame::Packet(packet)) = event {
            line.packet(&packet, now);
        }
    }
    line.take(&decoder.take_between(), now);
}

fn new_decoder() -> Decoder {
    let mut decoder = Decoder::new();
    decoder.keep_between(8192);
    decoder
}

/// What comes of a command when `pieces` are heard one after the other, then silence.
fn outcome<'a>(command: &GemCommand, pieces: impl Iterator<Item = &'a [u8]>) -> Step {
    let mut line = Line::new(Timing::default());
    let mut decoder = new_decoder();
    let now = Duration::ZERO;
    line.begin(Request::Gem { command: command.clone(), target: None, hold: false }, now);
    assert_eq!(line.step(now), Step::Send(command.encode(None)));
    for piece in pieces {
        hear(&mut line, &mut decoder, piece, now);
    }
    decoder.idle();
    drain(&mut line, &mut decoder, now);
    match line.step(now) {
        Step::Wait(Some(until)) => line.step(until),
        step => step,
    }
}

/// A meter that answers in the order it was asked, each answer in its own time or never.
struct SlowMeter {
    delays: VecDeque<Option<Duration>>,
    /// When each answer arrives, for what it is one, and the answer.
    answers: VecDeque<(Duration, usize, Vec<u8>)>,
}

impl SlowMeter {
    fn asked(&mut self, now: Duration, what: usize, answer: &[u8]) {
        let Some(Some(delay)) = self.delays.pop_front() else {
            return;
        };
        let arrival = (now + delay).max(self.answers.back().map_or(now, |(at, _, _)| *at));
        self.answers.push_back((arrival, what, answer.to_vec()));
    }

    /// The next answer, if it arrives by then.
    fn next(&mut self, until: Duration) -> Option<(Duration, usize, Vec<u8>)> {
        self.answers.pop_front_if(|(at, _, _)| *at <= until)
    }
}

/// The answer to a fence.
fn fence_answer(sent: &[u8]) -> &'static [u8] {
    match sent {
        b"^^^RQSDTM" => b"17-12-20 05:07:26\r\n",
        b"^^^RQSSRN" => b"1100603\r\n",
        _ => b"OFF\r\n",
    }
}

fn delay() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        6 => Just(Some(50)),
        2 => (0..3_000_u64).prop_map(Some),
        2 => (0..25_000_u64).prop_map(Some),
        1 => Just(None),
    ]
    .prop_map(|millis| millis.map(Duration::from_millis))
}

/// After how many waits of an exchange its connection ends, if it does.
fn cut() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![3 => Just(None), 1 => (0..4_u32).prop_map(Some)]
}

/// The line of the next connection to the same meter.
fn reconnected(mut line: Line, now: Duration) -> Line {
    line.cancel(now);
    let mut next = Line::new(Timing::default());
    next.set_owed(line.owed());
    next
}

/// Marks what is no command's own answer.
const FENCE: usize = usize::MAX;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn where_an_answer_is_split_makes_no_difference(
        (command, answer) in asked(),
        before in vec(heard(), 0..3),
        behind in vec(heard(), 0..3),
        size in 1..40_usize,
    ) {
        let stream = [before.concat(), answer, behind.concat()].concat();
        let whole = outcome(&command, std::iter::once(stream.as_slice()));
        prop_assert_eq!(outcome(&command, stream.chunks(size)), whole);
    }

    #[test]
    fn a_packet_in_the_middle_of_an_answer_makes_no_difference(
        (command, answer) in asked(),
        at in 0.0..1.0,
    ) {
        prop_assume!(command != GemCommand::Poll);
        let whole = outcome(&command, std::iter::once(answer.as_slice()));
        prop_assert!(matches!(whole, Step::Done(Ok(_))), "{:?}", whole);
        let (left, right) = answer.split_at((at * answer.len() as f64) as usize);
        let stream = [left, capture(Format::Bin48NetTime), right].concat();
        prop_assert_eq!(outcome(&command, std::iter::once(stream.as_slice())), whole);
    }

    /// Whatever is heard, and however late the line is asked what to do.
    #[test]
    fn an_exchange_is_over_by_its_deadline(
        requests in vec((request(), vec((heard(), 0..4_000_u64), 0..8)), 1..12),
        late in 0..100_u64,
    ) {
        let mut line = Line::new(Timing::default());
        let mut decoder = new_decoder();
        let mut now = Duration::ZERO;
        for (request, heard) in requests {
            prop_assert!(line.begin(request, now));
            for (bytes, millis) in heard {
                while matches!(line.step(now), Step::Send(_)) {}
                now += Duration::from_millis(millis);
                hear(&mut line, &mut decoder, &bytes, now);
            }
            // A deadline moves when the command goes out, so it may take a few.
            let mut tries = 0;
            while let Some(deadline) = line.deadline() {
                now = now.max(deadline) + Duration::from_secs(late);
                let ended = matches!(line.step(now), Step::Done(_));
                prop_assert!(ended, "step {tries} at the deadline goes on");
                tries += 1;
            }
            prop_assert_eq!(line.step(now), Step::Idle);
        }
    }

    /// A caller that does just what the line says, and waits as long as it says, is never kept busy
    /// and always comes to an end.
    #[test]
    fn an_exchange_ends_by_itself(
        requests in vec((request(), vec(heard(), 0..4)), 1..8),
    ) {
        let mut line = Line::new(Timing::default());
        let mut decoder = new_decoder();
        let mut now = Duration::ZERO;
        for (request, heard) in requests {
            prop_assert!(line.begin(request, now));
            let mut heard = heard.into_iter();
            let mut steps = 0;
            loop {
                match line.step(now) {
                    Step::Send(bytes) => prop_assert!(!bytes.is_empty()),
                    Step::Wait(until) => match heard.next() {
                        Some(bytes) => hear(&mut line, &mut decoder, &bytes, now),
                        None => {
                            let until = until.expect("an exchange has an end");
                            prop_assert!(until > now);
                            now = until;
                        }
                    },
                    Step::Done(_) => break,
                    Step::Idle => prop_assert!(false, "it has not ended"),
                }
                steps += 1;
                prop_assert!(steps < 200, "it goes on and on");
            }
        }
    }

    /// Also over connections that are cut off, at the nth wait of an exchange, while the answers go
    /// on as if there were but one.
    #[test]
    fn no_command_is_answered_by_anothers_bytes(
        commands in vec((asked(), 0..20_000_u64, cut()), 1..30),
        delays in vec(delay(), 120),
        hold in any::<bool>(),
    ) {
        let mut line = Line::new(Timing::default());
        let mut meter = SlowMeter { delays: delays.into(), answers: VecDeque::new() };
        let mut now = Duration::ZERO;
        for (index, ((command, answer), pause, cut)) in commands.into_iter().enumerate() {
            if command == GemCommand::Poll {
                continue;
            }
            now += Duration::from_millis(pause);
            // What comes while nothing is under way is of no use.
            while meter.next(now).is_some() {}
            let own = command.encode(None);
            let request = Request::Gem { command, target: None, hold };
            prop_assert!(line.begin(request, now));
            let mut last_heard = None;
            let mut asked = false;
            let mut waits = 0;
            loop {
                if cut == Some(waits) {
                    line = reconnected(line, now);
                    break;
                }
                match line.step(now) {
                    Step::Send(bytes) if bytes == b"^^^SYSPDL" => {}
                    // A fence may be the very command; it goes out before it.
                    Step::Send(bytes) if bytes == own => {
                        asked = true;
                        meter.asked(now, index, &answer);
                    }
                    Step::Send(bytes) => meter.asked(now, FENCE, fence_answer(&bytes)),
                    Step::Wait(until) => {
                        waits += 1;
                        let until = until.expect("an exchange has an end");
                        if let Some((at, what, answer)) = meter.next(until) {
                            now = now.max(at);
                            last_heard = Some(what);
                            line.take(&answer, now);
                        } else {
                            now = until;
                        }
                    }
                    Step::Done(Ok(Reply::Unacknowledged)) => break,
                    Step::Done(Ok(reply)) => {
                        prop_assert!(asked);
                        prop_assert_eq!(last_heard, Some(index), "{:?}", reply);
                        break;
                    }
                    Step::Done(Err(_)) => break,
                    Step::Idle => prop_assert!(false, "it has not ended"),
                }
            }
        }
    }

    /// Acknowledgements too many, and settings cut short. (Other noise can be right by chance: the
    /// checksum is one byte.)
    #[test]
    fn settings_of_an_ecm_are_whole_or_none(
        pieces in vec(prop_oneof![
            6 => Just(b"\xFC".to_vec()),
            3 => Just([b"\xFC", ECM_SETTINGS].concat()),
            2 => Just(ECM_SETTINGS.to_vec()),
            1 => Just(ECM_SETTINGS[..20].to_vec()),
        ], 0..12),
        size in 1..40_usize,
    ) {
        let mut line = Line::new(Timing::default());
        let mut now = Duration::ZERO;
        line.begin(Request::Ecm { unit: 0xFC, command: EcmCommand::Settings }, now);
        let mut pieces = pieces.into_iter();
        loop {
            match line.step(now) {
                Step::Send(_) => {}
                Step::Wait(Some(until)) => match pieces.next() {
                    Some(piece) => {
                        for part in piece.chunks(size) {
                            line.take(part, now);
                        }
                    }
                    None => now = until,
                },
                Step::Done(Ok(Reply::EcmSettings(settings))) => {
                    prop_assert_eq!(settings.serial(), "500434");
                    break;
                }
                Step::Done(Err(_)) => break,
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
