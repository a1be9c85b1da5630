//! What Home Assistant sends when somebody presses or sets something, and what it shows then.

use serde_json::Value;

use crate::assistant::Assistant;
use crate::process::{Process, program};
use crate::rules::template;
use crate::support::{Site, free_port};

#[tokio::test]
async fn a_number_is_set_and_shows_what_the_meter_says() {
    let site = Site::bare();
    let listen = format!("broker.listen=127.0.0.1:{}", free_port());
    let arguments = ["demo", "--set", &listen, "--set", "web.listen=127.0.0.1:0"];
    let gateway = Process::start(program(&site, &arguments)).await;
    let assistant = Assistant::connect(gateway.broker).await;
    let view = assistant.all_well(5).await;
    let find = |end: &str| {
        let found = view.entities.iter().find(|(id, _)| id.ends_with(end));
        found.unwrap_or_else(|| panic!("no {end}")).1.config.clone()
    };
    let text = |config: &serde_json::Map<String, Value>, key: &str| {
        config[key].as_str().unwrap().to_owned()
    };

    let interval = find("_interval");
    let command = template::command(&text(&interval, "command_template"), 7).unwrap();
    assistant.publish(&text(&interval, "command_topic"), &command, false).await;
    let reply =
        assistant.until(&text(&interval, "state_topic"), |reply| reply.contains("interval")).await;
    let shown = template::value(&text(&interval, "value_template"), &reply).unwrap();
    assert_eq!(shown, "7", "{reply}");

    let template = text(&interval, "value_template");
    for strange in [
        r#"{"error":false,"cmd":"get","setting":"interval","value":0}"#,
        r#"{"error":false,"cmd":"get","setting":"interval","value":[7]}"#,
        r#"{"error":false,"cmd":"get","setting":"ct_type","channel":1,"value":7}"#,
        r#"{"error":true,"cmd":"set","msg":"no"}"#,
        r#"{"value":"122.60","unit":"V","ts":"1795265087"}"#,
    ] {
        assert_eq!(template::value(&template, strange), Ok(String::new()), "{strange}");
    }

    let format = find("_packet_format");
    assert_eq!(template::value(&text(&format, "value_template"), &reply), Ok(String::new()));
    let command = template::command(&text(&format, "command_template"), "bin48_net").unwrap();
    assistant.publish(&text(&format, "command_topic"), &command, false).await;
    let reply =
        assistant.until(&text(&format, "state_topic"), |reply| reply.contains("format")).await;
    let shown = template::value(&text(&format, "value_template"), &reply).unwrap();
    assert_eq!(shown, "bin48_net", "{reply}");

    let poll = find("_poll");
    assistant.publish(&text(&poll, "command_topic"), &text(&poll, "payload_press"), false).await;
    let reply = assistant.until("powermeter/demo-gem/state/info", |all| all.contains("poll")).await;
    assert!(reply.starts_with(r#"{"error":false,"cmd":"poll""#), "{reply}");

    for (id, entity) in &view.entities {
        let destructive = id.contains("_reset_");
        let disabled = entity.config.get("enabled_by_default") == Some(&Value::Bool(false));
        assert!(!destructive || disabled, "{id} is offered at once");
    }
}
