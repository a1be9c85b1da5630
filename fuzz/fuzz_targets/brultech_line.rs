//! Any commands, and any bytes in answer to them at any time: the command side of a Brultech link
//! neither panics nor hangs, and every exchange is over by its deadline.
//!
//! The input is a list of moves: a byte below 0x60 chooses a command to begin; one below 0xC0 is
//! followed by as many bytes, less 0x60, that are heard; above, it lets time pass.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use meter_protocols::brultech::{
    Channel, CtType, Decoder, EcmChannel, EcmCommand, Frame, GemCommand, KeepAliveText, Line,
    Processor, Request, Step, TemperatureUnit, Timing,
};

fuzz_target!(|input: &[u8]| {
    let mut line = Line::new(Timing::default());
    let mut decoder = Decoder::new();
    decoder.keep_between(8192);
    let mut now = Duration::ZERO;
    let mut rest = input;
    while let Some((chosen, behind)) = rest.split_first() {
        rest = behind;
        match chosen {
            0..0x60 => {
                line.begin(request(*chosen), now);
            }
            0x60..0xC0 => {
                let (heard, behind) = rest.split_at(rest.len().min(usize::from(chosen - 0x60)));
                rest = behind;
                decoder.push(heard);
                drain(&mut decoder, &mut line, now);
            }
            0xC0 => {
                decoder.idle();
                drain(&mut decoder, &mut line, now);
            }
            0xC1 => line.cancel(now),
            0xC2 => {
                line.cancel(now);
                let owed = line.owed();
                line = Line::new(Timing::default());
                line.set_owed(owed);
            }
            _ => now += Duration::from_millis(50 * u64::from(chosen - 0xC1)),
        }
        let mut sent = 0;
        while let Step::Send(bytes) = line.step(now) {
            assert!(!bytes.is_empty());
            sent += 1;
            assert!(sent < 10, "it sends without end");
        }
    }
    if let Some(deadline) = line.deadline() {
        let step = line.step(now.max(deadline));
        assert!(matches!(step, Step::Done(_)), "{step:?} at the deadline");
    }
    assert_eq!(line.step(now), Step::Idle);
});

fn drain(decoder: &mut Decoder, line: &mut Line, now: Duration) {
    while let Some(event) = decoder.next_frame() {
        if let Ok(Frame::Packet(packet)) = event {
            line.packet(&packet, now);
        }
    }
    line.take(&decoder.take_between(), now);
}

fn request(chosen: u8) -> Request {
    let channel = Channel::new(3).expect("it is in range");
    let command = match chosen & 0x1F {
        0 => GemCommand::Poll,
        1 => GemCommand::Settings,
        2 => GemCommand::Values,
        3 => GemCommand::Time,
        4 => GemCommand::Serial,
        5 => GemCommand::RealTime,
        6 => GemCommand::SetRealTime(false),
        7 => GemCommand::SetTemperatureUnit(TemperatureUnit::Celsius),
        8 => GemCommand::CtRanges,
        9 => GemCommand::Ct(channel),
        10 => GemCommand::SetCtType(channel, CtType::new(211).expect("it is in range")),
        11 => GemCommand::SetKeepAliveText(KeepAliveText::new("C").expect("it is a text")),
        12 => GemCommand::Firmware(Processor::Com),
        13 => GemCommand::WattSeconds(channel),
        14 => GemCommand::Volts,
        15 => GemCommand::HoldPackets,
        unit => {
            let command = match unit % 5 {
                0 => EcmCommand::Poll,
                1 => EcmCommand::Settings,
                2 => EcmCommand::SetTrigger(16_000),
                3 => EcmCommand::SetRealTime(true),
                _ => EcmCommand::TogglePolarity(EcmChannel::new(1).expect("it is in range")),
            };
            return Request::Ecm { unit: 0xFC, command };
        }
    };
    let target = (chosen & 0x20 != 0).then_some(603);
    Request::Gem { command, target, hold: chosen & 0x40 != 0 }
}
