//! A plug with a connection and messages on the broker: its firmware, told by the one, says in which unit
//! the others count.

use meterbridge::model::{Channel, Make, Quantity, SensorId};
use serde_json::{Value, json};

use super::device::{Answer, Device, Script};
use super::{dialled, heard};
use crate::commands::Sender;
use crate::support::Site;

/// A plug with this firmware that tells no energy in its dictionary.
fn script(version: &str) -> Script {
    let mut script = Script::of("dialog_powermeter.jsonl");
    let text = String::from_utf8(script.greeting.pieces.concat()).unwrap();
    let info = text.lines().find_map(|line| line.strip_prefix("Info:{")).unwrap();
    let mut info: Value = serde_json::from_str(&format!("{{{info}")).unwrap();
    info.as_object_mut().unwrap().remove("energy").unwrap();
    info["version"] = json!(version);
    script.answers.retain(|said, _| !said.contains("\"info\""));
    script.greeting = Answer::line(&info.to_string());
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_firmware_tells_in_which_unit_messages_count() {
    let sensor = SensorId::derive(Make::Smartmeter, "powermeter27", Channel::Line, Quantity::PPlus);
    for (version, told, wh) in [("2.3", 10_149.83, 10_149.83), ("1.3", 10.15, 10_150.0)] {
        let device = Device::start(script(version)).await;
        let site = Site::new(&dialled("plug", device.address, "    poll: 1h\n"));
        let gateway = site.start().await;
        let subscriber = gateway.subscriber().await;
        heard(gateway.web(), "plug").await;
        let message = json!({
            "power": 900.29, "inUse": true, "current": 4, "energy": told, "volt": 230.1, "ts": 1_614_681_575,
        });
        let mut sender = Sender::new(gateway.broker(), "powermeter27").await;
        sender.send("powermeter/powermeter27/state/sample", message.to_string(), false).await;
        let counter = &subscriber.on(&format!("/sensor/{sensor}/counter"), 1).await[0];
        let (_, value, unit): (i64, f64, String) = serde_json::from_str(counter).unwrap();
        assert_eq!((value, &*unit), (wh, "Wh"), "firmware {version}");
        gateway.stop().await;
    }
}
