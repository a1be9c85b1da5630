//! The command channel: what was asked, and what came back, with everything between.

use meter_protocols::smartmeter::{Command, Frame, Info, Kind, Message, Reply};
use serde_json::Value;

use crate::{Event, capture, decode, errors, frames, messages};

/// What a dialog's host sent and what its device sent, in pieces.
struct Dialog {
    host: Vec<String>,
    device: Vec<Vec<u8>>,
}

fn dialog(name: &str) -> Dialog {
    let mut dialog = Dialog { host: Vec::new(), device: Vec::new() };
    for line in String::from_utf8(capture(name)).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(text) = line["bytes"].as_str() else { continue };
        match line["dir"].as_str() {
            Some("host") => dialog.host.push(text.trim_end().to_owned()),
            _ => dialog.device.push(text.chars().map(|letter| letter as u8).collect()),
        }
    }
    dialog
}

impl Dialog {
    fn decode(&self) -> Vec<Event> {
        decode(self.device.iter().map(Vec::as_slice))
    }

    /// The names of the commands that are answered, in their order.
    fn asked(&self) -> Vec<String> {
        let name = |line: &String| {
            let value: Value = serde_json::from_str(line).ok()?;
            Some(value.get("cmd")?.as_str()?.to_owned())
        };
        self.host.iter().filter_map(name).filter(|name| name != "restart").collect()
    }
}

fn infos(events: &[Event]) -> Vec<Info> {
    let info = |message| match message {
        Message::Info(info) => Some(*info),
        _ => None,
    };
    messages(events).into_iter().filter_map(info).collect()
}

/// The replies, with the kind known as the info dictionary tells it.
fn replies(events: &[Event]) -> Vec<Reply> {
    let kind = infos(events)[0].kind;
    let reply = |frame| match frame {
        Frame::Json(text) => match Message::read(&text, kind) {
            Some(Message::Reply(reply)) => Some(reply),
            _ => None,
        },
        _ => None,
    };
    frames(events).into_iter().filter_map(reply).collect()
}

#[test]
fn every_command_of_every_dialog_has_its_reply() {
    for name in [
        "dialog_smartmeter.jsonl",
        "dialog_powermeter.jsonl",
        "dialog_noisy.jsonl",
        "dialog_sampling.jsonl",
        "dialog_restart.jsonl",
    ] {
        let dialog = dialog(name);
        let events = dialog.decode();
        assert_eq!(errors(&events), [], "{name}");
        let replies = replies(&events);
        let mut named = replies.iter().filter(|reply| {
            reply.message.as_deref().is_none_or(|text| {
                // The reply to JSON without a command.
                !text.contains("yntax")
            })
        });
        for asked in dialog.asked() {
            let reply = named.next().unwrap_or_else(|| panic!("{name}: no reply to {asked}"));
            assert!(
                reply.cmd.as_ref().is_none_or(|cmd| *cmd == asked),
                "{name}: {asked}: {reply:?}"
            );
        }
        assert_eq!(named.next(), None, "{name}");
    }
}

#[test]
fn a_reply_that_is_cut_by_the_end_is_none() {
    let dialog = dialog("dialog_cut_mid_reply.jsonl");
    let events = dialog.decode();
    assert_eq!(replies(&events).len(), 1);
    let errors = errors(&events);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].reason, meter_protocols::smartmeter::SkipReason::CutShort);
}

#[test]
fn noise_and_small_pieces_change_nothing() {
    let noisy = dialog("dialog_noisy.jsonl");
    assert!(noisy.device.iter().filter(|piece| piece.len() <= 7).count() > 100);
    let joined = noisy.device.concat();
    assert_eq!(noisy.decode(), decode([joined.as_slice()]));
    let lines = frames(&noisy.decode());
    assert!(lines.iter().any(|frame| matches!(frame, Frame::Log(line) if !line.is_lifeness())));
}

#[test]
fn what_a_meter_means_is_read_and_not_what_it_says() {
    let failed = |name: &str, cmd: &str| -> Vec<bool> {
        let replies = replies(&dialog(name).decode());
        let named = replies.iter().filter(|reply| reply.cmd.as_deref() == Some(cmd));
        named.map(|reply| reply.failed).collect()
    };
    for name in ["dialog_smartmeter.jsonl", "dialog_powermeter.jsonl"] {
        assert_eq!(failed(name, "ntp"), [false], "{name}");
        assert_eq!(failed(name, "addWifi"), [false, true], "{name}");
        assert_eq!(failed(name, "delWifi"), [false], "{name}");
        assert_eq!(failed(name, "mqttServer"), [false, true], "{name}");
        assert_eq!(failed(name, "log"), [false, false, true], "{name}");
    }
}

#[test]
fn the_log_of_the_meter_is_read_row_by_row() {
    for name in ["dialog_smartmeter.jsonl", "dialog_powermeter.jsonl"] {
        let rows: Vec<Vec<String>> = messages(&dialog(name).decode())
            .into_iter()
            .filter_map(|message| match message {
                Message::LogFile(rows) => Some(rows),
                _ => None,
            })
            .collect();
        assert_eq!(rows.len(), 1, "{name}");
        assert_eq!(rows[0].len(), 3, "{name}: {rows:?}");
        assert!(rows[0][0].ends_with("Reboot - inited SPIFFS Logger"), "{name}: {rows:?}");
    }
}

#[test]
fn the_dictionaries_are_read() {
    let smart = infos(&dialog("dialog_smartmeter.jsonl").decode());
    assert_eq!(smart.len(), 2);
    assert_eq!((smart[0].name.as_str(), smart[0].kind), ("smartmeter001", Some(Kind::SmartMeter)));
    assert_eq!(smart[0].energy_wh.unwrap().sum(), Some(10149.5684 + 5101.2324 + 4509.2102));
    assert!(smart[0].firmware().unwrap().is_known(Kind::SmartMeter));
    let plug = infos(&dialog("dialog_powermeter.jsonl").decode());
    assert_eq!((plug[0].relay, plug[0].mac.as_deref()), (Some(true), Some("24:0A:C4:00:00:27")));
    let sampling = infos(&dialog("dialog_sampling.jsonl").decode());
    assert_eq!([sampling[0].busy, sampling[1].busy], [Some(false), Some(true)]);
}

#[test]
fn a_meter_that_samples_is_busy_and_ends_with_a_summary() {
    let events = dialog("dialog_sampling.jsonl").decode();
    let replies = replies(&events);
    let busy: Vec<&Reply> = replies.iter().filter(|reply| reply.is_busy()).collect();
    assert_eq!((busy.len(), busy[0].cmd.as_deref()), (1, Some("getPower")));
    assert_eq!(crate::numbers(&events), (0..16).collect::<Vec<_>>());
    assert!(frames(&events).contains(&Frame::Text("Setup done".to_owned())));
    let summary = frames(&events).into_iter().find_map(|frame| match frame {
        Frame::Json(text) => {
            meter_protocols::smartmeter::StopSummary::read(&serde_json::from_str(&text).unwrap())
        }
        _ => None,
    });
    let summary = summary.unwrap();
    assert_eq!((summary.samples, summary.sent_samples), (16, Some(16)));
    assert_eq!(summary.start, Some(1795226248.0));
}

/// What hosts of the dialogs send can be sent through [`Command`] too, but for what is refused with words.
#[test]
fn the_commands_of_the_dialogs_are_built_or_refused() {
    for (name, kind, refused) in [
        ("dialog_smartmeter.jsonl", Kind::SmartMeter, 12),
        ("dialog_powermeter.jsonl", Kind::PowerMeter, 9),
    ] {
        let mut count = 0;
        for line in dialog(name).host {
            let Ok(Value::Object(keys)) = serde_json::from_str(&line) else { continue };
            let Some(cmd) = keys.get("cmd").and_then(Value::as_str) else { continue };
            match Command::from_json(cmd, &keys, kind) {
                Ok(command) => {
                    let sent: Value = serde_json::from_str(&command.json()).unwrap();
                    assert_eq!(sent["cmd"], cmd);
                    assert!(command.line().len() <= kind.longest_command());
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    count += 1;
                }
            }
        }
        assert_eq!(count, refused, "{name}");
    }
}
