//! Answers that come late, torn, or from elsewhere: none of them is taken for another's.

use std::time::Duration;

use meter_protocols::brultech::{
    CtType, ExchangeError, GemCommand, Line, PacketFormat, Reply, Request, Step, Timing,
};

use crate::link::{Link, channel, secs, silent};

#[test]
fn an_answer_that_comes_late_is_not_the_next_ones() {
    let mut link = Link::new();
    link.gem(GemCommand::Interval);
    link.sends(b"^^^RQSITV");
    assert_eq!(link.waits(), secs(10));
    link.fails(silent(10));

    link.gem(GemCommand::PacketFormat);
    link.sends(b"^^^RQSDTM");
    link.hear(b"05\r\n");
    assert!(matches!(link.step(), Step::Wait(_)), "that was the interval");
    link.hear(b"17-12-20 05:07:26\r\n");
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.sends(b"^^^RQSRTF");
    link.hear(b"08\r\n");
    link.done(Reply::PacketFormat(8));

    link.answered(GemCommand::Interval, b"05\r\n", Reply::Interval(5));
}

#[test]
fn a_fence_is_of_another_shape_than_what_is_missing() {
    let missing: [(GemCommand, &[u8]); 4] = [
        (GemCommand::Time, b"^^^RQSSRN"),
        (GemCommand::Serial, b"^^^RQSDTM"),
        (GemCommand::SetRealTime(false), b"^^^RQSDTM"),
        (GemCommand::Settings, b"^^^RQSDTM"),
    ];
    for (command, fence) in missing {
        let mut link = Link::new();
        let bytes = command.encode(None);
        link.gem(command);
        link.sends(&bytes);
        link.waits();
        assert!(matches!(link.step(), Step::Done(Err(_))));
        link.gem(GemCommand::Volts);
        link.sends(fence);
    }
}

/// The answers to all that was asked come, in their order, long after it was given up.
#[test]
fn a_meter_that_is_slow_for_good_never_answers_wrongly() {
    let mut link = Link::new();
    link.gem(GemCommand::RealTime);
    link.sends(b"^^^RQSRTL");
    link.waits();
    link.fails(silent(10));
    link.gem(GemCommand::SetRealTime(false));
    link.sends(b"^^^RQSDTM");
    assert_eq!(link.waits(), secs(2));
    link.sends(b"^^^RQSSRN");
    assert_eq!(link.waits(), secs(2));
    link.fails(ExchangeError::Unsettled { wait: secs(30) });
    link.hear(b"OFF\r\n17-12-20 05:07:26\r\n1100603\r\n");
    link.now += secs(30);
    link.gem(GemCommand::SetRealTime(false));
    link.sends(b"^^^SYSOFF");
    link.hear(b"OFF\r\n");
    link.done(Reply::Done);
}

#[test]
fn a_meter_that_answers_a_fence_slowly_is_given_time() {
    let mut link = Link::new();
    link.gem(GemCommand::Volts);
    link.sends(b"^^^APIVLT");
    link.waits();
    link.fails(silent(10));
    link.gem(GemCommand::Seconds);
    link.sends(b"^^^RQSDTM");
    link.now += Duration::from_millis(1900);
    link.hear(b"1144\r\n");
    assert_eq!(link.waits(), secs(2));
    link.sends(b"^^^RQSRTL");
    link.hear(b"17-12-20 05:07:26\r\n");
    link.hear(b"ON\r\n");
    link.waits();
    link.sends(b"^^^APISEC");
    link.hear(b"77\r\n");
    link.done(Reply::Seconds(77));
}

#[test]
fn a_meter_that_is_gone_costs_the_others_one_fence() {
    let mut link = Link::new();
    link.gem_of(1, GemCommand::Volts);
    link.sends(b"^^^NMB00001APIVLT");
    link.waits();
    link.fails(silent(10));
    link.gem_of(2, GemCommand::Volts);
    link.sends(b"^^^NMB00001RQSDTM");
    assert_eq!(link.waits(), secs(2));
    link.sends(b"^^^NMB00002APIVLT");
    link.hear(b"1144\r\n");
    link.done(Reply::Volts(114.4));
    link.gem_of(2, GemCommand::Seconds);
    link.sends(b"^^^NMB00002APISEC");
    link.hear(b"7\r\n");
    link.done(Reply::Seconds(7));
    link.gem_of(1, GemCommand::Seconds);
    link.sends(b"^^^NMB00001RQSRTL");
}

/// A bridge that drops its connection delivers by the next one what was asked by the last.
#[test]
fn what_one_connection_owes_is_not_taken_for_an_answer_on_the_next() {
    let mut link = Link::new();
    link.gem(GemCommand::Interval);
    link.sends(b"^^^RQSITV");
    assert!(link.line.is_out());
    link.line.cancel(link.now);
    let owed = link.line.owed();
    assert!(!owed.is_nothing());

    link.line = Line::new(Timing::default());
    link.line.set_owed(owed.clone());
    link.gem(GemCommand::Interval);
    link.sends(b"^^^RQSDTM");
    assert!(!link.line.is_out(), "that was a fence only");
    link.hear(b"05\r\n");
    link.hear(b"17-12-20 05:07:26\r\n");
    link.waits();
    link.sends(b"^^^RQSITV");
    link.hear(b"0A\r\n");
    link.done(Reply::Interval(10));
    assert!(link.line.owed().is_nothing());

    let mut both = link.line.owed();
    both.join(&owed);
    assert_eq!(both, owed);
}

#[test]
fn a_command_that_was_not_sent_owes_nothing() {
    let mut link = Link::new();
    link.begin(Request::Gem { command: GemCommand::ResetAll, target: None, hold: true });
    link.sends(b"^^^SYSPDL");
    assert!(!link.line.is_out());
    link.line.cancel(link.now);
    assert!(link.line.owed().is_nothing());
}

/// Another meter's answer, long overdue, in the middle of a list.
#[test]
fn no_value_is_taken_from_a_list_that_another_answer_has_torn() {
    let list = ["D3"; 48].join(",") + "\r\n";
    for late in ["05\r\n", "OFF\r\n", "D3,04\r\n", "1100604\r\n", "\u{0}\r\n"] {
        for at in [0, 1, 2, 3, 70, list.len() - 3] {
            let mut link = Link::new();
            link.gem(GemCommand::CtTypes);
            link.sends(b"^^^RQSATP");
            link.hear(&list.as_bytes()[..at]);
            link.hear(late.as_bytes());
            link.hear(&list.as_bytes()[at..]);
            match link.step() {
                Step::Done(Ok(reply)) => {
                    assert_eq!(reply, Reply::CtTypes(vec![0xD3; 48]), "{late:?} at {at}");
                    assert_eq!(at, 0, "{late:?}: it was torn");
                }
                step => assert!(matches!(step, Step::Wait(_)), "{late:?} at {at}: {step:?}"),
            }
        }
    }
}

/// A bare number can be a line of the long list, or the answer to a setting whose answer nobody has
/// documented: then the serial number is no fence.
#[test]
fn a_number_on_a_line_of_its_own_is_no_fence_for_what_may_answer_with_one() {
    let kind = CtType::new(211).expect("it is in range");
    for command in [GemCommand::Values, GemCommand::SetCtType(channel(3), kind)] {
        let mut link = Link::new();
        let bytes = command.encode(None);
        link.gem(command.clone());
        link.sends(&bytes);
        link.waits();
        assert!(matches!(link.step(), Step::Done(_)), "{command:?}");
        link.gem(GemCommand::Interval);
        link.sends(b"^^^RQSDTM");
        link.waits();
        link.sends(b"^^^RQSRTL");
        link.hear(b"211\r\n");
        link.hear(b"OFF\r\n");
        link.waits();
        link.sends(b"^^^RQSITV");
    }
}

/// Several of the same kind one after the other, each answered when the next but one is asked.
#[test]
fn answers_that_lag_behind_by_one_command_answer_nothing() {
    let mut link = Link::new();
    let format = PacketFormat::new(5).expect("it is in range");
    link.gem(GemCommand::SetPacketFormat(format));
    link.sends(b"^^^SYSPKT05");
    link.waits();
    link.fails(silent(10));
    link.gem(GemCommand::PacketFormat);
    link.sends(b"^^^RQSDTM");
    // The acknowledgement of the first, then nothing: the fence's own answer is late as well.
    link.hear(b"PKT\r\n");
    link.waits();
    link.sends(b"^^^RQSSRN");
    link.hear(b"17-12-20 05:07:26\r\n");
    assert!(matches!(link.step(), Step::Wait(_)), "that was the first fence's");
    link.hear(b"1100603\r\n");
    assert_eq!(link.waits(), Duration::from_millis(300));
    link.sends(b"^^^RQSRTF");
    link.hear(b"05\r\n");
    link.done(Reply::PacketFormat(5));
}
