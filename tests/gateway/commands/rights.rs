//! Who may send commands over MQTT, by `broker.acl`.

use rumqttc::MqttOptions;
use serde_json::json;

use super::{INFO, Sender, reply};
use crate::api::{configure, user};
use crate::subscriber::Subscriber;
use crate::support::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_write_a_meters_topic_is_heard() {
    let site = Site::bare();
    let (ann, bob) = (user(&site, "ann", "secret1"), user(&site, "bob", "secret2"));
    let acl = r##"[{user: ann, write: ["powermeter/house/cmd"]},
        {user: bob, write: ["powermeter/+/cmd"], deny: ["powermeter/house/#"]}, {read: ["#"]}]"##;
    let broker = format!(", allow_anonymous: true, users: [{ann}, {bob}], acl: {acl}");
    configure(&site, &broker, "127.0.0.1:0");
    let gateway = site.start().await;
    let listener = Subscriber::new(gateway.broker()).await;
    let sender = |name: &str, password: &str| {
        let broker = gateway.broker();
        let mut options = MqttOptions::new(name, broker.ip().to_string(), broker.port());
        options.set_credentials(name, password);
        Sender::with(options)
    };
    let (mut ann, mut bob) = (sender("ann", "secret1"), sender("bob", "secret2"));
    let mut nobody = Sender::new(gateway.broker(), "nobody").await;
    let info = |id: &str| json!({"cmd": "info", "id": id}).to_string();
    // Refused publications are acknowledged and go nowhere, as MQTT 3.1.1 has no other way.
    bob.send("powermeter/house/cmd", info("denied"), false).await;
    nobody.send("powermeter/house/cmd", info("never granted"), false).await;
    ann.send("powermeter/cmd", info("a broadcast is a topic of its own"), false).await;
    ann.send("powermeter/house/sample", "p", false).await;
    ann.send(INFO, info("a forged reply"), false).await;
    ann.send("powermeter/house/cmd", info("granted"), false).await;
    let replies = listener.on(INFO, 1).await;
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert_eq!(reply(&replies[0])["id"], "granted");
}
