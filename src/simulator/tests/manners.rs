use super::*;

fn with(manners: Manners) -> Bench {
    Bench::new(Format::Bin48Net, 1, manners)
}

#[test]
fn slow_silent_and_swallowing_lines() {
    let mut slow = with(Manners { slow: seconds(3), ..Manners::default() });
    slow.written();
    assert_eq!(slow.ask("^^^SYSOFF"), "");
    assert_eq!(slow.wait(Duration::from_millis(2999)), b"");
    assert_eq!(slow.wait(Duration::from_millis(1)), b"OFF\r\n");

    let mut silent = with(Manners { silent: true, ..Manners::default() });
    silent.written();
    assert_eq!(silent.ask("^^^SYSOFF"), "");
    assert_eq!(silent.wait(seconds(30)), b"", "it obeyed");

    let mut dashbox = with(Manners { swallow: true, ..Manners::default() });
    dashbox.written();
    assert_eq!(dashbox.ask("^^^SYSOFF"), "");
    assert_eq!(dashbox.wait(seconds(10)).len(), 2 * 619, "it never heard of it");
    assert_eq!(dashbox.heard.look(Heard::bytes), b"^^^SYSOFF");
    assert_eq!(dashbox.heard.look(Heard::commands).len(), 0);
}

/// In the order in which they were asked for, so those to later commands come late as well.
#[test]
fn one_answer_of_several_is_late() {
    let late = Some((2, seconds(11)));
    let mut gem = with(Manners { late, ..Manners::default() });
    gem.meters[0].change(|state| state.real_time = false);
    gem.written();
    assert_eq!(gem.ask("^^^SYSOFF"), "OFF\r\n");
    assert_eq!(gem.ask("^^^RQSSRN"), "");
    assert_eq!(gem.wait(seconds(10)), b"");
    assert_eq!(gem.ask("^^^SYSKAI0"), "");
    assert_eq!(gem.wait(seconds(1)), b"00110001\r\nOK\r\n");
}

#[test]
fn a_packet_stands_in_the_middle_of_an_answer() {
    let mut gem = with(Manners { split_replies: true, ..Manners::default() });
    gem.written();
    let bytes = gem.say(b"^^^RQSSRN");
    assert!(bytes.starts_with(b"00110\xFE\xFF") && bytes.ends_with(b"001\r\n"));
    let (packets, between) = taken_apart(&bytes);
    assert_eq!((packets.len(), &between[..]), (1, &b"00110001\r\n"[..]));
    assert_eq!(gem.meters[0].look(|state| state.packets_sent), 2);
}

#[test]
fn noise_stands_between_packets_and_keep_alive_text_comes_by_the_clock() {
    let mut gem = with(Manners { noise: true, ..Manners::default() });
    let bytes = gem.wait(seconds(50));
    let (packets, between) = taken_apart(&bytes);
    assert_eq!(packets.len(), 11);
    assert!(between.len() >= 11);

    let keep_alive = Some(seconds(2));
    let mut gem = with(Manners { keep_alive, ..Manners::default() });
    let (packets, between) = taken_apart(&gem.wait(seconds(6)));
    assert_eq!((packets.len(), &between[..]), (2, &b"AliveAliveAlive"[..]));
}

#[test]
fn everything_leaves_in_chunks() {
    let (chunks, pause) = (Some(10), Duration::from_millis(100));
    let mut gem = with(Manners { chunks, pause, ..Manners::default() });
    gem.meters[0].change(|state| state.real_time = false);
    assert_eq!(gem.ask("^^^SYSDTM26,01,02,03,04,05\r"), "DTM\r\n");
    assert_eq!(gem.ask("^^^RQSDTM"), "26-01-02 0");
    assert_eq!(gem.wait(pause), b"3:04:05\r\n");
}

#[test]
fn a_connection_for_each_packet_ends_fifty_milliseconds_after_it() {
    let mut gem = with(Manners { one_packet: true, ..Manners::default() });
    assert_eq!(gem.written().len(), 619);
    assert!(!gem.line.is_over(gem.now));
    assert_eq!(gem.ask("^^^SYSPKT08"), "PKT\r\n", "there is time for a word");
    gem.wait(Duration::from_millis(50));
    assert!(gem.line.is_over(gem.now));
    // The next connection has to wait for its packet.
    let manners = Manners { one_packet: true, ..Manners::default() };
    gem.line = Line::new(gem.meters.clone(), manners, gem.heard.clone(), gem.now);
    assert_eq!(gem.wait(Duration::from_millis(4949)), b"");
    assert_eq!(gem.wait(Duration::from_millis(1)).len(), 429);
}

#[test]
fn http_requests_want_their_answer() {
    let mut gem = with(Manners { http: true, ..Manners::default() });
    let request = String::from_utf8(gem.written()).unwrap();
    assert!(request.starts_with("GET /meter?SN=00110001&SC="), "{request}");
    assert!(request.ends_with(",&Resp= HTTP/1.1\r\nHost: meterbridge\r\n\r\n"), "{request}");
    gem.say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    gem.wait(seconds(5));
    let unanswered = |gem: &Bench| gem.meters[0].look(|state| state.http_unanswered);
    assert_eq!(unanswered(&gem), 0);
    gem.wait(seconds(5));
    assert_eq!(unanswered(&gem), 1);
}

#[test]
fn what_is_not_documented_may_not_be_answered_and_lists_may_be_short() {
    let manners = Manners { terse: true, short_settings: true, ..Manners::default() };
    let mut gem = with(manners);
    gem.meters[0].change(|state| state.real_time = false);
    assert_eq!(gem.ask("^^^C05TYP146"), "");
    assert_eq!(gem.ask("^^^RQSC05"), "92,04\r\n");
    assert_eq!(gem.ask("^^^RQSALL").len(), 5 + 374 * 3 - 1 + 2);
}

#[test]
fn a_test_has_a_packet_sent_when_it_likes() {
    let mut gem = Bench::quiet_gem();
    gem.meters[0].change(|state| {
        state.counts.set_absolute(0, (1 << 40) - 1);
        state.counts.set_seconds((1 << 24) - 1);
        state.send_now();
    });
    let packet = taken_apart(&gem.written()).0.remove(0);
    assert!(packet.seconds == 0xFF_FFFF || packet.seconds < 5);
    gem.meters[0].change(|state| {
        state.counts.jump(Duration::from_hours(24));
        state.serial_number = 777;
        state.send_now();
    });
    let packet = taken_apart(&gem.written()).0.remove(0);
    assert!((86_399..86_410).contains(&packet.seconds));
    assert_eq!(packet.serial(), "00100777");
}
